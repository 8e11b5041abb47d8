//! What a client is told of mailboxes that it has not selected: NOTIFY, and metadata behind ENABLE.
//! Remembers of each watched mailbox what the client was told last, and compares it with the store
//! when the bell has rung. Nothing is queued: what is told is how things are. Knows no socket; the
//! driver waits for the bell. RFC 5465, RFC 5464 §4.4.2

mod counts;
mod names;
mod notes;
pub mod own;
pub mod request;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use self::counts::{Since, Watched};
use self::names::Listed;
use self::notes::Noted;
use self::own::Own;
use self::request::{Events, Interest};
use super::hierarchy::{self, Kind, Node};
use super::output::Output;
use super::sources::Scope;
use super::view::Wishes;
use super::{Context, Refusal, Selected, Session};
use crate::directory::Directory;
use crate::mail::id::MailboxId;
use crate::store::bell::{Bell, Names, Notes};

/// Most names that one session watches. RFC 5465 §5.8
pub const WATCHED_MAX: usize = 4_096;

/// What one client has asked for, and what it knows.
#[derive(Debug)]
pub struct Notify {
    asked: Asked,
    /// Whether the client has issued ENABLE METADATA. RFC 5464 §4.4
    metadata: Enabled,
    bell: Arc<Bell>,
    attached: BTreeSet<MailboxId>,
    watched: BTreeMap<MailboxId, Watched>,
    listed: Listed,
    noted: Noted,
    /// Who might see what when this was looked at last.
    directory: Arc<Directory>,
    /// What this client has done itself since.
    own: Mutex<Vec<Own>>,
}

/// What the client has asked for.
#[derive(Debug)]
enum Asked {
    /// Nothing: NOTIFY was never used.
    Never,
    /// By the last NOTIFY.
    For(Interest),
}

/// Whether an extension was enabled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Enabled {
    Yes,
    No,
}

/// Whether there was too much to tell, so that nothing is told any more. RFC 5465 §5.8
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overflow {
    /// There was.
    Yes,
    /// There was not.
    No,
}

/// Who is told, and with what.
#[derive(Clone, Copy)]
struct Told<'a> {
    context: &'a Context,
    session: &'a Session,
    /// The selected mailbox has its own way.
    selected: Option<&'a Selected>,
}

impl Notify {
    /// For a client that has asked for nothing yet.
    pub fn new(context: &Context, session: &Session) -> Notify {
        Notify {
            asked: Asked::Never,
            metadata: Enabled::No,
            bell: Bell::new(session.user.clone()),
            attached: BTreeSet::new(),
            watched: BTreeMap::new(),
            listed: Listed::default(),
            noted: Noted::now(context, session),
            directory: session.directory.clone(),
            own: Mutex::default(),
        }
    }

    /// ENABLE METADATA. RFC 5464 §4.4
    pub fn enable_metadata(&mut self, context: &Context) {
        self.metadata = Enabled::Yes;
        context.store.attach(&self.bell, &[]);
    }

    /// NOTIFY: from now on this is told. `Err`: it is too much, and what was told before stays.
    /// RFC 5465 §3.1
    pub fn ask(
        &mut self,
        interest: Interest,
        (context, session, selected): (&Context, &Session, Option<&Selected>),
    ) -> Result<(), Refusal> {
        let told = Told { context, session, selected };
        let nodes = nodes(told, &interest);
        let places = places(told, &interest, &nodes);
        if places.len() > WATCHED_MAX {
            let why = "These are more mailboxes than are watched for one client";
            return Err(Refusal::no("NOTIFICATIONOVERFLOW", why));
        }
        // a bell that hangs where nothing is of interest any more would ring in vain
        self.bell = Bell::new(session.user.clone());
        (self.attached, self.watched) = (BTreeSet::new(), BTreeMap::new());
        self.noted = Noted::now(context, session);
        self.directory = session.directory.clone();
        context.store.attach(&self.bell, &[]);
        self.listed = Listed::of(&places);
        for (node, events) in &places {
            if let Some(watched) = Watched::of(session, node, *events) {
                self.watched.insert(watched.mailbox.id, watched);
            }
        }
        self.asked = Asked::For(interest);
        self.attach_watched(context);
        Ok(())
    }

    /// What is told of the selected mailbox; `None`: everything, when a command ends.
    pub fn wishes(&self) -> Option<Arc<Wishes>> {
        match &self.asked {
            Asked::Never => None,
            Asked::For(interest) => Some(interest.wishes.clone()),
        }
    }

    /// What rings when something may have to be told.
    pub fn bell(&self) -> Arc<Bell> {
        self.bell.clone()
    }

    /// Whether something may have to be told while no command runs. RFC 5465 §3.1
    pub fn is_told_between_commands(&self) -> bool {
        match &self.asked {
            Asked::Never => false,
            Asked::For(interest) => *interest != Interest::nothing(),
        }
    }

    /// To be called before the selected mailbox is looked at: what changes from then on rings.
    pub fn attach(&mut self, context: &Context, selected: Option<MailboxId>) {
        if let Some(id) = selected.filter(|_| self.is_told_between_commands())
            && self.attached.insert(id)
        {
            context.store.attach(&self.bell, &[id]);
        }
    }

    /// This client has done something itself: it is not told so. RFC 5465 §5
    pub fn done(&self, own: impl Iterator<Item = Own>) {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
    }

    /// The messages that this client has put into a mailbox since they were told.
    pub fn put_into(&self, mailbox: MailboxId) -> crate::mail::uid_set::UidSet {
        own::put_into(&self.own.lock().unwrap_or_else(PoisonError::into_inner), mailbox)
    }

    /// NOTIFY SET STATUS: the counts of what is watched, and which of it may not be read.
    /// RFC 5465 §3.1
    pub async fn tell_first(
        &mut self,
        (context, session, selected): (&Context, &Session, Option<&Selected>),
        status: request::Status,
        out: &mut Output<'_>,
    ) -> Result<(), Refusal> {
        let told = Told { context, session, selected };
        for watched in self.watched.values_mut() {
            watched.tell_first(told, status, out).await?;
            out.flush_if_full().await?;
        }
        Ok(())
    }

    /// Tells what has changed since this was called last.
    pub async fn tell(
        &mut self,
        (context, session, selected): (&Context, &Session, Option<&Selected>),
        out: &mut Output<'_>,
    ) -> Result<Overflow, Refusal> {
        let mut rung = self.bell.take();
        let own = std::mem::take(self.own.get_mut().unwrap_or_else(PoisonError::into_inner));
        let told = Told { context, session, selected };
        let before = std::mem::replace(&mut self.directory, session.directory.clone());
        let is_new = !Arc::ptr_eq(&before, &session.directory);
        if (is_new || rung.names == Names::Changed)
            && self.look_around(told, &own, out).await? == Overflow::Yes
        {
            return Ok(Overflow::Yes);
        }
        if is_new {
            // what a virtual mailbox shows follows from the directory, too
            let virtuals = self.watched.values().filter(|w| w.mailbox.virtual_role().is_some());
            rung.mailboxes.extend(virtuals.map(|watched| watched.mailbox.id));
        }
        if let Some(selected) = selected
            && let Some(watched) = self.watched.get_mut(&selected.mailbox.id)
        {
            watched.known_from(&selected.view);
        }
        for id in rung.mailboxes {
            if let Some(watched) = self.watched.get_mut(&id) {
                watched.tell(told, &own, out).await?;
                out.flush_if_full().await?;
            }
        }
        if is_new || rung.notes == Notes::Changed {
            self.tell_notes(told, (&before, &own), out);
        }
        Ok(Overflow::No)
    }

    fn tell_notes(
        &mut self,
        told: Told<'_>,
        (before, own): (&Directory, &[Own]),
        out: &mut Output<'_>,
    ) {
        let interest = match &self.asked {
            Asked::For(interest) => Some(interest),
            Asked::Never => None,
        };
        let all = self.metadata == Enabled::Yes && interest.is_none();
        let audience = if all { None } else { Some(interest) };
        self.noted.tell(told, (audience, before, own), out);
    }

    /// The names are others, or other rights hold: tells what is of interest, and watches what is
    /// there now.
    async fn look_around(
        &mut self,
        told: Told<'_>,
        own: &[Own],
        out: &mut Output<'_>,
    ) -> Result<Overflow, Refusal> {
        let Asked::For(interest) = &self.asked else { return Ok(Overflow::No) };
        if *interest == Interest::nothing() {
            return Ok(Overflow::No);
        }
        let nodes = nodes(told, interest);
        let places = places(told, interest, &nodes);
        if places.len() > WATCHED_MAX {
            self.overflow(out);
            return Ok(Overflow::Yes);
        }
        let scope = |name: &str| events_of(told, interest, (name, None));
        self.listed.tell(told, (&nodes, &places, &scope), own, out);
        self.listed = Listed::of(&places);
        let mut before = std::mem::take(&mut self.watched);
        let mut new = Vec::new();
        for (node, events) in &places {
            let Some(mut watched) = Watched::of(told.session, node, *events) else { continue };
            let id = watched.mailbox.id;
            let since = match before.remove(&id) {
                Some(known) => watched.follows(told, &known, out),
                None => Since::Now,
            };
            new.extend((since == Since::Now).then_some(id));
            self.watched.insert(id, watched);
        }
        if !before.is_empty() {
            self.bell = Bell::new(told.session.user.clone());
            self.attached.clear();
            told.context.store.attach(&self.bell, &[]);
            let selected = told.selected.map(|selected| selected.mailbox.id);
            self.attach(told.context, selected);
        }
        self.attach_watched(told.context);
        for watched in self.watched.values_mut().filter(|w| new.contains(&w.mailbox.id)) {
            watched.tell_new(told, own, out).await?;
        }
        Ok(Overflow::No)
    }

    /// As behind NOTIFY NONE. RFC 5465 §5.8
    fn overflow(&mut self, out: &mut Output<'_>) {
        out.line(format_args!("* OK [NOTIFICATIONOVERFLOW] More mailboxes than are watched"));
        self.asked = Asked::For(Interest::nothing());
        (self.attached, self.watched) = (BTreeSet::new(), BTreeMap::new());
        self.listed = Listed::default();
    }

    fn attach_watched(&mut self, context: &Context) {
        let counted = self.watched.values().filter(|watched| watched.is_counted());
        let ids = counted.map(|watched| watched.mailbox.id);
        let new: Vec<MailboxId> = ids.filter(|id| self.attached.insert(*id)).collect();
        context.store.attach(&self.bell, &new);
    }
}

/// All names; none, where nothing is of interest.
fn nodes(told: Told<'_>, interest: &Interest) -> Vec<Node> {
    match interest.groups.is_empty() {
        true => Vec::new(),
        false => hierarchy::nodes(told.context, told.session),
    }
}

/// The names that are of interest, with what is.
fn places<'n>(told: Told<'_>, interest: &Interest, nodes: &'n [Node]) -> Vec<(&'n Node, Events)> {
    let with_events = nodes.iter().map(|node| {
        let events = match &node.kind {
            Kind::Parent => Events::NONE,
            _ => events_of(told, interest, (&node.name, Some(node))),
        };
        (node, events)
    });
    with_events.filter(|(_, events)| *events != Events::NONE).collect()
}

/// What is of interest of a name. NONE takes away what other groups give. RFC 5465 §5
fn events_of(told: Told<'_>, interest: &Interest, (name, node): (&str, Option<&Node>)) -> Events {
    let choices = told.context.store.subscriptions(&told.session.user);
    let scope = Scope { selected: None, choices: &choices };
    let mailbox = node.and_then(|node| match &node.kind {
        Kind::Mailbox(named) => Some(&*named.mailbox),
        Kind::Parent | Kind::Gone => None,
    });
    let groups = || interest.groups.iter().filter(|g| scope.has(&g.source, (name, mailbox)));
    if groups().any(|group| group.events == Events::NONE) {
        return Events::NONE;
    }
    groups().fold(Events::NONE, |all, group| all.and(group.events))
}
