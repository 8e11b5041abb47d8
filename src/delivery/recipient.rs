//! What each recipient means: mailboxes of ours, the upstream server of a split domain, or another
//! server. Knows no store.

use std::collections::HashSet;

use super::{Envelope, Origin, Refused};
use crate::directory::{Directory, Role, Routing};
use crate::mail::account::Account;
use crate::mail::address::Address;
use crate::mail::transport::Notify;
use crate::smtp::path::Path;
use crate::store::queue::{Progress, QueuedRecipient};

/// The local part that every domain has. RFC 5321 §4.5.1
const POSTMASTER: &str = "postmaster";

/// What a forward-path means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// Mail for this address enters these accounts.
    Local(Address, Vec<Account>),
    /// It enters these accounts, and goes to the upstream server, if that takes it.
    Both(Address, Vec<Account>, String),
    /// It goes to the upstream server, if that takes it.
    Upstream(Address, String),
    /// The domain is ours, but nobody has the address.
    Unknown,
    /// The domain is not ours.
    Foreign(Address),
}

/// Looks a forward-path up.
pub fn resolve(directory: &Directory, path: &Path) -> Resolution {
    let address = match path {
        Path::Null => return Resolution::Unknown,
        Path::Postmaster => return postmaster(directory),
        Path::Address(address) => address.clone(),
    };
    match directory.route(&address) {
        Routing::Local(accounts) => Resolution::Local(address, accounts),
        Routing::Both(accounts, upstream) => Resolution::Both(address, accounts, upstream),
        Routing::Foreign => Resolution::Foreign(address),
        Routing::Unknown if is_postmaster(&address) => to_super_admins(directory, address),
        Routing::Unknown => Resolution::Unknown,
        Routing::Upstream(upstream) => Resolution::Upstream(address, upstream),
    }
}

/// Who gets a message how.
pub(super) struct Recipients {
    /// The addresses that are delivered here.
    pub(super) addresses: Vec<Address>,
    /// Accounts of ours, each once, with the first address by which it is reached.
    pub(super) local: Vec<(Account, Address)>,
    /// All others.
    pub(super) queued: Vec<QueuedRecipient>,
    /// Those delivered here whose sender wants to hear of it. RFC 3461 §5.2.3
    pub(super) told: Vec<QueuedRecipient>,
}

/// What the recipients of an envelope mean by now. A foreign one is accepted from our users only.
pub(super) fn recipients(
    directory: &Directory,
    envelope: &Envelope,
) -> Result<Recipients, Refused> {
    let (mut local, mut queued, mut told) = (Vec::new(), Vec::new(), Vec::new());
    for (number, recipient) in (0..).zip(&envelope.transaction.recipients) {
        let notify = recipient.parameters.notify;
        let named = |address: &Address, upstream: Option<String>, notify: Option<Notify>| {
            let (address, orcpt) = (address.clone(), recipient.parameters.orcpt.clone());
            let progress = Progress::new(envelope.received_at);
            QueuedRecipient { number, address, upstream, notify, orcpt, progress }
        };
        let mut here = |address: Address, accounts: Vec<Account>| {
            if notify.is_some_and(|notify| notify.success) {
                told.push(named(&address, None, notify));
            }
            local.push((address, accounts));
        };
        match resolve(directory, &recipient.path) {
            Resolution::Local(address, accounts) => here(address, accounts),
            Resolution::Both(address, accounts, upstream) => {
                if envelope.upstream.contains(&address) {
                    queued.push(named(&address, Some(upstream), of_both(envelope, notify)));
                }
                here(address, accounts);
            }
            Resolution::Upstream(address, upstream) => {
                queued.push(named(&address, Some(upstream), notify));
            }
            Resolution::Foreign(address) if envelope.origin == Origin::Submission => {
                queued.push(named(&address, None, notify));
            }
            Resolution::Foreign(_) | Resolution::Unknown => return Err(Refused::RecipientGone),
        }
    }
    let addresses = local.iter().map(|(address, _)| address.clone()).collect();
    Ok(Recipients { addresses, local: each_once(local), queued, told })
}

/// Mail that has arrived in an account of ours is not reported as lost when the upstream server
/// refuses its copy later: its sender may be forged, and hears of nothing. Our users are told. The
/// success is told of the copy here, once. RFC 3461 §5.2.7.3
fn of_both(envelope: &Envelope, wanted: Option<Notify>) -> Option<Notify> {
    match envelope.origin {
        Origin::Relay => Some(Notify::default()),
        Origin::Submission => wanted.map(|wanted| Notify { success: false, ..wanted }),
    }
}

/// Each account once, with the first address by which it was reached.
fn each_once(recipients: Vec<(Address, Vec<Account>)>) -> Vec<(Account, Address)> {
    let mut seen = HashSet::new();
    let all = recipients.into_iter().flat_map(|(address, accounts)| {
        accounts.into_iter().map(move |account| (account, address.clone()))
    });
    all.filter(|(account, _)| seen.insert(account.clone())).collect()
}

fn is_postmaster(address: &Address) -> bool {
    address.local().eq_ignore_ascii_case(POSTMASTER)
}

/// Postmaster without a domain: who has that address in the first of our domains in which somebody
/// has it; a catch-all does not count. RFC 5321 §4.5.1
fn postmaster(directory: &Directory) -> Resolution {
    let addresses = || directory.domains.keys().map(|domain| Address::new(POSTMASTER, domain));
    if let Some(address) = addresses().find(|address| is_declared(directory, address))
        && let Routing::Local(accounts) | Routing::Both(accounts, _) = directory.route(&address)
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
