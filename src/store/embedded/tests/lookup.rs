//! The index of Message-IDs on disk.

use super::*;
use crate::store::contract::lookup::identified;

#[tokio::test]
async fn an_identifier_of_the_same_digest_is_told_apart() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    running.0.commit(vec![identified(mailbox, "one", "a@x")]).await.expect("commits");
    running.0.commit(vec![identified(mailbox, "two", "b@x")]).await.expect("commits");
    assert_eq!(close(running), Ok(()));

    let at_work = idle(&place, &clock, Options::default());
    let all = "INSERT OR IGNORE INTO message_id
        SELECT digest, message.id FROM message_id, message";
    at_work.writer.connection.execute(all, []).expect("inserts");
    let uids = async |id| -> Vec<u32> {
        at_work.bench.instances_of(id).await.iter().map(|instance| instance.uid.0).collect()
    };
    assert_eq!((uids("a@x").await, uids("b@x").await), (vec![1], vec![2]));
}

#[tokio::test]
async fn a_message_that_is_freed_takes_its_identifiers_along() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let mailbox = running.0.inbox().await;
    let mut one = identified(mailbox, "one", "a@x");
    let Change::Delivered(delivered) = &mut one else { panic!("a delivery") };
    Arc::make_mut(&mut delivered.message.parsed).envelope.references = vec!["b@x".into()];
    running.0.commit(vec![one, identified(mailbox, "two", "a@x")]).await.expect("commits");
    running.0.expunge(mailbox, "1").await;
    assert_eq!(close(running), Ok(()));
    clock.set(Timestamp::from_seconds(contract::START + sweep::GRACE_SECS));
    let mut at_work = idle(&place, &clock, Options::default());
    sweep_all(&mut at_work.writer);
    let left = "SELECT count(*) FROM message_id";
    let left = at_work.writer.connection.query_row(left, [], |row| row.get::<_, i64>(0));
    assert_eq!(left, Ok(1));
    assert_eq!(at_work.bench.instances_of("a@x").await.len(), 1);
}
