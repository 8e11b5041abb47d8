//! Messages on their way out: they enter, their recipients come further, they leave.

use super::*;
use crate::mail::address::Address;
use crate::mail::id::{BlobId, QueueId, TraceId};
use crate::mail::transport::{Body, Notify, Ret};
use crate::store::apply::DUPLICATE_KEY_SECS;
use crate::store::queue::{
    LAST_REPLY_BYTES_MAX, NewQueued, Progress, QUEUED_RECIPIENTS_MAX, Queued, QueuedEnvelope,
    QueuedRecipient, RecipientUpdate,
};

/// All that an envelope can say is said.
pub(in crate::store) fn envelope(id: &str) -> QueuedEnvelope {
    QueuedEnvelope {
        id: id.into(),
        reverse_path: Address::parse("support@example.org"),
        sender: Some(inbox("Support")),
        envid: Some("QQ314159".into()),
        ret: Some(Ret::Headers),
        body: Body::EightBitMime,
        smtputf8: true,
        queued_at: Timestamp::from_seconds(START),
        expires_at: Timestamp::from_seconds(START + 5 * 86_400),
    }
}

pub(in crate::store) fn recipient(name: &str) -> QueuedRecipient {
    QueuedRecipient {
        number: 4711,
        address: Address::new(name, "example.net"),
        upstream: Some("smtp://mail.example.net:25".into()),
        notify: Some(Notify { success: true, failure: false, delay: true }),
        orcpt: Some(format!("rfc822;{name}@example.net")),
        progress: Progress::new(Timestamp::from_seconds(START)),
    }
}

/// `text` is the message and names the envelope.
pub(in crate::store) fn new_queued(text: &str, recipients: &[&str]) -> NewQueued {
    NewQueued {
        message: message(text),
        trace: b"Received: by example.org\r\n".to_vec(),
        envelope: envelope(text),
        recipients: recipients.iter().map(|name| recipient(name)).collect(),
        duplicate_key: None,
    }
}

fn queueing(text: &str, recipients: &[&str]) -> Change {
    Change::Queued(Box::new(new_queued(text, recipients)))
}

fn queue_id(outcome: &Outcome) -> QueueId {
    match outcome {
        Outcome::Queued(id) => *id,
        other => panic!("not queued: {other:?}"),
    }
}

impl Bench {
    pub(in crate::store) async fn queue(&self, text: &str, recipients: &[&str]) -> QueueId {
        queue_id(&self.one(queueing(text, recipients)).await)
    }

    pub(in crate::store) async fn update(&self, id: QueueId, recipients: Updates) {
        let outcome = self.one(Change::QueueUpdated { id, recipients }).await;
        assert_eq!(outcome, Outcome::Done);
    }

    pub(in crate::store) fn queued(&self) -> Vec<Arc<Queued>> {
        self.store.queued_from(QueueId(0), usize::MAX)
    }
}

type Updates = Vec<(u32, RecipientUpdate)>;

fn numbers(queued: &Queued) -> Vec<u32> {
    queued.recipients.iter().map(|recipient| recipient.number).collect()
}

fn waits(attempts: u32, reply: &str) -> RecipientUpdate {
    let next_attempt = Timestamp::from_seconds(START + 60);
    let last_reply = Some(reply.to_owned());
    let (delay_told, held) = (true, true);
    let owed = None;
    let progress = Progress { attempts, next_attempt, last_reply, delay_told, held, owed };
    RecipientUpdate::Waits(progress)
}

pub(super) async fn what_is_queued_can_be_read(bench: &Bench) {
    let new = new_queued("hello", &["ben", "carla"]);
    let (trace, size) = (new.trace.clone(), new.trace.len() as u64 + new.message.bytes.len());
    let id = queue_id(&bench.one(Change::Queued(Box::new(new))).await);
    let queued = bench.store.queued(id).expect("queued");
    assert_eq!((queued.id, queued.size_bytes), (id, size));
    assert_eq!(*queued.envelope, envelope("hello"));
    assert_eq!(bench.store.trace(queued.trace).await, Ok(trace));
    let body = bench.store.body(queued.blob, 0..u64::MAX).await.expect("there");
    assert!(body.ends_with(b"hello\r\n"));
    let expected = [(0, "ben"), (1, "carla")];
    let expected = expected.map(|(number, name)| QueuedRecipient { number, ..recipient(name) });
    assert_eq!(queued.recipients, expected);
    let bare = NewQueued { trace: Vec::new(), ..new_queued("bare", &["ben"]) };
    let id = queue_id(&bench.one(Change::Queued(Box::new(bare))).await);
    assert_eq!(bench.store.queued(id).expect("queued").trace, TraceId::NONE);
    assert_eq!(bench.store.queued(QueueId(4711)), None);
}

pub(super) async fn the_queue_is_listed_in_the_order_of_arrival(bench: &Bench) {
    let changes = ["a", "b", "c"].map(|text| queueing(text, &["ben"]));
    let outcomes = bench.commit(changes.to_vec()).await.expect("commits");
    let ids: Vec<QueueId> = outcomes.iter().map(queue_id).collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    let listed = |first, max| -> Vec<QueueId> {
        bench.store.queued_from(first, max).iter().map(|queued| queued.id).collect()
    };
    assert_eq!(listed(QueueId(0), 99), ids);
    assert_eq!(listed(ids[1], 99), ids[1..]);
    assert_eq!(listed(ids[1], 1), ids[1..2]);
    bench.update(ids[1], vec![(0, RecipientUpdate::Done)]).await;
    assert_eq!(listed(ids[1], 99), ids[2..]);
    bench.update(ids[2], vec![(0, RecipientUpdate::Done)]).await;
    let next = bench.queue("d", &["ben"]).await;
    assert!(next > ids[2], "a number is never used twice");
}

pub(super) async fn recipients_come_further_each_by_itself(bench: &Bench) {
    let id = bench.queue("hello", &["ben", "carla", "dora"]).await;
    let before = bench.store.queued(id).expect("queued");
    bench.update(id, vec![(1, waits(1, "451 later")), (0, RecipientUpdate::Done)]).await;
    let after = bench.store.queued(id).expect("queued");
    assert_eq!(numbers(&before), [0, 1, 2], "what was read stays as it was");
    assert_eq!(numbers(&after), [1, 2]);
    let RecipientUpdate::Waits(progress) = waits(1, "451 later") else { panic!("waits") };
    assert_eq!(after.recipients[0], QueuedRecipient { progress, ..before.recipients[1].clone() });
    assert_eq!(after.recipients[1], before.recipients[2]);
    assert!(Arc::ptr_eq(&after.envelope, &before.envelope));
}

pub(super) async fn a_message_leaves_the_queue_with_its_last_recipient(bench: &Bench) {
    let id = bench.queue("hello", &["ben", "carla"]).await;
    bench.update(id, vec![(0, RecipientUpdate::Done), (1, RecipientUpdate::Done)]).await;
    assert_eq!(bench.store.queued(id), None);
    assert_eq!(bench.queued(), []);
    bench.update(id, vec![(0, RecipientUpdate::Done)]).await;
    let outcomes = bench
        .commit(vec![
            queueing("again", &["ben"]),
            Change::QueueUpdated {
                id: QueueId(id.0 + 1),
                recipients: vec![(0, waits(1, "x")), (0, RecipientUpdate::Done)],
            },
        ])
        .await
        .expect("commits");
    assert_eq!(outcomes, [Outcome::Queued(QueueId(id.0 + 1)), Outcome::Done]);
    assert_eq!(bench.queued(), [], "queued and gone in one transaction");
}

pub(super) async fn what_is_gone_from_the_queue_is_skipped(bench: &Bench) {
    let id = bench.queue("hello", &["ben", "carla"]).await;
    bench.update(QueueId(4711), vec![(0, RecipientUpdate::Done)]).await;
    bench.update(id, vec![(0, RecipientUpdate::Done)]).await;
    let before = bench.queued();
    bench.update(id, vec![(0, waits(1, "x")), (0, RecipientUpdate::Done)]).await;
    bench.update(id, vec![(2, waits(1, "x"))]).await;
    bench.update(id, Vec::new()).await;
    assert_eq!(bench.queued(), before);
}

pub(super) async fn a_sent_copy_and_its_queue_entry_share_the_message(bench: &Bench) {
    let sent = bench.inbox().await;
    let changes = vec![delivery(sent, "hello"), queueing("hello", &["ben"])];
    let outcomes = bench.commit(changes).await.expect("commits");
    let queued = bench.store.queued(queue_id(&outcomes[1])).expect("queued");
    let entry = bench.entry(sent, 1).await;
    assert_eq!(queued.blob, entry.blob);
    assert_ne!(queued.trace, entry.trace);
    bench.expunge(sent, "1").await;
    bench.store.body(queued.blob, 0..u64::MAX).await.expect("still there");
}

pub(super) async fn a_repetition_is_neither_filed_nor_queued(bench: &Bench) {
    let sent = bench.inbox().await;
    let duplicate_key = Some([7; 32]);
    let both = || {
        let copy = Delivered { duplicate_key, ..delivered(sent, "hello") };
        let new = NewQueued { duplicate_key, ..new_queued("hello", &["ben"]) };
        vec![Change::Delivered(Box::new(copy)), Change::Queued(Box::new(new))]
    };
    let first = bench.commit(both()).await.expect("commits");
    assert_eq!(stored(&first[0]), Uid(1));
    queue_id(&first[1]);
    bench.clock.set(Timestamp::from_seconds(START + DUPLICATE_KEY_SECS - 1));
    let second = bench.commit(both()).await.expect("commits");
    assert_eq!(second, [Outcome::Duplicate, Outcome::Duplicate]);
    assert_eq!((bench.uids(sent).await, bench.queued().len()), (vec![1], 1));
    bench.clock.set(Timestamp::from_seconds(START + DUPLICATE_KEY_SECS));
    queue_id(&bench.commit(both()).await.expect("commits")[1]);
    assert_eq!(bench.queued().len(), 2);
}

pub(super) async fn a_report_and_the_end_of_a_recipient_are_one(bench: &Bench) {
    let mailbox = bench.inbox().await;
    let id = bench.queue("hello", &["ben"]).await;
    let report = |mailbox| {
        let recipients = vec![(0, RecipientUpdate::Done)];
        vec![Change::QueueUpdated { id, recipients }, delivery(mailbox, "a report")]
    };
    assert_eq!(bench.commit(report(MailboxId(4711))).await, Err(StoreError::Gone));
    assert_eq!(numbers(&bench.store.queued(id).expect("still queued")), [0]);
    bench.commit(report(mailbox)).await.expect("commits");
    assert_eq!((bench.queued().len(), bench.uids(mailbox).await), (0, vec![1]));
    let vain = vec![queueing("vain", &["ben"]), delivery(MailboxId(4711), "x")];
    assert_eq!(bench.commit(vain).await, Err(StoreError::Gone));
    assert_eq!(bench.queued(), []);
}

pub(super) async fn a_queued_message_has_one_to_a_thousand_recipients(bench: &Bench) {
    let limit = Err(StoreError::Limit("recipients of a queued message"));
    assert_eq!(bench.commit(vec![queueing("none", &[])]).await, limit);
    let id = bench.queue("many", &["ben"; QUEUED_RECIPIENTS_MAX]).await;
    let numbers = numbers(&bench.store.queued(id).expect("queued"));
    assert!(numbers.into_iter().eq(0..QUEUED_RECIPIENTS_MAX as u32));
    let more = queueing("more", &["ben"; QUEUED_RECIPIENTS_MAX + 1]);
    assert_eq!(bench.commit(vec![more]).await, limit);
    assert_eq!(bench.queued().len(), 1);
}

pub(super) async fn a_long_reply_is_cut(bench: &Bench) {
    let longest = "x".repeat(LAST_REPLY_BYTES_MAX);
    let mut new = new_queued("hello", &["ben"]);
    new.recipients[0].progress.last_reply = Some(format!("{longest}y"));
    let id = queue_id(&bench.one(Change::Queued(Box::new(new))).await);
    let reply =
        || bench.store.queued(id).expect("queued").recipients[0].progress.last_reply.clone();
    assert_eq!(reply().as_ref(), Some(&longest));
    bench.update(id, vec![(0, waits(1, "450 short"))]).await;
    bench.update(id, vec![(0, waits(2, &longest))]).await;
    assert_eq!(reply().as_ref(), Some(&longest));
    bench.update(id, vec![(0, waits(2, &format!("x{}", "ä".repeat(LAST_REPLY_BYTES_MAX))))]).await;
    assert_eq!(reply().expect("there").len(), LAST_REPLY_BYTES_MAX - 1, "not within a character");
}

pub(super) async fn a_watch_of_the_queue_fires_when_something_is_queued(bench: &Bench) {
    let mailbox = bench.inbox().await;
    let mut watch = bench.store.watch_queue();
    let id = bench.queue("hello", &["ben", "carla"]).await;
    assert!(watch.has_changed().expect("open"));
    assert_eq!(*watch.borrow_and_update(), id);
    bench.update(id, vec![(0, waits(1, "x"))]).await;
    bench.update(id, vec![(0, RecipientUpdate::Done), (1, RecipientUpdate::Done)]).await;
    bench.deliver(mailbox, "other").await;
    let vain = vec![queueing("vain", &["ben"]), delivery(MailboxId(4711), "x")];
    assert_eq!(bench.commit(vain).await, Err(StoreError::Gone));
    assert!(!watch.has_changed().expect("open"));
    let both = vec![queueing("a", &["ben"]), queueing("b", &["ben"])];
    let outcomes = bench.commit(both).await.expect("commits");
    assert_eq!(*watch.borrow_and_update(), queue_id(&outcomes[1]));
    assert_eq!(*bench.store.watch_queue().borrow(), queue_id(&outcomes[1]));
}

/// For a test that looks whether they are there.
pub(in crate::store) fn parts(queued: &[Arc<Queued>]) -> Vec<(BlobId, TraceId)> {
    queued.iter().map(|queued| (queued.blob, queued.trace)).collect()
}
