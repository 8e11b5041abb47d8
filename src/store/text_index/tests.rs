//! The index against the texts themselves: whatever it says is so, however much of it is made, and
//! whatever happened to its files.

mod refused;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;

use super::build::{Builder, DOCS_MAX, FINISHED, Message, TEXT_WORD_BYTES_MAX, UNFINISHED};
use super::indexer::BACKLOG_MESSAGES;
use super::proof::Proof;
use super::work::{Go, Work};
use super::*;
use crate::mail::id::{MailboxId, Timestamp};
use crate::mail::likeness::Pattern;
use crate::mail::message::SearchText;
use crate::mail::words::words;
use crate::store::Store;
use crate::store::contract::engines::{Folder as Place, Running, clock};
use crate::store::contract::{Bench, delivery};
use crate::store::embedded::indexed::Tables;
use crate::store::embedded::sweep::GRACE_SECS;
use crate::store::embedded::{self, Options, open_read_only};
use crate::store::text::TextPlace::{self, Body, Header};
use crate::store::text::{How, TextIndexing};
use crate::store::texts::Packed;
use crate::sys::{Clock, ManualClock};

fn needle(place: TextPlace, text: &str) -> Needle {
    Needle { place, text: text.to_owned(), how: How::Exactly }
}

/// Texts as one segment.
fn segment(place: &Place, texts: &[(String, String)]) -> Segment {
    let mut builder = Builder::new(1);
    for (id, (header, body)) in (1..).zip(texts) {
        let (header, body) = (Some(header.as_str()), Some(body.as_str()));
        assert!(builder.add(&Message { id, check: 0, header, body }));
    }
    let (path, proofs) = builder.write(texts.len() as i64, place.path()).expect("writes");
    let segment = Segment::open(&path).expect("opens");
    assert!(segment.is_proved_by(&proofs).expect("reads"));
    segment
}

/// Words of few letters, so that they are found within each other; of two bytes, too.
fn text() -> impl Strategy<Value = String> {
    proptest::string::string_regex("([ABÄ€]{0,6}[ .\n@-]{0,2}){0,12}").expect("a pattern")
}

fn looked_for() -> impl Strategy<Value = String> {
    proptest::string::string_regex("[ .@-]{0,1}[ABÄ€]{0,4}([ .@-][ABÄ€]{0,3}){0,2}")
        .expect("a pattern")
}

proptest! {
    #[test]
    fn what_a_segment_says_is_so(
        texts in proptest::collection::vec((text(), text()), 1..20),
        needles in proptest::collection::vec(looked_for(), 1..20),
    ) {
        let place = Place::new();
        let segment = segment(&place, &texts);
        let mut buffers = Buffers::default();
        for looked_for in needles {
            let Some(query) = Query::of(&needle(Body, &looked_for)) else { continue };
            for part in [Header, Body] {
                let found = segment.find(part, &query, &mut buffers).expect("reads");
                for (doc, (header, body)) in texts.iter().enumerate() {
                    let text = if part == Header { header } else { body };
                    let is_there = text.contains(&looked_for);
                    prop_assert!(found.maybe.contains(doc) || !is_there, "{looked_for:?} {text:?}");
                    prop_assert!(!found.certain.contains(doc) || is_there);
                    if matches!(&query, Query::Exactly(words) if words.exact) {
                        prop_assert_eq!(found.certain.contains(doc), is_there);
                    }
                }
            }
        }
    }

    #[test]
    fn a_damaged_file_is_found_out_or_says_what_it_said(at in any::<usize>(), bits in 1u8..) {
        let place = Place::new();
        let texts: Vec<_> =
            (0..50).map(|n| (format!("SUBJECT: N{n}\n"), format!("HELLO {n} AA"))).collect();
        let path = segment(&place, &texts).path;
        let mut bytes = fs::read(&path).expect("reads");
        let at = at % bytes.len();
        bytes[at] ^= bits;
        fs::write(&path, bytes).expect("writes");
        let Ok(segment) = Segment::open(&path) else { return Ok(()) };
        let query = Query::of(&needle(Body, "N7")).expect("a word");
        match segment.find(Header, &query, &mut Buffers::default()) {
            Ok(found) => prop_assert!((0..50).all(|n| found.certain.contains(n) == (n == 7))),
            Err(_) => prop_assert!(segment.is_broken()),
        }
    }
}

proptest! {
    #[test]
    fn what_a_segment_says_of_like_words_is_so(
        texts in proptest::collection::vec((text(), text()), 1..20),
        words_like in proptest::collection::vec("[ABÄ€]{1,9}", 1..20),
    ) {
        let place = Place::new();
        let segment = segment(&place, &texts);
        for word in words_like {
            let query = Query::of(&Needle { how: How::Like, ..needle(Body, &word) });
            let query = query.expect("a word");
            let found = segment.find(Body, &query, &mut Buffers::default()).expect("reads");
            let pattern = Pattern::of(&word);
            for (doc, (_, body)) in texts.iter().enumerate() {
                let is_there = words(body).any(|other| pattern.likeness(other).is_some());
                prop_assert_eq!(found.certain.contains(doc), is_there, "{} {}", word, body);
            }
        }
    }

    #[test]
    fn a_segment_is_proved_by_its_own_texts_only(
        texts in proptest::collection::vec((text(), text()), 1..6),
        at in any::<prop::sample::Index>(),
        other in text(),
    ) {
        let place = Place::new();
        let proofs = |texts: &[(String, String)]| {
            let mut proofs = [Proof::default(), Proof::default()];
            for (header, body) in texts {
                proofs[0].add(Some(header));
                proofs[1].add(Some(body));
            }
            proofs
        };
        let segment = segment(&place, &texts);
        prop_assert!(segment.is_proved_by(&proofs(&texts)).expect("reads"));
        let set = |text: &str| words(text).map(str::to_owned).collect::<BTreeSet<_>>();
        let mut others = texts.clone();
        let body = &mut others[at.index(texts.len())].1;
        let is_same = set(body) == set(&other);
        *body = other;
        prop_assert_eq!(segment.is_proved_by(&proofs(&others)).expect("reads"), is_same);
        prop_assert!(!segment.is_proved_by(&proofs(&texts[1..])).expect("reads"));
    }
}

#[test]
fn blocks_are_looked_through_one_after_another() {
    let place = Place::new();
    let texts: Vec<_> = (0..3000)
        .map(|n| (String::new(), format!("EVERYWHERE X{n:040} Y{n:040} Z{}", n % 7)))
        .collect();
    let segment = segment(&place, &texts);
    let count = |text: &str| {
        let query = Query::of(&needle(Body, text)).expect("a word");
        let found = segment.find(Body, &query, &mut Buffers::default()).expect("reads");
        (0..texts.len()).filter(|doc| found.certain.contains(*doc)).count()
    };
    assert_eq!(count("VERYWHER"), 3000);
    assert_eq!(count("2999"), 1);
    assert_eq!(count("Z3"), 429 - 1 + usize::from(3000 % 7 > 3));
    assert_eq!(count("NOWHERE"), 0);
}

#[test]
fn a_text_of_too_many_words_is_always_read() {
    let place = Place::new();
    let words = |bytes: usize| {
        let word = |n: usize| format!("{n:08}");
        (0..bytes / 8).map(word).collect::<Vec<_>>().join(" ")
    };
    let (fits, beyond) = (words(TEXT_WORD_BYTES_MAX), words(TEXT_WORD_BYTES_MAX) + " X");
    let texts = [fits, beyond, "00000000".to_owned()].map(|body| (String::new(), body));
    let segment = segment(&place, &texts);
    let find = |text: &str| {
        let query = Query::of(&needle(Body, text)).expect("a word");
        let found = segment.find(Body, &query, &mut Buffers::default()).expect("reads");
        [0, 1, 2].map(|doc| (found.maybe.contains(doc), found.certain.contains(doc)))
    };
    assert_eq!(find("00000000"), [(true, true), (true, false), (true, true)]);
    assert_eq!(find("NOWHERE"), [(false, false), (true, false), (false, false)]);
}

#[test]
fn a_segment_has_room_for_8192_messages() {
    let mut builder = Builder::new(1);
    let add = |builder: &mut Builder, id| {
        builder.add(&Message { id, check: 0, header: Some("A"), body: None })
    };
    for id in 1..=DOCS_MAX as i64 {
        assert!(!builder.is_full());
        assert!(add(&mut builder, id));
    }
    assert!(builder.is_full());
    assert!(!add(&mut builder, DOCS_MAX as i64 + 1));
}

/// A store without a thread that indexes, and the work that such a thread would do.
struct Indexed {
    place: Place,
    clock: Arc<ManualClock>,
    running: Option<Running>,
    mailbox: MailboxId,
    index: Arc<TextIndex>,
    work: Work,
    /// What was delivered, by message.
    texts: BTreeMap<i64, String>,
}

fn on() -> Go {
    Go::On
}

fn without_index() -> Options {
    Options { readers: 1, text_index: TextIndexing::Off, ..Options::default() }
}

/// In a folder of its own, where the store does not clear away.
fn work(place: &Place, clock: &Arc<ManualClock>, last: i64) -> (Arc<TextIndex>, Work) {
    let index = Arc::new(TextIndex::new(&place.path().join("apart"), last));
    let tables = Tables(open_read_only(&place.path().join("store.db")).expect("opens"));
    let work = Work::new(index.clone(), Box::new(tables), clock.clone()).expect("is ready");
    (index, work)
}

impl Indexed {
    async fn new() -> Indexed {
        let (place, clock) = (Place::new(), clock());
        let running = Running::open_with(place.path(), &clock, without_index());
        let bench = Bench { store: Arc::new(running.store.clone()), clock: clock.clone() };
        let mailbox = bench.inbox().await;
        let (index, mut work) = work(&place, &clock, 0);
        work.take_up(&mut on).expect("takes up");
        let running = Some(running);
        Indexed { place, clock, running, mailbox, index, work, texts: BTreeMap::new() }
    }

    fn run(&mut self) {
        self.running = Some(Running::open_with(self.place.path(), &self.clock, without_index()));
    }

    fn bench(&self) -> Bench {
        let running = self.running.as_ref().expect("runs");
        Bench { store: Arc::new(running.store.clone()), clock: self.clock.clone() }
    }

    async fn deliver(&mut self, count: usize) {
        let first = self.texts.len();
        let text = |n: usize| format!("common word{n} of{} many", n % 10);
        let texts: Vec<_> = (first..first + count).map(text).collect();
        let changes = texts.iter().map(|text| delivery(self.mailbox, text)).collect();
        self.bench().commit(changes).await.expect("commits");
        let last = self.bench().snapshot(self.mailbox).await.iter().last().expect("one").blob.0;
        self.texts.extend((last - count as i64 + 1..).zip(texts));
    }

    fn step_all(&mut self) {
        while self.work.step(&mut on).expect("steps") {}
    }

    /// As after a restart.
    fn reopen(&mut self) {
        let last = self.texts.keys().next_back().copied().unwrap_or(0);
        (self.index, self.work) = work(&self.place, &self.clock, last);
        self.work.take_up(&mut on).expect("takes up");
    }

    /// Expunges, and lets the store forget what was expunged.
    async fn sweep_away(&mut self, uids: &str) {
        self.bench().expunge(self.mailbox, uids).await;
        assert_eq!(self.running.take().map(Running::close), Some(Ok(())));
        let later = self.clock.now().seconds() + GRACE_SECS + 1;
        self.clock.set(Timestamp::from_seconds(later));
        let opened = embedded::open(self.place.path(), without_index(), self.clock.clone());
        let (_store, mut writer) = opened.expect("opens");
        while writer.sweep().expect("sweeps") {}
    }

    /// How many messages the index knows about; what it says of them must be so.
    fn known(&self) -> usize {
        let ids: Vec<BlobId> = self.texts.keys().map(|id| BlobId(*id)).collect();
        let looked_for = ["common", "word1", "of3 ", "nowhere", "o", "word5 of5"];
        let needles: Vec<_> = looked_for.iter().map(|text| needle(Body, text)).collect();
        let verdicts = self.index.verdicts(&ids, &needles);
        for (needle, verdicts) in needles.iter().zip(&verdicts) {
            for (verdict, text) in verdicts.iter().zip(self.texts.values()) {
                let is_there = text.contains(&needle.text);
                match verdict {
                    Verdict::Present => assert!(is_there, "{needle:?} {text}"),
                    Verdict::Absent => assert!(!is_there, "{needle:?} {text}"),
                    Verdict::Unknown => {}
                }
            }
        }
        verdicts[0].iter().filter(|verdict| **verdict != Verdict::Unknown).count()
    }

    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.index.folder).expect("the folder");
        let mut files: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
        files.sort();
        files
    }
}

const ENOUGH: usize = BACKLOG_MESSAGES as usize;

#[tokio::test]
async fn messages_are_indexed_when_enough_of_them_wait() {
    let mut indexed = Indexed::new().await;
    indexed.deliver(ENOUGH - 1).await;
    indexed.step_all();
    assert_eq!(indexed.known(), 0);
    indexed.deliver(1).await;
    indexed.step_all();
    assert_eq!(indexed.known(), ENOUGH);
    indexed.deliver(10).await;
    indexed.step_all();
    assert_eq!(indexed.known(), ENOUGH, "what is new is read");
    indexed.reopen();
    assert_eq!(indexed.known(), ENOUGH);
}

#[tokio::test]
async fn small_segments_become_one() {
    let mut indexed = Indexed::new().await;
    for _ in 0..7 {
        indexed.deliver(ENOUGH).await;
        indexed.step_all();
    }
    assert_eq!(indexed.files().len(), 7);
    indexed.deliver(ENOUGH).await;
    indexed.step_all();
    assert_eq!(indexed.files().len(), 1);
    assert_eq!(indexed.known(), 8 * ENOUGH);
    indexed.reopen();
    assert_eq!(indexed.known(), 8 * ENOUGH);
}

#[tokio::test]
async fn work_stops_where_it_is_when_the_store_is_closed() {
    let mut indexed = Indexed::new().await;
    indexed.deliver(ENOUGH).await;
    let mut rests = 0;
    let mut go_home = || {
        rests += 1;
        if rests == 3 { Go::Home } else { Go::On }
    };
    assert_eq!(indexed.work.step(&mut go_home), Ok(false));
    assert_eq!((rests, indexed.files().len()), (3, 0));
    indexed.step_all();
    assert_eq!(indexed.known(), ENOUGH);
}

#[tokio::test]
async fn what_a_crash_leaves_is_cleared_away() {
    let mut indexed = Indexed::new().await;
    for _ in 0..3 {
        indexed.deliver(ENOUGH).await;
        indexed.step_all();
    }
    let (files, folder) = (indexed.files(), indexed.index.folder.clone());
    fs::write(folder.join("1-2").with_extension(UNFINISHED), b"half").expect("writes");
    fs::write(folder.join("3-4").with_extension(FINISHED), b"").expect("writes");
    // joined, but what it was made of is still there
    let all = 1..=3 * ENOUGH as i64;
    let second = fs::read(&files[1]).expect("reads");
    indexed.work.index(all, &mut on).expect("joins");
    fs::write(&files[1], &second).expect("writes");
    assert_eq!(indexed.files().len(), 4);
    indexed.reopen();
    assert_eq!(indexed.files().len(), 1);
    assert_eq!(indexed.known(), 3 * ENOUGH);
}

#[tokio::test]
async fn what_is_missing_or_damaged_is_made_anew() {
    let mut indexed = Indexed::new().await;
    for _ in 0..3 {
        indexed.deliver(ENOUGH).await;
        indexed.step_all();
    }
    let files = indexed.files();
    fs::remove_file(&files[0]).expect("removes");
    let mut bytes = fs::read(&files[1]).expect("reads");
    let word = memchr::memmem::rfind(&bytes, b"\ncommon\n").expect("is in a body");
    bytes[word + 1] = b'X';
    fs::write(&files[1], bytes).expect("writes");
    indexed.reopen();
    assert_eq!(indexed.known(), ENOUGH, "a damaged segment says nothing");
    indexed.step_all();
    assert_eq!(indexed.known(), 3 * ENOUGH);
    assert_eq!(indexed.files().len(), 2, "the two that were missing are one now");
}

#[tokio::test]
async fn words_of_messages_that_are_gone_leave_the_index() {
    let mut indexed = Indexed::new().await;
    indexed.deliver(ENOUGH).await;
    indexed.step_all();
    let path = indexed.files().remove(0);
    let holds = |word: &str| {
        let bytes = fs::read(&path).expect("reads");
        memchr::memmem::find(&bytes, format!("\n{word}\n").as_bytes()).is_some()
    };
    assert!(holds("word700") && holds("word701"));
    let made = fs::metadata(&path).and_then(|file| file.modified()).expect("a time");
    let made = made.duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let at = |secs| Timestamp::from_seconds(made.cast_signed() + secs);
    indexed.clock.set(at(0));
    indexed.sweep_away("701").await;
    indexed.reopen();
    indexed.step_all();
    assert!(holds("word700"), "one that is gone waits for a day");
    indexed.clock.set(at(24 * 3600 + 60));
    indexed.work.check(&mut on).expect("checks");
    indexed.step_all();
    assert!(!holds("word700") && holds("word701"));
    assert_eq!(indexed.known(), ENOUGH - 1);

    indexed.clock.set(at(0));
    indexed.run();
    indexed.sweep_away("1:511").await;
    indexed.work.check(&mut on).expect("checks");
    indexed.step_all();
    assert!(holds("word0"), "less than half");
    indexed.run();
    indexed.sweep_away("512:513").await;
    indexed.work.check(&mut on).expect("checks");
    indexed.step_all();
    assert!(!holds("word0") && holds("word999"));
}

#[tokio::test]
async fn an_index_of_another_store_is_thrown_away() {
    let mut indexed = Indexed::new().await;
    indexed.deliver(ENOUGH).await;
    indexed.step_all();
    let path = indexed.files().remove(0);
    let bytes = fs::read(&path).expect("reads");
    let other = Indexed::new().await;
    // a store that was put back has fewer messages than were indexed
    fs::write(other.index.folder.join(path.file_name().expect("a name")), &bytes).expect("writes");
    let mut other = other;
    other.reopen();
    assert_eq!(other.files().len(), 0);
    // and if it has as many again, they are others
    other.texts.insert(0, "another".into());
    let changes = (0..ENOUGH).map(|n| delivery(other.mailbox, &format!("other {n}"))).collect();
    other.bench().commit(changes).await.expect("commits");
    fs::write(other.index.folder.join(path.file_name().expect("a name")), &bytes).expect("writes");
    (other.index, other.work) = work(&other.place, &other.clock, ENOUGH as i64);
    other.work.take_up(&mut on).expect("takes up");
    assert_eq!(other.files().len(), 0);
}

impl Indexed {
    /// Has the store say something else in the body of some messages, behind the index's back.
    fn rewrite(&mut self, texts: &[(i64, String)], with: Check) {
        let tables = rusqlite::Connection::open(self.place.path().join("store.db")).expect("opens");
        for (id, body) in texts {
            let text = SearchText { header: "SUBJECT: X\n".into(), body: body.clone() };
            let packed = Packed::of(&text).expect("packs");
            let texts = [("header_text", &packed.header), ("body_text", &packed.body)];
            for (table, data) in texts {
                let statement = format!("UPDATE {table} SET data = $1 WHERE id = $2");
                tables.execute(&statement, rusqlite::params![data, id]).expect("writes");
            }
            let check = if with == Check::Set { packed.check() } else { 0 };
            let set = rusqlite::params![check, id];
            tables.execute(crate::store::sql::SET_TEXT_CHECK, set).expect("writes");
            self.texts.insert(*id, body.clone());
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Check {
    /// As whoever writes texts does.
    Set,
    /// One that is of no text.
    Wrong,
}

#[tokio::test]
async fn a_stale_entry_is_never_trusted() {
    let mut indexed = Indexed::new().await;
    for _ in 0..2 {
        indexed.deliver(ENOUGH).await;
        indexed.step_all();
    }
    let (first, last) =
        (indexed.texts.keys().next().copied(), indexed.texts.keys().last().copied());
    let (first, last) = (first.expect("some"), last.expect("some"));
    indexed.rewrite(&[(last, "nowhere before".into())], Check::Set);
    indexed.reopen();
    assert_eq!(indexed.known(), ENOUGH, "of the other segment nothing is believed");
    indexed.step_all();
    assert_eq!(indexed.known(), 2 * ENOUGH, "it is made of what is there now");
    indexed.rewrite(&[(first, "word1 of3 ".into())], Check::Set);
    indexed.work.check(&mut on).expect("checks");
    assert_eq!(indexed.known(), ENOUGH, "in a store that runs, too");
    indexed.step_all();
    // a text that is not what the message says it has is read by whoever searches
    indexed.rewrite(&[(first, "common".into()), (last, "common".into())], Check::Wrong);
    indexed.work.check(&mut on).expect("checks");
    indexed.step_all();
    assert_eq!(indexed.known(), 2 * ENOUGH - 2);
}

#[tokio::test]
async fn whatever_happens_to_texts_and_files_what_the_index_says_is_so() {
    let mut indexed = Indexed::new().await;
    for _ in 0..3 {
        indexed.deliver(ENOUGH).await;
        indexed.step_all();
    }
    let ids: Vec<i64> = indexed.texts.keys().copied().collect();
    let seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let mut random = seed.expect("after 1970").as_nanos() as u64 | 1;
    println!("seed {random}");
    let mut below = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % limit as u64) as usize
    };
    for _ in 0..12 {
        match below(3) {
            0 => {
                let texts: Vec<_> = (0..1 + below(5))
                    .map(|_| (ids[below(ids.len())], format!("common of{} x", below(9))))
                    .collect();
                indexed.rewrite(&texts, Check::Set);
                indexed.reopen();
            }
            1 => {
                let files = indexed.files();
                let path = &files[below(files.len())];
                let mut bytes = fs::read(path).expect("reads");
                let at = below(bytes.len());
                bytes[at] ^= 1 << below(8);
                fs::write(path, bytes).expect("writes");
            }
            _ => indexed.reopen(),
        }
        indexed.known();
        indexed.step_all();
        indexed.known();
    }
    indexed.reopen();
    indexed.step_all();
    indexed.known();
    indexed.step_all();
    assert_eq!(indexed.known(), 3 * ENOUGH, "and in the end all is known again");
}

/// The engine as it is used: with the thread.
#[tokio::test]
async fn a_running_store_indexes_by_itself_and_removes_the_index_when_told() {
    let (place, clock) = (Place::new(), clock());
    let running = Running::open(place.path(), &clock);
    let bench = Bench { store: Arc::new(running.store.clone()), clock: clock.clone() };
    let mailbox = bench.inbox().await;
    bench.deliver_many(mailbox, BACKLOG_MESSAGES as u32).await;
    let blobs: Vec<_> = bench.snapshot(mailbox).await.iter().map(|entry| entry.blob).collect();
    let needles = [needle(Body, "message 77"), needle(Header, "essag"), needle(Body, "--")];
    let verdicts = loop {
        let verdicts = bench.store.text_verdicts(&blobs, &needles).await.expect("answers");
        if !verdicts[0].is_empty() {
            break verdicts;
        }
        tokio::task::yield_now().await;
    };
    let absent = verdicts[0].iter().filter(|verdict| **verdict == Verdict::Absent).count();
    assert_eq!(absent, blobs.len() - 11, "77 and 770 to 779 are to be read");
    assert!(verdicts[1].iter().all(|verdict| *verdict == Verdict::Present));
    assert!(verdicts[2].is_empty());
    drop(bench);
    assert_eq!(running.close(), Ok(()));
    assert!(place.path().join(FOLDER).exists());

    let running = Running::open_with(place.path(), &clock, without_index());
    assert!(!place.path().join(FOLDER).exists());
    assert_eq!(running.store.text_verdicts(&blobs, &needles).await, Ok(Vec::new()));
    assert_eq!(running.close(), Ok(()));
}
