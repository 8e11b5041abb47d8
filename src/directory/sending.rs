//! Who may send as what. Rights decide (`p` of RFC 4314); knows no message and no reply code.

use super::route::without_detail;
use super::{Directory, IdentityGuard, Policy, rights};
use crate::mail::account::Account;
use crate::mail::address::Address;
use crate::mail::id::Login;

impl Directory {
    /// The accounts as which `user` may send from `address`: their own, and the inboxes and
    /// channels with the right `p`. Empty: not at all. A catch-all gives nobody an address.
    pub fn sends_as(&self, user: &Login, address: &Address) -> Vec<Account> {
        let accounts = self.declaring(address).into_iter();
        accounts.filter(|account| rights(self, user, account).has('p')).collect()
    }

    /// The addresses that `user` may send from: their own first, then those of inboxes and
    /// channels by name. Each once.
    pub fn sender_addresses(&self, user: &Login) -> Vec<Address> {
        let own = self.users.get(user).map(|user| user.addresses.as_slice()).unwrap_or_default();
        let inboxes = self.inboxes.values().map(|i| (Account::Inbox(i.name.clone()), &i.addresses));
        let channels =
            self.channels.values().map(|c| (Account::Channel(c.name.clone()), &c.addresses));
        let shared = inboxes.chain(channels);
        let shared = shared.filter(|(account, _)| rights(self, user, account).has('p'));
        let mut all: Vec<Address> = own.to_vec();
        for address in shared.flat_map(|(_, addresses)| addresses) {
            if !all.contains(address) {
                all.push(address.clone());
            }
        }
        all
    }

    /// The accounts that declare this address, or it without its detail; a catch-all does not
    /// count.
    fn declaring(&self, address: &Address) -> Vec<Account> {
        let exact = self.accounts_of(address);
        let found = exact.or_else(|| without_detail(address).find_map(|a| self.accounts_of(&a)));
        found.unwrap_or_default().to_vec()
    }

    /// The addresses of an account, the one to answer from first.
    pub fn addresses_of(&self, account: &Account) -> &[Address] {
        match account {
            Account::User(login) => self.users.get(login).map(|user| &*user.addresses),
            Account::Inbox(name) => self.inboxes.get(name).map(|inbox| &*inbox.addresses),
            Account::Channel(name) => self.channels.get(name).map(|channel| &*channel.addresses),
        }
        .unwrap_or_default()
    }

    /// What becomes of an answer to this account's mail that is sent from elsewhere.
    pub fn identity_guard(&self, account: &Account) -> IdentityGuard {
        self.policy(account).map_or(IdentityGuard::Off, |policy| policy.identity)
    }

    /// Whether an address is one of ours: of a user, an inbox or a channel, detail or not.
    pub fn is_ours(&self, address: &Address) -> bool {
        !self.declaring(address).is_empty()
    }

    /// Whether an address is one of this account's.
    pub fn is_address_of(&self, account: &Account, address: &Address) -> bool {
        self.declaring(address).contains(account)
    }

    /// What is declared for an account's mail; nothing for personal mail.
    pub fn policy(&self, account: &Account) -> Option<&Policy> {
        match account {
            Account::User(_) => None,
            Account::Inbox(name) => self.inboxes.get(name).map(|inbox| &inbox.policy),
            Account::Channel(name) => self.channels.get(name).map(|channel| &channel.policy),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::directory::file;

    const DIRECTORY: &str = r#"
[[domain]]
name = "example.org"
catch_all = "support@example.org"
[[user]]
login = "anna"
name = "Anna"
password = "$2b$04$abcdefghijklmnopqrstuuWkMVwbmqUjJ2y.fJjWT7u0E2FVBTyuu"
addresses = ["anna@example.org", "both@example.org"]
[[user]]
login = "carla"
name = "Carla"
role = "admin"
password = "$2b$04$abcdefghijklmnopqrstuuWkMVwbmqUjJ2y.fJjWT7u0E2FVBTyuu"
[[inbox]]
name = "Support"
addresses = ["support@example.org", "hilfe@example.org"]
users = ["anna"]
identity = "rewrite"
[[inbox]]
name = "Sales"
addresses = ["sales@example.org"]
users = ["anna:read"]
[[channel]]
name = "Both"
owner = "anna"
addresses = ["both@example.org"]
personal = true
"#;

    fn directory() -> Directory {
        file::parse(DIRECTORY, Path::new("directory.toml")).expect("valid")
    }

    fn sends_as(login: &str, address: &str) -> String {
        let address = Address::parse(address).expect("an address");
        let accounts = directory().sends_as(&Login::new(login), &address);
        let names = accounts.iter().map(|account| match account {
            Account::User(login) => format!("user {login}"),
            Account::Inbox(name) => format!("inbox {name}"),
            Account::Channel(name) => format!("channel {name}"),
        });
        names.collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_sender_is_ones_own_address_or_one_of_an_inbox_with_the_right_to_post() {
        assert_eq!(sends_as("anna", "anna@example.org"), "user anna");
        assert_eq!(sends_as("anna", "Anna+x@EXAMPLE.org"), "user anna");
        assert_eq!(sends_as("anna", "hilfe@example.org"), "inbox Support");
        assert_eq!(sends_as("anna", "support+4711@example.org"), "inbox Support");
        assert_eq!(sends_as("anna", "both@example.org"), "channel Both, user anna");
        assert_eq!(sends_as("anna", "sales@example.org"), "", "may only read");
        assert_eq!(sends_as("anna", "whoever@example.org"), "", "a catch-all is no address");
        assert_eq!(sends_as("anna", "anna@elsewhere.example"), "");
        assert_eq!(sends_as("carla", "support@example.org"), "", "an admin only reads");
        assert_eq!(sends_as("nobody", "anna@example.org"), "");
    }

    #[test]
    fn sender_addresses_begin_with_ones_own() {
        let all = directory().sender_addresses(&Login::new("anna"));
        let all: Vec<String> = all.iter().map(Address::to_string).collect();
        let inbox = ["support@example.org", "hilfe@example.org"];
        assert_eq!(all, [&["anna@example.org", "both@example.org"][..], &inbox].concat());
        assert!(directory().sender_addresses(&Login::new("carla")).is_empty());
    }

    #[test]
    fn personal_mail_has_no_guard() {
        let guard = |account| directory().identity_guard(&account);
        assert_eq!(guard(Account::Inbox("Support".into())), IdentityGuard::Rewrite);
        assert_eq!(guard(Account::Inbox("Sales".into())), IdentityGuard::Reject);
        assert_eq!(guard(Account::User(Login::new("anna"))), IdentityGuard::Off);
    }
}
