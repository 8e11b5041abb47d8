//! The forms of the answers of SEARCH and SORT. RFC 3501 §7.2.5, RFC 4731 §3.1, RFC 5256 §4

use super::evaluate::Hit;
use super::returns::Returns;
use crate::imap::output::Output;
use crate::imap::wire::{number, utf7};
use crate::imap::{Numbering, Refusal};
use crate::mail::id::ModSeq;

/// So many numbers are written before the buffer is looked at.
const NUMBERS_PER_FLUSH: usize = 4096;

/// Whether the answer carries the highest mod-sequence of what was found. RFC 7162 §3.1.5
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WithModSeq {
    /// There was a MODSEQ key.
    Yes,
    /// There was none.
    No,
}

/// `* SEARCH 2 84 882`, and the same with `SORT`.
pub async fn write_numbers(
    name: &str,
    hits: &[Hit],
    (by, modseq): (Numbering, WithModSeq),
    out: &mut Output<'_>,
) -> Result<(), Refusal> {
    out.push(b"* ");
    out.push(name.as_bytes());
    for some in hits.chunks(NUMBERS_PER_FLUSH) {
        for hit in some {
            out.push(b" ");
            number::write(out.buffer(), u64::from(named(hit, by)));
        }
        out.flush_if_full().await?;
    }
    if let Some(highest) = highest(hits).filter(|_| modseq == WithModSeq::Yes) {
        out.push(b" (MODSEQ ");
        number::write(out.buffer(), highest.0);
        out.push(b")");
    }
    out.push(b"\r\n");
    Ok(())
}

/// `* ESEARCH (TAG "A282") MIN 2 COUNT 3`; the hits stand in the order that was asked for.
pub fn write_esearch(
    hits: &[Hit],
    (tag, returns): (&str, Returns),
    (by, modseq): (Numbering, WithModSeq),
    out: &mut Output<'_>,
) {
    out.push(format!("* ESEARCH (TAG {})", utf7::quoted(tag)).as_bytes());
    if by == Numbering::Uid {
        out.push(b" UID");
    }
    write_results(hits, returns, (by, modseq), out.buffer());
    out.push(b"\r\n");
}

/// ` MIN 2 COUNT 3`: what stands behind the correlator. RFC 4466 §2.6.2 `search-return-data`
pub fn write_results(
    hits: &[Hit],
    returns: Returns,
    (by, modseq): (Numbering, WithModSeq),
    out: &mut Vec<u8>,
) {
    if let (Some(first), Some(last)) = (hits.first(), hits.last()) {
        if returns.min {
            labelled(out, b" MIN ", u64::from(named(first, by)));
        }
        if returns.max {
            labelled(out, b" MAX ", u64::from(named(last, by)));
        }
        if returns.all {
            out.extend_from_slice(b" ALL ");
            write_set(hits.iter().map(|hit| named(hit, by)), out);
        }
    }
    if let Some(partial) = returns.partial {
        out.extend_from_slice(format!(" PARTIAL ({partial} ").as_bytes());
        match &hits[partial.range(hits.len())] {
            [] => out.extend_from_slice(b"NIL"),
            some => write_set(some.iter().map(|hit| named(hit, by)), out),
        }
        out.push(b')');
    }
    if returns.relevancy {
        let rated = returns.partial.map_or(hits, |partial| &hits[partial.range(hits.len())]);
        write_scores(rated, out);
    }
    if returns.count {
        labelled(out, b" COUNT ", hits.len() as u64);
    }
    let highest = highest(&returns.shown(hits)).filter(|_| modseq == WithModSeq::Yes);
    if let Some(highest) = highest {
        labelled(out, b" MODSEQ ", highest.0);
    }
}

/// ` RELEVANCY (4 99 42)`: the scores of all results, or of the part, in their order. RFC 6203 §7
fn write_scores(hits: &[Hit], out: &mut Vec<u8>) {
    out.extend_from_slice(b" RELEVANCY (");
    for (n, hit) in hits.iter().enumerate() {
        labelled(out, if n > 0 { b" " } else { b"" }, u64::from(hit.relevancy));
    }
    out.push(b')');
}

/// A set whose order means something: only what ascends one by one becomes a range. RFC 5267 §3.2
pub fn write_set(numbers: impl Iterator<Item = u32>, out: &mut Vec<u8>) {
    let mut run: Option<(u32, u32)> = None;
    let mut separator = false;
    let mut write_run = |(first, last): (u32, u32), out: &mut Vec<u8>| {
        if std::mem::replace(&mut separator, true) {
            out.push(b',');
        }
        number::write(out, u64::from(first));
        if first != last {
            labelled(out, b":", u64::from(last));
        }
    };
    for number in numbers {
        match &mut run {
            Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
            _ => {
                if let Some(before) = run.replace((number, number)) {
                    write_run(before, out);
                }
            }
        }
    }
    if let Some(last) = run {
        write_run(last, out);
    }
}

fn labelled(out: &mut Vec<u8>, label: &[u8], value: u64) {
    out.extend_from_slice(label);
    number::write(out, value);
}

fn named(hit: &Hit, by: Numbering) -> u32 {
    if by == Numbering::Uid { hit.uid } else { hit.number }
}

fn highest(hits: &[Hit]) -> Option<ModSeq> {
    hits.iter().map(|hit| hit.modseq).max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::imap::search::returns::Partial;
    use crate::imap::wire::lex::Cursor;

    fn hits() -> Vec<Hit> {
        [(1, 5, 9), (2, 6, 3), (4, 9, 4)]
            .map(|(number, uid, modseq)| Hit {
                number,
                uid,
                modseq: ModSeq(modseq),
                relevancy: 10 * number as u8,
            })
            .to_vec()
    }

    fn esearch(hits: &[Hit], returns: Returns, modseq: WithModSeq) -> String {
        let (mut buffer, mut sink) = (Vec::new(), Vec::new());
        let mut out = Output::new(&mut buffer, &mut sink);
        write_esearch(hits, ("a\"1", returns), (Numbering::Uid, modseq), &mut out);
        String::from_utf8(buffer).expect("ASCII")
    }

    #[test]
    fn esearch_returns_what_was_asked_for_only() {
        let all = Returns { min: true, max: true, all: true, count: true, ..Returns::default() };
        assert_eq!(
            esearch(&hits(), all, WithModSeq::No),
            "* ESEARCH (TAG \"a\\\"1\") UID MIN 5 MAX 9 ALL 5:6,9 COUNT 3\r\n"
        );
        assert_eq!(
            esearch(&[], all, WithModSeq::Yes),
            "* ESEARCH (TAG \"a\\\"1\") UID COUNT 0\r\n"
        );
    }

    #[test]
    fn the_mod_sequence_is_that_of_what_is_returned() {
        let max = Returns { max: true, ..Returns::default() };
        assert!(esearch(&hits(), max, WithModSeq::Yes).ends_with("MAX 9 MODSEQ 4\r\n"));
        let count = Returns { count: true, ..Returns::default() };
        assert!(esearch(&hits(), count, WithModSeq::Yes).ends_with("COUNT 3 MODSEQ 9\r\n"));
    }

    #[test]
    fn scores_stand_in_the_order_of_the_results() {
        let scores = Returns { all: true, relevancy: true, ..Returns::default() };
        let shown = esearch(&hits(), scores, WithModSeq::No);
        assert!(shown.ends_with(" UID ALL 5:6,9 RELEVANCY (10 20 40)\r\n"), "{shown}");
        assert!(esearch(&[], scores, WithModSeq::No).ends_with(" UID RELEVANCY ()\r\n"));
        let partial = Partial::parse(&mut Cursor::new(b"2:3")).ok();
        let part = Returns { partial, relevancy: true, ..Returns::default() };
        let shown = esearch(&hits(), part, WithModSeq::No);
        assert!(shown.ends_with("PARTIAL (2:3 6,9) RELEVANCY (20 40)\r\n"), "{shown}");
    }

    #[test]
    fn a_set_keeps_its_order() {
        let set = |numbers: &[u32]| {
            let mut out = Vec::new();
            write_set(numbers.iter().copied(), &mut out);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(set(&[]), "");
        assert_eq!(set(&[3]), "3");
        assert_eq!(set(&[3, 2, 1, 2, 3, 5, 6, 4294967295]), "3,2,1:3,5:6,4294967295");
        assert_eq!(set(&[3, 2, 1]), "3,2,1");
    }
}
