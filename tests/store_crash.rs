//! kill -9 at any moment: a child process commits under load and prints what was acknowledged; it
//! is killed, the store is opened again, and nothing that was acknowledged may be missing.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postfach::mail::account::{Account, Folder, FolderRole};
use postfach::mail::address::Address;
use postfach::mail::flag::{FlagList, SeenMode};
use postfach::mail::id::{BlobId, Login, MailboxId, QueueId, Timestamp, Uid};
use postfach::mail::message::{Envelope, Parsed, SearchText};
use postfach::mail::transport::Body;
use postfach::mail::uid_set::UidSet;
use postfach::store::audit::{Chain, Deed, Entry, EntryId};
use postfach::store::change::{
    Actor, Bytes, Change, Delivered, NewMessage, Outcome, Transaction, Transfer,
};
use postfach::store::embedded::{self, Embedded, Options};
use postfach::store::queue::{
    NewQueued, Progress, Queued, QueuedEnvelope, QueuedRecipient, RecipientUpdate,
};
use postfach::store::snapshot::Snapshot;
use postfach::store::text::{How, Needle, TextPlace, Verdict};
use postfach::store::{FactsWanted, Store, StoreError};
use postfach::sys::SystemClock;

/// Names the store's folder to the child.
const CHILD: &str = "POSTFACH_CRASH_CHILD";
const ROUNDS: u64 = 24;
const COMMITTERS: u64 = 8;
/// So many messages are indexed at once.
const INDEXED_TOGETHER: usize = 1024;

fn account() -> Account {
    Account::Inbox("Support".into())
}

type Thread = JoinHandle<Result<(), StoreError>>;

fn open(path: &Path) -> (Embedded, Thread) {
    let opened = embedded::open(path, Options::default(), Arc::new(SystemClock));
    let (store, writer) = opened.expect("the store opens");
    (store, std::thread::spawn(|| writer.run()))
}

fn close((store, thread): (Embedded, Thread)) {
    drop(store);
    assert_eq!(thread.join().expect("no panic"), Ok(()));
}

async fn commit(store: &Embedded, changes: Vec<Change>) -> Vec<Outcome> {
    let transaction = Transaction { actor: Actor::Delivery, changes };
    store.commit(transaction).await.expect("commits").outcomes
}

/// Of different lengths, some over several pages, each recognisable.
fn message(text: &str, length: usize) -> NewMessage {
    let fields = format!("Subject: {text}\r\n");
    let bytes = format!("{fields}\r\n{}", text.repeat(length)).into_bytes();
    let body = text.to_owned();
    NewMessage {
        hash: *blake3::hash(&bytes).as_bytes(),
        bytes: Bytes::Memory(Arc::new(bytes)),
        parsed: Arc::new(Parsed {
            envelope: Envelope {
                message_id: Some(format!("<{text}@x>").into_bytes()),
                ..Envelope::default()
            },
            fields: fields.into_bytes(),
            text: SearchText { header: String::new(), body },
            ..Parsed::default()
        }),
    }
}

fn delivery(mailbox: MailboxId, text: &str, length: usize) -> Change {
    Change::Delivered(Box::new(Delivered {
        mailbox,
        message: message(text, length),
        trace: format!("Delivered-To: {text}\r\n").into_bytes(),
        flags: FlagList::default(),
        seen_by: Vec::new(),
        internal_date: Timestamp(1),
        thread: None,
        duplicate_key: Some(*blake3::hash(text.as_bytes()).as_bytes()),
    }))
}

/// The same message on its way to two recipients.
fn queueing(text: &str, length: usize) -> Change {
    let recipient = |name: &str| QueuedRecipient {
        number: 0,
        address: Address::new(name, "example.net"),
        upstream: None,
        notify: None,
        orcpt: None,
        progress: Progress::new(Timestamp(1)),
    };
    Change::Queued(Box::new(NewQueued {
        message: message(text, length),
        trace: format!("Received: {text}\r\n").into_bytes(),
        envelope: QueuedEnvelope {
            id: text.into(),
            reverse_path: None,
            sender: Some(account()),
            envid: None,
            ret: None,
            body: Body::SevenBit,
            smtputf8: false,
            queued_at: Timestamp(1),
            expires_at: Timestamp(2),
        },
        recipients: vec![recipient("ben"), recipient("carla")],
        duplicate_key: Some(*blake3::hash(text.as_bytes()).as_bytes()),
    }))
}

/// The child: commits until it is killed, and says what was acknowledged.
#[test]
fn child() {
    let Ok(path) = std::env::var(CHILD) else { return };
    let round = std::env::var("POSTFACH_CRASH_ROUND").expect("set by the parent");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (store, _writer) = open(&PathBuf::from(path));
        say("open");
        let found = |folder| store.find(&account(), &folder).expect("made by the parent").id;
        let mailbox = found(Folder::root());
        let done = found(Folder::role(FolderRole::Done));
        let committers = (0..COMMITTERS).map(|committer| {
            let name = format!("{round}-{committer}");
            tokio::spawn(commit_for_ever(store.clone(), (mailbox, done), name))
        });
        for committer in committers.collect::<Vec<_>>() {
            committer.await.expect("no panic");
        }
    });
}

async fn commit_for_ever(store: Embedded, (mailbox, done): (MailboxId, MailboxId), name: String) {
    for n in 0u64.. {
        let text = format!("{name}-{n}");
        let length = [3, 40, 900, 9000][(n % 4) as usize];
        let mut changes = vec![delivery(mailbox, &text, length)];
        changes.extend(is_queued(n).then(|| queueing(&text, length)));
        let outcomes = commit(&store, changes).await;
        let Some(Outcome::Stored { uid, .. }) = outcomes.first() else { panic!("{outcomes:?}") };
        say(&format!("stored {} {text}", uid.0));
        if let Some(Outcome::Queued(id)) = outcomes.get(1) {
            say(&format!("queued {} {text}", id.0));
            come_further(&store, *id, n).await;
        }
        let uids: UidSet = [*uid].into_iter().collect();
        if n % 5 == 1 {
            let seen = Change::SeenSet {
                mailbox,
                user: Login::new("anna"),
                uids: uids.clone(),
                seen: true,
                unchanged_since: None,
            };
            commit(&store, vec![seen]).await;
            say(&format!("seen {}", uid.0));
        }
        if is_closed(n) {
            commit(&store, vec![closing((mailbox, done), &uids)]).await;
            say(&format!("closed {}", uid.0));
        }
        if n % 7 == 3 {
            commit(&store, vec![Change::Expunged { mailbox, uids }]).await;
            say(&format!("expunged {}", uid.0));
        }
    }
}

fn closing((from, to): (MailboxId, MailboxId), uids: &UidSet) -> Change {
    let (uids, seen, user) = (uids.clone(), SeenMode::PerUser, Login::new("anna"));
    Change::Moved(Transfer { from, from_seen: seen, uids, to, to_seen: seen, user })
}

fn is_closed(n: u64) -> bool {
    n % 5 == 2 && n % 7 != 3
}

fn is_queued(n: u64) -> bool {
    n % 3 == 2
}

fn first_is_reached(n: u64) -> bool {
    n % 6 == 5
}

fn both_are_reached(n: u64) -> bool {
    n % 12 == 11
}

async fn come_further(store: &Embedded, id: QueueId, n: u64) {
    let done = |number| {
        let recipients = vec![(number, RecipientUpdate::Done)];
        vec![Change::QueueUpdated { id, recipients }]
    };
    if first_is_reached(n) {
        commit(store, done(0)).await;
        say(&format!("reached {}", id.0));
    }
    if both_are_reached(n) {
        commit(store, done(1)).await;
        say(&format!("left {}", id.0));
    }
}

/// A whole line in one write: the pipe keeps it whole.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(format!("\n@{line}\n").as_bytes());
    let _ = out.flush();
}

#[derive(Default)]
struct Acknowledged {
    stored: HashMap<u32, String>,
    seen: Vec<u32>,
    expunged: Vec<u32>,
    closed: Vec<u32>,
    queued: HashMap<i64, String>,
    reached: Vec<i64>,
    left: Vec<i64>,
}

impl Acknowledged {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let uid = |at: usize| words[at].parse::<u32>().expect("a UID");
        let id = || words[1].parse::<i64>().expect("a number in the queue");
        match words[0] {
            "stored" => {
                let before = self.stored.insert(uid(1), words[2].to_owned());
                assert_eq!(before, None, "a UID is never given twice");
            }
            "seen" => self.seen.push(uid(1)),
            "closed" => self.closed.push(uid(1)),
            "expunged" => self.expunged.push(uid(1)),
            "queued" => {
                let before = self.queued.insert(id(), words[2].to_owned());
                assert_eq!(before, None, "a number is never given twice");
            }
            "reached" => self.reached.push(id()),
            "left" => self.left.push(id()),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn kill_9_loses_nothing_that_was_acknowledged() {
    let path = std::env::temp_dir().join(format!("postfach-crash-{}", std::process::id()));
    std::fs::create_dir_all(&path).expect("a temporary folder");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let running = open(&path);
        let folders = [Folder::root(), Folder::role(FolderRole::Done)];
        let made = |folder| Change::MailboxCreated { account: account(), folder };
        commit(&running.0, folders.map(made).to_vec()).await;
        close(running);
    });
    let mut acknowledged = Acknowledged::default();
    for round in 0..ROUNDS {
        // Moments spread over the first commits, the steady state, and checkpoints.
        let lifetime = Duration::from_millis((round * 7919) % 311);
        let before = acknowledged.stored.len();
        run_and_kill(&path, round, lifetime, &mut acknowledged);
        let busy = acknowledged.stored.len() > before;
        assert!(busy || lifetime < Duration::from_millis(100), "nothing in {lifetime:?}");
        runtime.block_on(check(&path, &acknowledged));
    }
    runtime.block_on(is_indexed(&path));
    std::fs::remove_dir_all(&path).expect("was there");
}

fn run_and_kill(path: &Path, round: u64, lifetime: Duration, acknowledged: &mut Acknowledged) {
    let mut child: Child = Command::new(std::env::current_exe().expect("this test"))
        .args(["child", "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, path)
        .env("POSTFACH_CRASH_ROUND", round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let (told, heard) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let lines = lines.map_while(Result::ok);
        let lines = lines.filter_map(|line| line.strip_prefix('@').map(str::to_owned));
        lines.for_each(|line| drop(told.send(line)));
    });
    assert_eq!(heard.recv().as_deref(), Ok("open"));
    std::thread::sleep(lifetime);
    child.kill().expect("kills");
    child.wait().expect("ends");
    reader.join().expect("no panic");
    heard.iter().for_each(|line| acknowledged.note(&line));
}

async fn check(path: &Path, acknowledged: &Acknowledged) {
    let start = Instant::now();
    let running = open(path);
    let store = &running.0;
    assert!(start.elapsed() < Duration::from_secs(1), "opens in {:?}", start.elapsed());
    let mailbox = store.find(&account(), &Folder::root()).expect("there").id;
    let snapshot = store.snapshot(mailbox).await.expect("there");
    let uids: Vec<Uid> = snapshot.iter().map(|entry| entry.uid).collect();
    assert!(uids.is_sorted_by(|a, b| a < b) && uids.last().is_none_or(|l| *l < snapshot.uid_next));
    let removed = acknowledged.expunged.iter().chain(&acknowledged.closed);
    for uid in removed.map(|uid| Uid(*uid)) {
        assert!(snapshot.by_uid(uid).is_none(), "{uid:?} came back");
    }
    let overlay = store.overlay(mailbox, &Login::new("anna")).await.expect("there");
    for uid in acknowledged.seen.iter().map(|uid| Uid(*uid)) {
        assert!(overlay.seen(uid) || snapshot.by_uid(uid).is_none(), "{uid:?} is unseen again");
    }
    let gone = |uid: &u32| acknowledged.expunged.contains(uid);
    let last = acknowledged.stored.keys().max();
    assert!(last.is_none_or(|last| Uid(*last) < snapshot.uid_next));
    for (uid, text) in &acknowledged.stored {
        match snapshot.by_uid(Uid(*uid)) {
            Some(entry) => {
                whole(store, entry.blob, text).await;
                let found = store.instances_of(&format!("{text}@x")).await.expect("answers");
                assert!(found.iter().any(|i| (i.mailbox, i.uid.0) == (mailbox, *uid)), "{text}");
            }
            // An expunge may be durable although its answer did not get out.
            None => assert!(gone(uid) || text_leaves(text), "{uid} {text} is lost"),
        }
    }
    check_audit(store).await;
    check_queue(store, &snapshot, acknowledged).await;
    check_index(store, &snapshot).await;
    close(running);
}

/// What the index says of messages is so, whenever it was interrupted; of how many it knows.
async fn check_index(store: &Embedded, snapshot: &Snapshot) -> usize {
    let blobs: Vec<BlobId> = snapshot.iter().map(|entry| entry.blob).collect();
    let needles = ["-", "1", "-3-", "17"].map(|text| Needle {
        place: TextPlace::Body,
        text: text.into(),
        how: How::Exactly,
    });
    let verdicts = store.text_verdicts(&blobs, &needles).await.expect("answers");
    let mut facts = Vec::new();
    for some in blobs.chunks(256) {
        let wanted = FactsWanted { body_text: true, ..FactsWanted::default() };
        facts.extend(store.facts(some, wanted).await.expect("answers"));
    }
    for (needle, verdicts) in needles.iter().zip(&verdicts) {
        for (verdict, facts) in verdicts.iter().zip(&facts) {
            let text = facts.body_text.as_deref().expect("is there");
            let is_there = text.contains(&needle.text);
            assert!(*verdict != Verdict::Present || is_there, "{needle:?} in {text}");
            assert!(*verdict != Verdict::Absent || !is_there, "{needle:?} in {text}");
        }
    }
    verdicts[1].iter().filter(|verdict| **verdict != Verdict::Unknown).count()
}

/// Indexing goes on after the last kill, and comes to its end.
async fn is_indexed(path: &Path) {
    let running = open(path);
    let mailbox = running.0.find(&account(), &Folder::root()).expect("there").id;
    let snapshot = running.0.snapshot(mailbox).await.expect("there");
    let since = Instant::now();
    while snapshot.len() >= INDEXED_TOGETHER && check_index(&running.0, &snapshot).await == 0 {
        assert!(since.elapsed() < Duration::from_secs(60), "not indexed");
    }
    close(running);
}

/// The log is whole, and tells of each message that is done, and of no other.
async fn check_audit(store: &Embedded) {
    let done = store.find(&account(), &Folder::role(FolderRole::Done)).expect("there").id;
    let snapshot = store.snapshot(done).await.expect("there");
    let there: BTreeSet<i64> = snapshot.iter().map(|entry| entry.blob.0).collect();
    let records = store.audited(EntryId(1), Timestamp(0), usize::MAX).await.expect("answers");
    let (mut chain, mut told) = (Chain::default(), BTreeSet::new());
    for record in records {
        assert_eq!(chain.take(&record), Ok(()));
        let entry = Entry::parse(&record.text).expect("an entry");
        if entry.deed == Deed::Close {
            told.extend(entry.messages);
        }
    }
    assert_eq!(chain.end(&store.audit_tip()), Ok(()));
    assert_eq!(told, there);
}

async fn check_queue(store: &Embedded, snapshot: &Snapshot, acknowledged: &Acknowledged) {
    for (id, text) in &acknowledged.queued {
        let n = number_of(text);
        match store.queued(QueueId(*id)) {
            Some(queued) => {
                assert!(!acknowledged.left.contains(id), "{id} {text} would be sent again");
                assert_eq!(queued.envelope.id, *text);
                let reached = acknowledged.reached.contains(id);
                let first = queued.recipients.iter().any(|recipient| recipient.number == 0);
                assert!(!(first && reached), "{id} {text} would be sent again");
                assert!(first || first_is_reached(n), "a recipient of {id} {text} is lost");
            }
            None => assert!(both_are_reached(n), "{id} {text} is lost"),
        }
    }
    // Also what was not acknowledged is there as a whole or not at all.
    for queued in store.queued_from(QueueId(0), usize::MAX) {
        whole_entry(store, snapshot, &queued).await;
    }
}

async fn whole_entry(store: &Embedded, snapshot: &Snapshot, queued: &Queued) {
    let text = &queued.envelope.id;
    let names: Vec<&str> = queued.recipients.iter().map(|r| r.address.local()).collect();
    assert!(names == ["ben", "carla"] || names == ["carla"], "{text}: {names:?}");
    whole(store, queued.blob, text).await;
    let trace = store.trace(queued.trace).await.expect("there");
    assert_eq!(trace, format!("Received: {text}\r\n").into_bytes());
    let filed = snapshot.iter().any(|entry| entry.blob == queued.blob);
    assert!(filed || text_leaves(text), "{text} is queued and not filed");
}

fn number_of(text: &str) -> u64 {
    text.rsplit('-').next().and_then(|n| n.parse().ok()).expect("round-committer-number")
}

/// Whether it is expunged or closed.
fn text_leaves(text: &str) -> bool {
    number_of(text) % 7 == 3 || is_closed(number_of(text))
}

/// Reading a whole message checks it against its hash.
async fn whole(store: &Embedded, blob: BlobId, text: &str) {
    let body = store.body(blob, 0..u64::MAX).await.expect("matches its hash");
    let fields = format!("Subject: {text}\r\n").into_bytes();
    assert!(body.starts_with(&fields));
    let wanted = FactsWanted { fields: true, body_text: true, ..FactsWanted::default() };
    let facts = store.facts(&[blob], wanted).await.expect("answers").remove(0);
    assert_eq!(facts.fields, fields);
    assert_eq!(facts.body_text.as_deref(), Some(text));
}
