//! Against moto's server: bytes there and back, and everything that can stand in the way.

#![allow(clippy::expect_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::patience::{ANSWER_MAX, REST};
use super::rig::{Door, Manners, TestBucket};
use super::upload::PART_BYTES;
use super::*;
use crate::store::contract::engines::Folder;

fn text(length: u64) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + at / 251) as u8).collect()
}

fn stored(bytes: &[u8]) -> Stored {
    Stored { length: bytes.len() as u64, hash: *blake3::hash(bytes).as_bytes() }
}

fn memory(bytes: &[u8]) -> Bytes {
    Bytes::Memory(Arc::new(bytes.to_vec()))
}

fn file(folder: &Folder, bytes: &[u8]) -> Bytes {
    let path: PathBuf = folder.path().join("spooled");
    fs::write(&path, bytes).expect("written");
    Bytes::File { path, len: bytes.len() as u64 }
}

fn is_unavailable<T: std::fmt::Debug>(result: Result<T, StoreError>) -> String {
    match result {
        Err(StoreError::Unavailable(why)) => why,
        other => panic!("not unavailable: {other:?}"),
    }
}

#[tokio::test]
async fn bytes_come_back_whole_and_by_ranges() {
    let objects = TestBucket::new().objects();
    let bytes = text(1000);
    let what = stored(&bytes);
    objects.put(ObjectId(7), &memory(&bytes), &what).await.expect("stored");
    for (range, expected) in [
        (0..u64::MAX, 0..1000),
        (0..1000, 0..1000),
        (10..20, 10..20),
        (990..2000, 990..1000),
        (1000..1001, 1000..1000),
        (5000..6000, 1000..1000),
    ] {
        let read = objects.read(ObjectId(7), range, &what).await.expect("read");
        assert_eq!(read, bytes[expected]);
    }
}

#[tokio::test]
async fn a_message_without_bytes_is_one() {
    let objects = TestBucket::new().objects();
    objects.put(ObjectId(1), &memory(b""), &stored(b"")).await.expect("stored");
    assert_eq!(objects.read(ObjectId(1), 0..9, &stored(b"")).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_spool_file_goes_in_one_request_up_to_a_part_and_in_parts_beyond() {
    let (bucket, folder) = (TestBucket::new(), Folder::new());
    let door = Door::before(&bucket);
    let objects = bucket.behind(&door);
    // one past a part: its beginning, two parts, its end
    for (length, requests) in [(PART_BYTES - 1, 1), (PART_BYTES, 1), (PART_BYTES + 1, 4)] {
        let (bytes, id) = (text(length), ObjectId(length as i64));
        let before = door.visits.load(Ordering::Relaxed);
        let what = stored(&bytes);
        objects.put(id, &file(&folder, &bytes), &what).await.expect("stored");
        assert_eq!(door.visits.load(Ordering::Relaxed) - before, requests, "{length}");
        let read = objects.read(id, 0..u64::MAX, &what).await.expect("read");
        assert!(read == bytes);
        let tail = objects.read(id, length - 3..u64::MAX, &what).await.expect("read");
        assert_eq!(tail, bytes[bytes.len() - 3..]);
    }
}

#[tokio::test]
async fn what_is_not_what_was_hashed_is_not_stored() {
    let (bucket, folder) = (TestBucket::new(), Folder::new());
    let objects = bucket.objects();
    for length in [100, PART_BYTES + 1] {
        let other = stored(&text(length - 1));
        let spooled = file(&folder, &text(length));
        let refused = objects.put(ObjectId(3), &spooled, &other).await;
        assert!(matches!(refused, Err(StoreError::Corrupt(_))), "{refused:?}");
    }
    assert_eq!(objects.list(None).await, Ok(Vec::new()));
    let uploads = bucket.request("GET", "?uploads");
    assert!(!uploads.contains("<UploadId>"), "{uploads}");
}

#[tokio::test]
async fn damage_is_found_when_a_whole_message_is_read() {
    let objects = TestBucket::new().objects();
    let (bytes, longer) = (text(50), text(60));
    objects.put(ObjectId(1), &memory(&bytes), &stored(&bytes)).await.expect("stored");
    let other = Stored { hash: [0; 32], ..stored(&bytes) };
    let damaged = objects.read(ObjectId(1), 0..u64::MAX, &other).await;
    assert!(matches!(damaged, Err(StoreError::Corrupt(_))), "{damaged:?}");
    let short = objects.read(ObjectId(1), 0..u64::MAX, &stored(&longer)).await;
    assert!(matches!(short, Err(StoreError::Corrupt(_))), "{short:?}");
}

#[tokio::test]
async fn what_is_missing_is_gone_and_removed_twice_without_a_word() {
    let objects = TestBucket::new().objects();
    let what = stored(b"x");
    assert_eq!(objects.read(ObjectId(9), 0..1, &what).await, Err(StoreError::Gone));
    for id in 1..=50 {
        objects.put(ObjectId(id), &memory(b"x"), &what).await.expect("stored");
    }
    let some: Vec<_> = (20..=60).map(ObjectId).collect();
    assert_eq!(objects.remove(&some).await, (41, Ok(())));
    assert_eq!(objects.list(None).await, Ok((1..20).map(ObjectId).collect()));
    assert_eq!(objects.list(Some(ObjectId(17))).await, Ok(vec![ObjectId(18), ObjectId(19)]));
}

#[tokio::test]
async fn names_are_in_the_order_of_numbers() {
    let objects = TestBucket::new().objects();
    for id in [i64::MAX, 0, 255, 16] {
        objects.put(ObjectId(id), &memory(b"x"), &stored(b"x")).await.expect("stored");
    }
    let all = [0, 16, 255, i64::MAX].map(ObjectId).to_vec();
    assert_eq!(objects.list(None).await, Ok(all));
    objects.reach().await.expect("reached");
    assert_eq!(objects.list(Some(ObjectId(255))).await, Ok(vec![ObjectId(i64::MAX)]));
}

#[tokio::test]
async fn a_bucket_is_tried_at_start() {
    let bucket = TestBucket::new();
    bucket.objects().reach().await.expect("reached");
    let why = is_unavailable(TestBucket::missing(999_999).objects().reach().await);
    assert!(why.contains("writing to s3://mail-") && why.contains("NoSuchBucket"), "{why}");
    let door = Door::before(&bucket);
    door.set(Manners::Shut);
    let why = is_unavailable(bucket.behind(&door).reach().await);
    assert!(why.starts_with("writing to s3://mail-"), "{why}");
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_unavailable_within_its_time() {
    let bucket = TestBucket::new();
    let door = Door::before(&bucket);
    let objects = bucket.behind(&door);
    let what = stored(b"x");
    objects.put(ObjectId(1), &memory(b"x"), &what).await.expect("stored");
    for manners in [Manners::Shut, Manners::Broken] {
        door.set(manners);
        let begun = Instant::now();
        is_unavailable(objects.put(ObjectId(2), &memory(b"x"), &what).await);
        is_unavailable(objects.read(ObjectId(1), 0..1, &what).await);
        let (removed, failure) = objects.remove(&[ObjectId(1), ObjectId(2)]).await;
        assert_eq!(removed, 0);
        is_unavailable(failure);
        is_unavailable(objects.list(None).await);
        assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
    }
    door.set(Manners::Open);
    assert_eq!(objects.read(ObjectId(1), 0..1, &what).await, Ok(b"x".to_vec()));
}

#[tokio::test]
async fn a_short_fault_is_not_seen() {
    let bucket = TestBucket::new();
    let door = Arc::new(Door::before(&bucket));
    let objects = bucket.behind(&door);
    door.set(Manners::Broken);
    let soon = door.clone();
    std::thread::spawn(move || {
        while soon.visits.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        soon.set(Manners::Open);
    });
    objects.put(ObjectId(1), &memory(b"x"), &stored(b"x")).await.expect("stored");
    assert!(door.visits.load(Ordering::Relaxed) > 1);
}

#[tokio::test]
async fn an_upload_that_fails_half_way_leaves_nothing() {
    let (bucket, folder) = (TestBucket::new(), Folder::new());
    let door = Door::before(&bucket);
    let objects = bucket.behind(&door);
    let bytes = text(PART_BYTES * 2);
    let spooled = file(&folder, &bytes);
    door.set(Manners::Slam(PART_BYTES / 2));
    is_unavailable(objects.put(ObjectId(1), &spooled, &stored(&bytes)).await);
    assert_eq!(bucket.objects().list(None).await, Ok(Vec::new()));
    let uploads = bucket.request("GET", "?uploads");
    assert!(!uploads.contains("<UploadId>"), "its parts are taken back: {uploads}");
    door.set(Manners::Open);
    objects.put(ObjectId(2), &spooled, &stored(&bytes)).await.expect("stored");
}

#[tokio::test]
async fn a_slow_store_is_waited_for() {
    let bucket = TestBucket::new();
    let door = Door::before(&bucket);
    let objects = bucket.behind(&door);
    door.set(Manners::Slow(Duration::from_secs(1)));
    objects.put(ObjectId(1), &memory(b"x"), &stored(b"x")).await.expect("stored");
    assert_eq!(objects.read(ObjectId(1), 0..1, &stored(b"x")).await, Ok(b"x".to_vec()));
}

#[tokio::test]
async fn a_store_that_says_nothing_is_waited_for_by_one_at_a_time() {
    let bucket = TestBucket::new();
    let door = Door::before(&bucket);
    let objects = bucket.behind(&door);
    let what = stored(b"x");
    objects.put(ObjectId(1), &memory(b"x"), &what).await.expect("stored");
    door.set(Manners::Slow(ANSWER_MAX * 2));
    let begun = Instant::now();
    let read = || objects.read(ObjectId(1), 0..1, &what);
    let why = is_unavailable(read().await);
    assert!(why.contains("no answer") && begun.elapsed() < ANSWER_MAX * 3 / 2, "{why}");
    let at_once = Instant::now();
    is_unavailable(read().await);
    assert!(at_once.elapsed() < REST / 2, "{:?}", at_once.elapsed());
    tokio::time::sleep(REST).await;
    let (trial, others) = tokio::join!(read(), async {
        tokio::time::sleep(ANSWER_MAX / 8).await;
        let begun = Instant::now();
        is_unavailable(read().await);
        is_unavailable(objects.put(ObjectId(2), &memory(b"x"), &what).await);
        is_unavailable(objects.list(None).await);
        is_unavailable(objects.remove(&[ObjectId(1)]).await.1);
        door.set(Manners::Open);
        begun.elapsed()
    });
    is_unavailable(trial);
    tokio::time::sleep(REST).await;
    assert!(others < ANSWER_MAX / 8, "{others:?}");
    for _ in 0..2 {
        assert_eq!(read().await, Ok(b"x".to_vec()));
    }
}

#[test]
fn http_is_for_who_allows_it() {
    let bucket = TestBucket::missing(1_000_000);
    let settings = Settings { transport: Transport::Https, ..bucket.settings(bucket.port) };
    let objects = Objects::new(settings).expect("a client");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    is_unavailable(runtime.block_on(objects.reach()));
}
