//! Entries as text for people, and as JSON for programs.

use std::io::{self, Write};

use crate::admin::queue::print::{count, visible};
use crate::mail::account::Account;
use crate::mail::date;
use crate::mail::id::Timestamp;
use crate::server::control::words::{Entry as Told, Subject};
use crate::store::audit::{By, Entry, Person};

/// Messages whose numbers are shown; there may be more.
const NUMBERS_SHOWN_MAX: usize = 8;

/// `{"id":7,"time":"…","hash":"…","entry":{…}}`: the entry's text as it is hashed.
pub(super) fn json(told: &Told) -> String {
    let time = date::rfc3339(Timestamp(told.at));
    let subjects = match told.subjects.is_empty() {
        true => String::new(),
        false => {
            let subjects = serde_json::to_string(&told.subjects).unwrap_or_default();
            format!(",\"subjects\":{subjects}")
        }
    };
    let Told { id, hash, text, .. } = told;
    format!("{{\"id\":{id},\"time\":\"{time}\",\"hash\":\"{hash}\",\"entry\":{text}{subjects}}}")
}

/// `7  2026-11-26T14:05:01Z  anna  assign  inbox Support: open → Assigned/ben, message 7`
pub(super) fn text(told: &Told, out: &mut dyn Write) -> io::Result<()> {
    let time = date::rfc3339(Timestamp(told.at));
    let Some(entry) = Entry::parse(&told.text) else {
        return writeln!(out, "{:>6}  {time}  (cannot be read) {}", told.id, visible(&told.text));
    };
    let what = [where_to(&entry), about(&entry), messages(&entry)];
    let what: Vec<String> = what.into_iter().flatten().collect();
    let what = [what.join(", "), with(&entry).unwrap_or_default()].join(" ");
    let (by, what) = (visible(&by(&entry)), visible(&what));
    let deed = entry.deed.to_string();
    writeln!(out, "{}", format!("{:>6}  {time}  {by:<12}  {deed:<9}  {what}", told.id).trim_end())?;
    told.subjects.iter().try_for_each(|of| subject(of, out))
}

fn by(entry: &Entry) -> String {
    match &entry.by {
        By::User(person) => person.login.to_string(),
        By::Delivery => "(delivery)".into(),
        By::Daemon => "(daemon)".into(),
        By::Operator => "(operator)".into(),
    }
}

fn where_to(entry: &Entry) -> Option<String> {
    let account = entry.account.as_ref()?;
    let folder = |path: &Option<String>| path.as_ref().map(|path| shown(account, path));
    Some(match (folder(&entry.from), folder(&entry.to)) {
        (Some(from), Some(to)) => format!("{account}: {from} → {to}"),
        (Some(from), None) => format!("{account}: {from}"),
        (None, Some(to)) => format!("{account}: → {to}"),
        (None, None) => account.to_string(),
    })
}

/// As product and mail programs call it; what is localised there is not here. A name that a user
/// chose cannot be taken for the words around it.
fn shown(account: &Account, path: &str) -> String {
    match (account, path) {
        (Account::User(_), "") => "INBOX".into(),
        (_, "") => "open".into(),
        (_, path) => match path.strip_prefix('\\') {
            Some(role) => role.to_owned(),
            None => quoted(path),
        },
    }
}

/// In quotes, unless it is one word.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/-_.@+".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => text.to_owned(),
        false => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

fn about(entry: &Entry) -> Option<String> {
    let about = entry.about.as_ref()?;
    let names = |path: &String| path.ends_with(&format!("/{about}"));
    let is_said = entry.from.iter().chain(&entry.to).any(names);
    (!is_said).then(|| about.to_string())
}

fn messages(entry: &Entry) -> Option<String> {
    let numbers: Vec<String> =
        entry.messages.iter().take(NUMBERS_SHOWN_MAX).map(ToString::to_string).collect();
    let messages = match (numbers.len(), entry.messages.len()) {
        (_, 0) => return None,
        (_, 1) => format!("message {}", numbers[0]),
        (shown, all) if shown == all => format!("messages {}", numbers.join(" ")),
        (_, all) => format!("{}: {} …", count(all, "message"), numbers.join(" ")),
    };
    Some(match entry.conversations[..] {
        [] => messages,
        [one] => format!("{messages} of conversation {one}"),
        _ => format!("{messages} of {} conversations", entry.conversations.len()),
    })
}

/// Details, and what is known of the session.
fn with(entry: &Entry) -> Option<String> {
    let mut words: Vec<String> = entry.detail.iter().cloned().collect();
    if let By::User(Person { peer, client, session, .. }) = &entry.by {
        words.extend(peer.map(|peer| format!("from {peer}")));
        words.extend(client.as_deref().map(|client| format!("client {}", quoted(client))));
        words.extend(session.as_ref().map(|session| format!("session {session}")));
    }
    (!words.is_empty()).then(|| format!("({})", words.join("; ")))
}

fn subject(of: &Subject, out: &mut dyn Write) -> io::Result<()> {
    let Subject { message, subject, from, message_id } = of;
    let (subject, from, id) = (visible(subject), visible(from), visible(message_id));
    writeln!(out, "{:>8}{message}: {subject:?} from {from} <{id}>", "")
}
