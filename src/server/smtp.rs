//! Drives one SMTP connection, a server's or a user's: brings bytes and the time to
//! `smtp::Session` and performs its steps. Decides nothing about the protocol.
//!
//! Replies are collected and written when the session needs more input, so a pipelined batch is
//! answered in one go. The buffer is large only while content flows.

mod recipient;
mod submission;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;
use tracing::Instrument;

use super::spool::{self, Spool, SpoolError, Spooled};
use super::stream::Stream;
use super::{Peer, Shared};
use crate::delivery::{self, Accepted, Content, Envelope, Origin, Protection, Refused, Site};
use crate::mail::address::Address;
use crate::mail::id::Timestamp;
use crate::smtp::path::Path;
use crate::smtp::{
    Client, Refusal, Reply, Role, Session, Settings, Step, Tls, Transaction, Verdict,
};
use crate::store::audit::Presence;
use crate::sys::repeated::Repeated;

/// Room for a batch of commands.
const COMMAND_BUFFER_BYTES: usize = 4 * 1024;
/// Room for content.
const CONTENT_BUFFER_BYTES: usize = 64 * 1024;
/// Replies that wait for the end of a batch; more are written before.
const REPLIES_BYTES_MAX: usize = 16 * 1024;
/// The longest that is ever waited for bytes.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// How long a peer may take to read its replies.
const WRITE_TIMEOUT: Duration = Duration::from_secs(300);
/// How long the farewell of TLS and TCP may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

static NEXT_MESSAGE: AtomicU64 = AtomicU64::new(0);

/// Speaks SMTP with a server until the connection ends.
pub async fn connection(stream: Stream, peer: Peer, shared: Arc<Shared>) {
    let span = tracing::info_span!("smtp", peer = %peer.address);
    let driver = Driver::new(peer, shared, &stream, Role::Relay);
    speak(stream, driver).instrument(span).await;
}

/// Speaks SMTP with a user's program until the connection ends. RFC 6409
pub async fn submission(stream: Stream, peer: Peer, shared: Arc<Shared>) {
    let span = tracing::info_span!("submission", peer = %peer.address);
    let role = Role::Submission(submission::offer(&peer, &shared));
    let driver = Driver::new(peer, shared, &stream, role);
    speak(stream, driver).instrument(span).await;
}

async fn speak(stream: Stream, driver: Driver) {
    tracing::debug!(local = %driver.peer.local, "connected");
    match driver.run(stream).await {
        Ok(()) => tracing::debug!("closed"),
        Err(error) => tracing::debug!(%error, "lost"),
    }
}

/// Why the driver stops to talk on a stream.
enum End {
    /// The conversation is over.
    Closed,
    /// It goes on under TLS.
    StartTls,
}

/// One connection.
struct Driver {
    session: Session,
    peer: Peer,
    shared: Arc<Shared>,
    /// Bytes that have come; those before `at` are used.
    input: Vec<u8>,
    at: usize,
    replies: Vec<u8>,
    message: Message,
    /// Recipients of this transaction that their upstream server takes, or may take.
    upstream: Vec<Address>,
    /// Who has logged in, as the audit log names them.
    presence: Option<Arc<Presence>>,
}

/// The message that is coming in.
enum Message {
    None,
    Spooling(Box<Spool>),
    /// It could not be kept; the client is told at its end.
    Failed(SpoolError),
}

impl Driver {
    fn new(peer: Peer, shared: Arc<Shared>, stream: &Stream, role: Role) -> Driver {
        let settings = Settings {
            hostname: shared.config.load().hostname.clone(),
            message_bytes_max: shared.config.load().limits.message_bytes_max,
            tls: match (stream, &shared.tls) {
                (Stream::Tls(_), _) => Tls::Active,
                (Stream::Plain(_), Some(_)) => Tls::Available,
                (Stream::Plain(_), None) => Tls::Unavailable,
            },
            role,
        };
        let mut session = Session::new(settings, shared.clock.now());
        session.bind(stream.binding(shared.tls.as_deref()));
        Driver {
            session,
            peer,
            shared,
            input: Vec::new(),
            at: 0,
            replies: Vec::new(),
            message: Message::None,
            upstream: Vec::new(),
            presence: None,
        }
    }

    async fn run(mut self, mut stream: Stream) -> io::Result<()> {
        while let End::StartTls = self.converse(&mut stream).await? {
            let Some(certificates) = self.shared.tls.clone() else { return Ok(()) };
            stream = stream.upgrade(&certificates.acceptor()).await?;
            self.session.tls_started(self.shared.clock.now());
            self.session.bind(stream.binding(Some(&*certificates)));
        }
        match timeout(CLOSE_TIMEOUT, stream.shutdown()).await {
            Ok(closed) => closed,
            Err(_) => Ok(()),
        }
    }

    async fn converse<S>(&mut self, stream: &mut S) -> io::Result<End>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let now = self.shared.clock.now();
            let (used, step) = self.session.step(&self.input[self.at..], now);
            self.at += used;
            match step {
                Step::NeedInput => {
                    self.flush(stream).await?;
                    self.read(stream).await?;
                }
                Step::Reply(reply) => {
                    reply.write(&mut self.replies);
                    if self.replies.len() > REPLIES_BYTES_MAX {
                        self.flush(stream).await?;
                    }
                }
                Step::Authenticate(question) => {
                    self.flush(stream).await?;
                    self.authenticate(&question).await;
                }
                Step::Sender(path) => self.sender(&path),
                Step::Recipient(path) => self.recipient(&path).await,
                Step::Content(bytes) => self.content(&bytes).await,
                Step::Discard => self.message = Message::None,
                Step::Deliver(transaction) => {
                    self.flush(stream).await?;
                    self.deliver(*transaction).await;
                }
                Step::StartTls => {
                    self.flush(stream).await?;
                    (self.input, self.at) = (Vec::new(), 0);
                    return Ok(End::StartTls);
                }
                Step::Close => {
                    self.flush(stream).await?;
                    return Ok(End::Closed);
                }
            }
        }
    }

    /// Waits for more bytes, or for what ends the connection: the deadline, the daemon's end, the
    /// peer's own.
    async fn read<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        let room = match self.session.is_receiving() {
            true => CONTENT_BUFFER_BYTES,
            false => COMMAND_BUFFER_BYTES,
        };
        self.at = 0;
        self.input.clear();
        if self.input.capacity() != room {
            self.input = Vec::with_capacity(room);
        }
        let mut shutdown = self.shared.shutdown.clone();
        let is_idle = self.session.is_idle();
        // nobody gets longer because the machine's clock was set back meanwhile
        let wait = until(self.session.deadline(), self.shared.clock.now()).min(WAIT_MAX);
        tokio::select! {
            read = timeout(wait, stream.read_buf(&mut self.input)) => match read {
                Ok(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    tracing::info!("too slow");
                    self.session.expire();
                }
            },
            _ = shutdown.wait_for(|stop| *stop), if is_idle => self.session.shut_down(),
        }
        Ok(())
    }

    async fn flush<S: AsyncWrite + Unpin>(&mut self, stream: &mut S) -> io::Result<()> {
        if self.replies.is_empty() {
            return Ok(());
        }
        let write = async {
            stream.write_all(&self.replies).await?;
            stream.flush().await
        };
        timeout(WRITE_TIMEOUT, write).await.map_err(|_| io::ErrorKind::TimedOut)??;
        self.replies = Vec::new();
        Ok(())
    }

    async fn recipient(&mut self, path: &Path) {
        let verdict = self.judge(path).await;
        if verdict != Verdict::Accepted {
            tracing::info!("recipient refused");
            tracing::debug!(?path, ?verdict, "recipient refused");
        }
        self.session.recipient(verdict, self.shared.clock.now());
    }

    async fn content(&mut self, bytes: &[u8]) {
        if let Message::None = self.message {
            self.message = Message::Spooling(Box::new(self.empty_spool()));
        }
        if let Message::Spooling(spool) = &mut self.message
            && let Err(error) = spool.write(bytes).await
        {
            log_unkept(&error);
            self.message = Message::Failed(error);
        }
    }

    fn empty_spool(&self) -> Spool {
        let folder: PathBuf = spool::folder(&self.shared.config.load().data_dir);
        Spool::new(folder, self.shared.config.load().limits.message_bytes_max)
    }

    /// The answer leaves when everything is durable, and not before.
    async fn deliver(&mut self, transaction: Transaction) {
        let received_at = self.shared.clock.now();
        let envelope = self.envelope(transaction, received_at);
        self.upstream.clear();
        let span = tracing::info_span!("message", id = envelope.id);
        let message = std::mem::replace(&mut self.message, Message::None);
        let reply = match (self.revoked(), message) {
            (Some(revoked), _) => revoked,
            (None, Message::Failed(error)) => refused_by_spool(&error),
            (None, Message::Spooling(spool)) => self.keep(&envelope, *spool).instrument(span).await,
            (None, Message::None) => {
                self.keep(&envelope, self.empty_spool()).instrument(span).await
            }
        };
        self.session.delivered(reply, self.shared.clock.now());
    }

    fn envelope(&self, transaction: Transaction, received_at: Timestamp) -> Envelope {
        let nobody = || Client { name: "unknown".into(), extended: false };
        Envelope {
            transaction,
            client: self.session.client().cloned().unwrap_or_else(nobody),
            client_address: self.peer.address.ip(),
            protection: match self.session.tls() {
                Tls::Active => Protection::Tls,
                Tls::Available | Tls::Unavailable => Protection::None,
            },
            hostname: self.shared.config.load().hostname.clone(),
            received_at,
            id: message_id(received_at),
            origin: match self.session.user() {
                Some(_) => Origin::Submission,
                None => Origin::Relay,
            },
            upstream: self.upstream.clone(),
            lifetime_secs: self.shared.config.load().outbound.retry.expire_secs,
        }
    }

    async fn keep(&self, envelope: &Envelope, spool: Spool) -> Reply {
        let spooled = match spool.finish().await {
            Ok(spooled) => spooled,
            Err(error) => {
                log_unkept(&error);
                return refused_by_spool(&error);
            }
        };
        let bytes = spooled.message().bytes.len();
        let result = match self.session.user() {
            Some(user) => self.submit(user, envelope, spooled).await,
            None => self.store(envelope, &spooled).await,
        };
        log(envelope, bytes, &result);
        match result {
            Ok(_) => Reply::new(250, "2.0.0", format!("OK {}", envelope.id)),
            Err(Failed::Refused(refused)) => Reply::from(&refused),
            Err(Failed::Spool(error)) => refused_by_spool(&error),
            Err(Failed::Nul) => Refusal::ContentNul.into(),
        }
    }

    async fn store(&self, envelope: &Envelope, spooled: &Spooled) -> Result<Accepted, Failed> {
        let directory = self.shared.directory.borrow().clone();
        let keys = &*self.shared.dkim;
        let site = Site { store: &*self.shared.store, directory: &directory, keys };
        Ok(delivery::deliver(&site, envelope, content(spooled)).await?)
    }
}

/// Why a message is not accepted.
enum Failed {
    Refused(Refused),
    /// It could not be kept while it was read or changed.
    Spool(SpoolError),
    /// A NUL stands where no transfer encoding could keep it: it is refused rather than lost.
    /// RFC 3030 §3
    Nul,
}

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Failed {
        Failed::Refused(refused)
    }
}

impl From<SpoolError> for Failed {
    fn from(error: SpoolError) -> Failed {
        Failed::Spool(error)
    }
}

fn content(spooled: &Spooled) -> Content<'_> {
    Content { message: spooled.message(), head: spooled.head() }
}

/// Addresses are told at debug level only.
fn log(envelope: &Envelope, bytes: u64, result: &Result<Accepted, Failed>) {
    let recipients = envelope.transaction.recipients.len();
    tracing::debug!(
        from = ?envelope.transaction.reverse_path,
        to = ?envelope.transaction.recipients,
        "envelope"
    );
    match result {
        Ok(accepted) => {
            let Accepted { instances, duplicates, queued } = accepted;
            tracing::info!(bytes, recipients, instances, duplicates, queued, "accepted");
        }
        Err(Failed::Refused(Refused::Unavailable(error) | Refused::NoSpace(error))) => {
            static UNSTORED: Repeated = Repeated::new();
            if let Some(unsaid) = UNSTORED.due(error.to_string()) {
                tracing::error!(bytes, recipients, %error, unsaid, "cannot be stored");
            }
        }
        Err(Failed::Spool(error)) => {
            log_unkept(error);
        }
        // The answer names addresses.
        Err(Failed::Refused(Refused::Policy(_)) | Failed::Nul) => {
            tracing::info!(bytes, recipients, "refused by a rule for senders");
        }
        Err(Failed::Refused(refused)) => tracing::warn!(bytes, recipients, ?refused, "refused"),
    }
}

/// A full disk is told by each message that comes.
fn log_unkept(error: &SpoolError) {
    static UNKEPT: Repeated = Repeated::new();
    if let Some(unsaid) = UNKEPT.due(error.to_string()) {
        tracing::error!(%error, unsaid, "message cannot be kept");
    }
}

fn refused_by_spool(error: &SpoolError) -> Reply {
    match error {
        SpoolError::TooLarge => Refusal::TooLarge.into(),
        SpoolError::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
            Reply::new(452, "4.3.1", "No room at the moment, try again later")
        }
        SpoolError::Io(_) => Reply::new(451, "4.3.0", "Try again later"),
    }
}

/// Unlike any other of this machine: the time in microseconds and a count.
fn message_id(now: Timestamp) -> String {
    format!("{:x}.{:x}", now.0, NEXT_MESSAGE.fetch_add(1, Ordering::Relaxed) & 0xffff)
}

fn until(deadline: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(deadline.0.saturating_sub(now.0)).unwrap_or_default())
}
