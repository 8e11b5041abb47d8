//! Messages whose bytes are damaged on disk, and how they get them back.

use super::*;
use crate::store::change;

/// The first letter of the message that was stored first.
fn damage(place: &Place) {
    let path = place.path().join("packs/00000001.pack");
    let pack = File::options().write(true).open(path).expect("there");
    std::os::unix::fs::FileExt::write_all_at(&pack, b"X", HEADER_BYTES).expect("writes");
}

fn bytes_of(text: &str) -> Vec<u8> {
    match contract::message(text).bytes {
        Bytes::Memory(bytes) => bytes.to_vec(),
        Bytes::File { .. } => panic!("a file"),
    }
}

fn is_corrupt(read: Result<Vec<u8>, StoreError>) -> bool {
    matches!(read, Err(StoreError::Corrupt(_)))
}

/// How many messages are noted as lost, and how many bytes are dead.
fn noted(idle: &Idle) -> (i64, u64) {
    let count = "SELECT count(*) FROM message WHERE lost = 1";
    let lost = idle.writer.connection.query_row(count, [], |row| row.get(0));
    let packs = load::packs(&idle.writer.connection).expect("reads");
    (lost.expect("counts"), packs.iter().map(|pack| pack.dead).sum())
}

#[tokio::test]
async fn a_damaged_message_is_written_anew_when_the_same_bytes_come_in() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    for text in ["one", "two"] {
        running.0.deliver(mailbox, text).await;
    }
    let entry = running.0.entry(mailbox, 1).await;
    damage(&place);
    running.0.deliver(mailbox, "one").await;
    let body = running.1.body(entry.blob, 0..999).await;
    assert!(is_corrupt(body), "nobody had noticed yet");
    assert_eq!(close(running), Ok(()));
    let opened = idle(&place, &clock, Options::default());
    assert_eq!(noted(&opened), (1, 0));

    let running = start(opened);
    let some = running.1.messages(&[(entry.blob, entry.trace)]).await;
    assert_eq!(some, Ok(vec![None]), "it is found again and noted once");
    // twice in a group
    let again = vec![delivery(mailbox, "one"), delivery(mailbox, "one")];
    running.0.commit(again).await.expect("commits");
    for uid in [1, 3, 4, 5] {
        let blob = running.0.entry(mailbox, uid).await.blob;
        assert_eq!(blob, entry.blob, "it is the same message");
        assert_eq!(running.1.body(blob, 0..999).await, Ok(bytes_of("one")));
    }
    assert_eq!(close(running), Ok(()));
    let opened = idle(&place, &clock, Options::default());
    assert_eq!(noted(&opened), (0, HEADER_BYTES + bytes_of("one").len() as u64));
    let body = opened.store.body(entry.blob, 0..999).await;
    assert_eq!(body, Ok(bytes_of("one")), "durably");
}

#[tokio::test]
async fn a_mail_that_is_brought_twice_heals_what_it_brought_first() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    let twice = || {
        let duplicate_key = Some([7; 32]);
        let delivered = delivered(mailbox, "one");
        Change::Delivered(Box::new(change::Delivered { duplicate_key, ..delivered }))
    };
    running.0.one(twice()).await;
    let blob = running.0.entry(mailbox, 1).await.blob;
    damage(&place);
    assert!(is_corrupt(running.1.body(blob, 0..999).await));
    assert_eq!(running.0.one(twice()).await, change::Outcome::Duplicate);
    assert_eq!(running.1.body(blob, 0..999).await, Ok(bytes_of("one")));
    assert_eq!(close(running), Ok(()));
}

#[tokio::test]
async fn a_damaged_message_in_a_dying_pack_is_noted_and_holds_it_up_until_it_is_healed() {
    let (place, clock) = (Place::new(), clock());
    let mut idle = idle(&place, &clock, Options::default());
    let (bench, store) = (idle.bench, idle.store);
    let thread = std::thread::spawn(move || {
        let writer = &mut idle.writer;
        // as `run`, but the test has it back
        while let Ok(job) = writer.jobs.recv()
            && !matches!(job, writer::Job::Stop)
        {
            let batch = writer.batch(job);
            writer.work(batch).expect("works");
        }
        idle.writer
    });
    let mailbox = bench.inbox().await;
    for text in ["one", "two", "three", "four"] {
        bench.deliver(mailbox, text).await;
    }
    bench.expunge(mailbox, "2:4").await;
    damage(&place);
    store.stop();
    let mut writer = thread.join().expect("no panic");
    writer.pack.roll().expect("rolls");
    clock.set(Timestamp::from_seconds(clock.now().seconds() + 2 * sweep::GRACE_SECS));
    sweep_all(&mut writer);
    let running = (bench, store, std::thread::spawn(|| writer.run()));
    assert!(place.path().join("packs/00000001.pack").exists());
    running.0.deliver(mailbox, "one").await;
    let blob = running.0.entry(mailbox, 1).await.blob;
    assert_eq!(running.1.body(blob, 0..999).await, Ok(bytes_of("one")));
    assert_eq!(close(running), Ok(()));
    let mut again = self::idle(&place, &clock, Options::default());
    sweep_all(&mut again.writer);
    assert!(!place.path().join("packs/00000001.pack").exists());
}
