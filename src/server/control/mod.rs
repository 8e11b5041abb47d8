//! The control socket: how the command line talks to the running daemon. A Unix socket below
//! `data_dir` that only the daemon's user may open.
//!
//! A request is one line (`list`, `show 7`, `retry all`); the answer is JSON, an object a line,
//! and ends with one that says `done` or `error`: an answer without that was cut off.

mod answer;
pub mod audit;
mod away;
mod glass;
mod restore;
pub mod words;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::queue::Handle;
use crate::config::Subjects;
use crate::directory::Directory;
use crate::store::Store;
use words::{Line, REQUEST_BYTES_MAX, Request};

/// The socket, below `data_dir`.
pub const FILE: &str = "run/control.sock";

/// Only the daemon's own user.
const SOCKET_MODE: u32 = 0o600;
/// Requests at a time; more wait.
const REQUESTS_MAX: usize = 4;
/// How long a request may take to arrive, and each piece of the answer to be taken.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long the socket rests when the system has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What requests are answered from.
#[derive(Clone)]
pub struct Desk {
    /// Where the queue is kept.
    pub store: Arc<dyn Store>,
    /// Who changes it.
    pub queue: Handle,
    /// What is declared at this moment.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// Our name.
    pub hostname: String,
    /// Whether the audit log is shown with what messages are about.
    pub subjects: Subjects,
}

/// The open socket; its file goes with it.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Opens it. The data directory's lock says that no other daemon uses the file.
    pub fn open(data_dir: &Path) -> io::Result<Socket> {
        let path = data_dir.join(FILE);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // It gets its name when its mode is right.
        let beside = path.with_extension("new");
        remove(&beside)?;
        let listener = UnixListener::bind(&beside)?;
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(SOCKET_MODE))?;
        std::fs::rename(&beside, &path)?;
        Ok(Socket { listener, path })
    }

    /// Answers until the daemon stops.
    pub async fn serve(self, desk: Desk, mut shutdown: watch::Receiver<bool>) {
        let places = Arc::new(Semaphore::new(REQUESTS_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                _ = shutdown.wait_for(|stop| *stop) => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let desk = desk.clone();
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, &desk).await {
                            tracing::debug!(%error, "control connection");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "control socket");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // What is left is replaced at the next start.
        let _ = remove(&self.path);
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn converse(mut stream: UnixStream, desk: &Desk) -> io::Result<()> {
    let request = timeout(TIMEOUT, request(&mut stream)).await??;
    let mut answer = match Request::parse(&request) {
        Some(request) => answer::Answer::to(desk, request),
        None => answer::Answer::error("this request is not understood"),
    };
    while let Some(lines) = answer.next(desk).await {
        let text: Vec<u8> = lines.iter().flat_map(Line::to_bytes).collect();
        timeout(TIMEOUT, stream.write_all(&text)).await??;
    }
    stream.shutdown().await
}

/// The first line, without its end.
async fn request(stream: &mut UnixStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        if end.unwrap_or(bytes.len()) > REQUEST_BYTES_MAX {
            return Err(io::Error::other("the request is too long"));
        }
        if let Some(end) = end {
            bytes.truncate(end);
            return String::from_utf8(bytes).map_err(io::Error::other);
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

#[cfg(test)]
mod operate_tests;
#[cfg(test)]
mod tests;
