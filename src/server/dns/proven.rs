//! Look-ups of which it has to be known whether DNSSEC proves the answer: MX, A, AAAA and TLSA, for
//! DANE. Asks validating resolvers on this machine, whose word (the AD bit) is believed because
//! nobody can change it on the way. Remembers nothing, that is their part. RFC 6840 §5.7, RFC 6840
//! §5.8

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hickory_resolver::proto::op::{Edns, Message, MessageType, Query, ResponseCode};
use hickory_resolver::proto::rr::rdata::TLSA;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::{RETRIES, TIMEOUT, both, exchanger, v4, v6};
use crate::outbound::dane::{Published, Record};
use crate::outbound::next_hop::{Answer, Exchanger};

/// Longest answer over UDP; a longer one comes over TCP. RFC 9715 §3.2
const UDP_BYTES_MAX: u16 = 1232;
/// Names that one is an alias of, one behind the other.
const ALIASES_MAX: usize = 16;

/// Whether DNSSEC proves an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// All of it, also that something is not there.
    Secure,
    /// Not, because a zone on the way is not signed.
    Insecure,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven<T> {
    /// What was found.
    pub answer: Answer<T>,
    /// Whether it is proven.
    pub proof: Proof,
    /// The name that has the records: another one than asked for when that is an alias.
    pub name: String,
}

/// Asks resolvers that validate.
pub struct Validating {
    resolvers: Vec<SocketAddr>,
}

impl Validating {
    /// Trusts these, in this order. Asks nothing yet.
    pub fn new(resolvers: &[SocketAddr]) -> Validating {
        Validating { resolvers: resolvers.to_vec() }
    }

    /// The MX records of a domain.
    pub async fn exchangers(&self, domain: &str) -> Proven<Exchanger> {
        self.ask(domain, RecordType::MX, exchanger).await
    }

    /// The addresses of a host, those of IPv6 and IPv4 in turn; proven when all are.
    pub async fn addresses(&self, host: &str) -> Proven<IpAddr> {
        let (six, four) =
            tokio::join!(self.ask(host, RecordType::AAAA, v6), self.ask(host, RecordType::A, v4));
        let is_open = |one: &Proven<IpAddr>| {
            matches!(one.answer, Answer::Found(_)) && one.proof == Proof::Insecure
        };
        let proof = if is_open(&six) || is_open(&four) { Proof::Insecure } else { Proof::Secure };
        let name = if matches!(four.answer, Answer::Found(_)) { four.name } else { six.name };
        Proven { answer: both(six.answer, four.answer), proof, name }
    }

    /// The TLSA records for a port of a host whose addresses, and its name unless it is an alias,
    /// are proven; `None` when it has none that are proven too. RFC 7672 §2.2.2, RFC 7672 §2.2.3
    pub async fn published(&self, (host, name): (&str, &str), port: u16) -> Option<Published> {
        let first = self.below(name, port).await;
        match first {
            None if host != name => self.below(host, port).await,
            first => first,
        }
    }

    /// Whether the resolvers validate at all: the root is signed.
    pub async fn validates(&self) -> bool {
        let root = self.ask("", RecordType::NS, |_| Some(())).await;
        root.proof == Proof::Secure && matches!(root.answer, Answer::Found(_))
    }

    async fn below(&self, name: &str, port: u16) -> Option<Published> {
        let asked = format!("_{port}._tcp.{name}");
        let found = self.ask(&asked, RecordType::TLSA, record).await;
        match (found.answer, found.proof) {
            (Answer::Found(found), Proof::Secure) => Some(Published::of(name, &found)),
            (Answer::Unknown(why), _) => Some(Published::Unknown(why)),
            _ => None,
        }
    }

    async fn ask<T>(
        &self,
        name: &str,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Proven<T> {
        match self.exchange(name, kind).await {
            Ok(message) => read(name, &message, pick),
            Err(error) => {
                let answer = Answer::Unknown(error.to_string());
                Proven { answer, proof: Proof::Insecure, name: name.to_owned() }
            }
        }
    }

    /// Each resolver in turn, until one answers.
    async fn exchange(&self, name: &str, kind: RecordType) -> io::Result<Message> {
        let name = Name::from_utf8(format!("{}.", name.trim_end_matches('.')));
        let query = Query::query(name.map_err(io::Error::other)?, kind);
        let mut last = io::Error::other("no resolver is configured");
        for _ in 0..=RETRIES {
            for resolver in &self.resolvers {
                match timeout(TIMEOUT, exchange(*resolver, &query)).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(error)) => last = error,
                    Err(_) => last = io::ErrorKind::TimedOut.into(),
                }
            }
        }
        Err(last)
    }
}

fn record(data: &RData) -> Option<Record> {
    let RData::TLSA(TLSA { cert_usage, selector, matching, cert_data, .. }) = data else {
        return None;
    };
    let (usage, selector) = (u8::from(*cert_usage), u8::from(*selector));
    Some(Record { usage, selector, matching: u8::from(*matching), data: cert_data.clone() })
}

fn read<T>(name: &str, message: &Message, pick: impl Fn(&RData) -> Option<T>) -> Proven<T> {
    let found: Vec<T> = message.answers.iter().filter_map(|record| pick(&record.data)).collect();
    let answer = match message.metadata.response_code {
        ResponseCode::NoError if found.is_empty() => Answer::Nothing,
        ResponseCode::NoError => Answer::Found(found),
        ResponseCode::NXDomain => Answer::NoDomain,
        code => Answer::Unknown(code.to_string()),
    };
    let proof = match message.metadata.authentic_data {
        true => Proof::Secure,
        false => Proof::Insecure,
    };
    Proven { answer, proof, name: resolved(name, message) }
}

/// The name behind all aliases.
fn resolved(name: &str, message: &Message) -> String {
    let plain = |name: &Name| name.to_ascii().trim_end_matches('.').to_ascii_lowercase();
    let mut name = name.to_owned();
    for _ in 0..ALIASES_MAX {
        let behind = message.answers.iter().find_map(|record| match &record.data {
            RData::CNAME(behind) if plain(&record.name) == name => Some(plain(&behind.0)),
            _ => None,
        });
        match behind {
            Some(behind) => name = behind,
            None => break,
        }
    }
    name
}

/// The AD bit of a question asks for that of the answer. RFC 6840 §5.7
async fn exchange(resolver: SocketAddr, query: &Query) -> io::Result<Message> {
    let mut question = Message::query();
    question.metadata.recursion_desired = true;
    question.metadata.authentic_data = true;
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_BYTES_MAX);
    question.set_edns(edns);
    question.add_query(query.clone());
    let bytes = question.to_vec().map_err(io::Error::other)?;
    let answer = over_udp(resolver, &question, &bytes).await?;
    match answer.metadata.truncation {
        true => over_tcp(resolver, &question, &bytes).await,
        false => Ok(answer),
    }
}

async fn over_udp(resolver: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let local: IpAddr = match resolver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(resolver).await?;
    socket.send(bytes).await?;
    let mut answer = [0; UDP_BYTES_MAX as usize];
    loop {
        let count = socket.recv(&mut answer).await?;
        if let Some(answer) = answering(question, &answer[..count]) {
            return Ok(answer);
        }
    }
}

async fn over_tcp(resolver: SocketAddr, question: &Message, bytes: &[u8]) -> io::Result<Message> {
    let mut socket = TcpStream::connect(resolver).await?;
    let length = u16::try_from(bytes.len()).map_err(io::Error::other)?;
    socket.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
    let mut answer = vec![0; usize::from(socket.read_u16().await?)];
    socket.read_exact(&mut answer).await?;
    let no_answer = || io::Error::other("the resolver answers something else");
    answering(question, &answer).ok_or_else(no_answer)
}

/// The message, if it answers this question.
fn answering(question: &Message, bytes: &[u8]) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let is_it = answer.metadata.id == question.metadata.id
        && answer.metadata.message_type == MessageType::Response
        && answer.queries == question.queries;
    is_it.then_some(answer)
}
