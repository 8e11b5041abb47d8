//! Message bytes on their way from a source: many small ones at a time in memory, a large one by
//! itself through a file. Each is checked by its hash.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use super::{End, Located};
use crate::store::StoreError;
use crate::store::change::Bytes;

/// Up to this size a message passes through memory.
pub(super) const SMALL_BYTES_MAX: u64 = 256 << 10;
/// Most bytes of small messages at a time.
const TOGETHER_BYTES_MAX: u64 = 8 << 20;
/// Pieces in which a large message is read.
const PIECE_BYTES: u64 = 1 << 20;

/// Where large messages pass through.
pub(super) struct Bodies {
    scratch: PathBuf,
}

impl Bodies {
    /// Makes the folder.
    pub(super) fn new(scratch: PathBuf) -> Result<Bodies, StoreError> {
        fs::create_dir_all(&scratch).map_err(|e| failed(&e))?;
        Ok(Bodies { scratch })
    }

    /// The bytes of the first of these messages: of as many as may be at hand at a time.
    pub(super) async fn some(
        &mut self,
        from: &mut dyn End,
        messages: &[Located],
    ) -> Result<Vec<Bytes>, StoreError> {
        match messages.first() {
            None => Ok(Vec::new()),
            Some(first) if first.length > SMALL_BYTES_MAX => {
                Ok(vec![self.large(from, *first).await?])
            }
            Some(_) => {
                let bodies = small(from, first_small(messages)).await?;
                Ok(bodies.into_iter().map(|bytes| Bytes::Memory(Arc::new(bytes))).collect())
            }
        }
    }

    /// What was given out is where it belongs.
    pub(super) fn used(&self) -> Result<(), StoreError> {
        match fs::remove_file(self.file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(&error)),
            _ => Ok(()),
        }
    }

    async fn large(&mut self, from: &mut dyn End, message: Located) -> Result<Bytes, StoreError> {
        let mut file = File::create(self.file()).map_err(|e| failed(&e))?;
        large(from, message, |piece| file.write_all(piece).map_err(|e| failed(&e))).await?;
        Ok(Bytes::File { path: self.file(), len: message.length })
    }

    fn file(&self) -> PathBuf {
        self.scratch.join("message")
    }
}

impl Drop for Bodies {
    fn drop(&mut self) {
        // What cannot be removed now is in the way of nobody.
        let _ = self.used();
        let _ = fs::remove_dir(&self.scratch);
    }
}

/// As many of the first messages as are small, and not too much together; one at least.
pub(super) fn first_small(messages: &[Located]) -> &[Located] {
    let mut together = 0;
    let fits = |message: &&Located| {
        together += message.length;
        message.length <= SMALL_BYTES_MAX && together <= TOGETHER_BYTES_MAX
    };
    &messages[..messages.iter().take_while(fits).count()]
}

/// Small messages that are what they must be.
pub(super) async fn small(
    from: &mut dyn End,
    messages: &[Located],
) -> Result<Vec<Vec<u8>>, StoreError> {
    let bodies = from.bodies(messages).await?;
    let is_whole = |(message, bytes): (&Located, &Vec<u8>)| {
        bytes.len() as u64 == message.length && *blake3::hash(bytes).as_bytes() == message.hash
    };
    match messages.iter().zip(&bodies).all(is_whole) && bodies.len() == messages.len() {
        true => Ok(bodies),
        false => Err(damaged()),
    }
}

/// A large message, piece by piece; fails at its end if it is not what it must be.
pub(super) async fn large(
    from: &mut dyn End,
    message: Located,
    mut each: impl FnMut(&[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut hasher = blake3::Hasher::new();
    let mut at = 0;
    while at < message.length {
        let end = message.length.min(at + PIECE_BYTES);
        let piece = from.piece(message, at..end).await?;
        if piece.len() as u64 != end - at {
            return Err(damaged());
        }
        hasher.update(&piece);
        each(&piece)?;
        at = end;
    }
    if *hasher.finalize().as_bytes() == message.hash { Ok(()) } else { Err(damaged()) }
}

fn damaged() -> StoreError {
    StoreError::Corrupt("a message differs from its hash".into())
}

fn failed(error: &io::Error) -> StoreError {
    let why = format!("a message on its way: {error}");
    match error.kind() {
        io::ErrorKind::StorageFull => StoreError::NoSpace(why),
        _ => StoreError::Unavailable(why),
    }
}
