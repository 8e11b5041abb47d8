//! A message that is to be signed, read in one pass: its header kept, its body only hashed.

use std::fs::File;
use std::io::{self, Read};

use super::{BodyHash, BodyHasher};
use crate::store::change::Bytes;

/// Longest header that is signed. A signature over a part of it would be none.
pub const HEADER_BYTES_MAX: usize = 1024 * 1024;
/// How much of a file is read at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// What `sign` needs of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// The header, with the CRLF of its last field and without the empty line. Fields that are to
    /// go out above it may be put before it.
    pub header: Vec<u8>,
    /// The body's hash.
    pub body: BodyHash,
}

impl Content {
    /// Of a message at hand.
    pub fn of(message: &[u8]) -> io::Result<Content> {
        let mut parts = Parts::default();
        parts.write(message)?;
        Ok(parts.finish())
    }

    /// Of a message in memory or in a file, which is read piece by piece: this waits for the disk.
    pub fn read(bytes: &Bytes) -> io::Result<Content> {
        let (path, len) = match bytes {
            Bytes::Memory(message) => return Content::of(message),
            Bytes::File { path, len } => (path, *len),
        };
        let mut parts = Parts::default();
        let mut file = File::open(path)?.take(len);
        let mut piece = vec![0; PIECE_BYTES];
        let mut read = 0;
        loop {
            match file.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    parts.write(&piece[..count])?;
                    read += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if read != len {
            return Err(io::Error::other("the message is shorter than it should be"));
        }
        Ok(parts.finish())
    }
}

/// A message on its way through.
#[derive(Default)]
struct Parts {
    header: Vec<u8>,
    body: Option<BodyHasher>,
}

impl Parts {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(body) = &mut self.body {
            body.write(bytes);
            return Ok(());
        }
        // Four bytes could be an end that began in the piece before.
        let unseen = self.header.len().saturating_sub(3);
        let longest = HEADER_BYTES_MAX + b"\r\n".len();
        let room = longest.saturating_sub(self.header.len());
        let (bytes, beyond) = bytes.split_at(bytes.len().min(room));
        self.header.extend_from_slice(bytes);
        let Some((end, start)) = header_end(&self.header, unseen) else {
            if self.header.len() >= longest {
                return Err(io::Error::other("the header is too long to be signed"));
            }
            return Ok(());
        };
        let mut body = BodyHasher::new();
        body.write(&self.header[start..]);
        body.write(beyond);
        self.header.truncate(end);
        self.body = Some(body);
        Ok(())
    }

    /// Without an empty line there is no body.
    fn finish(self) -> Content {
        Content { header: self.header, body: self.body.unwrap_or_default().finish() }
    }
}

/// Where the header ends and where the body starts.
fn header_end(text: &[u8], unseen: usize) -> Option<(usize, usize)> {
    if text.starts_with(b"\r\n") {
        return Some((0, 2));
    }
    let found = text[unseen..].windows(4).position(|bytes| bytes == b"\r\n\r\n");
    found.map(|at| (unseen + at + 2, unseen + at + 4))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn body(body: &[u8]) -> BodyHash {
        let mut hasher = BodyHasher::new();
        hasher.write(body);
        hasher.finish()
    }

    #[test]
    fn the_empty_line_is_found_wherever_the_pieces_end() {
        let message = b"From: a\r\nTo: b\r\n\r\nbody\r\n\r\nmore\r\n";
        for bytes in 1..message.len() {
            let mut parts = Parts::default();
            message.chunks(bytes).for_each(|piece| parts.write(piece).expect("short"));
            let content = parts.finish();
            assert_eq!(content.header, b"From: a\r\nTo: b\r\n", "{bytes}");
            assert_eq!(content.body, body(b"body\r\n\r\nmore\r\n"), "{bytes}");
        }
    }

    #[test]
    fn a_message_may_lack_header_body_or_both() {
        for (message, header) in
            [("", ""), ("\r\n", ""), ("\r\n\r\n", ""), ("A: b\r\n", "A: b\r\n"), ("A: b", "A: b")]
        {
            let content = Content::of(message.as_bytes()).expect("short");
            assert_eq!((&content.header[..], content.body), (header.as_bytes(), body(b"")));
        }
        let content = Content::of(b"\r\nx").expect("short");
        assert_eq!((&content.header[..], content.body), (&b""[..], body(b"x")));
    }

    #[test]
    fn a_header_at_the_limit_is_signed_and_one_byte_more_is_not() {
        let message = |bytes: usize| {
            let mut message = b"A:".to_vec();
            message.resize(bytes - 2, b'x');
            message.extend_from_slice(b"\r\n\r\nbody");
            message
        };
        let longest = Content::of(&message(HEADER_BYTES_MAX)).expect("it is not too long");
        assert_eq!(longest.header.len(), HEADER_BYTES_MAX);
        assert_eq!(longest.body, body(b"body"));
        assert!(Content::of(&message(HEADER_BYTES_MAX + 1)).is_err());
        assert!(Content::of(&b"x".repeat(HEADER_BYTES_MAX + 2)).is_err());
    }

    #[test]
    fn memory_and_file_give_the_same() {
        let message = [&b"From: a\r\n\r\n"[..], &b"line of text \r\n".repeat(20_000)].concat();
        let name = format!("postfach-dkim-content-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, &message).expect("written");
        let len = message.len() as u64;
        let in_file = Content::read(&Bytes::File { path: path.clone(), len }).expect("read");
        let short = Content::read(&Bytes::File { path: path.clone(), len: len + 1 });
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(in_file, Content::read(&Bytes::Memory(Arc::new(message))).expect("read"));
        assert!(short.is_err());
        assert!(Content::read(&Bytes::File { path, len }).is_err());
    }
}
