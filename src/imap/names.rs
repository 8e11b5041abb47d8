//! The names that a client sees, and the accounts and folders that they mean. The only file that
//! knows the namespaces: prefix "" for the user's own folders, `Private/`, `Other Users/`,
//! `Shared/`. Knows no wire form (see `wire/utf7`) and no LIST pattern.

use std::sync::Arc;

use super::{Context, Session, seen_mode};
use crate::directory::{Directory, Place, Rights, Visible, rights_in, view, within};
use crate::mail::account::{Account, Folder, FolderNames, FolderRole};
use crate::mail::flag::SeenMode;
use crate::mail::fold;
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
///
/// A name that is not composed means the composed one too, so that none is made that cannot be
/// told from another by eye; what is there, or above it, is as it is. RFC 9051 §5.1
pub fn resolve(context: &Context, session: &Session, name: &str) -> Option<Resolved> {
    let exact = resolve_exactly(context, session, name);
    let is_there =
        |found: &Option<Resolved>| found.as_ref().is_some_and(|found| found.mailbox.is_some());
    if is_there(&exact) || fold::composed(name).is_none() {
        return exact;
    }
    let mut ends = name.rmatch_indices(DELIMITER).map(|(end, _)| end).take(LEVELS_MAX);
    let above = ends.find(|end| is_there(&resolve_exactly(context, session, &name[..*end])));
    let (above, below) = name.split_at(above.unwrap_or(0));
    let below = fold::composed(below).unwrap_or_else(|| below.to_owned());
    resolve_exactly(context, session, &format!("{above}{below}"))
}

fn resolve_exactly(context: &Context, session: &Session, name: &str) -> Option<Resolved> {
    let directory = &session.directory;
    let words = Words { names: &context.folder_names, directory };
    let (account, folder) = locate(words, &session.user, name)?;
    let rights = rights_in(directory, &session.user, (&account, &folder));
    if !rights.has('l') || !is_for_others(&session.user, &account, &folder) {
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
    let of_account = |visible| of_account(context, session, visible);
    let mut all: Vec<Named> = visible.iter().flat_map(of_account).collect();
    let is_shown = |m: &Mailbox| is_for_others(&session.user, &m.account, &m.folder);
    all.retain(|named| is_shown(&named.mailbox));
    all
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
    let words = Words { names: &context.folder_names, directory: &session.directory };
    Some(join(&prefix(visible), &shown_path(words, account, folder)))
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

fn of_account(context: &Context, session: &Session, visible: &Visible) -> Vec<Named> {
    let words = Words { names: &context.folder_names, directory: &session.directory };
    let prefix = prefix(visible);
    let account = &visible.account;
    let rights = |folder: &Folder| {
        within(&session.directory, &session.user, (account, folder), visible.rights)
    };
    let mut all: Vec<(usize, Named)> = Vec::new();
    for mailbox in context.store.mailboxes(account) {
        let (folder, rights) = (&mailbox.folder, rights(&mailbox.folder));
        if rights.has('l') && is_reachable(words, account, folder) {
            let name = join(&prefix, &shown_path(words, account, folder));
            all.push((rank(words, account, folder), Named { name, rights, mailbox }));
        }
    }
    all.sort_by(|(a, x), (b, y)| a.cmp(b).then_with(|| x.name.cmp(&y.name)));
    all.into_iter().map(|(_, named)| named).collect()
}

/// What the folders with a role are called, and which roles there are.
#[derive(Clone, Copy)]
struct Words<'a> {
    names: &'a FolderNames,
    directory: &'a Directory,
}

impl Words<'_> {
    fn roles(self, account: &Account) -> impl Iterator<Item = FolderRole> {
        let (all, user): (&[FolderRole], _) = match account {
            Account::User(user) => (&FolderRole::OWN, Some(user)),
            Account::Inbox(_) => (&FolderRole::INBOX, None),
            Account::Channel(_) => (&FolderRole::CHANNEL, None),
        };
        // the name of a virtual mailbox that a user does not have is a name as any other
        all.iter().copied().filter(move |role| {
            let is_virtual = FolderRole::VIRTUAL.contains(role);
            !is_virtual || user.is_some_and(|user| self.directory.has_virtual(user, *role))
        })
    }
}

/// Whether a folder's name means that folder. One that was made before the configuration gave its
/// name to a role is hidden behind the role's.
fn is_reachable(words: Words<'_>, account: &Account, folder: &Folder) -> bool {
    let (first, _) = split(folder.path());
    let role = words.roles(account).find(|role| role.path() == first);
    let shown = role.map_or(first, |role| words.names.of(role));
    let meant = words.roles(account).find(|role| words.names.of(*role) == shown);
    folder.is_root() || meant.map_or(shown, |role| role.path()) == first
}

/// The root comes first, then the roles in their order, each before what is below it.
fn rank(words: Words<'_>, account: &Account, folder: &Folder) -> usize {
    let first = folder.path().split(DELIMITER).next().unwrap_or_default();
    match words.roles(account).position(|role| role.path() == first) {
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
        (prefix, path) => [prefix, "/", path].concat(),
    }
}

/// The path below the account's prefix, with the localised name of a role.
fn shown_path(words: Words<'_>, account: &Account, folder: &Folder) -> String {
    if folder.is_root() {
        return if matches!(account, Account::User(_)) { INBOX.to_owned() } else { String::new() };
    }
    let (first, below) = split(folder.path());
    let role = words.roles(account).find(|role| role.path() == first);
    let first = role.map_or(first, |role| words.names.of(role));
    join(first, below.unwrap_or_default())
}

/// The folder with this path below the account's prefix.
fn folder_at(words: Words<'_>, account: &Account, path: &str) -> Folder {
    let (first, below) = split(path);
    let role = words.roles(account).find(|role| words.names.of(*role) == first);
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
fn locate(words: Words<'_>, user: &Login, name: &str) -> Option<(Account, Folder)> {
    let directory = words.directory;
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
                    return Some(locate_personal(words, &opened(directory, user, owner)?, name));
                }
            }
        }
        // `shared/x` beside `Shared/x` would only mislead
        _ if [SHARED, PRIVATE, OTHER_USERS].iter().any(|root| first.eq_ignore_ascii_case(root)) => {
            return None;
        }
        _ => return Some(locate_personal(words, user, name)),
    };
    let folder = path.map_or_else(Folder::root, |path| folder_at(words, &account, path));
    Some((account, folder))
}

/// INBOX in any case is the root, also as the parent of others. RFC 3501 §5.1
fn locate_personal(words: Words<'_>, user: &Login, name: &str) -> (Account, Folder) {
    let account = Account::User(user.clone());
    let (first, below) = split(name);
    let folder = match (first.eq_ignore_ascii_case(INBOX), below) {
        (true, None) => Folder::root(),
        (true, Some(below)) => Folder::new(&join(INBOX, below)),
        (false, _) => folder_at(words, &account, name),
    };
    (account, folder)
}

/// The owner of a mailbox that is open to the user.
fn opened(directory: &Directory, user: &Login, owner: &str) -> Option<Login> {
    let key = (user.clone(), Login::new(owner));
    directory.openings.get(&key).map(|(_, of)| of.clone()).filter(|of| of.as_str() == owner)
}

/// Whether a folder is shown also to others to whom its owner's mailbox is open: what holds the
/// owner's mail. What the daemon makes for the owner from elsewhere is the owner's alone.
fn is_for_others(user: &Login, account: &Account, folder: &Folder) -> bool {
    let Account::User(owner) = account else { return true };
    let (first, _) = split(folder.path());
    let roles = [
        FolderRole::Drafts,
        FolderRole::Sent,
        FolderRole::Junk,
        FolderRole::Trash,
        FolderRole::Archive,
    ];
    let is_mail = !first.starts_with('\\') || roles.iter().any(|role| role.path() == first);
    owner == user || is_mail
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_mailbox_that_is_open_only_what_holds_mail_is_shown() {
        let (ben, erik) = (Login::new("ben"), Login::new("erik"));
        let of_ben = Account::User(ben.clone());
        let shown = |user, path| is_for_others(user, &of_ben, &Folder::new(path));
        for path in ["", "\\Sent", "\\Trash/old", "Projekte", "INBOX/x"] {
            assert!(shown(&erik, path), "{path}");
        }
        assert!(!shown(&erik, "\\Elsewhere") && shown(&ben, "\\Elsewhere"));
    }
}
