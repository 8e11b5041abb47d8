//! Layer 2: IMAP4rev1 and its extensions, without sockets or timers. Bytes come in through
//! `wire/framing`, commands run against the store's and directory's traits, bytes leave through
//! `Output`. A command is a file in `command/`: arguments → state → store → answer.

pub mod annotation;
pub mod capability;
pub mod command;
pub mod date;
pub mod fetch;
pub mod flags;
pub mod hierarchy;
pub mod names;
pub mod notify;
pub mod object_id;
pub mod output;
pub mod quota;
#[cfg(test)]
pub(crate) mod rig;
pub mod search;
pub mod session;
pub mod sources;
pub mod view;
pub mod virtual_mailbox;
pub mod wire;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::directory::{Directory, Rights};
use crate::mail::account::{Account, FolderNames};
use crate::mail::flag::SeenMode;
use crate::mail::id::{Login, MailboxId};
use crate::store::audit::Presence;
use crate::store::change::Actor;
use crate::store::mirror::Source;
use crate::store::{Mailbox, Store, StoreError};
use crate::sys::repeated::Repeated;
use capability::Capabilities;
use fetch::write::Beyond;
use notify::Notify;
use object_id::ObjectIds;
use output::Output;
use view::{Condstore, Expunge, View};
use wire::utf7::{self, Spelling};

/// What all sessions share.
#[derive(Clone)]
pub struct Context {
    /// Where mail is kept.
    pub store: Arc<dyn Store>,
    /// What role folders are called here.
    pub folder_names: Arc<FolderNames>,
    /// Longest message that APPEND takes, in bytes.
    pub message_bytes_max: u64,
    /// What is advertised, and understood.
    pub capabilities: Arc<Capabilities>,
    /// How to reach who runs the server: a URI. RFC 5464 §3.2.1.1
    pub admin: Option<Arc<str>>,
    /// What becomes of a user's own copy of what they sent as an inbox.
    pub own_copies: OwnCopies,
    /// What mailboxes, messages and conversations are called. RFC 8474
    pub object_ids: ObjectIds,
}

/// What becomes of the copy that a mail program files in the user's own Sent, of a message that is
/// in an inbox's Sent already: `submission.own_copies`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OwnCopies {
    /// It is kept: an instance of the message that is stored.
    #[default]
    Keep,
    /// It is left out; the program is told that all is well.
    LeaveOut,
}

/// The mailbox that a session has selected, and what its user may do there.
pub struct Selected {
    /// Which.
    pub mailbox: Arc<Mailbox>,
    /// What the user may do, at this moment.
    pub rights: Rights,
    /// Whose \Seen it keeps.
    pub seen: SeenMode,
    /// What it shows, where it is a virtual mailbox.
    pub sources: Option<Arc<[Source]>>,
    /// Opened by EXAMINE: nothing may change.
    pub examined: bool,
    /// What the client believes; the only place with sequence numbers.
    pub view: View,
}

impl Selected {
    /// From now on what the client has asked for by NOTIFY is told of this mailbox. RFC 5465 §6.1
    pub fn heed(&mut self, session: &Session) {
        let wishes = session.notify.as_ref().and_then(|notify| notify.wishes());
        let beyond = session.beyond();
        self.view.heed(wishes.map(|wishes| (wishes, beyond)));
    }

    /// The session may have issued a CONDSTORE enabling command: at the first, the client is told
    /// where the mailbox stands. RFC 7162 §3.1
    pub fn follow_condstore(&mut self, session: &Session, out: &mut Output<'_>) {
        let (before, now) = (self.view.condstore(), session.condstore());
        self.view.set_condstore(now);
        if now.is_on() && !before.is_on() {
            let highest = self.view.told_up_to().0;
            out.line(format_args!("* OK [HIGHESTMODSEQ {highest}] CONDSTORE is on"));
        }
    }
}

/// A command's success: the text behind the tagged OK.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Completion {
    /// A response code without its brackets: `COPYUID 1 2 3`.
    pub code: Option<String>,
    /// What was done, for a person.
    pub text: Cow<'static, str>,
    /// Whether EXPUNGE may be sent in front of it, where the command table allows it.
    pub expunge: Expunge,
}

impl Completion {
    /// Success without a response code.
    pub fn ok(text: &'static str) -> Completion {
        Completion { code: None, text: text.into(), expunge: Expunge::Allowed }
    }

    /// Success with a response code.
    pub fn with_code(code: String, text: &'static str) -> Completion {
        Completion { code: Some(code), ..Completion::ok(text) }
    }

    /// The command has used sequence numbers.
    pub fn holding_expunge(self) -> Completion {
        Completion { expunge: Expunge::Held, ..self }
    }
}

/// Why a command was not carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Tagged BAD: the command is not understood; says where and what was expected.
    Bad(String),
    /// Tagged NO.
    No {
        /// A response code without its brackets: `TRYCREATE`. RFC 5530
        code: Option<Cow<'static, str>>,
        /// Why, and what to do.
        text: Cow<'static, str>,
    },
    /// The peer is gone; nothing can be said.
    Disconnected,
}

impl Refusal {
    /// Tagged NO with a response code.
    pub fn no(code: impl Into<Cow<'static, str>>, text: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::No { code: Some(code.into()), text: text.into() }
    }

    /// The one answer for a mailbox that is absent or forbidden: byte for byte the same.
    pub fn no_such_mailbox() -> Refusal {
        Refusal::no("NONEXISTENT", "No such mailbox")
    }

    /// As `no_such_mailbox`, where creating it would help (COPY, MOVE, APPEND). RFC 3501 §6.3.11
    pub fn try_create() -> Refusal {
        Refusal::no("TRYCREATE", "No such mailbox")
    }

    /// The user sees the mailbox but lacks a right. RFC 5530 §3
    pub fn no_permission(text: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal::no("NOPERM", text)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Refusal {
        match error {
            StoreError::Gone => Refusal::no_such_mailbox(),
            StoreError::Outrun => Refusal::no("INUSE", "Somebody else was first, try again"),
            StoreError::Exists => Refusal::no("ALREADYEXISTS", "A mailbox of that name exists"),
            StoreError::Limit(what) => Refusal::no("LIMIT", format!("Too many: {what}")),
            StoreError::NoSpace(_) => {
                Refusal::no("UNAVAILABLE", "There is no room in the mail store, try again later")
            }
            StoreError::Unavailable(_) => {
                Refusal::no("UNAVAILABLE", "The mail store is not available, try again later")
            }
            StoreError::Corrupt(why) => {
                // the client is told to tell the administrator, who finds here what it is
                static DAMAGED: Repeated = Repeated::new();
                if let Some(unsaid) = DAMAGED.due(&why) {
                    tracing::error!(%why, unsaid, "stored data is damaged");
                }
                Refusal::no("CORRUPTION", "Stored data is damaged, tell the administrator")
            }
        }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(_: std::io::Error) -> Refusal {
        Refusal::Disconnected
    }
}

/// Whose \Seen an account's mailboxes keep.
pub fn seen_mode(directory: &Directory, account: &Account) -> SeenMode {
    directory.seen_mode(account)
}

/// How a command names messages. RFC 3501 §6.4.8
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Numbering {
    /// Message sequence numbers.
    Sequence,
    /// UIDs: the command came behind `UID`.
    Uid,
}

/// Who runs a command.
#[derive(Debug)]
pub struct Session {
    /// The user who logged in.
    pub user: Login,
    /// What was declared when the command began.
    pub directory: Arc<Directory>,
    /// The client has issued a CONDSTORE enabling command: FETCH responses carry MODSEQ from now
    /// on. Set by ENABLE, SELECT (CONDSTORE), STATUS (HIGHESTMODSEQ), FETCH (MODSEQ), CHANGEDSINCE,
    /// UNCHANGEDSINCE and SEARCH MODSEQ. RFC 7162 §3.1
    pub condstore: bool,
    /// The client has issued ENABLE QRESYNC: what is gone is told by VANISHED, until the end of the
    /// connection. RFC 7162 §3.2.3
    pub qresync: bool,
    /// The client has issued ENABLE UTF8=ACCEPT. RFC 6855 §3
    pub utf8: bool,
    /// The client has issued ENABLE IMAP4rev2. RFC 9051 §6.3.1
    pub rev2: bool,
    /// The session as the audit log names it.
    pub presence: Arc<Presence>,
    /// Mailboxes of which the audit log says already that this session has read them.
    pub told: BTreeSet<MailboxId>,
    /// What the client wants to be told unasked, of all mailboxes; nothing in most sessions.
    pub notify: Option<Box<Notify>>,
}

impl Session {
    /// Who has just logged in, and no more is known of them.
    pub fn new(user: Login, directory: Arc<Directory>) -> Session {
        Session::of(Presence::of(user), directory)
    }

    /// Who has just logged in.
    pub fn of(presence: Presence, directory: Arc<Directory>) -> Session {
        Session {
            user: presence.login.clone(),
            directory,
            condstore: false,
            qresync: false,
            utf8: false,
            rev2: false,
            presence: Arc::new(presence),
            told: BTreeSet::new(),
            notify: None,
        }
    }

    /// Who changes something on behalf of this session.
    pub fn actor(&self) -> Actor {
        Actor::Session(self.presence.clone())
    }

    /// How mailbox names are spelled to the client.
    pub fn spelling(&self) -> Spelling {
        if self.utf8 || self.rev2 { Spelling::Utf8 } else { Spelling::Utf7 }
    }

    /// How envelopes and structures are written to the client.
    pub fn beyond(&self) -> Beyond {
        match (self.rev2, self.utf8) {
            (true, _) => Beyond::Rev2,
            (false, true) => Beyond::Shown,
            (false, false) => Beyond::Encoded,
        }
    }

    /// A mailbox name as it is written to the client.
    pub fn spelled(&self, name: &str) -> String {
        utf7::written(name, self.spelling())
    }

    /// What the client wants to know of mod-sequences.
    pub fn condstore(&self) -> Condstore {
        match (self.qresync, self.condstore) {
            (true, _) => Condstore::Qresync,
            (false, true) => Condstore::On,
            (false, false) => Condstore::Off,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::repeated::tests::logged_by;

    #[test]
    fn who_reads_a_damaged_message_again_and_again_does_not_fill_the_log() {
        let read = |what: &str| drop(Refusal::from(StoreError::Corrupt(what.into())));
        assert_eq!(logged_by(|| (0..1000).for_each(|_| read("imap: message 1"))), 1);
        assert_eq!(logged_by(|| (0..1000).for_each(|_| read("imap: message 2"))), 1);
    }
}
