//! From what DNS says of a destination to the servers that are tried, in their order. Asks DNS
//! nothing itself. RFC 5321 §5.1

use std::net::{IpAddr, SocketAddr};

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
}

impl Domain<'_> {
    /// The domain's policy may ask for more than we would, never for less.
    fn security(&self) -> Security {
        match (self.policy, self.security) {
            (Applied::Enforce(_), Security::Opportunistic) => Security::Verified,
            (_, security) => security,
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
        rest.into_iter().partition(|(exchanger, _)| domain.policy.allows(&exchanger.host));
    let barred: Vec<String> = barred.into_iter().map(|(exchanger, _)| exchanger.host).collect();
    let unknown = rest.iter().find_map(|(exchanger, answer)| match answer {
        Answer::Unknown(why) => Some(format!("{} cannot be looked up: {why}", exchanger.host)),
        _ => None,
    });
    let hop = |(exchanger, answer): (Exchanger, Answer<IpAddr>)| Hop {
        addresses: socket_addresses(&answer, domain.port),
        name: exchanger.host,
        security: domain.security(),
        login: Login::None,
    };
    let hops: Vec<Hop> = rest.into_iter().map(hop).filter(|h| !h.addresses.is_empty()).collect();
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
        return Ok(Hop { name: host.into(), addresses, security, login });
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
