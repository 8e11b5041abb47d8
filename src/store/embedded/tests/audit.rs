//! The audit log and what is known of people, on disk.

use std::collections::BTreeMap;

use super::*;
use crate::mail::account::FolderRole;
use crate::store::audit::{EntryId, Tip};
use crate::store::change::{AccessKnown, Actor, Opening, Transaction};
use crate::store::contract::{inbox, login};

async fn by_anna(bench: &Bench, changes: Vec<Change>) {
    let actor = Actor::User(login("anna"));
    bench.store.commit(Transaction { actor, changes }).await.expect("commits");
}

#[tokio::test]
async fn log_records_absences_and_openings_are_there_after_a_restart() {
    let (place, clock) = (Place::new(), clock());
    let running = start(idle(&place, &clock, Options::default()));
    let root = running.0.inbox().await;
    let trash = running.0.create(&inbox("Support"), FolderRole::Trash.path()).await;
    running.0.deliver_many(root, 3).await;
    let seen = SeenMode::PerUser;
    let moved = contract::transfer((root, seen), (trash, seen), "2:3");
    let until = Timestamp::from_seconds(contract::START + 60);
    let opening = Opening { user: login("erik"), of: login("ben"), until };
    let rights = BTreeMap::from([(login("anna"), "lrs".to_owned())]);
    by_anna(
        &running.0,
        vec![
            Change::Moved(moved),
            Change::AwaySet { user: login("ben"), until: Some(until) },
            Change::GlassBroken { opening: opening.clone(), reason: "why".into() },
            Change::AccessKnown(AccessKnown {
                account: inbox("Support"),
                rights: rights.clone(),
                told: Vec::new(),
            }),
        ],
    )
    .await;
    let before = running.0.records().await;
    assert_eq!(before.len(), 3);
    assert_eq!(close(running), Ok(()));

    let running = start(idle(&place, &clock, Options::default()));
    let store = &running.0.store;
    assert_eq!(running.0.records().await, before);
    let last = before.last().expect("some");
    assert_eq!(store.audit_tip(), Tip { id: last.id, hash: last.hash });
    assert_eq!(*store.absences(), BTreeMap::from([(login("ben"), until)]));
    assert_eq!(*store.openings(), [opening]);
    let known = store.access_known().await.expect("answers");
    assert_eq!(known, BTreeMap::from([(inbox("Support"), rights)]));
    let trashed = store.trashed(trash).await.expect("answers");
    assert_eq!(trashed, [(Uid(1), EntryId(1)), (Uid(2), EntryId(1))].into());
    by_anna(&running.0, vec![Change::MailboxDeleted { mailbox: trash }]).await;
    running.0.verify().await;
    assert!(running.0.store.trashed(trash).await.expect("answers").is_empty());
    assert_eq!(close(running), Ok(()));
}
