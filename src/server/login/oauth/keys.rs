//! The issuer's keys: fetched when they are first needed, again after an hour, and when a token is
//! signed by one that is not known; never more than once a minute. Where they cannot be fetched,
//! the old ones stay.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::Mutex as Turn;

use super::super::locked;
use super::token::{Head, PublicKey, read_keys};
use super::web::Web;
use crate::mail::id::Timestamp;
use crate::server::https::Url;
use crate::sys::Clock;

/// After this many seconds the keys are fetched again, whether they suffice or not.
pub(super) const REFRESH_SECS: i64 = 3600;
/// Between two attempts to fetch them there are at least this many seconds.
pub(super) const RETRY_SECS: i64 = 60;
/// Longest set of keys.
pub(super) const KEYS_BYTES_MAX: usize = 256 * 1024;

/// Where the keys are.
pub(super) enum Source {
    File(PathBuf),
    Served(Url),
    /// Where the issuer says, whose name must be this.
    Discovered(Url, String),
}

/// The keys of this moment.
pub(super) struct Keys {
    source: Source,
    web: Arc<Web>,
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    /// Held while they are fetched; others wait for what comes of it.
    fetching: Turn<()>,
}

#[derive(Default)]
struct Held {
    keys: Arc<Vec<PublicKey>>,
    fetched_at: Option<Timestamp>,
    tried_at: Option<Timestamp>,
}

impl Keys {
    /// Without any, yet.
    pub(super) fn new(source: Source, web: Arc<Web>, clock: Arc<dyn Clock>) -> Keys {
        Keys { source, web, clock, held: Mutex::default(), fetching: Turn::new(()) }
    }

    /// With those of a file.
    pub(super) fn of(self, keys: Vec<PublicKey>) -> Keys {
        let now = Some(self.clock.now());
        *locked(&self.held) = Held { keys: Arc::new(keys), fetched_at: now, tried_at: None };
        self
    }

    /// The keys, one that fits the head among them if there is any; `None` where there have never
    /// been any.
    pub(super) async fn for_head(self: &Arc<Keys>, head: &Head) -> Option<Arc<Vec<PublicKey>>> {
        let present = self.present();
        if present.iter().any(|key| key.fits(head)) {
            if self.is_stale() {
                let keys = self.clone();
                tokio::spawn(async move { keys.refresh().await });
            }
            return Some(present);
        }
        self.refresh().await;
        Some(self.present()).filter(|keys| !keys.is_empty())
    }

    /// Those that are known.
    pub(super) fn present(&self) -> Arc<Vec<PublicKey>> {
        locked(&self.held).keys.clone()
    }

    fn is_stale(&self) -> bool {
        let fetched_at = locked(&self.held).fetched_at;
        !fetched_at.is_some_and(|at| self.is_within(at, REFRESH_SECS)) && self.may_try()
    }

    fn may_try(&self) -> bool {
        let tried_at = locked(&self.held).tried_at;
        !tried_at.is_some_and(|at| self.is_within(at, RETRY_SECS))
    }

    fn is_within(&self, at: Timestamp, secs: i64) -> bool {
        (0..secs).contains(&(self.clock.now().seconds() - at.seconds()))
    }

    /// Fetches them, unless that was tried a moment ago.
    pub(super) async fn refresh(&self) {
        let _turn = self.fetching.lock().await;
        if !self.may_try() {
            return;
        }
        locked(&self.held).tried_at = Some(self.clock.now());
        let fetched = self.fetch().await;
        match fetched.and_then(|json| read_keys(&json).map_err(io::Error::other)) {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "keys for tokens fetched");
                let mut held = locked(&self.held);
                if held.keys.is_empty() {
                    // the first fetch is none that was made again
                    held.tried_at = None;
                }
                (held.keys, held.fetched_at) = (Arc::new(keys), Some(self.clock.now()));
            }
            Err(error) => tracing::warn!(%error, "keys for tokens cannot be fetched"),
        }
    }

    async fn fetch(&self) -> io::Result<Vec<u8>> {
        match &self.source {
            Source::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read(&path)).await;
                read.map_err(io::Error::other)?
            }
            Source::Served(url) => self.web.text(url, None, KEYS_BYTES_MAX).await,
            Source::Discovered(url, issuer) => {
                let document = self.web.text(url, None, KEYS_BYTES_MAX).await?;
                let url = keys_url(&document, issuer).map_err(io::Error::other)?;
                self.web.text(&url, None, KEYS_BYTES_MAX).await
            }
        }
    }
}

/// The keys' file, if it is no larger than it may be.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    File::open(path)?.take(KEYS_BYTES_MAX as u64 + 1).read_to_end(&mut json)?;
    match json.len() {
        0..=KEYS_BYTES_MAX => Ok(json),
        _ => Err(io::Error::other("it is larger than 256 KiB")),
    }
}

/// Where an issuer's keys are by its own document. OpenID Connect Discovery 1.0 §4.3
fn keys_url(document: &[u8], issuer: &str) -> Result<Url, &'static str> {
    let document: Value =
        serde_json::from_slice(document).map_err(|_| "the document is no JSON")?;
    if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err("the document is of another issuer");
    }
    let url = document.get("jwks_uri").and_then(Value::as_str);
    Url::parse(url.ok_or("the document names no keys")?)
        .map_err(|_| "the document names keys at an URL that is not https://")
}
