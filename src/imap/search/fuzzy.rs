//! What FUZZY makes of a search key, how well a message meets it, and the score that follows. Text
//! is taken apart into words, of which each has to be in the message in some likeness
//! (`mail::likeness`), in any order; days may be off by three, sizes by a tenth. All other keys are
//! met exactly or not at all. The same search finds the same, for everybody. RFC 6203

use super::key::{Key, When};
use crate::imap::date::Day;
use crate::mail::likeness::{Likeness, Pattern};
use crate::mail::message::{fields_of_parts, own_fields};
use crate::mail::words::words;

/// Most words of one text that are looked for, the longest; the others are left out.
const WORDS_MAX: usize = 8;
/// Most words of one command. RFC 6203 §8
pub const LIKES_MAX: usize = 16;
/// So many days from what was asked for a day is near it.
const DAYS_OFF_MAX: i64 = 3;
/// A size is near another if it differs from it by its tenth at most.
const SIZE_PART: u64 = 10;

/// How much a match counts, out of 1: the fields of most weight, other fields, bodies.
const FIELDS: [(&str, f32); 4] = [("SUBJECT", 1.0), ("FROM", 0.9), ("TO", 0.9), ("CC", 0.9)];
const OTHER_FIELD: f32 = 0.4;
const BODY: f32 = 0.7;
/// The least that anything can count: two slips in a field of no weight.
const QUALITY_MIN: f32 = 0.3 * OTHER_FIELD;

/// A word that something like it is to be found of.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Like {
    /// Where.
    pub place: Place,
    /// What.
    pub pattern: Pattern,
}

/// Where a word is looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In fields with this folded name.
    Field(String),
    /// In the body.
    Body,
    /// In header or body.
    Text,
}

/// A day or size that is to be near.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Near {
    /// INTERNALDATE
    Internal(When, Day),
    /// SAVEDATE
    Saved(When, Day),
    /// Date:
    Sent(When, Day),
    /// More bytes than this.
    Larger(u64),
    /// Fewer bytes than this.
    Smaller(u64),
}

/// `key` as FUZZY takes it. RFC 6203 §5
pub fn fuzzily(key: Key) -> Key {
    match key {
        Key::Header { name, text } => {
            likes(&Place::Field(name.clone()), &text).unwrap_or(Key::Header { name, text })
        }
        Key::Body(text) => likes(&Place::Body, &text).unwrap_or(Key::Body(text)),
        Key::Text(text) => likes(&Place::Text, &text).unwrap_or(Key::Text(text)),
        Key::Internal(when, day) => Key::Near(Near::Internal(when, day)),
        Key::Saved(when, day) => Key::Near(Near::Saved(when, day)),
        Key::Sent(when, day) => Key::Near(Near::Sent(when, day)),
        Key::Larger(bytes) => Key::Near(Near::Larger(bytes)),
        Key::Smaller(bytes) => Key::Near(Near::Smaller(bytes)),
        Key::Not(key) => fuzzily(*key).negated(),
        Key::Or(keys) => Key::Or(Box::new((fuzzily(keys.0), fuzzily(keys.1)))),
        Key::And(keys) => Key::And(keys.into_iter().map(fuzzily).collect()),
        key => key,
    }
}

/// The words of `text`, all of them to be found; `None`: there are none.
fn likes(place: &Place, text: &str) -> Option<Key> {
    let mut found: Vec<&str> = words(text).collect();
    found.sort_by_key(|word| (std::cmp::Reverse(word.len()), *word));
    found.dedup();
    found.truncate(WORDS_MAX);
    let like = |word: &&str| Key::Like(Like { place: place.clone(), pattern: Pattern::of(word) });
    let mut keys: Vec<Key> = found.iter().map(like).collect();
    match keys.len() {
        0 => None,
        1 => keys.pop(),
        _ => Some(Key::And(keys)),
    }
}

/// How many words of `key` are looked for in some likeness.
pub fn count_likes(key: &Key) -> usize {
    match key {
        Key::Like(_) => 1,
        Key::Fuzzy(key) | Key::Not(key) => count_likes(key),
        Key::Or(keys) => count_likes(&keys.0) + count_likes(&keys.1),
        Key::And(keys) => keys.iter().map(count_likes).sum(),
        _ => 0,
    }
}

impl Like {
    /// Whether something like it is in a message's texts.
    pub fn is_in(&self, texts: [&str; 3]) -> bool {
        let any = |text: &str| words(text).any(|word| self.pattern.likeness(word).is_some());
        let [header, trace, body] = texts;
        match &self.place {
            Place::Field(name) => {
                let mut lines = own_fields(header).lines().chain(trace.lines());
                lines.any(|line| field(line, name).is_some_and(any))
            }
            Place::Body => any(body),
            Place::Text => any(header) || any(body),
        }
    }

    /// How much what is like it counts, where it counts most.
    pub fn quality(&self, texts: [&str; 3]) -> Option<f32> {
        let best = |text: &str, weight: f32| {
            let best = words(text).filter_map(|word| self.pattern.likeness(word)).max();
            best.map(|likeness| weight * worth(likeness))
        };
        let [header, trace, body] = texts;
        let highest = |found: &mut dyn Iterator<Item = f32>| found.reduce(f32::max);
        match &self.place {
            Place::Field(name) => {
                let lines = own_fields(header).lines().chain(trace.lines());
                highest(&mut lines.filter_map(|line| best(field(line, name)?, 1.0)))
            }
            Place::Body => best(body, 1.0),
            Place::Text => {
                let own = own_fields(header).lines();
                let in_header = own.filter_map(|line| best(line, weight(line)));
                let in_parts = best(fields_of_parts(header), OTHER_FIELD);
                highest(&mut in_header.chain(in_parts).chain(best(body, BODY)))
            }
        }
    }
}

fn worth(likeness: Likeness) -> f32 {
    match likeness {
        Likeness::Same => 1.0,
        Likeness::Beginning => 0.85,
        Likeness::Stem => 0.75,
        Likeness::Within => 0.6,
        Likeness::OneSlip => 0.55,
        Likeness::TwoSlips => 0.3,
    }
}

fn weight(line: &str) -> f32 {
    let weighty = FIELDS.iter().find(|(name, _)| field(line, name).is_some());
    weighty.map_or(OTHER_FIELD, |(_, weight)| *weight)
}

/// The value of a folded line `NAME: value`, if it has that name.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    line.strip_prefix(name)?.strip_prefix(':')
}

impl Near {
    /// How much it counts for a day; `None`: it is too far away.
    pub fn of_day(when: When, day: Day, asked: Day) -> Option<f32> {
        let off = match when {
            When::Before => (day.0 - asked.0 + 1).max(0),
            When::On => (day.0 - asked.0).abs(),
            When::Since => (asked.0 - day.0).max(0),
        };
        (off <= DAYS_OFF_MAX).then(|| 1.0 - off as f32 / (DAYS_OFF_MAX + 1) as f32)
    }

    /// How much it counts for so many bytes; `None`: it is too far away, or not about bytes.
    pub fn of_size(self, bytes: u64) -> Option<f32> {
        let (asked, off) = match self {
            Near::Larger(asked) => (asked, asked.saturating_add(1).saturating_sub(bytes)),
            Near::Smaller(asked) => (asked, bytes.saturating_add(1).saturating_sub(asked)),
            _ => return None,
        };
        let off_max = asked / SIZE_PART;
        match off {
            0 => Some(1.0),
            off if off <= off_max => Some(1.0 - 0.75 * off as f32 / off_max as f32),
            _ => None,
        }
    }
}

/// The score of what counts so much: from 1 to 100, all of which occur. RFC 6203 §4
pub fn score(quality: f32) -> u8 {
    let of_all = (quality.clamp(QUALITY_MIN, 1.0) - QUALITY_MIN) / (1.0 - QUALITY_MIN);
    1 + (of_all * 99.0).round() as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(key: &Key) -> Vec<String> {
        match key {
            Key::Like(like) => vec![like.pattern.word().to_owned()],
            Key::And(keys) => keys.iter().flat_map(patterns).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn text_becomes_its_longest_words() {
        let words = |text: &str| patterns(&fuzzily(Key::Text(text.into())));
        assert_eq!(words("IMAP BREAK"), ["BREAK", "IMAP"]);
        assert_eq!(words("B-A B A"), ["A", "B"]);
        let many = |count: usize| (0..count).map(|n| format!("W{n}")).collect::<Vec<_>>().join(" ");
        assert_eq!(words(&many(WORDS_MAX)).len(), WORDS_MAX);
        let longest = words(&(many(WORDS_MAX) + " LONGEST"));
        assert_eq!((longest.len(), longest[0].as_str()), (WORDS_MAX, "LONGEST"));
        let without = Key::Body("--".into());
        assert_eq!(fuzzily(without.clone()), without, "text without a word is looked for as it is");
    }

    #[test]
    fn a_word_counts_most_in_the_subject_and_least_in_a_field_that_nobody_reads() {
        let header = "SUBJECT: HELLO\nFROM: HELPER\nX-OTHER: HALLO\n\nSUBJECT: QUARTZ\n";
        let quality = |place: Place, word: &str, body: &str| {
            let like = Like { place, pattern: Pattern::of(word) };
            let quality = like.quality([header, "RECEIVED: FROM XERXES\n", body]);
            assert_eq!(quality.is_some(), like.is_in([header, "RECEIVED: FROM XERXES\n", body]));
            quality.map(score)
        };
        assert_eq!(quality(Place::Text, "HELLO", ""), Some(100));
        let body = quality(Place::Text, "XYLOPHONE", "XYLOPHONES").expect("is in the body");
        let slip = quality(Place::Text, "XELLO", "").expect("is near");
        assert!(slip < body && body < 100, "{slip} {body}");
        assert_eq!(quality(Place::Text, "XERXES", ""), None, "the trace is not searched");
        let field = |name: &str| Place::Field(name.into());
        assert_eq!(quality(field("RECEIVED"), "XERXES", ""), Some(100));
        assert_eq!(quality(field("SUBJECT"), "HELPER", ""), None);
        assert_eq!(quality(field("SUBJECT"), "QUARTZ", ""), None, "is a part's");
        assert!(quality(Place::Text, "QUARTZ", "") < quality(Place::Text, "HELPER", ""));
        assert!(quality(Place::Text, "QUARTZ", "").is_some());
        assert_eq!(quality(Place::Body, "HELLO", ""), None);
    }

    #[test]
    fn days_and_sizes_count_less_the_further_away_they_are() {
        let off = |when, day| Near::of_day(when, Day(day), Day(10)).map(score);
        assert_eq!([9, 10, 12, 13].map(|day| off(When::Before, day)), {
            [Some(100), Some(72), Some(16), None]
        });
        assert_eq!([6, 7, 10, 13, 14].map(|day| off(When::On, day).is_some()), {
            [false, true, true, true, false]
        });
        assert_eq!([6, 7, 10, 99].map(|day| off(When::Since, day).is_some()), {
            [false, true, true, true]
        });
        let larger = |bytes| Near::Larger(1000).of_size(bytes).is_some();
        assert_eq!([900, 901, 1000, 1001].map(larger), [false, true, true, true]);
        let smaller = |bytes| Near::Smaller(1000).of_size(bytes).map(score);
        assert_eq!([999, 1000, 1099, 1100].map(smaller), [Some(100), Some(99), Some(16), None]);
        assert_eq!(Near::Larger(u64::MAX).of_size(1), None);
    }

    #[test]
    fn scores_go_from_1_to_100() {
        assert_eq!([0.0, QUALITY_MIN, 1.0, 2.0].map(score), [1, 1, 100, 100]);
    }
}
