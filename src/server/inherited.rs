//! Listening sockets that systemd has opened and hands over: which listener each one is for. Opens
//! none itself. `systemd/postfach.socket`, sd_listen_fds(3)

use std::fmt;
use std::net::{SocketAddr, TcpListener as Socket, TcpStream};
use std::os::fd::OwnedFd;

use tokio::net::TcpListener;

/// The name of a socket whose unit gives it none: that unit's own.
const UNIT_SUFFIX: &str = ".socket";
/// The name when systemd knows none.
const NAMELESS: &str = "unknown";

/// A socket that was handed over.
pub(super) struct Inherited {
    /// FileDescriptorName= of its unit.
    name: String,
    at: SocketAddr,
    socket: Socket,
}

/// Why a socket cannot be used.
#[derive(Debug)]
pub enum SocketFault {
    /// The variables that name them make no sense.
    Environment,
    /// It is none that we can accept TCP connections from.
    NotListening(String),
    /// It is for no listener: by its name, or by its address.
    NoListener(String, SocketAddr),
    /// It is for this listener, which needs a certificate that there is not.
    NoCertificate(&'static str),
}

impl fmt::Display for SocketFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SocketFault::Environment => {
                f.write_str("LISTEN_PID, LISTEN_FDS or LISTEN_FDNAMES is not as systemd sets it")
            }
            SocketFault::NotListening(name) => write!(
                f,
                "the socket {name:?} accepts no TCP connections; give its unit ListenStream= with \
                 a port, and Accept=no"
            ),
            SocketFault::NoListener(name, at) => write!(
                f,
                "the socket {name:?} at {at} is for no listener; give its unit \
                 FileDescriptorName= with a key of [listen], or name the address in [listen]"
            ),
            SocketFault::NoCertificate(listener) => write!(
                f,
                "a socket was handed over for {listener}, which cannot be served without a \
                 certificate; add [tls]"
            ),
        }
    }
}

/// All that were handed over to this process; none without systemd.
pub(super) fn take() -> Result<Vec<Inherited>, SocketFault> {
    let handed = sd_listen_fds::get().map_err(|_| SocketFault::Environment)?;
    let named = |(name, fd): (Option<String>, sd_listen_fds::OwnedFd)| {
        Inherited::new(name.unwrap_or_else(|| NAMELESS.into()), fd.into_std())
    };
    handed.into_iter().map(named).collect()
}

impl Inherited {
    fn new(name: String, fd: OwnedFd) -> Result<Inherited, SocketFault> {
        // one that is connected came from Accept=yes
        let stream = TcpStream::from(fd);
        if stream.peer_addr().is_ok() {
            return Err(SocketFault::NotListening(name));
        }
        let socket = Socket::from(OwnedFd::from(stream));
        match socket.local_addr().and_then(|at| socket.set_nonblocking(true).map(|()| at)) {
            Ok(at) => Ok(Inherited { name, at, socket }),
            Err(_) => Err(SocketFault::NotListening(name)),
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.at
    }

    /// Whether it is for this listener: by its name, or, where it has none of its own, by the
    /// addresses that `[listen]` has for it.
    pub(super) fn is_for(&self, listener: &str, addresses: &[SocketAddr]) -> bool {
        let has_own_name = !self.name.ends_with(UNIT_SUFFIX) && self.name != NAMELESS;
        match has_own_name {
            true => self.name == listener,
            false => addresses.iter().any(|address| is_same(*address, self.at)),
        }
    }

    /// To accept from.
    pub(super) fn into_listener(self) -> std::io::Result<TcpListener> {
        TcpListener::from_std(self.socket)
    }

    /// There is no listener for it.
    pub(super) fn homeless(&self) -> SocketFault {
        SocketFault::NoListener(self.name.clone(), self.at)
    }
}

/// ListenStream=25 opens `[::]:25` where the config may say `0.0.0.0:25`.
fn is_same(written: SocketAddr, open: SocketAddr) -> bool {
    let both_any = written.ip().is_unspecified() && open.ip().is_unspecified();
    written.port() == open.port() && (both_any || written.ip() == open.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Checked = Result<(), Box<dyn std::error::Error>>;

    fn inherited(name: &str) -> Result<Inherited, Box<dyn std::error::Error>> {
        let socket = Socket::bind("127.0.0.1:0")?;
        Inherited::new(name.into(), socket.into()).map_err(|fault| fault.to_string().into())
    }

    #[test]
    fn a_name_decides_whatever_the_address_is() -> Checked {
        let socket = inherited("imaps")?;
        assert!(socket.is_for("imaps", &[]));
        assert!(!socket.is_for("imap", &[socket.address()]));
        Ok(())
    }

    #[test]
    fn without_a_name_the_address_decides() -> Checked {
        for name in ["postfach.socket", "unknown"] {
            let socket = inherited(name)?;
            assert!(socket.is_for("imap", &[socket.address()]));
            assert!(!socket.is_for("imap", &[]));
        }
        Ok(())
    }

    #[test]
    fn all_addresses_are_one_whatever_the_family() -> Checked {
        assert!(is_same("0.0.0.0:25".parse()?, "[::]:25".parse()?));
        assert!(!is_same("0.0.0.0:25".parse()?, "[::]:26".parse()?));
        assert!(!is_same("127.0.0.1:25".parse()?, "[::]:25".parse()?));
        Ok(())
    }

    #[test]
    fn a_connected_or_foreign_socket_is_refused() -> Checked {
        let listener = Socket::bind("127.0.0.1:0")?;
        let connected = TcpStream::connect(listener.local_addr()?)?;
        assert!(Inherited::new("imap".into(), connected.into()).is_err());
        let (unix, _other) = std::os::unix::net::UnixStream::pair()?;
        assert!(Inherited::new("imap".into(), unix.into()).is_err());
        Ok(())
    }
}
