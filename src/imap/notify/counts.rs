//! The counts of a watched mailbox, told by STATUS when they are others than the client knows.
//! RFC 5465 §5.1, §5.2, §5.3

use std::sync::Arc;

use super::Told;
use super::own::{Own, put_into};
use super::request::{self, Events};
use crate::imap::command::list;
use crate::imap::command::status::{Item, written};
use crate::imap::hierarchy::{Kind, Node};
use crate::imap::output::Output;
use crate::imap::view::View;
use crate::imap::{Refusal, Session, seen_mode, virtual_mailbox};
use crate::mail::flag::SeenMode;
use crate::mail::id::{ModSeq, Uid};
use crate::store::snapshot::Snapshot;
use crate::store::{Mailbox, Status};

/// A mailbox that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) mailbox: Arc<Mailbox>,
    name: String,
    events: Events,
    seen: SeenMode,
    access: Access,
    known: Known,
}

/// What the user may do, as far as it counts here. RFC 5465 §5
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    /// See it and read it.
    Readable,
    /// See only that it is there.
    Visible,
}

/// Since when the counts of a mailbox are watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Since {
    /// What has changed has rung.
    Before,
    /// What there is has to be told.
    Now,
}

/// What the client knows of a mailbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Known {
    messages: u32,
    unseen: u32,
    uid_next: Uid,
    modseq: ModSeq,
}

impl Known {
    const NOTHING: Known = Known { messages: 0, unseen: 0, uid_next: Uid(1), modseq: ModSeq(1) };

    fn of(status: &Status) -> Known {
        Known {
            messages: status.messages,
            unseen: status.unseen,
            uid_next: status.uid_next,
            modseq: status.highest_modseq,
        }
    }
}

/// What has happened in a mailbox, for one user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum News {
    Nothing,
    /// Flags are others, or the user's own \Seen.
    Flags,
    /// Messages have come or gone.
    Messages,
}

impl Watched {
    /// A mailbox that is of interest, of which the client knows nothing.
    pub(super) fn of(session: &Session, node: &Node, events: Events) -> Option<Watched> {
        let Kind::Mailbox(named) = &node.kind else { return None };
        let access = if named.rights.has('r') { Access::Readable } else { Access::Visible };
        Some(Watched {
            mailbox: named.mailbox.clone(),
            name: node.name.clone(),
            events,
            seen: seen_mode(&session.directory, &named.mailbox.account),
            access,
            known: Known::NOTHING,
        })
    }

    /// Whether its messages are of interest, and may be read.
    pub(super) fn is_counted(&self) -> bool {
        let counted = Events::MESSAGES.and(Events::FLAGS);
        self.events.any(counted) && self.access == Access::Readable
    }

    /// It was watched before, perhaps under another name and with other rights.
    pub(super) fn follows(
        &mut self,
        told: Told<'_>,
        before: &Watched,
        out: &mut Output<'_>,
    ) -> Since {
        self.known = before.known;
        match (before.access, self.access) {
            (Access::Readable, Access::Visible) => self.tell_no_access(told, out),
            // RFC 5465 §5.9: no longer without access; told already, where names are of interest
            (Access::Visible, Access::Readable) if !self.events.any(Events::NAMES) => {
                list::write_plain(told.session, &self.name, out);
            }
            _ => {}
        }
        match before.is_counted() {
            true => Since::Before,
            false => Since::Now,
        }
    }

    fn tell_no_access(&self, told: Told<'_>, out: &mut Output<'_>) {
        list::write_no_access(told.session, &self.name, out);
    }

    /// The counts from which on it is watched; told, if that is asked for. RFC 5465 §3.1
    pub(super) async fn tell_first(
        &mut self,
        told: Told<'_>,
        status: request::Status,
        out: &mut Output<'_>,
    ) -> Result<(), Refusal> {
        if self.access == Access::Visible {
            self.tell_no_access(told, out);
        }
        let is_selected = told.selected.is_some_and(|s| s.mailbox.id == self.mailbox.id);
        let Some(now) = self.status(told).await.filter(|_| self.is_counted()) else {
            return Ok(());
        };
        self.known = Known::of(&now);
        if status == request::Status::Omitted || is_selected {
            return Ok(());
        }
        let mut items = vec![Item::Messages, Item::UidNext, Item::UidValidity];
        if self.events.any(Events::FLAGS) {
            items.push(Item::Unseen);
            if told.context.capabilities.has("CONDSTORE") {
                items.push(Item::HighestModSeq);
            }
        }
        self.write(told, (&items, &now), out);
        Ok(())
    }

    /// What is watched since just now: messages that are there are new to the client.
    pub(super) async fn tell_new(
        &mut self,
        told: Told<'_>,
        own: &[Own],
        out: &mut Output<'_>,
    ) -> Result<(), Refusal> {
        let is_own = own.contains(&Own::Named(self.mailbox.id));
        match self.status(told).await.filter(|_| is_own) {
            Some(now) => self.known = Known::of(&now),
            None => self.tell(told, own, out).await?,
        }
        Ok(())
    }

    /// It is selected: the client knows what it was told there.
    pub(super) fn known_from(&mut self, view: &View) {
        let (messages, unseen) = view.counts();
        let told = view.believed();
        let (uid_next, modseq) = (told.uid_next, told.highest_modseq);
        self.known = Known { messages, unseen, uid_next, modseq };
    }

    /// Tells what has changed.
    pub(super) async fn tell(
        &mut self,
        told: Told<'_>,
        own: &[Own],
        out: &mut Output<'_>,
    ) -> Result<(), Refusal> {
        let is_selected = told.selected.is_some_and(|s| s.mailbox.id == self.mailbox.id);
        if is_selected || !self.is_counted() {
            return Ok(());
        }
        let Some(now) = self.status(told).await else { return Ok(()) };
        let Ok(snapshot) = told.context.store.snapshot(self.mailbox.id).await else {
            return Ok(());
        };
        let condstore = told.session.condstore().is_on();
        let unseen_differs = now.unseen != self.known.unseen;
        let mut items = match self.news(told, (&snapshot, &now), own).await? {
            News::Nothing => Vec::new(),
            News::Messages => vec![Item::Messages, Item::UidNext, Item::UidValidity],
            News::Flags if !self.events.any(Events::FLAGS) => Vec::new(),
            News::Flags if condstore || unseen_differs => vec![Item::UidValidity],
            News::Flags => Vec::new(),
        };
        if items.is_empty() {
            self.known = Known { modseq: now.highest_modseq, ..self.known };
            return Ok(());
        }
        if condstore {
            items.push(Item::HighestModSeq);
        }
        if unseen_differs && self.events.any(Events::FLAGS) {
            items.push(Item::Unseen);
        }
        self.known = Known::of(&now);
        self.write(told, (&items, &now), out);
        Ok(())
    }

    /// The snapshot is as new as `now`, or newer: what it says more is told next time.
    async fn news(
        &mut self,
        told: Told<'_>,
        (snapshot, now): (&Snapshot, &Status),
        own: &[Own],
    ) -> Result<News, Refusal> {
        let known = self.known;
        let old = snapshot.position(known.uid_next).unwrap_or_else(|at| at);
        let own = put_into(own, self.mailbox.id);
        let is_own = !own.is_empty()
            && old == known.messages as usize
            && snapshot.iter_from(old).all(|entry| own.contains(entry.uid));
        if is_own {
            self.known = Known::of(now);
        } else if now.messages != known.messages || now.uid_next != known.uid_next {
            return Ok(News::Messages);
        }
        let changed = snapshot.changed_since(known.modseq);
        let shared = changed.take_while(|entry| entry.uid < known.uid_next).next().is_some();
        if shared {
            return Ok(News::Flags);
        }
        let user = &told.session.user;
        let overlay = told.context.store.overlay(self.mailbox.id, user).await?;
        let by_user = self.seen == SeenMode::PerUser;
        let private =
            by_user && overlay.changed_since(known.modseq).iter().any(|uid| *uid < known.uid_next);
        Ok(if private { News::Flags } else { News::Nothing })
    }

    async fn status(&self, told: Told<'_>) -> Option<Status> {
        let Told { context, session, .. } = told;
        let (id, user) = (self.mailbox.id, &session.user);
        // a mailbox deleted at this moment has no counts
        virtual_mailbox::freshen(context, session, &self.mailbox).await.ok()?;
        context.store.status(id, user, self.seen).await.ok()
    }

    fn write(&self, told: Told<'_>, (items, now): (&[Item], &Status), out: &mut Output<'_>) {
        let counts = written(told.context, items, (self.mailbox.id, now));
        let name = told.session.spelled(&self.name);
        out.line(format_args!("* STATUS {name} ({counts})"));
    }
}
