//! A segment: the words of some thousand messages in one file that never changes. Words stand in
//! blocks one after another as they are, so that a part of a word is found by looking through them;
//! behind each block stand the messages of each of its words. Knows no table.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use memchr::{memchr, memchr_iter, memmem};
use serde::{Deserialize, Serialize};

use super::postings::{Docs, Postings};
use super::proof::Proof;
use super::words::{BREAK, Piece, Query, Words};
use crate::mail::likeness::Pattern;
use crate::store::text::{TextPlace, Verdict};

/// The last bytes of a file; another version is thrown away. To be changed with what counts as a
/// word, and whenever stored texts are made anew.
pub(super) const MAGIC: &[u8; 8] = b"PFtext02";
/// The directory's length and hash, and the magic.
pub(super) const TRAILER_BYTES: u64 = 8 + 32 + 8;
/// Most bytes of a directory; what claims more is damaged.
const DIRECTORY_BYTES_MAX: u64 = 16 << 20;
/// A segment is looked through if that is cheaper than reading the texts of those asked for: so
/// many bytes of words take as long as one text.
const WORD_BYTES_PER_TEXT: u64 = 32 << 10;

/// What is at the end of a file.
#[derive(Serialize, Deserialize)]
pub(super) struct Directory {
    /// The messages from `first` to `last` are these or gone.
    pub(super) first: i64,
    pub(super) last: i64,
    /// Whether it was closed because it was full.
    pub(super) full: bool,
    /// Each message's distance from `first`, ascending.
    pub(super) docs: Vec<u32>,
    /// The check of the texts that each message's words were taken from, as the store has it: that
    /// they are still the same texts.
    pub(super) checks: Vec<i64>,
    /// Of the header, of the body.
    pub(super) parts: [PartDirectory; 2],
}

/// The words of one of the two texts.
#[derive(Serialize, Deserialize)]
pub(super) struct PartDirectory {
    pub(super) blocks: Vec<Block>,
    /// The messages with too many words to be here.
    pub(super) open: Vec<u16>,
}

/// Some words and, behind them in the file, their messages.
#[derive(Serialize, Deserialize)]
pub(super) struct Block {
    pub(super) at: u64,
    pub(super) word_bytes: u32,
    pub(super) posting_bytes: u32,
    pub(super) word_check: u32,
    pub(super) posting_check: u32,
}

/// An open segment.
pub(super) struct Segment {
    pub(super) path: PathBuf,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) full: bool,
    file: File,
    docs: Vec<u32>,
    parts: [Part; 2],
    broken: AtomicBool,
}

struct Part {
    blocks: Vec<Block>,
    open: Docs,
    word_bytes: u64,
}

/// What reading needs, used again and again.
#[derive(Default)]
pub(super) struct Buffers {
    words: Vec<u8>,
    postings: Vec<u8>,
}

/// What a segment knows of a needle.
pub(super) struct Found {
    /// The messages that may hold it; all others of the segment do not.
    pub(super) maybe: Docs,
    /// Those among them of which it is certain.
    pub(super) certain: Docs,
}

impl Found {
    pub(super) fn verdict(&self, doc: usize) -> Verdict {
        if self.certain.contains(doc) {
            Verdict::Present
        } else if self.maybe.contains(doc) {
            Verdict::Unknown
        } else {
            Verdict::Absent
        }
    }
}

impl Segment {
    pub(super) fn open(path: &Path) -> io::Result<Segment> {
        let file = File::open(path)?;
        let directory = directory(&file)?;
        let count = directory.docs.len();
        let [header, body] = directory.parts;
        Ok(Segment {
            path: path.into(),
            first: directory.first,
            last: directory.last,
            full: directory.full,
            file,
            docs: directory.docs,
            parts: [Part::new(header, count)?, Part::new(body, count)?],
            broken: AtomicBool::new(false),
        })
    }

    /// Those of the messages that are here, by their numbers here, with what the caller has of
    /// each. Both are ascending.
    pub(super) fn docs<T: Copy>(&self, messages: &[(i64, T)]) -> Vec<(usize, T)> {
        let mut known = self.docs.iter().enumerate().peekable();
        let mut doc = |message: i64| {
            let distance = message - self.first;
            while known.next_if(|(_, other)| i64::from(**other) < distance).is_some() {}
            // it may be asked for again: the same message can be in a mailbox twice
            known.peek().filter(|(_, other)| i64::from(**other) == distance).map(|(doc, _)| *doc)
        };
        messages.iter().filter_map(|(message, with)| Some((doc(*message)?, *with))).collect()
    }

    /// The messages, each with the check of its texts. They are read when they are needed.
    pub(super) fn messages(&self) -> io::Result<Vec<(i64, i64)>> {
        let directory = directory(&self.file)?;
        let ids = directory.docs.iter().map(|distance| directory.first + i64::from(*distance));
        Ok(ids.zip(directory.checks).collect())
    }

    /// Whether to look here for a needle in so many messages, rather than in their texts.
    pub(super) fn is_worth_it(&self, place: TextPlace, asked: usize) -> bool {
        let part = &self.parts[part_of(place)];
        !self.broken.load(Ordering::Relaxed)
            && asked as u64 * WORD_BYTES_PER_TEXT >= part.word_bytes
    }

    /// Whether what was read was not what had been written.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Looks for a needle; an error says nothing about any message.
    pub(super) fn find(
        &self,
        place: TextPlace,
        query: &Query,
        buffers: &mut Buffers,
    ) -> io::Result<Found> {
        let part = &self.parts[part_of(place)];
        let found = match query {
            Query::Exactly(words) => self.find_all(part, words, buffers),
            Query::Like(pattern) => self.find_like(part, pattern, buffers),
        };
        let found = found.inspect_err(|_| self.broken.store(true, Ordering::Relaxed))?;
        let mut maybe = found.clone();
        maybe.insert_all(&part.open);
        let mut certain = found;
        match query {
            Query::Exactly(words) if !words.exact => certain = Docs::new(self.docs.len()),
            _ => certain.remove_all(&part.open),
        }
        Ok(Found { maybe, certain })
    }

    /// Whether the words of each message are those of its texts: of header and body, as `proofs`
    /// have them from the texts themselves.
    pub(super) fn is_proved_by(&self, proofs: &[Proof; 2]) -> io::Result<bool> {
        for (part, proof) in self.parts.iter().zip(proofs) {
            let mut sums = vec![0u64; self.docs.len()];
            for number in 0..part.blocks.len() {
                self.add_sums(part, (number, proof), &mut sums)?;
            }
            let is_right =
                |(doc, sums): (usize, (&u64, &u64))| sums.0 == sums.1 || part.open.contains(doc);
            let has_all = proof.sums().len() == sums.len();
            if !has_all || !sums.iter().zip(proof.sums()).enumerate().all(is_right) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds each word of a block to the sums of its messages.
    fn add_sums(
        &self,
        part: &Part,
        (number, proof): (usize, &Proof),
        sums: &mut [u64],
    ) -> io::Result<()> {
        let mut buffers = Buffers::default();
        self.read_words(part, number, &mut buffers.words)?;
        self.read_postings(part, number, &mut buffers.postings)?;
        let mut postings = Postings::new(&buffers.postings);
        let words = buffers.words.split(|byte| *byte == BREAK).filter(|word| !word.is_empty());
        for (number, word) in words.enumerate() {
            let hash = proof.hash(word);
            let mut docs = Docs::new(sums.len());
            postings.add_to(number, &mut docs).ok_or_else(|| damaged(&part.blocks[0]))?;
            docs.iter().for_each(|doc| sums[doc] = sums[doc].wrapping_add(hash));
        }
        Ok(())
    }

    fn find_all(&self, part: &Part, query: &Words, buffers: &mut Buffers) -> io::Result<Docs> {
        let mut all: Option<Docs> = None;
        for piece in &query.pieces {
            let found = self.find_piece(part, piece, buffers)?;
            let common = match all {
                Some(mut before) => {
                    before.keep_only(&found);
                    before
                }
                None => found,
            };
            if common.is_empty() {
                return Ok(common);
            }
            all = Some(common);
        }
        Ok(all.unwrap_or_else(|| Docs::new(self.docs.len())))
    }

    fn find_like(&self, part: &Part, like: &Pattern, buffers: &mut Buffers) -> io::Result<Docs> {
        let mut found = Docs::new(self.docs.len());
        for (number, block) in part.blocks.iter().enumerate() {
            self.read_words(part, number, &mut buffers.words)?;
            let words = std::str::from_utf8(&buffers.words).map_err(|_| damaged(block))?;
            let is_like = |(_, word): &(usize, &str)| like.likeness(word).is_some();
            let words = words.split(char::from(BREAK)).filter(|word| !word.is_empty());
            let mut hits = words.enumerate().filter(is_like).map(|(number, _)| number).peekable();
            if hits.peek().is_none() {
                continue;
            }
            self.read_postings(part, number, &mut buffers.postings)?;
            let mut postings = Postings::new(&buffers.postings);
            for word in hits {
                postings.add_to(word, &mut found).ok_or_else(|| damaged(block))?;
            }
            if found.is_full() {
                break;
            }
        }
        Ok(found)
    }

    fn find_piece(&self, part: &Part, piece: &Piece, buffers: &mut Buffers) -> io::Result<Docs> {
        let finder = memmem::Finder::new(&piece.pattern);
        let mut found = Docs::new(self.docs.len());
        for (number, block) in part.blocks.iter().enumerate() {
            self.read_words(part, number, &mut buffers.words)?;
            let words = &buffers.words;
            let mut hits = Hits { words, finder: &finder, lead: piece.lead, at: 0, passed: 0 };
            let Some(first) = hits.next() else { continue };
            self.read_postings(part, number, &mut buffers.postings)?;
            let mut postings = Postings::new(&buffers.postings);
            for word in std::iter::once(first).chain(hits) {
                postings.add_to(word, &mut found).ok_or_else(|| damaged(block))?;
            }
            if found.is_full() {
                break;
            }
        }
        Ok(found)
    }

    fn read_words(&self, part: &Part, number: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
        let block = &part.blocks[number];
        buffer.resize(block.word_bytes as usize, 0);
        self.file.read_exact_at(buffer, block.at)?;
        check(buffer, block.word_check)
    }

    fn read_postings(&self, part: &Part, number: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
        let block = &part.blocks[number];
        buffer.resize(block.posting_bytes as usize, 0);
        self.file.read_exact_at(buffer, block.at + u64::from(block.word_bytes))?;
        check(buffer, block.posting_check)
    }
}

impl Part {
    fn new(directory: PartDirectory, docs: usize) -> io::Result<Part> {
        let mut open = Docs::new(docs);
        for doc in &directory.open {
            open.insert(usize::from(*doc)).ok_or(io::ErrorKind::InvalidData)?;
        }
        let word_bytes = directory.blocks.iter().map(|block| u64::from(block.word_bytes)).sum();
        Ok(Part { blocks: directory.blocks, open, word_bytes })
    }
}

/// The numbers of the words of a block in which a pattern is found, ascending, each once.
struct Hits<'a> {
    words: &'a [u8],
    finder: &'a memmem::Finder<'a>,
    lead: usize,
    /// Where to look on: at the end of the last word.
    at: usize,
    /// The breaks before that.
    passed: usize,
}

impl Iterator for Hits<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let rest = &self.words[self.at..];
        let start = self.finder.find(rest)? + self.lead;
        self.passed += memchr_iter(BREAK, &rest[..start]).count();
        // each word has a break behind it
        self.at += start + memchr(BREAK, &rest[start..])?;
        self.passed.checked_sub(1)
    }
}

fn part_of(place: TextPlace) -> usize {
    match place {
        TextPlace::Header => 0,
        TextPlace::Body => 1,
    }
}

/// Each time: what is in memory today is read from the disk again tomorrow.
fn check(bytes: &[u8], expected: u32) -> io::Result<()> {
    match crc32fast::hash(bytes) == expected {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidData.into()),
    }
}

fn damaged(block: &Block) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("text index, block at {}", block.at))
}

fn directory(file: &File) -> io::Result<Directory> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let length = file.metadata()?.len();
    let end = length.checked_sub(TRAILER_BYTES).ok_or_else(invalid)?;
    let mut trailer = [0; TRAILER_BYTES as usize];
    file.read_exact_at(&mut trailer, end)?;
    let (size, rest) = trailer.split_first_chunk::<8>().ok_or_else(invalid)?;
    let (hash, magic) = rest.split_at(32);
    let size = u64::from_le_bytes(*size);
    if magic != MAGIC || size > DIRECTORY_BYTES_MAX.min(end) {
        return Err(invalid());
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact_at(&mut bytes, end - size)?;
    if blake3::hash(&bytes).as_bytes() != hash {
        return Err(invalid());
    }
    postcard::from_bytes(&bytes).map_err(|_| invalid())
}
