//! What there is to do for the index, step by step: take up the files of an earlier run, fill what
//! is not covered, join small segments, make those anew of which messages are gone. Each step makes
//! one file at most, so that a crash between two costs nothing. Knows no thread.

use std::fs;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use super::TextIndex;
use super::build::{Builder, FINISHED, Message, UNFINISHED};
use super::indexer::{BACKLOG_BYTES, BACKLOG_MESSAGES};
use super::segment::Segment;
use super::source::{Source, Texts};
use crate::store::StoreError;
use crate::store::texts::{TextReader, check_of};
use crate::sys::Clock;

/// So many messages are read before a rest.
const BATCH: i64 = 64;
/// So many small segments in a row become one.
const SMALL_MAX: usize = 8;
/// Words of messages that are gone leave the index after this time.
const STALE_SECS: i64 = 24 * 3600;
/// Rows of messages whose checks are compared before a rest.
const CHECK_ROWS: usize = 4096;

/// Whether to go on, as the thread says after each rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Go {
    On,
    /// The store is being closed.
    Home,
}

/// Asked between two pieces of work.
type Rest<'a> = &'a mut dyn FnMut() -> Go;

/// The work and what it needs.
pub(in crate::store) struct Work {
    index: Arc<TextIndex>,
    source: Box<dyn Source>,
    clock: Arc<dyn Clock>,
    texts: TextReader,
    /// How often the index had been doubted when it was taken up, once it was.
    doubts: Option<u64>,
    /// First messages of segments that are to be made anew.
    stale: Vec<i64>,
    #[cfg(test)]
    pub(super) meddle: Option<Meddle>,
}

/// What a test does with a file before it is proved.
#[cfg(test)]
pub(super) type Meddle = Box<dyn FnMut(&std::path::Path) + Send>;

/// How a segment stands to the store.
enum Standing {
    /// Its messages have other texts now: the store was put back to an earlier time.
    Foreign,
    /// So many of its messages are gone.
    Gone(usize),
}

impl Work {
    /// With where the texts come from.
    pub(in crate::store) fn new(
        index: Arc<TextIndex>,
        source: Box<dyn Source>,
        clock: Arc<dyn Clock>,
    ) -> Result<Work, StoreError> {
        let texts = TextReader::new()?;
        Ok(Work {
            index,
            source,
            clock,
            texts,
            doubts: None,
            stale: Vec::new(),
            #[cfg(test)]
            meddle: None,
        })
    }

    /// Finds the segments of an earlier run. Nothing is believed of a segment before each of its
    /// messages was found to be the same as when it was made.
    pub(super) fn take_up(&mut self, rest: Rest<'_>) -> Result<(), StoreError> {
        let folder = &self.index.folder;
        let (doubts, last_message) = {
            let shown = self.index.shown();
            (shown.doubts, shown.last_message)
        };
        self.stale.clear();
        fs::create_dir_all(folder).map_err(disk)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(disk)? {
            let path = entry.map_err(disk)?.path();
            let ending = path.extension().and_then(|ending| ending.to_str());
            let segment = match ending {
                Some(FINISHED) => Segment::open(&path).ok(),
                Some(UNFINISHED) => None,
                _ => continue,
            };
            match segment.filter(|segment| segment.last <= last_message) {
                Some(segment) => found.push(Arc::new(segment)),
                // of a crash, damaged, of another version, or of a later state of the store
                None => fs::remove_file(&path).map_err(disk)?,
            }
        }
        // of two that overlap, the longer one was made of the other
        found.sort_by_key(|segment| (segment.first, std::cmp::Reverse(segment.last)));
        let mut kept: Vec<Arc<Segment>> = Vec::new();
        for segment in found {
            let overlaps = kept.last().is_some_and(|last| last.last >= segment.first);
            if overlaps || !self.is_ours(&segment, rest)? {
                fs::remove_file(&segment.path).map_err(disk)?;
                continue;
            }
            kept.push(segment);
            if !self.index.set(kept.clone(), doubts) {
                return Ok(());
            }
        }
        self.doubts = Some(doubts);
        Ok(())
    }

    /// Looks for segments whose messages are gone, or not what they were.
    pub(super) fn check(&mut self, rest: Rest<'_>) -> Result<(), StoreError> {
        for segment in self.index.segments().iter() {
            if !self.is_ours(segment, rest)? {
                self.remove(segment)?;
            }
        }
        Ok(())
    }

    /// One step; whether there may be more to do.
    pub(super) fn step(&mut self, rest: Rest<'_>) -> Result<bool, StoreError> {
        if Some(self.index.shown().doubts) != self.doubts {
            return self.take_up(rest).map(|()| true);
        }
        let segments = self.index.segments();
        if let Some(broken) = segments.iter().find(|segment| segment.is_broken()) {
            self.remove(broken)?;
            return Ok(true);
        }
        if let Some(gap) = gap(&segments) {
            return self.index(gap, rest);
        }
        let next = segments.last().map_or(1, |segment| segment.last + 1);
        if self.is_much(next)? {
            return self.index(next..=i64::MAX, rest);
        }
        if let Some(crowd) = crowd(&segments) {
            return self.index(crowd, rest);
        }
        let Some(first) = self.stale.pop() else { return Ok(false) };
        match segments.iter().find(|segment| segment.first == first) {
            Some(segment) => self.index(segment.first..=segment.last, rest),
            None => Ok(true),
        }
    }

    /// Whether enough waits to be worth a segment.
    fn is_much(&mut self, next: i64) -> Result<bool, StoreError> {
        let (messages, bytes) = self.source.waiting(next)?;
        Ok(messages >= BACKLOG_MESSAGES || bytes >= BACKLOG_BYTES)
    }

    /// Makes one segment of the messages in a range, as many as there is room for; whether that was
    /// done. What it overlaps, it replaces.
    pub(super) fn index(
        &mut self,
        range: RangeInclusive<i64>,
        rest: Rest<'_>,
    ) -> Result<bool, StoreError> {
        let mut builder = Builder::new(*range.start());
        let (mut next, mut last) = (*range.start(), None);
        let after = loop {
            let (added, after) = self.add(&mut builder, next..=*range.end())?;
            if let Some(id) = added {
                (last, next) = (Some(id), id + 1);
            }
            if after != After::More {
                break after;
            }
            if rest() == Go::Home {
                return Ok(false);
            }
        };
        if after == After::Nothing && *range.end() < i64::MAX {
            last = Some(*range.end());
        }
        let Some(last) = last else { return Ok(false) };
        let (path, proofs) = builder.write(last, &self.index.folder).map_err(disk)?;
        #[cfg(test)]
        self.meddle.iter_mut().for_each(|meddle| meddle(&path));
        let segment = Segment::open(&path).map_err(disk)?;
        if !segment.is_proved_by(&proofs).map_err(disk)? {
            fs::remove_file(&path).map_err(disk)?;
            return Err(StoreError::Corrupt(format!("text index {}", path.display())));
        }
        self.put(Arc::new(segment))?;
        Ok(true)
    }

    /// Adds some messages of a range; the last that was added, and what comes after it.
    fn add(
        &mut self,
        builder: &mut Builder,
        range: RangeInclusive<i64>,
    ) -> Result<(Option<i64>, After), StoreError> {
        let found = self.source.texts(range, BATCH)?;
        let (mut last, count) = (None, found.len());
        for Texts { id, check, header, body } in found {
            let (header, body) = (header.as_deref(), body.as_deref());
            let is_right =
                check_of((header.unwrap_or_default(), body.unwrap_or_default())) == check;
            // What cannot be read is to be met by whoever searches, not here.
            let header = header.filter(|_| is_right).and_then(|h| self.texts.header(h).ok());
            let body = body.filter(|_| is_right).and_then(|b| self.texts.body(b).ok());
            let (header, body) = (header.as_deref(), body.as_deref());
            if !builder.add(&Message { id, check, header, body }) {
                return Ok((last, After::NoRoom));
            }
            last = Some(id);
        }
        Ok((last, if count as i64 == BATCH { After::More } else { After::Nothing }))
    }

    /// Shows a segment in place of those that it overlaps, and removes their files.
    fn put(&self, new: Arc<Segment>) -> Result<(), StoreError> {
        let overlaps = |old: &Segment| old.first <= new.last && new.first <= old.last;
        let segments = self.index.segments();
        let mut kept: Vec<_> =
            segments.iter().filter(|segment| !overlaps(segment)).cloned().collect();
        kept.push(new.clone());
        kept.sort_by_key(|segment| segment.first);
        if !self.show(kept) {
            return fs::remove_file(&new.path).map_err(disk);
        }
        for old in segments.iter().filter(|old| overlaps(old) && old.path != new.path) {
            fs::remove_file(&old.path).map_err(disk)?;
        }
        Ok(())
    }

    /// Shows these, unless the index was doubted since it was taken up.
    fn show(&self, segments: Vec<Arc<Segment>>) -> bool {
        self.doubts.is_some_and(|doubts| self.index.set(segments, doubts))
    }

    fn remove(&self, segment: &Arc<Segment>) -> Result<(), StoreError> {
        let segments = self.index.segments();
        let others = segments.iter().filter(|other| !Arc::ptr_eq(other, segment));
        self.show(others.cloned().collect());
        fs::remove_file(&segment.path).map_err(disk)
    }

    /// Whether a segment is about the messages of this store; notes it if it is stale.
    fn is_ours(&mut self, segment: &Segment, rest: Rest<'_>) -> Result<bool, StoreError> {
        let Ok(messages) = segment.messages() else { return Ok(false) };
        let gone = match self.standing(&messages, rest)? {
            Standing::Foreign => return Ok(false),
            Standing::Gone(gone) => gone,
        };
        if gone > 0 && (gone * 2 >= messages.len() || self.is_old(segment)) {
            self.stale.push(segment.first);
        }
        Ok(true)
    }

    fn standing(
        &mut self,
        messages: &[(i64, i64)],
        rest: Rest<'_>,
    ) -> Result<Standing, StoreError> {
        let mut gone = 0;
        for some in messages.chunks(CHECK_ROWS) {
            let (Some(first), Some(last)) = (some.first(), some.last()) else { continue };
            let mut expected = some.iter().peekable();
            for (id, check) in self.source.checks(first.0..=last.0)? {
                while expected.next_if(|(other, _)| *other < id).is_some() {
                    gone += 1;
                }
                let is_same = |(other, made_of): &&(i64, i64)| *other == id && *made_of == check;
                if expected.next_if(is_same).is_none() {
                    return Ok(Standing::Foreign);
                }
            }
            gone += expected.count();
            let _ = rest();
        }
        Ok(Standing::Gone(gone))
    }

    fn is_old(&self, segment: &Segment) -> bool {
        let made = fs::metadata(&segment.path).and_then(|metadata| metadata.modified());
        let made = made.ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        let made = made.map_or(0, |made| made.as_secs().cast_signed());
        self.clock.now().seconds() - made >= STALE_SECS
    }
}

/// What comes after the messages that were added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum After {
    /// Perhaps others of the range.
    More,
    /// Nothing in the range.
    Nothing,
    /// One for which there is no room.
    NoRoom,
}

/// Between two segments; before the first, too.
fn gap(segments: &[Arc<Segment>]) -> Option<RangeInclusive<i64>> {
    let mut next = 1;
    for segment in segments {
        if segment.first > next {
            return Some(next..=segment.first - 1);
        }
        next = segment.last + 1;
    }
    None
}

/// The range of small segments that stand together.
fn crowd(segments: &[Arc<Segment>]) -> Option<RangeInclusive<i64>> {
    let mut runs = segments.chunk_by(|a, b| !a.full && !b.full);
    let run = runs.find(|run| run.len() >= SMALL_MAX)?;
    Some(run.first()?.first..=run.last()?.last)
}

fn disk(error: std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("text index: {error}"))
}
