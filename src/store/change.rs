//! Changes: the only way that anything in the store becomes different. The same list of changes is
//! applied live, in the model test and on every engine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::mail::account::{Account, Folder};
use crate::mail::flag::{FlagList, SeenMode};
use crate::mail::id::{
    BlobId, Login, MailboxId, ModSeq, QueueId, ThreadId, Timestamp, Uid, UidValidity,
};
use crate::mail::message::Parsed;
use crate::mail::uid_set::UidSet;
use crate::store::audit::{By, Note, Person, Presence};
use crate::store::mirror::Refresh;
use crate::store::nodes::{Ask, Done, Duty, Published};
use crate::store::queue::{NewQueued, RecipientUpdate};

/// Changes that happen together or not at all.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Who does it.
    pub actor: Actor,
    /// In this order; a later change sees what an earlier one did.
    pub changes: Vec<Change>,
}

/// Who changes something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Actor {
    /// A logged-in user, in a session of theirs.
    Session(Arc<Presence>),
    /// A user of whom no more is known.
    User(Login),
    /// Mail that came in.
    Delivery,
    /// The daemon itself: folders made for the directory, retention.
    System,
    /// Who runs the machine, by the command line.
    Operator,
}

impl Actor {
    /// As the audit log names it.
    pub fn by(&self) -> By {
        match self {
            Actor::Session(presence) => presence.by(),
            Actor::User(login) => {
                let login = login.clone();
                By::User(Person { login, session: None, peer: None, client: None })
            }
            Actor::Delivery => By::Delivery,
            Actor::System => By::Daemon,
            Actor::Operator => By::Operator,
        }
    }

    /// The user, if it is one.
    pub fn user(&self) -> Option<&Login> {
        match self {
            Actor::Session(presence) => Some(&presence.login),
            Actor::User(login) => Some(login),
            Actor::Delivery | Actor::System | Actor::Operator => None,
        }
    }
}

/// The bytes of a message.
#[derive(Clone, Debug)]
pub enum Bytes {
    /// In memory; small messages.
    Memory(Arc<Vec<u8>>),
    /// In a spool file, which the caller removes after the commit has answered.
    File {
        /// Where.
        path: PathBuf,
        /// How many bytes of it, from its start.
        len: u64,
    },
}

impl Bytes {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Bytes::Memory(bytes) => bytes.len() as u64,
            Bytes::File { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Some of them, those that are there; from a file, this waits for the disk.
    pub fn read(&self, range: Range<u64>) -> io::Result<Vec<u8>> {
        let (start, end) = (range.start.min(self.len()), range.end.min(self.len()));
        match self {
            Bytes::Memory(bytes) => Ok(bytes[start as usize..end.max(start) as usize].to_vec()),
            Bytes::File { path, .. } => {
                let mut file = File::open(path)?;
                file.seek(SeekFrom::Start(start))?;
                let mut bytes = Vec::new();
                file.take(end.saturating_sub(start)).read_to_end(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

/// A message to be stored, with what was computed from it. Stored once per `hash`.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The bytes as received: without any trace field of ours.
    pub bytes: Bytes,
    /// BLAKE3 of the bytes.
    pub hash: [u8; 32],
    /// What was computed.
    pub parsed: Arc<Parsed>,
}

/// One change. See `Outcome` for what each answers.
#[derive(Clone, Debug)]
pub enum Change {
    /// An instance of a message enters a mailbox, by delivery or APPEND. → `Stored` or `Duplicate`
    Delivered(Box<Delivered>),
    /// Instances are copied; missing UIDs are skipped. → `Copied`
    Copied(Transfer),
    /// Instances change their mailbox: copied there and expunged here, in one step. → `Copied`
    Moved(Transfer),
    /// Flags and keywords change. \Seen in the list is the shared one. → `Flags`
    FlagsSet {
        /// Where.
        mailbox: MailboxId,
        /// Which; those missing are skipped.
        uids: UidSet,
        /// How.
        operation: FlagOperation,
        /// What.
        flags: FlagList,
        /// Messages changed after this are refused, each by itself; of a user's own \Seen, only
        /// that user's. What the same transaction changed does not count. RFC 7162 §3.1.3
        unchanged_since: Option<ModSeq>,
        /// Whose overlay counts for `unchanged_since`; `None` where \Seen is shared.
        viewer: Option<Login>,
    },
    /// A virtual mailbox shows what its sources are now. It changes in no other way. → `Done`
    Refreshed(Box<Refresh>),
    /// Flags and keywords change of the instances that this transaction has brought into a mailbox
    /// so far: what is copied cannot be named before. → `Flags`
    ArrivalsFlagged {
        /// Where.
        mailbox: MailboxId,
        /// How.
        operation: FlagOperation,
        /// What.
        flags: FlagList,
        /// Who has seen them from now on, in a mailbox with per-user \Seen.
        seen_by: Option<Login>,
    },
    /// All of these instances are still there, or else nothing of the transaction happens: a
    /// message takes the place of each. → `Done`; fails with `Outrun`
    Present {
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uids: UidSet,
    },
    /// All of these instances are still there and marked with \Deleted, or else nothing of the
    /// transaction happens: the mark may have been taken away since it was looked at. → `Done`;
    /// fails with `Outrun`
    StillDeleted {
        /// Where.
        mailbox: MailboxId,
        /// Which.
        uids: UidSet,
    },
    /// A user's own \Seen. → `Flags`
    SeenSet {
        /// Where.
        mailbox: MailboxId,
        /// Whose.
        user: Login,
        /// Which; those missing are skipped.
        uids: UidSet,
        /// Set or cleared.
        seen: bool,
        /// As in `FlagsSet`.
        unchanged_since: Option<ModSeq>,
    },
    /// Instances are removed for good. → `Expunged`
    Expunged {
        /// Where.
        mailbox: MailboxId,
        /// Which; those missing are skipped.
        uids: UidSet,
    },
    /// A mailbox is made. → `Created`; fails with `Exists`
    MailboxCreated {
        /// Whose.
        account: Account,
        /// Which.
        folder: Folder,
    },
    /// A mailbox, without those below it, gets another path. → `Done`; fails with `Exists`
    MailboxRenamed {
        /// Which.
        mailbox: MailboxId,
        /// Its new path in the same account.
        folder: Folder,
    },
    /// All instances of a mailbox go to one that is made for them in the same account; the emptied
    /// one stays. → `Created`; fails with `Exists`. RFC 3501 §6.3.5
    MailboxEmptied {
        /// Which.
        mailbox: MailboxId,
        /// Whose \Seen both keep.
        seen: SeenMode,
        /// The path of the new one.
        folder: Folder,
        /// Who does it.
        user: Login,
    },
    /// A mailbox and its instances are removed. → `Done`
    MailboxDeleted {
        /// Which.
        mailbox: MailboxId,
    },
    /// A user's choice of subscription. → `Done`
    Subscribed {
        /// Whose choice.
        user: Login,
        /// Which account.
        account: Account,
        /// Which folder; need not exist. RFC 3501 §6.3.6
        folder: Folder,
        /// Subscribed or not.
        subscribed: bool,
    },
    /// Something is noted about a mailbox or the server. → `Done`; fails with `Gone` and `Limit`
    MetadataSet {
        /// Whose note it is; `None`: everybody's.
        user: Option<Login>,
        /// What it is about.
        about: About,
        /// The entry's name, in lower case.
        entry: String,
        /// Its value; `None` removes it.
        value: Option<Arc<[u8]>>,
    },
    /// SETACL or DELETEACL by a super-admin. → `Done`
    Granted(Grant),
    /// A user has the next turn in an account: work is handed to them. → `Done`; fails with
    /// `Outrun` unless `number` follows the last turn there, so that of two who decide by the same
    /// turns one decides again.
    TurnTaken {
        /// In which account.
        account: Account,
        /// Whose turn it is.
        user: Login,
        /// One more than the highest of `Store::turns`.
        number: u64,
    },
    /// Previews of messages that are older than previews; one that is there stays. → `Done`
    PreviewsMade(Vec<(BlobId, String)>),
    /// A duplicate key that earlier changes of this transaction used suppresses repetitions for
    /// longer than a day; nothing happens if it did already. → `Done`
    KeyKept {
        /// Which.
        key: [u8; 32],
        /// For how long, from now; a day at least.
        secs: i64,
    },
    /// Something happens once in a time, on all nodes and across restarts. → `Done`, or `Duplicate`
    /// when it has happened already and its time is not over
    Once {
        /// What: a key of its own kind among the duplicate keys.
        key: [u8; 32],
        /// In how long, from now; a day at most.
        secs: i64,
    },
    /// Who may do what in an account is another than was known last. → `Done`
    AccessKnown(AccessKnown),
    /// A user is away until then, or (`None`) back. → `Done`
    AwaySet {
        /// Who.
        user: Login,
        /// From then on they are back.
        until: Option<Timestamp>,
    },
    /// A personal mailbox is opened to somebody else; a former end of the same is replaced.
    /// → `Done`
    GlassBroken {
        /// What, to whom, until when.
        opening: Opening,
        /// Why, for the audit log.
        reason: String,
    },
    /// It is closed again. → `Done`
    GlassMended {
        /// To whom it was open.
        user: Login,
        /// Whose it is.
        of: Login,
    },
    /// This directory is in force on all nodes from now on; the store adds the time, and keeps the
    /// first one's `salts`. → `Done`; fails with `Limit`
    DirectoryPublished(Box<Published>),
    /// A node begins a tenure of a duty, whose number nobody else has: whatever is fenced by
    /// another one fails from now on. → `Done`; fails with `Outrun` where another one has begun
    /// since it was looked at
    DutyTaken {
        /// Of which duty.
        duty: Duty,
        /// The last one before, as `Store::tenure` has it.
        after: Option<i64>,
        /// Its number.
        tenure: i64,
    },
    /// The transaction holds only while that tenure is the duty's last one. → `Done`; fails with
    /// `Outrun`
    Fenced {
        /// Of which duty.
        duty: Duty,
        /// Which tenure.
        tenure: i64,
    },
    /// The transaction holds only if that mailbox has not changed since it was looked at. → `Done`;
    /// fails with `Outrun`
    Expected {
        /// Which mailbox.
        mailbox: MailboxId,
        /// Its last ModSeq then.
        modseq: ModSeq,
    },
    /// Something is asked of the node that moves the queue; see `Store::watch_asks`. → `Done`;
    /// fails with `Limit`
    QueueAsked(Ask),
    /// It answers. → `Done`
    QueueAnswered {
        /// Which ask.
        id: i64,
        /// What became of it.
        answer: Result<Done, String>,
    },
    /// Something is to be told in the audit log that changes nothing else. → `Done`
    Noted(Box<Note>),
    /// A message is to go out to other servers. → `Queued` or `Duplicate`
    Queued(Box<NewQueued>),
    /// Recipients of a queued message have come further. With the last one that is `Done` the
    /// message leaves the queue; messages and recipients that are gone are skipped. → `Done`
    QueueUpdated {
        /// Which message.
        id: QueueId,
        /// Which of its recipients, and how; in this order.
        recipients: Vec<(u32, RecipientUpdate)>,
    },
    /// All mailboxes begin a new epoch: the store is not what it was any more, so that UIDs which
    /// clients know are given once more. Nothing else about them changes. → `Done`
    EpochsRenewed,
}

impl Change {
    /// The message that comes with it, and what suppresses a repetition.
    pub(super) fn brings(&self) -> Option<(&NewMessage, Option<[u8; 32]>)> {
        match self {
            Change::Delivered(delivered) => Some((&delivered.message, delivered.duplicate_key)),
            Change::Queued(new) => Some((&new.message, new.duplicate_key)),
            _ => None,
        }
    }

    /// The key by which an engine finds out whether the same was there before.
    pub(super) fn asks_for(&self) -> Option<[u8; 32]> {
        match self {
            Change::Once { key, .. } => Some(*key),
            change => change.brings().and_then(|(_, key)| key),
        }
    }
}

/// What `Change::MetadataSet` notes something about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum About {
    /// The server.
    Server,
    /// A mailbox.
    Mailbox(MailboxId),
    /// A mailbox that the same transaction may have made.
    Folder(Account, Folder),
}

/// See `Change::Delivered`.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Where to.
    pub mailbox: MailboxId,
    /// What.
    pub message: NewMessage,
    /// Return-Path, Delivered-To and Received as whole lines with CRLF; empty for APPEND.
    pub trace: Vec<u8>,
    /// Flags it has from the start; \Seen is the shared one.
    pub flags: FlagList,
    /// In a mailbox with per-user \Seen: who has seen it from the start.
    pub seen_by: Vec<Login>,
    /// INTERNALDATE.
    pub internal_date: Timestamp,
    /// What it belongs with; `None`: it begins a thread.
    pub thread: Option<ThreadId>,
    /// Suppresses a second instance of the same envelope and content within a day. The same key may
    /// stand at several deliveries of one transaction: one message for several mailboxes.
    pub duplicate_key: Option<[u8; 32]>,
}

/// See `Change::Copied` and `Change::Moved`.
///
/// \Seen goes along: between two per-user mailboxes of one account everybody's; otherwise that of
/// `user`, from and to whatever the two mailboxes keep.
#[derive(Clone, Debug)]
pub struct Transfer {
    /// From which mailbox.
    pub from: MailboxId,
    /// Whose \Seen `from` keeps.
    pub from_seen: SeenMode,
    /// Which instances; those missing are skipped.
    pub uids: UidSet,
    /// To which mailbox; may be `from` itself.
    pub to: MailboxId,
    /// Whose \Seen `to` keeps.
    pub to_seen: SeenMode,
    /// Who does it.
    pub user: Login,
}

/// How `Change::FlagsSet` combines. RFC 3501 §6.4.6
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlagOperation {
    /// FLAGS: exactly these, among those that `keep` does not protect.
    Replace {
        /// Flags that stay as they are, set or not: the user may not change them.
        keep: crate::mail::flag::SystemFlags,
    },
    /// +FLAGS
    Add,
    /// -FLAGS
    Remove,
}

/// A right given or taken by SETACL: the level replaces what the directory says for that user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// On which inbox or channel.
    pub account: Account,
    /// To whom.
    pub user: Login,
    /// The letters of RFC 4314 (empty: nothing at all); `None`: the directory decides again.
    pub rights: Option<String>,
}

/// A personal mailbox that somebody else may read for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opening {
    /// Who may read it.
    pub user: Login,
    /// Whose it is.
    pub of: Login,
    /// Until when.
    pub until: Timestamp,
}

/// Users who are away, each until then.
pub type Absences = BTreeMap<Login, Timestamp>;

/// Each user's rights, as `directory::Rights` writes them; who has none is missing.
pub type UsersRights = BTreeMap<Login, String>;

/// See `Change::AccessKnown`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccessKnown {
    /// In which inbox or channel.
    pub account: Account,
    /// All that holds now.
    pub rights: UsersRights,
    /// What of it goes into the audit log: who has which rights now, and which before; empty for
    /// none.
    pub told: Vec<(Login, String, String)>,
}

/// What a commit did: one outcome per change, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Receipt {
    /// As many as there were changes.
    pub outcomes: Vec<Outcome>,
}

/// What one change did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The instance exists.
    Stored {
        /// Its UID.
        uid: Uid,
        /// The mailbox's epoch.
        uid_validity: UidValidity,
    },
    /// This duplicate key was used within the last day: nothing was done.
    Duplicate,
    /// Instances were copied or moved.
    Copied {
        /// The target's epoch.
        uid_validity: UidValidity,
        /// Old and new UID of each, ascending.
        pairs: Vec<(Uid, Uid)>,
    },
    /// Flags were changed.
    Flags {
        /// Those that `unchanged_since` refused.
        refused: UidSet,
    },
    /// Instances were removed.
    Expunged {
        /// Those that existed.
        uids: UidSet,
    },
    /// The mailbox exists now.
    Created(MailboxId),
    /// The message is queued.
    Queued(QueueId),
    /// Nothing more to say.
    Done,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_read_by_ranges_wherever_they_are() {
        let path = std::env::temp_dir().join(format!("postfach-bytes-{}", std::process::id()));
        std::fs::write(&path, b"0123456789 and more").expect("a file");
        let in_file = Bytes::File { path: path.clone(), len: 10 };
        for bytes in [in_file, Bytes::Memory(Arc::new(b"0123456789".to_vec()))] {
            let read = |range| bytes.read(range).expect("reads");
            assert_eq!(read(0..10), b"0123456789");
            assert_eq!(read(3..5), b"34");
            assert_eq!(read(8..99), b"89");
            assert!(read(99..199).is_empty());
        }
        std::fs::remove_file(path).expect("is there");
    }
}
