//! What is noted about a mailbox or the server, for one user: what is stored, and what the server
//! says itself. Knows neither command nor wire. RFC 5464 §3

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Context, Refusal, Session};
use crate::directory::{Directory, Rights, Role};
use crate::mail::account::{Account, Folder, FolderRole};
use crate::mail::address::Address;
use crate::store::Mailbox;

/// Prefix of what a user notes for themselves.
pub const PRIVATE: &str = "/private";
/// Prefix of what everybody shares.
pub const SHARED: &str = "/shared";
/// How to reach who runs the server. RFC 5464 §3.2.1.1
const ADMIN: &str = "/shared/admin";
/// What a mailbox is. RFC 5464 §3.2.1.2
pub const COMMENT: &str = "/shared/comment";
/// What a mailbox is used for. RFC 6154 §4
pub const SPECIAL_USE: &str = "/private/specialuse";
/// Of these rights one is needed. RFC 5464 §3.3
const RIGHTS: [char; 5] = ['r', 's', 'w', 'i', 'p'];

/// Where something is noted.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    /// About the server.
    Server,
    /// About a mailbox, on which the user has these rights.
    Mailbox(&'a Mailbox, Rights),
}

/// Everything noted there that the user may read, by entry.
pub fn all(
    context: &Context,
    session: &Session,
    place: Place<'_>,
) -> Result<BTreeMap<String, Arc<[u8]>>, Refusal> {
    check_access(place)?;
    let about = place.mailbox().map(|mailbox| mailbox.id);
    let mut all = BTreeMap::new();
    for owner in [None, Some(&session.user)] {
        let notes = context.store.metadata(owner);
        let here = notes.range((about, String::new())..).take_while(|(key, _)| key.0 == about);
        all.extend(here.map(|((_, entry), value)| (entry.clone(), value.clone())));
    }
    for entry in [ADMIN, COMMENT, SPECIAL_USE] {
        if let Some(value) = computed(context, &session.directory, (place, entry)) {
            all.insert(entry.to_owned(), value.into_bytes().into());
        }
    }
    Ok(all)
}

/// Whether the user may note `value` (`None`: take away what is noted) under `entry`.
pub fn check_set(
    context: &Context,
    session: &Session,
    place: Place<'_>,
    (entry, value): (&str, Option<&[u8]>),
) -> Result<(), Refusal> {
    check_access(place)?;
    if entry == ADMIN || computed(context, &session.directory, (place, entry)).is_some() {
        return Err(Refusal::no_permission("The server says this itself"));
    }
    if entry == SPECIAL_USE {
        return check_special_use(place, value.unwrap_or_default());
    }
    let is_shared = !entry.starts_with(PRIVATE);
    let may_share = match place {
        Place::Server => {
            let user = session.directory.users.get(&session.user);
            user.is_some_and(|user| user.role == Role::SuperAdmin)
        }
        Place::Mailbox(_, rights) => rights.has('w'),
    };
    match is_shared && !may_share {
        true => Err(Refusal::no_permission("You may not change what everybody reads here")),
        false => Ok(()),
    }
}

/// The special uses that a user has given a mailbox: those of `value` that there are.
pub fn special_uses(value: &[u8]) -> Vec<&'static str> {
    let words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    words.filter_map(special_use).collect()
}

/// The attribute of that name, if mailboxes here can be used so. RFC 6154 §2
pub fn special_use(name: &[u8]) -> Option<&'static str> {
    let role = FolderRole::PERSONAL
        .iter()
        .find(|role| attribute(**role).as_bytes().eq_ignore_ascii_case(name));
    role.map(|role| attribute(*role))
}

/// The attribute of a role. The roles' paths are the attributes' names.
pub fn attribute(role: FolderRole) -> &'static str {
    role.path()
}

/// Whether a user may say what a mailbox is used for: their own, which have no role already.
pub fn may_have_use(account: &Account, folder: &Folder) -> bool {
    matches!(account, Account::User(_)) && !folder.has_role() && !folder.is_root()
}

impl<'a> Place<'a> {
    fn mailbox(self) -> Option<&'a Mailbox> {
        match self {
            Place::Server => None,
            Place::Mailbox(mailbox, _) => Some(mailbox),
        }
    }
}

/// RFC 5464 §3.3
fn check_access(place: Place<'_>) -> Result<(), Refusal> {
    match place {
        Place::Mailbox(_, rights) if !RIGHTS.iter().any(|right| rights.has(*right)) => {
            Err(Refusal::no_permission("You may not read what is noted about this mailbox"))
        }
        _ => Ok(()),
    }
}

fn check_special_use(place: Place<'_>, value: &[u8]) -> Result<(), Refusal> {
    let is_own = place.mailbox().is_some_and(|m| may_have_use(&m.account, &m.folder));
    let mut words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    match is_own && words.all(|word| special_use(word).is_some()) {
        true => Ok(()),
        false => Err(no_such_use()),
    }
}

/// RFC 6154 §3
pub fn no_such_use() -> Refusal {
    Refusal::no("USEATTR", "That mailbox cannot be used so")
}

/// What the server says itself.
fn computed(
    context: &Context,
    directory: &Directory,
    (place, entry): (Place<'_>, &str),
) -> Option<String> {
    match (place, entry) {
        (Place::Server, ADMIN) => context.admin.as_ref().map(|uri| uri.to_string()),
        (Place::Mailbox(mailbox, _), COMMENT) => comment(directory, mailbox),
        (Place::Mailbox(mailbox, _), SPECIAL_USE) => {
            let is_personal = matches!(mailbox.account, Account::User(_));
            let mut roles = FolderRole::PERSONAL.iter().filter(|_| is_personal);
            roles.find(|role| mailbox.folder.is_role(**role)).map(|role| attribute(*role).into())
        }
        _ => None,
    }
}

/// What the server says a mailbox is.
pub fn comment(directory: &Directory, mailbox: &Mailbox) -> Option<String> {
    if !mailbox.folder.is_root() {
        return None;
    }
    let (name, addresses) = match &mailbox.account {
        Account::User(_) => return None,
        Account::Inbox(name) => (name, &directory.inboxes.get(name)?.addresses),
        Account::Channel(name) => (name, &directory.channels.get(name)?.addresses),
    };
    Some(described(name, addresses))
}

/// `Support <support@example.org>, <hilfe@example.org>`
fn described(name: &str, addresses: &[Address]) -> String {
    let addresses: Vec<String> = addresses.iter().map(|address| format!("<{address}>")).collect();
    format!("{name} {}", addresses.join(", ")).trim_end().to_owned()
}
