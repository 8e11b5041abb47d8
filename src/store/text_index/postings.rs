//! The messages of each word of a block, as bytes: for each word a length, then either the
//! distances from one message to the next or, where that is shorter, a bit for each message.

/// Messages of a segment, a bit each.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Docs {
    bits: Vec<u64>,
    count: usize,
}

impl Docs {
    /// None of so many.
    pub(super) fn new(count: usize) -> Docs {
        Docs { bits: vec![0; count.div_ceil(64)], count }
    }

    /// `None` if there is no such message.
    pub(super) fn insert(&mut self, doc: usize) -> Option<()> {
        if doc >= self.count {
            return None;
        }
        *self.bits.get_mut(doc / 64)? |= 1 << (doc % 64);
        Some(())
    }

    pub(super) fn contains(&self, doc: usize) -> bool {
        self.bits.get(doc / 64).is_some_and(|word| word & (1 << (doc % 64)) != 0)
    }

    /// Their numbers, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.bits.iter().enumerate().flat_map(|(at, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros() as usize;
                let found = (rest != 0).then_some(at * 64 + bit);
                rest &= rest.wrapping_sub(1);
                found
            })
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bits.iter().all(|word| *word == 0)
    }

    pub(super) fn is_full(&self) -> bool {
        self.bits.iter().map(|word| word.count_ones() as usize).sum::<usize>() == self.count
    }

    pub(super) fn insert_all(&mut self, others: &Docs) {
        self.bits.iter_mut().zip(&others.bits).for_each(|(word, other)| *word |= other);
    }

    pub(super) fn keep_only(&mut self, others: &Docs) {
        self.bits.iter_mut().zip(&others.bits).for_each(|(word, other)| *word &= other);
    }

    pub(super) fn remove_all(&mut self, others: &Docs) {
        self.bits.iter_mut().zip(&others.bits).for_each(|(word, other)| *word &= !other);
    }

    /// `None` if the bytes are not those of so many messages.
    fn insert_bytes(&mut self, bytes: &[u8]) -> Option<()> {
        if bytes.len() != self.count.div_ceil(8) {
            return None;
        }
        for (word, bytes) in self.bits.iter_mut().zip(bytes.chunks(8)) {
            *word |= bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        Some(())
    }
}

/// Appends the messages of one word, ascending, out of `count`.
pub(super) fn write(docs: &[u16], count: usize, out: &mut Vec<u8>) {
    let mut distances = Vec::new();
    let mut next = 0;
    for doc in docs {
        write_number(u32::from(*doc) - next, &mut distances);
        next = u32::from(*doc) + 1;
    }
    let bitmap_bytes = count.div_ceil(8);
    if distances.len() <= bitmap_bytes {
        write_number((distances.len() as u32) << 1, out);
        out.extend(distances);
        return;
    }
    write_number((bitmap_bytes as u32) << 1 | 1, out);
    let start = out.len();
    out.resize(start + bitmap_bytes, 0);
    for doc in docs {
        out[start + usize::from(*doc) / 8] |= 1 << (doc % 8);
    }
}

/// Reads what `write` wrote, word after word.
pub(super) struct Postings<'a> {
    rest: &'a [u8],
    /// The number of the word that comes next.
    next: usize,
}

impl<'a> Postings<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Postings<'a> {
        Postings { rest: bytes, next: 0 }
    }

    /// Adds the messages of a word, which comes after those asked for before; `None` if the bytes
    /// are not those of messages.
    pub(super) fn add_to(&mut self, word: usize, docs: &mut Docs) -> Option<()> {
        while self.next < word {
            self.take()?;
        }
        let (list, is_bitmap) = self.take()?;
        if is_bitmap {
            return docs.insert_bytes(list);
        }
        let (mut list, mut next) = (list, 0);
        while !list.is_empty() {
            let doc = read_number(&mut list)?.checked_add(next)?;
            docs.insert(doc as usize)?;
            next = doc + 1;
        }
        Some(())
    }

    fn take(&mut self) -> Option<(&'a [u8], bool)> {
        let head = read_number(&mut self.rest)?;
        let (list, rest) = self.rest.split_at_checked((head >> 1) as usize)?;
        self.rest = rest;
        self.next += 1;
        Some((list, head & 1 == 1))
    }
}

/// Seven bits a byte, the lowest first; all but the last byte have the eighth.
fn write_number(mut number: u32, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn read_number(bytes: &mut &[u8]) -> Option<u32> {
    let mut number = 0;
    for shift in (0..32).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_come_back_as_they_were(
            lists in proptest::collection::vec(btree_set(0u16..500, 0..400), 1..5),
        ) {
            let mut bytes = Vec::new();
            for list in &lists {
                write(&list.iter().copied().collect::<Vec<_>>(), 500, &mut bytes);
            }
            for skipped in 0..lists.len() {
                let mut postings = Postings::new(&bytes);
                for (word, list) in lists.iter().enumerate().skip(skipped) {
                    let mut docs = Docs::new(500);
                    prop_assert_eq!(postings.add_to(word, &mut docs), Some(()));
                    let found = (0..500).filter(|doc| docs.contains(usize::from(*doc)));
                    prop_assert!(found.eq(list.iter().copied()));
                    prop_assert!(docs.iter().eq(list.iter().copied().map(usize::from)));
                }
                prop_assert_eq!(postings.add_to(lists.len(), &mut Docs::new(500)), None);
            }
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes: Vec<u8>, word in 0usize..4) {
            let _ = Postings::new(&bytes).add_to(word, &mut Docs::new(70));
        }
    }

    #[test]
    fn a_word_of_every_message_takes_a_bit_each() {
        let mut bytes = Vec::new();
        write(&(0..8192).collect::<Vec<_>>(), 8192, &mut bytes);
        assert_eq!(bytes.len(), 2 + 1024);
        let mut docs = Docs::new(8192);
        assert_eq!(Postings::new(&bytes).add_to(0, &mut docs), Some(()));
        assert!(docs.is_full());
    }
}
