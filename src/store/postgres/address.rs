//! Where the database is, as one writes it: `postgres://user@host/database`. Opens nothing.

use std::fmt;
use std::net::IpAddr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

/// A checked URL.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub(super) config: Config,
    transport: Transport,
}

/// How what is said to the server travels.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// With TLS, and a certificate for the host's name.
    Tls,
    /// In clear: on this machine, or because the URL says so.
    Clear,
}

/// Only where it is: whoever reads a log need not know who we are there.
impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.config.get_hosts();
        f.debug_struct("Address").field("hosts", &hosts).finish_non_exhaustive()
    }
}

impl Address {
    /// Reads a URL, or says what is wrong with it.
    pub fn parse(url: &str) -> Result<Address, &'static str> {
        if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
            return Err("it does not begin with postgres://");
        }
        // every certificate is verified, in full
        let verified = ["sslmode=verify-full", "sslmode=verify-ca"];
        let url =
            verified.iter().fold(url.to_owned(), |url, mode| url.replace(mode, "sslmode=require"));
        let config: Config = url.parse().map_err(|_| "it cannot be read")?;
        if config.get_password().is_some() {
            return Err("a password stands in it");
        }
        if config.get_user().is_none() {
            return Err("it does not say who logs in");
        }
        if config.get_hosts().is_empty() {
            return Err("it does not say where the server is");
        }
        // it would lead elsewhere than the name that is looked at below, and that is verified
        if !config.get_hostaddrs().is_empty() {
            return Err("hostaddr stands in it");
        }
        let transport = match (url.contains("sslmode="), config.get_ssl_mode()) {
            (false, _) if config.get_hosts().iter().all(is_here) => Transport::Clear,
            (true, SslMode::Disable) => Transport::Clear,
            (false, _) | (true, SslMode::Require) => Transport::Tls,
            (true, _) => return Err("sslmode is neither require nor disable"),
        };
        Ok(Address { config, transport })
    }

    /// Whether there is TLS on the way.
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// As whom we log in, with this.
    pub fn with_password(mut self, password: &str) -> Address {
        self.config.password(password);
        self
    }
}

fn is_here(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_travels_beyond_this_machine_travels_with_tls() {
        let transport = |url: &str| Address::parse(url).expect("good").transport();
        assert_eq!(transport("postgres://mail@db.example.org/mail"), Transport::Tls);
        assert_eq!(transport("postgres://mail@a:5432,b:5433/mail"), Transport::Tls);
        assert_eq!(transport("postgres://mail@[::1]/mail"), Transport::Clear);
        assert_eq!(transport("postgres://mail@localhost/mail"), Transport::Clear);
        assert_eq!(transport("postgresql://mail@%2Frun%2Fpostgresql/mail"), Transport::Clear);
        assert_eq!(transport("postgres:///mail?user=x&host=/run/postgresql"), Transport::Clear);
        assert_eq!(transport("postgres://mail@db/mail?sslmode=disable"), Transport::Clear);
        assert_eq!(transport("postgres://mail@db/mail?sslmode=verify-full"), Transport::Tls);
        assert_eq!(transport("postgres://mail@localhost/mail?sslmode=require"), Transport::Tls);
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        for url in [
            "",
            "mysql://mail@db/mail",
            "postgres://",
            "postgres://db/mail",
            "postgres:///mail?user=x",
            "postgres://mail:secret@db/mail",
            "postgres://mail@db/mail?sslmode=prefer",
            "postgres://mail@db/mail?sslmode=perhaps",
            "postgres://mail@db:port/mail",
            "postgres://mail@localhost/mail?hostaddr=192.0.2.1",
        ] {
            assert!(Address::parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn it_shows_no_password() {
        let address = Address::parse("postgres://mail@db/mail").expect("good");
        let shown = format!("{:?}", address.with_password("geheim"));
        assert!(shown.contains("db") && !shown.contains("geheim"), "{shown}");
    }
}
