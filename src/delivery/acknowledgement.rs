//! What a customer is told once a new conversation has come in: a message of its own, queued and
//! filed in the inbox's Sent by the transaction that stores theirs. Once a week for each customer
//! and inbox. RFC 3834

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Envelope, Site, mailbox};
use crate::conversation::Scope;
use crate::conversation::acknowledging::{self, Told};
use crate::directory::rule::Acknowledgement;
use crate::directory::{Directory, Routing, rights};
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::date;
use crate::mail::flag::{FlagList, SeenMode, SystemFlags};
use crate::mail::id::{Login, Timestamp};
use crate::mail::message;
use crate::mail::transport::{Body, Notify};
use crate::outbound::{dkim, report};
use crate::store::StoreError;
use crate::store::change::{Bytes, Change, Delivered, NewMessage};
use crate::store::queue::{NewQueued, Progress, QueuedEnvelope, QueuedRecipient};

/// For how long the same customer is not told again by the same inbox. RFC 3834 §2
const SILENCE_SECS: i64 = 7 * 24 * 60 * 60;
/// Characters of a subject that is repeated; the rest is left out.
const SUBJECT_CHARS_MAX: usize = 200;
/// A line of text that is longer is sent encoded. RFC 5322 §2.1.1
const LINE_BYTES_MAX: usize = 900;
/// Bytes of text in an encoded word: at most 75 characters of it. RFC 2047 §2
const WORD_BYTES: usize = 42;
/// Columns of base64. RFC 2045 §6.8
const BASE64_COLUMNS: usize = 76;
/// What references are spelled with: nothing that looks like something else.
const LETTERS: &[u8; 32] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZ";

/// The changes that tell the sender of a message, which begins a conversation in `account`; none
/// where that is not wanted, or where the sender should hear nothing.
pub(super) async fn changes(
    site: &Site<'_>,
    envelope: &Envelope,
    (account, message): (&Account, &NewMessage),
) -> Result<Vec<Change>, StoreError> {
    let wanted = site.directory.policy(account).and_then(|p| p.acknowledgement.as_ref());
    let Some(wanted) = wanted else { return Ok(Vec::new()) };
    let scope = Scope { store: site.store, directory: site.directory, account };
    let header = (&message.parsed.envelope, message.parsed.text.header.as_str());
    let reverse_path = envelope.transaction.reverse_path.as_ref();
    let told = match acknowledging::told(&scope, reverse_path, header) {
        Ok(told) => told,
        Err(silence) => {
            tracing::debug!(?silence, "not acknowledged");
            return Ok(Vec::new());
        }
    };
    let text = write(envelope, &told, (account, message, wanted));
    let signatures = signed(site, &told, (&text, envelope.received_at));
    let new = NewMessage {
        hash: *blake3::hash(&text).as_bytes(),
        parsed: Arc::new(message::parse(&text)),
        bytes: Bytes::Memory(Arc::new(text)),
    };
    let key = key(account, &told);
    let sent = mailbox(site.store, account, &Folder::role(FolderRole::Sent)).await?;
    let (flags, seen_by) = seen(site.directory, account);
    let filed = Delivered {
        mailbox: sent,
        message: new.clone(),
        trace: Vec::new(),
        flags,
        seen_by,
        thread: None,
        internal_date: envelope.received_at,
        duplicate_key: Some(key),
    };
    let upstream = match site.directory.route(&told.to) {
        Routing::Upstream(server) => Some(server),
        _ => None,
    };
    let mut queued = queued(envelope, &told, (new, signatures, key));
    queued.recipients.iter_mut().for_each(|recipient| recipient.upstream = upstream.clone());
    Ok(vec![
        Change::Delivered(Box::new(filed)),
        Change::Queued(Box::new(queued)),
        Change::KeyKept { key, secs: SILENCE_SECS },
    ])
}

/// Without a reverse-path and with NOTIFY=NEVER, so that nothing comes back. RFC 5230 §5.1
fn queued(
    envelope: &Envelope,
    told: &Told,
    (message, trace, key): (NewMessage, Vec<u8>, [u8; 32]),
) -> NewQueued {
    let now = envelope.received_at;
    let lifetime = envelope.lifetime_secs.saturating_mul(1_000_000);
    let is_ascii = told.to.to_string().is_ascii() && told.from.to_string().is_ascii();
    NewQueued {
        message,
        trace,
        envelope: QueuedEnvelope {
            id: format!("{}.a", envelope.id),
            reverse_path: None,
            sender: None,
            envid: None,
            ret: None,
            body: if is_ascii { Body::SevenBit } else { Body::EightBitMime },
            smtputf8: !is_ascii,
            queued_at: now,
            expires_at: Timestamp(now.0.saturating_add(lifetime)),
        },
        recipients: vec![QueuedRecipient {
            number: 0,
            address: told.to.clone(),
            upstream: None,
            notify: Some(Notify::default()),
            orcpt: None,
            progress: Progress::new(now),
        }],
        duplicate_key: Some(key),
    }
}

/// The same for the same customer and inbox.
fn key(account: &Account, told: &Told) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for piece in ["acknowledgement".to_owned(), format!("{account:?}"), told.to.key()] {
        hasher.update(&(piece.len() as u64).to_le_bytes());
        hasher.update(piece.as_bytes());
    }
    *hasher.finalize().as_bytes()
}

/// What a program has sent is news to nobody.
fn seen(directory: &Directory, account: &Account) -> (FlagList, Vec<Login>) {
    match directory.seen_mode(account) {
        SeenMode::Shared => {
            (FlagList { system: SystemFlags::SEEN, ..FlagList::default() }, Vec::new())
        }
        SeenMode::PerUser => {
            let reads = |user: &&Login| rights(directory, user, account).has('s');
            let readers = directory.users.keys().filter(reads).cloned().collect();
            (FlagList::default(), readers)
        }
    }
}

/// The DKIM signatures of the inbox's domain; without them where it has no key, or none can be
/// made: that is no reason to say nothing.
fn signed(site: &Site<'_>, told: &Told, (text, now): (&[u8], Timestamp)) -> Vec<u8> {
    let Some(keys) = site.keys.of(told.from.domain()) else { return Vec::new() };
    let content = dkim::Content::read(&Bytes::Memory(Arc::new(text.to_vec())));
    let Ok(content) = content else { return Vec::new() };
    dkim::sign(&keys, &content.header, &content.body, now).unwrap_or_else(|error| {
        tracing::warn!(%error, "an acknowledgement leaves without a signature");
        Vec::new()
    })
}

/// The message, lines with CRLF.
fn write(
    envelope: &Envelope,
    told: &Told,
    (account, message, wanted): (&Account, &NewMessage, &Acknowledgement),
) -> Vec<u8> {
    let original = &message.parsed.envelope;
    let (reference, inbox) = (reference(message), name(account));
    let subject = original.subject.as_deref().map(message::decoded).unwrap_or_default();
    let subject: String = subject
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(SUBJECT_CHARS_MAX)
        .collect();
    let fill = |template: &crate::directory::rule::Template| {
        template.fill(&reference, subject.trim(), inbox)
    };
    let (encoding, body) = body(&fill(&wanted.text));
    let id = key(account, told)[..4].iter().map(|b| format!("{b:02x}")).collect::<String>();
    let mut out = format!(
        "From: {from_name} <{from}>\r\n\
         To: <{to}>\r\n\
         Subject: {subject}\r\n\
         Date: {date}\r\n\
         Message-ID: <ack.{envelope_id}.{id}@{hostname}>\r\n",
        from_name = phrase(inbox),
        from = told.from,
        to = told.to,
        subject = words(fill(&wanted.subject).trim()),
        date = date::rfc5322(envelope.received_at),
        envelope_id = envelope.id,
        hostname = envelope.hostname,
    );
    report::thread(&mut out, original);
    // RFC 3834 §5, and what Exchange understands
    out.push_str(&format!(
        "Auto-Submitted: auto-replied\r\n\
         X-Auto-Response-Suppress: All\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: {encoding}\r\n\
         \r\n\
         {body}"
    ));
    out.into_bytes()
}

/// What people can call the conversation by: it stands in the copy in Sent, where it is found.
fn reference(message: &NewMessage) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"reference").update(&message.hash);
    let hash = hasher.finalize();
    let letter = |byte: &u8| char::from(LETTERS[usize::from(byte % 32)]);
    let letters: String = hash.as_bytes().iter().take(8).map(letter).collect();
    format!("{}-{}", &letters[..4], &letters[4..])
}

fn name(account: &Account) -> &str {
    match account {
        Account::User(login) => login.as_str(),
        Account::Inbox(name) | Account::Channel(name) => name,
    }
}

/// A display name: quoted, or in encoded words. RFC 5322 §3.2.5
fn phrase(name: &str) -> String {
    if !name.is_ascii() {
        return words(name);
    }
    let quoted: String = name
        .chars()
        .flat_map(|c| matches!(c, '"' | '\\').then_some('\\').into_iter().chain([c]))
        .collect();
    format!("\"{quoted}\"")
}

/// A header value: as it is where it is short and ASCII, otherwise in encoded words. RFC 2047
fn words(text: &str) -> String {
    let is_plain = |c: char| matches!(c, ' '..='~');
    if text.len() <= WORD_BYTES && text.chars().all(is_plain) && !text.contains("=?") {
        return text.to_owned();
    }
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (word, after) = rest.split_at(rest.floor_char_boundary(WORD_BYTES));
        words.push(format!("=?utf-8?B?{}?=", STANDARD.encode(word)));
        rest = after;
    }
    words.join("\r\n ")
}

/// Content-Transfer-Encoding and the text in it.
fn body(text: &str) -> (&'static str, String) {
    let text = format!("{}\n", text.trim_end()).replace('\n', "\r\n");
    if text.is_ascii() && text.split("\r\n").all(|line| line.len() <= LINE_BYTES_MAX) {
        return ("7bit", text);
    }
    let encoded = STANDARD.encode(&text);
    let lines = encoded.as_bytes().chunks(BASE64_COLUMNS).map(String::from_utf8_lossy);
    ("base64", lines.map(|line| format!("{line}\r\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_ascii_is_encoded_in_words_of_whole_characters() {
        assert_eq!(words("Re: Hello"), "Re: Hello");
        assert_eq!(words("Größe"), "=?utf-8?B?R3LDtsOfZQ==?=");
        for text in ["ö".repeat(100), "x".repeat(300), "a =?b".into()] {
            let words = words(&text);
            assert!(words.split("\r\n ").all(|word| word.len() <= 75), "{words}");
            assert_eq!(message::decoded(words.as_bytes()), text);
        }
        assert_eq!(phrase("A \"B\" \\"), "\"A \\\"B\\\" \\\\\"");
    }

    #[test]
    fn a_text_is_sent_as_it_is_where_that_is_safe() {
        assert_eq!(body("a\nb\n\n"), ("7bit", "a\r\nb\r\n".into()));
        let (encoding, text) = body("ä");
        assert_eq!((encoding, text.as_str()), ("base64", "w6QNCg==\r\n"));
        let long = "x".repeat(LINE_BYTES_MAX);
        assert_eq!(body(&long).0, "7bit");
        let (encoding, text) = body(&format!("{long}x"));
        assert_eq!(encoding, "base64");
        assert!(text.split("\r\n").all(|line| line.len() <= BASE64_COLUMNS));
    }
}
