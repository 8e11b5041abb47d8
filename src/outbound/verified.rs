//! What upstream servers have said of addresses, remembered for a while: so that a split domain's
//! server is not asked for each mail, and nobody can make us ask it without end. Pure; knows no
//! socket.

use std::collections::HashMap;

use crate::mail::address::Address;
use crate::mail::id::Timestamp;

/// How long a server's yes counts.
pub const ACCEPTED_SECS: i64 = 2 * 3600;
/// How long its no counts; shorter, because a new colleague wants mail at once.
pub const REFUSED_SECS: i64 = 5 * 60;
/// Most answers remembered; beyond, all that have run out go, and then all.
pub const ANSWERS_MAX: usize = 10_000;

/// What a server has said of an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It takes mail for it.
    Accepted,
    /// It does not; its reply in one line.
    Refused(String),
}

/// The answers of all servers: by server and recipient, and those that refuse also by sender, for
/// nobody can tell which of the two was meant. Else whoever is blocked there could have mail of
/// others refused.
#[derive(Debug, Default)]
pub struct Verified(HashMap<Key, (Answer, Timestamp)>);

type Key = (String, String, Option<String>);

/// Who was asked about what.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The server (`smtp://host:port`).
    pub server: &'a str,
    /// In whose name; `None` is the null reverse-path.
    pub reverse_path: Option<&'a Address>,
    /// For whom.
    pub recipient: &'a Address,
}

impl Asked<'_> {
    fn by_anybody(&self) -> Key {
        (self.server.to_owned(), self.recipient.key(), None)
    }

    fn by_sender(&self) -> Key {
        let sender = self.reverse_path.map(Address::key).unwrap_or_default();
        (self.server.to_owned(), self.recipient.key(), Some(sender))
    }
}

impl Verified {
    /// What the server said, if it counts still.
    pub fn answer(&self, asked: &Asked<'_>, now: Timestamp) -> Option<Answer> {
        let found = [asked.by_anybody(), asked.by_sender()];
        let mut found = found.iter().filter_map(|key| self.0.get(key));
        found.find(|(_, until)| now < *until).map(|(answer, _)| answer.clone())
    }

    /// Remembers what the server has just said.
    pub fn remember(&mut self, asked: &Asked<'_>, answer: Answer, now: Timestamp) {
        if self.0.len() >= ANSWERS_MAX {
            self.0.retain(|_, (_, until)| now < *until);
        }
        if self.0.len() >= ANSWERS_MAX {
            self.0.clear();
        }
        let (key, seconds) = match answer {
            Answer::Accepted => (asked.by_anybody(), ACCEPTED_SECS),
            Answer::Refused(_) => (asked.by_sender(), REFUSED_SECS),
        };
        let until = Timestamp(now.0.saturating_add(seconds * 1_000_000));
        self.0.insert(key, (answer, until));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn address(n: usize) -> Address {
        Address::new(&format!("a{n}"), "split.example")
    }

    fn asked(recipient: &Address) -> Asked<'_> {
        Asked { server: "up", reverse_path: None, recipient }
    }

    #[test]
    fn a_yes_counts_longer_than_a_no() {
        let mut verified = Verified::default();
        let no = Answer::Refused("550 5.1.1 no".into());
        let (one, two, upper) = (address(1), address(2), Address::new("A1", "split.example"));
        verified.remember(&asked(&one), Answer::Accepted, at(0));
        verified.remember(&asked(&two), no.clone(), at(0));
        assert_eq!(verified.answer(&asked(&two), at(REFUSED_SECS - 1)), Some(no));
        assert_eq!(verified.answer(&asked(&two), at(REFUSED_SECS)), None);
        assert_eq!(verified.answer(&asked(&upper), at(REFUSED_SECS)), Some(Answer::Accepted));
        assert_eq!(verified.answer(&asked(&one), at(ACCEPTED_SECS)), None);
        let other = Asked { server: "other", ..asked(&one) };
        assert_eq!(verified.answer(&other, at(0)), None);
    }

    #[test]
    fn a_no_to_one_sender_is_not_a_no_to_another() {
        let mut verified = Verified::default();
        let (blocked, one) = (Address::new("spam", "bad.example"), address(1));
        let from_blocked = Asked { reverse_path: Some(&blocked), ..asked(&one) };
        let no = Answer::Refused("554 5.7.1 blocked".into());
        verified.remember(&from_blocked, no.clone(), at(0));
        assert_eq!(verified.answer(&asked(&one), at(0)), None);
        assert_eq!(verified.answer(&from_blocked, at(0)), Some(no));
    }

    #[test]
    fn the_number_of_answers_is_bounded() {
        let mut verified = Verified::default();
        let no = || Answer::Refused(String::new());
        verified.remember(&asked(&address(ANSWERS_MAX)), Answer::Accepted, at(0));
        for n in 1..ANSWERS_MAX {
            verified.remember(&asked(&address(n)), no(), at(0));
        }
        assert_eq!(verified.0.len(), ANSWERS_MAX);
        verified.remember(&asked(&address(0)), no(), at(REFUSED_SECS));
        assert_eq!(verified.0.len(), 2, "what had run out has gone");
        for n in 1..ANSWERS_MAX + 2 {
            verified.remember(&asked(&address(n)), no(), at(REFUSED_SECS));
        }
        assert!(verified.0.len() <= ANSWERS_MAX);
    }
}
