//! The two forms of SEARCH's answer. RFC 3501 §7.2.5, RFC 4731 §3.1

use super::evaluate::Hit;
use super::parse::Returns;
use crate::imap::output::Output;
use crate::imap::wire::{number, utf7};
use crate::imap::{Numbering, Refusal};
use crate::mail::id::{ModSeq, Uid};
use crate::mail::uid_set::UidSet;

/// So many numbers are written before the buffer is looked at.
const NUMBERS_PER_FLUSH: usize = 4096;

/// Whether the answer carries the highest mod-sequence of what was found. RFC 7162 §3.1.5
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WithModSeq {
    /// SEARCH had a MODSEQ key.
    Yes,
    /// It had none.
    No,
}

/// `* SEARCH 2 84 882`
pub async fn write_search(
    hits: &[Hit],
    (by, modseq): (Numbering, WithModSeq),
    out: &mut Output<'_>,
) -> Result<(), Refusal> {
    out.push(b"* SEARCH");
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

/// `* ESEARCH (TAG "A282") MIN 2 COUNT 3`
pub fn write_esearch(
    hits: &[Hit],
    (tag, returns): (&str, Returns),
    (by, modseq): (Numbering, WithModSeq),
    out: &mut Output<'_>,
) {
    let mut line = format!("* ESEARCH (TAG {})", utf7::quoted(tag));
    if by == Numbering::Uid {
        line.push_str(" UID");
    }
    if let (Some(first), Some(last)) = (hits.first(), hits.last()) {
        if returns.min {
            line.push_str(&format!(" MIN {}", named(first, by)));
        }
        if returns.max {
            line.push_str(&format!(" MAX {}", named(last, by)));
        }
        if returns.all {
            let all: UidSet = hits.iter().map(|hit| Uid(named(hit, by))).collect();
            line.push_str(&format!(" ALL {all}"));
        }
    }
    if returns.count {
        line.push_str(&format!(" COUNT {}", hits.len()));
    }
    let shown = shown(hits, returns);
    if let Some(highest) = highest(&shown).filter(|_| modseq == WithModSeq::Yes) {
        line.push_str(&format!(" MODSEQ {}", highest.0));
    }
    out.line(format_args!("{line}"));
}

/// The hits whose mod-sequence counts: with nothing but MIN and MAX, those two. RFC 7162 §3.1.10
fn shown(hits: &[Hit], returns: Returns) -> Vec<Hit> {
    if returns.all || returns.count {
        return hits.to_vec();
    }
    let first = hits.first().filter(|_| returns.min);
    let last = hits.last().filter(|_| returns.max);
    first.into_iter().chain(last).copied().collect()
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

    fn hits() -> Vec<Hit> {
        [(1, 5, 9), (2, 6, 3), (4, 9, 4)]
            .map(|(number, uid, modseq)| Hit { number, uid, modseq: ModSeq(modseq) })
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
        let all = Returns { min: true, max: true, all: true, count: true };
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
}
