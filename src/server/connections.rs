//! How many connections there are, from where, and which of them have not logged in yet. The only
//! place that decides whether one more may come in. Knows no socket.
//!
//! Silent connections cannot keep anybody out: when an address has too many that have not logged
//! in, the oldest of them goes and the new one comes in. Servers never log in, and cutting one
//! in the middle of a transaction would make it send again, so there the new one is refused.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

/// Connections in all.
pub const CONNECTIONS_MAX: usize = 10_000;
/// Connections of one address that have not logged in.
pub const WAITING_PER_ADDRESS_MAX: usize = 20;
/// SMTP connections of one address.
pub const SMTP_PER_ADDRESS_MAX: usize = 100;

/// How many of what are let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// In all.
    pub total: usize,
    /// Of one address before login, where the protocol has a login.
    pub waiting_per_address: usize,
    /// Of one address by SMTP.
    pub smtp_per_address: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            total: CONNECTIONS_MAX,
            waiting_per_address: WAITING_PER_ADDRESS_MAX,
            smtp_per_address: SMTP_PER_ADDRESS_MAX,
        }
    }
}

/// Which protocol a listener speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Protocol {
    /// Mail in, from servers that do not log in.
    Smtp,
    /// Mail out, from users' programs.
    Submission,
    /// Users' programs.
    Imap,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// There are too many in all.
    Full,
    /// There are too many from this address.
    Address,
}

/// All connections of the daemon.
pub struct Connections {
    limits: Limits,
    table: Mutex<Table>,
    open: watch::Sender<usize>,
    accepted: AtomicU64,
    refused: AtomicU64,
    evicted: AtomicU64,
}

#[derive(Default)]
struct Table {
    next: u64,
    /// By age, for each address and protocol; a connection that has logged in is no longer here.
    waiting: HashMap<(Protocol, IpAddr), BTreeMap<u64, Arc<Notify>>>,
}

/// Since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Let in.
    pub accepted: u64,
    /// Turned away.
    pub refused: u64,
    /// Closed before login, to let a newer one of the same address in.
    pub evicted: u64,
    /// Open now.
    pub open: usize,
}

/// One connection's place; it is free again when this is dropped.
pub struct Place {
    connections: Arc<Connections>,
    key: (Protocol, IpAddr),
    /// Its age, anew behind each time that somebody has logged out.
    number: AtomicU64,
    evicted: Arc<Notify>,
}

impl Connections {
    /// None yet.
    pub fn new(limits: Limits) -> Arc<Connections> {
        Arc::new(Connections {
            limits,
            table: Mutex::default(),
            open: watch::Sender::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            evicted: AtomicU64::new(0),
        })
    }

    /// Takes a place for a connection from `address`, or says why there is none.
    pub fn admit(
        self: &Arc<Self>,
        protocol: Protocol,
        address: IpAddr,
    ) -> Result<Arc<Place>, Refused> {
        let key = (protocol, network(address));
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if *self.open.borrow() >= self.limits.total {
            return Err(self.refuse(Refused::Full));
        }
        let number = table.next;
        let waiting = table.waiting.entry(key).or_default();
        if protocol == Protocol::Smtp && waiting.len() >= self.limits.smtp_per_address {
            return Err(self.refuse(Refused::Address));
        }
        let evicted = Arc::new(Notify::new());
        self.add_waiting(waiting, protocol, (number, &evicted));
        table.next += 1;
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.send_modify(|open| *open += 1);
        let number = AtomicU64::new(number);
        Ok(Arc::new(Place { connections: self.clone(), key, number, evicted }))
    }

    /// What happened since the start.
    pub fn counts(&self) -> Counts {
        Counts {
            accepted: self.accepted.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            evicted: self.evicted.load(Ordering::Relaxed),
            open: *self.open.borrow(),
        }
    }

    /// Waits until no connection is open.
    pub async fn all_closed(&self) {
        // The sender is `self`, so the wait cannot fail.
        let _ = self.open.subscribe().wait_for(|open| *open == 0).await;
    }

    /// Where the protocol has a login, the oldest that waits makes room.
    fn add_waiting(
        &self,
        waiting: &mut BTreeMap<u64, Arc<Notify>>,
        protocol: Protocol,
        (number, evicted): (u64, &Arc<Notify>),
    ) {
        if protocol != Protocol::Smtp
            && waiting.len() >= self.limits.waiting_per_address
            && let Some((_, oldest)) = waiting.pop_first()
        {
            oldest.notify_one();
            self.evicted.fetch_add(1, Ordering::Relaxed);
        }
        waiting.insert(number, evicted.clone());
    }

    fn refuse(&self, why: Refused) -> Refused {
        self.refused.fetch_add(1, Ordering::Relaxed);
        why
    }

    fn no_longer_waits(&self, key: (Protocol, IpAddr), number: u64) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = table.waiting.get_mut(&key) {
            waiting.remove(&number);
            if waiting.is_empty() {
                table.waiting.remove(&key);
            }
        }
    }
}

impl Place {
    /// The user has logged in: the connection does not count for its address any more.
    pub fn logged_in(&self) {
        self.connections.no_longer_waits(self.key, self.number.load(Ordering::Relaxed));
    }

    /// Nobody is logged in any more: the connection counts again, as one that has just come.
    pub fn logged_out(&self) {
        let mut table = self.connections.table.lock().unwrap_or_else(PoisonError::into_inner);
        let number = table.next;
        table.next += 1;
        let waiting = table.waiting.entry(self.key).or_default();
        self.connections.add_waiting(waiting, self.key.0, (number, &self.evicted));
        self.number.store(number, Ordering::Relaxed);
    }

    /// Comes back when the connection has to go for a newer one; never after `logged_in`.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.no_longer_waits(self.key, self.number.load(Ordering::Relaxed));
        self.connections.open.send_modify(|open| *open -= 1);
    }
}

/// What counts as one address: a customer has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn connections() -> Arc<Connections> {
        Connections::new(Limits { total: 4, waiting_per_address: 2, smtp_per_address: 2 })
    }

    async fn is_evicted(place: &Place) -> bool {
        let at_once = std::time::Duration::from_millis(1);
        tokio::time::timeout(at_once, place.evicted()).await.is_ok()
    }

    #[tokio::test]
    async fn the_oldest_silent_connection_makes_room_for_a_new_one() -> Result<(), Refused> {
        for protocol in [Protocol::Imap, Protocol::Submission] {
            let all = connections();
            let oldest = all.admit(protocol, HERE)?;
            let second = all.admit(protocol, HERE)?;
            let third = all.admit(protocol, HERE)?;
            assert!(is_evicted(&oldest).await);
            assert!(!is_evicted(&second).await && !is_evicted(&third).await);
            assert_eq!(all.counts().evicted, 1);
        }
        Ok(())
    }

    #[tokio::test]
    async fn who_has_logged_in_is_neither_counted_nor_evicted() -> Result<(), Refused> {
        let all = connections();
        let user = all.admit(Protocol::Imap, HERE)?;
        user.logged_in();
        let (one, two) = (all.admit(Protocol::Imap, HERE)?, all.admit(Protocol::Imap, HERE)?);
        assert!(!is_evicted(&user).await && !is_evicted(&one).await && !is_evicted(&two).await);
        Ok(())
    }

    #[tokio::test]
    async fn who_has_logged_out_is_counted_again_and_is_not_the_oldest() -> Result<(), Refused> {
        let all = connections();
        let user = all.admit(Protocol::Imap, HERE)?;
        user.logged_in();
        let one = all.admit(Protocol::Imap, HERE)?;
        user.logged_out();
        let _two = all.admit(Protocol::Imap, HERE)?;
        assert!(is_evicted(&one).await && !is_evicted(&user).await);
        let _three = all.admit(Protocol::Imap, HERE)?;
        assert!(is_evicted(&user).await);
        Ok(())
    }

    #[test]
    fn smtp_is_refused_at_its_limit_and_let_in_when_one_has_gone() -> Result<(), Refused> {
        let all = connections();
        let first = all.admit(Protocol::Smtp, HERE)?;
        let _second = all.admit(Protocol::Smtp, HERE)?;
        assert_eq!(all.admit(Protocol::Smtp, HERE).err(), Some(Refused::Address));
        drop(first);
        assert!(all.admit(Protocol::Smtp, HERE).is_ok());
        assert_eq!(all.counts().refused, 1);
        Ok(())
    }

    #[tokio::test]
    async fn the_total_is_kept_and_closing_is_seen() -> Result<(), Refused> {
        let all = connections();
        let from = |last| IpAddr::V4(Ipv4Addr::new(192, 0, 2, last));
        let places = (0..4).map(|n| all.admit(Protocol::Imap, from(n)));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        assert_eq!(all.admit(Protocol::Imap, from(9)).err(), Some(Refused::Full));
        drop(places);
        all.all_closed().await;
        assert_eq!(all.counts().open, 0);
        assert!(all.table.lock().is_ok_and(|table| table.waiting.is_empty()));
        Ok(())
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address_and_ipv6_counts_by_64_bits() {
        let parse = |text: &str| text.parse::<IpAddr>().map(network).ok();
        assert_eq!(parse("::ffff:192.0.2.1"), parse("192.0.2.1"));
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1"));
        assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
    }
}
