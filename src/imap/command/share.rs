//! Where the messages of the selected mailbox lie: what a command does to them is done there, with
//! the rights that the user has there. Those of an ordinary mailbox lie in itself.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Call;
use crate::directory::{Rights, rights};
use crate::imap::{Selected, seen_mode};
use crate::mail::account::Account;
use crate::mail::flag::SeenMode;
use crate::mail::id::{MailboxId, ModSeq, Uid};
use crate::mail::uid_set::UidSet;
use crate::store::Mailbox;
use crate::store::change::Transfer;
use crate::store::mirror::{Mirror, Origin};

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
    /// Where the selected mailbox is a virtual one: which is which.
    pub(super) mirror: Option<Arc<Mirror>>,
}

/// Where `uids` of the selected mailbox lie, as far as the client has been told of them; nothing,
/// when there are none.
pub(super) fn shares(call: &Call<'_, '_>, selected: &Selected, uids: &UidSet) -> Vec<Share> {
    if selected.sources.is_some() {
        return elsewhere(call, selected, uids);
    }
    let share = Share {
        mailbox: selected.mailbox.clone(),
        rights: selected.rights,
        seen: selected.seen,
        uids: uids.clone(),
        mirror: None,
    };
    if uids.is_empty() { Vec::new() } else { vec![share] }
}

fn elsewhere(call: &Call<'_, '_>, selected: &Selected, uids: &UidSet) -> Vec<Share> {
    let told = selected.view.told();
    let Some(mirror) = &told.mirror else { return Vec::new() };
    let mut places: BTreeMap<MailboxId, UidSet> = BTreeMap::new();
    for entry in told.entries_in(uids) {
        if let Some(origin) = mirror.origin(entry.uid) {
            places.entry(origin.mailbox).or_default().insert(origin.uid);
        }
    }
    let directory = &call.session.directory;
    let share = |(id, uids): (MailboxId, UidSet)| {
        let mailbox = call.context.store.mailbox(id)?;
        let rights = rights(directory, &call.session.user, &mailbox.account);
        let seen = seen_mode(directory, &mailbox.account);
        let mirror = Some(mirror.clone());
        rights.has('r').then_some(Share { mailbox, rights, seen, uids, mirror })
    };
    places.into_iter().filter_map(share).collect()
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

    /// The selected mailbox's UID of a message.
    pub(super) fn own(&self, uid: Uid) -> Option<Uid> {
        match &self.mirror {
            Some(mirror) => mirror.own(Origin { mailbox: self.mailbox.id, uid }),
            None => Some(uid),
        }
    }

    /// What is the same condition where the messages lie, of which none has changed since `since`
    /// by the selected mailbox's count. RFC 7162 §3.1.3
    pub(super) fn unchanged_since(&self, since: ModSeq) -> ModSeq {
        match &self.mirror {
            Some(mirror) => mirror.shown_up_to(self.mailbox.id),
            None => since,
        }
    }

    /// Its messages, on their way to a mailbox that keeps \Seen as `to_seen` says.
    pub(super) fn transfer(
        &self,
        call: &Call<'_, '_>,
        (to, to_seen): (MailboxId, SeenMode),
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
