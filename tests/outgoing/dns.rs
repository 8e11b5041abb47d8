//! A DNS server that knows what a test tells it: UDP, one thread. Names that it does not know do
//! not exist.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;

const A: u16 = 1;
const MX: u16 = 15;
const SERVFAIL: u8 = 2;
const NXDOMAIN: u8 = 3;

/// What is known of a name.
#[derive(Clone, Default)]
pub(crate) struct Name {
    mx: Vec<(u16, &'static str)>,
    a: Vec<Ipv4Addr>,
    fails: bool,
}

/// Mail goes to these servers; an empty name is a null MX.
pub(crate) fn mx(servers: &[(u16, &'static str)]) -> Name {
    Name { mx: servers.to_vec(), ..Name::default() }
}

/// A host with an address.
pub(crate) fn host(address: [u8; 4]) -> Name {
    Name { a: vec![address.into()], ..Name::default() }
}

/// The name's own servers do not answer.
pub(crate) fn failing() -> Name {
    Name { fails: true, ..Name::default() }
}

/// Starts it; it runs until the test's process ends.
pub(crate) fn start(names: HashMap<&'static str, Name>) -> std::io::Result<SocketAddr> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let address = socket.local_addr()?;
    thread::spawn(move || {
        let mut packet = [0; 1500];
        while let Ok((length, from)) = socket.recv_from(&mut packet) {
            if let Some(answer) = answer(&packet[..length], &names) {
                let _ = socket.send_to(&answer, from);
            }
        }
    });
    Ok(address)
}

fn answer(query: &[u8], names: &HashMap<&'static str, Name>) -> Option<Vec<u8>> {
    let (mut name, mut at) = (String::new(), 12);
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = std::str::from_utf8(query.get(at..at + length)?).ok()?;
        name = if name.is_empty() { label.to_owned() } else { format!("{name}.{label}") };
        at += length;
    }
    let kind = u16::from_be_bytes([*query.get(at)?, *query.get(at + 1)?]);
    let question = query.get(12..at + 4)?;
    let (code, records) = match names.get(name.to_ascii_lowercase().as_str()) {
        None => (NXDOMAIN, Vec::new()),
        Some(known) if known.fails => (SERVFAIL, Vec::new()),
        Some(known) if kind == MX => (0, known.mx.iter().map(exchanger).collect()),
        Some(known) if kind == A => (0, known.a.iter().map(|a| a.octets().to_vec()).collect()),
        Some(_) => (0, Vec::new()),
    };
    let mut packet = query.get(..2)?.to_vec();
    packet.extend([0x81, 0x80 | code, 0, 1, 0, u8::try_from(records.len()).ok()?, 0, 0, 0, 0]);
    packet.extend(question);
    for data in records {
        packet.extend([0xc0, 12]);
        packet.extend(kind.to_be_bytes());
        packet.extend([0, 1, 0, 0, 0, 1]);
        packet.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
        packet.extend(data);
    }
    Some(packet)
}

fn exchanger((preference, host): &(u16, &'static str)) -> Vec<u8> {
    let mut data = preference.to_be_bytes().to_vec();
    for label in host.split('.').filter(|label| !label.is_empty()) {
        data.push(label.len() as u8);
        data.extend(label.as_bytes());
    }
    data.push(0);
    data
}
