//! The names that a client sees, and the accounts and folders that they mean. The only file that
//! knows the namespaces: prefix "" for the user's own folders, `Private/`, `Other Users/`,
//! `Shared/`. Knows no wire form (see `wire/utf7`) and no LIST pattern.

use std::sync::Arc;

use super::{Context, Session, seen_mode};
use crate::directory::{Directory, Place, Rights, Visible, rights, view};
use crate::mail::account::{Account, Folder, FolderNames, FolderRole};
use crate::mail::flag::SeenMode;
use crate::mail::id::Login;
use crate::store::Mailbox;

/// Joins the levels of a name, in every namespace.
pub const DELIMITER: char = '/';
/// Longest level of a name, in bytes of UTF-8.
pub const LEVEL_BYTES_MAX: usize = 255;
/// Most levels of a name.
pub const LEVELS_MAX: usize = 16;
/// Parent of the private channels that are routed to the user.
pub const PRIVATE: &str = "Private";
/// Parent of other users' channels. RFC 2342 §5
pub const OTHER_USERS: &str = "Other Users";
/// Parent of the shared inboxes.
pub const SHARED: &str = "Shared";
/// The user's own mailbox, in any case. RFC 3501 §5.1
pub const INBOX: &str = "INBOX";

/// What a name means for one user.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// Whose.
    pub account: Account,
    /// Which folder.
    pub folder: Folder,
    /// What the user may do there; never empty.
    pub rights: Rights,
    /// Whose \Seen it keeps.
    pub seen: SeenMode,
    /// The mailbox, if it exists.
    pub mailbox: Option<Arc<Mailbox>>,
}

/// A mailbox that a user sees, with its name.
#[derive(Clone, Debug)]
pub struct Named {
    /// The name in UTF-8.
    pub name: String,
    /// What the user may do there.
    pub rights: Rights,
    /// Which.
    pub mailbox: Arc<Mailbox>,
}

/// Finds what `name` (decoded, UTF-8) means for the session's user. `None`: it is forbidden, or no
/// account has a folder of that name; the two cannot be told apart.
pub fn resolve(context: &Context, session: &Session, name: &str) -> Option<Resolved> {
    let directory = &session.directory;
    let (account, folder) = locate(&context.folder_names, directory, &session.user, name)?;
    let rights = rights(directory, &session.user, &account);
    if !rights.has('l') {
        return None;
    }
    let seen = seen_mode(directory, &account);
    let mailbox = context.store.find(&account, &folder);
    Some(Resolved { account, folder, rights, seen, mailbox })
}

/// All mailboxes that the session's user sees, in the order of `view`: own folders first. Within an
/// account the root, then the folders with a role, then the others by name.
pub fn tree(context: &Context, session: &Session) -> Vec<Named> {
    let visible = view(&session.directory, &session.user);
    visible.iter().flat_map(|account| of_account(context, account)).collect()
}

/// The name of a mailbox for the session's user; `None` when they may not see it.
pub fn name_of(
    context: &Context,
    session: &Session,
    account: &Account,
    folder: &Folder,
) -> Option<String> {
    let visible = view(&session.directory, &session.user);
    let visible = visible.iter().find(|v| v.account == *account)?;
    Some(join(&prefix(visible), &shown_path(&context.folder_names, account, folder)))
}

/// Whether `name` is well-formed: levels that are not empty, not too long, not too many; without
/// wildcards, which no pattern could name, and without line and paragraph separators. RFC 6855 §3
pub fn is_well_formed(name: &str) -> bool {
    let level = |l: &str| !l.is_empty() && l.len() <= LEVEL_BYTES_MAX && !l.starts_with('\\');
    name.split(DELIMITER).count() <= LEVELS_MAX
        && name.split(DELIMITER).all(level)
        && !name.chars().any(|c| {
            c.is_control() || matches!(c, '*' | '%' | '\u{fffd}' | '\u{2028}' | '\u{2029}')
        })
}

fn of_account(context: &Context, visible: &Visible) -> Vec<Named> {
    let names = &context.folder_names;
    let prefix = prefix(visible);
    let named = |mailbox: Arc<Mailbox>| Named {
        name: join(&prefix, &shown_path(names, &visible.account, &mailbox.folder)),
        rights: visible.rights,
        mailbox,
    };
    let mailboxes = context.store.mailboxes(&visible.account).into_iter();
    let reachable = mailboxes.filter(|m| is_reachable(names, &visible.account, &m.folder));
    let mut all: Vec<Named> = reachable.map(named).collect();
    all.sort_by_cached_key(|n| (rank(&visible.account, &n.mailbox.folder), n.name.clone()));
    all
}

/// Whether a folder's name means that folder. One that was made before the configuration gave its
/// name to a role is hidden behind the role's.
fn is_reachable(names: &FolderNames, account: &Account, folder: &Folder) -> bool {
    folder.is_root() || folder_at(names, account, &shown_path(names, account, folder)) == *folder
}

/// The root comes first, then the roles in their order, each before what is below it.
fn rank(account: &Account, folder: &Folder) -> usize {
    let first = folder.path().split(DELIMITER).next().unwrap_or_default();
    match roles(account).iter().position(|role| role.path() == first) {
        _ if folder.is_root() => 0,
        Some(index) => index + 1,
        None => usize::MAX,
    }
}

/// The name under which a user sees an account, as far as it is the same for all of its folders.
pub fn prefix(visible: &Visible) -> String {
    match (&visible.account, &visible.place) {
        (Account::User(_), Place::OtherUsers(owner)) => format!("{OTHER_USERS}/{owner}"),
        (Account::User(_), _) => String::new(),
        (Account::Inbox(name), _) => format!("{SHARED}/{name}"),
        (Account::Channel(name), Place::OtherUsers(owner)) => {
            format!("{OTHER_USERS}/{owner}/{name}")
        }
        (Account::Channel(name), _) => format!("{PRIVATE}/{name}"),
    }
}

fn join(prefix: &str, path: &str) -> String {
    match (prefix, path) {
        ("", path) => path.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, path) => format!("{prefix}/{path}"),
    }
}

fn roles(account: &Account) -> &'static [FolderRole] {
    match account {
        Account::User(_) => &FolderRole::PERSONAL,
        Account::Inbox(_) => &FolderRole::INBOX,
        Account::Channel(_) => &FolderRole::CHANNEL,
    }
}

/// The path below the account's prefix, with the localised name of a role.
fn shown_path(names: &FolderNames, account: &Account, folder: &Folder) -> String {
    if folder.is_root() {
        return if matches!(account, Account::User(_)) { INBOX.to_owned() } else { String::new() };
    }
    let (first, below) = split(folder.path());
    let role = roles(account).iter().find(|role| role.path() == first);
    let first = role.map_or(first, |role| names.of(*role));
    join(first, below.unwrap_or_default())
}

/// The folder with this path below the account's prefix.
fn folder_at(names: &FolderNames, account: &Account, path: &str) -> Folder {
    let (first, below) = split(path);
    let role = roles(account).iter().find(|role| names.of(**role) == first);
    let first = role.map_or(first, |role| role.path());
    Folder::new(&join(first, below.unwrap_or_default()))
}

fn split(path: &str) -> (&str, Option<&str>) {
    match path.split_once(DELIMITER) {
        Some((first, below)) => (first, Some(below)),
        None => (path, None),
    }
}

/// What a name would mean, without asking whether the user may know it.
fn locate(
    names: &FolderNames,
    directory: &Directory,
    user: &Login,
    name: &str,
) -> Option<(Account, Folder)> {
    if !is_well_formed(name) {
        return None;
    }
    let (first, below) = split(name);
    let (account, path) = match first {
        SHARED => {
            let (inbox, path) = split(below?);
            (Account::Inbox(inbox.into()), path)
        }
        PRIVATE => {
            let (channel, path) = split(below?);
            (channel_of(directory, channel, |c| is_mine(c, user))?, path)
        }
        OTHER_USERS => {
            let (owner, channel) = split(below?);
            let (name, path) = (channel?, split(channel?));
            let is_theirs =
                |c: &crate::directory::Channel| c.owner.as_str() == owner && !is_mine(c, user);
            match channel_of(directory, path.0, is_theirs) {
                Some(account) => (account, path.1),
                None => {
                    return Some(locate_personal(names, &opened(directory, user, owner)?, name));
                }
            }
        }
        // `shared/x` beside `Shared/x` would only mislead
        _ if [SHARED, PRIVATE, OTHER_USERS].iter().any(|root| first.eq_ignore_ascii_case(root)) => {
            return None;
        }
        _ => return Some(locate_personal(names, user, name)),
    };
    let folder = path.map_or_else(Folder::root, |path| folder_at(names, &account, path));
    Some((account, folder))
}

/// INBOX in any case is the root, also as the parent of others. RFC 3501 §5.1
fn locate_personal(names: &FolderNames, user: &Login, name: &str) -> (Account, Folder) {
    let account = Account::User(user.clone());
    let (first, below) = split(name);
    let folder = match (first.eq_ignore_ascii_case(INBOX), below) {
        (true, None) => Folder::root(),
        (true, Some(below)) => Folder::new(&join(INBOX, below)),
        (false, _) => folder_at(names, &account, name),
    };
    (account, folder)
}

/// The owner of a mailbox that is open to the user.
fn opened(directory: &Directory, user: &Login, owner: &str) -> Option<Login> {
    let key = (user.clone(), Login::new(owner));
    directory.openings.get(&key).map(|(_, of)| of.clone()).filter(|of| of.as_str() == owner)
}

fn is_mine(channel: &crate::directory::Channel, user: &Login) -> bool {
    channel.owner == *user || channel.routed_to.contains(user)
}

fn channel_of(
    directory: &Directory,
    name: &str,
    accept: impl Fn(&crate::directory::Channel) -> bool,
) -> Option<Account> {
    let channel = directory.channels.get(name).filter(|channel| accept(channel))?;
    Some(Account::Channel(channel.name.clone()))
}
