//! SIGHUP: config, certificates, directory and keys are read again, and what can change while the
//! daemon runs does. A config with a fault changes nothing at all; where the certificate, the
//! directory or the DKIM keys have one, each stays as it was. Connections and deliveries that are
//! open end by what they began with.

use std::sync::Arc;

use super::login::oauth::Tokens;
use super::queue::transport::Outside;
use super::serve::{Daemon, Failure, publisher, tls_source};
use super::{outgoing, signals, steady};
use crate::config::{self, Config, Fault, Judge, Oauth, Tls};

impl Daemon {
    /// Reads everything again, at the places that the config names now.
    pub(super) async fn reload(&mut self) {
        signals::reloading();
        match steady::load(&self.config_path, config::load).await {
            Ok(config) => self.take(config).await,
            Err(faults) => refuse(&faults),
        }
        signals::ready("serving");
    }

    /// What the config itself names is looked at before the first change.
    async fn take(&mut self, new: Config) {
        let old = self.shared.config.load_full();
        let config = Arc::new(merged(&old, new));
        let (tokens, outside) = match self.prepare(&old, &config) {
            Ok(prepared) => prepared,
            Err(Failure::Declared(faults)) => return refuse(&faults),
            Err(error) => {
                return tracing::error!(%error, "new config refused, nothing is reloaded");
            }
        };
        for warning in &config.warnings {
            tracing::warn!(%warning, "not as it should be");
        }
        self.shared.config.store(config.clone());
        self.reload_certificates(&config);
        let store = self.shared.store.clone();
        let reloaded = match store.is_shared() {
            true => self.declared.republish(publisher(&*store, &config, &self.salts)).await,
            false => self.declared.reload(&config.directory_path).await,
        };
        if let Err(error) = reloaded {
            tracing::error!(%error, "new directory not in force, the old one stays");
        }
        self.reload_signers(&config);
        if let Some(tokens) = tokens {
            tokens.iter().for_each(Tokens::warm);
            self.shared.login.take_tokens(tokens);
        }
        let routes = config.outbound.routes.clone();
        self.shared.upstreams.turn(outside.clone(), routes);
        self.sending.turn(&config, outside);
        tracing::info!("config in force");
    }

    /// What the files name that the config names: tokens, if there is anything new about them, and
    /// the way out.
    fn prepare(
        &self,
        old: &Config,
        config: &Config,
    ) -> Result<(Option<Option<Tokens>>, Arc<Outside>), Failure> {
        let clock = &self.shared.clock;
        let tokens = match &config.oauth {
            Some(oauth) if is_known(old.oauth.as_ref(), oauth) => None,
            Some(oauth) => {
                Some(Some(Tokens::load(oauth, clock.clone()).map_err(Failure::Declared)?))
            }
            None => Some(None),
        };
        let smtp = self.ports.0.get("smtp").cloned().unwrap_or_default();
        let outside = outgoing::outside(config, &smtp, (self.shared.store.clone(), clock.clone()))?;
        Ok((tokens, outside))
    }

    /// After the directory, whose domains they are for.
    pub(super) fn reload_signers(&self, config: &Config) {
        let directory = self.shared.directory.borrow().clone();
        match self.shared.dkim.reload(&config.dkim, &directory) {
            Ok(()) => tracing::info!(keys = config.dkim.len(), "DKIM keys read"),
            Err(faults) => {
                for fault in faults {
                    tracing::error!(%fault, "new DKIM keys refused, the old ones stay");
                }
            }
        }
    }

    pub(super) fn reload_certificates(&self, config: &Config) {
        let (Some(tls), Some(source)) = (&self.shared.tls, tls_source(config)) else { return };
        match tls.reload(&source) {
            Ok(()) => tracing::info!("certificate read"),
            Err(fault) => tracing::error!(%fault, "new certificate refused, the old one stays"),
        }
    }
}

fn refuse(faults: &[Fault]) {
    for fault in faults {
        tracing::error!(%fault, "new config refused, nothing is reloaded");
    }
}

/// Whether nothing can be new about tokens: their issuer's keys come from the issuer, and those at
/// hand are not thrown away.
fn is_known(old: Option<&Oauth>, new: &Oauth) -> bool {
    let is_fetched = matches!(new.judge, Judge::Keys(_) | Judge::Discovery(_));
    is_fetched && old.is_some_and(|old| Oauth { place: new.place.clone(), ..old.clone() } == *new)
}

/// The new config, but for what takes a restart: that stays, and is said.
fn merged(old: &Config, mut new: Config) -> Config {
    for name in needs_restart(old, &new) {
        tracing::warn!(name, "changed in the config: takes a restart");
    }
    new.hostname.clone_from(&old.hostname);
    new.data_dir.clone_from(&old.data_dir);
    new.listen.clone_from(&old.listen);
    new.store = old.store.clone();
    new.audit_subjects = old.audit_subjects;
    new.limits.connections_max = old.limits.connections_max;
    new.limits.waiting_per_address_max = old.limits.waiting_per_address_max;
    new.limits.smtp_per_address_max = old.limits.smtp_per_address_max;
    if (old.tls == Tls::Off) != (new.tls == Tls::Off) {
        new.tls = old.tls.clone();
    }
    new
}

/// The keys that differ and are read at the start only.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let (was, is) = (&old.limits, &new.limits);
    let rows = [
        ("hostname", old.hostname != new.hostname),
        ("data_dir", old.data_dir != new.data_dir),
        ("[listen]", old.listen != new.listen),
        ("[tls], on or off", (old.tls == Tls::Off) != (new.tls == Tls::Off)),
        ("[store]", old.store != new.store),
        ("[audit]", old.audit_subjects != new.audit_subjects),
        ("limits.connections_max", was.connections_max != is.connections_max),
        (
            "limits.waiting_per_address_max",
            was.waiting_per_address_max != is.waiting_per_address_max,
        ),
        ("limits.smtp_per_address_max", was.smtp_per_address_max != is.smtp_per_address_max),
    ];
    rows.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(text: &str) -> Config {
        let text = format!("hostname = \"mail.example.org\"\n{text}");
        config::parse(&text, Path::new("/etc/p.toml")).expect("valid")
    }

    #[test]
    fn what_takes_a_restart_stays_and_is_said() {
        let old = config("[tls]\nself_signed = true\n");
        let new = config(
            "data_dir = \"/elsewhere\"\n[listen]\nimap = [\"127.0.0.1:1143\"]\n\
             [limits]\nconnections_max = 5\nmessage_bytes_max = 100000\n\
             [outbound]\nvia = \"hold\"\nexpire_hours = 1\n",
        );
        let named = ["data_dir", "[listen]", "[tls], on or off", "limits.connections_max"];
        assert_eq!(needs_restart(&old, &new), named);
        let merged = merged(&old, new.clone());
        assert!(needs_restart(&old, &merged).is_empty());
        assert_eq!(merged.outbound, new.outbound);
        assert_eq!(merged.limits.message_bytes_max, 100_000);
        assert_eq!(merged.limits.connections_max, old.limits.connections_max);
    }

    #[test]
    fn keys_at_hand_are_kept_unless_their_issuer_is_another() {
        let oauth = |issuer: &str, rest: &str| {
            let table = format!("[auth.oauth]\nissuer = \"{issuer}\"\naudience = \"mail\"\n{rest}");
            config(&table).oauth.expect("a table")
        };
        let one = oauth("https://login.example.org", "");
        assert!(is_known(Some(&one), &one.clone()));
        assert!(!is_known(Some(&one), &oauth("https://login.example.net", "")));
        assert!(!is_known(None, &one));
        let file = oauth("https://login.example.org", "jwks = \"file:keys.json\"\n");
        assert!(!is_known(Some(&file), &file.clone()), "the file may be another");
    }
}
