//! Packs: append-only files that hold the bytes of messages. A record is a header and the bytes as
//! they are, so that a range is read in place. The database says how far a pack is committed; what
//! lies beyond was never acknowledged and is cut off. Knows no database.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::change::Bytes;

/// A pack that has grown to this gets no further group.
pub(super) const PACK_BYTES_MAX: u64 = 128 << 20;
/// Magic, length (8 bytes), check (the first 4 bytes of the hash), hash (32 bytes).
pub(super) const HEADER_BYTES: u64 = 4 + 8 + 4 + 32;
const MAGIC: &[u8; 4] = b"PFm1";
/// Bytes are gathered up to this before they are written.
const BUFFER_BYTES_MAX: usize = 1 << 20;
/// Pieces in which a spool file is copied.
const PIECE_BYTES: usize = 256 << 10;
/// Most packs that are open for reading.
const OPEN_PACKS_MAX: usize = 64;

/// Where a message's bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) pack: i64,
    /// Of the bytes, behind the header.
    pub(super) start: u64,
    pub(super) length: u64,
}

/// The pack that grows. Used by the writer alone.
pub(super) struct PackWriter {
    directory: PathBuf,
    number: i64,
    file: File,
    /// What the database says is committed.
    committed_end: u64,
    /// How far the file is written; `buffer` follows.
    written_end: u64,
    buffer: Vec<u8>,
    #[cfg(test)]
    pub(super) faults: Faults,
}

/// Lets a test fail the disk.
#[cfg(test)]
#[derive(Clone, Default)]
pub(super) struct Faults(pub(super) Arc<std::sync::atomic::AtomicU8>);

#[cfg(test)]
impl Faults {
    pub(super) const WRITE_NO_SPACE: u8 = 1;
    pub(super) const SYNC_FAILS: u8 = 2;

    fn check(&self, fault: u8, error: io::ErrorKind) -> io::Result<()> {
        let set = self.0.load(std::sync::atomic::Ordering::SeqCst);
        if set == fault { Err(error.into()) } else { Ok(()) }
    }
}

impl PackWriter {
    /// Goes on behind `committed_end` of pack `number`, which is made if it does not exist. What
    /// lies beyond is cut off.
    pub(super) fn open(
        directory: &Path,
        number: i64,
        committed_end: u64,
    ) -> io::Result<PackWriter> {
        let path = pack_path(directory, number);
        let is_new = !path.exists();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let file = options.open(&path)?;
        let length = file.metadata()?.len();
        if length < committed_end {
            let problem = format!("{} ends before its committed end", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
        }
        if length > committed_end {
            file.set_len(committed_end)?;
            file.sync_all()?;
        }
        if is_new {
            File::open(directory)?.sync_all()?;
        }
        Ok(PackWriter {
            directory: directory.into(),
            number,
            file,
            committed_end,
            written_end: committed_end,
            buffer: Vec::new(),
            #[cfg(test)]
            faults: Faults::default(),
        })
    }

    /// The number of the pack that grows.
    pub(super) fn number(&self) -> i64 {
        self.number
    }

    /// Where the next record starts.
    pub(super) fn end(&self) -> u64 {
        self.written_end + self.buffer.len() as u64
    }

    /// Whether there is anything to be committed.
    pub(super) fn has_tail(&self) -> bool {
        self.end() > self.committed_end
    }

    /// Starts the next pack if this one is full. Between groups only.
    pub(super) fn roll_if_full(&mut self) -> io::Result<()> {
        if self.committed_end < PACK_BYTES_MAX {
            return Ok(());
        }
        self.roll()
    }

    /// Starts the next pack. Between groups only.
    pub(super) fn roll(&mut self) -> io::Result<()> {
        #[allow(unused_mut)]
        let mut next = PackWriter::open(&self.directory, self.number + 1, 0)?;
        #[cfg(test)]
        {
            next.faults = self.faults.clone();
        }
        *self = next;
        Ok(())
    }

    /// Appends a record. When it fails, the pack ends where it did before.
    pub(super) fn append(&mut self, hash: &[u8; 32], bytes: &Bytes) -> io::Result<Place> {
        self.record(hash, bytes.len(), |pack| match bytes {
            Bytes::Memory(bytes) => pack.put(bytes),
            Bytes::File { path, len } => {
                let copied = pack.copy(&File::open(path)?, 0..*len)?;
                if copied == *hash { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
            }
        })
    }

    /// Appends a record that stands in another pack, if its bytes are still what they were.
    pub(super) fn append_again(
        &mut self,
        hash: &[u8; 32],
        (packs, place): (&PackReader, &Place),
    ) -> io::Result<Place> {
        let source = packs.file(place.pack)?;
        self.record(hash, place.length, |pack| {
            let copied = pack.copy(&source, place.start..place.start + place.length)?;
            if copied == *hash { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
        })
    }

    fn record(
        &mut self,
        hash: &[u8; 32],
        length: u64,
        fill: impl FnOnce(&mut PackWriter) -> io::Result<()>,
    ) -> io::Result<Place> {
        let mark = self.end();
        let place = Place { pack: self.number, start: mark + HEADER_BYTES, length };
        let header = [MAGIC, &length.to_le_bytes()[..], &hash[..4], &hash[..]].concat();
        if let Err(error) = self.put(&header).and_then(|()| fill(self)) {
            self.rewind(mark);
            return Err(error);
        }
        Ok(place)
    }

    /// Forgets what was appended since the pack ended at `mark`.
    pub(super) fn rewind(&mut self, mark: u64) {
        let keep = mark.saturating_sub(self.written_end) as usize;
        self.buffer.truncate(keep);
        self.written_end = self.written_end.min(mark);
    }

    /// Forgets what is not committed.
    pub(super) fn rewind_to_committed(&mut self) {
        self.rewind(self.committed_end);
        // What was written stays in the file until it is overwritten; giving the space back matters
        // on a full disk, and failing to is harmless.
        let _ = self.file.set_len(self.committed_end);
    }

    /// Writes what is gathered.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.check(Faults::WRITE_NO_SPACE, io::ErrorKind::StorageFull)?;
        self.file.write_all_at(&self.buffer, self.written_end)?;
        self.written_end += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// Makes durable what is written. A failure is final: the kernel may have dropped the pages,
    /// and a second try would answer that all is well.
    pub(super) fn sync(&self) -> io::Result<()> {
        #[cfg(test)]
        self.faults.check(Faults::SYNC_FAILS, io::ErrorKind::Other)?;
        self.file.sync_data()
    }

    /// The database has recorded this end.
    pub(super) fn committed(&mut self) {
        self.committed_end = self.end();
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Copies a range of a file; answers the hash of what it copied.
    fn copy(&mut self, source: &File, range: Range<u64>) -> io::Result<[u8; 32]> {
        let mut hasher = blake3::Hasher::new();
        let mut piece = vec![0; PIECE_BYTES];
        let mut at = range.start;
        while at < range.end {
            let want = (range.end - at).min(PIECE_BYTES as u64) as usize;
            source.read_exact_at(&mut piece[..want], at)?;
            hasher.update(&piece[..want]);
            self.put(&piece[..want])?;
            at += want as u64;
        }
        Ok(*hasher.finalize().as_bytes())
    }
}

/// Reads from any pack; shared by all threads.
pub(super) struct PackReader {
    directory: PathBuf,
    open: Mutex<HashMap<i64, Arc<File>>>,
}

impl PackReader {
    pub(super) fn new(directory: &Path) -> PackReader {
        PackReader { directory: directory.into(), open: Mutex::default() }
    }

    /// A range of a message's bytes; shorter at its end.
    pub(super) fn read(&self, place: &Place, range: &Range<u64>) -> io::Result<Vec<u8>> {
        let end = range.end.min(place.length);
        let start = range.start.min(end);
        let mut bytes = vec![0; (end - start) as usize];
        self.file(place.pack)?.read_exact_at(&mut bytes, place.start + start)?;
        Ok(bytes)
    }

    /// Removes a pack that nothing refers to any more.
    pub(super) fn remove(&self, number: i64) -> io::Result<()> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&number);
        std::fs::remove_file(pack_path(&self.directory, number))
    }

    fn file(&self, number: i64) -> io::Result<Arc<File>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&number) {
            return Ok(file.clone());
        }
        if open.len() >= OPEN_PACKS_MAX {
            open.clear();
        }
        let file = Arc::new(File::open(pack_path(&self.directory, number))?);
        open.insert(number, file.clone());
        Ok(file)
    }
}

/// Removes the packs that the database does not know: made by a group that was never committed, or
/// rewritten elsewhere.
pub(super) fn remove_unknown(directory: &Path, known: &[i64]) -> io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<i64>().ok());
        let is_pack = path.extension().is_some_and(|extension| extension == "pack");
        if is_pack && number.is_some_and(|number| !known.contains(&number)) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

fn pack_path(directory: &Path, number: i64) -> PathBuf {
    directory.join(format!("{number:08}.pack"))
}
