//! What several nodes agree by: the directory in force, tenures of duties, asks.

use super::{Bench, START, delivery};
use crate::mail::id::{ModSeq, Timestamp};
use crate::store::StoreError;
use crate::store::change::Change;
use crate::store::nodes::{
    ASK_SECS, ASKS_MAX, Ask, DIRECTORY_BYTES_MAX, Done, Duty, Published, Verb, Which,
};

pub(in crate::store) fn published(text: &str, salt: u8) -> Change {
    let (at, host) = (Timestamp(0), format!("node{salt}.example.org"));
    let text = text.to_owned();
    Change::DirectoryPublished(Box::new(Published { text, at, host, salts: [salt; 32] }))
}

pub(super) async fn a_published_directory_replaces_the_last_and_is_watched(bench: &Bench) {
    assert_eq!(bench.store.directory(), None);
    let mut tree = bench.store.watch_mailboxes();
    bench.one(published("one", 1)).await;
    bench.clock.set(Timestamp::from_seconds(START + 5));
    assert!(tree.has_changed().expect("watched"));
    tree.borrow_and_update();
    bench.one(published("two", 2)).await;
    assert!(tree.has_changed().expect("watched"));
    let now = bench.store.directory().expect("one was published");
    assert_eq!((now.text.as_str(), now.host.as_str()), ("two", "node2.example.org"));
    assert_eq!(now.at, Timestamp::from_seconds(START + 5));
    assert_eq!(now.salts, [1; 32], "a user's salt stays what it was");
}

pub(super) async fn a_published_directory_has_a_limit(bench: &Bench) {
    let longest = "#".repeat(DIRECTORY_BYTES_MAX);
    bench.one(published(&longest, 1)).await;
    let longer = bench.commit(vec![published(&format!("{longest}#"), 1)]).await;
    assert!(matches!(longer, Err(StoreError::Limit(_))));
    assert_eq!(bench.store.directory().expect("the first").text.len(), DIRECTORY_BYTES_MAX);
}

pub(super) async fn what_a_former_tenure_fences_is_refused(bench: &Bench) {
    let inbox = bench.inbox().await;
    let fenced = |duty, tenure| Change::Fenced { duty, tenure };
    let taken = |duty, tenure| {
        let after = bench.store.tenure(duty);
        Change::DutyTaken { duty, after, tenure }
    };
    let outrun = Err(StoreError::Outrun);
    assert_eq!(bench.commit(vec![fenced(Duty::Queue, 7)]).await, outrun, "nobody's yet");
    bench.one(taken(Duty::Queue, 7)).await;
    bench.one(taken(Duty::Sweeping, 8)).await;
    bench.commit(vec![fenced(Duty::Queue, 7), delivery(inbox, "one")]).await.expect("its own");
    bench.one(taken(Duty::Queue, 9)).await;
    let late = vec![delivery(inbox, "two"), fenced(Duty::Queue, 7)];
    assert_eq!(bench.commit(late).await, outrun);
    assert_eq!(bench.snapshot(inbox).await.len(), 1, "all of it is refused");
    bench.commit(vec![fenced(Duty::Queue, 9), fenced(Duty::Sweeping, 8)]).await.expect("holds");
}

pub(super) async fn what_was_looked_at_may_not_have_changed(bench: &Bench) {
    let inbox = bench.inbox().await;
    let expected = |modseq| Change::Expected { mailbox: inbox, modseq };
    let modseq = bench.snapshot(inbox).await.highest_modseq;
    bench.commit(vec![expected(modseq), delivery(inbox, "one")]).await.expect("as it was");
    let late = bench.commit(vec![expected(modseq), delivery(inbox, "two")]).await;
    assert_eq!(late, Err(StoreError::Outrun));
    let after = bench.snapshot(inbox).await.highest_modseq;
    assert!(after > ModSeq(1));
    bench.commit(vec![delivery(inbox, "two"), expected(after)]).await.expect("its own is none");
}

fn asked(id: i64) -> Change {
    let at = Timestamp(0);
    Change::QueueAsked(Ask { id, at, verb: Verb::Hold, which: Which::All, answer: None })
}

pub(super) async fn an_ask_is_seen_answered_and_forgotten(bench: &Bench) {
    let mut asks = bench.store.watch_asks();
    bench.one(asked(5)).await;
    assert!(asks.has_changed().expect("watched"));
    let seen = asks.borrow_and_update().clone();
    assert_eq!((seen[&5].verb, seen[&5].answer.as_ref()), (Verb::Hold, None));
    assert_eq!(seen[&5].at, Timestamp::from_seconds(START));
    let done = Done { messages: 1, recipients: 2, busy: 3 };
    bench.one(Change::QueueAnswered { id: 5, answer: Ok(done) }).await;
    bench.one(Change::QueueAnswered { id: 6, answer: Err("nobody asked".into()) }).await;
    assert_eq!(asks.borrow_and_update()[&5].answer, Some(Ok(done)));
    bench.clock.set(Timestamp::from_seconds(START + ASK_SECS));
    bench.one(asked(7)).await;
    assert_eq!(asks.borrow_and_update().keys().collect::<Vec<_>>(), [&7]);
}

pub(super) async fn asks_have_a_limit(bench: &Bench) {
    for id in 0..ASKS_MAX as i64 {
        bench.one(asked(id)).await;
    }
    assert!(matches!(bench.commit(vec![asked(-1)]).await, Err(StoreError::Limit(_))));
    bench.clock.set(Timestamp::from_seconds(START + ASK_SECS));
    bench.one(asked(-1)).await;
}
