//! A small organisation with a store in memory, and clients that connect to its port.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postfach::config;
use postfach::directory::{Directory, file};
use postfach::mail::account::{Account, Folder};
use postfach::mail::id::Timestamp;
use postfach::server::connections::{Connections, Limits};
use postfach::server::login::Authenticator;
use postfach::server::stream::Stream;
use postfach::server::tls::{Certificates, Source};
use postfach::server::upstream::Upstreams;
use postfach::server::{Peer, Shared, folders, smtp};
use postfach::store::Store;
use postfach::store::memory::Memory;
use postfach::store::snapshot::Entry;
use postfach::sys::{Clock, ManualClock};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::gate::Gate;

pub(crate) const HELLO: &str = "EHLO c.example\n";

/// Everybody's password, and its hash.
pub(crate) const PASSWORD: &str = "Größe 17";
const HASH: &str = "$2b$04$k4atxDNiHPh88kuyacFd.uSmquIeBZu.gWuQEuZvKqEi7HszXRVzC";

/// `HASH` is put in.
const DIRECTORY: &str = r#"
[[domain]]
name = "example.org"
[[domain]]
name = "all.example"
catch_all = "support@example.org"
[[domain]]
name = "split.example"
upstream = "smtp://old.example:25"
[[user]]
login = "anna"
name = "Anna"
password = "HASH"
addresses = ["anna@example.org"]
[[user]]
login = "ben"
name = "Ben"
password = "HASH"
addresses = ["both@example.org"]
[[user]]
login = "carla"
name = "Carla"
role = "admin"
password = "HASH"
[[user]]
login = "dora"
name = "Dora"
role = "super-admin"
password = "HASH"
[[inbox]]
name = "Support"
addresses = ["support@example.org", "hilfe@example.org"]
[[channel]]
name = "Anna Sales"
owner = "anna"
addresses = ["anna.sales@example.org"]
[[channel]]
name = "Anna Old"
owner = "anna"
addresses = ["anna.old@split.example"]
personal = true
[[channel]]
name = "Ben Both"
owner = "ben"
addresses = ["both@example.org"]
personal = true
[[channel]]
name = "Ben Split"
owner = "ben"
addresses = ["ben@split.example"]
personal = true
"#;

const CONFIG: &str = r#"
hostname = "mail.example.org"
directory = "directory.toml"
[listen]
smtp = ["127.0.0.1:0"]
[tls]
self_signed = true
[auth]
plaintext_without_tls = "loopback"
"#;

static NEXT_FOLDER: AtomicU64 = AtomicU64::new(0);

pub(crate) struct World {
    pub(crate) store: Arc<Gate>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) shutdown: watch::Sender<bool>,
    shared: Arc<Shared>,
    folder: PathBuf,
    directory: watch::Sender<Arc<Directory>>,
}

impl World {
    pub(crate) fn new() -> World {
        World::build(|_| None)
    }

    pub(crate) fn with_tls() -> World {
        World::build(|folder| {
            let hostname = "mail.example.org".to_owned();
            let source = Source::SelfSigned { folder: folder.join("tls"), hostname };
            let certificates = Certificates::load(&source);
            Some(Arc::new(certificates.unwrap_or_else(|_| panic!("no certificate"))))
        })
    }

    fn build(tls: impl FnOnce(&Path) -> Option<Arc<Certificates>>) -> World {
        let number = NEXT_FOLDER.fetch_add(1, Ordering::Relaxed);
        let name = format!("postfach-smtp-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        let clock = Arc::new(ManualClock::default());
        clock.set(Timestamp::from_seconds(1_795_389_786));
        let store = Gate::new(Memory::new(clock.clone()));
        let text = format!("data_dir = {:?}\n{CONFIG}", folder.display().to_string());
        let config = config::parse(&text, Path::new("postfach.toml")).expect("a valid config");
        let text = DIRECTORY.replace("HASH", HASH);
        let directory = file::parse(&text, Path::new("directory.toml")).expect("valid");
        let (directory_sender, directory) = watch::channel(Arc::new(directory));
        let (shutdown, stop) = watch::channel(false);
        let login = Arc::new(Authenticator::new(directory.clone(), clock.clone()));
        let shared = Arc::new(Shared {
            store: store.clone(),
            directory,
            config: arc_swap::ArcSwap::from_pointee(config),
            tls: tls(&folder),
            dkim: Arc::default(),
            shutdown: stop,
            login,
            clock: clock.clone(),
            counts: Connections::new(Limits::default()),
            desk: Arc::default(),
            auditor: Arc::default(),
            upstreams: Upstreams::out_of_reach(clock.clone()),
        });
        World { store, clock, shutdown, shared, folder, directory: directory_sender }
    }

    pub(crate) fn clock_now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Delivery makes what is missing; this makes all folders before.
    pub(crate) async fn make_folders(&self) {
        let directory = self.shared.directory.borrow().clone();
        folders::ensure(&*self.store, &directory).await.expect("made");
    }

    /// Another directory is loaded.
    pub(crate) fn declare(&self, change: impl FnOnce(&mut Directory)) {
        self.directory.send_modify(|directory| {
            let mut changed = Directory::clone(directory);
            change(&mut changed);
            *directory = Arc::new(changed);
        });
    }

    /// A server's connection.
    pub(crate) async fn connect(&self) -> Client<TcpStream> {
        let (stream, peer, client) = World::pair().await;
        tokio::spawn(smtp::connection(stream, peer, self.shared.clone()));
        client
    }

    /// A connection of a user's program.
    pub(crate) async fn connect_to_submit(&self) -> Client<TcpStream> {
        let (stream, peer, client) = World::pair().await;
        tokio::spawn(smtp::submission(stream, peer, self.shared.clone()));
        client
    }

    async fn pair() -> (Stream, Peer, Client<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let local = listener.local_addr().expect("an address");
        let (ours, theirs) = tokio::join!(TcpStream::connect(local), listener.accept());
        let (socket, address) = theirs.expect("a connection");
        let client = Client { stream: ours.expect("a connection"), unread: Vec::new() };
        (Stream::Plain(socket), Peer::new(address, local), client)
    }

    /// What an account's own mailbox holds.
    pub(crate) async fn entries(&self, account: &Account) -> Vec<Entry> {
        let Some(mailbox) = self.store.find(account, &Folder::root()) else { return Vec::new() };
        let snapshot = self.store.snapshot(mailbox.id).await.expect("a snapshot");
        snapshot.iter().cloned().collect()
    }

    /// Trace and stored bytes of each.
    pub(crate) async fn instances(&self, account: &Account) -> Vec<(String, String)> {
        let mut instances = Vec::new();
        for entry in self.entries(account).await {
            let trace = self.store.trace(entry.trace).await.expect("a trace");
            let body = self.store.body(entry.blob, 0..u64::MAX).await.expect("a body");
            assert_eq!(trace.len() + body.len(), entry.size_bytes as usize);
            instances.push((text(trace), text(body)));
        }
        instances
    }

    pub(crate) async fn wait_for_spool_files(&self, wanted: usize) {
        for _ in 0..1_000 {
            let spool = std::fs::read_dir(self.folder.join("spool"));
            if spool.map_or(0, Iterator::count) == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never {wanted} files in the spool");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The only one.
pub(crate) fn instance(instances: &[(String, String)]) -> &(String, String) {
    assert_eq!(instances.len(), 1);
    &instances[0]
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("UTF-8")
}

pub(crate) struct Client<S> {
    stream: S,
    unread: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub(crate) fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Sends a text whose lines end in CRLF.
    pub(crate) async fn send(&mut self, text: &str) {
        let bytes = text.replace('\n', "\r\n");
        self.stream.write_all(bytes.as_bytes()).await.expect("sent");
        self.stream.flush().await.expect("sent");
    }

    /// Sends a text, and gives all lines that are answered until the peer waits for more.
    pub(crate) async fn tell(&mut self, text: &str) -> Vec<String> {
        self.send(text).await;
        let mut lines = Vec::new();
        let mut patience = Duration::from_secs(20);
        while let Some(line) = self.answer_within(patience).await {
            if !line.starts_with("220 mail.example.org") {
                patience = Duration::from_millis(150);
                lines.push(line);
            }
        }
        lines
    }

    /// The next line.
    pub(crate) async fn answer_within(&mut self, patience: Duration) -> Option<String> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Some(super::world::text(line).trim_end().to_owned());
            }
            let mut piece = [0; 4096];
            let read = tokio::time::timeout(patience, self.stream.read(&mut piece)).await.ok()?;
            let read = read.expect("readable");
            if read == 0 {
                return None;
            }
            self.unread.extend_from_slice(&piece[..read]);
        }
    }

    /// Everything until the peer closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut all = std::mem::take(&mut self.unread);
        self.stream.read_to_end(&mut all).await.expect("readable");
        text(all)
    }
}

impl Client<TcpStream> {
    pub(crate) async fn start_tls(self, world: &World) -> Client<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let ca = world.folder.join("tls/ca.pem");
        let ca = CertificateDer::from_pem_file(ca).expect("an authority");
        roots.add(ca).expect("an authority");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("mail.example.org").expect("a name");
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(name, self.stream).await.expect("a handshake");
        Client { stream, unread: Vec::new() }
    }
}
