//! The queue on disk: it is there after a restart, and what it refers to stays as long.

use super::*;
use crate::mail::id::QueueId;
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

/// The power fails while the log is being written: of each transaction all is there or nothing, in
/// the order in which they were committed.
#[tokio::test]
async fn a_log_that_is_cut_anywhere_leaves_no_half_of_a_transaction() {
    const ROUNDS: usize = 6;
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    for round in 0..ROUNDS {
        let text = format!("message {round}");
        let queued = Change::Queued(Box::new(new_queued(&text, &["ben", "carla"])));
        let mut changes = vec![contract::delivery(mailbox, &text), queued];
        if round > 0 {
            let recipients = vec![(0, RecipientUpdate::Done)];
            changes.push(Change::QueueUpdated { id: QueueId(round as i64), recipients });
        }
        running.0.commit(changes).await.expect("commits");
    }
    let log = std::fs::metadata(place.path().join("store.db-wal")).expect("there").len();
    let mut seen = std::collections::BTreeSet::new();
    for cut in (0..=log).step_by(4096).chain([log]) {
        let image = image(&place, cut);
        let idle = idle(&image, &clock, Options::default());
        // Before the layout is in the log there is no mailbox either.
        if idle.bench.store.mailbox(mailbox).is_none() {
            assert_eq!(idle.bench.queued(), []);
            continue;
        }
        let entries = idle.bench.queued();
        assert_eq!(idle.bench.uids(mailbox).await.len(), entries.len(), "filed and queued");
        for (n, queued) in (1..).zip(&entries) {
            let left = if n < entries.len() { vec![1] } else { vec![0, 1] };
            assert_eq!(queued.recipients.iter().map(|r| r.number).collect::<Vec<_>>(), left);
            let body = idle.bench.store.body(queued.blob, 0..u64::MAX).await;
            assert!(body.expect("whole").ends_with(format!("message {}\r\n", n - 1).as_bytes()));
            idle.bench.store.trace(queued.trace).await.expect("there");
        }
        seen.insert(entries.len());
    }
    assert!(seen.into_iter().eq(0..=ROUNDS), "the cuts met every state");
    assert_eq!(close(running), Ok(()));
}

/// What is on disk now, the log only up to `cut`.
fn image(place: &Place, cut: u64) -> Place {
    let image = Place::new();
    std::fs::create_dir(image.path().join("packs")).expect("makes");
    for name in ["store.db", "store.db-wal", "packs/00000001.pack"] {
        std::fs::copy(place.path().join(name), image.path().join(name)).expect("copies");
    }
    let log = File::options().write(true).open(image.path().join("store.db-wal"));
    log.and_then(|log| log.set_len(cut)).expect("cuts");
    image
}

/// All in one group: nothing of it may be left behind.
#[tokio::test]
async fn what_is_queued_and_gone_in_one_group_leaves_no_rows() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let id = running.0.queue("first", &["ben"]).await;
    let next = QueueId(id.0 + 1);
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

#[tokio::test]
async fn turns_are_there_after_a_restart() {
    let (place, clock) = (Place::new(), clock());
    let support = || contract::inbox("Support");
    let take = |user: &str, number| {
        let (account, user) = (support(), contract::login(user));
        crate::store::change::Change::TurnTaken { account, user, number }
    };
    let running = start(idle(&place, &clock, Options::default()));
    for (user, number) in [("anna", 1), ("ben", 2), ("anna", 3)] {
        running.0.one(take(user, number)).await;
    }
    let before = running.0.store.turns(&support());
    assert_eq!(close(running), Ok(()));
    let running = start(idle(&place, &clock, Options::default()));
    assert_eq!(running.0.store.turns(&support()), before);
    let outrun = running.0.commit(vec![take("ben", 3)]).await;
    assert_eq!(outrun.err(), Some(crate::store::StoreError::Outrun));
    running.0.one(take("ben", 4)).await;
    assert_eq!(close(running), Ok(()));
}
