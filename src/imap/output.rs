//! Bytes on their way to the client: one reused buffer, sent in pieces, so that no answer is ever
//! in memory as a whole.

use std::fmt::{self, Write};
use std::future::Future;
use std::io;
use std::pin::Pin;

/// The buffer is sent when it is longer than this.
const BUFFER_BYTES: usize = 64 * 1024;

/// Where bytes go. The future ends when the peer's window has taken them, which is the
/// back-pressure.
pub trait Sink: Send + Sync {
    /// Sends all of `bytes`.
    fn send<'a>(
        &'a mut self,
        bytes: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>>;
}

/// Collects everything; for tests.
impl Sink for Vec<u8> {
    fn send<'a>(
        &'a mut self,
        bytes: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>> {
        self.extend_from_slice(bytes);
        Box::pin(async { Ok(()) })
    }
}

/// Writes responses. Call `flush_if_full` after each response or piece of a body.
pub struct Output<'a> {
    buffer: &'a mut Vec<u8>,
    sink: &'a mut dyn Sink,
}

impl<'a> Output<'a> {
    /// Writes into `buffer` (what it holds goes first) and from there into `sink`.
    pub fn new(buffer: &'a mut Vec<u8>, sink: &'a mut dyn Sink) -> Output<'a> {
        Output { buffer, sink }
    }

    /// Appends raw bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer itself, to write a response into.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.buffer
    }

    /// Appends a formatted line and CRLF.
    pub fn line(&mut self, line: fmt::Arguments<'_>) {
        // cannot fail: writing to memory
        let _ = self.write_fmt(line);
        self.push(b"\r\n");
    }

    /// Sends the buffer when it is long.
    pub async fn flush_if_full(&mut self) -> io::Result<()> {
        if self.buffer.len() > BUFFER_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Sends the buffer.
    pub async fn flush(&mut self) -> io::Result<()> {
        self.sink.send(self.buffer).await?;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
