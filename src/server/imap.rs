//! Drives one IMAP connection: bytes in, commands to `imap::session`, bytes out; waiting, and what
//! ends it. Knows no command. While it waits it holds no buffer: a few hundred bytes and what the
//! session believes. RFC 3501, RFC 2177

mod messages;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use self::wire::{Wire, read};
use super::auditor::session_id;
use super::deflate::Deflate;
use super::object_secret;
use super::stream::Stream;
use super::{Peer, Shared};
use crate::config::PlaintextLogin;
use crate::directory::Directory;
use crate::imap::Context;
use crate::imap::capability::{Capabilities, Passwords, StartTls};
use crate::imap::output::Output;
use crate::imap::session::{Attempt, Dialogue, Exchange, Idle, Next, Origin, Transport};
use crate::imap::wire::framing::{Event, Framer};
use crate::mail::id::ModSeq;
use crate::sasl::Answer;
use crate::store::bell::Bell;

/// How long a connection may take to log in.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a user may be silent. RFC 3501 §5.4
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How long a peer may take to accept what is sent, or to go on with a message it has begun.
pub const TRANSFER_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// How long the answer to SETACL waits for the change to be in force.
const GRANT_TIMEOUT: Duration = Duration::from_secs(1);
/// Answers to commands that came together are sent together, up to this.
const UNSENT_BYTES_MAX: usize = 64 * 1024;

/// What the commands of a connection need of the daemon.
fn context(shared: &Shared) -> Arc<Context> {
    let config = shared.config.load();
    let mut capabilities = Capabilities::without(&config.imap_disable)
        .with_append_limit(config.limits.message_bytes_max);
    if shared.directory.borrow().all_have_scram_keys() {
        capabilities = capabilities.with_scram();
    }
    if shared.login.takes_tokens() {
        capabilities = capabilities.with_bearer();
    }
    Arc::new(Context {
        store: shared.store.clone(),
        folder_names: Arc::new(config.folder_names.clone()),
        message_bytes_max: config.limits.message_bytes_max,
        capabilities: Arc::new(capabilities),
        admin: config.imap_admin.as_deref().map(Arc::from),
        own_copies: config.own_copies,
        object_ids: object_secret::of(&*shared.store),
    })
}

/// One connection, from the greeting to its end. Implicit TLS has been done before.
pub async fn connection(stream: Stream, peer: Peer, shared: Arc<Shared>) {
    let address = peer.address;
    let connection = Connection::new(stream, peer, shared);
    if let Err(error) = connection.run().await {
        tracing::debug!(peer = %address, %error, "imap connection ended");
    }
}

/// A connection's parts.
struct Connection {
    stream: Stream,
    peer: Peer,
    shared: Arc<Shared>,
    framer: Framer,
    dialogue: Dialogue,
    directory: watch::Receiver<Arc<Directory>>,
    /// Active behind COMPRESS.
    deflate: Option<Box<Deflate>>,
    /// What has been written and not sent.
    buffer: Vec<u8>,
    /// When a connection without a login is closed.
    login_deadline: Instant,
}

/// Why a wait ended.
#[derive(Clone, Copy)]
enum Woken {
    /// Bytes have arrived.
    Input,
    /// The directory is another one.
    Directory,
    /// The selected mailbox has changed, or is gone.
    Mailbox,
    /// The time is up.
    TimedOut,
    /// The daemon stops.
    Shutdown,
}

/// What a wait may be ended by, beside the peer and the directory.
enum Watch<'a> {
    /// Nothing else.
    Nothing,
    /// A change of the selected mailbox, during IDLE.
    Mailbox(&'a mut watch::Receiver<ModSeq>),
    /// A change of what NOTIFY watches.
    Many(Arc<Bell>),
}

impl Watch<'_> {
    fn by(bell: Option<Arc<Bell>>) -> Watch<'static> {
        bell.map_or(Watch::Nothing, Watch::Many)
    }
}

impl Connection {
    fn new(stream: Stream, peer: Peer, shared: Arc<Shared>) -> Connection {
        let transport = transport(&stream, &peer, &shared);
        let session = session_id(shared.clock.now());
        let origin = Origin { peer: peer.address.ip(), session };
        let mut dialogue = Dialogue::new(context(&shared), transport).from_origin(origin);
        dialogue.bind(stream.binding(shared.tls.as_deref()));
        Connection {
            dialogue,
            directory: shared.directory.clone(),
            stream,
            peer,
            shared,
            framer: Framer::default(),
            deflate: None,
            buffer: Vec::new(),
            login_deadline: Instant::now() + LOGIN_TIMEOUT,
        }
    }

    /// What takes long or much is boxed, so that a connection that waits stays small.
    async fn run(mut self) -> io::Result<()> {
        self.write(|dialogue, out| dialogue.greeting(out));
        let mut next = Next::Command;
        loop {
            next = match next {
                Next::Command => self.command().await?,
                Next::Line(exchange) => self.line(exchange).await?,
                Next::Verify(attempt) => Box::pin(self.verify(attempt)).await?,
                Next::StartTls => {
                    self = Box::pin(self.start_tls()).await?;
                    Next::Command
                }
                Next::Idle(idle) => self.idle(idle).await?,
                Next::Message(incoming) => Box::pin(self.messages(*incoming)).await?,
                Next::LoggedOut => self.logged_out(),
                Next::Compress => self.compress().await?,
                Next::Close => return Box::pin(self.close()).await,
            }
        }
    }

    /// Writes something that needs no wait.
    fn write<T>(&mut self, write: impl FnOnce(&mut Dialogue, &mut Output<'_>) -> T) -> T {
        let mut sink = Wire(&mut self.stream, self.deflate.as_deref_mut());
        let mut out = Output::new(&mut self.buffer, &mut sink);
        write(&mut self.dialogue, &mut out)
    }

    /// Waits for the next command and carries it out.
    async fn command(&mut self) -> io::Result<Next> {
        loop {
            if let Some(event) = self.framer.next(&self.dialogue.limits()) {
                let next = Box::pin(self.on_event(event)).await;
                if self.buffer.len() > UNSENT_BYTES_MAX {
                    Box::pin(self.flush()).await?;
                }
                return Ok(next);
            }
            let bell = self.dialogue.bell();
            if bell.is_some()
                && let Next::Close = Box::pin(self.notified()).await
            {
                return Ok(Next::Close);
            }
            // what has just been told may have changed what is watched
            let woken = self.wait(Watch::by(self.dialogue.bell())).await?;
            if let Some(next) = self.on_wake(woken) {
                return Ok(next);
            }
        }
    }

    /// What is new while no command runs. RFC 5465 §3.1
    async fn notified(&mut self) -> Next {
        let mut sink = Wire(&mut self.stream, self.deflate.as_deref_mut());
        let mut out = Output::new(&mut self.buffer, &mut sink);
        self.dialogue.notified(&mut out).await
    }

    async fn on_event(&mut self, event: Event) -> Next {
        let is_over = self.directory.has_changed().unwrap_or(false)
            && matches!(self.take_directory(), Next::Close);
        if is_over {
            return Next::Close;
        }
        let granted = self.shared.store.grants();
        let next = self.perform(event).await;
        if !Arc::ptr_eq(&granted, &self.shared.store.grants()) {
            self.grants_in_force().await;
        }
        next
    }

    async fn perform(&mut self, event: Event) -> Next {
        let mut sink = Wire(&mut self.stream, self.deflate.as_deref_mut());
        let mut out = Output::new(&mut self.buffer, &mut sink);
        match event {
            Event::Command(command) => self.dialogue.command(&command, &mut out).await,
            Event::Refused { tag, why } => self.dialogue.refused(&tag, why, &mut out),
            Event::Overrun => self.dialogue.bye("More than can be read was announced", &mut out),
            Event::Invite => {
                out.line(format_args!("+ Go on"));
                Next::Command
            }
            Event::Message { head, announced } => {
                let next = self.dialogue.message_announced(&head, announced, &mut out).await;
                if !matches!(next, Next::Message(_)) {
                    self.framer.refuse();
                }
                next
            }
        }
    }

    /// SETACL has changed something: its answer, not yet sent, waits until every session goes by
    /// it. Where that fails, the log has said so.
    async fn grants_in_force(&mut self) {
        let grants = self.shared.store.grants();
        let made = || grants.iter().map(|g| (&g.account, &g.user, g.rights.as_deref()));
        let in_force = self.directory.wait_for(|directory| directory.has_grants(made()));
        if timeout(GRANT_TIMEOUT, in_force).await.is_ok() {
            // what is seen by waiting is still to be taken
            self.directory.mark_changed();
        }
    }

    /// `Some`: the wait is over.
    fn on_wake(&mut self, woken: Woken) -> Option<Next> {
        let why = match woken {
            Woken::Input | Woken::Mailbox => return None,
            Woken::Directory => {
                let next = self.take_directory();
                return matches!(next, Next::Close).then_some(next);
            }
            Woken::TimedOut => "You were silent for too long",
            Woken::Shutdown => "The server is shutting down",
        };
        Some(self.write(|dialogue, out| dialogue.bye(why, out)))
    }

    fn take_directory(&mut self) -> Next {
        let directory = self.directory.borrow_and_update().clone();
        self.write(|dialogue, out| dialogue.directory_changed(directory, out))
    }

    /// The client's answer to a `+`.
    async fn line(&mut self, exchange: Exchange) -> io::Result<Next> {
        loop {
            if let Some(line) = self.framer.next_line(&self.dialogue.limits()) {
                let answer = (line, self.directory.borrow_and_update().clone());
                return Ok(self.write(|dialogue, out| dialogue.respond(exchange, answer, out)));
            }
            let woken = self.wait(Watch::Nothing).await?;
            if let Some(next) = self.on_wake(woken) {
                return Ok(next);
            }
        }
    }

    async fn verify(&mut self, attempt: Attempt) -> io::Result<Next> {
        self.flush().await?;
        let answer = self.shared.login.answer(self.peer.address.ip(), &attempt.question).await;
        if let Answer::Accepted(login) = &answer {
            self.peer.logged_in();
            tracing::info!(peer = %self.peer.address, user = %login, "imap login");
            let presence = self.dialogue.presence(login);
            self.shared.auditor.login(&presence, "imap", self.shared.clock.now());
        }
        let answer = (answer, self.directory.borrow_and_update().clone());
        Ok(self.write(|dialogue, out| dialogue.verified(attempt, answer, out)))
    }

    /// What the client sent before the handshake is thrown away. RFC 3501 §6.2.1
    async fn start_tls(mut self) -> io::Result<Connection> {
        self.flush().await?;
        self.framer.clear();
        let Some(certificates) = &self.shared.tls else {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "TLS is switched off"));
        };
        let acceptor = certificates.acceptor();
        let stream = self.stream.upgrade(&acceptor).await?;
        self.dialogue.tls_started();
        self.dialogue.bind(stream.binding(Some(&**certificates)));
        Ok(Connection { stream, ..self })
    }

    /// RFC 2177 §3; what NOTIFY asks for is told, and nothing else. RFC 5465 §4
    async fn idle(&mut self, idle: Idle) -> io::Result<Next> {
        let mailbox = self.dialogue.mailbox();
        let mut changes = mailbox.map(|mailbox| self.shared.store.watch(mailbox));
        // what happened before the watch began is told now
        let mut woken = Woken::Mailbox;
        loop {
            if let Some(next) = self.on_wake(woken) {
                return Ok(next);
            }
            // what a virtual mailbox shows follows from the directory, too
            if let Woken::Mailbox | Woken::Directory = woken {
                if let Next::Close = Box::pin(self.wake()).await {
                    return Ok(Next::Close);
                }
                // a mailbox that is gone does not change any more
                changes = changes.filter(|changes| changes.has_changed().is_ok());
            }
            if let Some(line) = self.framer.next_line(&self.dialogue.limits()) {
                return Ok(Box::pin(self.idle_ended(idle, line)).await);
            }
            woken = self
                .wait(match self.dialogue.bell() {
                    None => changes.as_mut().map_or(Watch::Nothing, Watch::Mailbox),
                    bell => Watch::by(bell),
                })
                .await?;
        }
    }

    async fn wake(&mut self) -> Next {
        let mut sink = Wire(&mut self.stream, self.deflate.as_deref_mut());
        let mut out = Output::new(&mut self.buffer, &mut sink);
        self.dialogue.wake(&mut out).await
    }

    async fn idle_ended(&mut self, idle: Idle, line: Option<Vec<u8>>) -> Next {
        let mut sink = Wire(&mut self.stream, self.deflate.as_deref_mut());
        let mut out = Output::new(&mut self.buffer, &mut sink);
        self.dialogue.idle_ended(idle, line, &mut out).await
    }

    /// The user is gone; the connection waits for a login as at its start. RFC 8437 §3
    fn logged_out(&mut self) -> Next {
        self.peer.logged_out();
        self.login_deadline = Instant::now() + LOGIN_TIMEOUT;
        Next::Command
    }

    /// RFC 4978 §3
    async fn compress(&mut self) -> io::Result<Next> {
        self.flush().await?;
        self.deflate = Some(Box::new(Deflate::new(self.framer.take_received())));
        Ok(Next::Command)
    }

    async fn read(&mut self) -> io::Result<()> {
        read(&mut self.stream, self.deflate.as_deref_mut(), &mut self.framer).await
    }

    async fn read_within(&mut self, limit: Duration) -> io::Result<()> {
        match timeout(limit, self.read()).await {
            Ok(done) => done,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// Sends what is written and waits for whatever comes first.
    async fn wait(&mut self, mut watch: Watch<'_>) -> io::Result<Woken> {
        if !self.buffer.is_empty() {
            Box::pin(self.flush()).await?;
        }
        // the memory of an idle connection is counted in hundreds of bytes
        self.buffer = Vec::new();
        self.framer.shrink();
        let deadline = match self.dialogue.user() {
            Some(_) => Instant::now() + IDLE_TIMEOUT,
            None => self.login_deadline,
        };
        match timeout_at(deadline, self.woken(&mut watch)).await {
            Ok(woken) => woken,
            Err(_) => Ok(Woken::TimedOut),
        }
    }

    async fn woken(&mut self, watch: &mut Watch<'_>) -> io::Result<Woken> {
        let mailbox = async {
            match watch {
                // a mailbox that is gone is a change, too
                Watch::Mailbox(changes) => drop(changes.changed().await),
                Watch::Many(bell) => Box::pin(bell.rings()).await,
                Watch::Nothing => std::future::pending().await,
            }
        };
        let mut shutdown = self.shared.shutdown.clone();
        let input = read(&mut self.stream, self.deflate.as_deref_mut(), &mut self.framer);
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|stop| *stop) => Ok(Woken::Shutdown),
            Ok(()) = self.directory.changed() => Ok(Woken::Directory),
            done = input => done.map(|()| Woken::Input),
            () = mailbox => Ok(Woken::Mailbox),
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let mut sink = Wire(&mut self.stream, self.deflate.as_deref_mut());
        Output::new(&mut self.buffer, &mut sink).flush().await
    }

    async fn close(mut self) -> io::Result<()> {
        self.flush().await?;
        match timeout(TRANSFER_TIMEOUT, self.stream.shutdown()).await {
            Ok(done) => done,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// Whether TLS and passwords are possible here and now.
fn transport(stream: &Stream, peer: &Peer, shared: &Shared) -> Transport {
    if stream.is_tls() {
        return Transport::TLS;
    }
    let passwords = match shared.config.load().plaintext_without_tls {
        PlaintextLogin::Loopback if peer.is_on_this_machine() => Passwords::Taken,
        PlaintextLogin::Loopback | PlaintextLogin::Never => Passwords::Refused,
    };
    let tls = if shared.tls.is_some() { StartTls::Offered } else { StartTls::Absent };
    Transport { tls, passwords }
}
