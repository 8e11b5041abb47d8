//! Where the daemon listens, and what it says about it: `data_dir/run/ports.json` holds the bound
//! addresses, so that a script or test can ask for port 0 and find out. Knows no protocol.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpSocket};

/// Connections that the system holds until the daemon takes them.
const BACKLOG: u32 = 1024;

/// The file, below `data_dir`.
pub const FILE: &str = "run/ports.json";

/// Bound addresses by the name of their listener.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ports(pub BTreeMap<&'static str, Vec<SocketAddr>>);

impl Ports {
    /// Notes one.
    pub fn add(&mut self, name: &'static str, address: SocketAddr) {
        self.0.entry(name).or_default().push(address);
    }

    /// Writes the file, at once as a whole.
    pub fn write(&self, data_dir: &Path) -> io::Result<PathBuf> {
        let path = data_dir.join(FILE);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let beside = path.with_extension("new");
        std::fs::write(&beside, self.json())?;
        std::fs::rename(&beside, &path)?;
        Ok(path)
    }

    /// `{"imap": ["127.0.0.1:143"], …}`: names and addresses hold nothing that needs an escape.
    fn json(&self) -> String {
        let listener = |(name, addresses): (&&str, &Vec<SocketAddr>)| {
            let quoted: Vec<String> = addresses.iter().map(|a| format!("\"{a}\"")).collect();
            format!("\"{name}\": [{}]", quoted.join(", "))
        };
        let listeners: Vec<String> = self.0.iter().map(listener).collect();
        format!("{{{}}}\n", listeners.join(", "))
    }
}

/// Opens a listening socket. `[::]` takes IPv4 too where the system allows it.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restarted daemon must not wait for the old one's connections to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// What to do about a socket that cannot be opened.
pub fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; `ss -ltnp` says which",
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need CAP_NET_BIND_SERVICE, which systemd/postfach.service gives"
        }
        io::ErrorKind::AddrNotAvailable => "this machine does not have that address",
        _ => "see [listen] in the config",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_json_by_listener() -> Result<(), std::net::AddrParseError> {
        let mut ports = Ports::default();
        ports.add("imaps", "[::1]:993".parse()?);
        ports.add("imap", "127.0.0.1:143".parse()?);
        ports.add("imap", "[::1]:143".parse()?);
        let expected =
            "{\"imap\": [\"127.0.0.1:143\", \"[::1]:143\"], \"imaps\": [\"[::1]:993\"]}\n";
        assert_eq!(ports.json(), expected);
        Ok(())
    }
}
