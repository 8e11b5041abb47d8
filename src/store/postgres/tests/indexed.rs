//! Each node's index of texts: of all that the database has, whoever took it, and of nothing that
//! it has no more.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::{restored, sweep};
use super::restored::copy;
use super::server::{Node, SHARED, patient};
use crate::mail::id::{BlobId, MailboxId, Timestamp};
use crate::store::contract::engines::{Folder, clock};
use crate::store::contract::{Bench, delivery};
use crate::store::postgres::Options;
use crate::store::text::TextPlace::Body;
use crate::store::text::{How, Needle, Verdict};
use crate::store::text_index::BACKLOG_MESSAGES;
use crate::store::{Facts, FactsWanted, Store};
use crate::sys::{Clock, ManualClock};

/// Enough to be worth a segment.
const ENOUGH: usize = BACKLOG_MESSAGES as usize;
/// How long an index may take.
const PATIENCE: Duration = Duration::from_secs(60);

struct Indexing {
    node: Node,
    bench: Bench,
    folder: Folder,
}

impl Indexing {
    async fn start(schema: &str, clock: &Arc<ManualClock>, folder: Folder) -> Indexing {
        let options = Options { text_index: Some(folder.path().to_owned()), ..patient() };
        let node = Node::start(&SHARED.config(schema), clock, options).await;
        let bench = Bench { store: Arc::new(node.store.clone()), clock: clock.clone() };
        Indexing { node, bench, folder }
    }

    async fn stop(self) -> Folder {
        let Indexing { node, bench, folder } = self;
        drop(bench);
        node.stop().await;
        folder
    }

    async fn deliver(&self, mailbox: MailboxId, what: &str) {
        let text = |n: usize| format!("{what} number{n}");
        let changes = (0..ENOUGH).map(|n| delivery(mailbox, &text(n))).collect();
        self.bench.commit(changes).await.expect("commits");
    }

    /// What the index says of some words, beside what the texts say.
    async fn said(&self, mailbox: MailboxId, words: &[&str]) -> Vec<(Verdict, bool)> {
        let snapshot = self.bench.snapshot(mailbox).await;
        let blobs: Vec<BlobId> = snapshot.iter().map(|entry| entry.blob).collect();
        let needle =
            |word: &&str| Needle { place: Body, text: word.to_string(), how: How::Exactly };
        let needles: Vec<Needle> = words.iter().map(needle).collect();
        let verdicts = self.node.store.text_verdicts(&blobs, &needles).await.expect("answers");
        let wanted = FactsWanted { body_text: true, ..FactsWanted::default() };
        let facts = self.node.store.facts(&blobs, wanted).await.expect("reads");
        let mut said = Vec::new();
        for (needle, verdicts) in needles.iter().zip(verdicts) {
            let is_there =
                |facts: &Facts| facts.body_text.as_ref().is_some_and(|t| t.contains(&needle.text));
            said.extend(verdicts.into_iter().zip(facts.iter().map(is_there)));
        }
        said
    }

    /// Waits until the index knows everything; what it says before is right, too.
    async fn knows_all(&self, mailbox: MailboxId, words: &[&str]) {
        let known = async {
            loop {
                let said = self.said(mailbox, words).await;
                for (verdict, is_there) in &said {
                    assert_ne!(
                        *verdict,
                        if *is_there { Verdict::Absent } else { Verdict::Present }
                    );
                }
                if !said.is_empty() && said.iter().all(|(v, _)| *v != Verdict::Unknown) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, known).await.expect("is indexed");
    }
}

fn files(folder: &Path) -> BTreeSet<(String, std::time::SystemTime)> {
    let files = std::fs::read_dir(folder.join("text-index")).expect("is there");
    let file = |file: std::io::Result<std::fs::DirEntry>| {
        let file = file.expect("reads");
        let made = file.metadata().and_then(|metadata| metadata.modified()).expect("reads");
        (file.file_name().to_string_lossy().into_owned(), made)
    };
    files.map(file).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_indexes_what_all_of_them_take() {
    let (schema, clock) = (SHARED.schema().await, clock());
    let first = Indexing::start(&schema, &clock, Folder::new()).await;
    let second = Indexing::start(&schema, &clock, Folder::new()).await;
    let mailbox = first.bench.inbox().await;
    let words = ["common", "number7", "nowhere"];
    first.deliver(mailbox, "common").await;
    while second.node.store.version() < first.node.store.version() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.knows_all(mailbox, &words).await;
    second.knows_all(mailbox, &words).await;

    // started again, it takes up what it had
    let made = files(second.folder.path());
    assert_eq!(made.len(), 1);
    let second = Indexing::start(&schema, &clock, second.stop().await).await;
    second.knows_all(mailbox, &words).await;
    assert_eq!(files(second.folder.path()), made);
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_said_of_messages_that_a_restored_database_has_no_more() {
    let (schema, backup, clock) = (SHARED.schema().await, SHARED.schema().await, clock());
    let node = Indexing::start(&schema, &clock, Folder::new()).await;
    let mailbox = node.bench.inbox().await;
    node.deliver(mailbox, "kept").await;
    copy(&schema, &backup).await;
    node.deliver(mailbox, "lost").await;
    let words = ["kept", "lost", "another"];
    node.knows_all(mailbox, &words).await;

    let other = Indexing::start(&backup, &clock, Folder::new()).await;
    other.deliver(mailbox, "another").await;
    other.stop().await;
    let before = node.node.store.mailbox(mailbox).expect("is there").uid_validity;
    copy(&backup, &schema).await;
    let renewed = async {
        while node.node.store.mailbox(mailbox).map(|m| m.uid_validity) == Some(before) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("is noticed");
    node.knows_all(mailbox, &words).await;
    node.stop().await;
}

/// As when the log has gone on too far: nothing new comes in, and yet the index is taken up again.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_taken_up_again_when_the_state_has_been_loaded_anew() {
    let (schema, clock) = (SHARED.schema().await, clock());
    let node = Indexing::start(&schema, &clock, Folder::new()).await;
    let mailbox = node.bench.inbox().await;
    let words = ["common", "number7", "nowhere"];
    node.deliver(mailbox, "common").await;
    node.knows_all(mailbox, &words).await;
    let made = files(node.folder.path());
    {
        let shared = &node.node.store.0.shared;
        let _turn = shared.turn.lock().await;
        let client = shared.client().await.expect("a connection");
        restored::reload(shared, &client).await.expect("loads");
    }
    assert!(node.said(mailbox, &words).await.is_empty(), "nothing is said before it is compared");
    node.knows_all(mailbox, &words).await;
    assert_eq!(files(node.folder.path()), made);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_messages_that_any_node_has_removed_leave_the_index() {
    let (schema, clock) = (SHARED.schema().await, clock());
    let first = Indexing::start(&schema, &clock, Folder::new()).await;
    let second = Indexing::start(&schema, &clock, Folder::new()).await;
    let mailbox = first.bench.inbox().await;
    let words = ["common", "number7", "number1000"];
    first.deliver(mailbox, "common").await;
    while second.node.store.version() < first.node.store.version() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    second.knows_all(mailbox, &words).await;
    let made = files(second.folder.path());
    let folder = second.stop().await;
    first.bench.expunge(mailbox, &format!("1:{}", ENOUGH / 2)).await;
    clock.set(Timestamp::from_seconds(clock.now().seconds() + 3600));
    while sweep::remove_freed(&first.node.store.0.shared).await.expect("sweeps") {}
    let second = Indexing::start(&schema, &clock, folder).await;
    let anew = async {
        while files(second.folder.path()) == made {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, anew).await.expect("is made anew");
    second.knows_all(mailbox, &words).await;
    second.stop().await;
    first.stop().await;
}
