//! A preview that the store does not have is made once, by the first FETCH that waits for it.

mod store_support;

use std::sync::Arc;

use postfach::imap::fetch::item::Patience;
use postfach::imap::fetch::preview::complete;
use postfach::mail::id::{BlobId, MailboxId};
use postfach::store::change::Change;
use postfach::store::embedded::{self, Options};
use postfach::store::{Facts, FactsWanted, Store};
use postfach::sys::ManualClock;
use store_support::{commit, delivered, mailbox};

fn delivery(mailbox: MailboxId, n: usize) -> Change {
    let bytes = format!("Subject: {n}\r\n\r\nFirst words of number {n}\r\n").into_bytes();
    Change::Delivered(Box::new(delivered(mailbox, bytes)))
}

async fn previews(store: &dyn Store, blobs: &[BlobId]) -> Vec<Option<String>> {
    facts(store, blobs).await.into_iter().map(|facts| facts.preview).collect()
}

async fn facts(store: &dyn Store, blobs: &[BlobId]) -> Vec<Facts> {
    let wanted = FactsWanted { preview: true, ..FactsWanted::default() };
    store.facts(blobs, wanted).await.expect("answers")
}

#[tokio::test]
async fn a_missing_preview_is_made_once_and_kept() {
    let name = format!("postfach-previews-{}", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&path).expect("a temporary folder");
    let open = || {
        let clock = Arc::new(ManualClock::default());
        let (store, writer) = embedded::open(&path, Options::default(), clock).expect("opens");
        (store, std::thread::spawn(|| writer.run()))
    };
    let (store, writer) = open();
    let mailbox = mailbox(&store).await;
    commit(&store, (0..5).map(|n| delivery(mailbox, n)).collect()).await;
    let snapshot = store.snapshot(mailbox).await.expect("exists");
    let blobs: Vec<BlobId> = snapshot.iter().map(|entry| entry.blob).collect();
    store.stop();
    assert_eq!(writer.join().expect("no panic"), Ok(()));
    drop(store);

    // as an upgrade from a version without previews leaves it
    let tables = rusqlite::Connection::open(path.join("store.db")).expect("opens");
    tables.execute("DELETE FROM preview WHERE id <> $1", [blobs[1].0]).expect("deletes");
    drop(tables);

    let (store, writer) = open();
    let expected = |n: usize| Some(format!("First words of number {n}"));
    let mut lazy = facts(&store, &blobs).await;
    complete(&store, blobs.iter().copied().zip(&mut lazy), Patience::Lazy).await;
    let shown: Vec<_> = lazy.into_iter().map(|facts| facts.preview).collect();
    assert_eq!(shown, [None, expected(1), None, None, None], "the lazy wait for nothing");
    let mut some = facts(&store, &blobs[..4]).await;
    let gone = BlobId(blobs[4].0 + 1_000);
    let mut of_gone = Facts::default();
    let asked = blobs.iter().copied().zip(&mut some).chain([(gone, &mut of_gone)]);
    complete(&store, asked, Patience::Patient).await;
    for (n, facts) in some.iter().enumerate() {
        assert_eq!(facts.preview, expected(n));
    }
    assert_eq!(of_gone.preview, None, "what cannot be read has none");
    let kept = previews(&store, &blobs).await;
    assert_eq!(kept, [expected(0), expected(1), expected(2), expected(3), None]);
    store.stop();
    assert_eq!(writer.join().expect("no panic"), Ok(()));
    drop(store);
    std::fs::remove_dir_all(&path).expect("was there");
}
