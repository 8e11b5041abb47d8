//! kill -9 at any moment: a child process commits under load and prints what was acknowledged; it
//! is killed, the store is opened again, and nothing that was acknowledged may be missing.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postfach::mail::account::{Account, Folder};
use postfach::mail::flag::FlagList;
use postfach::mail::id::{BlobId, Login, MailboxId, Timestamp, Uid};
use postfach::mail::message::{Parsed, SearchText};
use postfach::mail::uid_set::UidSet;
use postfach::store::change::{Actor, Bytes, Change, Delivered, NewMessage, Outcome, Transaction};
use postfach::store::embedded::{self, Embedded, Options};
use postfach::store::{FactsWanted, Store, StoreError};
use postfach::sys::SystemClock;

/// Names the store's folder to the child.
const CHILD: &str = "POSTFACH_CRASH_CHILD";
const ROUNDS: u64 = 24;
const COMMITTERS: u64 = 8;

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
        let mailbox = store.find(&account(), &Folder::root()).expect("made by the parent").id;
        let committers = (0..COMMITTERS).map(|committer| {
            tokio::spawn(commit_for_ever(store.clone(), mailbox, format!("{round}-{committer}")))
        });
        for committer in committers.collect::<Vec<_>>() {
            committer.await.expect("no panic");
        }
    });
}

async fn commit_for_ever(store: Embedded, mailbox: MailboxId, name: String) {
    for n in 0u64.. {
        let text = format!("{name}-{n}");
        let length = [3, 40, 900, 9000][(n % 4) as usize];
        let outcomes = commit(&store, vec![delivery(mailbox, &text, length)]).await;
        let Some(Outcome::Stored { uid, .. }) = outcomes.first() else { panic!("{outcomes:?}") };
        say(&format!("stored {} {text}", uid.0));
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
        if n % 7 == 3 {
            commit(&store, vec![Change::Expunged { mailbox, uids }]).await;
            say(&format!("expunged {}", uid.0));
        }
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
}

impl Acknowledged {
    fn note(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        let uid = |at: usize| words[at].parse::<u32>().expect("a UID");
        match words[0] {
            "stored" => {
                let before = self.stored.insert(uid(1), words[2].to_owned());
                assert_eq!(before, None, "a UID is never given twice");
            }
            "seen" => self.seen.push(uid(1)),
            "expunged" => self.expunged.push(uid(1)),
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
        let made = Change::MailboxCreated { account: account(), folder: Folder::root() };
        commit(&running.0, vec![made]).await;
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
    for uid in acknowledged.expunged.iter().map(|uid| Uid(*uid)) {
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
            Some(entry) => whole(store, entry.blob, text).await,
            // An expunge may be durable although its answer did not get out.
            None => assert!(gone(uid) || text_expunges(text), "{uid} {text} is lost"),
        }
    }
    close(running);
}

fn text_expunges(text: &str) -> bool {
    let n = text.rsplit('-').next().and_then(|n| n.parse::<u64>().ok());
    n.is_some_and(|n| n % 7 == 3)
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
