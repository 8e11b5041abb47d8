//! Everything that sends, put together from the config: DNS, MTA-STS policies, the SMTP client, the
//! queue.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Shared;
use super::dns::Dns;
use super::dns::proven::Validating;
use super::duty::Post;
use super::mta_sts::{self, Policies};
use super::queue::transport::{Outside, Us};
use super::queue::{Handle, Office, Queue, Settings, Way};
use super::relay::{self, Relay};
use super::serve::Failure;
use crate::config::{Config, Fault, SmarthostLogin};
use crate::smtp::client::Credentials;
use crate::store::Store;
use crate::sys::Clock;

/// Longest password of a smarthost.
const PASSWORD_BYTES_MAX: usize = 1_000;
/// How often policies are looked at that may have become too old.
const POLICIES_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// How long servers may take to hear our farewell when the daemon stops.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// A queue that moves.
pub(super) struct Sending {
    /// How to talk to it.
    pub(super) queue: Handle,
    /// Everything out there.
    outside: Arc<Outside>,
    runner: JoinHandle<()>,
    /// Keeps policies fresh.
    refresher: Option<JoinHandle<()>>,
}

/// Reads the smarthost's password and the authorities, and makes the way out. `smtp` is where we
/// listen for mail.
pub(super) fn outside(
    config: &Config,
    smtp: &[SocketAddr],
    (store, clock): (Arc<dyn Store>, Arc<dyn Clock>),
) -> Result<Arc<Outside>, Failure> {
    let settings = relay::Settings {
        credentials: credentials(config)?,
        authorities: config.outbound.ca.clone(),
        ..relay::Settings::new(&config.hostname)
    };
    let relay = Relay::new(settings, clock.clone()).map_err(Failure::Tls)?;
    let dns = Arc::new(Dns::new(&config.outbound.resolver));
    let policies = config.outbound.mta_sts.then(|| {
        let settings = mta_sts::Settings::new(&config.data_dir);
        Arc::new(Policies::open(settings, relay.verified_tls(), (dns.clone(), clock)))
    });
    Ok(Arc::new(Outside {
        dns,
        policies,
        dane: config.outbound.dane.then(|| Validating::new(&config.outbound.resolver)),
        relay: Arc::new(relay),
        store,
        ourselves: Us { hostname: config.hostname.clone(), listening: smtp.to_vec() },
    }))
}

impl Sending {
    /// Begins.
    pub(super) fn start(shared: &Shared, outside: Arc<Outside>, post: Post) -> Sending {
        let refresher = look_after(&outside);
        let (runner, queue) = Queue::new(Office {
            store: shared.store.clone(),
            directory: shared.directory.clone(),
            transport: outside.clone(),
            clock: shared.clock.clone(),
            shutdown: shared.shutdown.clone(),
            under: post.present(),
            post,
            settings: settings(&shared.config.load()),
        });
        Sending { queue, outside, runner: tokio::spawn(runner.run()), refresher }
    }

    /// Mail goes by this config and this way from now on; deliveries under way end as they began.
    pub(super) fn turn(&mut self, config: &Config, outside: Arc<Outside>) {
        self.queue.turn(Way { transport: outside.clone(), settings: settings(config) });
        if let Some(refresher) = std::mem::replace(&mut self.refresher, look_after(&outside)) {
            refresher.abort();
        }
        let old = std::mem::replace(&mut self.outside, outside);
        tokio::spawn(async move { old.relay.close().await });
    }

    /// Waits until the queue has ended, which it does by itself once the daemon stops; then takes
    /// leave of servers.
    pub(super) async fn finish(self) {
        if let Some(refresher) = self.refresher {
            refresher.abort();
        }
        if let Err(error) = self.runner.await {
            tracing::error!(%error, "the queue broke off");
        }
        if timeout(FAREWELL_TIMEOUT, self.outside.relay.close()).await.is_err() {
            tracing::debug!("servers left without a farewell");
        }
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        hostname: config.hostname.clone(),
        routes: config.outbound.routes.clone(),
        retry: config.outbound.retry,
        limits: config.outbound.limits,
    }
}

/// Begins what has to be done for it beside everything else: answers who keeps its policies fresh.
fn look_after(outside: &Arc<Outside>) -> Option<JoinHandle<()>> {
    if outside.dane.is_some() {
        tokio::spawn(check_resolver(outside.clone()));
    }
    outside.policies.clone().map(|policies| tokio::spawn(refresh(policies)))
}

/// From now on once a day: what became too old while the daemon was down is not waited for.
async fn refresh(policies: Arc<Policies>) {
    let mut days = interval(POLICIES_INTERVAL);
    days.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        days.tick().await;
        policies.refresh().await;
    }
}

/// One that does not validate proves nothing, so that there would be no DANE, without a word.
async fn check_resolver(outside: Arc<Outside>) {
    if let Some(dane) = &outside.dane
        && !dane.validates().await
    {
        tracing::warn!("no DANE: the resolver does not validate DNSSEC, or cannot be asked");
    }
}

fn credentials(config: &Config) -> Result<Option<Credentials>, Failure> {
    let Some(SmarthostLogin { user, password_path }) = &config.outbound.login else {
        return Ok(None);
    };
    let fault = |why: String| Fault {
        file: password_path.clone(),
        line: 0,
        column: 0,
        message: format!("the smarthost's password cannot be used: {why}"),
        remedy: "put it on the first line of this file, readable for the daemon's user".into(),
    };
    let password = password(password_path)
        .map_err(|error| Failure::Declared(vec![fault(error.to_string())]))?;
    Ok(Some(Credentials { login: user.clone(), password }))
}

/// The first line.
pub(super) fn password(path: &Path) -> io::Result<String> {
    let text = fs::read_to_string(path)?;
    let line = text.lines().next().unwrap_or_default();
    match line.len() {
        0 => Err(io::Error::other("the first line is empty")),
        1..=PASSWORD_BYTES_MAX => Ok(line.to_owned()),
        _ => Err(io::Error::other("the first line is longer than 1000 bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line_of_its_file() {
        let file = std::env::temp_dir().join(format!("postfach-secret-{}", std::process::id()));
        let read = |text: &str| {
            fs::write(&file, text).expect("written");
            password(&file)
        };
        assert_eq!(read("geheim\n").expect("a password"), "geheim");
        assert_eq!(read("geheim\r\nnot this\n").expect("a password"), "geheim");
        assert!(read("").is_err() && read("\nx").is_err());
        let longest = "x".repeat(PASSWORD_BYTES_MAX);
        assert_eq!(read(&longest).expect("a password"), longest);
        assert!(read(&format!("{longest}x")).is_err());
        fs::remove_file(&file).expect("removed");
        assert!(password(&file).is_err());
    }
}
