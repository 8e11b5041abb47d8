//! The audit log beside what is there: whoever reads it knows where each message of the inbox lies,
//! and the log itself is whole.

use std::collections::BTreeMap;

use postfach::mail::account::{Folder, FolderRole};
use postfach::mail::id::Timestamp;
use postfach::store::Store;
use postfach::store::audit::{Chain, Deed, Entry, EntryId};

use crate::world::{World, inbox};

/// All entries; the chain holds.
pub(crate) async fn entries(world: &World) -> Vec<Entry> {
    let records = world.store.audited(EntryId(1), Timestamp(0), usize::MAX).await;
    let mut chain = Chain::default();
    let entries = records.expect("answers").into_iter().map(|record| {
        assert_eq!(chain.take(&record), Ok(()));
        Entry::parse(&record.text).expect("an entry")
    });
    let entries = entries.collect();
    assert_eq!(chain.end(&world.store.audit_tip()), Ok(()));
    entries
}

/// By the log: in which folder of Support each message lies. What strangers brought and nobody
/// touched is not told, and lies in the inbox itself.
async fn told(world: &World) -> BTreeMap<i64, String> {
    let mut places = BTreeMap::new();
    for entry in entries(world).await {
        let moves = !matches!(entry.deed, Deed::Copy | Deed::Send | Deed::Append);
        if moves && entry.account == Some(inbox("Support")) {
            let to = entry.to.unwrap_or_default();
            places.extend(entry.messages.iter().map(|message| (*message, to.clone())));
        }
    }
    places
}

/// No message is in another state than the log says.
pub(crate) async fn matches(world: &World) {
    let told = told(world).await;
    let mut folders = vec![Folder::root(), Folder::role(FolderRole::Done)];
    folders.push(Folder::role(FolderRole::Trash));
    folders.extend(["anna", "ben"].map(|login| Folder::assigned(&crate::world::login(login))));
    for folder in folders {
        for message in world.messages((&inbox("Support"), folder.clone()), "anna").await {
            let place = told.get(&message.blob).map_or("", String::as_str);
            assert_eq!(folder.path(), place, "message {}", message.blob);
        }
    }
}
