//! A domain on loopback: its DNS, the host of its MTA-STS policy, two servers, and a queue with
//! mail for it.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use postfach::directory::Directory;
use postfach::mail::address::Address;
use postfach::mail::id::QueueId;
use postfach::mail::message;
use postfach::mail::transport::Body;
use postfach::outbound::agenda::Limits;
use postfach::outbound::routes::{Destination, Routes};
use postfach::outbound::schedule::Policy as Retry;
use postfach::server::dns::Dns;
use postfach::server::dns::proven::Validating;
use postfach::server::duty::Post;
use postfach::server::mta_sts::{self, Policies};
use postfach::server::queue::transport::{Outside, Us};
use postfach::server::queue::{Office, Queue, Settings};
use postfach::server::relay;
use postfach::store::Store;
use postfach::store::change::{Actor, Bytes, Change, NewMessage, Transaction};
use postfach::store::memory::Memory;
use postfach::store::nodes::Duty;
use postfach::store::queue::{NewQueued, Progress, QueuedEnvelope, QueuedRecipient};
use postfach::sys::{Clock, SystemClock};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::dns::Resolver;
use crate::server::{Script, Server};
use crate::world::{Certificate, relay as relay_with, settings, until};

pub(crate) const DOMAIN: &str = "partner.example";
const MESSAGE: &[u8] = b"From: a@b.example\r\nSubject: Hello\r\n\r\nHi\r\n";
const MX: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3)];

static NEXT: AtomicU64 = AtomicU64::new(0);

/// The domain, with `mx1` preferred to `mx2`, both with good certificates.
pub(crate) struct Domain {
    pub(crate) dns: Resolver,
    pub(crate) certificate: Certificate,
    pub(crate) servers: [Server; 2],
    pub(crate) policy: PolicyHost,
    /// Whether TLSA records are asked for.
    pub(crate) dane: bool,
    folder: PathBuf,
}

impl Domain {
    pub(crate) async fn new() -> Domain {
        let certificate = Certificate::new("mx1.partner.example");
        let [one, two] = [certificate.acceptor.clone(), certificate.beside("mx2.partner.example")];
        Domain::with(certificate, [Some(one), Some(two)]).await
    }

    /// With other certificates, or without STARTTLS.
    pub(crate) async fn with(certificate: Certificate, tls: [Option<TlsAcceptor>; 2]) -> Domain {
        let dns = Resolver::start().await;
        dns.mx(DOMAIN, &["mx1.partner.example", "mx2.partner.example"]);
        dns.address("mx1.partner.example", MX[0].into());
        dns.address("mx2.partner.example", MX[1].into());
        dns.address("mta-sts.partner.example", IpAddr::V4(Ipv4Addr::LOCALHOST));
        let policy = PolicyHost::start(certificate.beside("mta-sts.partner.example")).await;
        let folder = format!("postfach-domain-{}-{}", std::process::id(), next());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("a folder");
        let servers = servers(tls).await;
        Domain { dns, certificate, servers, policy, dane: false, folder }
    }

    /// Publishes a policy: `mode` and the names that it allows.
    pub(crate) fn publish(&self, mode: &str, allowed: &[&str]) {
        let allowed: String = allowed.iter().map(|name| format!("mx: {name}\n")).collect();
        let text = format!("version: STSv1\nmode: {mode}\n{allowed}max_age: 86400\n");
        *self.policy.text.lock().expect("no panic") = text;
        // In two strings, as long records come.
        let id = format!("id={};", next());
        self.dns.text("_mta-sts.partner.example", &["v=STSv1; ", &id]);
    }

    /// The port of both servers.
    pub(crate) fn port(&self) -> u16 {
        self.servers[0].address.port()
    }

    /// What was heard by the two servers.
    pub(crate) fn messages(&self) -> [usize; 2] {
        [0, 1].map(|n| self.servers[n].heard().messages.len())
    }

    /// Ways to the domain, and what `[[outbound.destination]]` says of it.
    pub(crate) fn routes(&self, destination: Option<Destination>) -> Routes {
        let port = self.port();
        let own = destination.map(|destination| (DOMAIN.to_owned(), destination));
        Routes { port, destinations: own.into_iter().collect(), ..Routes::default() }
    }

    pub(crate) fn outside(&self, store: Arc<dyn Store>) -> Outside {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let authorities = Some(self.certificate.authority());
        let relay = Arc::new(relay_with(relay::Settings { authorities, ..settings() }));
        let dns = Arc::new(Dns::new(&[self.dns.address]));
        let settings = mta_sts::Settings {
            port: self.policy.port,
            timeout: Duration::from_secs(5),
            ..mta_sts::Settings::new(&self.folder)
        };
        let policies = Policies::open(settings, relay.verified_tls(), (dns.clone(), clock));
        Outside {
            dns,
            policies: Some(Arc::new(policies)),
            dane: self.dane.then(|| Validating::new(&[self.dns.address])),
            relay,
            store,
            ourselves: Us { hostname: "mail.example.org".into(), listening: Vec::new() },
        }
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn next() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Servers at two addresses with the same port.
async fn servers(tls: [Option<TlsAcceptor>; 2]) -> [Server; 2] {
    let script = |tls: Option<TlsAcceptor>| match tls {
        Some(tls) => Script { tls: Some(tls), ..Script::offering(&["STARTTLS"]) },
        None => Script::default(),
    };
    loop {
        let one = TcpListener::bind((MX[0], 0)).await.expect("a port");
        let port = one.local_addr().expect("an address").port();
        let Ok(two) = TcpListener::bind((MX[1], port)).await else { continue };
        let [first, second] = tls;
        return [Server::start_on(one, script(first)), Server::start_on(two, script(second))];
    }
}

/// Serves a policy over HTTPS.
pub(crate) struct PolicyHost {
    port: u16,
    text: Arc<Mutex<String>>,
    pub(crate) fetches: Arc<AtomicU64>,
}

impl PolicyHost {
    async fn start(tls: TlsAcceptor) -> PolicyHost {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let host = PolicyHost { port, text: Arc::default(), fetches: Arc::default() };
        let (text, fetches) = (host.text.clone(), host.fetches.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let Ok(mut stream) = tls.accept(socket).await else { continue };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = stream.read_u8().await else { break };
                    request.push(byte);
                }
                fetches.fetch_add(1, Ordering::Relaxed);
                let text = text.lock().expect("no panic").clone();
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length:";
                let answer = format!("{head} {}\r\n\r\n{text}", text.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        host
    }
}

/// A queue that runs, with mail for the domain.
pub(crate) struct Sender {
    store: Arc<Memory>,
    _shutdown: watch::Sender<bool>,
    _directory: watch::Sender<Arc<Directory>>,
    runner: JoinHandle<()>,
}

impl Sender {
    /// That many messages are queued before it starts.
    pub(crate) async fn start(domain: &Domain, routes: Routes, messages: u64) -> Sender {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let store = Arc::new(Memory::new(clock.clone()));
        for number in 0..messages {
            let new = Change::Queued(Box::new(queued(number, &*clock)));
            let transaction = Transaction { actor: Actor::System, changes: vec![new] };
            store.commit(transaction).await.expect("a commit");
        }
        let (shutdown, stopped) = watch::channel(false);
        let (declare, directory) = watch::channel(Arc::new(Directory::default()));
        let hostname = "mail.example.org".into();
        let (retry, limits) = (Retry::default(), Limits::default());
        let (queue, _) = Queue::new(Office {
            store: store.clone(),
            directory,
            transport: Arc::new(domain.outside(store.clone())),
            clock,
            shutdown: stopped,
            post: Post::always(Duty::Queue),
            under: Post::always(Duty::Queue).present(),
            settings: Settings { hostname, routes, retry, limits },
        });
        let runner = tokio::spawn(queue.run());
        Sender { store, _shutdown: shutdown, _directory: declare, runner }
    }

    /// Waits until everything has left.
    pub(crate) async fn empty(&self) {
        until("an empty queue", || self.is_empty()).await;
    }

    /// Waits until the only message has been tried, and tells what is said of it then.
    pub(crate) async fn last_reply(&self) -> String {
        until("an attempt", || self.is_empty() || self.reply().is_some()).await;
        self.reply().expect("it waits")
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.store.queued_from(QueueId(0), 1).is_empty()
    }

    /// What is said of the first message, if it waits and has been tried.
    pub(crate) fn reply(&self) -> Option<String> {
        let queued = self.store.queued_from(QueueId(0), 1);
        queued.first()?.recipients[0].progress.last_reply.clone()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.runner.abort();
    }
}

fn queued(number: u64, clock: &dyn Clock) -> NewQueued {
    let now = clock.now();
    NewQueued {
        message: NewMessage {
            bytes: Bytes::Memory(Arc::new(MESSAGE.to_vec())),
            hash: [7; 32],
            parsed: Arc::new(message::parse(MESSAGE)),
        },
        trace: b"Received: x\r\n".to_vec(),
        envelope: QueuedEnvelope {
            id: format!("x{number}"),
            reverse_path: Address::parse("a@b.example"),
            sender: None,
            envid: None,
            ret: None,
            body: Body::SevenBit,
            smtputf8: false,
            queued_at: now,
            expires_at: postfach::mail::id::Timestamp(now.0 + 86_400 * 1_000_000),
        },
        recipients: vec![QueuedRecipient {
            number: 0,
            address: Address::new("bob", DOMAIN),
            upstream: None,
            notify: None,
            orcpt: None,
            progress: Progress::new(now),
        }],
        duplicate_key: None,
    }
}
