//! What was made, and is not shown: its proof refuses it, or the store was put back meanwhile.

use super::*;
use crate::store::StoreError;

#[tokio::test]
async fn a_segment_that_is_not_proved_is_never_shown() {
    let (mut indexed, mut other) = (Indexed::new().await, Indexed::new().await);
    indexed.deliver(ENOUGH).await;
    let changes = (0..ENOUGH).map(|n| delivery(other.mailbox, &format!("other {n}"))).collect();
    other.bench().commit(changes).await.expect("commits");
    other.step_all();
    let wrong = other.files().remove(0);
    // whole, about the same messages, and of other words
    indexed.work.meddle = Some(Box::new(move |path| {
        fs::copy(&wrong, path).expect("copies");
    }));
    let refused = indexed.work.step(&mut on);
    assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    assert_eq!((indexed.known(), indexed.files().len()), (0, 0));
    indexed.work.meddle = None;
    indexed.step_all();
    assert_eq!(indexed.known(), ENOUGH);
}

#[tokio::test]
async fn what_is_made_while_the_store_is_put_back_is_not_shown() {
    let mut indexed = Indexed::new().await;
    indexed.deliver(ENOUGH).await;
    let index = indexed.index.clone();
    indexed.work.meddle = Some(Box::new(move |_| index.doubt(ENOUGH as i64)));
    assert!(indexed.work.step(&mut on).is_ok());
    assert_eq!((indexed.known(), indexed.files().len()), (0, 0));
    indexed.work.meddle = None;
    indexed.step_all();
    assert_eq!(indexed.known(), ENOUGH);
}
