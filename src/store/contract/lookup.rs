//! Finding messages by what they say.

use super::*;
use crate::store::{INSTANCES_OF_MAX, Instance, Linked, SAME_MESSAGE_ID_MAX};
use SeenMode::PerUser;

/// A message that says `Message-ID: <id>`.
pub(in crate::store) fn identified(mailbox: MailboxId, text: &str, id: &str) -> Change {
    let mut it = delivered(mailbox, text);
    let parsed = Arc::make_mut(&mut it.message.parsed);
    parsed.envelope.message_id = Some(format!("<{id}>").into_bytes());
    Change::Delivered(Box::new(it))
}

impl Bench {
    pub(in crate::store) async fn instances_of(&self, id: &str) -> Vec<Instance> {
        self.store.instances_of(id).await.expect("answers")
    }

    async fn places_of(&self, id: &str) -> Vec<(MailboxId, u32)> {
        self.instances_of(id).await.iter().map(|i| (i.mailbox, i.uid.0)).collect()
    }
}

pub(super) async fn instances_are_found_by_message_id_wherever_they_are(bench: &Bench) {
    let (support, sales) = (bench.inbox().await, bench.create(&inbox("Sales"), "").await);
    let changes = vec![
        delivery(support, "without"),
        identified(support, "first", "a@x"),
        identified(sales, "first", "a@x"),
        identified(support, "second", "a@x"),
        identified(support, "other", "A@x"),
    ];
    bench.commit(changes).await.expect("commits");
    let newest_first = [(support, 3), (sales, 1), (support, 2)];
    assert_eq!(bench.places_of("a@x").await, newest_first);
    let (second, found) = (bench.entry(support, 3).await, bench.instances_of("a@x").await);
    assert_eq!((found[0].blob, found[0].thread), (second.blob, second.thread));
    assert_eq!(bench.places_of("A@x").await, [(support, 4)]);
    assert_eq!((bench.places_of("<a@x>").await, bench.places_of("").await), (vec![], vec![]));
    bench.one(Change::Copied(transfer((support, PerUser), (sales, PerUser), "2"))).await;
    bench.one(Change::Moved(transfer((support, PerUser), (sales, PerUser), "3"))).await;
    assert_eq!(bench.places_of("a@x").await, [(sales, 3), (sales, 2), (sales, 1), (support, 2)]);
    bench.expunge(sales, "1,3").await;
    assert_eq!(bench.places_of("a@x").await, [(sales, 2), (support, 2)]);
    bench.one(Change::MailboxDeleted { mailbox: sales }).await;
    assert_eq!(bench.places_of("a@x").await, [(support, 2)]);
    bench.commit(vec![identified(support, "second", "a@x")]).await.expect("commits");
    assert_eq!(bench.places_of("a@x").await, [(support, 5), (support, 2)]);
}

pub(super) async fn messages_are_found_by_what_they_follow(bench: &Bench) {
    let (support, sales) = (bench.inbox().await, bench.create(&inbox("Sales"), "").await);
    let following = |mailbox, text: &str, parent: Option<&str>, all: &[&str]| {
        let mut it = delivered(mailbox, text);
        let envelope = &mut Arc::make_mut(&mut it.message.parsed).envelope;
        envelope.in_reply_to = parent.map(|id| format!("<{id}>").into_bytes());
        envelope.references = all.iter().map(|id| id.to_string()).collect();
        Change::Delivered(Box::new(it))
    };
    let changes = vec![
        identified(support, "first", "a@x"),
        following(support, "answer", Some("a@x"), &["a@x"]),
        following(sales, "later", Some("b@x"), &["a@x", "b@x"]),
        following(support, "last", None, &["b@x"]),
    ];
    bench.commit(changes).await.expect("commits");
    let places = async |id: &str| -> Vec<(MailboxId, u32)> {
        let found = bench.store.referring_to(id).await.expect("answers");
        let named = bench.store.instances_of(id).await.expect("answers");
        let linked = Linked { named, following: found.clone() };
        let ids = [id.to_owned(), "nobody@x".to_owned(), id.to_owned()];
        let all = bench.store.linked_to(&ids).await.expect("answers");
        assert_eq!(all, [linked.clone(), Linked::default(), linked]);
        found.iter().map(|i| (i.mailbox, i.uid.0)).collect()
    };
    assert_eq!(places("a@x").await, [(sales, 1), (support, 2)], "newest first, the first not");
    assert_eq!(places("b@x").await, [(support, 3), (sales, 1)], "it need not be there");
    assert_eq!(places("A@x").await, []);
    bench.expunge(sales, "1").await;
    assert_eq!(places("b@x").await, [(support, 3)]);
}

pub(super) async fn a_message_id_that_stands_everywhere_is_answered_with_the_newest(bench: &Bench) {
    let mailbox = bench.inbox().await;
    let many = |count: usize| (1..=count).map(|n| identified(mailbox, &n.to_string(), "a@x"));
    bench.commit(many(SAME_MESSAGE_ID_MAX).collect()).await.expect("commits");
    let uids = async || -> Vec<usize> {
        bench.places_of("a@x").await.iter().map(|(_, uid)| *uid as usize).collect()
    };
    let newest_first = |first: usize| (first..first + SAME_MESSAGE_ID_MAX).rev();
    assert!(uids().await.into_iter().eq(newest_first(1)), "all up to the limit");
    bench.commit(vec![identified(mailbox, "one more", "a@x")]).await.expect("commits");
    assert!(uids().await.into_iter().eq(newest_first(2)));

    let same = |count: usize| (0..count).map(|_| identified(mailbox, "same", "b@x"));
    bench.commit(same(INSTANCES_OF_MAX).collect()).await.expect("commits");
    assert_eq!(bench.places_of("b@x").await.len(), INSTANCES_OF_MAX);
    let before = bench.places_of("b@x").await;
    bench.commit(same(1).collect()).await.expect("commits");
    let after = bench.places_of("b@x").await;
    assert_eq!((after.len(), after[0].1), (INSTANCES_OF_MAX, before[0].1 + 1));
    assert_eq!(after[1..], before[..INSTANCES_OF_MAX - 1]);
}
