//! Where the messages of the selected mailbox lie: what a command does to them is done there, with
//! the rights that the user has there.

use std::sync::Arc;

use super::Call;
use crate::directory::Rights;
use crate::imap::Selected;
use crate::mail::account::Account;
use crate::mail::flag::SeenMode;
use crate::mail::uid_set::UidSet;
use crate::store::Mailbox;
use crate::store::change::Transfer;

/// Messages that lie in one mailbox.
#[derive(Clone)]
pub(super) struct Share {
    /// Which mailbox.
    pub(super) mailbox: Arc<Mailbox>,
    /// What the user may do there.
    pub(super) rights: Rights,
    /// Whose \Seen it keeps.
    pub(super) seen: SeenMode,
    /// Which of its messages.
    pub(super) uids: UidSet,
}

/// Where `uids` of the selected mailbox lie; nothing, when there are none.
pub(super) fn shares(selected: &Selected, uids: &UidSet) -> Vec<Share> {
    if uids.is_empty() {
        return Vec::new();
    }
    vec![Share {
        mailbox: selected.mailbox.clone(),
        rights: selected.rights,
        seen: selected.seen,
        uids: uids.clone(),
    }]
}

impl Share {
    /// Whether it belongs to a team: an inbox or a channel.
    pub(super) fn is_team(&self) -> bool {
        !matches!(self.mailbox.account, Account::User(_))
    }

    /// Whether the user may take messages away.
    pub(super) fn may_be_left(&self) -> bool {
        self.rights.has('e') && self.rights.has('t')
    }

    /// Its messages, on their way to a mailbox that keeps \Seen as `to_seen` says.
    pub(super) fn transfer(
        &self,
        call: &Call<'_, '_>,
        (to, to_seen): (crate::mail::id::MailboxId, SeenMode),
    ) -> Transfer {
        Transfer {
            from: self.mailbox.id,
            from_seen: self.seen,
            uids: self.uids.clone(),
            to,
            to_seen,
            user: call.session.user.clone(),
        }
    }
}
