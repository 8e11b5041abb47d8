//! A small organisation on the memory engine, and clients that talk to the pure IMAP session: what
//! the driver does with sockets, timers and passwords, without them.

#![allow(dead_code)]

use std::path::Path;
use std::sync::Arc;

use postfach::directory::{Directory, Rights, file};
use postfach::imap::Context;
use postfach::imap::capability::{Capabilities, Passwords, StartTls};
use postfach::imap::output::Output;
use postfach::imap::session::{
    Attempt, Belongs, Dialogue, Incoming, Next, Step as Moves, Transport,
};
use postfach::imap::wire::framing::{Event, Framer};
use postfach::mail::account::{Account, Folder, FolderNames};
use postfach::mail::flag::FlagList;
use postfach::mail::id::{Login, Timestamp};
use postfach::mail::message::{as_lines, loses_nul, parse};
use postfach::sasl::binding::Binding;
use postfach::sasl::scram::{Keys, Proof};
use postfach::sasl::{Answer, Question};
use postfach::server::folders;
use postfach::store::Store;
use postfach::store::change::{Actor, Bytes, Change, Delivered, NewMessage, Transaction};
use postfach::store::memory::Memory;
use postfach::sys::ManualClock;

/// Largest message.
pub(crate) const MESSAGE_BYTES_MAX: u64 = 1000;

/// Every user's password is the login with this behind it.
pub(crate) const PASSWORD_SUFFIX: &str = "-secret";

/// The organisation of issue 2, and one super-admin.
pub(crate) const DIRECTORY: &str = r#"
[[domain]]
name = "example.org"

[[user]]
login = "anna"
name = "Anna Beispiel"
password = "$2b$04$abcdefghijklmnopqrstuuPgRvSYvDlY6oTQBkQMzZtnQv5J4KlOe"
addresses = ["anna@example.org"]
[[user]]
login = "ben"
name = "Ben Muster"
password = "$2b$04$abcdefghijklmnopqrstuuPgRvSYvDlY6oTQBkQMzZtnQv5J4KlOe"
addresses = ["ben@example.org"]
[[user]]
login = "carla"
name = "Carla Chefin"
password = "$2b$04$abcdefghijklmnopqrstuuPgRvSYvDlY6oTQBkQMzZtnQv5J4KlOe"
role = "admin"
addresses = ["carla@example.org"]
[[user]]
login = "dora"
name = "Dora Draussen"
password = "$2b$04$abcdefghijklmnopqrstuuPgRvSYvDlY6oTQBkQMzZtnQv5J4KlOe"
addresses = ["dora@example.org"]
[[user]]
login = "eve"
name = "Eve Eigner"
password = "$2b$04$abcdefghijklmnopqrstuuPgRvSYvDlY6oTQBkQMzZtnQv5J4KlOe"
role = "super-admin"
addresses = ["eve@example.org"]

[[team]]
name = "support"
members = ["anna", "ben"]
[[team]]
name = "sales"
members = ["ben"]

[[inbox]]
name = "Info"
addresses = ["info@example.org"]
[[inbox]]
name = "Sales"
addresses = ["sales@example.org"]
teams = ["sales"]
[[inbox]]
name = "Support"
addresses = ["support@example.org"]
teams = ["support"]

[[channel]]
name = "Anna Sales"
owner = "anna"
addresses = ["anna.sales@example.org"]
[[channel]]
name = "Ben Desk"
owner = "ben"
addresses = ["ben.desk@example.org"]
access = "everyone"
"#;

/// The daemon without its sockets.
pub(crate) struct World {
    pub(crate) store: Arc<Memory>,
    pub(crate) context: Arc<Context>,
    pub(crate) directory: Arc<Directory>,
    declared: Directory,
}

impl World {
    /// The sample organisation, all folders made.
    pub(crate) async fn sample() -> World {
        World::of(DIRECTORY, FolderNames::default(), &[]).await
    }

    /// Another organisation.
    pub(crate) async fn of(text: &str, names: FolderNames, disabled: &[String]) -> World {
        let clock = Arc::new(ManualClock::default());
        // 2026-01-02 03:04:05 UTC
        clock.set(Timestamp::from_seconds(1_767_323_045));
        let store = Arc::new(Memory::new(clock));
        let declared = file::parse(text, Path::new("directory.toml")).expect("a sound directory");
        folders::ensure(&*store, &declared).await.expect("folders are made");
        let context = Arc::new(Context {
            store: store.clone(),
            folder_names: Arc::new(names),
            message_bytes_max: MESSAGE_BYTES_MAX,
            capabilities: Arc::new(
                Capabilities::without(disabled).with_append_limit(MESSAGE_BYTES_MAX),
            ),
            admin: Some("mailto:postmaster@example.org".into()),
            own_copies: Default::default(),
            object_ids: postfach::imap::object_id::ObjectIds::by([7; 32]),
        });
        World { store, context, directory: Arc::new(declared.clone()), declared }
    }

    /// What the server does when the store's grants change.
    pub(crate) fn refresh(&mut self) {
        let grants = self.store.grants();
        let grants = grants.iter().map(|g| (&g.account, &g.user, g.rights.as_deref()));
        self.directory = Arc::new(self.declared.with_grants(grants));
    }

    /// Another `directory.toml` is loaded.
    pub(crate) fn declare(&mut self, change: impl FnOnce(&mut Directory)) {
        change(&mut self.declared);
        self.refresh();
    }

    /// Mail comes in.
    pub(crate) async fn deliver(&self, account: &Account, text: &str) {
        let mailbox = self.store.find(account, &Folder::root()).expect("the mailbox is there");
        let delivered = Delivered {
            mailbox: mailbox.id,
            message: new_message(text.as_bytes()),
            trace: Vec::new(),
            flags: FlagList::default(),
            seen_by: Vec::new(),
            internal_date: self.store.now(),
            thread: None,
            duplicate_key: None,
        };
        let changes = vec![Change::Delivered(Box::new(delivered))];
        let transaction = Transaction { actor: Actor::Delivery, changes };
        self.store.commit(transaction).await.expect("delivered");
    }

    /// There is somebody who verifies tokens; anna's is "anna-token".
    pub(crate) fn offer_bearer(&mut self) {
        let context = Arc::get_mut(&mut self.context).expect("nobody is connected");
        context.capabilities = Arc::new((*context.capabilities).clone().with_bearer());
    }

    /// Every user has the keys of SCRAM.
    pub(crate) fn offer_scram(&mut self) {
        let context = Arc::get_mut(&mut self.context).expect("nobody is connected");
        context.capabilities = Arc::new((*context.capabilities).clone().with_scram());
    }

    /// A client that has logged in, its greeting and login answered.
    pub(crate) async fn client(&self, login: &str) -> Client {
        let mut client = Client::new(self, Transport::TLS);
        client.send(self, b"").await;
        let line = format!("login LOGIN {login} {login}{PASSWORD_SUFFIX}\r\n");
        client.send(self, line.as_bytes()).await;
        let answer = client.take();
        assert!(answer.contains("login OK"), "{answer}");
        client
    }
}

/// What the spool makes of bytes.
pub(crate) fn new_message(bytes: &[u8]) -> NewMessage {
    NewMessage {
        bytes: Bytes::Memory(Arc::new(bytes.to_vec())),
        hash: *blake3::hash(bytes).as_bytes(),
        parsed: Arc::new(parse(bytes)),
    }
}

/// What a login can be bound to.
pub(crate) fn binding() -> Binding {
    Binding { exporter: *b"what both ends of TLS can export", end_point: Some([9; 32].into()) }
}

/// An account by its kind and name: `user anna`, `inbox Support`, `channel Anna Sales`.
pub(crate) fn account(text: &str) -> Account {
    match text.split_once(' ') {
        Some(("user", login)) => Account::User(Login::new(login)),
        Some(("inbox", name)) => Account::Inbox(name.into()),
        Some(("channel", name)) => Account::Channel(name.into()),
        _ => panic!("no such account: {text}"),
    }
}

/// The rights with these letters on an account for one user, as SETACL would give them.
pub(crate) fn grant(directory: &mut Directory, (account, login): (Account, &str), letters: &str) {
    directory.grants.insert((account, Login::new(login)), Rights::letters(letters));
}

/// A transport without TLS.
pub(crate) fn plain(passwords: Passwords) -> Transport {
    Transport { tls: StartTls::Offered, passwords }
}

fn answer(world: &World, attempt: &Attempt) -> Answer {
    let (name, password) = match &attempt.question {
        Question::Password { login, password } => (login, password),
        Question::Keys { .. } => return Answer::Keys(Box::new(keys())),
        Question::Proof { proof: Proof::Right(_), login } if login == "anna" => {
            return Answer::Accepted(Login::new("anna"));
        }
        Question::Proof { .. } => return Answer::Wrong,
        Question::Token { authzid, token } => {
            return match (token.0.as_str(), authzid.as_deref()) {
                ("anna-token", None | Some("anna")) => Answer::Accepted(Login::new("anna")),
                ("anna-token", Some(_)) => Answer::NotAuthorized,
                ("far-away", _) => Answer::TryLater,
                _ => Answer::Wrong,
            };
        }
    };
    let login = Login::new(name);
    let right = format!("{login}{PASSWORD_SUFFIX}");
    let known = world.directory.users.contains_key(&login);
    match password.0 == right.as_bytes() {
        true if known => Answer::Accepted(login),
        _ if name == "pest" => Answer::TryLater,
        _ => Answer::Wrong,
    }
}

/// Of "anna-secret".
fn keys() -> Keys {
    Keys {
        iterations: 4096,
        salt: b"salt of anna 16b".to_vec(),
        stored_key: *b"\x7f\xcd\xcb\xfd\xd3\x35\x89\x62\x21\x81\xca\x0d\x45\x51\x03\x0c\
                       \xc8\xed\xa8\x52\x81\x61\x91\x6e\xce\x59\x2c\xa0\xf0\x07\xfe\x88",
        server_key: *b"\x48\x2c\x72\x76\x1f\x19\x3a\x2e\xa4\xd2\x53\xda\x88\x0b\x6e\xf0\
                       \xd0\xef\x28\x6b\x05\x99\x9e\xa5\x22\x76\x5a\x2d\x25\x6d\x60\x87",
        nonce: "server-nonce".to_owned(),
    }
}

/// How far one step came.
enum Step {
    On(Next),
    Wait(Next),
    End,
}

/// One connection.
pub(crate) struct Client {
    pub(crate) dialogue: Dialogue,
    store: Arc<Memory>,
    framer: Framer,
    next: Option<Next>,
    /// The message that is coming in.
    message: Vec<u8>,
    greeted: bool,
    output: Vec<u8>,
    pub(crate) closed: bool,
}

impl Client {
    pub(crate) fn new(world: &World, transport: Transport) -> Client {
        Client {
            dialogue: Dialogue::new(world.context.clone(), transport),
            store: world.store.clone(),
            framer: Framer::default(),
            next: Some(Next::Command),
            message: Vec::new(),
            greeted: false,
            output: Vec::new(),
            closed: false,
        }
    }

    /// What has come back since the last call.
    pub(crate) fn take(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.output)).into_owned()
    }

    /// Brings bytes and performs the steps.
    pub(crate) async fn send(&mut self, world: &World, input: &[u8]) {
        self.framer.receive(input);
        let (mut sink, mut buffer) = (Vec::new(), Vec::new());
        let mut out = Output::new(&mut buffer, &mut sink);
        if !std::mem::replace(&mut self.greeted, true) {
            self.dialogue.greeting(&mut out);
        }
        while let Some(next) = self.next.take().filter(|_| !self.closed) {
            match self.perform(world, next, &mut out).await {
                Step::On(next) => self.next = Some(next),
                Step::Wait(next) => {
                    self.next = Some(next);
                    break;
                }
                Step::End => self.closed = true,
            }
        }
        out.flush().await.expect("memory takes everything");
        self.output.append(&mut sink);
    }

    /// Something may be new: what the driver does when the directory or a watched mailbox changes.
    pub(crate) async fn wake(&mut self, world: &World) {
        let (mut sink, mut buffer) = (Vec::new(), Vec::new());
        let mut out = Output::new(&mut buffer, &mut sink);
        let mut next = self.dialogue.directory_changed(world.directory.clone(), &mut out);
        if let (Some(Next::Idle(_)), Next::Command) = (&self.next, &next) {
            next = self.dialogue.wake(&mut out).await;
        } else if self.dialogue.bell().is_some() {
            next = self.dialogue.notified(&mut out).await;
        }
        self.closed |= matches!(next, Next::Close);
        out.flush().await.expect("memory takes everything");
        self.output.append(&mut sink);
    }

    async fn perform(&mut self, world: &World, next: Next, out: &mut Output<'_>) -> Step {
        let limits = self.dialogue.limits();
        match next {
            Next::Command => match self.framer.next(&limits) {
                Some(event) => Step::On(self.on_event(event, out).await),
                None => Step::Wait(Next::Command),
            },
            Next::Line(exchange) => match self.framer.next_line(&limits) {
                Some(line) => {
                    let answer = (line, world.directory.clone());
                    Step::On(self.dialogue.respond(exchange, answer, out))
                }
                None => Step::Wait(Next::Line(exchange)),
            },
            Next::Idle(idle) => match self.framer.next_line(&limits) {
                Some(line) => Step::On(self.dialogue.idle_ended(idle, line, out).await),
                None => Step::Wait(Next::Idle(idle)),
            },
            Next::Verify(attempt) => {
                let answer = (answer(world, &attempt), world.directory.clone());
                Step::On(self.dialogue.verified(attempt, answer, out))
            }
            Next::StartTls => {
                self.framer.clear();
                self.dialogue.tls_started();
                Step::On(Next::Command)
            }
            Next::Message(incoming) => self.message(incoming, out).await,
            Next::LoggedOut | Next::Compress => Step::On(Next::Command),
            Next::Close => Step::End,
        }
    }

    /// What the driver does, with memory for a spool.
    async fn message(&mut self, mut incoming: Box<Incoming>, out: &mut Output<'_>) -> Step {
        loop {
            while let Some(piece) = self.framer.message_piece() {
                if piece.is_empty() {
                    return Step::Wait(Next::Message(incoming));
                }
                if incoming.received(&piece) == Belongs::ToMessage {
                    self.message.extend_from_slice(&piece);
                }
            }
            let next = match incoming.step(&*self.store).await {
                Moves::Literal => {
                    self.framer.accept();
                    incoming.invite(out);
                    continue;
                }
                Moves::Bytes(bytes) => {
                    self.message.extend_from_slice(&bytes);
                    continue;
                }
                Moves::Whole => {
                    self.whole(&mut incoming);
                    continue;
                }
                Moves::Follows => match self.framer.next(&self.dialogue.limits()) {
                    None => return Step::Wait(Next::Message(incoming)),
                    Some(event) => self.message_follows(*incoming, event, out).await,
                },
                Moves::Complete => {
                    self.framer.refuse();
                    self.dialogue.messages_complete(*incoming, out).await
                }
            };
            self.message.truncate(if let Next::Message(_) = next { self.message.len() } else { 0 });
            return Step::On(next);
        }
    }

    fn whole(&mut self, incoming: &mut Incoming) {
        let mut bytes = std::mem::take(&mut self.message);
        if incoming.must_become_lines() {
            let structure = parse(&bytes).structure;
            match loses_nul(&bytes, &structure) {
                true => incoming.cannot_become_lines(),
                false => bytes = as_lines(&bytes, &structure),
            }
        }
        incoming.has_arrived(new_message(&bytes));
    }

    async fn message_follows(
        &mut self,
        incoming: Incoming,
        event: Event,
        out: &mut Output<'_>,
    ) -> Next {
        let next = match &event {
            Event::Command(tail) => {
                self.dialogue.message_follows(incoming, (tail, None), out).await
            }
            Event::Message { head, announced } => {
                let read = (head.as_slice(), Some(*announced));
                self.dialogue.message_follows(incoming, read, out).await
            }
            _ => return self.on_event(event, out).await,
        };
        self.invite(next)
    }

    fn invite(&mut self, next: Next) -> Next {
        if !matches!(next, Next::Message(_)) {
            self.framer.refuse();
        }
        next
    }

    async fn on_event(&mut self, event: Event, out: &mut Output<'_>) -> Next {
        match event {
            Event::Command(command) => self.dialogue.command(&command, out).await,
            Event::Refused { tag, why } => self.dialogue.refused(&tag, why, out),
            Event::Overrun => self.dialogue.bye("More than can be read was announced", out),
            Event::Invite => {
                out.line(format_args!("+ Go on"));
                Next::Command
            }
            Event::Message { head, announced } => {
                let next = self.dialogue.message_announced(&head, announced, out).await;
                self.invite(next)
            }
        }
    }
}
