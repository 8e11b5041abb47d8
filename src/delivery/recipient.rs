//! Whether a recipient is ours, and whose mailboxes it means. Knows no store.

use crate::directory::{Directory, Role, Routing};
use crate::mail::account::Account;
use crate::mail::address::Address;
use crate::smtp::Verdict;
use crate::smtp::path::Path;

/// The local part that every domain has. RFC 5321 §4.5.1
const POSTMASTER: &str = "postmaster";

/// What a forward-path means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// Mail for this address enters these accounts.
    Local(Address, Vec<Account>),
    /// The domain is ours, but nobody has the address.
    Unknown,
    /// The domain is not ours.
    Foreign,
}

impl Resolution {
    /// What RCPT is answered.
    pub fn verdict(&self) -> Verdict {
        match self {
            Resolution::Local(..) => Verdict::Accepted,
            Resolution::Unknown => Verdict::Unknown,
            Resolution::Foreign => Verdict::Foreign,
        }
    }
}

/// Looks a forward-path up.
///
/// An address that only the upstream server of a split domain has is unknown here: relaying to it
/// is not built yet, and accepting such mail would lose it. The directory's check warns of it.
pub fn resolve(directory: &Directory, path: &Path) -> Resolution {
    match path {
        Path::Null => Resolution::Unknown,
        Path::Postmaster => postmaster(directory),
        Path::Address(address) => match directory.route(address) {
            Routing::Local(accounts) => Resolution::Local(address.clone(), accounts),
            Routing::Foreign => Resolution::Foreign,
            Routing::Unknown | Routing::Upstream(_) if is_postmaster(address) => {
                to_super_admins(directory, address.clone())
            }
            Routing::Unknown | Routing::Upstream(_) => Resolution::Unknown,
        },
    }
}

fn is_postmaster(address: &Address) -> bool {
    address.local().eq_ignore_ascii_case(POSTMASTER)
}

/// Postmaster without a domain: who has that address in the first of our domains in which somebody
/// has it; a catch-all does not count. RFC 5321 §4.5.1
fn postmaster(directory: &Directory) -> Resolution {
    let addresses = || directory.domains.keys().map(|domain| Address::new(POSTMASTER, domain));
    if let Some(address) = addresses().find(|address| is_declared(directory, address))
        && let Routing::Local(accounts) = directory.route(&address)
    {
        return Resolution::Local(address, accounts);
    }
    match addresses().next() {
        Some(address) => to_super_admins(directory, address),
        None => Resolution::Unknown,
    }
}

fn is_declared(directory: &Directory, address: &Address) -> bool {
    let inboxes = directory.inboxes.values().map(|inbox| &inbox.addresses);
    let channels = directory.channels.values().map(|channel| &channel.addresses);
    let users = directory.users.values().map(|user| &user.addresses);
    let key = address.key();
    inboxes.chain(channels).chain(users).flatten().any(|declared| declared.key() == key)
}

/// Mail for a postmaster that nobody is goes to those who run the place.
fn to_super_admins(directory: &Directory, address: Address) -> Resolution {
    let with = |role: Role| -> Vec<Account> {
        let users = directory.users.values().filter(|user| user.role == role);
        users.map(|user| Account::User(user.login.clone())).collect()
    };
    let accounts = Some(with(Role::SuperAdmin)).filter(|accounts| !accounts.is_empty());
    let accounts = accounts.unwrap_or_else(|| with(Role::Admin));
    if accounts.is_empty() {
        return Resolution::Unknown;
    }
    Resolution::Local(address, accounts)
}
