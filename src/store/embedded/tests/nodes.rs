//! What nodes agree by, on disk.

use super::*;
use crate::store::contract::nodes::published;
use crate::store::nodes::Duty;

#[tokio::test]
async fn directory_and_tenures_are_there_after_a_restart() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    running.0.one(published("one", 1)).await;
    running.0.one(Change::DutyTaken { duty: Duty::Queue, after: None, tenure: i64::MAX }).await;
    let before = running.0.store.directory().expect("published");
    assert_eq!(close(running), Ok(()));

    let running = start(idle(&place, &clock, Options::default()));
    assert_eq!(running.0.store.directory(), Some(before));
    running.0.one(Change::Fenced { duty: Duty::Queue, tenure: i64::MAX }).await;
    let none = Change::Fenced { duty: Duty::Upkeep, tenure: i64::MAX };
    assert_eq!(running.0.commit(vec![none]).await, Err(StoreError::Outrun));
    assert_eq!(close(running), Ok(()));
}
