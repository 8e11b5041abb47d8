//! Message bytes in an S3-compatible store: one object for each message, put once, never changed,
//! read by ranges. Which objects there are, and which may go, the engine's tables say; this knows
//! no table and no protocol.
//!
//! An upload that a crash cuts short leaves parts that no list shows; a bucket has to be told to
//! drop those by itself (AbortIncompleteMultipartUpload, as the sample config says).

mod failure;
mod patience;
#[cfg(test)]
pub(in crate::store) mod rig;
#[cfg(test)]
mod tests;
mod upload;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::list::{PaginatedListOptions, PaginatedListStore};
use object_store::path::Path;
use object_store::{BackoffConfig, Certificate, ClientOptions, RetryConfig};
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, PutPayload};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::StoreError;
use super::change::Bytes;
use failure::{corrupt, failed, told};
use patience::{Patience, longest, no_answer};

/// Longest wait for a connection to the store.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// After this time a request that failed is not tried again.
const RETRY_TIMEOUT: Duration = Duration::from_secs(6);
/// Most repetitions of one request.
const RETRIES_MAX: usize = 3;
/// First wait before a repetition, and the longest.
const RETRY_WAITS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How long a connection is kept that nobody uses.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of large messages on their way out at a time, in KiB; who comes later waits.
const LARGE_UPLOADS_KIB_MAX: u32 = 48 * 1024;
/// And of small ones, which wait for no large one.
const SMALL_UPLOADS_KIB_MAX: u32 = 16 * 1024;
/// Reads under way at a time; who comes later waits.
const READS_MAX: usize = 128;
/// Most objects in one answer of `list`.
const LISTED_MAX: usize = 1_000;
/// An object that is written and read at start, so that missing rights are found there.
const MARK: &str = "postfach-store";
const MARK_TEXT: &str = "The messages of a Postfach lie beside this: leave them to it.\n";
/// An object that is never there: removing it shows whether that is allowed.
const NO_OBJECT: &str = "postfach-no-object";

/// An object. Numbers are random and never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObjectId(pub i64);

/// What a message's bytes must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stored {
    /// How many.
    pub length: u64,
    /// Their BLAKE3.
    pub hash: [u8; 32],
}

/// Which bucket, and how it is reached.
pub struct Settings {
    /// The bucket.
    pub bucket: String,
    /// What the names of all objects begin with; may be empty.
    pub prefix: String,
    /// The server's URL; `None`: Amazon's, by the region.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Who we are; `None`: as the usual AWS_* variables say, or the machine's role.
    pub keys: Option<KeySecret>,
    /// PEM of an authority that is trusted beside the system's.
    pub authority: Option<Vec<u8>>,
    /// Whether the endpoint may be without TLS.
    pub transport: Transport,
}

/// An access key and its secret.
pub struct KeySecret {
    /// The name of the key.
    pub access_key: String,
    /// What proves it.
    pub secret: String,
}

/// How bytes may travel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transport {
    /// With TLS only.
    Https,
    /// In clear as well: on this machine, or where the network is trusted.
    HttpAllowed,
}

/// A bucket with messages. Cheap to clone.
#[derive(Clone)]
pub struct Objects(Arc<Bucket>);

struct Bucket {
    store: AmazonS3,
    prefix: Path,
    /// As it is called in errors: `s3://bucket/prefix`.
    name: String,
    large_uploads: Semaphore,
    small_uploads: Semaphore,
    reads: Semaphore,
    patience: Patience,
}

impl Bucket {
    /// The answer to a request that takes `bytes` there or back.
    async fn answer<T>(
        &self,
        bytes: u64,
        request: impl Future<Output = Result<T, object_store::Error>>,
    ) -> Result<T, object_store::Error> {
        let probe = async {
            let mark = self.prefix.clone().join(MARK);
            self.store.get_range(&mark, 0..1).await.map(drop)
        };
        self.patience.answer(bytes, request, probe).await
    }

    /// The bytes that an object has in a range. Each piece that arrives is an answer.
    async fn fetch(&self, at: &Path, range: Range<u64>) -> Result<Vec<u8>, object_store::Error> {
        let length = range.end - range.start;
        let all = async {
            let options = GetOptions { range: Some(range.into()), ..GetOptions::default() };
            let found = self.answer(0, self.store.get_opts(at, options)).await?;
            let mut pieces = found.into_stream();
            let mut bytes = Vec::new();
            let mut next = async || {
                let piece = async { pieces.next().await.transpose() };
                self.answer(0, piece).await
            };
            while let Some(piece) = next().await? {
                bytes.extend_from_slice(&piece);
                if bytes.len() as u64 > length {
                    break;
                }
            }
            Ok(bytes)
        };
        timeout(longest(length), all).await.unwrap_or_else(|_| Err(no_answer()))
    }
}

impl Objects {
    /// Makes a client. Asks nobody yet: `reach` does.
    pub fn new(settings: Settings) -> Result<Objects, StoreError> {
        let name = format!("s3://{}/{}", settings.bucket, settings.prefix);
        let why = |error| StoreError::Unavailable(format!("{name}: {}", told(&error)));
        let prefix = Path::parse(&settings.prefix).map_err(|e| why(e.into()))?;
        let store = builder(settings).and_then(AmazonS3Builder::build).map_err(why)?;
        Ok(Objects(Arc::new(Bucket {
            store,
            prefix,
            name,
            large_uploads: Semaphore::new(LARGE_UPLOADS_KIB_MAX as usize),
            small_uploads: Semaphore::new(SMALL_UPLOADS_KIB_MAX as usize),
            reads: Semaphore::new(READS_MAX),
            patience: Patience::new(),
        })))
    }

    /// As in the config: `s3://bucket/prefix`.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Writes, reads and removes something, so that whatever stands in the way is found at start.
    pub async fn reach(&self) -> Result<(), StoreError> {
        let (mark, none) =
            (self.0.prefix.clone().join(MARK), self.0.prefix.clone().join(NO_OBJECT));
        let what = |doing: &'static str| {
            move |error| match failed(doing, &self.0.name, &error) {
                // no object of ours is missing here, so it is the bucket
                StoreError::Gone => {
                    StoreError::Unavailable(format!("{doing} {}: {}", self.0.name, told(&error)))
                }
                failure => failure,
            }
        };
        let text = PutPayload::from_static(MARK_TEXT.as_bytes());
        let length = MARK_TEXT.len() as u64;
        let (store, bucket) = (&self.0.store, &self.0);
        bucket.answer(length, store.put(&mark, text)).await.map_err(what("writing to"))?;
        let read = bucket.fetch(&mark, 0..length).await.map_err(what("reading from"))?;
        if read != MARK_TEXT.as_bytes() {
            return Err(corrupt(&self.0.name, "what was written is read otherwise"));
        }
        match bucket.answer(0, store.delete(&none)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(what("removing from")(error)),
        }
    }

    /// Stores a message's bytes, if they are what `stored` says. What fails half-way leaves nothing
    /// that can be read.
    pub async fn put(
        &self,
        object: ObjectId,
        bytes: &Bytes,
        stored: &Stored,
    ) -> Result<(), StoreError> {
        let failed = |error| failed("storing in", &self.0.name, &error);
        upload::put(&self.0, &self.path(object), (bytes, stored))
            .await
            .map_err(|error| error.told(&self.0.name, failed))
    }

    /// A range of a message's bytes; shorter at its end. A whole message is checked by its hash;
    /// `Gone` when there is no such object.
    pub async fn read(
        &self,
        object: ObjectId,
        range: Range<u64>,
        stored: &Stored,
    ) -> Result<Vec<u8>, StoreError> {
        let end = range.end.min(stored.length);
        let range = range.start.min(end)..end;
        let bytes = if range.is_empty() {
            Vec::new()
        } else {
            let _permit = self.0.reads.acquire().await.map_err(|_| closed())?;
            let read = self.0.fetch(&self.path(object), range.clone()).await;
            read.map_err(|error| failed("reading from", &self.0.name, &error))?
        };
        let damaged = |what| Err(corrupt(&self.0.name, &format!("{what} {}", name(object))));
        if bytes.len() as u64 != range.end - range.start {
            return damaged("too short:");
        }
        if range == (0..stored.length) && *blake3::hash(&bytes).as_bytes() != stored.hash {
            return damaged("differs from its hash:");
        }
        Ok(bytes)
    }

    /// Removes objects, in this order; those that are not there count as removed. Answers how many
    /// were, and what stood in the way of the next.
    pub async fn remove(&self, objects: &[ObjectId]) -> (usize, Result<(), StoreError>) {
        let paths: Vec<_> = objects.iter().map(|object| Ok(self.path(*object))).collect();
        let mut removals = self.0.store.delete_stream(stream::iter(paths).boxed());
        let mut removed = 0;
        loop {
            let next = async { removals.next().await.transpose() };
            match self.0.answer(0, next).await {
                Ok(None) => return (removed, Ok(())),
                Ok(Some(_)) | Err(object_store::Error::NotFound { .. }) => removed += 1,
                Err(error) => return (removed, Err(failed("removing from", self.name(), &error))),
            }
        }
    }

    /// The objects behind `after`, in the order of their names, at most a thousand; none: that was
    /// all.
    pub async fn list(&self, after: Option<ObjectId>) -> Result<Vec<ObjectId>, StoreError> {
        let prefix = match self.0.prefix.as_ref() {
            "" => None,
            prefix => Some(format!("{prefix}/")),
        };
        let options = PaginatedListOptions {
            offset: after.map(|object| self.path(object).as_ref().to_owned()),
            max_keys: Some(LISTED_MAX),
            ..PaginatedListOptions::default()
        };
        let listing = self.0.store.list_paginated(prefix.as_deref(), options);
        let listed = self.0.answer(0, listing).await;
        let listed = listed.map_err(|error| failed("listing", &self.0.name, &error))?;
        let names = listed.result.objects.iter().filter_map(|object| object.location.filename());
        let mut objects: Vec<ObjectId> = names.filter_map(parsed).collect();
        objects.sort_unstable();
        Ok(objects)
    }

    fn path(&self, object: ObjectId) -> Path {
        self.0.prefix.clone().join(name(object))
    }
}

/// The order of names is that of numbers, which are never negative.
fn name(object: ObjectId) -> String {
    format!("{:016x}", object.0)
}

fn parsed(name: &str) -> Option<ObjectId> {
    let number = i64::from_str_radix(name, 16).ok().filter(|_| name.len() == 16);
    number.map(ObjectId)
}

fn closed() -> StoreError {
    StoreError::Unavailable("the object store's client has stopped".into())
}

fn builder(settings: Settings) -> Result<AmazonS3Builder, object_store::Error> {
    let mut client = ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        // each request has its own, by its size: see `Patience`
        .with_timeout_disabled()
        .with_pool_idle_timeout(IDLE_TIMEOUT)
        .with_allow_http(settings.transport == Transport::HttpAllowed);
    for authority in Certificate::from_pem_bundle(&settings.authority.unwrap_or_default())? {
        client = client.with_root_certificate(authority);
    }
    let (init_backoff, max_backoff) = RETRY_WAITS;
    let backoff = BackoffConfig { init_backoff, max_backoff, base: 2.0 };
    let retry = RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT };
    let mut builder = match settings.keys {
        Some(keys) => AmazonS3Builder::new()
            .with_access_key_id(keys.access_key)
            .with_secret_access_key(keys.secret),
        None => AmazonS3Builder::from_env(),
    };
    if let Some(endpoint) = settings.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = settings.region {
        builder = builder.with_region(region);
    }
    // One by one is what every server of this kind can do.
    let builder = builder.with_bucket_name(settings.bucket).with_disable_bulk_delete(true);
    Ok(builder.with_client_options(client).with_retry(retry))
}
