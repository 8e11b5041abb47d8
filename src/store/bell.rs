//! One wait for many mailboxes. A session that watches hundreds of them has one bell; each change
//! rings those that it concerns, and says which mailbox it was, not what. So it cannot overflow:
//! who wakes late finds each mailbox once and asks the store how it is now.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;

use crate::mail::id::{Login, MailboxId};

/// Rings while nobody listens are remembered.
#[derive(Debug)]
pub struct Bell {
    user: Login,
    rung: Mutex<Rung>,
    waiter: Notify,
}

/// What has changed since the bell was looked at last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rung {
    /// These mailboxes, among those to which the bell is attached.
    pub mailboxes: BTreeSet<MailboxId>,
    /// Which mailboxes there are, what they are called, or to what the user has subscribed.
    pub names: Names,
    /// What is noted somewhere, by the user or for everybody.
    pub notes: Notes,
}

/// Whether names may have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Names {
    /// They are as they were.
    #[default]
    Same,
    /// Some may be others.
    Changed,
}

/// Whether notes may have changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Notes {
    /// They are as they were.
    #[default]
    Same,
    /// Some may be others.
    Changed,
}

impl Bell {
    /// A bell that hangs nowhere yet, for a session of `user`.
    pub fn new(user: Login) -> Arc<Bell> {
        Arc::new(Bell { user, rung: Mutex::default(), waiter: Notify::new() })
    }

    /// Waits until something has changed since the last `take`.
    pub async fn rings(&self) {
        loop {
            let waiting = self.waiter.notified();
            if *self.rung() != Rung::default() {
                return;
            }
            waiting.await;
        }
    }

    /// What has changed since the last call.
    pub fn take(&self) -> Rung {
        std::mem::take(&mut *self.rung())
    }

    fn ring(&self, change: impl FnOnce(&mut Rung)) {
        change(&mut self.rung());
        self.waiter.notify_one();
    }

    fn rung(&self) -> MutexGuard<'_, Rung> {
        self.rung.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where bells hang. One that is dropped is forgotten when it should ring, or when the list that it
/// hangs in would have to grow.
#[derive(Debug, Default)]
pub(super) struct Belfry {
    by_mailbox: HashMap<MailboxId, Vec<Weak<Bell>>>,
    all: Vec<Weak<Bell>>,
}

impl Belfry {
    /// Hangs up a bell: it rings for changes of names and notes.
    pub(super) fn hang(&mut self, bell: &Arc<Bell>) {
        push(&mut self.all, bell);
    }

    /// The bell rings for this mailbox from now on.
    pub(super) fn attach(&mut self, bell: &Arc<Bell>, mailbox: MailboxId) {
        push(self.by_mailbox.entry(mailbox).or_default(), bell);
    }

    /// The mailbox has changed.
    pub(super) fn mailbox_changed(&mut self, mailbox: MailboxId) {
        let Some(bells) = self.by_mailbox.get_mut(&mailbox) else { return };
        bells.retain(|bell| match bell.upgrade() {
            Some(bell) => {
                bell.ring(|rung| rung.mailboxes.extend([mailbox]));
                true
            }
            None => false,
        });
        if bells.is_empty() {
            self.by_mailbox.remove(&mailbox);
        }
    }

    /// Any mailbox may be another, and so may names and notes.
    pub(super) fn everything_changed(&mut self) {
        let mailboxes: Vec<MailboxId> = self.by_mailbox.keys().copied().collect();
        mailboxes.into_iter().for_each(|mailbox| self.mailbox_changed(mailbox));
        self.names_changed();
        self.notes_changed(None);
    }

    /// The mailbox is gone.
    pub(super) fn forget(&mut self, mailbox: MailboxId) {
        self.by_mailbox.remove(&mailbox);
    }

    /// Mailboxes were made, renamed or deleted; rights have changed.
    pub(super) fn names_changed(&mut self) {
        self.ring_all(|_| true, |rung| rung.names = Names::Changed);
    }

    /// A user has subscribed to something, or not any more.
    pub(super) fn subscriptions_changed(&mut self, user: &Login) {
        self.ring_all(|bell| bell.user == *user, |rung| rung.names = Names::Changed);
    }

    /// A user has noted something, or somebody for everybody (`None`).
    pub(super) fn notes_changed(&mut self, user: Option<&Login>) {
        let concerns = |bell: &Bell| user.is_none_or(|user| bell.user == *user);
        self.ring_all(concerns, |rung| rung.notes = Notes::Changed);
    }

    fn ring_all(&mut self, concerns: impl Fn(&Bell) -> bool, change: impl Fn(&mut Rung)) {
        self.all.retain(|bell| {
            let bell = bell.upgrade();
            bell.iter().filter(|bell| concerns(bell)).for_each(|bell| bell.ring(&change));
            bell.is_some()
        });
    }
}

fn push(bells: &mut Vec<Weak<Bell>>, bell: &Arc<Bell>) {
    if bells.len() == bells.capacity() {
        bells.retain(|bell| bell.strong_count() > 0);
    }
    bells.push(Arc::downgrade(bell));
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: MailboxId = MailboxId(1);
    const TWO: MailboxId = MailboxId(2);

    #[test]
    fn a_bell_rings_for_what_it_is_attached_to_and_says_it_once() {
        let mut belfry = Belfry::default();
        let bell = Bell::new(Login::new("anna"));
        belfry.hang(&bell);
        belfry.attach(&bell, ONE);
        belfry.mailbox_changed(TWO);
        belfry.subscriptions_changed(&Login::new("ben"));
        assert_eq!(bell.take(), Rung::default());
        belfry.mailbox_changed(ONE);
        belfry.mailbox_changed(ONE);
        belfry.notes_changed(None);
        let rung = bell.take();
        assert_eq!(rung.mailboxes.into_iter().collect::<Vec<_>>(), [ONE]);
        assert_eq!((rung.names, rung.notes), (Names::Same, Notes::Changed));
        belfry.subscriptions_changed(&Login::new("anna"));
        assert_eq!(bell.take().names, Names::Changed);
        assert_eq!(bell.take(), Rung::default());
        belfry.everything_changed();
        let rung = bell.take();
        assert!(rung.mailboxes.contains(&ONE) && rung.names == Names::Changed);
    }

    #[test]
    fn bells_that_are_dropped_leave_nothing_behind() {
        let mut belfry = Belfry::default();
        for _ in 0..1000 {
            let bell = Bell::new(Login::new("anna"));
            belfry.hang(&bell);
            belfry.attach(&bell, ONE);
        }
        assert!(belfry.all.len() < 16 && belfry.by_mailbox[&ONE].len() < 16);
        belfry.mailbox_changed(ONE);
        belfry.names_changed();
        assert!(belfry.all.is_empty() && belfry.by_mailbox.is_empty());
    }

    #[tokio::test]
    async fn a_ring_before_the_wait_ends_it_at_once() {
        let mut belfry = Belfry::default();
        let bell = Bell::new(Login::new("anna"));
        belfry.attach(&bell, ONE);
        belfry.mailbox_changed(ONE);
        bell.rings().await;
        bell.take();
        let waiting = tokio::spawn({
            let bell = bell.clone();
            async move { bell.rings().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        belfry.mailbox_changed(ONE);
        waiting.await.expect("it rang");
    }
}
