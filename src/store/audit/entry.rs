//! One entry: who did what, where and to which messages. Its text is JSON on one line.

use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::mail::account::Account;
use crate::mail::id::{BlobId, Login, Timestamp};

/// An entry's number: 1 for the first, and no number is left out.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct EntryId(pub i64);

/// Something that was done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// When, in microseconds since 1970.
    pub at: Timestamp,
    /// By whom.
    pub by: By,
    /// What.
    pub deed: Deed,
    /// In which inbox, channel or mailbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<Account>,
    /// Out of which of its folders, as `Folder::path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Into which of its folders.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Who it is about: who is assigned, who is granted something, who is away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<Login>,
    /// What else is to be said: rights, a reason, until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The numbers of the messages, as in `BlobId`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<i64>,
    /// The numbers of their conversations, each once, as in `ThreadId`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conversations: Vec<i64>,
}

/// Who did something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// A user.
    User(Person),
    /// The daemon, for mail that came in.
    Delivery,
    /// The daemon by itself: retention, a directory that has changed, a time that has come.
    Daemon,
    /// Who runs the machine, by the command line.
    Operator,
}

/// A user, and the session in which they did it, as far as there is one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Person {
    /// Who.
    pub login: Login,
    /// The session's name: the same in all its entries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Where they connected from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// What the mail program calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// What can be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Messages were given to a member.
    Assign,
    /// They were taken back.
    Unassign,
    /// They are done with.
    Close,
    /// They no longer are.
    Reopen,
    /// They went from one folder to another.
    Move,
    /// They were copied.
    Copy,
    /// They went into the Trash.
    Delete,
    /// They came back out of it.
    Restore,
    /// They are gone for good.
    Expunge,
    /// A mail program put a message there.
    Append,
    /// A colleague's mail came in, or one was filed with what is done.
    Deliver,
    /// A colleague's mail came in that stays inside.
    Note,
    /// A message was sent.
    Send,
    /// A folder was made.
    CreateFolder,
    /// A folder has another name.
    RenameFolder,
    /// A folder was removed.
    DeleteFolder,
    /// Somebody may do something now.
    Grant,
    /// Somebody may not see it any more.
    Revoke,
    /// Somebody logged in.
    Login,
    /// Somebody opened what only their role lets them see.
    Read,
    /// Somebody is away.
    Away,
    /// Somebody is back.
    Back,
    /// A personal mailbox was opened to a super-admin.
    BreakGlass,
    /// It is closed again.
    BreakGlassEnd,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl Entry {
    /// An entry that says no more than this.
    pub fn new(at: Timestamp, by: By, deed: Deed) -> Entry {
        let (account, from, to, about, detail) = (None, None, None, None, None);
        let (messages, conversations) = (Vec::new(), Vec::new());
        Entry { at, by, deed, account, from, to, about, detail, messages, conversations }
    }

    /// Its text: what is stored, covered by the hash and shown.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("strings and numbers are always JSON")
    }

    /// Reads what `to_text` wrote.
    pub fn parse(text: &str) -> Option<Entry> {
        serde_json::from_str(text).ok()
    }

    /// Who did it, if it was a user.
    pub fn user(&self) -> Option<&Login> {
        match &self.by {
            By::User(person) => Some(&person.login),
            By::Delivery | By::Daemon | By::Operator => None,
        }
    }

    /// The messages that it names.
    pub fn blobs(&self) -> impl Iterator<Item = BlobId> + '_ {
        self.messages.iter().copied().map(BlobId)
    }
}

/// An entry about something that changes nothing else; see `Change::Noted`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Note {
    /// What.
    pub deed: Deed,
    /// Where.
    pub account: Option<Account>,
    /// In which of its folders, as `Folder::path`.
    pub folder: Option<String>,
    /// Whom it is about.
    pub about: Option<Login>,
    /// What else is to be said.
    pub detail: Option<String>,
    /// By whom and when, where it was not the transaction's actor, now.
    pub earlier: Option<(By, Timestamp)>,
}

impl Note {
    /// A note that says no more than this.
    pub fn new(deed: Deed) -> Note {
        let (account, folder, about, detail, earlier) = (None, None, None, None, None);
        Note { deed, account, folder, about, detail, earlier }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let person = Person {
            login: Login::new("anna"),
            session: Some("s1".into()),
            peer: Some(IpAddr::from([192, 0, 2, 7])),
            client: Some("Thunderbird 140".into()),
        };
        let mut entry =
            Entry::new(Timestamp(1_790_000_000_000_000), By::User(person), Deed::Assign);
        entry.account = Some(Account::Inbox("Support".into()));
        entry.from = Some(String::new());
        entry.to = Some("\\Assigned/ben".into());
        entry.about = Some(Login::new("ben"));
        entry.messages = vec![7, 8];
        let text = entry.to_text();
        assert_eq!(
            text,
            "{\"at\":1790000000000000,\"by\":{\"user\":{\"login\":\"anna\",\"session\":\"s1\",\
             \"peer\":\"192.0.2.7\",\"client\":\"Thunderbird 140\"}},\"deed\":\"assign\",\
             \"account\":{\"Inbox\":\"Support\"},\"from\":\"\",\"to\":\"\\\\Assigned/ben\",\
             \"about\":\"ben\",\"messages\":[7,8]}"
        );
        assert_eq!(Entry::parse(&text), Some(entry));
    }

    #[test]
    fn what_is_not_said_takes_no_room() {
        let entry = Entry::new(Timestamp(5), By::Daemon, Deed::BreakGlassEnd);
        assert_eq!(entry.to_text(), "{\"at\":5,\"by\":\"daemon\",\"deed\":\"break-glass-end\"}");
        assert_eq!(Entry::parse(&entry.to_text()), Some(entry));
        assert_eq!(Entry::parse("{\"at\":5}"), None);
    }
}
