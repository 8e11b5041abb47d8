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

/// The answers of all servers.
#[derive(Debug, Default)]
pub struct Verified(HashMap<(String, String), (Answer, Timestamp)>);

impl Verified {
    /// What `server` said of `address`, if it counts still.
    pub fn answer(&self, server: &str, address: &Address, now: Timestamp) -> Option<Answer> {
        let (answer, until) = self.0.get(&(server.to_owned(), address.key()))?;
        (now < *until).then(|| answer.clone())
    }

    /// Remembers what `server` has just said of `address`.
    pub fn remember(
        &mut self,
        server: &str,
        address: &Address,
        (answer, now): (Answer, Timestamp),
    ) {
        if self.0.len() >= ANSWERS_MAX {
            self.0.retain(|_, (_, until)| now < *until);
        }
        if self.0.len() >= ANSWERS_MAX {
            self.0.clear();
        }
        let seconds = match answer {
            Answer::Accepted => ACCEPTED_SECS,
            Answer::Refused(_) => REFUSED_SECS,
        };
        let until = Timestamp(now.0.saturating_add(seconds * 1_000_000));
        self.0.insert((server.to_owned(), address.key()), (answer, until));
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

    #[test]
    fn a_yes_counts_longer_than_a_no() {
        let mut verified = Verified::default();
        let no = Answer::Refused("550 5.1.1 no".into());
        verified.remember("up", &address(1), (Answer::Accepted, at(0)));
        verified.remember("up", &address(2), (no.clone(), at(0)));
        assert_eq!(verified.answer("up", &address(2), at(REFUSED_SECS - 1)), Some(no));
        assert_eq!(verified.answer("up", &address(2), at(REFUSED_SECS)), None);
        let yes = verified.answer("up", &Address::new("A1", "split.example"), at(REFUSED_SECS));
        assert_eq!(yes, Some(Answer::Accepted));
        assert_eq!(verified.answer("up", &address(1), at(ACCEPTED_SECS)), None);
        assert_eq!(verified.answer("other", &address(1), at(0)), None);
    }

    #[test]
    fn the_number_of_answers_is_bounded() {
        let mut verified = Verified::default();
        let no = || Answer::Refused(String::new());
        verified.remember("up", &address(ANSWERS_MAX), (Answer::Accepted, at(0)));
        for n in 1..ANSWERS_MAX {
            verified.remember("up", &address(n), (no(), at(0)));
        }
        assert_eq!(verified.0.len(), ANSWERS_MAX);
        verified.remember("up", &address(0), (no(), at(REFUSED_SECS)));
        assert_eq!(verified.0.len(), 2, "what had run out has gone");
        for n in 1..ANSWERS_MAX + 2 {
            verified.remember("up", &address(n), (no(), at(REFUSED_SECS)));
        }
        assert!(verified.0.len() <= ANSWERS_MAX);
    }
}
