//! What is said over the control socket. Both sides speak by these types.

use serde::{Deserialize, Serialize};

use crate::mail::account::Account;
use crate::mail::id::{Login, Timestamp};
use crate::server::queue::{Done as QueueDone, Verb};
use crate::store::audit::Filter;
use crate::store::queue::{Queued, QueuedRecipient};

/// Longest request.
pub const REQUEST_BYTES_MAX: usize = 4096;

/// What can be asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// All messages.
    List,
    /// One message.
    Show(String),
    /// A change of one message.
    One(Verb, String),
    /// A change of all messages.
    All(Verb),
    /// Something that takes more than a word: said in JSON.
    Asked(Box<Asked>),
}

/// What is asked in JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// What the audit log has of this.
    Audit(Filter),
    /// Who works in an inbox or a channel, when each last had a turn, what each has open.
    Turns(Account),
    /// Who is away.
    Absences,
    /// Which directory is in force on all nodes: answered by its hash, since when, by which host.
    InForce,
    /// A user is away until then, or back.
    Away {
        /// Who.
        user: Login,
        /// From then on they are back; `None`: now.
        until: Option<Timestamp>,
    },
    /// Brings messages back out of a Trash.
    Restore(Restore),
    /// Opens a personal mailbox to a super-admin.
    BreakGlass(BreakGlass),
}

/// Which messages of a Trash go back to where they were; all of it must fit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Restore {
    /// Of which inbox or channel.
    pub account: Account,
    /// Not deleted before.
    pub since: Option<Timestamp>,
    /// By whom.
    pub deleted_by: Option<Login>,
    /// Which message, without angle brackets.
    pub message_id: Option<String>,
    /// Whether it is done.
    pub how: How,
}

/// Whether something is done or only told.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It is done.
    ForReal,
    /// It is told what would be done.
    Dry,
}

/// A personal mailbox that is to be opened.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BreakGlass {
    /// To whom.
    pub user: Login,
    /// Whose.
    pub of: Login,
    /// Why.
    pub reason: String,
    /// For how long.
    pub secs: i64,
}

/// The verbs, and whether they may be said of all.
const VERBS: &[(&str, Verb, Scope)] = &[
    ("retry", Verb::Retry, Scope::All),
    ("hold", Verb::Hold, Scope::All),
    ("release", Verb::Release, Scope::All),
    ("drop", Verb::Drop, Scope::One),
];

/// What a verb may be said of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// One message, or all.
    All,
    /// One message: all mail at a stroke is too easily lost.
    One,
}

impl Request {
    /// Reads a line.
    pub fn parse(line: &str) -> Option<Request> {
        if line.starts_with(['{', '"']) {
            return serde_json::from_str(line).ok().map(Request::Asked);
        }
        let mut words = line.split_ascii_whitespace();
        let (verb, which, end) = (words.next()?, words.next(), words.next());
        let (None, which) = (end, which.map(str::to_owned)) else { return None };
        match (verb, which) {
            ("list", None) => Some(Request::List),
            ("show", Some(id)) => Some(Request::Show(id)),
            (verb, Some(id)) => {
                let (_, verb, scope) = VERBS.iter().find(|(word, ..)| *word == verb)?;
                match (id.as_str(), scope) {
                    ("all", Scope::All) => Some(Request::All(*verb)),
                    ("all", Scope::One) => None,
                    _ => Some(Request::One(*verb, id)),
                }
            }
            _ => None,
        }
    }

    /// Writes the line, with its end.
    pub fn line(&self) -> String {
        let word = |verb: &Verb| VERBS.iter().find(|(_, v, _)| v == verb).map_or("", |(w, ..)| w);
        match self {
            Request::List => "list\n".into(),
            Request::Show(id) => format!("show {id}\n"),
            Request::One(verb, id) => format!("{} {id}\n", word(verb)),
            Request::All(verb) => format!("{} all\n", word(verb)),
            // strings and numbers are always JSON
            Request::Asked(asked) => serde_json::to_string(asked).unwrap_or_default() + "\n",
        }
    }
}

/// One line of an answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// A message.
    Message(Message),
    /// Somebody who works in an inbox.
    Turn(Turn),
    /// An entry of the audit log.
    Entry(Entry),
    /// The last line behind entries: where the log ends.
    End(End),
    /// The last line: all is said and done.
    Done(Done),
    /// Something for people to read.
    Said(String),
    /// The last line behind it.
    Over,
    /// The last line: why not.
    Error(String),
}

impl Line {
    /// As JSON with a line end.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings and numbers are always JSON.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Somebody to whom work may be handed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Turn {
    /// Who.
    pub login: String,
    /// The number of their last turn there; 0 if they had none.
    pub turn: u64,
    /// Their open conversations there.
    pub open: usize,
}

/// An entry of the audit log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Its number.
    pub id: i64,
    /// When it happened, in microseconds since 1970.
    pub at: i64,
    /// The SHA-256 of the hash before it, as bytes, and its text.
    pub hash: String,
    /// Its text, which is JSON.
    pub text: String,
    /// What its messages are about, where that is to be shown; those that are gone are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Subject>,
}

/// What a message is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Subject {
    /// The message's number.
    pub message: i64,
    /// Its subject.
    pub subject: String,
    /// Who wrote it.
    pub from: String,
    /// Its Message-ID, without brackets.
    pub message_id: String,
}

/// Where the audit log ends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct End {
    /// The number of the last entry.
    pub id: i64,
    /// Its hash.
    pub hash: String,
}

/// A hash as it is shown.
pub fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A queued message.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Message {
    /// Its number.
    pub id: i64,
    /// Its name in the log and in Received.
    pub name: String,
    /// Its reverse-path; empty: the null reverse-path.
    pub sender: String,
    /// The account that sent it, if it was not relayed.
    pub account: Option<String>,
    /// Its size.
    pub size_bytes: u64,
    /// When it was accepted, since 1970.
    pub queued_at_secs: i64,
    /// When it is given up, since 1970.
    pub expires_at_secs: i64,
    /// Those still to be reached.
    pub recipients: Vec<Recipient>,
}

/// A recipient of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recipient {
    /// Who.
    pub address: String,
    /// The server that it goes to by the directory.
    pub upstream: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next, since 1970.
    pub next_attempt_secs: i64,
    /// What the last attempt came to.
    pub last_reply: Option<String>,
    /// An operator holds it.
    pub held: bool,
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Done {
    /// Messages that it was about.
    pub messages: usize,
    /// Recipients that were changed.
    pub recipients: usize,
    /// Recipients that are being tried, and are changed when that has ended.
    pub busy: usize,
    /// The daemon's time, since 1970.
    pub now_secs: i64,
}

impl Done {
    /// What the queue says it did.
    pub fn new(done: QueueDone, now: Timestamp) -> Done {
        let QueueDone { messages, recipients, busy } = done;
        Done { messages, recipients, busy, now_secs: now.seconds() }
    }
}

impl From<&Queued> for Message {
    fn from(queued: &Queued) -> Message {
        let envelope = &queued.envelope;
        Message {
            id: queued.id.0,
            name: envelope.id.clone(),
            sender: envelope.reverse_path.as_ref().map(ToString::to_string).unwrap_or_default(),
            account: envelope.sender.as_ref().map(ToString::to_string),
            size_bytes: queued.size_bytes,
            queued_at_secs: envelope.queued_at.seconds(),
            expires_at_secs: envelope.expires_at.seconds(),
            recipients: queued.recipients.iter().map(Recipient::from).collect(),
        }
    }
}

impl From<&QueuedRecipient> for Recipient {
    fn from(recipient: &QueuedRecipient) -> Recipient {
        let progress = &recipient.progress;
        Recipient {
            address: recipient.address.to_string(),
            upstream: recipient.upstream.clone(),
            attempts: progress.attempts,
            next_attempt_secs: progress.next_attempt.seconds(),
            last_reply: progress.last_reply.clone(),
            held: progress.held,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let id = || "7".to_owned();
        let requests = [
            Request::List,
            Request::Show(id()),
            Request::One(Verb::Retry, id()),
            Request::One(Verb::Hold, id()),
            Request::One(Verb::Release, id()),
            Request::One(Verb::Drop, id()),
            Request::All(Verb::Retry),
            Request::Asked(Box::new(Asked::Audit(Filter::default()))),
            Request::Asked(Box::new(Asked::Absences)),
            Request::Asked(Box::new(Asked::Away { user: Login::new("anna"), until: None })),
            Request::Asked(Box::new(Asked::BreakGlass(BreakGlass {
                user: Login::new("erik"),
                of: Login::new("ben"),
                reason: "Ben \"has\" left,\nfür immer".into(),
                secs: 3600,
            }))),
            Request::Asked(Box::new(Asked::Audit(Filter {
                account: Some(crate::mail::account::Account::Inbox("Info Süd".into())),
                since: Some(Timestamp(7)),
                ..Filter::default()
            }))),
            Request::Asked(Box::new(Asked::Turns(Account::Channel("Anna's  Sales".into())))),
        ];
        for request in requests {
            assert_eq!(Request::parse(request.line().trim_end()), Some(request));
        }
        for odd in [
            "",
            "list all",
            "show",
            "show 1 2",
            "retry",
            "drop all",
            "burn 1",
            "{}",
            "{\"audit\":{\"x\":1}}",
        ] {
            assert_eq!(Request::parse(odd), None, "{odd}");
        }
    }
}
