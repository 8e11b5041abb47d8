//! Slows down who guesses passwords: counts failures per address, per user, and per user and
//! address, for ten minutes each. Pure: time comes in as an argument. Knows no password.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::mail::id::{Login, Timestamp};

/// How long a failure counts, from the first one on.
pub const WINDOW: Duration = crate::store::nodes::FAILURES_WINDOW;
/// Failures that an address has in a window; then it has to wait for the next.
pub const ADDRESS_FAILURES_MAX: u32 = 20;
/// Failures that a user has from one address in a window; others may still come from elsewhere.
pub const PAIR_FAILURES_MAX: u32 = 10;
/// Failures that are answered at once.
pub const FREE_FAILURES: u32 = 2;
/// Longest that an answer is held back.
pub const DELAY_MAX: Duration = Duration::from_secs(15);
/// Addresses, users and pairs that are remembered, each.
pub const ENTRIES_MAX: usize = 10_000;

/// Who has failed lately.
#[derive(Default)]
pub struct Throttle {
    addresses: Failures<IpAddr>,
    users: Failures<Login>,
    pairs: Failures<(IpAddr, Login)>,
}

/// Whether a password may be tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may.
    Try,
    /// Not now.
    TryLater,
}

impl Throttle {
    /// Whether `login` may be tried from `peer`. An address or a pair that has used up its failures
    /// may not; how often the user failed from elsewhere does not matter, so nobody can be locked
    /// out.
    pub fn may_try(&self, peer: IpAddr, login: &Login, now: Timestamp) -> Verdict {
        let peer = network(peer);
        let by_address = self.addresses.count(&peer, now);
        let by_pair = self.pairs.count(&(peer, login.clone()), now);
        if by_address >= ADDRESS_FAILURES_MAX || by_pair >= PAIR_FAILURES_MAX {
            return Verdict::TryLater;
        }
        Verdict::Try
    }

    /// Whether `peer` may try anything, where it is not known yet who it wants to be.
    pub fn may_address_try(&self, peer: IpAddr, now: Timestamp) -> Verdict {
        if self.addresses.count(&network(peer), now) >= ADDRESS_FAILURES_MAX {
            return Verdict::TryLater;
        }
        Verdict::Try
    }

    /// Counts a failure that is nobody's but the address's, and says how long the answer is to be
    /// held back.
    pub fn address_failed(&mut self, peer: IpAddr, now: Timestamp) -> Duration {
        delay(self.addresses.add(network(peer), now))
    }

    /// Counts a failure. The answer is to be held back for as long as this says: 1 s from the third
    /// failure of the address or the user on, then 2, 4, 8 and 15.
    pub fn failed(&mut self, peer: IpAddr, login: &Login, now: Timestamp) -> Duration {
        let peer = network(peer);
        let by_address = self.addresses.add(peer, now);
        let by_user = self.users.add(login.clone(), now);
        self.pairs.add((peer, login.clone()), now);
        delay(by_address.max(by_user))
    }

    /// Forgets the failures of a user who has logged in. The address keeps its own: who has one
    /// account could otherwise guess at others without end.
    pub fn succeeded(&mut self, peer: IpAddr, login: &Login) {
        self.users.0.remove(login);
        self.pairs.0.remove(&(network(peer), login.clone()));
    }
}

/// How long the answer to a failure is held back.
pub(super) fn delay(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES + 1) {
        None => Duration::ZERO,
        Some(doublings) => Duration::from_secs(1 << doublings.min(10)).min(DELAY_MAX),
    }
}

/// The part of an address that stands for one site: IPv6 hands out /64 to a single machine.
pub(super) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 => v4,
    }
}

/// Failures by who is meant, bounded.
struct Failures<K>(HashMap<K, Count>);

#[derive(Clone, Copy)]
struct Count {
    failures: u32,
    first: Timestamp,
}

impl<K> Default for Failures<K> {
    fn default() -> Failures<K> {
        Failures(HashMap::new())
    }
}

impl<K: Hash + Eq + Clone> Failures<K> {
    fn count(&self, key: &K, now: Timestamp) -> u32 {
        self.0.get(key).filter(|count| count.is_fresh(now)).map_or(0, |count| count.failures)
    }

    fn add(&mut self, key: K, now: Timestamp) -> u32 {
        if self.0.len() >= ENTRIES_MAX && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let count = self.0.entry(key).or_insert(Count { failures: 0, first: now });
        if !count.is_fresh(now) {
            *count = Count { failures: 0, first: now };
        }
        count.failures = count.failures.saturating_add(1);
        count.failures
    }

    /// Drops what no longer counts, and if that is not enough, the oldest quarter.
    fn make_room(&mut self, now: Timestamp) {
        self.0.retain(|_, count| count.is_fresh(now));
        if self.0.len() < ENTRIES_MAX {
            return;
        }
        let mut ages: Vec<i64> = self.0.values().map(|count| count.first.0).collect();
        let (_, oldest, _) = ages.select_nth_unstable(ENTRIES_MAX / 4);
        let (oldest, mut excess) = (*oldest, ENTRIES_MAX / 4);
        self.0.retain(|_, count| {
            let goes = count.first.0 <= oldest && excess > 0;
            excess -= usize::from(goes);
            !goes
        });
    }
}

impl Count {
    /// A clock that was set back makes an entry fresh for longer, never for ever: it starts anew
    /// then.
    fn is_fresh(self, now: Timestamp) -> bool {
        let age = now.0.saturating_sub(self.first.0).unsigned_abs();
        u128::from(age) < WINDOW.as_micros()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const THERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + seconds)
    }

    fn login(name: &str) -> Login {
        Login::new(name)
    }

    #[test]
    fn answers_are_held_back_from_the_third_failure_on_and_never_longer_than_15_seconds() {
        let mut throttle = Throttle::default();
        let delays: Vec<u64> =
            (0..9).map(|n| throttle.failed(HERE, &login("anna"), at(n)).as_secs()).collect();
        assert_eq!(delays, [0, 0, 1, 2, 4, 8, 15, 15, 15]);
    }

    #[test]
    fn a_user_is_slowed_across_addresses_and_an_address_across_users() {
        let mut throttle = Throttle::default();
        for n in 0..3 {
            let peer = IpAddr::V4(Ipv4Addr::new(198, 51, 100, n));
            let delay = throttle.failed(peer, &login("anna"), at(0));
            assert_eq!(delay.as_secs(), u64::from(n == 2), "anna from the address number {n}");
        }
        for (n, name) in ["ben", "carla", "dora"].into_iter().enumerate() {
            let delay = throttle.failed(HERE, &login(name), at(0));
            assert_eq!(delay.as_secs(), u64::from(n == 2), "{name} from one address");
        }
    }

    #[test]
    fn a_pair_has_ten_failures_in_a_window_and_the_user_is_free_elsewhere() {
        let mut throttle = Throttle::default();
        for n in 0..10 {
            assert_eq!(throttle.may_try(HERE, &login("anna"), at(n)), Verdict::Try, "{n}");
            throttle.failed(HERE, &login("anna"), at(n));
        }
        assert_eq!(throttle.may_try(HERE, &login("anna"), at(599)), Verdict::TryLater);
        assert_eq!(throttle.may_try(HERE, &login("ben"), at(599)), Verdict::Try);
        assert_eq!(throttle.may_try(THERE, &login("anna"), at(599)), Verdict::Try);
        assert_eq!(throttle.may_try(HERE, &login("anna"), at(600)), Verdict::Try);
    }

    #[test]
    fn a_failure_of_nobody_counts_for_the_address_alone() {
        let mut throttle = Throttle::default();
        let delays: Vec<u64> =
            (0..20).map(|n| throttle.address_failed(HERE, at(n)).as_secs()).collect();
        assert_eq!(delays[..8], [0, 0, 1, 2, 4, 8, 15, 15]);
        assert_eq!(throttle.may_address_try(HERE, at(20)), Verdict::TryLater);
        assert_eq!(throttle.may_try(HERE, &login("anna"), at(20)), Verdict::TryLater);
        assert_eq!(throttle.may_address_try(THERE, at(20)), Verdict::Try);
        assert_eq!(throttle.failed(THERE, &login("anna"), at(20)), Duration::ZERO);
        assert_eq!(throttle.may_address_try(HERE, at(600)), Verdict::Try);
    }

    #[test]
    fn an_address_has_twenty_failures_in_a_window() {
        let mut throttle = Throttle::default();
        for n in 0..20 {
            let user = login(&format!("user{n}"));
            assert_eq!(throttle.may_try(HERE, &user, at(0)), Verdict::Try, "{n}");
            throttle.failed(HERE, &user, at(0));
        }
        assert_eq!(throttle.may_try(HERE, &login("anna"), at(599)), Verdict::TryLater);
        assert_eq!(throttle.may_try(THERE, &login("anna"), at(599)), Verdict::Try);
        assert_eq!(throttle.may_try(HERE, &login("anna"), at(600)), Verdict::Try);
    }

    #[test]
    fn a_success_clears_the_user_and_not_the_address() {
        let mut throttle = Throttle::default();
        for _ in 0..9 {
            throttle.failed(HERE, &login("anna"), at(0));
        }
        throttle.succeeded(HERE, &login("anna"));
        for n in 0..11 {
            assert_eq!(throttle.may_try(HERE, &login("anna"), at(0)), Verdict::Try, "{n}");
            throttle.failed(HERE, &login(&format!("user{n}")), at(0));
        }
        assert_eq!(throttle.may_try(HERE, &login("anna"), at(0)), Verdict::TryLater);
    }

    #[test]
    fn ipv6_counts_by_64_bits_and_mapped_ipv4_as_ipv4() {
        let parse = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert_eq!(network(parse("2001:db8:1:2:3::4")), network(parse("2001:db8:1:2::")));
        assert_ne!(network(parse("2001:db8:1:2::")), network(parse("2001:db8:1:3::")));
        assert_eq!(network(parse("::ffff:192.0.2.1")), HERE);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_goes_first() {
        let mut failures = Failures::default();
        for n in 0..ENTRIES_MAX {
            failures.add(n, Timestamp(at(0).0 + n as i64));
        }
        assert_eq!(failures.0.len(), ENTRIES_MAX);
        failures.add(ENTRIES_MAX, at(1));
        assert_eq!(failures.0.len(), ENTRIES_MAX - ENTRIES_MAX / 4 + 1);
        assert_eq!(failures.count(&0, at(1)), 0);
        assert_eq!(failures.count(&(ENTRIES_MAX - 1), at(1)), 1);
        for n in 0..3 * ENTRIES_MAX {
            failures.add(n, at(2));
            assert!(failures.0.len() <= ENTRIES_MAX);
        }
        failures.add(usize::MAX, at(5_000));
        assert!(failures.0.len() <= ENTRIES_MAX);
    }
}
