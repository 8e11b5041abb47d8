//! Layer 1: who there is and what belongs to whom. Immutable once read: a reload makes a new one.
//! Knows no store and no protocol.

mod check;
pub mod file;
pub mod findings;
pub mod grounds;
pub mod name;
pub mod password;
pub mod quota;
pub mod rights;
mod route;
pub mod rule;
pub mod scram;
mod sending;
pub mod source;
pub mod view;
mod written;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use crate::mail::account::{Account, FolderRole};
use crate::mail::address::Address;
use crate::mail::day::Day;
use crate::mail::flag::SeenMode;
use crate::mail::id::{Login, Timestamp};
use quota::{Quota, Quotas};
pub use rights::{Rights, rights, rights_in, within};
pub use route::AddressIndex;
use source::Fault;
pub use view::{Place, Visible, view};

/// Everything declared in `directory.toml`, checked; and the grants made by SETACL.
#[derive(Clone, Debug, Default)]
pub struct Directory {
    /// By login.
    pub users: BTreeMap<Login, User>,
    /// By name.
    pub teams: BTreeMap<String, Vec<Login>>,
    /// By name.
    pub inboxes: BTreeMap<Arc<str>, Inbox>,
    /// By name.
    pub channels: BTreeMap<Arc<str>, Channel>,
    /// By name in lower case.
    pub domains: BTreeMap<String, Domain>,
    /// `virtual`: which virtual mailboxes each user has; who has none may be missing.
    pub virtual_mailboxes: BTreeMap<Login, BTreeSet<FolderRole>>,
    /// What SETACL said, over the declared rights.
    pub grants: BTreeMap<(Account, Login), Rights>,
    /// The last day, in UTC, of users' absences.
    pub away: BTreeMap<Login, Day>,
    /// Personal mailboxes that are open to a super-admin for a while: to whom, and whose.
    pub openings: BTreeSet<(Login, Login)>,
    /// How much accounts may hold, where that is limited.
    pub quotas: Quotas,
    /// What is odd in the file, or declared but not built yet in this version.
    pub warnings: Vec<Fault>,
    /// Who has which address; made from the above when it is first asked for.
    pub index: AddressIndex,
}

impl Directory {
    /// This directory with the rights that SETACL gave: on which account, to whom, which letters
    /// (none at all takes every declared right away; `None` lets the declaration decide again).
    pub fn with_grants<'a>(
        &self,
        grants: impl IntoIterator<Item = (&'a Account, &'a Login, Option<&'a str>)>,
    ) -> Directory {
        let mut directory = self.clone();
        for (account, user, letters) in grants {
            let key = (account.clone(), user.clone());
            match letters {
                Some(letters) => directory.grants.insert(key, Rights::letters(letters)),
                None => directory.grants.remove(&key),
            };
        }
        directory
    }

    /// This directory with these personal mailboxes open, each to a user; and no others.
    pub fn with_openings(self, openings: BTreeSet<(Login, Login)>) -> Directory {
        Directory { openings, ..self }
    }

    /// Whether a user is away by what is declared.
    pub fn is_away(&self, user: &Login, now: Timestamp) -> bool {
        self.away.get(user).is_some_and(|last| Day::of(now) <= *last)
    }

    /// Whether these grants are made in it, and no others.
    pub fn has_grants<'a>(
        &self,
        grants: impl IntoIterator<Item = (&'a Account, &'a Login, Option<&'a str>)>,
    ) -> bool {
        let made = grants.into_iter().filter_map(|(account, user, letters)| {
            Some(((account.clone(), user.clone()), Rights::letters(letters?)))
        });
        self.grants == made.collect()
    }

    /// The users who work in an account: an inbox has an `Assigned` folder for each. Who may work
    /// there only because of being super-admin is not one of them.
    pub fn members_at_work(&self, account: &Account) -> Vec<Login> {
        let works = |user: &&Login| rights::declared(self, user, account).has('i');
        self.users.keys().filter(works).cloned().collect()
    }

    /// Whether `user` is one of `members_at_work`.
    pub fn works_in(&self, user: &Login, account: &Account) -> bool {
        rights::declared(self, user, account).has('i')
    }

    /// Whether `user` has this virtual mailbox.
    pub fn has_virtual(&self, user: &Login, role: FolderRole) -> bool {
        self.virtual_mailboxes.get(user).is_some_and(|roles| roles.contains(&role))
    }

    /// How much an account may hold.
    pub fn quota(&self, account: &Account) -> Quota {
        self.quotas.get(account).copied().unwrap_or_default()
    }

    /// Notes how much an account may hold.
    pub(in crate::directory) fn limit(&mut self, account: Account, quota: Quota) {
        if !quota.is_none() {
            self.quotas.insert(account, quota);
        }
    }

    /// Whose \Seen an account's mailboxes keep.
    pub fn seen_mode(&self, account: &Account) -> SeenMode {
        match account {
            Account::User(_) => SeenMode::Shared,
            Account::Inbox(name) => self.inboxes.get(name).map_or(SeenMode::PerUser, |i| i.seen),
            Account::Channel(name) => self.channels.get(name).map_or(SeenMode::PerUser, |c| c.seen),
        }
    }

    /// Whether every user can log in by SCRAM. Mail programs take the strongest mechanism that is
    /// offered, and would fail with it for a user whose password is stored otherwise.
    pub fn all_have_scram_keys(&self) -> bool {
        !self.users.is_empty() && self.users.values().all(|u| u.password.scram_keys().is_some())
    }

    /// The login that somebody means who types `name` into a mail program: a login itself, or one
    /// of a user's own addresses, which many programs propose.
    pub fn login_named(&self, name: &str) -> Login {
        let login = Login::new(name);
        if self.users.contains_key(&login) {
            return login;
        }
        let address = Address::parse(name);
        let accounts = address.and_then(|a| self.accounts_of(&a)).unwrap_or_default();
        let owner = accounts.iter().find_map(|account| match account {
            Account::User(owner) => Some(owner.clone()),
            Account::Inbox(_) | Account::Channel(_) => None,
        });
        owner.unwrap_or(login)
    }
}

/// A domain that mail is accepted for.
#[derive(Clone, Debug, Default)]
pub struct Domain {
    /// `smtp://host:port` of the server that keeps the other addresses of this domain.
    pub upstream: Option<String>,
    /// Takes mail for addresses that nobody has; off by default.
    pub catch_all: Option<Address>,
}

/// A person who logs in.
#[derive(Clone, Debug)]
pub struct User {
    /// The name that they log in with.
    pub login: Login,
    /// Display name.
    pub name: String,
    /// Hash of the password.
    pub password: PasswordHash,
    /// What they are in the organisation.
    pub role: Role,
    /// Their own addresses.
    pub addresses: Vec<Address>,
}

/// A stored password hash; without Debug, so that it cannot get into a log.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(pub String);

impl PasswordHash {
    /// The keys of SCRAM, where the password is stored as such.
    pub fn scram_keys(&self) -> Option<scram::ScramKeys> {
        scram::ScramKeys::parse(&self.0)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

/// What a user is in the organisation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Role {
    /// Sees what their teams may access.
    #[default]
    Member,
    /// May also read every inbox and channel.
    Admin,
    /// May also work in and manage them.
    SuperAdmin,
}

/// A shared inbox.
#[derive(Clone, Debug)]
pub struct Inbox {
    /// Its name.
    pub name: Arc<str>,
    /// Addresses whose mail it takes.
    pub addresses: Vec<Address>,
    /// Who may access it.
    pub access: Access,
    /// Whose \Seen it keeps.
    pub seen: SeenMode,
    /// Switches for sending and conversations.
    pub policy: Policy,
}

/// A private channel.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its name.
    pub name: Arc<str>,
    /// Whose it is.
    pub owner: Login,
    /// Addresses whose mail it takes.
    pub addresses: Vec<Address>,
    /// Who works in it beside the owner.
    pub routed_to: Vec<Login>,
    /// Who else may access it.
    pub access: Access,
    /// Whose \Seen it keeps.
    pub seen: SeenMode,
    /// Switches for sending and conversations.
    pub policy: Policy,
    /// Its address is meant to be a user's personal one too; silences a warning of `check`.
    pub personal: bool,
}

/// Who may access an inbox or channel, beside what roles give.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Access {
    /// Every user, with the right to work.
    Everyone,
    /// These only. For a channel with `access = "owner"` the list is empty.
    Limited {
        /// Teams and what their members may do.
        teams: Vec<(String, Level)>,
        /// Users and what they may do.
        users: Vec<(Login, Level)>,
    },
}

/// A level of rights as it is declared: `dora:read`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// `lrs`
    Read,
    /// `lrswitep`
    Work,
    /// `lrswitepkxa`
    Manage,
}

/// What is declared for sending and conversations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// What becomes of an answer when a colleague has answered already.
    pub collision: CollisionGuard,
    /// What becomes of an answer from another address.
    pub identity: IdentityGuard,
    /// `answering_assigns`: who answers a conversation that nobody has, has it.
    pub answering_assigns: bool,
    /// Whether a conversation moves as a whole.
    pub conversation: Moves,
    /// `retention_days`: how long the Trash keeps a message.
    pub retention_days: u32,
    /// `[[inbox.route]]`: who gets a new conversation; the first that matches decides.
    pub rules: Vec<rule::Rule>,
    /// `[inbox.acknowledgement]`: what a customer is told at once.
    pub acknowledgement: Option<rule::Acknowledgement>,
}

/// `identity`: what becomes of an answer to an inbox's mail that is sent from a personal address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum IdentityGuard {
    /// `off`: it goes out as it is.
    Off,
    /// `rewrite`: it leaves as the inbox.
    Rewrite,
    /// `reject`: it is refused, and the sender is told which address to use.
    #[default]
    Reject,
}

/// `collision`: what becomes of an answer whose sender has not been shown that a colleague has
/// answered already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CollisionGuard {
    /// `off`: it goes out.
    Off,
    /// `warn`: it is refused once; who sends it again means it.
    #[default]
    Warn,
    /// `reject`: it is refused until it refers to the colleague's answer.
    Reject,
}

/// `conversation`: what goes along when a message is moved between the folders of an inbox that
/// tell who has it and whether it is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Moves {
    /// `together`: the rest of its conversation.
    #[default]
    Together,
    /// `single`: nothing.
    Single,
}

/// What becomes of mail for an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Routing {
    /// It enters these accounts, one instance each; never empty.
    Local(Vec<Account>),
    /// It enters these accounts, and the domain's upstream server may keep it too: a channel's
    /// address that is somebody's personal one there (`personal = true`).
    Both(Vec<Account>, String),
    /// The domain is ours, the address is not: its upstream server keeps it.
    Upstream(String),
    /// The domain is ours, and nobody has the address. 550 5.1.1
    Unknown,
    /// The domain is not ours. 550 5.7.1
    Foreign,
}
