//! The running daemon as a verb asks it: by its control socket, a request and lines of answer.
//! Knows no request.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::server::control::words::{Line, Request};

/// How long the daemon may take for each line of its answer.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Opens the socket.
pub(super) fn connect(socket: &Path) -> io::Result<UnixStream> {
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

/// Whether nobody is there to ask.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Why the daemon does not answer, and what to do.
pub(super) fn unanswered(socket: &Path, error: &io::Error) -> String {
    let socket = socket.display();
    match error.kind() {
        _ if is_absent(error) => format!(
            "the daemon is not running: nobody answers at {socket}; start it, or name its config \
             by --config"
        ),
        io::ErrorKind::PermissionDenied => {
            format!("only the daemon's user and root may ask at {socket}; try it with sudo")
        }
        _ => format!("the daemon cannot be asked at {socket}: {error}"),
    }
}

/// Asks, and hands each line of the answer to `each` as it comes.
pub(super) fn ask(
    mut stream: UnixStream,
    request: &Request,
    each: &mut dyn FnMut(Line) -> io::Result<()>,
) -> io::Result<()> {
    stream.write_all(request.line().as_bytes())?;
    for line in BufReader::new(stream).lines() {
        each(serde_json::from_str(&line?).map_err(io::Error::other)?)?;
    }
    Ok(())
}
