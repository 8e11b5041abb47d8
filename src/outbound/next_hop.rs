//! From what DNS says of a destination to the servers that are tried, in their order. Asks DNS
//! nothing itself. RFC 5321 §5.1

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::dane::{Dane, Published};
use super::mta_sts::Applied;
use super::routes::Route;
use super::{Hop, Login, Security};
use crate::smtp::client::Fate;

/// Most servers of one domain that are looked up; the least preferred are left out.
pub const EXCHANGERS_MAX: usize = 10;
/// Most addresses of one server that are tried.
pub const ADDRESSES_MAX: usize = 8;

/// What a look-up came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer<T> {
    /// At least one record.
    Found(Vec<T>),
    /// The name exists, but has no record of this type.
    Nothing,
    /// The name does not exist: NXDOMAIN.
    NoDomain,
    /// Nobody knows at the moment: SERVFAIL, no answer; says why.
    Unknown(String),
}

/// An MX record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exchanger {
    /// Lower goes first.
    pub preference: u16,
    /// The server's name in lower case without a dot at its end; empty in a null MX.
    pub host: String,
}

/// What we are called, and where we listen for mail.
pub trait Ourselves {
    /// Whether this is our name.
    fn is_our_name(&self, host: &str) -> bool;
    /// Whether we would talk to ourselves there.
    fn is_our_address(&self, address: SocketAddr) -> bool;
}

/// The servers of a domain, the most preferred first, those of one preference at random; or what
/// that means for its recipients. RFC 5321 §5.1
pub fn exchangers(
    domain: &str,
    answer: Answer<Exchanger>,
    entropy: u64,
) -> Result<Vec<Exchanger>, Fate> {
    let mut found = match answer {
        Answer::Found(found) => found,
        // The implicit MX.
        Answer::Nothing => return Ok(vec![Exchanger { preference: 0, host: domain.into() }]),
        Answer::NoDomain => {
            return Err(failed("5.1.2", format!("the domain {domain} does not exist")));
        }
        Answer::Unknown(why) => {
            return Err(deferred(format!("the servers of {domain} cannot be looked up: {why}")));
        }
    };
    // RFC 7505 §3; beside other records it means nothing, RFC 7505 §4.1 wants it alone.
    if found.iter().all(|exchanger| exchanger.host.is_empty()) {
        return Err(failed("5.1.10", format!("the domain {domain} takes no mail (null MX)")));
    }
    found.retain(|exchanger| !exchanger.host.is_empty());
    let mut seed = entropy;
    let mut keyed: Vec<(u16, u64, Exchanger)> =
        found.into_iter().map(|e| (e.preference, scramble(&mut seed), e)).collect();
    keyed.sort_by_key(|(preference, random, _)| (*preference, *random));
    Ok(keyed.into_iter().map(|(_, _, exchanger)| exchanger).collect())
}

/// One more random number out of a random seed: splitmix64.
fn scramble(seed: &mut u64) -> u64 {
    *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *seed;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// What is the same for all servers of a domain.
#[derive(Clone, Copy, Debug)]
pub struct Domain<'a> {
    /// Its name.
    pub name: &'a str,
    /// The port of its servers.
    pub port: u16,
    /// What TLS is worth on the way to them.
    pub security: Security,
    /// What the domain itself says about that.
    pub policy: &'a Applied,
    /// What its servers say in DNS, proven by DNSSEC; by their names.
    pub published: &'a HashMap<String, Published>,
}

impl Domain<'_> {
    /// Whether mail may go to a server. What it says itself is proven, and so counts more than the
    /// domain's policy. RFC 8461 §2
    fn allows(&self, host: &str) -> bool {
        match self.published.get(host) {
            Some(Published::Usable(..)) => true,
            Some(Published::Unusable | Published::Unknown(_)) | None => self.policy.allows(host),
        }
    }

    /// Whether a server is of use: it has addresses, and what it says of itself is not hidden.
    pub fn may_use(&self, host: &str, addresses: &Answer<IpAddr>) -> bool {
        let is_hidden = matches!(self.published.get(host), Some(Published::Unknown(_)));
        matches!(addresses, Answer::Found(_)) && self.allows(host) && !is_hidden
    }

    /// Why a server cannot be used at the moment.
    fn trouble(&self, host: &str, addresses: &Answer<IpAddr>) -> Option<String> {
        match (addresses, self.published.get(host)) {
            (Answer::Unknown(why), _) => Some(format!("{host} cannot be looked up: {why}")),
            (_, Some(Published::Unknown(why))) => {
                Some(format!("the TLSA records of {host} cannot be looked up: {why}"))
            }
            _ => None,
        }
    }

    /// The domain and its servers may ask for more than we would, never for less.
    fn hop(&self, name: String, addresses: Vec<SocketAddr>) -> Hop {
        let security = match (self.policy, self.security) {
            (Applied::Enforce(_), Security::Opportunistic) => Security::Verified,
            (_, security) => security,
        };
        let hop = Hop { name, addresses, security, login: Login::None, dane: None };
        match (self.published.get(&hop.name), security) {
            (_, Security::Off) => hop,
            (Some(Published::Usable(name, records)), _) => {
                let dane = Dane { records: records.clone(), domain: self.name.to_owned() };
                let (name, dane) = (name.clone(), Some(Arc::new(dane)));
                Hop { name, security: Security::Verified, dane, ..hop }
            }
            (Some(Published::Unusable), Security::Opportunistic) => {
                Hop { security: Security::Encrypted, ..hop }
            }
            _ => hop,
        }
    }
}

/// The servers that may be tried, in order: those before ourselves that the domain's policy allows,
/// with their addresses. An error says what it means for the domain's recipients that there is
/// none. RFC 5321 §5.1, RFC 8461 §5
pub fn hops(
    domain: &Domain<'_>,
    exchangers: Vec<(Exchanger, Answer<IpAddr>)>,
    ourselves: &dyn Ourselves,
) -> Result<Vec<Hop>, Fate> {
    let ours = |(exchanger, answer): &&(Exchanger, Answer<IpAddr>)| {
        let addresses = socket_addresses(answer, domain.port);
        ourselves.is_our_name(&exchanger.host)
            || addresses.into_iter().any(|address| ourselves.is_our_address(address))
    };
    let our_preference = exchangers.iter().find(ours).map(|(exchanger, _)| exchanger.preference);
    let before = |(exchanger, _): &(Exchanger, Answer<IpAddr>)| {
        our_preference.is_none_or(|ours| exchanger.preference < ours)
    };
    let rest: Vec<_> = exchangers.into_iter().filter(before).collect();
    if rest.is_empty() {
        let why = format!("mail for {} loops back to this server", domain.name);
        return Err(failed("5.4.6", why));
    }
    let (rest, barred): (Vec<_>, Vec<_>) =
        rest.into_iter().partition(|(exchanger, _)| domain.allows(&exchanger.host));
    let barred: Vec<String> = barred.into_iter().map(|(exchanger, _)| exchanger.host).collect();
    let unknown =
        rest.iter().find_map(|(exchanger, answer)| domain.trouble(&exchanger.host, answer));
    let hop = |(exchanger, answer): (Exchanger, Answer<IpAddr>)| {
        let is_of_use = domain.may_use(&exchanger.host, &answer);
        is_of_use.then(|| domain.hop(exchanger.host, socket_addresses(&answer, domain.port)))
    };
    let hops: Vec<Hop> = rest.into_iter().filter_map(hop).collect();
    match (hops.is_empty(), unknown) {
        (false, _) => Ok(hops),
        (true, Some(why)) => Err(deferred(why)),
        (true, None) if !barred.is_empty() => Err(all_barred(domain.name, &barred)),
        (true, None) => {
            Err(failed("5.4.4", format!("no server of {} has an address", domain.name)))
        }
    }
}

/// Temporary: whoever can forge the MX records of a domain must not be able to have its mail
/// returned. RFC 8461 §5, RFC 3463 §3.8 `X.7.0`
fn all_barred(domain: &str, barred: &[String]) -> Fate {
    let barred = barred.join(", ");
    let why = format!("the MTA-STS policy of {domain} does not allow its servers: {barred}");
    Fate::Deferred(Route::told("4.7.0", why))
}

fn socket_addresses(answer: &Answer<IpAddr>, port: u16) -> Vec<SocketAddr> {
    let Answer::Found(found) = answer else { return Vec::new() };
    found.iter().take(ADDRESSES_MAX).map(|address| SocketAddr::new(*address, port)).collect()
}

/// A server that the config or the directory names. That it has no address, or is ourselves, is
/// their fault, not the recipient's: nothing is given up for it.
pub fn named_hop(
    (host, port): (&str, u16),
    answer: Answer<IpAddr>,
    (security, login): (Security, Login),
    ourselves: &dyn Ourselves,
) -> Result<Hop, Fate> {
    let addresses = socket_addresses(&answer, port);
    if addresses.iter().any(|address| ourselves.is_our_address(*address)) {
        let why = format!("{host}:{port} is this server itself");
        return Err(Fate::Deferred(Route::told("4.4.6", why)));
    }
    if !addresses.is_empty() {
        return Ok(Hop { name: host.into(), addresses, security, login, dane: None });
    }
    Err(deferred(match answer {
        Answer::Unknown(why) => format!("{host} cannot be looked up: {why}"),
        Answer::NoDomain => format!("{host} does not exist"),
        Answer::Nothing | Answer::Found(_) => format!("{host} has no address"),
    }))
}

/// RFC 3463 §3.5 `X.4.3`
fn deferred(why: String) -> Fate {
    Fate::Deferred(Route::told("4.4.3", why))
}

fn failed(status: &str, why: String) -> Fate {
    Fate::Failed(Route::told(status, why))
}

#[cfg(test)]
#[path = "next_hop_tests.rs"]
mod tests;
