//! What a client wants to be told of its selected mailbox unasked, once it has said so by NOTIFY.
//! What it does not want stays as the client believes it to be, until it asks. RFC 5465 §6.1

use std::sync::Arc;

use super::{Expunge, View};
use crate::imap::fetch::item::Request;
use crate::imap::fetch::write::Beyond;
use crate::mail::uid_set::UidSet;
use crate::store::overlay::Overlay;
use crate::store::snapshot::Snapshot;

/// What is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wishes {
    /// How much.
    pub scope: Scope,
    /// Whether EXPUNGE may come between commands. RFC 5465 §6.1.2
    pub expunge: Expunge,
    /// What is shown of new messages at once. RFC 5465 §5.2
    pub new: Option<Request>,
}

/// Which changes of the selected mailbox are told. RFC 5465 §8 `message-event`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// None: the client keeps the mailbox as it was.
    Nothing,
    /// New messages, and those that are gone.
    Messages,
    /// Flags, too.
    Everything,
}

/// The wishes, and what was not told because of them.
#[derive(Clone, Debug)]
pub(super) struct Heeded {
    wishes: Arc<Wishes>,
    /// How UTF-8 is written to the client.
    beyond: Beyond,
    /// The flags that the client has been told, while it does not want to be told of others.
    pub(super) behind: Option<(Arc<Snapshot>, Arc<Overlay>)>,
    /// A command of the client's own removes messages: that it is told, and with it what is new.
    asked: Asked,
    /// Messages that the client has put there itself, and not been told of.
    own: UidSet,
}

/// Whether what is new is told once, whatever the client wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Yes,
    No,
}

impl View {
    /// From now on the client is told what it wants; `None`: everything, when a command ends.
    pub fn heed(&mut self, wishes: Option<(Arc<Wishes>, Beyond)>) {
        if wishes.is_none() && self.extras.is_none() {
            return;
        }
        let extras = self.extras.get_or_insert_default();
        let behind = extras.heeded.take().and_then(|heeded| heeded.behind);
        extras.heeded = wishes.map(|(wishes, beyond)| {
            let (asked, own) = (Asked::No, UidSet::new());
            Heeded { wishes, beyond, behind, asked, own }
        });
    }

    /// What is told now.
    pub fn scope(&self) -> Scope {
        match self.heeded() {
            Some(heeded) if heeded.asked == Asked::Yes => Scope::Messages.max(heeded.wishes.scope),
            Some(heeded) => heeded.wishes.scope,
            None => Scope::Everything,
        }
    }

    /// The command that is carried out removes messages: its client is told so.
    pub fn ask(&mut self) {
        self.heeded_mut().for_each(|heeded| heeded.asked = Asked::Yes);
    }

    /// The client itself has put messages here: they are not shown unasked. RFC 5465 §5.2
    pub fn put_there(&mut self, uids: &UidSet) {
        self.heeded_mut().for_each(|heeded| heeded.own = heeded.own.union(uids));
    }

    fn heeded(&self) -> Option<&Heeded> {
        self.extras.as_ref()?.heeded.as_ref()
    }

    fn heeded_mut(&mut self) -> impl Iterator<Item = &mut Heeded> {
        self.extras.iter_mut().flat_map(|extras| &mut extras.heeded)
    }

    /// Whether flags have changed that the client is told from now on.
    pub(super) fn is_behind(&self) -> bool {
        let behind = self.heeded().is_some_and(|heeded| heeded.behind.is_some());
        behind && self.scope() == Scope::Everything
    }

    /// The flags that the client has been told, if it is told of others now.
    pub(super) fn flags_told(&mut self) -> (Arc<Snapshot>, Arc<Overlay>) {
        let now = (self.told.clone(), self.overlay.clone());
        let scope = self.scope();
        let Some(heeded) = self.heeded_mut().next() else { return now };
        heeded.asked = Asked::No;
        match scope {
            Scope::Everything => heeded.behind.take().unwrap_or(now),
            Scope::Nothing | Scope::Messages => {
                heeded.behind.get_or_insert_with(|| now.clone());
                now
            }
        }
    }

    /// Of messages that have just been announced, those that are shown, and how.
    pub(super) fn shown_unasked(&mut self, added: &UidSet) -> Option<Unasked> {
        let heeded = self.heeded_mut().next()?;
        let own = std::mem::take(&mut heeded.own);
        let uids = added.without(&own);
        let request = heeded.wishes.new.clone();
        Some(Unasked { request, uids, beyond: heeded.beyond })
    }
}

/// New messages that are shown without a FETCH.
pub(super) struct Unasked {
    /// What is shown of each; nothing, where only searches show something.
    pub(super) request: Option<Request>,
    pub(super) uids: UidSet,
    pub(super) beyond: Beyond,
}

impl Scope {
    fn max(self, other: Scope) -> Scope {
        if other == Scope::Nothing { self } else { other }
    }
}
