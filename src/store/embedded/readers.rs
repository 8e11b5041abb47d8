//! Reading from the tables and packs: a few threads, each with its own connection, so that no query
//! ever runs on the runtime. Changes nothing.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{Semaphore, SemaphorePermit, oneshot};

use super::failure;
use super::pack::{PackReader, Place};
use crate::mail::id::{BlobId, MailboxId, ModSeq, TraceId};
use crate::mail::uid_set::UidSet;
use crate::store::text::{Needle, Verdict};
use crate::store::text_index::TextIndex;
use crate::store::texts::TextReader;
use crate::store::{Facts, FactsWanted, StoreError, encode, sql};

/// Most questions that wait for a reader; who comes later waits before asking.
const QUESTIONS_MAX: usize = 1024;
/// Missing ids that a scan steps over before a new one is cheaper.
const SPAN_GAP_MAX: i64 = 16;
/// So many messages are read by two threads.
const HALVED_MIN: usize = 32;

type Question = Box<dyn FnOnce(&mut Reader) + Send>;

/// The threads. They end when this is dropped.
pub(super) struct Readers {
    questions: mpsc::Sender<Question>,
    permits: Semaphore,
}

/// What one thread reads with.
pub(super) struct Reader {
    pub(super) connection: Connection,
    packs: Arc<PackReader>,
    texts: TextReader,
    /// Messages that were not where they should be, or not what they were: the writer notes them.
    lost: Vec<(i64, Place)>,
}

impl Readers {
    pub(super) fn start(readers: Vec<Reader>) -> Result<Readers, StoreError> {
        let (questions, waiting) = mpsc::channel::<Question>();
        let waiting = Arc::new(Mutex::new(waiting));
        for mut reader in readers {
            let waiting = waiting.clone();
            let next = move || waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let thread = std::thread::Builder::new().name("store-reader".into());
            let spawned = thread.spawn(move || {
                while let Ok(question) = next() {
                    question(&mut reader);
                }
            });
            spawned.map_err(|e| StoreError::Unavailable(e.to_string()))?;
        }
        Ok(Readers { questions, permits: Semaphore::new(QUESTIONS_MAX) })
    }

    /// Runs `question` on one of the threads.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.hand_in(question).await?.answer().await
    }

    /// Facts of messages; of many, two threads read a half each.
    pub(super) async fn facts(
        &self,
        blobs: &[BlobId],
        wanted: FactsWanted,
    ) -> Result<Vec<Facts>, StoreError> {
        let of = |blobs: &[BlobId]| {
            let blobs = blobs.to_vec();
            self.hand_in(move |reader| reader.facts(&blobs, wanted))
        };
        if blobs.is_empty() {
            return Ok(Vec::new());
        }
        if blobs.len() < HALVED_MIN {
            return of(blobs).await?.answer().await;
        }
        let (first, second) = blobs.split_at(blobs.len() / 2);
        let (first, second) = (of(first).await?, of(second).await?);
        let mut facts = first.answer().await?;
        facts.append(&mut second.answer().await?);
        Ok(facts)
    }

    /// What the index knows; of several needles, two threads look for a half each.
    pub(super) async fn text_verdicts(
        &self,
        index: Arc<TextIndex>,
        blobs: &[BlobId],
        needles: &[Needle],
    ) -> Result<Vec<Vec<Verdict>>, StoreError> {
        let of = |needles: &[Needle]| {
            let (index, blobs, needles) = (index.clone(), blobs.to_vec(), needles.to_vec());
            self.hand_in(move |_| Ok(index.verdicts(&blobs, &needles)))
        };
        let (first, second) = needles.split_at(needles.len() / 2);
        if first.is_empty() {
            return of(second).await?.answer().await;
        }
        let (first, second) = (of(first).await?, of(second).await?);
        let mut verdicts = first.answer().await?;
        verdicts.append(&mut second.answer().await?);
        Ok(verdicts)
    }

    /// Gives a question to the threads.
    async fn hand_in<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Waiting<'_, T>, StoreError> {
        let permit = self.permits.acquire().await.map_err(|_| stopped())?;
        let (answer, wait) = oneshot::channel();
        let question: Question = Box::new(move |reader| {
            // Who asked may have gone away meanwhile.
            if !answer.is_closed() {
                let _ = answer.send(question(reader));
            }
        });
        self.questions.send(question).map_err(|_| stopped())?;
        Ok(Waiting { wait, _permit: permit })
    }
}

/// A question that was handed in.
struct Waiting<'a, T> {
    wait: oneshot::Receiver<Result<T, StoreError>>,
    _permit: SemaphorePermit<'a>,
}

impl<T> Waiting<'_, T> {
    async fn answer(self) -> Result<T, StoreError> {
        self.wait.await.map_err(|_| stopped())?
    }
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the store's readers have stopped".into())
}

impl Reader {
    pub(super) fn new(
        connection: Connection,
        packs: Arc<PackReader>,
    ) -> Result<Reader, StoreError> {
        Ok(Reader { connection, packs, texts: TextReader::new()?, lost: Vec::new() })
    }

    pub(super) fn facts(
        &mut self,
        blobs: &[BlobId],
        wanted: FactsWanted,
    ) -> Result<Vec<Facts>, StoreError> {
        let mut order: Vec<(i64, usize)> =
            blobs.iter().enumerate().map(|(at, blob)| (blob.0, at)).collect();
        order.sort_unstable();
        let mut facts = vec![Facts::default(); blobs.len()];
        if wanted.fields {
            self.scan(sql::FIELDS, &order, |_, at, data| {
                facts[at].fields = data.to_vec();
                Ok(())
            })?;
        }
        if wanted.envelope {
            self.scan(sql::ENVELOPES, &order, |_, at, data| {
                facts[at].envelope = Some(encode::from_bytes(data)?);
                Ok(())
            })?;
        }
        if wanted.structure {
            self.scan(sql::STRUCTURES, &order, |_, at, data| {
                facts[at].structure = Some(encode::from_bytes(data)?);
                Ok(())
            })?;
        }
        if wanted.header_text {
            self.scan(sql::HEADER_TEXTS, &order, |texts, at, data| {
                facts[at].header_text = Some(texts.header(data)?);
                Ok(())
            })?;
        }
        if wanted.body_text {
            self.scan(sql::BODY_TEXTS, &order, |texts, at, data| {
                facts[at].body_text = Some(texts.body(data)?);
                Ok(())
            })?;
        }
        if wanted.preview {
            self.scan(sql::PREVIEWS, &order, |_, at, data| {
                facts[at].preview = Some(String::from_utf8_lossy(data).into_owned());
                Ok(())
            })?;
        }
        Ok(facts)
    }

    /// Walks one table in ranges; `order` is ascending.
    fn scan(
        &mut self,
        query: &str,
        order: &[(i64, usize)],
        mut each: impl FnMut(&mut TextReader, usize, &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut statement = self.connection.prepare_cached(query).map_err(|e| failure(&e))?;
        for span in order.chunk_by(|a, b| b.0 - a.0 <= SPAN_GAP_MAX) {
            let (Some(first), Some(last)) = (span.first(), span.last()) else { continue };
            let mut rows = statement.query(params![first.0, last.0]).map_err(|e| failure(&e))?;
            let mut asked = span.iter().peekable();
            while let Some(row) = rows.next().map_err(|e| failure(&e))? {
                let id: i64 = row.get(0).map_err(|e| failure(&e))?;
                while asked.next_if(|(wanted, _)| *wanted < id).is_some() {}
                while let Some((_, at)) = asked.next_if(|(wanted, _)| *wanted == id) {
                    let data = row.get_ref(1).map_err(|e| failure(&e))?;
                    let data = data.as_blob().map_err(|e| StoreError::Corrupt(e.to_string()))?;
                    each(&mut self.texts, *at, data)?;
                }
            }
        }
        Ok(())
    }

    /// What has been found lost since it was asked.
    pub(super) fn found_lost(&mut self) -> Vec<(i64, Place)> {
        std::mem::take(&mut self.lost)
    }

    pub(super) fn trace(&mut self, id: TraceId) -> Result<Vec<u8>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql::TRACE).map_err(|e| failure(&e))?;
        let found = statement.query_row(params![id.0], |row| row.get(0)).optional();
        found.map_err(|e| failure(&e))?.ok_or(StoreError::Gone)
    }

    pub(super) fn tombstones(
        &mut self,
        id: MailboxId,
        since: ModSeq,
    ) -> Result<UidSet, StoreError> {
        let mut statement =
            self.connection.prepare_cached(sql::TOMBSTONES).map_err(|e| failure(&e))?;
        let since = i64::try_from(since.0).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![id.0, since]).map_err(|e| failure(&e))?;
        let mut ranges = Vec::new();
        while let Some(row) = rows.next().map_err(|e| failure(&e))? {
            let first = row.get(0).map_err(|e| failure(&e))?;
            ranges.push((first, row.get(1).map_err(|e| failure(&e))?));
        }
        Ok(UidSet::of_ranges(ranges))
    }

    /// A pack that was rewritten between the two looks is found at its new place at the second.
    pub(super) fn body(&mut self, blob: BlobId, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let mut tried = None;
        loop {
            let (place, hash, is_marked) = self.place(blob)?;
            let read = self.packs.read(&place, &range);
            let read = read.map_err(|e| StoreError::Corrupt(format!("message {}: {e}", blob.0)));
            match read.and_then(|bytes| check(bytes, &place, &hash)) {
                Ok(bytes) => return Ok(bytes),
                Err(_) if tried != Some(place) => tried = Some(place),
                Err(error) => {
                    self.lost.extend((!is_marked).then_some((blob.0, place)));
                    return Err(error);
                }
            }
        }
    }

    /// A whole message behind its trace fields.
    pub(super) fn message(&mut self, blob: BlobId, trace: TraceId) -> Result<Vec<u8>, StoreError> {
        let mut bytes = if trace == TraceId::NONE { Vec::new() } else { self.trace(trace)? };
        bytes.append(&mut self.body(blob, 0..u64::MAX)?);
        Ok(bytes)
    }

    /// With what the bytes must be, and whether it is noted already that they are not.
    fn place(&mut self, blob: BlobId) -> Result<(Place, Vec<u8>, bool), StoreError> {
        let mut statement = self.connection.prepare_cached(sql::PLACE).map_err(|e| failure(&e))?;
        let found = statement.query_row(params![blob.0], |row| {
            let start = row.get::<_, i64>(1)?.unsigned_abs();
            let length = row.get::<_, i64>(2)?.unsigned_abs();
            let place = Place { pack: row.get(0)?, start, length };
            Ok((place, row.get(3)?, row.get::<_, i64>(4)? != 0))
        });
        found.optional().map_err(|e| failure(&e))?.ok_or(StoreError::Gone)
    }
}

/// The hash is over the whole message, so only a whole message can be checked.
fn check(bytes: Vec<u8>, place: &Place, hash: &[u8]) -> Result<Vec<u8>, StoreError> {
    if bytes.len() as u64 == place.length && blake3::hash(&bytes).as_bytes() != hash {
        let place = format!("pack {} at {}", place.pack, place.start);
        return Err(StoreError::Corrupt(format!("message in {place} differs from its hash")));
    }
    Ok(bytes)
}
