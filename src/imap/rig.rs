//! For tests: users, an inbox and a channel on a store, and clients that run commands through the
//! same table as a session, with imap-codec as the judge of every answer. The store is the one in
//! memory, but where a test asks for another; of several nodes each client is on one.

use std::sync::Arc;

use imap_codec::ResponseCodec;
use imap_codec::decode::Decoder;

use super::capability::Capabilities;
use super::command::append_data::{Messages, Reader, State, Word};
use super::command::table::{Verb, find};
use super::command::{
    Call, append, close, copy, create, enable, expunge, fetch, list, lsub, notify, search, select,
    status, store,
};
use super::notify::{Notify, Overflow};
use super::output::Output;
use super::view::{Expunge, updates, updates_unasked};
use super::wire::framing::{Announced, Literal, Octets};
use super::wire::lex::Cursor;
use super::{Completion, Context, Refusal, Selected, Session};
use crate::directory::{
    Access, Channel, Directory, Inbox, Level, PasswordHash, Policy, Role, User,
};
use crate::mail::account::{Account, Folder, FolderNames};
use crate::mail::flag::{FlagList, SeenMode};
use crate::mail::id::{Login, MailboxId, Timestamp};
use crate::mail::message::parse;
use crate::store::change::{Actor, Bytes, Change, Delivered, NewMessage, Transaction};
use crate::store::contract::stand::{Engine, Stand};
use crate::store::memory::Memory;
use crate::store::{Mailbox, Store};
use crate::sys::ManualClock;

/// When everything happens: 2024-05-06 07:08:09 UTC.
pub(crate) const NOW_SECS: i64 = 1_714_979_289;

/// Support belongs to anna, ben and (to read) dora; carla is an admin, sam a super-admin.
pub(crate) struct Rig {
    pub(crate) context: Context,
    /// Of the nodes behind the first.
    others: Vec<Context>,
    stand: Stand,
    directory: Arc<Directory>,
    runtime: tokio::runtime::Runtime,
}

/// A client with at most one mailbox selected.
pub(crate) struct Client {
    session: Session,
    pub(crate) selected: Option<Selected>,
    node: usize,
}

impl Client {
    pub(crate) fn node(&self) -> usize {
        self.node
    }
}

impl Rig {
    pub(crate) fn new() -> Rig {
        Rig::with_seen(SeenMode::PerUser)
    }

    pub(crate) fn with_seen(seen: SeenMode) -> Rig {
        Rig::on(Engine::Memory, seen)
    }

    pub(crate) fn on(engine: Engine, seen: SeenMode) -> Rig {
        let clock = Arc::new(ManualClock::default());
        clock.set(Timestamp::from_seconds(NOW_SECS));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime");
        let stand = runtime.block_on(Stand::new(engine, clock));
        let mut contexts = stand.stores().into_iter().map(context);
        let rig = Rig {
            context: contexts.next().expect("a node"),
            others: contexts.collect(),
            stand,
            directory: Arc::new(directory(seen)),
            runtime,
        };
        for account in rig.accounts() {
            let folders = account.standard_folders().into_iter();
            rig.commit(folders.map(|folder| created(&account, folder)).collect());
        }
        rig
    }

    pub(crate) fn leave_out_own_copies(&mut self) {
        self.context.own_copies = super::OwnCopies::LeaveOut;
    }

    fn accounts(&self) -> Vec<Account> {
        let mut accounts: Vec<Account> =
            self.directory.users.keys().map(|login| Account::User(login.clone())).collect();
        accounts.push(Account::Inbox("Support".into()));
        accounts.push(Account::Inbox("Sales".into()));
        accounts.push(Account::Channel("Anna Sales".into()));
        accounts
    }

    pub(crate) fn commit(&self, changes: Vec<Change>) {
        self.commit_on(0, changes);
    }

    pub(crate) fn commit_on(&self, node: usize, changes: Vec<Change>) {
        let transaction = Transaction { actor: Actor::System, changes };
        let store = &self.context_of(node).store;
        self.runtime.block_on(store.commit(transaction)).expect("a commit");
    }

    /// How many nodes there are.
    pub(crate) fn nodes(&self) -> usize {
        1 + self.others.len()
    }

    fn context_of(&self, node: usize) -> &Context {
        node.checked_sub(1).map_or(&self.context, |other| &self.others[other])
    }

    /// Stops a node and starts it again on what is stored. Its clients are lost.
    pub(crate) fn restart(&mut self, node: usize) {
        let Rig { context, others, stand, runtime, .. } = self;
        let mut contexts: Vec<&mut Context> = std::iter::once(context).chain(others).collect();
        contexts[node].store = Arc::new(Memory::new(Arc::new(ManualClock::default())));
        runtime.block_on(stand.restart(node));
        contexts[node].store = stand.stores().remove(node);
    }

    /// What somebody else commits just before each of the next commits of a client.
    pub(crate) fn commit_sooner(&self, changes: Vec<Vec<Change>>) {
        let transaction = |changes| Transaction { actor: Actor::System, changes };
        self.stand.memory().commit_sooner(changes.into_iter().map(transaction).collect());
    }

    pub(crate) fn support(&self) -> Arc<Mailbox> {
        let account = Account::Inbox("Support".into());
        self.context.store.find(&account, &Folder::root()).expect("Support")
    }

    /// A folder of Support.
    pub(crate) fn find(&self, folder: &Folder) -> MailboxId {
        let account = self.support().account.clone();
        self.context.store.find(&account, folder).expect("a folder").id
    }

    /// The counts of Support, as `login` sees them on a node.
    pub(crate) fn status_on(&self, node: usize, login: &str) -> crate::store::Status {
        let support = self.support();
        let seen = self.directory.seen_mode(&support.account);
        let user = Login::new(login);
        self.runtime.block_on(async {
            self.stand.agreed().await;
            let store = &self.context_of(node).store;
            store.status(support.id, &user, seen).await.expect("Support")
        })
    }

    /// Mail for support@ comes in.
    pub(crate) fn deliver(&self, message: &str) {
        self.commit(vec![self.delivery(message)]);
    }

    /// What brings mail for support@ in.
    pub(crate) fn delivery(&self, message: &str) -> Change {
        let mailbox = self.support().id;
        let trace = "Return-Path: <c@example.com>\r\nDelivered-To: support@example.org\r\n";
        Change::Delivered(Box::new(Delivered {
            mailbox,
            message: new_message(message.as_bytes()),
            trace: trace.as_bytes().to_vec(),
            flags: FlagList::default(),
            seen_by: Vec::new(),
            internal_date: Timestamp::from_seconds(NOW_SECS),
            thread: None,
            duplicate_key: None,
        }))
    }

    /// Another policy for Support; for clients made from now on.
    pub(crate) fn change_policy(&mut self, change: impl Fn(&mut Policy)) {
        let directory = Arc::make_mut(&mut self.directory);
        change(&mut directory.inboxes.get_mut("Support").expect("Support").policy);
    }

    /// A user goes; for clients made from now on.
    pub(crate) fn without(&mut self, login: &str) {
        Arc::make_mut(&mut self.directory).users.remove(&Login::new(login));
    }

    /// Support gets an `Assigned` folder for each of them.
    pub(crate) fn assignable(&self, logins: &[&str]) {
        let support = self.support().account.clone();
        let folders = logins.iter().map(|login| Folder::assigned(&Login::new(login)));
        self.commit(folders.map(|folder| created(&support, folder)).collect());
    }

    /// `count` short messages come in: `Subject: message 1`.
    pub(crate) fn fill(&self, count: usize) {
        for n in 1..=count {
            self.deliver(&format!("Subject: message {n}\r\n\r\nbody {n}\r\n"));
        }
    }

    pub(crate) fn client(&self, login: &str) -> Client {
        self.client_on(0, login)
    }

    pub(crate) fn client_on(&self, node: usize, login: &str) -> Client {
        let session = Session::new(Login::new(login), self.directory.clone());
        Client { session, selected: None, node }
    }

    /// Runs a command; answers everything that the client gets, the tagged line last.
    pub(crate) fn send(&self, client: &mut Client, command: &str) -> String {
        let (mut buffer, mut sink) = (Vec::new(), Vec::new());
        let mut out = Output::new(&mut buffer, &mut sink);
        self.runtime.block_on(async {
            self.stand.agreed().await;
            let tagged = match self.run(client, command, &mut out).await {
                Ok(Completion { code: Some(code), text, .. }) => format!("OK [{code}] {text}"),
                Ok(Completion { code: None, text, .. }) => format!("OK {text}"),
                Err(Refusal::Bad(text)) => format!("BAD {text}"),
                Err(Refusal::No { code: Some(code), text }) => format!("NO [{code}] {text}"),
                Err(Refusal::No { code: None, text }) => format!("NO {text}"),
                Err(Refusal::Disconnected) => "NO disconnected".into(),
            };
            out.line(format_args!("a {tagged}"));
            out.flush().await.expect("memory");
        });
        judge(&sink);
        String::from_utf8_lossy(&sink).into_owned()
    }

    async fn run(
        &self,
        client: &mut Client,
        command: &str,
        out: &mut Output<'_>,
    ) -> Result<Completion, Refusal> {
        let words = if command.starts_with("UID ") { 2 } else { 1 };
        let end = command.match_indices(' ').nth(words - 1).map_or(command.len(), |(at, _)| at);
        let row = find(&command[..end]).expect("a command");
        let arguments = command.get(end + 1..).unwrap_or_default();
        let (head, literal) = match row.verb {
            Verb::Append => {
                let at = arguments.rfind('{').unwrap_or(arguments.len());
                (&arguments[..at], arguments[at..].split_once("\r\n").map_or("", |(_, m)| m))
            }
            _ => (arguments, ""),
        };
        let context = self.context_of(client.node);
        let mut call = Call {
            tag: "a",
            context,
            session: &mut client.session,
            numbering: row.numbering,
            arguments: Cursor::new(head.as_bytes()),
            out,
        };
        let selected = &mut client.selected;
        let done = match row.verb {
            Verb::Select | Verb::Examine => {
                *selected = None;
                let opened = match row.verb {
                    Verb::Select => select::select(&mut call).await,
                    _ => select::examine(&mut call).await,
                };
                opened.map(|(opened, completion)| {
                    *selected = Some(opened);
                    completion
                })
            }
            Verb::Enable => enable::run(&mut call, selected.as_ref()),
            Verb::Notify => notify::run(&mut call, selected.as_mut()).await,
            Verb::List => list::run(&mut call).await,
            Verb::Lsub => lsub::run(&mut call).await,
            Verb::Create => create::run(&mut call).await,
            Verb::Status => status::run(&mut call).await,
            Verb::Noop => Ok(Completion::ok("Nothing to do")),
            Verb::Append => append(&mut call, literal.as_bytes()).await,
            verb => on_selected(verb, &mut call, selected.as_mut().expect("selected")).await,
        };
        if matches!(row.verb, Verb::Close | Verb::Unselect) && done.is_ok() {
            *selected = None;
        }
        if let Some(selected) = selected {
            attach(context, client.session.notify.as_deref_mut(), selected);
            selected.follow_condstore(&client.session, out);
            let expunge = done.as_ref().map_or(row.expunge, |done| row.expunge.and(done.expunge));
            updates(context, selected, out, expunge).await?;
        }
        self.tell_of_others(client, out).await?;
        done
    }

    /// Everything that a client is told between commands.
    pub(crate) fn notified(&self, client: &mut Client) -> String {
        let (mut buffer, mut sink) = (Vec::new(), Vec::new());
        let mut out = Output::new(&mut buffer, &mut sink);
        self.runtime.block_on(async {
            self.stand.agreed().await;
            let context = self.context_of(client.node);
            let notify = client.session.notify.as_deref_mut();
            let wishes = notify.as_ref().and_then(|notify| notify.wishes());
            let expunge = wishes.map_or(Expunge::Held, |wishes| wishes.expunge);
            if let Some(selected) = &mut client.selected {
                attach(context, notify, selected);
                updates_unasked(context, selected, &mut out, expunge).await.expect("told");
            }
            self.tell_of_others(client, &mut out).await.expect("told");
            out.flush().await.expect("memory");
        });
        judge(&sink);
        String::from_utf8_lossy(&sink).into_owned()
    }

    async fn tell_of_others(
        &self,
        client: &mut Client,
        out: &mut Output<'_>,
    ) -> Result<(), Refusal> {
        let Some(mut notify) = client.session.notify.take() else { return Ok(()) };
        let who = (self.context_of(client.node), &client.session, client.selected.as_ref());
        let told = notify.tell(who, out).await;
        client.session.notify = Some(notify);
        if let Some(selected) = client.selected.as_mut().filter(|_| told == Ok(Overflow::Yes)) {
            selected.heed(&client.session);
        }
        told.map(|_| ())
    }
}

fn context(store: Arc<dyn Store>) -> Context {
    Context {
        store,
        folder_names: Arc::new(FolderNames::default()),
        message_bytes_max: 1 << 20,
        capabilities: Arc::new(Capabilities::without(&[])),
        admin: None,
        own_copies: Default::default(),
        object_ids: crate::imap::object_id::ObjectIds::by([7; 32]),
    }
}

fn attach(context: &Context, notify: Option<&mut Notify>, selected: &mut Selected) {
    if let Some(notify) = notify {
        notify.attach(context, Some(selected.mailbox.id));
    }
}

async fn append(call: &mut Call<'_, '_>, literal: &[u8]) -> Result<Completion, Refusal> {
    let bytes = literal.len() as u64;
    let announced = Announced { bytes, literal: Literal::Synchronizing, octets: Octets::Text };
    let mut state = State::default();
    let mut reader = Reader::new(&call.context.capabilities, Messages::One, &mut state);
    let (pending, mut words) = append::begin(call, (&mut reader, Some(announced))).await?;
    let Word::Begin(settings) = words.remove(0) else { panic!("{words:?}") };
    let arrived = vec![append::Arrived { settings, message: new_message(literal) }];
    append::finish(call, pending, arrived).await
}

async fn on_selected(
    verb: Verb,
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
) -> Result<Completion, Refusal> {
    match verb {
        Verb::Close => close::close(call, selected).await,
        Verb::Unselect => close::unselect(call, selected).await,
        Verb::Expunge => expunge::run(call, selected).await,
        Verb::Search => search::run(call, selected).await,
        Verb::Sort => search::sort(call, selected).await,
        Verb::Thread => search::thread(call, selected).await,
        Verb::CancelUpdate => search::cancel_update(call, selected),
        Verb::Fetch => fetch::run(call, selected).await,
        Verb::Store => store::run(call, selected).await,
        Verb::Copy => copy::copy(call, selected).await,
        Verb::Move => copy::r#move(call, selected).await,
        _ => Ok(Completion::ok("Nothing to do")),
    }
}

/// imap-codec must understand every response, but for ESEARCH, which it does not know.
fn judge(answer: &[u8]) {
    let mut rest = answer;
    while !rest.is_empty() {
        if rest.starts_with(b"* ESEARCH") {
            let line = rest.iter().position(|b| *b == b'\n').expect("a line");
            rest = &rest[line + 1..];
            continue;
        }
        rest = match ResponseCodec::default().decode(rest) {
            Ok((left, _)) => left,
            Err(error) => panic!("{error:?}: {}", String::from_utf8_lossy(rest)),
        };
    }
}

pub(crate) fn new_message(bytes: &[u8]) -> NewMessage {
    NewMessage {
        bytes: Bytes::Memory(Arc::new(bytes.to_vec())),
        hash: *blake3::hash(bytes).as_bytes(),
        parsed: Arc::new(parse(bytes)),
    }
}

fn created(account: &Account, folder: Folder) -> Change {
    Change::MailboxCreated { account: account.clone(), folder }
}

fn directory(seen: SeenMode) -> Directory {
    let mut directory = Directory::default();
    let users = [
        ("anna", Role::Member),
        ("ben", Role::Member),
        ("carla", Role::Admin),
        ("dora", Role::Member),
        ("sam", Role::SuperAdmin),
    ];
    for (login, role) in users {
        let login = Login::new(login);
        let user = User {
            login: login.clone(),
            name: login.to_string(),
            password: PasswordHash(String::new()),
            role,
            addresses: Vec::new(),
        };
        directory.users.insert(login, user);
    }
    let levels = [("anna", Level::Work), ("ben", Level::Work), ("dora", Level::Read)];
    let users = levels.map(|(login, level)| (Login::new(login), level)).to_vec();
    for (name, users) in [("Support", users), ("Sales", vec![(Login::new("ben"), Level::Work)])] {
        let access = Access::Limited { teams: Vec::new(), users };
        let (addresses, policy) = (Vec::new(), policy());
        let inbox = Inbox { name: name.into(), addresses, access, seen, policy };
        directory.inboxes.insert(name.into(), inbox);
    }
    let channel = Channel {
        name: "Anna Sales".into(),
        owner: Login::new("anna"),
        addresses: Vec::new(),
        routed_to: Vec::new(),
        access: Access::Limited { teams: Vec::new(), users: Vec::new() },
        seen: SeenMode::PerUser,
        policy: policy(),
        personal: false,
    };
    directory.channels.insert("Anna Sales".into(), channel);
    directory
}

fn policy() -> Policy {
    Policy {
        collision: crate::directory::CollisionGuard::Off,
        identity: crate::directory::IdentityGuard::Off,
        answering_assigns: true,
        conversation: crate::directory::Moves::Together,
        retention_days: 30,
        rules: Vec::new(),
        acknowledgement: None,
    }
}
