//! Messages whose bytes are missing or damaged, in the database or in a bucket, and how they get
//! them back.

use super::server::SHARED;
use super::sweep::{World, worlds};
use crate::mail::id::BlobId;
use crate::store::objects::ObjectId;
use crate::store::{Store, StoreError};

/// One that comes in memory, and one in a spool file.
const TEXTS: [u8; 2] = [1, 3];

impl World {
    /// Behind everybody's back.
    async fn lose_all_bytes(&self) {
        SHARED.execute(&self.config, "DELETE FROM blob").await;
        if let Some(bucket) = &self.bucket {
            let there: Vec<ObjectId> = bucket.objects().list(None).await.expect("lists");
            bucket.objects().remove(&there).await.1.expect("removed");
        }
    }

    /// One message that is there, but is another one's.
    async fn swap_places(&self) {
        let swap = "UPDATE message SET start = other.start FROM message AS other
            WHERE other.id <> message.id";
        SHARED.execute(&self.config, swap).await;
    }

    async fn blobs(&self) -> Vec<BlobId> {
        let snapshot = self.nodes[1].store.snapshot(self.mailbox).await.expect("there");
        snapshot.iter().map(|entry| entry.blob).collect()
    }

    async fn is_corrupt(&self, blob: BlobId) -> bool {
        let read = self.nodes[1].store.body(blob, 0..u64::MAX).await;
        matches!(read, Err(StoreError::Corrupt(_)))
    }

    async fn lost(&self) -> i64 {
        self.count("message WHERE lost = 1").await
    }
}

#[tokio::test]
async fn what_is_lost_is_written_anew_when_the_same_bytes_come_in() {
    for mut world in worlds().await {
        for text in TEXTS {
            world.deliver(0, text).await.expect("stored");
        }
        world.agreed().await;
        let blobs = world.blobs().await;
        world.lose_all_bytes().await;
        world.deliver(0, TEXTS[0]).await.expect("stored");
        assert_eq!(world.lost().await, 0, "nobody has noticed yet");
        for blob in &blobs {
            assert!(world.is_corrupt(*blob).await);
        }
        assert_eq!(world.lost().await, 2);
        world.restart(1).await;
        for text in TEXTS {
            world.deliver(1, text).await.expect("stored");
        }
        world.all_is_readable().await;
        let same = [blobs[0], blobs[1], blobs[0], blobs[0], blobs[1]];
        assert_eq!(world.blobs().await, same, "they are the same messages");
        assert_eq!((world.lost().await, world.count("message").await), (0, 2));
        world.step(0, 3).await;
        assert_eq!(world.count("object").await, 0, "what was left is removed");
        world.all_is_readable().await;
        world.stop().await;
    }
}

#[tokio::test]
async fn what_is_damaged_is_found_by_who_reads_many_and_healed_by_two_nodes_at_once() {
    for world in worlds().await {
        for text in [1, 2] {
            world.deliver(0, text).await.expect("stored");
        }
        world.agreed().await;
        world.swap_places().await;
        let wanted = world.nodes[1].store.snapshot(world.mailbox).await.expect("there");
        let wanted: Vec<_> = wanted.iter().map(|entry| (entry.blob, entry.trace)).collect();
        let read = world.nodes[1].store.messages(&wanted).await.expect("answers");
        assert_eq!((read, world.lost().await), (vec![None, None], 2));
        let (one, two, three) =
            tokio::join!(world.deliver(0, 1), world.deliver(1, 1), world.deliver(1, 2));
        assert!(one.is_ok() && two.is_ok() && three.is_ok());
        world.all_is_readable().await;
        assert_eq!(world.lost().await, 0);
        // what was left, and what two have staged at once
        world.make_objects_old().await;
        for step in [0, 3] {
            world.step(0, step).await;
        }
        world.all_is_readable().await;
        let kept = world.count("blob").await as usize + world.objects().await.len();
        assert_eq!(kept, 2, "nothing else");
        world.stop().await;
    }
}
