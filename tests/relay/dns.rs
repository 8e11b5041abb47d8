//! A resolver that knows what a test tells it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, MX, TXT};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::net::UdpSocket;

/// Nothing is remembered by who asks.
const TTL_SECS: u32 = 0;

#[derive(Default)]
struct Zone {
    records: HashMap<(String, RecordType), Vec<RData>>,
    asked: Vec<(String, RecordType)>,
}

/// A running resolver.
pub(crate) struct Resolver {
    pub(crate) address: SocketAddr,
    zone: Arc<Mutex<Zone>>,
}

impl Resolver {
    pub(crate) async fn start() -> Resolver {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let address = socket.local_addr().expect("an address");
        let zone = Arc::new(Mutex::new(Zone::default()));
        tokio::spawn(serve(socket, zone.clone()));
        Resolver { address, zone }
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
        let answer = answer(&question, &mut lock(&zone)).to_vec().expect("a message");
        let _ = socket.send_to(&answer, from).await;
    }
}

fn answer(question: &Message, zone: &mut Zone) -> Message {
    let mut answer = Message::response(question.metadata.id, question.metadata.op_code);
    let query = question.queries[0].clone();
    let asked = query.name().to_ascii().trim_end_matches('.').to_ascii_lowercase();
    zone.asked.push((asked.clone(), query.query_type()));
    let exists = zone.records.keys().any(|(name, _)| *name == asked);
    let found = zone.records.get(&(asked, query.query_type()));
    for data in found.into_iter().flatten() {
        answer.add_answer(Record::from_rdata(query.name().clone(), TTL_SECS, data.clone()));
    }
    answer.metadata.recursion_available = true;
    answer.metadata.response_code =
        if exists { ResponseCode::NoError } else { ResponseCode::NXDomain };
    answer.add_query(query);
    answer
}
