//! ENVELOPE: raw values of a header block. RFC 3501 §7.4.2. Knows no encoded word and no part.

use mail_parser::DateTime;
use mail_parser::parsers::MessageStream;

use super::fields::{fields, unfold};
use super::parse::Budget;
use super::{Envelope, addresses};

/// References kept: the first, which began the conversation, and the latest ones.
pub(super) const REFERENCES_MAX: usize = 100;
/// Identifiers by which a message is found among those that it follows.
pub const REFERRED_MAX: usize = 20;
/// Of these, the ones in In-Reply-To.
const PARENTS_MAX: usize = 5;
/// A longer message identifier is none. RFC 5322 §2.1.1 allows lines of 998.
const MESSAGE_ID_BYTES_MAX: usize = 998;
/// No date is longer.
const DATE_BYTES_MAX: usize = 200;

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Reads the envelope from a header block. Of a field that comes twice the first one counts, but
/// addresses add up.
pub(super) fn read(header: &[u8], budget: &mut Budget) -> Envelope {
    let mut envelope = Envelope::default();
    for field in fields(header) {
        let value = field.value;
        match field.name.to_ascii_lowercase().as_slice() {
            b"date" => first(&mut envelope.date, value),
            b"subject" => first(&mut envelope.subject, value),
            b"in-reply-to" => first(&mut envelope.in_reply_to, value),
            b"message-id" => first(&mut envelope.message_id, value),
            b"references" if envelope.references.is_empty() => {
                envelope.references = message_ids(value);
            }
            b"from" => addresses::read(value, &mut envelope.from, budget),
            b"sender" => addresses::read(value, &mut envelope.sender, budget),
            b"reply-to" => addresses::read(value, &mut envelope.reply_to, budget),
            b"to" => addresses::read(value, &mut envelope.to, budget),
            b"cc" => addresses::read(value, &mut envelope.cc, budget),
            b"bcc" => addresses::read(value, &mut envelope.bcc, budget),
            _ => {}
        }
    }
    if let Some(date) = envelope.date.as_deref().and_then(date) {
        envelope.date_micros = Some(date.to_timestamp() * MICROS_PER_SECOND);
        let day = date.to_timestamp_local().div_euclid(SECONDS_PER_DAY);
        envelope.date_day = i32::try_from(day).ok();
    }
    default_to_from(&mut envelope, budget);
    envelope
}

fn first(slot: &mut Option<Vec<u8>>, value: &[u8]) {
    if slot.is_none() {
        *slot = Some(unfold(value));
    }
}

fn date(value: &[u8]) -> Option<DateTime> {
    let mut line = value[..value.len().min(DATE_BYTES_MAX)].to_vec();
    line.push(b'\n');
    let date = MessageStream::new(&line).parse_date().into_datetime()?;
    date.is_valid().then_some(date)
}

fn default_to_from(envelope: &mut Envelope, budget: &mut Budget) {
    for slot in [&mut envelope.sender, &mut envelope.reply_to] {
        if slot.is_empty() {
            let copied = envelope.from.len().min(budget.addresses);
            budget.addresses -= copied;
            *slot = envelope.from[..copied].to_vec();
        }
    }
}

impl Envelope {
    /// The Message-ID without its angle brackets, as `References` of an answer names it.
    pub fn bare_message_id(&self) -> Option<String> {
        message_ids(self.message_id.as_deref()?).into_iter().next()
    }

    /// The identifier of the message that this one answers: the first of In-Reply-To, else the last
    /// of References. RFC 5322 §3.6.4
    pub fn answered_id(&self) -> Option<String> {
        let parents = self.in_reply_to.as_deref().map(message_ids).unwrap_or_default();
        parents.into_iter().next().or_else(|| self.references.last().cloned())
    }

    /// The identifiers of all messages that this one says it follows, each once: those it answers,
    /// then the one that began the conversation, then the latest; at most `REFERRED_MAX`. Long
    /// chains hang together by the one that began them.
    pub fn referred_ids(&self) -> Vec<String> {
        let parents = self.in_reply_to.as_deref().map(message_ids).unwrap_or_default();
        let (first, later) = self.references.split_at(self.references.len().min(1));
        let mut ids: Vec<String> = Vec::new();
        for id in parents.iter().take(PARENTS_MAX).chain(first).chain(later.iter().rev()) {
            if ids.len() < REFERRED_MAX && !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        ids
    }
}

/// The identifiers of a Message-ID, In-Reply-To or References field without their angle brackets;
/// at most `REFERENCES_MAX`. Where there are no brackets at all, words with an `@` count: some
/// programs leave the brackets out.
pub fn message_ids(value: &[u8]) -> Vec<String> {
    let value = unfold(value);
    let mut ids: Vec<&[u8]> = if value.contains(&b'<') {
        let after = value.split(|&byte| byte == b'<').skip(1);
        after.filter_map(|rest| rest.split(|&byte| byte == b'>').next()).collect()
    } else {
        value.split(u8::is_ascii_whitespace).filter(|word| word.contains(&b'@')).collect()
    };
    ids.retain(|id| !id.is_empty() && id.len() <= MESSAGE_ID_BYTES_MAX);
    if ids.len() > REFERENCES_MAX {
        ids.drain(1..=ids.len() - REFERENCES_MAX);
    }
    ids.into_iter().map(|id| String::from_utf8_lossy(id.trim_ascii()).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::message::EnvelopeAddress;

    fn plain(mailbox: &str, host: &str) -> EnvelopeAddress {
        let bytes = |text: &str| Some(text.as_bytes().to_vec());
        EnvelopeAddress { name: None, mailbox: bytes(mailbox), host: bytes(host) }
    }

    fn envelope(header: &str) -> Envelope {
        read(header.as_bytes(), &mut Budget::new())
    }

    #[test]
    fn values_are_raw_and_unfolded() {
        let envelope =
            envelope("Subject: =?utf-8?Q?h=C3=A4?=\r\n\tmore\r\nMessage-ID: <a@b>\r\n\r\n");
        assert_eq!(envelope.subject.as_deref(), Some(b"=?utf-8?Q?h=C3=A4?=\tmore".as_slice()));
        assert_eq!(envelope.message_id.as_deref(), Some(b"<a@b>".as_slice()));
        assert_eq!(envelope.date, None);
    }

    #[test]
    fn the_first_of_two_fields_counts_and_addresses_add_up() {
        let envelope = envelope("Subject: a\r\nSubject: b\r\nTo: a@b\r\nTo: c@d\r\n\r\n");
        assert_eq!(envelope.subject.as_deref(), Some(b"a".as_slice()));
        assert_eq!(envelope.to, [plain("a", "b"), plain("c", "d")]);
    }

    #[test]
    fn sender_and_reply_to_default_to_from() {
        let envelope = envelope("From: a@b\r\nReply-To: \r\nSender: c@d\r\n\r\n");
        assert_eq!(envelope.reply_to, [plain("a", "b")]);
        assert_eq!(envelope.sender, [plain("c", "d")]);
    }

    #[test]
    fn dates_have_an_instant_and_a_day_of_their_own_zone() {
        let cases: &[(&str, Option<(i64, i32)>)] = &[
            ("Thu, 1 Jan 1970 00:30:00 +0100", Some((-1800, 0))),
            ("Wed, 31 Dec 1969 23:30:00 -0100", Some((1800, -1))),
            ("Fri, 21 Nov 1997 09:55:06 -0600", Some((880_127_706, 10_186))),
            ("21 Nov 97 09:55:06 GMT", Some((880_106_106, 10_186))),
            ("Fri, 21 Nov 1997 09:55:06 +0000 (UTC)", Some((880_106_106, 10_186))),
            ("yesterday", None),
            ("", None),
            ("99 Nov 1997 99:99:99", None),
        ];
        for (written, expected) in cases {
            let envelope = envelope(&format!("Date: {written}\r\n\r\n"));
            let read = envelope.date_micros.zip(envelope.date_day);
            assert_eq!(read.map(|(micros, day)| (micros / 1_000_000, day)), *expected, "{written}");
        }
    }

    #[test]
    fn a_message_id_is_bare_without_its_brackets() {
        let bare =
            |value: &str| envelope(&format!("Message-ID: {value}\r\n\r\n")).bare_message_id();
        assert_eq!(bare("<A.1@b>").as_deref(), Some("A.1@b"));
        assert_eq!(bare(" (x) < a@b > <c@d>").as_deref(), Some("a@b"));
        assert_eq!(bare("\r\n <a@b>").as_deref(), Some("a@b"));
        assert_eq!(bare("a@b").as_deref(), Some("a@b"));
        assert_eq!((bare("<>"), bare(""), bare("nothing")), (None, None, None));
        let longest = "x".repeat(MESSAGE_ID_BYTES_MAX);
        assert_eq!(bare(&format!("<{longest}>")), Some(longest.clone()));
        assert_eq!(bare(&format!("<{longest}x>")), None);
        assert_eq!(Envelope::default().bare_message_id(), None);
    }

    #[test]
    fn what_a_message_follows_are_its_parents_the_first_and_the_latest() {
        let referred = |header: &str| envelope(&format!("{header}\r\n\r\n")).referred_ids();
        assert_eq!(referred("References: <a@x> <b@x>\r\nIn-Reply-To: <b@x>"), ["b@x", "a@x"]);
        assert_eq!(referred("Subject: Re: b"), Vec::<String>::new());
        let ids = |n: usize| (0..n).map(|i| format!("<{i}@x>")).collect::<Vec<_>>().join("\r\n ");
        let all = referred(&format!("References: {}", ids(REFERRED_MAX)));
        assert_eq!((all.len(), all[0].as_str(), all[1].as_str()), (REFERRED_MAX, "0@x", "19@x"));
        let cut = referred(&format!("References: {}", ids(REFERRED_MAX + 1)));
        assert_eq!((cut.len(), cut[0].as_str()), (REFERRED_MAX, "0@x"));
        assert!(!cut.contains(&"1@x".to_owned()), "{cut:?}");
        let parents = referred(&format!("In-Reply-To: {}", ids(PARENTS_MAX + 1)));
        assert_eq!(parents.len(), PARENTS_MAX);
    }

    #[test]
    fn references_keep_the_first_and_the_latest() {
        let ids = |n: usize| (0..n).map(|i| format!("<{i}@x>")).collect::<Vec<_>>().join("\r\n ");
        let read = |n| envelope(&format!("References: {}\r\n\r\n", ids(n))).references;
        assert_eq!(read(REFERENCES_MAX).len(), REFERENCES_MAX);
        let cut = read(REFERENCES_MAX + 1);
        assert_eq!(cut.len(), REFERENCES_MAX);
        assert_eq!((cut[0].as_str(), cut[1].as_str()), ("0@x", "2@x"));
        assert_eq!(cut[REFERENCES_MAX - 1], format!("{REFERENCES_MAX}@x"));
        assert_eq!(envelope("References: a@b c@d e\r\n\r\n").references, ["a@b", "c@d"]);
    }
}
