//! Recipient address → accounts. Pure look-up: knows no protocol and no reply code.

use std::collections::HashMap;
use std::sync::OnceLock;

use super::{Directory, Routing};
use crate::mail::account::Account;
use crate::mail::address::Address;

/// What separates the name of an address from a detail of the sender's choice: `support+4711@`.
const DETAIL_SEPARATOR: char = '+';

/// Who has which address, by `Address::key`.
#[derive(Clone, Debug, Default)]
pub struct AddressIndex(OnceLock<HashMap<String, Vec<Account>>>);

impl Directory {
    /// What becomes of mail for `address`. The exact address goes before one without its detail,
    /// that before the domain's catch-all. Letters are compared without regard to ASCII case,
    /// everything else exactly: what only looks like one of our domains is foreign.
    pub fn route(&self, address: &Address) -> Routing {
        let Some(domain) = self.domains.get(address.domain()) else { return Routing::Foreign };
        let accounts = self
            .accounts_of(address)
            .or_else(|| without_detail(address).find_map(|plain| self.accounts_of(&plain)))
            .or_else(|| self.accounts_of(domain.catch_all.as_ref()?));
        match (accounts, &domain.upstream) {
            (Some(accounts), Some(upstream)) if self.is_shared_with_upstream(accounts) => {
                Routing::Both(accounts.to_vec(), upstream.clone())
            }
            (Some(accounts), _) => Routing::Local(accounts.to_vec()),
            (None, Some(upstream)) => Routing::Upstream(upstream.clone()),
            (None, None) => Routing::Unknown,
        }
    }

    /// What the sender has added to an address of this account: `4711` of `support+4711@`. Nothing
    /// where somebody has exactly that address.
    pub fn detail<'a>(&self, account: &Account, address: &'a Address) -> Option<&'a str> {
        if self.accounts_of(address).is_some() {
            return None;
        }
        let found = |plain: &Address| self.accounts_of(plain).is_some_and(|a| a.contains(account));
        let plain = without_detail(address).find(found)?;
        address.local().get(plain.local().len() + DETAIL_SEPARATOR.len_utf8()..)
    }

    /// Whether a channel says that its address is a personal one, and no user here has it.
    fn is_shared_with_upstream(&self, accounts: &[Account]) -> bool {
        let is_personal = |account: &Account| match account {
            Account::Channel(name) => self.channels.get(name).is_some_and(|c| c.personal),
            Account::User(_) | Account::Inbox(_) => false,
        };
        let is_user = |account: &Account| matches!(account, Account::User(_));
        accounts.iter().any(is_personal) && !accounts.iter().any(is_user)
    }

    /// The accounts that declare exactly this address: inboxes and channels, then users.
    pub(super) fn accounts_of(&self, address: &Address) -> Option<&[Account]> {
        let index = self.index.0.get_or_init(|| index(self));
        index.get(&address.key()).map(Vec::as_slice)
    }
}

/// The address with shorter and shorter names: `a+b+c@` gives `a+b@` and `a@`.
pub(super) fn without_detail(address: &Address) -> impl Iterator<Item = Address> {
    let local = address.local();
    let ends = local.rmatch_indices(DETAIL_SEPARATOR).map(|(end, _)| end).filter(|end| *end > 0);
    ends.map(|end| Address::new(&local[..end], address.domain()))
}

fn index(directory: &Directory) -> HashMap<String, Vec<Account>> {
    let inboxes =
        directory.inboxes.values().map(|i| (Account::Inbox(i.name.clone()), &i.addresses));
    let channels =
        directory.channels.values().map(|c| (Account::Channel(c.name.clone()), &c.addresses));
    let users = directory.users.values().map(|u| (Account::User(u.login.clone()), &u.addresses));
    let mut index: HashMap<String, Vec<Account>> = HashMap::new();
    for (account, addresses) in inboxes.chain(channels).chain(users) {
        for address in addresses {
            let accounts = index.entry(address.key()).or_default();
            if !accounts.contains(&account) {
                accounts.push(account.clone());
            }
        }
    }
    index
}
