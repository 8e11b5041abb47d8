//! Every command in a row: where it is allowed, whether EXPUNGE may follow it, which capability it
//! belongs to. Dispatch looks nowhere else.

use crate::imap::Numbering;
use crate::imap::view::Expunge;

/// In which states a command is allowed. RFC 3501 §3
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Allowed {
    /// Always.
    Any,
    /// Before login only.
    NotAuthenticated,
    /// After login, with a mailbox selected or not.
    Authenticated,
    /// With a mailbox selected only.
    Selected,
}

/// What a command is.
#[allow(missing_docs)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verb {
    Capability,
    Noop,
    Logout,
    Id,
    StartTls,
    Authenticate,
    Login,
    Unauthenticate,
    Compress,
    Enable,
    Namespace,
    Idle,
    Notify,
    List,
    Lsub,
    Subscribe,
    Unsubscribe,
    Create,
    Delete,
    Rename,
    Status,
    GetAcl,
    MyRights,
    ListRights,
    SetAcl,
    DeleteAcl,
    GetQuota,
    GetQuotaRoot,
    GetMetadata,
    SetMetadata,
    Append,
    Replace,
    Select,
    Examine,
    Check,
    Close,
    Unselect,
    Expunge,
    Search,
    ESearch,
    Sort,
    Thread,
    CancelUpdate,
    Fetch,
    Store,
    Copy,
    Move,
}

/// One command.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name, `UID` included.
    pub name: &'static str,
    /// Which it is.
    pub verb: Verb,
    /// Where it is allowed.
    pub allowed: Allowed,
    /// How it names messages.
    pub numbering: Numbering,
    /// Whether untagged EXPUNGE may be sent before its tagged answer. RFC 3501 §7.4.1;
    /// deliberately not behind COPY either, which can be a move (`states`): who has no MOVE marks
    /// the original by its number next, and no other message may have got that number.
    pub expunge: Expunge,
    /// The capability that it belongs to; unknown when that is switched off.
    pub capability: Option<&'static str>,
    /// Where it is defined.
    pub rfc: &'static str,
}

const fn row(name: &'static str, verb: Verb, allowed: Allowed, rfc: &'static str) -> Row {
    let (numbering, expunge) = (Numbering::Sequence, Expunge::Allowed);
    Row { name, verb, allowed, numbering, expunge, capability: None, rfc }
}

impl Row {
    const fn of(mut self, capability: &'static str) -> Row {
        self.capability = Some(capability);
        self
    }

    const fn by_uid(mut self) -> Row {
        self.numbering = Numbering::Uid;
        self
    }

    const fn holding_expunge(mut self) -> Row {
        self.expunge = Expunge::Held;
        self
    }
}

use Allowed::{Any, Authenticated, NotAuthenticated, Selected};

/// All commands.
pub const COMMANDS: [Row; 56] = [
    row("CAPABILITY", Verb::Capability, Any, "RFC 3501 §6.1.1"),
    row("NOOP", Verb::Noop, Any, "RFC 3501 §6.1.2"),
    row("LOGOUT", Verb::Logout, Any, "RFC 3501 §6.1.3"),
    row("ID", Verb::Id, Any, "RFC 2971 §3.1").of("ID"),
    row("STARTTLS", Verb::StartTls, NotAuthenticated, "RFC 3501 §6.2.1"),
    row("AUTHENTICATE", Verb::Authenticate, NotAuthenticated, "RFC 3501 §6.2.2"),
    row("LOGIN", Verb::Login, NotAuthenticated, "RFC 3501 §6.2.3"),
    row("UNAUTHENTICATE", Verb::Unauthenticate, Authenticated, "RFC 8437 §3").of("UNAUTHENTICATE"),
    row("COMPRESS", Verb::Compress, Authenticated, "RFC 4978 §3").of("COMPRESS=DEFLATE"),
    row("ENABLE", Verb::Enable, Authenticated, "RFC 5161 §3.1").of("ENABLE"),
    row("NAMESPACE", Verb::Namespace, Authenticated, "RFC 2342 §5").of("NAMESPACE"),
    row("IDLE", Verb::Idle, Authenticated, "RFC 2177 §3").of("IDLE"),
    row("NOTIFY", Verb::Notify, Authenticated, "RFC 5465 §3.1").of("NOTIFY"),
    row("LIST", Verb::List, Authenticated, "RFC 5258 §3"),
    row("LSUB", Verb::Lsub, Authenticated, "RFC 3501 §6.3.9"),
    row("SUBSCRIBE", Verb::Subscribe, Authenticated, "RFC 3501 §6.3.6"),
    row("UNSUBSCRIBE", Verb::Unsubscribe, Authenticated, "RFC 3501 §6.3.7"),
    row("CREATE", Verb::Create, Authenticated, "RFC 3501 §6.3.3"),
    row("DELETE", Verb::Delete, Authenticated, "RFC 3501 §6.3.4"),
    row("RENAME", Verb::Rename, Authenticated, "RFC 3501 §6.3.5"),
    row("STATUS", Verb::Status, Authenticated, "RFC 3501 §6.3.10"),
    row("GETACL", Verb::GetAcl, Authenticated, "RFC 4314 §3.3").of("ACL"),
    row("MYRIGHTS", Verb::MyRights, Authenticated, "RFC 4314 §3.5").of("ACL"),
    row("LISTRIGHTS", Verb::ListRights, Authenticated, "RFC 4314 §3.4").of("ACL"),
    row("SETACL", Verb::SetAcl, Authenticated, "RFC 4314 §3.1").of("ACL"),
    row("DELETEACL", Verb::DeleteAcl, Authenticated, "RFC 4314 §3.2").of("ACL"),
    row("GETQUOTA", Verb::GetQuota, Authenticated, "RFC 9208 §4.1.1").of("QUOTA"),
    row("GETQUOTAROOT", Verb::GetQuotaRoot, Authenticated, "RFC 9208 §4.1.2").of("QUOTA"),
    row("GETMETADATA", Verb::GetMetadata, Authenticated, "RFC 5464 §4.2").of("METADATA"),
    row("SETMETADATA", Verb::SetMetadata, Authenticated, "RFC 5464 §4.3").of("METADATA"),
    row("APPEND", Verb::Append, Authenticated, "RFC 3501 §6.3.11"),
    row("SELECT", Verb::Select, Authenticated, "RFC 3501 §6.3.1"),
    row("EXAMINE", Verb::Examine, Authenticated, "RFC 3501 §6.3.2"),
    row("CHECK", Verb::Check, Selected, "RFC 3501 §6.4.1"),
    row("CLOSE", Verb::Close, Selected, "RFC 3501 §6.4.2"),
    row("UNSELECT", Verb::Unselect, Selected, "RFC 3691 §2").of("UNSELECT"),
    row("EXPUNGE", Verb::Expunge, Selected, "RFC 3501 §6.4.3"),
    row("UID EXPUNGE", Verb::Expunge, Selected, "RFC 4315 §2.1").by_uid().of("UIDPLUS"),
    row("SEARCH", Verb::Search, Selected, "RFC 3501 §6.4.4").holding_expunge(),
    row("UID SEARCH", Verb::Search, Selected, "RFC 3501 §6.4.8").by_uid(),
    row("ESEARCH", Verb::ESearch, Authenticated, "RFC 7377 §2").by_uid().of("MULTISEARCH"),
    row("SORT", Verb::Sort, Selected, "RFC 5256 §3").holding_expunge().of("SORT"),
    row("UID SORT", Verb::Sort, Selected, "RFC 5256 §3").by_uid().of("SORT"),
    row("THREAD", Verb::Thread, Selected, "RFC 5256 §3").holding_expunge(),
    row("UID THREAD", Verb::Thread, Selected, "RFC 5256 §3").by_uid(),
    row("CANCELUPDATE", Verb::CancelUpdate, Selected, "RFC 5267 §4.3.5").of("CONTEXT=SEARCH"),
    row("FETCH", Verb::Fetch, Selected, "RFC 3501 §6.4.5").holding_expunge(),
    row("UID FETCH", Verb::Fetch, Selected, "RFC 3501 §6.4.8").by_uid(),
    row("STORE", Verb::Store, Selected, "RFC 3501 §6.4.6").holding_expunge(),
    row("UID STORE", Verb::Store, Selected, "RFC 3501 §6.4.8").by_uid(),
    row("COPY", Verb::Copy, Selected, "RFC 3501 §6.4.7").holding_expunge(),
    row("UID COPY", Verb::Copy, Selected, "RFC 3501 §6.4.8").by_uid(),
    row("MOVE", Verb::Move, Selected, "RFC 6851 §3.1").of("MOVE"),
    row("UID MOVE", Verb::Move, Selected, "RFC 6851 §3.2").by_uid().of("MOVE"),
    row("REPLACE", Verb::Replace, Selected, "RFC 8508 §3.2").of("REPLACE"),
    row("UID REPLACE", Verb::Replace, Selected, "RFC 8508 §3.3").by_uid().of("REPLACE"),
];

/// The row of a command by its name, in any case.
pub fn find(name: &str) -> Option<&'static Row> {
    COMMANDS.iter().find(|row| row.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_messages_by_sequence_number_holds_expunge_back() {
        let held: Vec<_> = COMMANDS.iter().filter(|r| r.expunge == Expunge::Held).collect();
        let names: Vec<_> = held.iter().map(|r| r.name).collect();
        assert_eq!(names, ["SEARCH", "SORT", "THREAD", "FETCH", "STORE", "COPY"]);
    }

    #[test]
    fn commands_are_found_in_any_case_and_once() {
        assert_eq!(find("uid Fetch").map(|r| r.numbering), Some(Numbering::Uid));
        assert!(find("UID").is_none());
        for row in &COMMANDS {
            assert_eq!(COMMANDS.iter().filter(|r| r.name == row.name).count(), 1, "{}", row.name);
        }
    }
}
