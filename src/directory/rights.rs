//! The one door for access: what a user may do with an account's mailboxes. Nothing else decides.

use std::fmt;

use super::{Access, Channel, Directory, Level, Role};
use crate::mail::account::{Account, Folder};
use crate::mail::id::Login;

/// The letters of RFC 4314 §2.1 that are in use here.
const LETTERS: &str = "lrswipkxtea";

/// Those on a virtual mailbox.
const VIRTUAL_LETTERS: &str = "lrswte";

/// A set of rights on a mailbox. RFC 4314 §2.1
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Rights(u16);

impl Rights {
    /// The mailbox does not exist for this user.
    pub const NONE: Rights = Rights(0);

    /// See and read, and leave no mark: `lr`. For who looks into somebody else's mailbox.
    pub fn look() -> Rights {
        Rights::letters("lr")
    }

    /// See, read, keep own \Seen: `lrs`.
    pub fn read() -> Rights {
        Rights::letters("lrs")
    }

    /// Also flag, file, answer, delete: `lrswitep`.
    pub fn work() -> Rights {
        Rights::letters("lrswitep")
    }

    /// All: `lrswitepkxa`.
    pub fn manage() -> Rights {
        Rights::letters(LETTERS)
    }

    /// The rights of a level.
    pub fn of(level: Level) -> Rights {
        match level {
            Level::Read => Rights::read(),
            Level::Work => Rights::work(),
            Level::Manage => Rights::manage(),
        }
    }

    /// The rights with these letters; letters not in use are ignored.
    pub fn letters(letters: &str) -> Rights {
        let bit = |c: char| LETTERS.find(c).map_or(0, |n| 1 << n);
        Rights(letters.chars().fold(0, |set, c| set | bit(c)))
    }

    /// Whether the right with this letter is held.
    pub fn has(self, letter: char) -> bool {
        LETTERS.find(letter).is_some_and(|n| self.0 >> n & 1 == 1)
    }

    /// Whether no right is held.
    pub fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The rights held by either.
    pub fn union(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }
}

/// The letters in the order of RFC 4314.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        LETTERS.chars().filter(|c| self.has(*c)).try_for_each(|c| write!(f, "{c}"))
    }
}

/// What `user` may do with the mailboxes of `account`. A user or account that is not declared has
/// no rights; forbidden and absent are the same answer.
pub fn rights(directory: &Directory, user: &Login, account: &Account) -> Rights {
    by_role(directory, user, account).union(declared(directory, user, account))
}

/// What `user` may do in one folder of `account`: as in all of them, but in a virtual mailbox. It
/// is there for who has it; what it shows has rights of its own where it lies, and nothing can be
/// put into it.
pub fn rights_in(
    directory: &Directory,
    user: &Login,
    (account, folder): (&Account, &Folder),
) -> Rights {
    within(directory, user, (account, folder), rights(directory, user, account))
}

/// What `user` may do in one folder of an account in which they have `rights`. For who goes through
/// all folders of an account.
pub fn within(
    directory: &Directory,
    user: &Login,
    (account, folder): (&Account, &Folder),
    rights: Rights,
) -> Rights {
    match (account, folder.virtual_role()) {
        // nobody else's, though a mailbox may be open to others for a while
        (Account::User(owner), Some(role)) => {
            let has_it = owner == user && directory.has_virtual(user, role);
            if has_it { Rights::letters(VIRTUAL_LETTERS) } else { Rights::NONE }
        }
        _ => rights,
    }
}

/// Whether `user` reads somebody else's private channel or mailbox by their role alone: the audit
/// log tells of it.
pub fn reads_by_role(directory: &Directory, user: &Login, account: &Account) -> bool {
    !matches!(account, Account::Inbox(_))
        && rights(directory, user, account).has('r')
        && !declared(directory, user, account).has('r')
}

/// What the user's role alone gives: reading or managing every inbox and channel that exists, and
/// looking into a personal mailbox that is open to them.
pub(super) fn by_role(directory: &Directory, user: &Login, account: &Account) -> Rights {
    let role = directory.users.get(user).map(|user| user.role);
    let exists = match account {
        Account::User(owner) => {
            let key = (user.clone(), owner.clone());
            let is_open = role == Some(Role::SuperAdmin) && directory.openings.contains(&key);
            return if is_open { Rights::look() } else { Rights::NONE };
        }
        Account::Inbox(name) => directory.inboxes.contains_key(name),
        Account::Channel(name) => directory.channels.contains_key(name),
    };
    match role {
        Some(Role::Admin) if exists => Rights::read(),
        Some(Role::SuperAdmin) if exists => Rights::manage(),
        _ => Rights::NONE,
    }
}

/// What everything but the user's role gives: ownership, routing, access by name or team, a grant.
pub(super) fn declared(directory: &Directory, user: &Login, account: &Account) -> Rights {
    if !directory.users.contains_key(user) {
        return Rights::NONE;
    }
    let given = match account {
        Account::User(owner) if owner == user => return Rights::manage(),
        Account::User(_) => return Rights::NONE,
        Account::Inbox(name) => match directory.inboxes.get(name) {
            Some(inbox) => of_access(directory, user, &inbox.access),
            None => return Rights::NONE,
        },
        Account::Channel(name) => match directory.channels.get(name) {
            Some(channel) => of_channel(directory, user, channel),
            None => return Rights::NONE,
        },
    };
    // a grant replaces what is declared; the role above it stays
    let granted = directory.grants.get(&(account.clone(), user.clone()));
    granted.copied().unwrap_or(given)
}

/// The owner works in a channel, and so does whom it is routed to, unless a level is given by name.
fn of_channel(directory: &Directory, user: &Login, channel: &Channel) -> Rights {
    let by_access = of_access(directory, user, &channel.access);
    let routed = channel.routed_to.contains(user) && named(&channel.access, user).is_none();
    let works = channel.owner == *user || routed;
    if works { Rights::work().union(by_access) } else { by_access }
}

/// What the declared access gives, the highest level that applies.
fn of_access(directory: &Directory, user: &Login, access: &Access) -> Rights {
    let Access::Limited { teams, .. } = access else { return Rights::work() };
    let in_team = |team: &String| directory.teams.get(team).is_some_and(|m| m.contains(user));
    let by_team = teams.iter().filter(|(team, _)| in_team(team)).map(|(_, level)| *level);
    // deliberately: a level given by name replaces that of the team, so that a member can be
    // limited
    let level = named(access, user).or_else(|| by_team.max());
    level.map_or(Rights::NONE, Rights::of)
}

/// The level given to the user by name.
pub(super) fn named(access: &Access, user: &Login) -> Option<Level> {
    let Access::Limited { users, .. } = access else { return None };
    users.iter().filter(|(login, _)| login == user).map(|(_, level)| *level).max()
}
