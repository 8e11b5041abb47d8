//! Drives one `smtp::client::Session`: bytes from the socket, the time, and its output back.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

use super::MAILS_PER_CONNECTION_MAX;
use super::content::Content;
use crate::mail::address::Address;
use crate::mail::id::Timestamp;
use crate::server::stream::Stream;
use crate::smtp::client::{Fate, Lost, Mail, Session, Step, Verification};
use crate::sys::Clock;
use crate::sys::repeated::Repeated;

/// Room for replies.
const REPLIES_BUFFER_BYTES: usize = 4 * 1024;
/// A block of content: each must be taken within `Timeouts::block`, so that a server which reads
/// byte by byte does not hold a connection for ever.
const BLOCK_BYTES: usize = 64 * 1024;
/// What a server says before it closes a connection that we still write to is read for so long.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the farewell of TLS and TCP may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// What a connection is to be used for.
#[derive(Clone, Copy)]
pub(super) enum Job<'a> {
    /// Send this.
    Send(&'a Mail, &'a Content),
    /// Ask for a recipient, in the name of a sender.
    Verify(Option<&'a Address>, &'a Address),
}

/// What came of it.
pub(super) enum Done {
    Fates(Vec<Fate>),
    Verified(Verification),
}

/// Why output or input ended.
enum Trouble {
    Lost(Lost),
    Expired,
}

/// One connection.
pub(super) struct Connection {
    stream: Stream,
    session: Session,
    clock: Arc<dyn Clock>,
    /// Bytes that have come; those before `at` are used.
    input: Vec<u8>,
    at: usize,
}

impl Connection {
    pub(super) fn new(stream: Stream, session: Session, clock: Arc<dyn Clock>) -> Connection {
        Connection { stream, session, clock, input: Vec::new(), at: 0 }
    }

    /// For a handshake. What came before it is thrown away. RFC 3207 §4.2
    pub(super) fn into_parts(self) -> (Stream, Session) {
        (self.stream, self.session)
    }

    /// The handshake is done.
    pub(super) fn tls_started(&mut self) {
        self.session.tls_started(self.clock.now());
    }

    /// Drives the session to its next step that is not about bytes.
    pub(super) async fn advance(&mut self) -> Step {
        loop {
            let step = self.step();
            if step != Step::NeedInput {
                return step;
            }
            let trouble = match self.flush().await {
                Ok(()) => self.read().await,
                Err(trouble) => match self.last_words().await {
                    Some(step) => return step,
                    None => Err(trouble),
                },
            };
            if let Err(trouble) = trouble {
                self.fail(trouble);
            }
        }
    }

    /// Does a job on a session that is ready. `None`: the connection was dead, nothing was done.
    pub(super) async fn perform(&mut self, job: Job<'_>) -> Option<Done> {
        let now = self.clock.now();
        match job {
            Job::Send(mail, content) => {
                let mail = content.judged(mail, self.session.offer()).await;
                self.session.send(&mail, self.clock.now());
                return self.send(mail.size_bytes, content).await.map(Done::Fates);
            }
            Job::Verify(reverse_path, to) => self.session.verify(reverse_path, to, now),
        }
        match self.advance().await {
            Step::Verified(verification) => Some(Done::Verified(verification)),
            _ => None,
        }
    }

    /// Whether it can be used again, as far as can be told without asking.
    pub(super) fn is_reusable(&self) -> bool {
        self.session.is_reusable()
            && self.at == self.input.len()
            && self.session.begun() < MAILS_PER_CONNECTION_MAX
    }

    /// Whether nothing has come since it became idle: neither the server's farewell nor its end.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let mut byte = [0; 1];
        let mut buffer = ReadBuf::new(&mut byte);
        poll_fn(|cx| match Pin::new(&mut self.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => Poll::Ready(true),
            Poll::Ready(_) => Poll::Ready(false),
        })
        .await
    }

    /// Whether the connection failed where only TLS can be the reason.
    pub(super) fn is_tls_broken(&self) -> bool {
        self.session.is_tls_broken()
    }

    /// Whether the server may have lost commands that came together.
    pub(super) fn is_pipelining_suspect(&self) -> bool {
        self.session.is_pipelining_suspect()
    }

    /// Takes leave and closes, in the background.
    pub(super) fn depart(self) {
        tokio::spawn(self.farewell());
    }

    /// Takes leave and closes. RFC 5321 §4.1.1.10
    pub(super) async fn farewell(mut self) {
        if self.session.is_idle() {
            self.session.quit(self.clock.now());
            while self.advance().await != Step::Close {}
        }
        let close = async {
            self.stream.write_all(&self.session.take_output()).await?;
            self.stream.shutdown().await
        };
        // It is closed when it is dropped, in any case.
        let _ = timeout(CLOSE_TIMEOUT, close).await;
    }

    async fn send(&mut self, size_bytes: u64, content: &Content) -> Option<Vec<Fate>> {
        let mut pending = None;
        loop {
            let step = match pending.take() {
                Some(step) => step,
                None => self.advance().await,
            };
            match step {
                Step::Content => pending = self.send_content(size_bytes, content).await,
                Step::Done(fates) => return Some(fates),
                _ => return None,
            }
        }
    }

    /// Writes the content and its end. A step that comes of it meanwhile is given back.
    async fn send_content(&mut self, size_bytes: u64, content: &Content) -> Option<Step> {
        let mut pieces = content.pieces();
        let mut read_bytes = 0;
        loop {
            let piece = match pieces.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) if read_bytes == size_bytes => break,
                Ok(None) => {
                    static CUT: Repeated = Repeated::new();
                    if let Some(unsaid) = CUT.due((read_bytes, size_bytes)) {
                        tracing::error!(
                            read_bytes,
                            size_bytes,
                            unsaid,
                            "a stored message has another size"
                        );
                    }
                    self.session.abandon("the stored message is damaged");
                    return None;
                }
                Err(error) => {
                    static UNREAD: Repeated = Repeated::new();
                    if let Some(unsaid) = UNREAD.due(error.to_string()) {
                        tracing::error!(%error, unsaid, "a stored message cannot be read");
                    }
                    self.session.abandon("the stored message cannot be read at the moment");
                    return None;
                }
            };
            read_bytes += piece.len() as u64;
            for block in piece.chunks(BLOCK_BYTES) {
                self.session.content(block, self.clock.now());
                if self.session.output_bytes() < BLOCK_BYTES {
                    continue;
                }
                if let Err(said) = self.written().await {
                    return said;
                }
            }
        }
        if content.under.fence().is_some()
            && let Err(said) = self.written().await
        {
            // with several nodes only the end itself follows the look at the tenure
            return said;
        }
        self.hear_early_reply().await.or_else(|| {
            match content.under.lasts() {
                true => self.session.content_end(self.clock.now()),
                // whose it is by now brings it
                false => self.session.abandon("the mail is another node's to bring"),
            }
            None
        })
    }

    /// Writes what has been gathered; otherwise what the server has said instead of taking it.
    async fn written(&mut self) -> Result<(), Option<Step>> {
        let Err(trouble) = self.flush().await else { return Ok(()) };
        let said = self.last_words().await;
        if said.is_none() {
            self.fail(trouble);
        }
        Err(said)
    }

    /// A server that replies before the end has heard nothing of it: such a reply must not be taken
    /// for the final one.
    async fn hear_early_reply(&mut self) -> Option<Step> {
        let mut bytes = [0; 512];
        let mut buffer = ReadBuf::new(&mut bytes);
        let stream = &mut self.stream;
        poll_fn(|cx| {
            // Its end or an error shows again at the next write or read.
            let _ = Pin::new(&mut *stream).poll_read(cx, &mut buffer);
            Poll::Ready(())
        })
        .await;
        let early = buffer.filled();
        if early.is_empty() {
            return None;
        }
        self.input.extend_from_slice(early);
        Some(self.step()).filter(|step| *step != Step::Content)
    }

    fn step(&mut self) -> Step {
        let (used, step) = self.session.step(&self.input[self.at..], self.clock.now());
        self.at += used;
        step
    }

    fn fail(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Lost(lost) => self.session.lost(lost),
            Trouble::Expired => self.session.expire(),
        }
    }

    async fn flush(&mut self) -> Result<(), Trouble> {
        let output = self.session.take_output();
        if output.is_empty() {
            return Ok(());
        }
        let write = async {
            self.stream.write_all(&output).await?;
            self.stream.flush().await
        };
        let wait = until(self.session.deadline(), self.clock.now());
        match timeout(wait, write).await {
            Ok(written) => written.map_err(|error| Trouble::Lost(lost(&error))),
            Err(_) => Err(Trouble::Expired),
        }
    }

    async fn read(&mut self) -> Result<(), Trouble> {
        self.at = 0;
        self.input.clear();
        self.input.reserve(REPLIES_BUFFER_BYTES);
        let wait = until(self.session.deadline(), self.clock.now());
        match timeout(wait, self.stream.read_buf(&mut self.input)).await {
            Ok(Ok(0)) => Err(Trouble::Lost(Lost::Closed)),
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Trouble::Lost(lost(&error))),
            Err(_) => Err(Trouble::Expired),
        }
    }

    /// The server does not read any more: perhaps it has said why.
    async fn last_words(&mut self) -> Option<Step> {
        let listen = async {
            while self.read().await.is_ok() {
                let step = self.step();
                if !matches!(step, Step::NeedInput | Step::Content) {
                    return Some(step);
                }
            }
            None
        };
        timeout(LAST_WORDS_TIMEOUT, listen).await.unwrap_or(None)
    }
}

/// A server that goes without TLS's farewell has gone as well.
fn lost(error: &io::Error) -> Lost {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => Lost::Closed,
        _ => Lost::Broken(error.to_string()),
    }
}

fn until(deadline: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(deadline.0.saturating_sub(now.0)).unwrap_or_default())
}
