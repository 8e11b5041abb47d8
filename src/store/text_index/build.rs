//! Makes a segment: gathers the words of messages in memory up to a limit, then writes them as a
//! file. Knows no table and no thread.

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::postings;
use super::proof::Proof;
use super::segment::{Block, Directory, MAGIC, PartDirectory};
use super::words::BREAK;
use crate::mail::words::words;

/// Most messages of a segment.
pub(super) const DOCS_MAX: usize = 8192;
/// A segment that has this many bytes of different words gets no further message.
const WORD_BYTES_MAX: usize = 8 << 20;
/// The same for the messages of words, counted word by word.
const POSTINGS_MAX: usize = 2 << 20;
/// Most bytes of different words of one text; a text with more is always read.
pub(super) const TEXT_WORD_BYTES_MAX: usize = 128 << 10;
/// A block ends with the word that makes it this long.
const BLOCK_WORD_BYTES: usize = 64 << 10;
/// Ending of a file that is not written to its end.
pub(super) const UNFINISHED: &str = "unfinished";
/// Ending of a segment's file.
pub(super) const FINISHED: &str = "words";

/// A segment that grows.
pub(super) struct Builder {
    first: i64,
    docs: Vec<u32>,
    checks: Vec<i64>,
    parts: [PartBuilder; 2],
}

/// A message as it is added; a text that cannot be read will always be asked for.
pub(super) struct Message<'a> {
    pub(super) id: i64,
    /// That of its texts, as the store has it.
    pub(super) check: i64,
    pub(super) header: Option<&'a str>,
    pub(super) body: Option<&'a str>,
}

impl Builder {
    /// For messages from `first` on.
    pub(super) fn new(first: i64) -> Builder {
        let parts = [PartBuilder::default(), PartBuilder::default()];
        Builder { first, docs: Vec::new(), checks: Vec::new(), parts }
    }

    pub(super) fn is_full(&self) -> bool {
        self.docs.len() >= DOCS_MAX
            || self.sum(|part| part.words.bytes.len()) >= WORD_BYTES_MAX
            || self.sum(|part| part.postings.len()) >= POSTINGS_MAX
    }

    fn sum(&self, of: impl Fn(&PartBuilder) -> usize) -> usize {
        self.parts.iter().map(of).sum()
    }

    /// Adds a message, whose number is higher than those before. False: it is full, or the number
    /// is too far from the first.
    pub(super) fn add(&mut self, message: &Message<'_>) -> bool {
        let Ok(distance) = u32::try_from(message.id - self.first) else { return false };
        let Ok(doc) = u16::try_from(self.docs.len()) else { return false };
        if self.is_full() {
            return false;
        }
        self.docs.push(distance);
        self.checks.push(message.check);
        for (part, text) in self.parts.iter_mut().zip([message.header, message.body]) {
            part.proof.add(text);
            match text {
                Some(text) => part.add(doc, text),
                None => part.open.push(doc),
            }
        }
        true
    }

    /// Writes the file of the segment that ends with message `last`, and gives it its name when it
    /// is complete. Not synced: after a power cut a damaged file is found out and made again. With
    /// what the texts of header and body say, by which the file is to be proved.
    pub(super) fn write(self, last: i64, folder: &Path) -> io::Result<(PathBuf, [Proof; 2])> {
        let name = format!("{:016x}-{last:016x}", self.first);
        let unfinished = folder.join(&name).with_extension(UNFINISHED);
        let written = self.write_to(last, &unfinished);
        let path = folder.join(name).with_extension(FINISHED);
        let done = written.and_then(|proofs| fs::rename(&unfinished, &path).map(|()| proofs));
        if done.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        done.map(|proofs| (path, proofs))
    }

    fn write_to(self, last: i64, path: &Path) -> io::Result<[Proof; 2]> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut out = Out { file: BufWriter::new(options.open(path)?), at: 0 };
        let (count, full) = (self.docs.len(), self.is_full());
        let [(header, of_header), (body, of_body)] = self.parts.map(PartBuilder::apart);
        let parts = [header.write(count, &mut out)?, body.write(count, &mut out)?];
        let (first, docs, checks) = (self.first, self.docs, self.checks);
        let directory = Directory { first, last, full, docs, checks, parts };
        let bytes = postcard::to_stdvec(&directory).map_err(io::Error::other)?;
        out.put(&bytes)?;
        out.put(&(bytes.len() as u64).to_le_bytes())?;
        out.put(blake3::hash(&bytes).as_bytes())?;
        out.put(MAGIC)?;
        out.file.flush()?;
        Ok([of_header, of_body])
    }
}

struct Out {
    file: BufWriter<File>,
    at: u64,
}

impl Out {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}

/// One of the two texts of all messages.
#[derive(Default)]
struct PartBuilder {
    words: Words,
    /// By word: the last message that has it, plus one.
    last_docs: Vec<u32>,
    /// Word and message, each pair once, by message.
    postings: Vec<(u32, u16)>,
    open: Vec<u16>,
    proof: Proof,
}

impl PartBuilder {
    fn apart(mut self) -> (PartBuilder, Proof) {
        let proof = std::mem::take(&mut self.proof);
        (self, proof)
    }

    fn add(&mut self, doc: u16, text: &str) {
        let mut left = TEXT_WORD_BYTES_MAX;
        let mark = u32::from(doc) + 1;
        for word in words(text).map(str::as_bytes) {
            if word.len() > left {
                // what is there of it already does no harm
                self.open.push(doc);
                return;
            }
            let number = self.words.number(word);
            let at = number as usize;
            self.last_docs.resize(self.words.ends.len(), 0);
            if self.last_docs[at] != mark {
                self.last_docs[at] = mark;
                self.postings.push((number, doc));
                left -= word.len();
            }
        }
    }

    fn write(self, count: usize, out: &mut Out) -> io::Result<PartDirectory> {
        let (docs, ends) = self.by_word();
        let mut blocks = Vec::new();
        let (mut words, mut lists) = (vec![BREAK], Vec::new());
        let mut start = 0;
        for (number, end) in (0..).zip(ends) {
            words.extend_from_slice(self.words.word(number));
            words.push(BREAK);
            postings::write(&docs[start..end], count, &mut lists);
            start = end;
            if words.len() >= BLOCK_WORD_BYTES {
                blocks.push(write_block(&mut words, &mut lists, out)?);
            }
        }
        if words.len() > 1 {
            blocks.push(write_block(&mut words, &mut lists, out)?);
        }
        Ok(PartDirectory { blocks, open: self.open })
    }

    /// The messages of all words, word after word and ascending in each; where those of each end.
    fn by_word(&self) -> (Vec<u16>, Vec<usize>) {
        let mut ends = vec![0; self.words.ends.len()];
        self.postings.iter().for_each(|(word, _)| ends[*word as usize] += 1);
        let mut start = 0;
        for end in &mut ends {
            // where the next message of the word goes, which in the end is behind its last
            start += std::mem::replace(end, start);
        }
        let mut docs = vec![0; self.postings.len()];
        for (word, doc) in &self.postings {
            let next = &mut ends[*word as usize];
            docs[*next] = *doc;
            *next += 1;
        }
        (docs, ends)
    }
}

fn write_block(words: &mut Vec<u8>, lists: &mut Vec<u8>, out: &mut Out) -> io::Result<Block> {
    let block = Block {
        at: out.at,
        word_bytes: words.len() as u32,
        posting_bytes: lists.len() as u32,
        word_check: crc32fast::hash(words),
        posting_check: crc32fast::hash(lists),
    };
    out.put(words)?;
    out.put(lists)?;
    words.truncate(1);
    lists.clear();
    Ok(block)
}

/// Numbers words. A map of boxed words would take four times the memory.
#[derive(Default)]
struct Words {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// By hash. Half of it at most is taken.
    table: Vec<Slot>,
    /// Keyed: who sends mail does not choose which words collide.
    hasher: RandomState,
}

/// A place of the table.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// The word's number plus one; zero: free.
    number: u32,
    /// Of its hash, so that most other words are told apart without being looked at.
    hash: u32,
}

impl Words {
    fn word(&self, number: u32) -> &[u8] {
        let at = number as usize;
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start..self.ends[at]]
    }

    fn number(&mut self, word: &[u8]) -> u32 {
        if self.ends.len() * 2 >= self.table.len() {
            self.grow();
        }
        let hash = self.hasher.hash_one(word) as u32;
        let is_it = |slot: Slot| slot.hash == hash && self.word(slot.number - 1) == word;
        let place = self.place(hash, is_it);
        if let Some(number) = self.table[place].number.checked_sub(1) {
            return number;
        }
        self.bytes.extend_from_slice(word);
        self.ends.push(self.bytes.len());
        self.table[place] = Slot { number: self.ends.len() as u32, hash };
        self.ends.len() as u32 - 1
    }

    /// The first place from that of the hash on that is free or `is_it`.
    fn place(&self, hash: u32, is_it: impl Fn(Slot) -> bool) -> usize {
        let mask = self.table.len() - 1;
        let mut place = hash as usize & mask;
        while self.table[place].number != 0 && !is_it(self.table[place]) {
            place = (place + 1) & mask;
        }
        place
    }

    fn grow(&mut self) {
        let size = (self.table.len() * 2).max(1024);
        let taken = std::mem::replace(&mut self.table, vec![Slot::default(); size]);
        for slot in taken.into_iter().filter(|slot| slot.number != 0) {
            let place = self.place(slot.hash, |_| false);
            self.table[place] = slot;
        }
    }
}
