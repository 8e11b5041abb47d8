//! All names that a user could be shown, as a tree: mailboxes, the parents that are only names, and
//! what was subscribed and is gone. Knows neither patterns nor options.

use std::collections::HashSet;

use super::annotation::{self, SPECIAL_USE};
use super::names::{self, DELIMITER, Named};
use super::{Context, Session};
use crate::mail::account::{Account, FolderRole};
use crate::mail::id::Login;
use crate::store::{Mailbox, Metadata};

/// One name.
#[derive(Clone, Debug)]
pub struct Node {
    /// The name in UTF-8.
    pub name: String,
    /// What stands behind it.
    pub kind: Kind,
    /// Whether the user wants to be shown it.
    pub subscribed: bool,
    /// Whether there are mailboxes below it.
    pub has_children: bool,
    /// The SPECIAL-USE attributes of a personal folder. Shares have none: clients would take a
    /// team's Sent or Trash for the user's own. RFC 6154 §2
    pub uses: Vec<&'static str>,
}

/// What stands behind a name.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A mailbox.
    Mailbox(Box<Named>),
    /// Nothing but names below it.
    Parent,
    /// A subscription whose mailbox is gone. RFC 3501 §6.3.6
    Gone,
}

/// Everything that the session's user could be shown, own folders first, parents before children.
pub fn nodes(context: &Context, session: &Session) -> Vec<Node> {
    let choices = context.store.subscriptions(&session.user);
    let notes = context.store.metadata(Some(&session.user));
    let mut nodes: Vec<Node> = Vec::new();
    let mut known: HashSet<String> = HashSet::new();
    for named in names::tree(context, session) {
        for parent in parents(&named.name) {
            if !known.contains(parent) {
                nodes.push(bare(parent, Kind::Parent));
                known.insert(parent.to_owned());
            }
        }
        known.insert(named.name.clone());
        let place = (named.mailbox.account.clone(), named.mailbox.folder.clone());
        let subscribed = choices.get(&place).copied().unwrap_or(true);
        let (name, uses) = (named.name.clone(), uses(&session.user, (&named.mailbox, &notes)));
        let kind = Kind::Mailbox(Box::new(named));
        nodes.push(Node { name, kind, subscribed, has_children: false, uses });
    }
    mark_parents(&mut nodes);
    let wanted = choices.iter().filter(|(_, subscribed)| **subscribed);
    for ((account, folder), _) in wanted {
        if let Some(name) = names::name_of(context, session, account, folder)
            && known.insert(name.clone())
        {
            nodes.push(Node { subscribed: true, ..bare(&name, Kind::Gone) });
        }
    }
    nodes
}

/// The names above `name`, from the top.
pub fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices(DELIMITER).map(|(at, _)| &name[..at])
}

/// Of a folder with a role its own, of another what the user has said.
fn uses(user: &Login, (mailbox, notes): (&Mailbox, &Metadata)) -> Vec<&'static str> {
    // somebody else's that is open to the user is not theirs
    if !matches!(&mailbox.account, Account::User(owner) if owner == user) {
        return Vec::new();
    }
    if let Some(role) = FolderRole::PERSONAL.iter().find(|role| mailbox.folder.is_role(**role)) {
        return vec![annotation::attribute(*role)];
    }
    let noted = notes.get(&(Some(mailbox.id), SPECIAL_USE.to_owned()));
    noted.map(|value| annotation::special_uses(value)).unwrap_or_default()
}

fn bare(name: &str, kind: Kind) -> Node {
    Node { name: name.to_owned(), kind, subscribed: false, has_children: false, uses: Vec::new() }
}

fn mark_parents(nodes: &mut [Node]) {
    let above: HashSet<&str> = nodes.iter().flat_map(|node| parents(&node.name)).collect();
    let has_children: Vec<bool> = nodes.iter().map(|n| above.contains(n.name.as_str())).collect();
    for (node, has_children) in nodes.iter_mut().zip(has_children) {
        node.has_children = has_children;
    }
}
