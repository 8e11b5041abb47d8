//! Which entries somebody asks for.

use serde::{Deserialize, Serialize};

use super::Entry;
use crate::mail::account::Account;
use crate::mail::id::{Login, Timestamp};

/// All of it must fit; what is not named fits.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// In this inbox, channel or mailbox.
    pub account: Option<Account>,
    /// Done by this user, or about them.
    pub user: Option<Login>,
    /// Not before.
    pub since: Option<Timestamp>,
    /// Before this.
    pub until: Option<Timestamp>,
    /// About this message.
    pub message: Option<i64>,
    /// About this conversation.
    pub conversation: Option<i64>,
}

impl Filter {
    /// Whether an entry fits. Names of inboxes count without regard to case.
    pub fn fits(&self, entry: &Entry) -> bool {
        let is_there = |account: &Account| {
            entry.account.as_ref().is_some_and(|of| is_same_account(of, account))
        };
        let is_theirs =
            |user: &Login| entry.user() == Some(user) || entry.about.as_ref() == Some(user);
        self.account.as_ref().is_none_or(is_there)
            && self.user.as_ref().is_none_or(is_theirs)
            && self.since.is_none_or(|since| entry.at >= since)
            && self.until.is_none_or(|until| entry.at < until)
            && self.message.is_none_or(|message| entry.messages.contains(&message))
            && self.conversation.is_none_or(|id| entry.conversations.contains(&id))
    }
}

fn is_same_account(one: &Account, other: &Account) -> bool {
    match (one, other) {
        (Account::Inbox(one), Account::Inbox(other))
        | (Account::Channel(one), Account::Channel(other)) => {
            one.to_lowercase() == other.to_lowercase()
        }
        (one, other) => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::audit::{By, Deed, Person};

    #[test]
    fn all_that_is_asked_for_must_fit() {
        let person = Person { login: Login::new("anna"), session: None, peer: None, client: None };
        let mut entry = Entry::new(Timestamp(5), By::User(person), Deed::Assign);
        entry.account = Some(Account::Inbox("Support".into()));
        entry.about = Some(Login::new("ben"));
        (entry.messages, entry.conversations) = (vec![7, 8], vec![3]);
        let about = |message, conversation| Filter { message, conversation, ..Filter::default() };
        let all = Filter::default();
        let user = |login| Filter { user: Some(Login::new(login)), ..all.clone() };
        let inbox =
            |name: &str| Filter { account: Some(Account::Inbox(name.into())), ..all.clone() };
        let times = |since, until| Filter {
            since: Some(Timestamp(since)),
            until: Some(Timestamp(until)),
            ..all.clone()
        };
        let fitting = [
            all.clone(),
            user("anna"),
            user("ben"),
            inbox("support"),
            times(5, 6),
            about(Some(8), Some(3)),
        ];
        fitting.iter().for_each(|filter| assert!(filter.fits(&entry), "{filter:?}"));
        let others = [
            user("dora"),
            inbox("Sales"),
            times(6, 9),
            times(1, 5),
            about(Some(3), None),
            about(None, Some(7)),
        ];
        others.iter().for_each(|filter| assert!(!filter.fits(&entry), "{filter:?}"));
    }
}
