//! Flags, keywords, a user's own \Seen, conditional changes.

use super::*;
use crate::mail::flag::KEYWORDS_MAX;
use crate::store::apply::KEYWORD_BYTES_MAX;

pub(super) async fn flags_are_added_removed_and_replaced(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 2).await;
    let (answered, flagged) = (SystemFlags::ANSWERED, SystemFlags::FLAGGED);
    let both = FlagList { system: answered | flagged, keywords: vec!["one".into(), "two".into()] };
    bench.flag(mailbox, "1:9", both).await;
    let less = FlagList { system: answered, keywords: vec!["ONE".into(), "unknown".into()] };
    bench.one(set_flags(mailbox, "1", (FlagOperation::Remove, less))).await;
    let entry = bench.entry(mailbox, 1).await;
    assert_eq!((entry.flags, entry.keywords.iter().collect::<Vec<_>>()), (flagged, vec![1]));
    let keep = FlagOperation::Replace { keep: flagged };
    let deleted = FlagList { system: SystemFlags::DELETED, keywords: vec!["three".into()] };
    bench.one(set_flags(mailbox, "1", (keep, deleted))).await;
    let entry = bench.entry(mailbox, 1).await;
    assert_eq!(entry.flags, flagged | SystemFlags::DELETED, "what is kept stays");
    assert_eq!(entry.keywords.iter().collect::<Vec<_>>(), [2]);
    let names = bench.snapshot(mailbox).await.keywords.clone();
    assert_eq!(names.iter().map(|k| &**k).collect::<Vec<_>>(), ["one", "two", "three"]);
    assert_eq!(bench.entry(mailbox, 2).await.flags, answered | flagged);
    assert_eq!(bench.snapshot(mailbox).await.totals().deleted, 1);
}

pub(super) async fn what_does_not_change_keeps_its_modseq(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 3).await;
    bench.flag(mailbox, "2", system(SystemFlags::FLAGGED)).await;
    let before = bench.snapshot(mailbox).await;
    bench.flag(mailbox, "1:3", system(SystemFlags::FLAGGED)).await;
    let after = bench.snapshot(mailbox).await;
    let changed = Snapshot::difference(&before, &after).changed;
    assert_eq!(changed, [Uid(1), Uid(3)]);
    assert!(after.highest_modseq > before.highest_modseq);
    bench.flag(mailbox, "1:3", system(SystemFlags::FLAGGED)).await;
    bench.flag(mailbox, "77", keywords(&["unused"])).await;
    assert_eq!(*bench.snapshot(mailbox).await, *after);
}

pub(super) async fn a_mailbox_knows_256_keywords_and_no_more(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver(mailbox, "one").await;
    let names: Vec<String> = (0..KEYWORDS_MAX).map(|n| format!("k{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    bench.flag(mailbox, "1", keywords(&names)).await;
    bench.flag(mailbox, "1", keywords(&["K255"])).await;
    assert_eq!(bench.entry(mailbox, 1).await.keywords.iter().count(), KEYWORDS_MAX);
    let one_more = add_flags(mailbox, "1", keywords(&["one-more"]));
    assert!(matches!(bench.commit(vec![one_more]).await, Err(StoreError::Limit(_))));
    let other = bench.create(&inbox("Sales"), "").await;
    bench.deliver(other, "one").await;
    let longest = "k".repeat(KEYWORD_BYTES_MAX);
    bench.flag(other, "1", keywords(&[&longest])).await;
    let longer = add_flags(other, "1", keywords(&["k".repeat(KEYWORD_BYTES_MAX + 1).as_str()]));
    assert!(matches!(bench.commit(vec![longer]).await, Err(StoreError::Limit(_))));
}

pub(super) async fn seen_is_each_users_own(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 3).await;
    let before = bench.snapshot(mailbox).await;
    bench.see(mailbox, "anna", "1:2,9").await;
    let after = bench.snapshot(mailbox).await;
    assert_eq!((bench.unseen(mailbox, "anna").await, bench.unseen(mailbox, "ben").await), (1, 3));
    assert!(after.highest_modseq > before.highest_modseq);
    let difference = Snapshot::difference(&before, &after);
    assert_eq!(difference, Default::default(), "nobody else sees a change");
    let overlay = bench.overlay(mailbox, "anna").await;
    assert_eq!(overlay.modseq(Uid(2)), after.highest_modseq);
    assert_eq!((overlay.modseq(Uid(3)), overlay.seen(Uid(9))), (ModSeq(0), false));
    let unsee = Change::SeenSet {
        mailbox,
        user: login("anna"),
        uids: uids("1"),
        seen: false,
        unchanged_since: None,
    };
    bench.one(unsee).await;
    assert_eq!(bench.unseen(mailbox, "anna").await, 2);
    let status = bench.store.status(mailbox, &login("anna"), SeenMode::Shared).await;
    assert_eq!(status.expect("exists").unseen, 3);
}

pub(super) async fn an_append_can_be_seen_from_the_start(bench: &Bench) {
    let mailbox = bench.inbox().await;
    let seen_by = vec![login("anna")];
    let it = Delivered { seen_by, ..delivered(mailbox, "one") };
    bench.one(Change::Delivered(Box::new(it))).await;
    assert_eq!((bench.unseen(mailbox, "anna").await, bench.unseen(mailbox, "ben").await), (0, 1));
}

pub(super) async fn expunge_clears_what_users_had_of_the_message(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 130).await;
    bench.see(mailbox, "anna", "1:130").await;
    bench.see(mailbox, "ben", "64").await;
    bench.expunge(mailbox, "2:64,129").await;
    assert_eq!(bench.overlay(mailbox, "anna").await.seen_count(), 130 - 64);
    assert_eq!(bench.overlay(mailbox, "ben").await.seen_count(), 0);
    assert_eq!((bench.unseen(mailbox, "anna").await, bench.unseen(mailbox, "ben").await), (0, 66));
}

pub(super) async fn unchanged_since_refuses_message_by_message(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 3).await;
    let since = bench.snapshot(mailbox).await.highest_modseq;
    bench.flag(mailbox, "2", system(SystemFlags::ANSWERED)).await;
    bench.see(mailbox, "ben", "3").await;
    let flag_if = |viewer: &str| Change::FlagsSet {
        mailbox,
        uids: uids("1:3"),
        operation: FlagOperation::Add,
        flags: system(SystemFlags::FLAGGED),
        unchanged_since: Some(since),
        viewer: Some(login(viewer)),
    };
    assert_eq!(refused(&bench.one(flag_if("ben")).await), uids("2:3"));
    assert_eq!(bench.entry(mailbox, 1).await.flags, SystemFlags::FLAGGED);
    assert_eq!(bench.entry(mailbox, 2).await.flags, SystemFlags::ANSWERED);
    let by_anna = refused(&bench.one(flag_if("anna")).await);
    assert_eq!(by_anna, uids("1:2"), "ben's own \\Seen refuses nobody else");
    let seen = bench.see_if(mailbox, ("carla", "1:3"), Some(ModSeq(1))).await;
    assert_eq!(seen, uids("1:3"));
    assert_eq!(bench.overlay(mailbox, "carla").await.seen_count(), 0);
    let now = bench.snapshot(mailbox).await.highest_modseq;
    assert!(bench.see_if(mailbox, ("carla", "1:3"), Some(now)).await.is_empty());
}

pub(super) async fn unchanged_since_ignores_what_the_same_transaction_did(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 2).await;
    let since = bench.snapshot(mailbox).await.highest_modseq;
    let unchanged_since = Some(since);
    let flags = Change::FlagsSet {
        mailbox,
        uids: uids("1"),
        operation: FlagOperation::Add,
        flags: system(SystemFlags::FLAGGED),
        unchanged_since,
        viewer: Some(login("anna")),
    };
    let (user, uids) = (login("anna"), uids("1"));
    let seen = Change::SeenSet { mailbox, user, uids, seen: true, unchanged_since };
    let outcomes = bench.commit(vec![flags, seen]).await.expect("commits");
    assert!(outcomes.iter().all(|outcome| refused(outcome).is_empty()));
    assert_eq!(bench.unseen(mailbox, "anna").await, 1);
}
