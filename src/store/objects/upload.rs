//! Bytes on their way into a bucket: few in one request, many in parts, never a whole spool file in
//! memory.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt};

use super::failure::corrupt;
use super::patience::SMALL_BYTES_MAX;
use super::{Bucket, Stored, closed};
use crate::store::StoreError;
use crate::store::change::Bytes;

/// A part of an upload: the least that S3 takes. What fits into one part is put in one request.
pub(super) const PART_BYTES: u64 = 5 << 20;

/// Why a message was not stored.
pub(super) enum UploadError {
    /// The server, or the way to it.
    Server(object_store::Error),
    /// The spool file cannot be read.
    File(std::io::Error),
    /// The spool file is not what was hashed when it came in.
    Changed,
    /// The client is being dropped.
    Closed,
}

impl UploadError {
    /// As the store's callers know it.
    pub(super) fn told(
        self,
        bucket: &str,
        failed: impl FnOnce(object_store::Error) -> StoreError,
    ) -> StoreError {
        match self {
            UploadError::Server(error) => match failed(error) {
                // what is being stored cannot be gone
                StoreError::Gone => StoreError::Unavailable(format!("{bucket}: upload lost")),
                failure => failure,
            },
            UploadError::File(error) => {
                StoreError::Unavailable(format!("{bucket}: reading a spooled message: {error}"))
            }
            UploadError::Changed => corrupt(bucket, "a spooled message differs from its hash"),
            UploadError::Closed => closed(),
        }
    }
}

impl From<object_store::Error> for UploadError {
    fn from(error: object_store::Error) -> UploadError {
        UploadError::Server(error)
    }
}

/// Stores bytes if their hash is what was told.
pub(super) async fn put(
    bucket: &Bucket,
    at: &Path,
    (bytes, stored): (&Bytes, &Stored),
) -> Result<(), UploadError> {
    let kib = u32::try_from(bytes.len().min(PART_BYTES).div_ceil(1024)).unwrap_or(u32::MAX);
    let room = match bytes.len() {
        0..=SMALL_BYTES_MAX => &bucket.small_uploads,
        _ => &bucket.large_uploads,
    };
    let _permit = room.acquire_many(kib).await.map_err(|_| UploadError::Closed)?;
    match bytes {
        Bytes::Memory(bytes) => {
            one(bucket, at, bytes.to_vec()).await?;
        }
        Bytes::File { path, len } => {
            let source = Source::of(path, *len);
            if *len <= PART_BYTES {
                let (source, whole) = source.part().await?;
                source.check(stored)?;
                one(bucket, at, whole).await?;
            } else {
                in_parts((bucket, at), source, stored).await?;
            }
        }
    }
    Ok(())
}

async fn one(bucket: &Bucket, at: &Path, bytes: Vec<u8>) -> Result<(), UploadError> {
    let length = bytes.len() as u64;
    bucket.answer(length, bucket.store.put(at, bytes.into())).await?;
    Ok(())
}

/// The object is there with the last request or not at all.
async fn in_parts(
    (bucket, at): (&Bucket, &Path),
    source: Source,
    stored: &Stored,
) -> Result<(), UploadError> {
    let mut upload = bucket.answer(0, bucket.store.put_multipart(at)).await?;
    let done = all_parts((upload.as_mut(), bucket), source, stored).await;
    if done.is_err() {
        // What cannot be taken back now, the bucket drops after its time.
        let _ = bucket.answer(0, upload.abort()).await;
    }
    done
}

async fn all_parts(
    (upload, bucket): (&mut dyn MultipartUpload, &Bucket),
    mut source: Source,
    stored: &Stored,
) -> Result<(), UploadError> {
    while source.at < source.end {
        let part;
        (source, part) = source.part().await?;
        bucket.answer(part.len() as u64, upload.put_part(part.into())).await?;
    }
    source.check(stored)?;
    bucket.answer(0, upload.complete()).await?;
    Ok(())
}

/// A spool file that is read once, from its start.
struct Source {
    path: PathBuf,
    /// Once something was read.
    file: Option<File>,
    at: u64,
    end: u64,
    hasher: blake3::Hasher,
}

impl Source {
    fn of(path: &std::path::Path, end: u64) -> Source {
        Source { path: path.to_owned(), file: None, at: 0, end, hasher: blake3::Hasher::new() }
    }

    /// The next part. Disk and hash are waited for where nobody else is kept waiting.
    async fn part(mut self) -> Result<(Source, Vec<u8>), UploadError> {
        let read = tokio::task::spawn_blocking(move || {
            let part = self.read().map_err(UploadError::File)?;
            Ok((self, part))
        });
        read.await.map_err(|broke_off| UploadError::File(std::io::Error::other(broke_off)))?
    }

    fn read(&mut self) -> std::io::Result<Vec<u8>> {
        let file = match self.file.take() {
            Some(file) => file,
            None => File::open(&self.path)?,
        };
        let mut part = vec![0; (self.end - self.at).min(PART_BYTES) as usize];
        file.read_exact_at(&mut part, self.at)?;
        self.file = Some(file);
        self.hasher.update(&part);
        self.at += part.len() as u64;
        Ok(part)
    }

    fn check(&self, stored: &Stored) -> Result<(), UploadError> {
        let same = self.hasher.finalize().as_bytes() == &stored.hash;
        if same { Ok(()) } else { Err(UploadError::Changed) }
    }
}
