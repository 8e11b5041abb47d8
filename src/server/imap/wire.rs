//! One IMAP connection's bytes: in, inflated where that is agreed, to the framer; out, deflated, to
//! the socket. Knows no command.

use std::future::{Future, poll_fn};
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};

use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::{TRANSFER_TIMEOUT, UNSENT_BYTES_MAX};
use crate::imap::output::Sink;
use crate::imap::wire::framing::Framer;
use crate::server::deflate::Deflate;
use crate::server::stream::Stream;

/// Most bytes taken from the socket at a time.
const READ_BYTES: usize = 16 * 1024;

/// Reads once. The space is on the stack and only while something arrives. Nothing is lost when the
/// future is dropped: what has been read is kept by then.
pub(super) async fn read(
    stream: &mut Stream,
    mut deflate: Option<&mut Deflate>,
    framer: &mut Framer,
) -> io::Result<()> {
    loop {
        if let Some(deflate) = &mut deflate
            && deflate.has_input()
            && deflate.inflate(|bytes| framer.receive(bytes))? > 0
        {
            return Ok(());
        }
        let count = poll_fn(|cx| {
            let mut space = [const { MaybeUninit::uninit() }; READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer))?;
            match &mut deflate {
                None => framer.receive(buffer.filled()),
                Some(deflate) => deflate.receive(buffer.filled()),
            }
            Poll::Ready(io::Result::Ok(buffer.filled().len()))
        });
        match (count.await?, &deflate) {
            (0, _) => return Err(io::ErrorKind::UnexpectedEof.into()),
            (_, None) => return Ok(()),
            (_, Some(_)) => {}
        }
    }
}

/// Sends to the peer, who must accept it in time.
pub(super) struct Wire<'s>(pub(super) &'s mut Stream, pub(super) Option<&'s mut Deflate>);

impl Sink for Wire<'_> {
    fn send<'a>(
        &'a mut self,
        bytes: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send + 'a>> {
        Box::pin(async move {
            let sent = timeout(TRANSFER_TIMEOUT, async {
                match &mut self.1 {
                    None => self.0.write_all(bytes).await?,
                    Some(_) if bytes.is_empty() => {}
                    Some(deflate) => {
                        let mut deflated = Vec::new();
                        for piece in bytes.chunks(UNSENT_BYTES_MAX) {
                            deflated.clear();
                            deflate.deflate(piece, &mut deflated)?;
                            self.0.write_all(&deflated).await?;
                        }
                    }
                }
                self.0.flush().await
            });
            sent.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }
}
