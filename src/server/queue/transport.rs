//! The real world of the queue: DNS with what it proves, MTA-STS policies, and the SMTP client.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use super::{Attempt, Errand, Later, Transport};
use crate::mail::address::Address;
use crate::outbound::dane::Published;
use crate::outbound::mta_sts::Applied;
use crate::outbound::next_hop::{
    self, Answer, Domain, EXCHANGERS_MAX, Exchanger, Ourselves, named_hop,
};
use crate::outbound::routes::Route;
use crate::outbound::{Hop, Security};
use crate::server::dns::Dns;
use crate::server::dns::proven::{Proof, Proven, Validating};
use crate::server::mta_sts::Policies;
use crate::server::relay::{Content, Relay};
use crate::smtp::client::{Fate, Mail, Verification};
use crate::store::Store;

/// Servers of one domain that an attempt may need; no more are looked up.
const HOPS_MAX: usize = 4;

/// Everything out there.
pub struct Outside {
    /// Who knows the servers.
    pub dns: Arc<Dns>,
    /// Who knows what domains say about TLS; `None`: nobody is asked.
    pub policies: Option<Arc<Policies>>,
    /// Who proves what DNS says; `None`: TLSA records are not asked for.
    pub dane: Option<Validating>,
    /// Who talks to them.
    pub relay: Arc<Relay>,
    /// Where the content comes from.
    pub store: Arc<dyn Store>,
    /// Whom we would talk to in vain.
    pub ourselves: Us,
}

/// What we are called, and where we listen for mail.
pub struct Us {
    /// Our name.
    pub hostname: String,
    /// Our sockets.
    pub listening: Vec<SocketAddr>,
}

impl Ourselves for Us {
    fn is_our_name(&self, host: &str) -> bool {
        host.eq_ignore_ascii_case(&self.hostname)
    }

    fn is_our_address(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        self.listening.iter().any(|ours| {
            let our_ip = ours.ip().to_canonical();
            ours.port() == address.port()
                && (our_ip == ip || (our_ip.is_unspecified() && is_of_this_machine(ip)))
        })
    }
}

/// The way to an address of this machine begins at that address itself. Sends nothing.
fn is_of_this_machine(ip: IpAddr) -> bool {
    let anywhere = match ip {
        IpAddr::V4(_) => SocketAddr::from(([0, 0, 0, 0], 0)),
        IpAddr::V6(_) => SocketAddr::from(([0; 16], 0)),
    };
    let start = UdpSocket::bind(anywhere).and_then(|socket| {
        socket.connect((ip, 1))?;
        socket.local_addr()
    });
    ip.is_loopback() || start.is_ok_and(|start| start.ip() == ip)
}

impl Transport for Outside {
    fn hops<'a>(&'a self, route: &'a Route, entropy: u64) -> Later<'a, Result<Vec<Hop>, Fate>> {
        Box::pin(async move {
            match route {
                Route::Mx { domain, port, security } => {
                    self.by_mx((domain, *port, *security), entropy).await
                }
                Route::Server { server, security, login } => {
                    let addresses = self.dns.addresses(&server.host).await;
                    let place = (server.host.as_str(), server.port);
                    let way = (*security, *login);
                    let hop = named_hop(place, addresses, way, &self.ourselves);
                    hop.map(|hop| vec![hop])
                }
                Route::Held => Err(Fate::Deferred(Route::told("4.3.2", "all mail is held"))),
                // What is decided goes nowhere.
                Route::Report => Err(Fate::Deferred(Route::told("4.3.0", "it is decided"))),
                Route::Nowhere { status, why } => {
                    let told = Route::told(status, why.clone());
                    Err(match status.starts_with('4') {
                        true => Fate::Deferred(told),
                        false => Fate::Failed(told),
                    })
                }
            }
        })
    }

    fn attempt<'a>(
        &'a self,
        hop: &'a Hop,
        mail: &'a Mail,
        Errand { queued, under }: Errand<'a>,
    ) -> Later<'a, Attempt> {
        Box::pin(async move {
            let (store, blob, trace) = (self.store.clone(), queued.blob, queued.trace);
            let content = Content { store, blob, trace, under: under.clone() };
            self.relay.attempt(hop, mail, &content).await
        })
    }

    fn verify<'a>(
        &'a self,
        hop: &'a Hop,
        reverse_path: Option<&'a Address>,
        to: &'a Address,
    ) -> Later<'a, Verification> {
        Box::pin(self.relay.verify(hop, reverse_path, to))
    }
}

impl Outside {
    async fn by_mx(
        &self,
        (name, port, security): (&str, u16, Security),
        entropy: u64,
    ) -> Result<Vec<Hop>, Fate> {
        let dane = self.dane.as_ref().filter(|_| security != Security::Off);
        let (found, policy) =
            tokio::join!(self.exchangers(dane, name), self.policy(name, security));
        let exchangers = next_hop::exchangers(name, found.answer, entropy)?;
        // Without a proof of who the servers are, theirs is worth nothing. RFC 7672 §2.2.1
        let dane = dane.filter(|_| found.proof == Proof::Secure);
        let mut published = HashMap::new();
        // Ourselves by name may stand anywhere; what is behind is not looked up for nothing.
        let mut known: Vec<(Exchanger, Answer<IpAddr>)> = Vec::new();
        let mut of_use = 0;
        for exchanger in exchangers.into_iter().take(EXCHANGERS_MAX) {
            let is_us = self.ourselves.is_our_name(&exchanger.host);
            let addresses = match (is_us, dane) {
                (true, _) => Answer::Nothing,
                (false, None) => self.dns.addresses(&exchanger.host).await,
                (false, Some(dane)) => {
                    let (addresses, found) = proven(dane, &exchanger.host, port).await;
                    published.extend(found.map(|found| (exchanger.host.clone(), found)));
                    addresses
                }
            };
            let domain = Domain { name, port, security, policy: &policy, published: &published };
            of_use += usize::from(domain.may_use(&exchanger.host, &addresses));
            known.push((exchanger, addresses));
            if is_us || of_use >= HOPS_MAX {
                break;
            }
        }
        let domain = Domain { name, port, security, policy: &policy, published: &published };
        next_hop::hops(&domain, known, &self.ourselves)
    }

    async fn exchangers(&self, dane: Option<&Validating>, domain: &str) -> Proven<Exchanger> {
        match dane {
            Some(dane) => dane.exchangers(domain).await,
            None => Proven {
                answer: self.dns.exchangers(domain).await,
                proof: Proof::Insecure,
                name: domain.to_owned(),
            },
        }
    }

    /// Not asked for where the operator wants no TLS at all.
    async fn policy(&self, domain: &str, security: Security) -> Applied {
        match (&self.policies, security) {
            (None, _) | (_, Security::Off) => Applied::None,
            (Some(policies), _) => policies.policy_for(domain).await,
        }
    }
}

/// A server's addresses, and the TLSA records that it has if those are proven: name servers that
/// do not sign may fail at such questions. RFC 7672 §2.2.2
async fn proven(dane: &Validating, host: &str, port: u16) -> (Answer<IpAddr>, Option<Published>) {
    let Proven { answer, proof, name } = dane.addresses(host).await;
    let is_proven = proof == Proof::Secure && matches!(answer, Answer::Found(_));
    let published = match is_proven {
        true => dane.published((host, &name), port).await,
        false => None,
    };
    (answer, published)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_socket_on_all_addresses_is_on_those_of_this_machine_only() {
        for everywhere in ["0.0.0.0:25", "[::]:25"] {
            let us = Us { hostname: "us".into(), listening: vec![address(everywhere)] };
            assert!(us.is_our_address(address("127.0.0.1:25")), "{everywhere}");
            assert!(us.is_our_address(address("127.8.8.8:25")), "{everywhere}");
            assert!(!us.is_our_address(address("127.0.0.1:26")), "{everywhere}");
            assert!(!us.is_our_address(address("192.0.2.1:25")), "{everywhere}");
        }
        let us = Us { hostname: "us".into(), listening: vec![address("127.0.0.1:25")] };
        assert!(us.is_our_address(address("127.0.0.1:25")));
        assert!(!us.is_our_address(address("127.0.0.2:25")));
        assert!(us.is_our_name("US"));
    }
}
