//! All names that a user could be shown, as a tree: mailboxes, the parents that are only names, and
//! what was subscribed and is gone. Knows neither patterns nor options.

use std::collections::HashSet;

use super::names::{self, DELIMITER, Named};
use super::{Context, Session};
use crate::mail::account::{Account, FolderRole};

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

impl Node {
    /// The SPECIAL-USE attribute of a personal folder. Shares have none: clients would take a
    /// team's Sent or Trash for the user's own. RFC 6154 §2
    pub fn special_use(&self) -> Option<&'static str> {
        let Kind::Mailbox(named) = &self.kind else { return None };
        let is_personal = matches!(named.mailbox.account, Account::User(_));
        let role = FolderRole::PERSONAL.iter().find(|role| named.mailbox.folder.is_role(**role));
        // the roles' paths are the attributes' names
        role.filter(|_| is_personal).map(|role| role.path())
    }
}

/// Everything that the session's user could be shown, own folders first, parents before children.
pub fn nodes(context: &Context, session: &Session) -> Vec<Node> {
    let choices = context.store.subscriptions(&session.user);
    let mut nodes: Vec<Node> = Vec::new();
    let mut known: HashSet<String> = HashSet::new();
    for named in names::tree(context, session) {
        for parent in parents(&named.name).filter(|parent| !known.contains(*parent)) {
            nodes.push(bare(parent, Kind::Parent));
        }
        known.extend(parents(&named.name).map(str::to_owned));
        known.insert(named.name.clone());
        let place = (named.mailbox.account.clone(), named.mailbox.folder.clone());
        let subscribed = choices.get(&place).copied().unwrap_or(true);
        let name = named.name.clone();
        let kind = Kind::Mailbox(Box::new(named));
        nodes.push(Node { name, kind, subscribed, has_children: false });
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

fn bare(name: &str, kind: Kind) -> Node {
    Node { name: name.to_owned(), kind, subscribed: false, has_children: false }
}

fn mark_parents(nodes: &mut [Node]) {
    let above: HashSet<String> =
        nodes.iter().flat_map(|node| parents(&node.name).map(str::to_owned)).collect();
    for node in nodes {
        node.has_children = above.contains(&node.name);
    }
}
