//! What is noted about mailboxes and the server: which entries are others than when the client was
//! told last. Values are not told. RFC 5464 §4.4.2, RFC 5465 §5.6, §5.7

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::own::Own;
use super::request::{Events, Interest};
use super::{Told, events_of};
use crate::directory::{Directory, rights_in};
use crate::imap::annotation::{self, COMMENT};
use crate::imap::hierarchy::{Kind, Node};
use crate::imap::names;
use crate::imap::output::Output;
use crate::imap::wire::utf7;
use crate::imap::{Context, Session};
use crate::mail::id::MailboxId;
use crate::store::{Mailbox, Metadata};

/// What was noted when the client was told last. Shared with the store as long as it is the same.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    shared: Arc<Metadata>,
    private: Arc<Metadata>,
}

/// Entries by what they are about: a mailbox, or the server.
type Entries = BTreeMap<Option<MailboxId>, BTreeSet<String>>;

/// `None`: everything is told, behind ENABLE METADATA. `Some(None)`: nothing.
type Audience<'a> = Option<Option<&'a Interest>>;

impl Noted {
    /// As it is now.
    pub(super) fn now(context: &Context, session: &Session) -> Noted {
        let store = &context.store;
        Noted { shared: store.metadata(None), private: store.metadata(Some(&session.user)) }
    }

    /// Tells which entries have changed, as far as the user may read them.
    pub(super) fn tell(
        &mut self,
        told: Told<'_>,
        (audience, before, own): (Audience<'_>, &Directory, &[Own]),
        out: &mut Output<'_>,
    ) {
        let now = Noted::now(told.context, told.session);
        let mut entries = Entries::new();
        compare(&self.shared, &now.shared, &mut entries);
        compare(&self.private, &now.private, &mut entries);
        *self = now;
        if !std::ptr::eq(before, &*told.session.directory) {
            comments(told, before, &mut entries);
        }
        for own in own {
            if let Own::Noted(about, entry) = own
                && let Some(of) = entries.get_mut(about)
            {
                of.remove(entry);
            }
        }
        for (about, entries) in entries.iter().filter(|(_, entries)| !entries.is_empty()) {
            let name = match about {
                None if is_for_server(audience) => Some(String::new()),
                None => None,
                Some(id) => mailbox_name(told, audience, *id),
            };
            if let Some(name) = name {
                write(told.session, (&name, entries), out);
            }
        }
    }
}

fn is_for_server(audience: Audience<'_>) -> bool {
    audience.is_none_or(|interest| interest.is_some_and(Interest::has_server_notes))
}

/// The name of a mailbox whose notes are told.
fn mailbox_name(told: Told<'_>, audience: Audience<'_>, id: MailboxId) -> Option<String> {
    let Told { context, session, .. } = told;
    let mailbox = context.store.mailbox(id)?;
    let (account, folder) = (&mailbox.account, &mailbox.folder);
    let rights = rights_in(&session.directory, &session.user, (account, folder));
    if !rights.has('l') || !rights.has('r') {
        return None;
    }
    let name = names::name_of(context, session, account, folder)?;
    let Some(interest) = audience else { return Some(name) };
    let named = names::Named { name: name.clone(), rights, mailbox };
    let node = Node::of(named);
    let events = events_of(told, interest?, (&name, Some(&node)));
    events.any(Events::NOTES).then_some(name)
}

/// `* METADATA INBOX /shared/comment /private/comment`
fn write(session: &Session, (name, entries): (&str, &BTreeSet<String>), out: &mut Output<'_>) {
    out.push(format!("* METADATA {}", session.spelled(name)).as_bytes());
    for entry in entries {
        out.push(format!(" {}", utf7::quoted_unless_atom(entry)).as_bytes());
    }
    out.push(b"\r\n");
}

/// The entries that are in one of them only, or have another value.
fn compare(before: &Arc<Metadata>, now: &Arc<Metadata>, entries: &mut Entries) {
    if Arc::ptr_eq(before, now) {
        return;
    }
    let keys = before.keys().chain(now.keys());
    for key in keys.filter(|key| before.get(*key) != now.get(*key)) {
        entries.entry(key.0).or_default().insert(key.1.clone());
    }
}

/// What the server says of inboxes itself follows from the directory.
fn comments(told: Told<'_>, before: &Directory, entries: &mut Entries) {
    let now = &told.session.directory;
    let comment = |directory, mailbox: &Mailbox| annotation::comment(directory, mailbox);
    for named in names::tree(told.context, told.session) {
        let (was, is) = (comment(before, &named.mailbox), comment(now, &named.mailbox));
        // of a mailbox that is new to the user, the client knows nothing
        if was.is_some() && was != is {
            entries.entry(Some(named.mailbox.id)).or_default().insert(COMMENT.to_owned());
        }
    }
}

impl Node {
    /// A mailbox by itself.
    fn of(named: names::Named) -> Node {
        Node {
            name: named.name.clone(),
            kind: Kind::Mailbox(Box::new(named)),
            subscribed: false,
            has_children: false,
            uses: Vec::new(),
        }
    }
}
