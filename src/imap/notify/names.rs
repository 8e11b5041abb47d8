//! The names that are of interest to a client, told by LIST when they are others than it knows. A
//! mailbox that the user may not see any more is told as one that was deleted. RFC 5465 §5.4, §5.5

use std::collections::{BTreeMap, BTreeSet};

use super::Told;
use super::own::Own;
use super::request::Events;
use crate::imap::command::list;
use crate::imap::hierarchy::{Kind, Node, parents};
use crate::imap::names;
use crate::imap::output::Output;
use crate::mail::id::MailboxId;

/// What the client knows.
#[derive(Debug, Default)]
pub(super) struct Listed {
    mailboxes: BTreeMap<MailboxId, Entry>,
    /// What was subscribed and is gone.
    gone: BTreeSet<String>,
}

/// One mailbox.
#[derive(Debug)]
struct Entry {
    name: String,
    subscribed: bool,
    events: Events,
}

/// The names as they are: all of them, those of interest, and what is of interest of a name that is
/// none.
type Now<'n> = (&'n [Node], &'n [(&'n Node, Events)], &'n dyn Fn(&str) -> Events);

impl Listed {
    /// As it is now.
    pub(super) fn of(places: &[(&Node, Events)]) -> Listed {
        let mut listed = Listed::default();
        for (node, events) in places {
            let is_listed = !matches!(node.kind, Kind::Mailbox(_)) || is_readable(node);
            if !is_listed || !events.any(Events::NAMES.and(Events::SUBSCRIPTIONS)) {
                continue;
            }
            let (name, subscribed) = (node.name.clone(), node.subscribed);
            match id(node) {
                Some(id) => {
                    listed.mailboxes.insert(id, Entry { name, subscribed, events: *events });
                }
                None => drop(listed.gone.insert(name)),
            }
        }
        listed
    }

    /// Tells what is otherwise, each name once. RFC 5465 §5.9 would have `\NoAccess` told of a
    /// mailbox that is forbidden now: deliberately not, since forbidden and absent must not differ.
    pub(super) fn tell(&self, told: Told<'_>, now: Now<'_>, own: &[Own], out: &mut Output<'_>) {
        let mut changes = Changes { told, now, own, renamed: Vec::new(), said: BTreeSet::new() };
        let mut affected = BTreeSet::new();
        for (node, events) in now.1 {
            let Some(id) = id(node).filter(|_| is_readable(node)) else { continue };
            match self.mailboxes.get(&id) {
                None if events.any(Events::NAMES) && !changes.is_own(id) => {
                    changes.say(node, None, out);
                    affected.extend(parents(&node.name).last());
                }
                None => {}
                Some(entry) => changes.compare((id, entry), (node, *events), out),
            }
        }
        // one that is there and may not be read any more is told as such elsewhere
        let still: BTreeSet<MailboxId> = now.1.iter().filter_map(|(node, _)| id(node)).collect();
        for (id, entry) in self.mailboxes.iter().filter(|(id, _)| !still.contains(id)) {
            if entry.events.any(Events::NAMES) && !changes.is_own(*id) {
                changes.say_name(&entry.name, out);
                affected.extend(parents(&entry.name).last());
            }
        }
        for name in affected {
            if (now.2)(name).any(Events::NAMES) {
                changes.say_name(name, out);
            }
        }
        for name in &self.gone {
            let is_gone = |(node, _): &(&Node, Events)| node.name == *name;
            if !now.1.iter().any(is_gone) && !changes.is_own_subscription(name) {
                changes.say_name(name, out);
            }
        }
    }
}

/// What is said, and was said already.
struct Changes<'n> {
    told: Told<'n>,
    now: Now<'n>,
    own: &'n [Own],
    /// Old and new names.
    renamed: Vec<(String, String)>,
    said: BTreeSet<String>,
}

impl Changes<'_> {
    /// A mailbox that was there before, too.
    fn compare(
        &mut self,
        (id, before): (MailboxId, &Entry),
        (node, events): (&Node, Events),
        out: &mut Output<'_>,
    ) {
        if before.name != node.name {
            // what is below a mailbox is renamed with it. RFC 5465 §5.4
            let moved = |(old, new): &(String, String)| {
                let below = before.name.strip_prefix(old.as_str());
                below.is_some_and(|rest| {
                    rest.starts_with('/') && node.name == format!("{new}{rest}")
                })
            };
            let is_told = self.renamed.iter().any(moved);
            self.renamed.push((before.name.clone(), node.name.clone()));
            if events.any(Events::NAMES) && !is_told && !self.is_own(id) {
                self.say(node, Some(&before.name), out);
            }
        }
        let differs = before.subscribed != node.subscribed && before.name == node.name;
        if differs && events.any(Events::SUBSCRIPTIONS) && !self.is_own_subscription(&node.name) {
            self.say(node, None, out);
        }
    }

    fn say(&mut self, node: &Node, old: Option<&str>, out: &mut Output<'_>) {
        if self.said.insert(node.name.clone()) {
            list::write_unasked((self.told.context, self.told.session), node, old, out);
        }
    }

    /// A name, whatever stands behind it now.
    fn say_name(&mut self, name: &str, out: &mut Output<'_>) {
        match self.now.0.iter().find(|node| node.name == name) {
            Some(node) => self.say(node, None, out),
            None => {
                if self.said.insert(name.to_owned()) {
                    list::write_nonexistent(self.told.session, name, out);
                }
            }
        }
    }

    fn is_own(&self, id: MailboxId) -> bool {
        self.own.contains(&Own::Named(id))
    }

    fn is_own_subscription(&self, name: &str) -> bool {
        let Told { context, session, .. } = self.told;
        self.own.iter().any(|own| match own {
            Own::Subscribed(account, folder) => {
                names::name_of(context, session, account, folder).as_deref() == Some(name)
            }
            _ => false,
        })
    }
}

fn id(node: &Node) -> Option<MailboxId> {
    match &node.kind {
        Kind::Mailbox(named) => Some(named.mailbox.id),
        Kind::Parent | Kind::Gone => None,
    }
}

/// All events need `l` and `r`. RFC 5465 §5
fn is_readable(node: &Node) -> bool {
    matches!(&node.kind, Kind::Mailbox(named) if named.rights.has('r'))
}
