//! A resolver that knows what a test tells it, and says that it has validated it.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, CNAME, MX, TLSA, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

/// Nothing is remembered by who asks.
const TTL_SECS: u32 = 0;

#[derive(Default)]
struct Zone {
    records: HashMap<(String, RecordType), Vec<RData>>,
    asked: Vec<(String, RecordType)>,
    aliases: HashMap<String, String>,
    insecure: HashSet<String>,
    failing: HashSet<String>,
    long: HashSet<String>,
}

/// A running resolver.
pub(crate) struct Resolver {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

impl Resolver {
    pub(crate) async fn start() -> Resolver {
        let zone = Arc::new(Mutex::new(Zone::default()));
        loop {
            let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
            let address = socket.local_addr().expect("an address");
            let Ok(listener) = TcpListener::bind(address).await else { continue };
            tokio::spawn(serve(socket, zone.clone()));
            tokio::spawn(serve_tcp(listener, zone.clone()));
            return Resolver { address, zone };
        }
    }

    pub(crate) fn mx(&self, domain: &str, hosts: &[&str]) {
        let mx = |(n, host): (usize, &&str)| RData::MX(MX::new(n as u16, name(host)));
        self.set(domain, RecordType::MX, hosts.iter().enumerate().map(mx).collect());
    }

    pub(crate) fn address(&self, host: &str, address: IpAddr) {
        let IpAddr::V4(address) = address else { panic!("IPv4 only") };
        self.set(host, RecordType::A, vec![RData::A(A(address))]);
    }

    pub(crate) fn text(&self, name: &str, strings: &[&str]) {
        let strings = strings.iter().map(|string| (*string).to_owned()).collect();
        self.set(name, RecordType::TXT, vec![RData::TXT(TXT::new(strings))]);
    }

    /// `_port._tcp.host`, with one record: its numbers and its data.
    pub(crate) fn tlsa(&self, (host, port): (&str, u16), numbers: [u8; 3], data: &[u8]) {
        let [usage, selector, matching] = numbers;
        let tlsa = TLSA::new(usage.into(), selector.into(), matching.into(), data.to_vec());
        let name = format!("_{port}._tcp.{host}");
        self.set(&name, RecordType::TLSA, vec![RData::TLSA(tlsa)]);
    }

    pub(crate) fn alias(&self, name: &str, of: &str) {
        lock(&self.zone).aliases.insert(name.to_owned(), of.to_owned());
    }

    /// From now on, which names are in zones that are not signed.
    pub(crate) fn insecure(&self, names: &[&str]) {
        lock(&self.zone).insecure = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// From now on, for which names there is no answer: SERVFAIL.
    pub(crate) fn fails(&self, names: &[&str]) {
        lock(&self.zone).failing = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Its answers come over TCP only.
    pub(crate) fn long(&self, name: &str) {
        lock(&self.zone).long.insert(name.to_owned());
    }

    /// How often this was asked.
    pub(crate) fn asked(&self, name: &str, kind: RecordType) -> usize {
        let asked = &lock(&self.zone).asked;
        asked.iter().filter(|(asked, of)| asked == name && *of == kind).count()
    }

    fn set(&self, name: &str, kind: RecordType, data: Vec<RData>) {
        lock(&self.zone).records.insert((name.to_owned(), kind), data);
    }
}

fn lock(zone: &Mutex<Zone>) -> std::sync::MutexGuard<'_, Zone> {
    zone.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{text}.")).expect("a name")
}

async fn serve(socket: UdpSocket, zone: Arc<Mutex<Zone>>) {
    let mut bytes = [0; 4096];
    while let Ok((count, from)) = socket.recv_from(&mut bytes).await {
        let Ok(question) = Message::from_vec(&bytes[..count]) else { continue };
        let mut answer = answer(&question, &mut lock(&zone));
        if lock(&zone).long.contains(&asked(&question)) {
            answer.answers.clear();
            answer.metadata.truncation = true;
        }
        let answer = answer.to_vec().expect("a message");
        let _ = socket.send_to(&answer, from).await;
    }
}

async fn serve_tcp(listener: TcpListener, zone: Arc<Mutex<Zone>>) {
    while let Ok((mut socket, _)) = listener.accept().await {
        let Ok(length) = socket.read_u16().await else { continue };
        let mut bytes = vec![0; usize::from(length)];
        let Ok(_) = socket.read_exact(&mut bytes).await else { continue };
        let Ok(question) = Message::from_vec(&bytes) else { continue };
        let answer = answer(&question, &mut lock(&zone)).to_vec().expect("a message");
        let length = u16::try_from(answer.len()).expect("short");
        let _ = socket.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await;
    }
}

fn asked(question: &Message) -> String {
    question.queries[0].name().to_ascii().trim_end_matches('.').to_ascii_lowercase()
}

fn answer(question: &Message, zone: &mut Zone) -> Message {
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    let query = question.queries[0].clone();
    let asked = asked(question);
    zone.asked.push((asked.clone(), query.query_type()));
    let mut real = asked.clone();
    if let Some(of) = zone.aliases.get(&asked) {
        let alias = RData::CNAME(CNAME(name(of)));
        answer.add_answer(Record::from_rdata(query.name().clone(), TTL_SECS, alias));
        real.clone_from(of);
    }
    let exists = zone.records.keys().any(|(name, _)| *name == real);
    let found = zone.records.get(&(real.clone(), query.query_type()));
    for data in found.into_iter().flatten() {
        answer.add_answer(Record::from_rdata(name(&real), TTL_SECS, data.clone()));
    }
    answer.metadata.recursion_available = true;
    // Said only to those who ask for it. RFC 6840 §5.8
    answer.metadata.authentic_data =
        question.metadata.authentic_data && !zone.insecure.contains(&asked);
    answer.metadata.response_code = match exists {
        _ if zone.failing.contains(&asked) => ResponseCode::ServFail,
        true => ResponseCode::NoError,
        false => ResponseCode::NXDomain,
    };
    answer.add_query(query);
    answer
}
