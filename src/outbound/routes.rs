//! Where mail for a recipient goes, as far as the config says: by MX, over a smarthost, to a
//! domain's upstream. Knows no DNS.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Login, Security};
use crate::smtp::client::Told;
use crate::store::queue::QueuedRecipient;

/// SMTP between servers. RFC 5321 §4.5.4.2
pub const SMTP_PORT: u16 = 25;
/// Submission with STARTTLS. RFC 6409 §3.1
pub const SUBMISSION_PORT: u16 = 587;
/// Submission with implicit TLS. RFC 8314 §3.3
pub const SUBMISSIONS_PORT: u16 = 465;

/// A server named by a URL: `smtp://host:port` or `smtps://host:port`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Server {
    /// Its name or IP address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `smtps://`: TLS from the first byte.
    pub scheme: Scheme,
}

/// How a URL begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Scheme {
    /// `smtp://`
    Smtp,
    /// `smtps://`
    Smtps,
}

impl Server {
    /// Reads `smtp[s]://[user@]host[:port]`; the user is percent-decoded. The error says what is
    /// wrong, as the end of a sentence.
    pub fn parse(url: &str) -> Result<(Server, Option<String>), &'static str> {
        let (scheme, rest) = match url.split_once("://") {
            Some(("smtp", rest)) => (Scheme::Smtp, rest),
            Some(("smtps", rest)) => (Scheme::Smtps, rest),
            _ => return Err("begins with neither smtp:// nor smtps://"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, place) = match rest.rsplit_once('@') {
            Some((user, place)) => (Some(percent_decoded(user).ok_or("has an odd user")?), place),
            None => (None, rest),
        };
        if user.as_ref().is_some_and(|user| user.contains(':')) {
            return Err("has a \":\" in the user; the password has a key of its own");
        }
        let default = match (scheme, &user) {
            (Scheme::Smtps, _) => SUBMISSIONS_PORT,
            (Scheme::Smtp, Some(_)) => SUBMISSION_PORT,
            (Scheme::Smtp, None) => SMTP_PORT,
        };
        let (host, port) = host_and_port(place, default)?;
        Ok((Server { host, port, scheme }, user))
    }

    /// The host as an address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Whether it is this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.address().is_some_and(|address| address.is_loopback())
    }
}

fn host_and_port(place: &str, default: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("lacks a \"]\"")?;
            host.parse::<IpAddr>().map_err(|_| "has no IP address in its brackets")?;
            (host, port.strip_prefix(':').or(port.is_empty().then_some("")).ok_or("is odd")?)
        }
        None => place.split_once(':').unwrap_or((place, "")),
    };
    let host = host.to_ascii_lowercase();
    if host.parse::<IpAddr>().is_err() && !crate::directory::name::is_domain(&host) {
        return Err("names no host");
    }
    match port {
        "" => Ok((host, default)),
        _ => match port.parse() {
            Ok(0) | Err(_) => Err("has a port that is none"),
            Ok(port) => Ok((host, port)),
        },
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        bytes.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
        rest = after.get(2..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    let user = String::from_utf8(bytes).ok()?;
    (!user.is_empty() && !user.contains(char::is_control)).then_some(user)
}

/// How mail leaves: `[outbound]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Routes {
    /// For every domain that has no way of its own.
    pub via: Via,
    /// What TLS is worth where nothing else is said.
    pub tls: Security,
    /// The port of servers found by MX.
    pub port: u16,
    /// By domain in lower case.
    pub destinations: BTreeMap<String, Destination>,
}

impl Default for Routes {
    fn default() -> Routes {
        Routes {
            via: Via::Mx,
            tls: Security::Opportunistic,
            port: SMTP_PORT,
            destinations: BTreeMap::new(),
        }
    }
}

/// Where mail goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Via {
    /// To the domain's own servers.
    Mx,
    /// Nowhere: it waits, without an end, until the config says otherwise.
    Hold,
    /// To this server.
    Server(Server, Login),
}

/// `[[outbound.destination]]`
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Destination {
    /// What TLS is worth on the way there.
    pub tls: Option<Security>,
    /// A way of its own.
    pub via: Option<Server>,
}

/// The way to a destination. Connections are limited, and failures remembered, for each.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Route {
    /// By the MX of this domain.
    Mx {
        /// In lower case.
        domain: String,
        /// The port of its servers.
        port: u16,
        /// What TLS is worth.
        security: Security,
    },
    /// To this server.
    Server {
        /// Which.
        server: Server,
        /// What TLS is worth.
        security: Security,
        /// Whether we log in.
        login: Login,
    },
    /// None for now: nothing is tried, and nothing expires.
    Held,
    /// None any more: nothing is sent, the sender is still to be told. See `Progress::owed`.
    Report,
    /// There is none: why, and whether that can change.
    Nowhere {
        /// Enhanced status code.
        status: &'static str,
        /// For the operator and the sender.
        why: String,
    },
}

impl Route {
    /// Its name for people: a domain or `host:port`.
    pub fn name(&self) -> String {
        match self {
            Route::Mx { domain, .. } => domain.clone(),
            Route::Server { server, .. } => format!("{}:{}", server.host, server.port),
            Route::Held => "held".into(),
            Route::Report => "report".into(),
            Route::Nowhere { .. } => "nowhere".into(),
        }
    }

    /// What is told about a destination that was not reached.
    pub fn told(status: &str, text: impl Into<String>) -> Told {
        Told {
            by: String::new(),
            status: status.into(),
            text: text.into(),
            is_reply: false,
            dsn: false,
        }
    }
}

impl Routes {
    /// The way of one recipient: to its domain's upstream, by the domain's own entry, or as
    /// everything.
    pub fn of(&self, recipient: &QueuedRecipient) -> Route {
        if recipient.progress.owed.is_some() {
            return Route::Report;
        }
        let domain = recipient.address.domain();
        let destination = self.destinations.get(domain);
        let tls = destination.and_then(|d| d.tls);
        if let Some(upstream) = &recipient.upstream {
            return self.to_upstream(upstream, domain);
        }
        if domain.starts_with('[') {
            return nowhere("5.1.2", "mail for an address literal is not sent".into());
        }
        match (destination.and_then(|d| d.via.as_ref()), &self.via) {
            (Some(server), _) => self.to(server.clone(), Login::None, tls),
            (None, Via::Hold) => Route::Held,
            (None, Via::Server(server, login)) => self.to(server.clone(), *login, tls),
            (None, Via::Mx) => Route::Mx {
                domain: domain.into(),
                port: self.port,
                security: tls.unwrap_or(self.tls),
            },
        }
    }

    /// The way to the server that keeps a domain's other addresses.
    pub fn to_upstream(&self, upstream: &str, domain: &str) -> Route {
        let tls = self.destinations.get(domain).and_then(|d| d.tls);
        match Server::parse(upstream) {
            Ok((server, _)) => self.to(server, Login::None, tls),
            Err(why) => nowhere("4.3.5", format!("the upstream {upstream:?} {why}")),
        }
    }

    /// A password goes to a server only that has proved its name, or that is this machine.
    fn to(&self, server: Server, login: Login, tls: Option<Security>) -> Route {
        let security = match (server.scheme, login) {
            (Scheme::Smtps, _) => Security::Implicit,
            (Scheme::Smtp, Login::Configured) if !server.is_loopback() => Security::Verified,
            (Scheme::Smtp, _) => tls.unwrap_or(self.tls),
        };
        Route::Server { server, security, login }
    }
}

fn nowhere(status: &'static str, why: String) -> Route {
    Route::Nowhere { status, why }
}

#[cfg(test)]
#[path = "routes_tests.rs"]
mod tests;
