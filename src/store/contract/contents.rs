//! Messages: delivery, expunge, copy and move, what is read of them.

use std::sync::Arc;

use super::*;
use crate::mail::flag::KeywordSet;
use crate::mail::id::{BlobId, TraceId};
use crate::store::apply::DUPLICATE_KEY_SECS;
use crate::store::{Facts, FactsWanted};
use crate::sys::Clock;

use SeenMode::{PerUser, Shared};

pub(super) async fn a_transaction_is_applied_whole_or_not_at_all(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver(mailbox, "one").await;
    let before = bench.snapshot(mailbox).await;
    let failing = vec![
        delivery(mailbox, "two"),
        add_flags(mailbox, "1", keywords(&["new"])),
        Change::Expunged { mailbox, uids: uids("1") },
        delivery(MailboxId(4711), "three"),
    ];
    assert_eq!(bench.commit(failing).await, Err(StoreError::Gone));
    assert_eq!(bench.snapshot(mailbox).await, before);
    assert_eq!(bench.deliver(mailbox, "four").await, Uid(2));
}

pub(super) async fn a_later_change_sees_what_an_earlier_one_did(bench: &Bench) {
    let mailbox = bench.inbox().await;
    let changes = vec![
        delivery(mailbox, "one"),
        delivery(mailbox, "two"),
        add_flags(mailbox, "2", system(SystemFlags::FLAGGED)),
        Change::Expunged { mailbox, uids: uids("1:*") },
        delivery(mailbox, "three"),
    ];
    let outcomes = bench.commit(changes).await.expect("commits");
    assert_eq!(outcomes[3], Outcome::Expunged { uids: uids("1:2") });
    assert_eq!(bench.uids(mailbox).await, [3]);
}

pub(super) async fn what_must_be_there_is_or_nothing_happens(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 2).await;
    let replace = |uid: u32, text: &str| {
        let uids = UidSet::from_iter([Uid(uid)]);
        vec![
            Change::Present { mailbox, uids: uids.clone() },
            Change::Expunged { mailbox, uids },
            Change::Delivered(Box::new(delivered(mailbox, text))),
        ]
    };
    assert!(bench.commit(replace(1, "first")).await.is_ok());
    // as the one who lost the race
    assert_eq!(bench.commit(replace(1, "second")).await.err(), Some(StoreError::Outrun));
    let uids: Vec<u32> = bench.snapshot(mailbox).await.iter().map(|entry| entry.uid.0).collect();
    assert_eq!(uids, [2, 3]);
}

pub(super) async fn what_is_not_marked_any_more_is_not_removed(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 2).await;
    bench.flag(mailbox, "1:2", add_deleted()).await;
    let remove = || {
        let uids = uids("1:2");
        let still = Change::StillDeleted { mailbox, uids: uids.clone() };
        vec![still, Change::Expunged { mailbox, uids }]
    };
    bench.one(set_flags(mailbox, "2", (FlagOperation::Remove, add_deleted()))).await;
    assert_eq!(bench.commit(remove()).await.err(), Some(StoreError::Outrun));
    assert_eq!(bench.uids(mailbox).await, [1, 2]);
    bench.flag(mailbox, "2", add_deleted()).await;
    assert!(bench.commit(remove()).await.is_ok());
    assert!(bench.uids(mailbox).await.is_empty());
}

pub(super) async fn what_has_just_come_is_flagged_and_seen_in_the_same_step(bench: &Bench) {
    let (from, to) = (bench.inbox().await, bench.create(&inbox("Sales"), "").await);
    bench.deliver(from, "one").await;
    bench.deliver(to, "was there").await;
    let anna = crate::mail::id::Login::new("anna");
    let transfer = Transfer {
        from,
        from_seen: SeenMode::PerUser,
        uids: UidSet::from_iter([Uid(1)]),
        to,
        to_seen: SeenMode::PerUser,
        user: anna.clone(),
    };
    let flagged = Change::ArrivalsFlagged {
        mailbox: to,
        operation: FlagOperation::Add,
        flags: add_deleted(),
        seen_by: Some(anna.clone()),
    };
    bench.commit(vec![Change::Copied(transfer), flagged]).await.expect("goes through");
    assert_eq!(bench.entry(to, 1).await.flags, SystemFlags(0));
    assert_eq!(bench.entry(to, 2).await.flags, SystemFlags::DELETED);
    let overlay = bench.store.overlay(to, &anna).await.expect("is there");
    assert_eq!((overlay.seen(Uid(1)), overlay.seen(Uid(2))), (false, true));
}

pub(super) async fn uids_ascend_and_are_never_used_twice(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 3).await;
    assert_eq!(bench.expunge(mailbox, "2:9").await, uids("2:3"));
    assert_eq!(bench.expunge(mailbox, "2:9").await, UidSet::new());
    assert_eq!(bench.deliver(mailbox, "four").await, Uid(4));
    let snapshot = bench.snapshot(mailbox).await;
    assert_eq!(snapshot.uid_next, Uid(5));
    assert_eq!(snapshot.by_uid(Uid(4)).expect("there").modseq, snapshot.highest_modseq);
}

pub(super) async fn an_entry_says_what_was_delivered(bench: &Bench) {
    let mailbox = bench.inbox().await;
    let flags = FlagList { system: SystemFlags::FLAGGED, keywords: vec!["$Label1".into()] };
    let mut it = delivered(mailbox, "hello");
    (it.flags, it.internal_date) = (flags, Timestamp(1_234_567));
    let (trace, bytes) = (it.trace.len() as u32, it.message.bytes.len() as u32);
    let uid = stored(&bench.one(Change::Delivered(Box::new(it))).await);
    let entry = bench.entry(mailbox, uid.0).await;
    assert_eq!((entry.trace_bytes, entry.size_bytes), (trace, trace + bytes));
    assert_eq!((entry.flags, entry.internal_date), (SystemFlags::FLAGGED, Timestamp(1_234_567)));
    assert_eq!(entry.saved, Timestamp::from_seconds(START));
    assert_eq!(entry.keywords.iter().collect::<Vec<_>>(), [0]);
    assert_eq!(&*bench.snapshot(mailbox).await.keywords[0], "$Label1");
}

pub(super) async fn equal_messages_are_stored_once(bench: &Bench) {
    let (support, sales) = (bench.inbox().await, bench.create(&inbox("Sales"), "").await);
    let both = vec![delivery(support, "same"), delivery(sales, "same"), delivery(sales, "other")];
    bench.commit(both).await.expect("commits");
    bench.deliver(support, "same").await;
    let first = bench.entry(support, 1).await;
    assert_eq!(bench.entry(sales, 1).await.blob, first.blob);
    assert_eq!(bench.entry(support, 2).await.blob, first.blob);
    assert_ne!(bench.entry(sales, 2).await.blob, first.blob);
    assert_ne!(bench.entry(sales, 1).await.trace, first.trace);
}

pub(super) async fn a_duplicate_key_suppresses_a_second_instance_for_a_day(bench: &Bench) {
    let (support, sales) = (bench.inbox().await, bench.create(&inbox("Sales"), "").await);
    let keyed = |mailbox| {
        let duplicate_key = Some([7; 32]);
        Change::Delivered(Box::new(Delivered { duplicate_key, ..delivered(mailbox, "same") }))
    };
    let both = bench.commit(vec![keyed(support), keyed(sales)]).await.expect("commits");
    assert!(both.iter().all(|outcome| stored(outcome) == Uid(1)));
    bench.clock.set(Timestamp::from_seconds(START + DUPLICATE_KEY_SECS - 1));
    assert_eq!(bench.one(keyed(support)).await, Outcome::Duplicate);
    assert_eq!(bench.uids(support).await, [1]);
    bench.clock.set(Timestamp::from_seconds(START + DUPLICATE_KEY_SECS));
    assert_eq!(stored(&bench.one(keyed(support)).await), Uid(2));
}

pub(super) async fn a_key_that_is_kept_suppresses_for_its_time(bench: &Bench) {
    const WEEK: i64 = 7 * DUPLICATE_KEY_SECS;
    let mailbox = bench.inbox().await;
    let kept = || {
        let (key, secs) = ([7; 32], WEEK);
        let duplicate_key = Some(key);
        let one = Delivered { duplicate_key, ..delivered(mailbox, "same") };
        vec![Change::Delivered(Box::new(one)), Change::KeyKept { key, secs }]
    };
    let stored_at = async |seconds| {
        bench.clock.set(Timestamp::from_seconds(START + seconds));
        bench.commit(kept()).await.expect("commits")[0] != Outcome::Duplicate
    };
    assert!(stored_at(0).await);
    assert!(!stored_at(DUPLICATE_KEY_SECS).await);
    assert!(!stored_at(WEEK - 1).await, "and what was suppressed kept it no longer");
    assert!(stored_at(WEEK).await);
}

pub(super) async fn facts_come_in_the_order_asked_for(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 40).await;
    let mut asked: Vec<BlobId> =
        bench.snapshot(mailbox).await.iter().map(|entry| entry.blob).collect();
    asked.reverse();
    asked.push(asked[3]);
    asked.insert(1, BlobId(4711));
    let wanted = FactsWanted {
        envelope: true,
        structure: true,
        fields: true,
        header_text: true,
        body_text: true,
        preview: true,
    };
    let facts = bench.store.facts(&asked, wanted).await.expect("answers");
    assert_eq!(facts.len(), 42);
    assert_eq!(facts[1], Facts::default());
    assert_eq!(facts[41], facts[4]);
    assert_eq!(facts[0].fields, b"Subject: message 40\r\n");
    let envelope = facts[2].envelope.as_ref().expect("wanted");
    assert_eq!(envelope.subject.as_deref(), Some(&b"message 39"[..]));
    assert_eq!(facts[2].header_text.as_deref(), Some("subject: message 39\r\n"));
    assert_eq!(facts[2].body_text.as_deref(), Some("message 39"));
    assert!(facts[2].structure.is_some());
    assert_eq!(facts[2].preview.as_deref(), Some("Message 39, in short"));
    let wanted = FactsWanted { header_text: true, ..FactsWanted::default() };
    let facts = bench.store.facts(&asked, wanted).await.expect("answers");
    assert_eq!((facts[0].header_text.is_some(), facts[0].body_text.is_some()), (true, false));
    let none = bench.store.facts(&asked, FactsWanted::default()).await.expect("answers");
    assert!(none.iter().all(|facts| *facts == Facts::default()));
}

pub(super) async fn usage_is_what_all_mailboxes_of_an_account_hold(bench: &Bench) {
    let (support, account) = (bench.create(&inbox("Support"), "").await, inbox("Support"));
    let done = bench.create(&account, "Done").await;
    let other = bench.create(&inbox("Sales"), "").await;
    assert_eq!(bench.store.usage(&account), crate::store::Usage::default());
    bench.deliver_many(support, 5).await;
    bench.deliver(other, "elsewhere").await;
    let expected = async |folders: &[MailboxId]| {
        let mut usage = crate::store::Usage::default();
        for folder in folders {
            let totals = bench.snapshot(*folder).await.totals();
            usage.messages += u64::from(totals.messages);
            usage.bytes += totals.size_bytes;
        }
        usage
    };
    assert_eq!(bench.store.usage(&account), expected(&[support, done]).await);
    assert_eq!(bench.store.usage(&account).messages, 5);
    bench.expunge(support, "2").await;
    bench.flag(support, "3", add_deleted()).await;
    assert_eq!(bench.store.usage(&account), expected(&[support, done]).await);
    let totals = bench.snapshot(support).await.totals();
    assert_eq!(totals.deleted_bytes, u64::from(bench.entry(support, 3).await.size_bytes));
    bench.one(Change::MailboxDeleted { mailbox: support }).await;
    assert_eq!(bench.store.usage(&account), crate::store::Usage::default());
}

fn add_deleted() -> FlagList {
    FlagList { system: SystemFlags::DELETED, keywords: Vec::new() }
}

pub(super) async fn a_body_is_read_by_ranges(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver(mailbox, "a first message").await;
    bench.deliver(mailbox, "hello").await;
    let blob = bench.entry(mailbox, 2).await.blob;
    let body = async |range| bench.store.body(blob, range).await.expect("answers");
    let whole = b"Subject: hello\r\n\r\nhello\r\n";
    assert_eq!(body(0..9999).await, whole);
    assert_eq!(body(9..14).await, b"hello");
    assert_eq!(body(23..u64::MAX).await, b"\r\n");
    assert_eq!(body(99..199).await, b"");
    assert_eq!(bench.store.body(BlobId(4711), 0..1).await, Err(StoreError::Gone));
}

pub(super) async fn message_bytes_may_come_from_a_file(bench: &Bench) {
    let mailbox = bench.inbox().await;
    let path = std::env::temp_dir().join(format!("postfach-spool-{}", rand_name()));
    let content: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&path, &content).expect("a spool file");
    let len = content.len() as u64 - 1;
    let stored = &content[..content.len() - 1];
    let mut it = delivered(mailbox, "x");
    it.message.bytes = Bytes::File { path: path.clone(), len };
    it.message.hash = *blake3::hash(stored).as_bytes();
    bench.one(Change::Delivered(Box::new(it.clone()))).await;
    std::fs::remove_file(&path).expect("was there");
    let blob = bench.entry(mailbox, 1).await.blob;
    let read = bench.store.body(blob, 0..u64::MAX).await.expect("answers");
    assert!(read == stored);

    it.message.hash = [9; 32];
    let gone = bench.commit(vec![Change::Delivered(Box::new(it))]).await;
    assert!(matches!(gone, Err(StoreError::Unavailable(_))));
    assert_eq!(bench.deliver(mailbox, "next").await, Uid(2));
}

fn rand_name() -> u128 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_nanos())
}

pub(super) async fn traces_belong_to_the_instance(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver(mailbox, "one").await;
    let appended = Delivered { trace: Vec::new(), ..delivered(mailbox, "two") };
    bench.one(Change::Delivered(Box::new(appended))).await;
    let trace = bench.entry(mailbox, 1).await.trace;
    let lines = format!("Delivered-To: {}@example.org\r\n", mailbox.0);
    assert_eq!(bench.store.trace(trace).await, Ok(lines.into_bytes()));
    assert_eq!(bench.entry(mailbox, 2).await.trace, TraceId::NONE);
    assert_eq!(bench.store.trace(TraceId::NONE).await, Ok(Vec::new()));
    assert_eq!(bench.store.trace(TraceId(4711)).await, Err(StoreError::Gone));
}

pub(super) async fn a_message_belongs_where_it_was_told_to_from_the_start(bench: &Bench) {
    let (support, sales) = (bench.inbox().await, bench.create(&inbox("Sales"), "").await);
    bench.deliver(support, "one").await;
    bench.deliver(support, "one").await;
    let (first, second) = (bench.entry(support, 1).await, bench.entry(support, 2).await);
    assert_ne!(first.thread, second.thread, "each by itself, until it is told");
    let answer = Delivered { thread: Some(first.thread), ..delivered(support, "two") };
    bench.one(Change::Delivered(Box::new(answer))).await;
    bench.one(Change::Copied(transfer((support, PerUser), (sales, Shared), "3"))).await;
    bench.one(Change::Moved(transfer((support, PerUser), (sales, Shared), "1"))).await;
    let threads = [bench.entry(sales, 1).await.thread, bench.entry(sales, 2).await.thread];
    assert_eq!(threads, [first.thread; 2]);
    bench.deliver(sales, "three").await;
    let third = bench.entry(sales, 3).await.thread;
    assert!(third != first.thread && third != second.thread);
}

pub(super) async fn whole_messages_come_behind_their_traces(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver(mailbox, "one").await;
    let appended = Delivered { trace: Vec::new(), ..delivered(mailbox, "two") };
    bench.one(Change::Delivered(Box::new(appended))).await;
    let (one, two) = (bench.entry(mailbox, 1).await, bench.entry(mailbox, 2).await);
    let wanted = [(two.blob, two.trace), (BlobId(4711), TraceId::NONE), (one.blob, one.trace)];
    let messages = bench.store.messages(&wanted).await.expect("answers");
    let trace = format!("Delivered-To: {}@example.org\r\n", mailbox.0);
    let stored = bench.store.body(one.blob, 0..u64::MAX).await.expect("there");
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[0].as_ref().map(Vec::len), Some(two.size_bytes as usize));
    assert_eq!(messages[1], None);
    assert_eq!(messages[2], Some([trace.as_bytes(), &stored].concat()));
}

pub(super) async fn what_was_expunged_can_be_asked_for(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 300).await;
    let before = bench.snapshot(mailbox).await.highest_modseq;
    bench.expunge(mailbox, "5,100:250,299").await;
    let between = bench.snapshot(mailbox).await.highest_modseq;
    bench.expunge(mailbox, "6,251").await;
    let since = async |modseq| {
        bench.store.expunged_since(mailbox, modseq).await.expect("answers").to_string()
    };
    assert_eq!(since(before).await, "5:6,100:251,299");
    assert_eq!(since(between).await, "6,251");
    assert_eq!(since(ModSeq(u64::MAX)).await, "");
    assert_eq!(bench.uids(mailbox).await.len(), 300 - 155);
    let absent = bench.store.expunged_since(MailboxId(4711), before).await;
    assert_eq!(absent, Err(StoreError::Gone));
}

pub(super) async fn copies_keep_flags_and_get_the_targets_keyword_numbers(bench: &Bench) {
    let (from, to) = (bench.inbox().await, bench.create(&inbox("Support"), "Done").await);
    bench.deliver_many(from, 3).await;
    bench.flag(from, "1", keywords(&["a", "b"])).await;
    bench.flag(from, "2", system(SystemFlags::ANSWERED)).await;
    bench.deliver(to, "there already").await;
    bench.flag(to, "1", keywords(&["B"])).await;
    let copy = transfer((from, PerUser), (to, PerUser), "1:2,77");
    let before = bench.snapshot(from).await;
    let outcome = bench.one(Change::Copied(copy)).await;
    let Outcome::Copied { pairs, uid_validity } = outcome else { panic!("{outcome:?}") };
    assert_eq!(pairs, [(Uid(1), Uid(2)), (Uid(2), Uid(3))]);
    let snapshot = bench.snapshot(to).await;
    assert_eq!(uid_validity, snapshot.uid_validity);
    assert_eq!(snapshot.keywords.iter().map(|k| &**k).collect::<Vec<_>>(), ["B", "a"]);
    let entry = |uid| snapshot.by_uid(Uid(uid)).expect("there");
    assert_eq!(entry(2).keywords.iter().collect::<Vec<_>>(), [0, 1]);
    assert_eq!((entry(3).flags, entry(3).keywords), (SystemFlags::ANSWERED, KeywordSet::default()));
    assert_eq!(entry(3).modseq, snapshot.highest_modseq);
    assert_eq!((entry(2).blob, entry(2).trace), {
        let source = before.by_uid(Uid(1)).expect("there");
        (source.blob, source.trace)
    });
    assert!(Arc::ptr_eq(&before, &bench.snapshot(from).await), "a copy leaves its source alone");
}

pub(super) async fn a_move_is_a_copy_and_an_expunge_in_one(bench: &Bench) {
    let (from, to) = (bench.inbox().await, bench.create(&inbox("Support"), "Done").await);
    bench.deliver_many(from, 3).await;
    let since = bench.snapshot(from).await.highest_modseq;
    let moving = transfer((from, PerUser), (to, PerUser), "2:3");
    bench.one(Change::Moved(moving)).await;
    assert_eq!((bench.uids(from).await, bench.uids(to).await), (vec![1], vec![1, 2]));
    let expunged = bench.store.expunged_since(from, since).await.expect("answers");
    assert_eq!(expunged, uids("2:3"));
    let nothing = transfer((from, PerUser), (to, PerUser), "2:3");
    let Outcome::Copied { pairs, .. } = bench.one(Change::Moved(nothing)).await else {
        panic!("not moved")
    };
    assert!(pairs.is_empty());
    let gone = transfer((from, PerUser), (MailboxId(4711), PerUser), "1");
    assert_eq!(bench.commit(vec![Change::Moved(gone)]).await, Err(StoreError::Gone));
    let itself = transfer((from, PerUser), (from, PerUser), "1");
    bench.one(Change::Moved(itself)).await;
    assert_eq!(bench.uids(from).await, [4]);
}

pub(super) async fn seen_goes_along_as_the_two_mailboxes_keep_it(bench: &Bench) {
    let support = bench.inbox().await;
    let done = bench.create(&inbox("Support"), "Done").await;
    let sales = bench.create(&inbox("Sales"), "").await;
    let annas = bench.create(&personal("anna"), "").await;
    bench.deliver_many(support, 2).await;
    bench.see(support, "anna", "1").await;
    bench.see(support, "ben", "1:2").await;
    let copy = async |from, to| {
        bench.one(Change::Copied(transfer(from, to, "1:2"))).await;
    };
    let seen = async |mailbox, user: &'static str| {
        let overlay = bench.overlay(mailbox, user).await;
        (overlay.seen(Uid(1)), overlay.seen(Uid(2)))
    };
    copy((support, PerUser), (done, PerUser)).await;
    assert_eq!((seen(done, "anna").await, seen(done, "ben").await), ((true, false), (true, true)));
    copy((support, PerUser), (sales, PerUser)).await;
    assert_eq!(seen(sales, "anna").await, (true, false));
    assert_eq!(seen(sales, "ben").await, (false, false), "another account: only the mover's");
    copy((support, PerUser), (annas, Shared)).await;
    assert_eq!(bench.entry(annas, 1).await.flags, SystemFlags::SEEN);
    assert_eq!(bench.entry(annas, 2).await.flags, SystemFlags::NONE);
    bench.expunge(support, "1:*").await;
    copy((annas, Shared), (annas, Shared)).await;
    assert_eq!(bench.entry(annas, 3).await.flags, SystemFlags::SEEN);
    copy((annas, Shared), (support, PerUser)).await;
    let overlay = bench.overlay(support, "anna").await;
    assert_eq!((overlay.seen(Uid(3)), overlay.seen(Uid(4))), (true, false));
    assert_eq!(bench.entry(support, 3).await.flags, SystemFlags::NONE);
    assert_eq!(bench.overlay(support, "ben").await.seen_count(), 0);
}

pub(super) async fn recent_is_what_no_session_of_the_user_was_told_of(bench: &Bench) {
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, 2).await;
    let recent = async |user: &'static str| {
        let status = bench.store.status(mailbox, &login(user), PerUser).await;
        status.expect("exists").recent
    };
    assert_eq!((recent("anna").await, recent("anna").await), (2, 2));
    assert_eq!(bench.store.claim_recent(mailbox, &login("anna")), Uid(1));
    assert_eq!(bench.store.claim_recent(mailbox, &login("anna")), Uid(3));
    assert_eq!((recent("anna").await, recent("ben").await), (0, 2));
    bench.deliver(mailbox, "next").await;
    assert_eq!((recent("anna").await, recent("ben").await), (1, 3));
    assert_eq!(bench.store.claim_recent(mailbox, &login("ben")), Uid(1));
}

pub(super) async fn a_watch_fires_once_per_commit_and_touched_mailbox(bench: &Bench) {
    let (support, sales) = (bench.inbox().await, bench.create(&inbox("Sales"), "").await);
    let fired = |watch: &tokio::sync::watch::Receiver<ModSeq>| watch.has_changed().expect("open");
    let (mut at_support, mut at_sales) = (bench.store.watch(support), bench.store.watch(sales));
    bench.commit(vec![delivery(support, "a"), delivery(support, "b")]).await.expect("commits");
    assert!(fired(&at_support));
    let seen = *at_support.borrow_and_update();
    assert_eq!(seen, bench.snapshot(support).await.highest_modseq);
    assert!(!fired(&at_support) && !fired(&at_sales));
    bench.see(support, "anna", "1").await;
    assert!(fired(&at_support), "an own \\Seen wakes the user's other sessions");
    at_support.borrow_and_update();
    bench.see(support, "anna", "1").await;
    assert!(!fired(&at_support), "nothing changed");
    bench.one(Change::MailboxDeleted { mailbox: sales }).await;
    assert!(at_sales.changed().await.is_err());
    assert!(bench.store.watch(sales).changed().await.is_err());
    assert_eq!(bench.store.now(), bench.clock.now());
}
