//! Look-ups in DNS: MX, A, AAAA and TXT, by the system's resolvers or by those of `[outbound]
//! resolver`. Decides nothing: what an answer means is `outbound::next_hop`'s.

pub mod proven;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::{ResolverBuilder, TokioResolver};

use super::mta_sts::{Looked, Names};
use crate::outbound::next_hop::{Answer, Exchanger};

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How often it is asked again.
const RETRIES: usize = 2;
/// Answers kept in memory, each for its time to live at most.
const CACHE_ANSWERS_MAX: u64 = 10_000;
/// How long an answer is believed that something is not there, whatever it says itself.
const NEGATIVE_TTL_MAX: Duration = Duration::from_secs(300);

/// Asks DNS.
pub struct Dns {
    /// Or why nobody can be asked.
    resolver: Result<TokioResolver, String>,
}

impl Dns {
    /// By these servers, or by those of the system when there are none. Asks nothing yet. Where the
    /// system names nobody, every answer is unknown: a smarthost may need no DNS at all.
    pub fn new(servers: &[SocketAddr]) -> Dns {
        let resolver = open(servers).map_err(|error| error.to_string());
        if let Err(error) = &resolver {
            tracing::warn!(error, "no DNS: see [outbound] resolver, or /etc/resolv.conf");
        }
        Dns { resolver }
    }

    /// The MX records of a domain.
    pub async fn exchangers(&self, domain: &str) -> Answer<Exchanger> {
        self.ask(domain, RecordType::MX, exchanger).await
    }

    /// The addresses of a host, those of IPv6 and IPv4 in turn.
    pub async fn addresses(&self, host: &str) -> Answer<IpAddr> {
        if let Ok(address) = host.parse() {
            return Answer::Found(vec![address]);
        }
        let (six, four) =
            tokio::join!(self.ask(host, RecordType::AAAA, v6), self.ask(host, RecordType::A, v4));
        both(six, four)
    }

    /// The TXT records of a name, each with its strings put together; what is not UTF-8 in them is
    /// replaced.
    pub async fn texts(&self, name: &str) -> Answer<String> {
        let text = |data: &RData| match data {
            RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
            _ => None,
        };
        self.ask(name, RecordType::TXT, text).await
    }

    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Answer<T> {
        // With a dot at its end no search domain is tried. RFC 5321 §5.1
        let asked = format!("{}.", name.trim_end_matches('.'));
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(why) => return Answer::Unknown(why.clone()),
        };
        match resolver.lookup(asked, kind).await {
            Ok(lookup) => {
                let found: Vec<T> = lookup.answers().iter().filter_map(|r| pick(&r.data)).collect();
                if found.is_empty() { Answer::Nothing } else { Answer::Found(found) }
            }
            Err(error) => failed(&error),
        }
    }
}

impl Names for Dns {
    fn texts<'a>(&'a self, name: &'a str) -> Looked<'a, Vec<String>> {
        Box::pin(async { all(Dns::texts(self, name).await) })
    }

    fn addresses<'a>(&'a self, host: &'a str) -> Looked<'a, Vec<IpAddr>> {
        Box::pin(async { all(Dns::addresses(self, host).await) })
    }
}

fn all<T>(answer: Answer<T>) -> io::Result<Vec<T>> {
    match answer {
        Answer::Found(found) => Ok(found),
        Answer::Nothing | Answer::NoDomain => Ok(Vec::new()),
        Answer::Unknown(why) => Err(io::Error::other(why)),
    }
}

fn exchanger(data: &RData) -> Option<Exchanger> {
    let RData::MX(mx) = data else { return None };
    let host = mx.exchange.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    Some(Exchanger { preference: mx.preference, host })
}

fn v6(data: &RData) -> Option<IpAddr> {
    let RData::AAAA(address) = data else { return None };
    Some(IpAddr::V6(address.0))
}

fn v4(data: &RData) -> Option<IpAddr> {
    let RData::A(address) = data else { return None };
    Some(IpAddr::V4(address.0))
}

fn open(servers: &[SocketAddr]) -> Result<TokioResolver, NetError> {
    let mut builder = match servers {
        [] => TokioResolver::builder_tokio()?,
        servers => by(servers),
    };
    let options = builder.options_mut();
    options.timeout = TIMEOUT;
    options.attempts = RETRIES;
    options.cache_size = CACHE_ANSWERS_MAX;
    options.negative_max_ttl = Some(NEGATIVE_TTL_MAX);
    builder.build()
}

fn by(servers: &[SocketAddr]) -> ResolverBuilder<TokioRuntimeProvider> {
    let server = |address: &SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
        let at = |mut connection: ConnectionConfig| {
            connection.port = address.port();
            connection
        };
        NameServerConfig::new(address.ip(), true, connections.map(at).to_vec())
    };
    let config = ResolverConfig::from_name_servers(servers.iter().map(server).collect());
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    builder.options_mut().use_hosts_file = ResolveHosts::Never;
    builder
}

fn failed<T>(error: &NetError) -> Answer<T> {
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NXDomain => Answer::NoDomain,
            ResponseCode::NoError => Answer::Nothing,
            code => Answer::Unknown(code.to_string()),
        },
        NetError::Dns(DnsError::ResponseCode(ResponseCode::NXDomain)) => Answer::NoDomain,
        NetError::Dns(DnsError::ResponseCode(code)) => Answer::Unknown(code.to_string()),
        other => Answer::Unknown(other.to_string()),
    }
}

/// What is found of one family counts, whatever became of the other.
fn both(v6: Answer<IpAddr>, v4: Answer<IpAddr>) -> Answer<IpAddr> {
    match (v6, v4) {
        (Answer::Found(v6), Answer::Found(v4)) => {
            let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
            let mut turns = Vec::new();
            loop {
                let pair = [v6.next(), v4.next()];
                if pair == [None, None] {
                    return Answer::Found(turns);
                }
                turns.extend(pair.into_iter().flatten());
            }
        }
        (Answer::Found(found), _) | (_, Answer::Found(found)) => Answer::Found(found),
        (Answer::Unknown(why), _) | (_, Answer::Unknown(why)) => Answer::Unknown(why),
        (Answer::NoDomain, Answer::NoDomain) => Answer::NoDomain,
        _ => Answer::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_take_turns_and_one_is_enough() {
        let v6 = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        let v4 = |n: u8| IpAddr::from([192, 0, 2, n]);
        let found = Answer::Found;
        let merged = both(found(vec![v6(1), v6(2), v6(3)]), found(vec![v4(1)]));
        assert_eq!(merged, found(vec![v6(1), v4(1), v6(2), v6(3)]));
        assert_eq!(both(Answer::Nothing, found(vec![v4(1)])), found(vec![v4(1)]));
        let unknown = || Answer::Unknown("SERVFAIL".into());
        assert_eq!(both(unknown(), found(vec![v4(1)])), found(vec![v4(1)]));
        assert_eq!(both(Answer::Nothing, unknown()), unknown());
        assert_eq!(both(Answer::Nothing, Answer::NoDomain), Answer::Nothing);
        assert_eq!(both(Answer::NoDomain, Answer::NoDomain), Answer::NoDomain);
    }
}
