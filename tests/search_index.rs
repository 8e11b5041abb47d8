//! SEARCH finds the same whatever the store knows beforehand: with the index of all messages, of
//! some, without it, and in the engine that has none. Key trees are random, and so are the texts;
//! their words are short, so that needles are found within them and across their breaks.

mod store_support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use postfach::imap::Context;
use postfach::imap::capability::Capabilities;
use postfach::imap::search::evaluate::find;
use postfach::imap::search::fuzzy::fuzzily;
use postfach::imap::search::key::Key;
use postfach::imap::view::{Claims, View};
use postfach::mail::account::FolderNames;
use postfach::mail::flag::{FlagList, SeenMode, SystemFlags};
use postfach::mail::fold::fold;
use postfach::mail::id::{BlobId, Login, MailboxId, Uid};
use postfach::store::change::{Change, Delivered, Transfer};
use postfach::store::embedded::{self, Embedded, Options};
use postfach::store::memory::Memory;
use postfach::store::text::TextIndexing;
use postfach::store::text::{How, Needle, TextPlace, Verdict};
use postfach::store::{Store, StoreError};
use postfach::sys::ManualClock;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use store_support::{commit, delivered, mailbox};

/// Enough for several segments.
const INDEXED: usize = 2_300;
const NOT_YET: usize = 200;
const INDEXED_WITHIN: Duration = Duration::from_secs(60);

/// Words of few letters with breaks between them, some of two bytes.
const TEXT: &str = "(([abä€]{1,5}|[0-9]{1,3})[ .@-]{1,2}){0,14}";
const NEEDLE: &str = "[ .@-]{0,1}[abä€0-9]{0,4}([ .@-]{1,2}[abä€0-9]{1,3}){0,2}[ .@-]{0,1}";

struct Engine {
    store: Arc<dyn Store>,
    view: View,
}

/// Whose second part has the text in fields of its own only.
fn with_part(top: &str, text: &str, n: usize) -> String {
    format!(
        "{top}Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\n{n}\r\n\
         --o\r\nContent-Type: image/png\r\nSubject: {text}\r\nX-Other: {text}\r\n\r\nx\r\n\
         --o--\r\n"
    )
}

fn delivery(mailbox: MailboxId, n: usize, [subject, body]: [String; 2]) -> Change {
    let top = format!("Subject: {subject}\r\nX-Other: {n}\r\n");
    let text = match n % 4 {
        0 => with_part(&top, &body, n),
        _ => format!("{top}\r\n{body} {n}\r\n"),
    };
    let bytes = text.into_bytes();
    let system = if n.is_multiple_of(3) { SystemFlags::FLAGGED } else { SystemFlags::NONE };
    Change::Delivered(Box::new(Delivered {
        trace: format!("Received: from ab@{n}\r\n").into_bytes(),
        flags: FlagList { system, keywords: Vec::new() },
        ..delivered(mailbox, bytes)
    }))
}

async fn fill(store: &dyn Store, mailbox: MailboxId, texts: &[(usize, [String; 2])]) {
    let changes = texts.iter().map(|(n, texts)| delivery(mailbox, *n, texts.clone()));
    commit(store, changes.collect()).await;
}

/// Has some messages in the mailbox twice, out of their order.
async fn repeat(store: &dyn Store, mailbox: MailboxId) {
    let copy = Transfer {
        from: mailbox,
        from_seen: SeenMode::PerUser,
        uids: [5, 7, 80, 2_400].map(Uid).into_iter().collect(),
        to: mailbox,
        to_seen: SeenMode::PerUser,
        user: Login::new("anna"),
    };
    commit(store, vec![Change::Copied(copy)]).await;
}

async fn blobs(store: &dyn Store, mailbox: MailboxId) -> Vec<BlobId> {
    store.snapshot(mailbox).await.expect("exists").iter().map(|entry| entry.blob).collect()
}

/// Waits until the store knows something of each message.
async fn wait_for_index(store: &dyn Store, mailbox: MailboxId) {
    let blobs = blobs(store, mailbox).await;
    let needle = Needle { place: TextPlace::Header, text: "SUBJECT".into(), how: How::Exactly };
    let since = Instant::now();
    loop {
        let verdicts = store.text_verdicts(&blobs, std::slice::from_ref(&needle)).await;
        let verdicts = verdicts.expect("answers");
        if verdicts[0].len() == blobs.len() && !verdicts[0].contains(&Verdict::Unknown) {
            return;
        }
        assert!(since.elapsed() < INDEXED_WITHIN, "not indexed");
        tokio::task::yield_now().await;
    }
}

async fn view(store: &Arc<dyn Store>, mailbox: MailboxId) -> Engine {
    let context = Context {
        store: store.clone(),
        folder_names: Arc::new(FolderNames::default()),
        message_bytes_max: 1,
        capabilities: Arc::new(Capabilities::without(&[])),
        own_copies: Default::default(),
        object_ids: postfach::imap::object_id::ObjectIds::by([7; 32]),
        admin: None,
    };
    let anna = Login::new("anna");
    let mode = (SeenMode::PerUser, Claims::Nothing);
    let view = View::open(&context, mailbox, &anna, mode).await.expect("opens");
    Engine { store: store.clone(), view }
}

/// A store on disk and its writer's thread.
struct OnDisk {
    path: PathBuf,
    store: Embedded,
    writer: JoinHandle<Result<(), StoreError>>,
}

impl OnDisk {
    fn open(name: &str, text_index: TextIndexing) -> OnDisk {
        let name = format!("postfach-search-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a temporary folder");
        let (store, writer) = open(&path, text_index);
        OnDisk { path, store, writer }
    }

    fn close(self) {
        self.store.stop();
        assert_eq!(self.writer.join().expect("no panic"), Ok(()));
        std::fs::remove_dir_all(&self.path).expect("was there");
    }
}

fn open(path: &Path, text_index: TextIndexing) -> (Embedded, JoinHandle<Result<(), StoreError>>) {
    let options = Options { text_index, ..Options::default() };
    let opened = embedded::open(path, options, Arc::new(ManualClock::default()));
    let (store, writer) = opened.expect("opens");
    (store, std::thread::spawn(|| writer.run()))
}

fn texts(runner: &mut TestRunner, count: usize) -> Vec<[String; 2]> {
    let text = proptest::string::string_regex(TEXT).expect("a pattern");
    let mut sample = || text.new_tree(runner).expect("samples").current();
    (0..count).map(|_| [sample(), sample()]).collect()
}

/// A text as the parser makes it of an argument.
fn needle() -> impl Strategy<Value = String> {
    proptest::string::string_regex(NEEDLE).expect("a pattern").prop_map(|text| fold(&text))
}

fn key() -> impl Strategy<Value = Key> {
    let name = proptest::sample::select(vec!["SUBJECT", "RECEIVED", "X-OTHER"]);
    let leaf = prop_oneof![
        3 => needle().prop_map(Key::Body),
        3 => needle().prop_map(Key::Text),
        2 => (name, needle()).prop_map(|(name, text)| Key::Header { name: name.into(), text }),
        1 => Just(Key::Flags(SystemFlags::FLAGGED)),
        1 => (0u64..300).prop_map(Key::Larger),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(Key::negated),
            (inner.clone(), inner.clone()).prop_map(|keys| Key::Or(Box::new(keys))),
            inner.clone().prop_map(|key| Key::Fuzzy(Box::new(fuzzily(key)))),
            proptest::collection::vec(inner, 1..4).prop_map(Key::And),
        ]
    })
}

#[test]
fn the_same_is_found_with_half_an_index_a_whole_one_and_none() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut runner = TestRunner::new(Config { cases: 80, ..Config::default() });
    let texts: Vec<_> = texts(&mut runner, INDEXED + NOT_YET).into_iter().enumerate().collect();
    let disks =
        [("off", TextIndexing::Off), ("whole", TextIndexing::On), ("half", TextIndexing::On)]
            .map(|(name, text_index)| OnDisk::open(name, text_index));
    let memory = Memory::new(Arc::new(ManualClock::default()));
    let mut stores: Vec<Arc<dyn Store>> = vec![Arc::new(memory)];
    stores.extend(disks.iter().map(|disk| Arc::new(disk.store.clone()) as Arc<dyn Store>));
    let engines: Vec<Engine> = runtime.block_on(async {
        let mut engines = Vec::new();
        for (number, store) in stores.iter().enumerate() {
            let mailbox = mailbox(&**store).await;
            let at_first = if number == 2 { INDEXED + NOT_YET } else { INDEXED };
            fill(&**store, mailbox, &texts[..at_first]).await;
            if number >= 2 {
                wait_for_index(&**store, mailbox).await;
            }
            if number != 2 {
                fill(&**store, mailbox, &texts[at_first..]).await;
            }
            repeat(&**store, mailbox).await;
            engines.push(view(store, mailbox).await);
        }
        engines
    });
    let found = |engine: &Engine, key: &Key| {
        let hits = runtime.block_on(find(&*engine.store, &engine.view, key)).expect("searches");
        hits.into_iter().map(|hit| hit.number).collect::<Vec<_>>()
    };
    let run = runner.run(&key(), |key| {
        let expected = found(&engines[0], &key);
        for engine in &engines[1..] {
            prop_assert_eq!(&found(engine, &key), &expected);
        }
        Ok(())
    });
    if let Err(failure) = run {
        panic!("{failure}");
    }
    drop((engines, stores));
    disks.into_iter().for_each(OnDisk::close);
}
