//! A world for the runner's tests: servers that answer as they are told, a store that can be full,
//! and a clock that follows tokio's paused one.

#[macro_use]
mod passed_on;
mod store;

pub(in crate::server) use store::{FullableStore, Shelf};

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::directory::{Domain, User};
use crate::mail::account::{Account, Folder};
use crate::mail::address::Address;
use crate::mail::id::Login;
use crate::mail::message;
use crate::mail::transport::Body;
use crate::outbound::Security;
use crate::server::relay::Reach as HopReach;
use crate::smtp::client::Told;
use crate::store::change::{Actor, Bytes, Change, NewMessage, Outcome, Transaction};
use crate::store::nodes::Duty;
use crate::store::queue::{NewQueued, Progress, QueuedEnvelope, QueuedRecipient};

pub(in crate::server) const MESSAGE: &[u8] =
    b"From: anna@example.org\r\nSubject: Hello\r\nMessage-ID: <m1@example.org>\r\n\r\nHi\r\n";
const START: i64 = 1_795_000_000;

/// Goes as fast as tokio's time.
pub(in crate::server) struct TurningClock(Instant);

impl Clock for TurningClock {
    fn now(&self) -> Timestamp {
        let micros = i64::try_from(self.0.elapsed().as_micros()).expect("a test's time");
        Timestamp(Timestamp::from_seconds(START).0 + micros)
    }
}

/// Seconds since the test began.
pub(in crate::server) fn since_start(at: Timestamp) -> i64 {
    at.seconds() - START
}

/// What a server answers: by its name and the recipients.
pub(in crate::server) type Script = Arc<dyn Fn(&str, &Mail) -> Attempt + Send + Sync>;

/// Servers that answer as a script says; each attempt is noted.
pub(in crate::server) struct FakeTransport {
    clock: Arc<dyn Clock>,
    pub(in crate::server) hops: Mutex<Vec<String>>,
    pub(in crate::server) script: Mutex<Script>,
    /// How long the content takes.
    pub(in crate::server) content: Mutex<Duration>,
    /// How many mails a server has got to their end.
    pub(in crate::server) ended: AtomicUsize,
    /// How long an answer takes.
    pub(in crate::server) takes: Mutex<Duration>,
    /// When, which server, which recipients.
    pub(in crate::server) attempts: Mutex<Vec<(i64, String, Vec<String>)>>,
    running: AtomicUsize,
    pub(in crate::server) most_at_once: AtomicUsize,
}

impl FakeTransport {
    fn new(hop: &str, script: Script, clock: Arc<dyn Clock>) -> FakeTransport {
        FakeTransport {
            clock,
            hops: Mutex::new(vec![hop.into()]),
            script: Mutex::new(script),
            content: Mutex::new(Duration::ZERO),
            ended: AtomicUsize::new(0),
            takes: Mutex::new(Duration::ZERO),
            attempts: Mutex::default(),
            running: AtomicUsize::new(0),
            most_at_once: AtomicUsize::new(0),
        }
    }
}

impl Transport for FakeTransport {
    fn hops<'a>(&'a self, route: &'a Route, _: u64) -> Later<'a, Result<Vec<Hop>, Fate>> {
        let hop = |name: &String| Hop {
            name: name.clone(),
            addresses: Vec::new(),
            security: Security::Opportunistic,
            login: crate::outbound::Login::None,
            dane: None,
        };
        let hops = match route {
            Route::Nowhere { status, why } => Err(Fate::Failed(Route::told(status, why.clone()))),
            _ => Ok(self.hops.lock().expect("no panic").iter().map(hop).collect()),
        };
        Box::pin(async move { hops })
    }

    fn attempt<'a>(
        &'a self,
        hop: &'a Hop,
        mail: &'a Mail,
        errand: Errand<'a>,
    ) -> Later<'a, Attempt> {
        Box::pin(async move {
            let recipients = mail.recipients.iter().map(|r| r.address.to_string()).collect();
            let note = (since_start(self.clock.now()), hop.name.clone(), recipients);
            self.attempts.lock().expect("no panic").push(note);
            let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_at_once.fetch_max(running, Ordering::SeqCst);
            let content = *self.content.lock().expect("no panic");
            tokio::time::sleep(content).await;
            if !errand.under.lasts() {
                self.running.fetch_sub(1, Ordering::SeqCst);
                let given_up = Fate::Deferred(Told { is_reply: false, ..told("400 4.3.0 over") });
                let fates = vec![given_up; mail.recipients.len()];
                return Attempt { fates, reach: HopReach::Served };
            }
            self.ended.fetch_add(1, Ordering::SeqCst);
            let takes = *self.takes.lock().expect("no panic");
            tokio::time::sleep(takes).await;
            self.running.fetch_sub(1, Ordering::SeqCst);
            let script = self.script.lock().expect("no panic").clone();
            script(&hop.name, mail)
        })
    }

    fn verify<'a>(
        &'a self,
        _: &'a Hop,
        _: Option<&'a Address>,
        _: &'a Address,
    ) -> Later<'a, Verification> {
        Box::pin(std::future::ready(Verification::Unknown(told("451 4.3.0 Later"))))
    }
}

pub(in crate::server) fn told(text: &str) -> Told {
    let status = text.split(' ').nth(1).unwrap_or_default().to_owned();
    Told { by: "mx.example.net".into(), status, text: text.into(), is_reply: true, dsn: false }
}

/// Every recipient has the same fate.
pub(in crate::server) fn all(fate: Fate) -> Script {
    Arc::new(move |_, mail| Attempt {
        fates: vec![fate.clone(); mail.recipients.len()],
        reach: HopReach::Served,
    })
}

pub(in crate::server) fn delivered() -> Script {
    all(Fate::Delivered(told("250 2.0.0 OK")))
}

pub(in crate::server) fn deferred() -> Script {
    all(Fate::Deferred(told("450 4.2.0 later")))
}

pub(in crate::server) fn failed() -> Script {
    all(Fate::Failed(told("550 5.1.1 no such user")))
}

pub(in crate::server) fn unreachable() -> Script {
    Arc::new(|_, mail| Attempt {
        fates: vec![
            Fate::Deferred(Route::told("4.4.1", "connection refused"));
            mail.recipients.len()
        ],
        reach: HopReach::Unserved,
    })
}

/// A runner and its world.
pub(in crate::server) struct World {
    pub(in crate::server) store: Arc<FullableStore>,
    pub(in crate::server) transport: Arc<FakeTransport>,
    pub(in crate::server) clock: Arc<dyn Clock>,
    shutdown: watch::Sender<bool>,
    pub(in crate::server) handle: Handle,
    runner: JoinHandle<()>,
    directory: watch::Sender<Arc<Directory>>,
}

impl World {
    /// anna@example.org is a user here; example.net has one server.
    pub(in crate::server) async fn new(script: Script) -> World {
        let clock: Arc<dyn Clock> = Arc::new(TurningClock(Instant::now()));
        let store = FullableStore::new(clock.clone());
        let created = Change::MailboxCreated { account: anna(), folder: Folder::root() };
        commit(&*store, vec![created]).await;
        let transport = FakeTransport::new("mx.example.net", script, clock.clone());
        World::with(store, Arc::new(transport), (Post::always(Duty::Queue), clock))
    }

    /// The same world, as another node sees it.
    pub(in crate::server) fn node(&self, store: Arc<FullableStore>, post: Post) -> World {
        World::with(store, self.transport.clone(), (post, self.clock.clone()))
    }

    /// Another world outside, with one server.
    pub(in crate::server) fn another_transport(
        &self,
        hop: &str,
        script: Script,
    ) -> Arc<FakeTransport> {
        Arc::new(FakeTransport::new(hop, script, self.clock.clone()))
    }

    fn with(
        store: Arc<FullableStore>,
        transport: Arc<FakeTransport>,
        (post, clock): (Post, Arc<dyn Clock>),
    ) -> World {
        let (shutdown, stopped) = watch::channel(false);
        let (declare, directory) = watch::channel(Arc::new(directory()));
        let office = Office {
            store: store.clone(),
            directory,
            transport: transport.clone(),
            clock: clock.clone(),
            shutdown: stopped,
            under: post.present(),
            post,
            settings: Settings {
                hostname: "mail.example.org".into(),
                routes: Routes::default(),
                retry: Policy::default(),
                limits: Limits::default(),
            },
        };
        let (queue, handle) = Queue::new(office);
        let runner = tokio::spawn(queue.run());
        World { store, transport, clock, shutdown, handle, runner, directory: declare }
    }

    /// As though the daemon were killed and started again.
    pub(in crate::server) async fn restart(self) -> World {
        self.runner.abort();
        let _ = self.runner.await;
        World::with(self.store, self.transport, (Post::always(Duty::Queue), self.clock))
    }

    /// As though the daemon were killed.
    pub(in crate::server) async fn kill(self) {
        self.runner.abort();
        let _ = self.runner.await;
    }

    /// The daemon stops.
    pub(in crate::server) async fn stop(self) -> (Arc<FullableStore>, Arc<FakeTransport>) {
        self.shutdown.send_replace(true);
        self.runner.await.expect("no panic");
        (self.store, self.transport)
    }

    /// The directory changes.
    pub(in crate::server) fn declare(&self, change: impl FnOnce(&mut Directory)) {
        self.directory.send_modify(|directory| change(Arc::make_mut(directory)));
    }

    /// Follows the directory.
    pub(in crate::server) fn directory(&self) -> watch::Receiver<Arc<Directory>> {
        self.directory.subscribe()
    }

    pub(in crate::server) fn answer_with(&self, script: Script) {
        *self.transport.script.lock().expect("no panic") = script;
    }

    pub(in crate::server) async fn queue(&self, recipients: &[&str]) -> QueueId {
        self.queue_as(recipients, |_| {}).await
    }

    pub(in crate::server) async fn queue_as(
        &self,
        recipients: &[&str],
        change: impl FnOnce(&mut NewQueued),
    ) -> QueueId {
        let mut new = new_queued(recipients, self.clock.now());
        change(&mut new);
        let outcomes = commit(&*self.store, vec![Change::Queued(Box::new(new))]).await;
        match outcomes[0] {
            Outcome::Queued(id) => id,
            ref other => panic!("{other:?}"),
        }
    }

    /// Lets time pass.
    pub(in crate::server) async fn pass(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    pub(in crate::server) fn queued(&self) -> Vec<Arc<Queued>> {
        self.store.queued_from(QueueId(i64::MIN), 1000)
    }

    pub(in crate::server) fn attempts(&self) -> Vec<(i64, String, Vec<String>)> {
        self.transport.attempts.lock().expect("no panic").clone()
    }

    /// The messages in anna's inbox, as text.
    pub(in crate::server) async fn inbox(&self) -> Vec<String> {
        let root = self.store.find(&anna(), &Folder::root()).expect("made").id;
        let snapshot = self.store.snapshot(root).await.expect("memory");
        let wanted: Vec<_> = snapshot.iter().map(|entry| (entry.blob, entry.trace)).collect();
        let bytes = self.store.messages(&wanted).await.expect("memory");
        bytes.into_iter().map(|b| String::from_utf8(b.expect("there")).expect("ASCII")).collect()
    }
}

pub(in crate::server) fn anna() -> Account {
    Account::User(Login::new("anna"))
}

fn directory() -> Directory {
    let mut directory = Directory::default();
    directory.domains.insert("example.org".into(), Domain::default());
    let login = Login::new("anna");
    let user = User {
        login: login.clone(),
        name: String::new(),
        password: crate::directory::PasswordHash(String::new()),
        role: crate::directory::Role::Member,
        addresses: vec![Address::new("anna", "example.org")],
    };
    directory.users.insert(login, user);
    directory
}

pub(crate) fn new_queued(recipients: &[&str], now: Timestamp) -> NewQueued {
    let message = NewMessage {
        bytes: Bytes::Memory(Arc::new(MESSAGE.to_vec())),
        hash: *blake3::hash(MESSAGE).as_bytes(),
        parsed: Arc::new(message::parse(MESSAGE)),
    };
    let envelope = QueuedEnvelope {
        id: "x1".into(),
        reverse_path: Address::parse("anna@example.org"),
        sender: Some(anna()),
        envid: None,
        ret: None,
        body: Body::SevenBit,
        smtputf8: false,
        queued_at: now,
        expires_at: Timestamp(now.0 + 5 * 86_400 * 1_000_000),
    };
    let recipient = |(number, address): (usize, &&str)| QueuedRecipient {
        number: u32::try_from(number).expect("few"),
        address: Address::parse(address).expect("an address"),
        upstream: None,
        notify: None,
        orcpt: None,
        progress: Progress::new(now),
    };
    let recipients = recipients.iter().enumerate().map(recipient).collect();
    NewQueued {
        message,
        trace: b"Received: x\r\n".to_vec(),
        envelope,
        recipients,
        duplicate_key: None,
    }
}

async fn commit(store: &dyn Store, changes: Vec<Change>) -> Vec<Outcome> {
    let transaction = Transaction { actor: Actor::System, changes };
    store.commit(transaction).await.expect("there is room").outcomes
}
