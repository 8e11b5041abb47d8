//! Message bytes on their way in, by SMTP or APPEND: in memory while they are few, else in a file
//! of `data_dir/spool`; then hash and parse. Knows neither protocol.
//!
//! The file lives as long as the `Spool`, or the `Spooled` that it becomes: hold that until the
//! commit has answered. What a crash leaves behind is removed by `clear` at start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::mail::message::{self, Parsed};
use crate::store::change::{Bytes, NewMessage};

/// Up to this size a message stays in memory; also the piece in which the file is written.
pub const MEMORY_BYTES_MAX: usize = 256 * 1024;
/// Up to this size a message is parsed where it arrived; above, on a thread of its own.
const PARSED_AT_ONCE_BYTES_MAX: usize = 32 * 1024;
/// How much of a message's start is kept at hand for who looks at its header.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Messages above `MEMORY_BYTES_MAX` that are parsed at the same time; each is in memory then.
const LARGE_PARSES_MAX: usize = 2;

static LARGE_PARSES: Semaphore = Semaphore::const_new(LARGE_PARSES_MAX);
static NEXT_FILE: AtomicU64 = AtomicU64::new(0);

/// Why a message cannot be taken.
#[derive(Debug)]
pub enum SpoolError {
    /// It has more bytes than it may.
    TooLarge,
    /// The disk failed or is full.
    Io(io::Error),
}

impl std::fmt::Display for SpoolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SpoolError::TooLarge => f.write_str("message too large"),
            SpoolError::Io(error) => write!(f, "spool: {error}"),
        }
    }
}

impl std::error::Error for SpoolError {}

impl From<io::Error> for SpoolError {
    fn from(error: io::Error) -> SpoolError {
        SpoolError::Io(error)
    }
}

/// A message that is coming in.
pub struct Spool {
    folder: PathBuf,
    limit_bytes: u64,
    memory_bytes_max: usize,
    bytes: u64,
    /// All bytes, or those that are not in the file yet.
    buffer: Vec<u8>,
    head: Vec<u8>,
    disk: Option<Disk>,
}

/// A message that is complete: hold it until the commit has answered.
#[must_use = "its file is removed when it is dropped"]
pub struct Spooled {
    message: NewMessage,
    head: Vec<u8>,
    _file: Option<SpoolFile>,
}

/// The part of a message that is in a file.
struct Disk {
    file: File,
    name: SpoolFile,
    hasher: blake3::Hasher,
}

/// A file that is removed when this is dropped.
struct SpoolFile(PathBuf);

impl Drop for SpoolFile {
    fn drop(&mut self) {
        // What cannot be removed now is removed at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// Where the spool is.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("spool")
}

/// Removes what a crash has left behind. To be called at start, before any message comes in.
pub fn clear(data_dir: &Path) -> io::Result<()> {
    let folder = folder(data_dir);
    fs::create_dir_all(&folder)?;
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

impl Spool {
    /// An empty message of at most `limit_bytes`, whose file would be made in `folder`.
    pub fn new(folder: PathBuf, limit_bytes: u64) -> Spool {
        let (buffer, head, memory_bytes_max) = (Vec::new(), Vec::new(), MEMORY_BYTES_MAX);
        Spool { folder, limit_bytes, memory_bytes_max, bytes: 0, buffer, head, disk: None }
    }

    /// As `new`, with its file from the first byte: for who keeps several messages at a time.
    pub fn on_disk(folder: PathBuf, limit_bytes: u64) -> Spool {
        Spool { memory_bytes_max: 0, ..Spool::new(folder, limit_bytes) }
    }

    /// Takes the next bytes. After an error the message cannot be finished.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), SpoolError> {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        if self.bytes > self.limit_bytes {
            return Err(SpoolError::TooLarge);
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() > self.memory_bytes_max {
            self.flush().await?;
        }
        Ok(())
    }

    /// The message is complete: parses it.
    pub async fn finish(mut self) -> Result<Spooled, SpoolError> {
        if self.disk.is_none() {
            return in_memory(self.buffer).await;
        }
        self.flush().await?;
        let Some(Disk { name, hasher, .. }) = self.disk else {
            return Err(SpoolError::Io(io::Error::other("the spool file is gone")));
        };
        let len = self.bytes;
        let (name, parsed) = parse_file(name, len).await?;
        let bytes = Bytes::File { path: name.0.clone(), len };
        let hash = *hasher.finalize().as_bytes();
        let message = NewMessage { bytes, hash, parsed: Arc::new(parsed) };
        Ok(Spooled { message, head: self.head, _file: Some(name) })
    }

    /// Moves the buffer into the file, on a thread that may wait for the disk. When the caller
    /// gives up meanwhile, that thread drops the file, which removes it.
    async fn flush(&mut self) -> Result<(), SpoolError> {
        if self.head.is_empty() {
            self.head = self.buffer[..self.buffer.len().min(HEAD_BYTES_MAX)].to_vec();
        }
        let (folder, disk) = (self.folder.clone(), self.disk.take());
        let mut buffer = std::mem::take(&mut self.buffer);
        let (disk, buffer) = blocking(move || {
            let mut disk = match disk {
                Some(disk) => disk,
                None => Disk::create(&folder)?,
            };
            disk.file.write_all(&buffer)?;
            disk.hasher.update(&buffer);
            buffer.clear();
            Ok((disk, buffer))
        })
        .await?;
        (self.disk, self.buffer) = (Some(disk), buffer);
        Ok(())
    }
}

impl Spooled {
    /// The same message with another header (its empty line included): hashed and parsed anew.
    pub async fn with_header(self, header: &[u8], folder: PathBuf) -> Result<Spooled, SpoolError> {
        let body_start = self.message.parsed.structure.body_start;
        let body_bytes = self.message.bytes.len().saturating_sub(body_start);
        let mut spool = Spool::new(folder, body_bytes.saturating_add(header.len() as u64));
        spool.write(header).await?;
        match &self.message.bytes {
            Bytes::Memory(bytes) => {
                let start = usize::try_from(body_start).unwrap_or(usize::MAX);
                spool.write(bytes.get(start..).unwrap_or_default()).await?;
            }
            Bytes::File { path, len } => {
                let mut at = body_start;
                while at < *len {
                    let piece = read_piece(path.clone(), at..*len).await?;
                    at += piece.len() as u64;
                    spool.write(&piece).await?;
                }
            }
        }
        spool.finish().await
    }

    /// A message in BINARYMIME as lines.
    pub async fn as_lines(self, folder: PathBuf) -> Result<Spooled, SpoolError> {
        let permit = LARGE_PARSES.acquire().await.map_err(io::Error::other)?;
        let message = self.message.clone();
        let lines = blocking(move || {
            // Held by the thread: it goes on when the caller has given up.
            let _permit = permit;
            let structure = &message.parsed.structure;
            Ok(match &message.bytes {
                Bytes::Memory(bytes) => message::as_lines(bytes, structure),
                Bytes::File { path, .. } => message::as_lines(&fs::read(path)?, structure),
            })
        })
        .await?;
        let mut spool = Spool::new(folder, lines.len() as u64);
        spool.write(&lines).await?;
        spool.finish().await
    }

    /// Whether the message would lose something as lines; see `message::loses_nul`.
    pub async fn loses_nul(&self) -> Result<bool, SpoolError> {
        let permit = LARGE_PARSES.acquire().await.map_err(io::Error::other)?;
        let message = self.message.clone();
        blocking(move || {
            let _permit = permit;
            let structure = &message.parsed.structure;
            Ok(match &message.bytes {
                Bytes::Memory(bytes) => message::loses_nul(bytes, structure),
                Bytes::File { path, .. } => message::loses_nul(&fs::read(path)?, structure),
            })
        })
        .await
    }

    /// Whether all bytes are ASCII.
    pub async fn is_ascii(&self) -> Result<bool, SpoolError> {
        let (path, len) = match &self.message.bytes {
            Bytes::Memory(bytes) => return Ok(bytes.is_ascii()),
            Bytes::File { path, len } => (path, *len),
        };
        let mut at = 0;
        while at < len {
            let piece = read_piece(path.clone(), at..len).await?;
            if !piece.is_ascii() {
                return Ok(false);
            }
            at += piece.len() as u64;
        }
        Ok(true)
    }

    /// What is to be stored.
    pub fn message(&self) -> &NewMessage {
        &self.message
    }

    /// Its first bytes, `HEAD_BYTES_MAX` at most.
    pub fn head(&self) -> &[u8] {
        match &self.message.bytes {
            Bytes::Memory(bytes) => &bytes[..bytes.len().min(HEAD_BYTES_MAX)],
            Bytes::File { .. } => &self.head,
        }
    }
}

impl Disk {
    fn create(folder: &Path) -> io::Result<Disk> {
        fs::create_dir_all(folder)?;
        let number = NEXT_FILE.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!("{}-{number}", std::process::id()));
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(Disk { file, name: SpoolFile(path), hasher: blake3::Hasher::new() })
    }
}

/// The next bytes of a spool file; at least one.
async fn read_piece(path: PathBuf, range: Range<u64>) -> Result<Vec<u8>, SpoolError> {
    blocking(move || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(range.start))?;
        let length = (range.end - range.start).min(MEMORY_BYTES_MAX as u64);
        let mut piece = Vec::with_capacity(length as usize);
        file.take(length).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Err(io::Error::other("the spool file is shorter than what was written"));
        }
        Ok(piece)
    })
    .await
}

async fn in_memory(bytes: Vec<u8>) -> Result<Spooled, SpoolError> {
    let hash = *blake3::hash(&bytes).as_bytes();
    let bytes = Arc::new(bytes);
    let parsed = if bytes.len() <= PARSED_AT_ONCE_BYTES_MAX {
        message::parse(&bytes)
    } else {
        let bytes = bytes.clone();
        blocking(move || Ok(message::parse(&bytes))).await?
    };
    let message = NewMessage { bytes: Bytes::Memory(bytes), hash, parsed: Arc::new(parsed) };
    Ok(Spooled { message, head: Vec::new(), _file: None })
}

async fn parse_file(name: SpoolFile, len: u64) -> Result<(SpoolFile, Parsed), SpoolError> {
    let permit = LARGE_PARSES.acquire().await.map_err(io::Error::other)?;
    blocking(move || {
        // Held by the thread: it goes on when the caller has given up.
        let _permit = permit;
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or_default());
        File::open(&name.0)?.take(len).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != len {
            return Err(io::Error::other("the spool file is shorter than what was written"));
        }
        let parsed = message::parse(&bytes);
        Ok((name, parsed))
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, SpoolError> {
    let done = spawn_blocking(work).await;
    done.map_err(io::Error::other).and_then(|result| result).map_err(SpoolError::Io)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for each test, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("postfach-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).expect("a temporary folder");
            Folder(path)
        }

        fn files(&self) -> usize {
            fs::read_dir(folder(&self.0)).map_or(0, Iterator::count)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    async fn spooled(data_dir: &Folder, bytes: &[u8]) -> Spooled {
        let mut spool = Spool::new(folder(&data_dir.0), bytes.len() as u64);
        for piece in bytes.chunks(60_000) {
            spool.write(piece).await.expect("room");
        }
        spool.finish().await.expect("a message")
    }

    fn message(bytes: usize) -> Vec<u8> {
        let mut message = b"Subject: large\r\n\r\n".to_vec();
        message.resize(bytes, b'x');
        message
    }

    #[tokio::test]
    async fn a_message_at_the_limit_stays_in_memory_and_one_byte_more_goes_to_disk() {
        let data_dir = Folder::new("spool-limit");
        let bytes = message(MEMORY_BYTES_MAX);
        let small = spooled(&data_dir, &bytes).await;
        assert!(matches!(&small.message().bytes, Bytes::Memory(b) if **b == bytes));
        assert_eq!(data_dir.files(), 0);
        let bytes = message(MEMORY_BYTES_MAX + 1);
        let large = spooled(&data_dir, &bytes).await;
        let Bytes::File { path, len } = &large.message().bytes else { panic!("not in a file") };
        assert_eq!(*len, bytes.len() as u64);
        assert_eq!(fs::read(path).expect("the file"), bytes);
        assert_eq!(data_dir.files(), 1);
        drop(large);
        assert_eq!(data_dir.files(), 0);
    }

    #[tokio::test]
    async fn memory_and_disk_give_the_same_hash_and_structure() {
        let data_dir = Folder::new("spool-same");
        let bytes = message(3 * MEMORY_BYTES_MAX + 17);
        let large = spooled(&data_dir, &bytes).await;
        assert_eq!(large.message().hash, *blake3::hash(&bytes).as_bytes());
        assert_eq!(large.message().parsed.envelope.subject.as_deref(), Some(&b"large"[..]));
        assert_eq!(large.head(), &bytes[..HEAD_BYTES_MAX]);
        let small = spooled(&data_dir, &bytes[..100]).await;
        assert_eq!(small.head(), &bytes[..100]);
    }

    #[tokio::test]
    async fn a_message_may_have_its_limit_and_not_one_byte_more() {
        let data_dir = Folder::new("spool-too-large");
        let mut spool = Spool::new(folder(&data_dir.0), 10);
        assert!(spool.write(b"0123456789").await.is_ok());
        assert!(matches!(spool.write(b"x").await, Err(SpoolError::TooLarge)));
    }

    #[tokio::test]
    async fn a_message_that_is_given_up_leaves_no_file() {
        let data_dir = Folder::new("spool-dropped");
        let mut spool = Spool::new(folder(&data_dir.0), u64::MAX);
        spool.write(&message(2 * MEMORY_BYTES_MAX)).await.expect("room");
        assert_eq!(data_dir.files(), 1);
        drop(spool);
        assert_eq!(data_dir.files(), 0);
    }

    #[tokio::test]
    async fn another_header_makes_another_message_with_the_same_body() {
        let data_dir = Folder::new("spool-header");
        for bytes in [message(1_000), message(2 * MEMORY_BYTES_MAX)] {
            let old = spooled(&data_dir, &bytes).await;
            let body = &bytes[b"Subject: large\r\n\r\n".len()..];
            let header = b"Date: x\r\nSubject: other\r\n\r\n";
            let new = old.with_header(header, folder(&data_dir.0)).await.expect("room");
            let wanted = [&header[..], body].concat();
            assert_eq!(new.message().hash, *blake3::hash(&wanted).as_bytes());
            assert_eq!(new.message().bytes.len(), wanted.len() as u64);
            assert_eq!(new.message().parsed.envelope.subject.as_deref(), Some(&b"other"[..]));
            assert!(new.is_ascii().await.expect("read"));
        }
        assert_eq!(data_dir.files(), 0, "both files are gone");
        let mut bytes = message(2 * MEMORY_BYTES_MAX);
        bytes.push(0xfc);
        assert!(!spooled(&data_dir, &bytes).await.is_ascii().await.expect("read"));
    }

    #[test]
    fn what_a_crash_left_behind_is_removed() {
        let data_dir = Folder::new("spool-clear");
        clear(&data_dir.0).expect("made");
        fs::write(folder(&data_dir.0).join("1-1"), b"x").expect("written");
        clear(&data_dir.0).expect("cleared");
        assert_eq!(data_dir.files(), 0);
    }
}
