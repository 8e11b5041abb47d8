//! What `[outbound]` means. Opens no socket and no file.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use toml::Spanned;

use super::network;
use super::written::{Destination as WrittenDestination, Outbound as Written, Text};
use super::{Outbound, SmarthostLogin};
use crate::directory::findings::Findings;
use crate::directory::name;
use crate::outbound::agenda::Limits;
use crate::outbound::routes::{Destination, Routes, SMTP_PORT, Server, Via};
use crate::outbound::schedule::Policy;
use crate::outbound::{Login, Security};

/// DNS.
const DNS_PORT: u16 = 53;
/// Most resolvers.
const RESOLVERS_MAX: usize = 8;
/// Most entries of `[[outbound.destination]]`.
const DESTINATIONS_MAX: usize = 10_000;
/// Longest `expire_hours`, and everything else that is a time: 30 days.
const SECS_MOST: i64 = 30 * 24 * 3600;
/// Largest count of connections.
const CONNECTIONS_MOST: i64 = 1_000;

const VIA_REMEDY: &str =
    "write \"mx\", \"hold\", \"smtp://user@smarthost:587\" or \"smtps://user@smarthost\"";

/// How mail leaves.
pub(super) fn check(found: &mut Findings, written: Written) -> Outbound {
    let (via, login) = via(found, (written.via, written.password));
    let retry = retry(found, [written.retry_first_secs, written.retry_max_secs]);
    let retry = Policy {
        delay_notice_secs: secs(found, written.delay_notice_secs, retry.delay_notice_secs),
        expire_secs: hours(found, written.expire_hours, retry.expire_secs),
        ..retry
    };
    let limits = Limits::default();
    let mut count = |value, default: usize| {
        let most = number(found, value, (1, CONNECTIONS_MOST, default as i64));
        usize::try_from(most).unwrap_or(default)
    };
    let limits = Limits {
        total: count(written.connections_max, limits.total),
        per_destination: count(written.connections_per_destination_max, limits.per_destination),
    };
    let port = number(found, written.port, (1, 65_535, i64::from(SMTP_PORT)));
    let routes = Routes {
        via,
        tls: written.tls.and_then(|text| security(found, &text, TLS)).unwrap_or(TLS_DEFAULT),
        port: u16::try_from(port).unwrap_or(SMTP_PORT),
        destinations: destinations(found, written.destination),
    };
    let resolver = resolvers(found, written.resolver);
    Outbound {
        routes,
        login,
        retry,
        limits,
        mta_sts: written.mta_sts.unwrap_or(true),
        dane: dane(found, written.dane, &resolver),
        resolver,
        ca: written.ca.map(|text| network::reference(found, text.get_ref())),
    }
}

fn via(
    found: &mut Findings,
    (via, password): (Option<Text>, Option<Text>),
) -> (Via, Option<SmarthostLogin>) {
    let (server, user, at) = match via {
        None => (None, None, 0..0),
        Some(text) if text.get_ref() == "mx" => (None, None, text.span()),
        Some(text) if text.get_ref() == "hold" => return (Via::Hold, None),
        Some(text) => match Server::parse(text.get_ref()) {
            Ok((server, user)) => (Some(server), user, text.span()),
            Err(why) => {
                let message = format!("{:?} {why}", text.get_ref());
                found.fault(text.span(), message, VIA_REMEDY);
                return (Via::Mx, None);
            }
        },
    };
    match (server, user, password) {
        (Some(server), Some(user), Some(password)) => {
            let path = network::secret(found, &password);
            let login = path.map(|password_path| SmarthostLogin { user, password_path });
            (Via::Server(server, Login::Configured), login)
        }
        (Some(server), Some(_), None) => {
            let remedy = "add password = \"file:smarthost.secret\", or take the user out of via";
            found.lacking(at, "there is a user, but no password", remedy);
            (Via::Server(server, Login::None), None)
        }
        (server, None, password) => {
            if let Some(password) = password {
                let remedy = "write via = \"smtp://user@smarthost:587\", or take the password out";
                found.warn(password.span(), "nobody logs in with this password", remedy);
            }
            (server.map_or(Via::Mx, |server| Via::Server(server, Login::None)), None)
        }
        (None, Some(_), _) => (Via::Mx, None),
    }
}

/// What `tls` may say, and what it means.
type Words = &'static [(&'static str, Security)];

const TLS_DEFAULT: Security = Security::Opportunistic;
const TLS: Words = &[("opportunistic", Security::Opportunistic), ("verified", Security::Verified)];
const DESTINATION_TLS: Words = &[
    ("opportunistic", Security::Opportunistic),
    ("verified", Security::Verified),
    ("off", Security::Off),
];

fn security(found: &mut Findings, text: &Text, words: Words) -> Option<Security> {
    let meant = words.iter().find(|(word, _)| word == text.get_ref()).map(|(_, meant)| *meant);
    if meant.is_none() {
        let all: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let message = format!("{:?} says nothing about TLS", text.get_ref());
        found.fault(text.span(), message, &format!("write {}", all.join(" or ")));
    }
    meant
}

fn destinations(
    found: &mut Findings,
    written: Vec<Spanned<WrittenDestination>>,
) -> BTreeMap<String, Destination> {
    if let Some(entry) = written.get(DESTINATIONS_MAX) {
        found.fault(entry.span(), "too many destinations", "leave 10000 of them at most");
    }
    let mut destinations = BTreeMap::new();
    for entry in written.into_iter().take(DESTINATIONS_MAX) {
        let at = entry.span();
        let WrittenDestination { domain, tls, via } = entry.into_inner();
        let Some(domain) = domain else {
            found.missing(at, "domain", "write domain = \"example.net\"");
            continue;
        };
        if !name::is_domain(domain.get_ref()) {
            let message = format!("{:?} is not a domain", domain.get_ref());
            found.fault(domain.span(), message, "write the part behind the @: \"example.net\"");
        }
        let destination = Destination {
            tls: tls.and_then(|text| security(found, &text, DESTINATION_TLS)),
            via: via.and_then(|text| destination_via(found, &text)),
        };
        let key = domain.get_ref().to_ascii_lowercase();
        if destinations.insert(key, destination).is_some() {
            let remedy = "put what is said of a domain into one [[outbound.destination]]";
            found.fault(domain.span(), "this domain has an entry already", remedy);
        }
    }
    destinations
}

fn destination_via(found: &mut Findings, text: &Text) -> Option<Server> {
    const REMEDY: &str = "write \"smtp://relay.example.net:25\" or \"smtps://relay.example.net\"";
    match Server::parse(text.get_ref()) {
        Ok((server, None)) => Some(server),
        Ok((_, Some(_))) => {
            let message = "we log in at the server of [outbound] via only";
            found.fault(text.span(), message, REMEDY);
            None
        }
        Err(why) => {
            found.fault(text.span(), format!("{:?} {why}", text.get_ref()), REMEDY);
            None
        }
    }
}

fn resolvers(found: &mut Findings, written: Vec<Text>) -> Vec<SocketAddr> {
    if let Some(text) = written.get(RESOLVERS_MAX) {
        found.fault(text.span(), "too many resolvers", "leave 8 of them at most");
    }
    let mut list = Vec::new();
    for text in written.into_iter().take(RESOLVERS_MAX) {
        let plain = text.get_ref().parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT));
        match text.get_ref().parse().or(plain) {
            Ok(address) => list.push(address),
            Err(_) => {
                let message = format!("{:?} is not the address of a resolver", text.get_ref());
                found.fault(text.span(), message, "write an IP address: \"127.0.0.1\"");
            }
        }
    }
    list
}

/// Whether an answer was proven is the resolver's word, and on a network everybody could give it.
fn dane(found: &mut Findings, wanted: Option<Spanned<bool>>, resolver: &[SocketAddr]) -> bool {
    let Some(wanted) = wanted.filter(|wanted| *wanted.get_ref()) else { return false };
    let is_here = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
    if resolver.is_empty() || !resolver.iter().all(is_here) {
        let message = "DANE needs a resolver of its own that validates DNSSEC, on this machine: \
                       answers from elsewhere can be forged on the way";
        let remedy = "run one (unbound, for example) and write resolver = [\"127.0.0.1\"], or take \
                      dane out";
        found.fault(wanted.span(), message, remedy);
    }
    true
}

fn retry(found: &mut Findings, [first, max]: [Option<Spanned<i64>>; 2]) -> Policy {
    let policy = Policy::default();
    let at = first.as_ref().or(max.as_ref()).map(Spanned::span);
    let policy = Policy {
        retry_first_secs: secs(found, first, policy.retry_first_secs),
        retry_max_secs: secs(found, max, policy.retry_max_secs),
        ..policy
    };
    if let Some(at) = at
        && policy.retry_first_secs > policy.retry_max_secs
    {
        let remedy = "make retry_max_secs at least as long as retry_first_secs";
        found.fault(at, "the first wait is longer than the longest", remedy);
    }
    policy
}

fn secs(found: &mut Findings, value: Option<Spanned<i64>>, default: i64) -> i64 {
    number(found, value, (1, SECS_MOST, default))
}

fn hours(found: &mut Findings, value: Option<Spanned<i64>>, default: i64) -> i64 {
    number(found, value, (1, SECS_MOST / 3600, default / 3600)).saturating_mul(3600)
}

fn number(
    found: &mut Findings,
    value: Option<Spanned<i64>>,
    (least, most, default): (i64, i64, i64),
) -> i64 {
    let Some(value) = value else { return default };
    let number = *value.get_ref();
    if !(least..=most).contains(&number) {
        let remedy = format!("write a number from {least} to {most}");
        found.fault(value.span(), format!("{number} is out of range"), &remedy);
    }
    number
}

#[cfg(test)]
#[path = "outbound_tests.rs"]
mod tests;
