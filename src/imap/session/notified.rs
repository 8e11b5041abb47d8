//! What a session tells unasked: while its client waits, and of mailboxes that are not selected.
//! RFC 5465

use std::sync::Arc;

use super::{Dialogue, Next, State};
use crate::imap::notify::Overflow;
use crate::imap::output::Output;
use crate::imap::view::{self, Expunge};
use crate::imap::{Refusal, Selected, Session};
use crate::store::bell::Bell;

impl Dialogue {
    /// What rings when something may have to be told while no command runs; `None`: nothing is.
    pub fn bell(&self) -> Option<Arc<Bell>> {
        let (State::Authenticated(session) | State::Selected(session, _)) = &self.state else {
            return None;
        };
        let notify = session.notify.as_ref()?;
        notify.is_told_between_commands().then(|| notify.bell())
    }

    /// Tells what is new while no command runs. RFC 5465 §3.1
    pub async fn notified(&mut self, out: &mut Output<'_>) -> Next {
        let expunge = match self.parts() {
            Some((session, _)) => session.notify.as_ref().and_then(|notify| notify.wishes()),
            None => return Next::Command,
        };
        let expunge = expunge.map_or(Expunge::Held, |wishes| wishes.expunge);
        self.tell_unasked(expunge, out).await
    }

    pub(super) async fn tell_unasked(&mut self, expunge: Expunge, out: &mut Output<'_>) -> Next {
        self.check_selected(out);
        self.attach_selected();
        let mut told = Ok(());
        if let State::Selected(session, selected) = &mut self.state {
            selected.follow_condstore(session, out);
            told = view::updates_unasked(&self.context, selected, out, expunge).await;
        }
        if told != Err(Refusal::Disconnected) {
            told = self.tell_of_others(out).await;
        }
        match told {
            Err(Refusal::Disconnected) => Next::Close,
            // the store will answer again, or the next command says that it does not
            Err(_) | Ok(()) => Next::Command,
        }
    }

    /// What changes in the selected mailbox from now on rings; what the client has put there itself
    /// is known.
    pub(super) fn attach_selected(&mut self) {
        let context = self.context.clone();
        let Some((session, selected)) = self.parts() else { return };
        let Some(notify) = &mut session.notify else { return };
        notify.attach(&context, selected.as_ref().map(|selected| selected.mailbox.id));
        if let Some(selected) = selected {
            let own = notify.put_into(selected.mailbox.id);
            selected.view.put_there(&own);
        }
    }

    /// Tells what is new elsewhere.
    pub(super) async fn tell_of_others(&mut self, out: &mut Output<'_>) -> Result<(), Refusal> {
        let context = self.context.clone();
        let Some((session, selected)) = self.parts() else { return Ok(()) };
        let Some(mut notify) = session.notify.take() else { return Ok(()) };
        let told = notify.tell((&context, session, selected.as_deref()), out).await;
        let is_over = told == Ok(Overflow::Yes);
        session.notify = Some(notify);
        // what was too much is not told of the selected mailbox either
        if let Some(selected) = selected.filter(|_| is_over) {
            selected.heed(session);
        }
        told?;
        Ok(out.flush_if_full().await?)
    }

    fn parts(&mut self) -> Option<(&mut Session, Option<&mut Selected>)> {
        match &mut self.state {
            State::Authenticated(session) => Some((session, None)),
            State::Selected(session, selected) => Some((session, Some(selected))),
            State::NotAuthenticated | State::Logout => None,
        }
    }
}
