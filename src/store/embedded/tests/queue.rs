//! The queue on disk: it is there after a restart, and what it refers to stays as long.

use super::*;
use crate::store::contract::queue::{new_queued, parts};
use crate::store::queue::{Progress, RecipientUpdate};

#[tokio::test]
async fn the_queue_is_there_after_a_restart() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let gone = running.0.queue("gone", &["ben", "carla"]).await;
    let kept = running.0.queue("kept", &["ben", "carla", "dora"]).await;
    let last = running.0.queue("last", &["ben"]).await;
    let done = RecipientUpdate::Done;
    running.0.update(gone, vec![(1, done.clone())]).await;
    running.0.update(gone, vec![(0, done.clone())]).await;
    let last_reply = Some("451 4.3.0 später".to_owned());
    let progress = Progress { attempts: 3, last_reply, held: true, ..Progress::new(Timestamp(9)) };
    running.0.update(kept, vec![(0, done.clone()), (2, RecipientUpdate::Waits(progress))]).await;
    running.0.update(last, vec![(0, done)]).await;
    let before = running.0.queued();
    assert_eq!(before.len(), 1);
    assert_eq!(close(running), Ok(()));

    let running = start(idle(&place, &clock, Options::default()));
    assert_eq!(running.0.queued(), before);
    assert_eq!(*running.0.store.watch_queue().borrow(), last);
    assert!(running.0.queue("next", &["ben"]).await > last, "a number is never used twice");
    assert_eq!(close(running), Ok(()));
}

#[tokio::test]
async fn what_is_queued_is_freed_only_after_its_last_recipient() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    running.0.deliver(mailbox, "filed").await;
    let filed = running.0.queue("filed", &["ben", "carla"]).await;
    running.0.queue("only queued", &["ben"]).await;
    running.0.expunge(mailbox, "1").await;
    let parts = parts(&running.0.queued());
    assert_eq!(close(running), Ok(()));
    let there = async |bench: &Bench| {
        let mut there = Vec::new();
        for (blob, trace) in &parts {
            let body = bench.store.body(*blob, 0..99).await;
            there.push((body.is_ok(), bench.store.trace(*trace).await.is_ok()));
        }
        there
    };
    let sweep_later = |seconds: i64| {
        clock.set(Timestamp::from_seconds(contract::START + seconds));
        let mut idle = idle(&place, &clock, Options::default());
        sweep_all(&mut idle.writer);
        idle
    };
    let running = start(sweep_later(90 * 86_400));
    assert_eq!(there(&running.0).await, [(true, true); 2]);
    running.0.update(filed, vec![(0, RecipientUpdate::Done)]).await;
    assert_eq!(close(running), Ok(()));
    let running = start(sweep_later(180 * 86_400));
    assert_eq!(there(&running.0).await, [(true, true); 2]);
    running.0.update(filed, vec![(1, RecipientUpdate::Done)]).await;
    assert_eq!(close(running), Ok(()));
    let idle = sweep_later(180 * 86_400 + sweep::GRACE_SECS);
    assert_eq!(there(&idle.bench).await, [(false, false), (true, true)]);
}

/// All in one group: nothing of it may be left behind.
#[tokio::test]
async fn what_is_queued_and_gone_in_one_group_leaves_no_rows() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let id = running.0.queue("first", &["ben"]).await;
    let next = crate::mail::id::QueueId(id.0 + 1);
    let changes = vec![
        Change::Queued(Box::new(new_queued("second", &["ben", "carla"]))),
        Change::QueueUpdated {
            id: next,
            recipients: vec![(0, RecipientUpdate::Done), (1, RecipientUpdate::Done)],
        },
    ];
    running.0.commit(changes).await.expect("commits");
    assert_eq!(close(running), Ok(()));
    let idle = idle(&place, &clock, Options::default());
    let count = |table: &str| {
        let query = format!("SELECT count(*) FROM {table}");
        idle.writer.connection.query_row(&query, [], |row| row.get::<_, i64>(0)).expect("counts")
    };
    assert_eq!((count("queue"), count("queue_recipient"), count("trace")), (1, 1, 2));
}
