//! `Mine` and `All open` as a session has them: what they show, and that it is shown as it is now.
//! The rest of `imap` finds an ordinary mailbox; what is done to its messages is done where they
//! lie (`command/share`).

use std::sync::Arc;

use super::{Context, Session};
use crate::conversation::across;
use crate::mail::id::Login;
use crate::mail::uid_set::UidSet;
use crate::store::mirror::{self, Refresh, Source};
use crate::store::{Mailbox, StoreError};

/// What a virtual mailbox shows to the session's user; `None`: it is an ordinary mailbox.
pub fn sources(context: &Context, session: &Session, mailbox: &Mailbox) -> Option<Arc<[Source]>> {
    let role = mailbox.virtual_role()?;
    Some(across::sources(&*context.store, &session.directory, (&session.user, role)))
}

/// To be called before the state of a mailbox is asked for: brings a virtual one forward.
pub async fn freshen(
    context: &Context,
    session: &Session,
    mailbox: &Mailbox,
) -> Result<(), StoreError> {
    let Some(sources) = sources(context, session, mailbox) else { return Ok(()) };
    mirror::bring_forward(&*context.store, refresh(mailbox, &session.user, sources)).await
}

/// A step forward that gives no message a new UID.
pub fn refresh(mailbox: &Mailbox, user: &Login, sources: Arc<[Source]>) -> Refresh {
    Refresh { mailbox: mailbox.id, user: user.clone(), sources, renewed: UidSet::new() }
}
