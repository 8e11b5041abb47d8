//! A relay, a store with a message in memory, certificates, and hops to servers.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postfach::mail::account::{Account, Folder};
use postfach::mail::address::Address;
use postfach::mail::flag::FlagList;
use postfach::mail::id::Timestamp;
use postfach::mail::message;
use postfach::mail::transport::Body;
use postfach::outbound::{Hop, Login, Security};
use postfach::server::duty::Post;
use postfach::server::relay::{Attempt, Content, Reach, Relay, Settings};
use postfach::server::self_signed::AUTHORITY;
use postfach::server::tls::{Certificates, Source};
use postfach::smtp::client::{Fate, Mail, MailRecipient, Timeouts};
use postfach::store::Store;
use postfach::store::change::{Actor, Bytes, Change, Delivered, NewMessage, Transaction};
use postfach::store::memory::Memory;
use postfach::store::nodes::Duty;
use postfach::sys::SystemClock;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::server::Server;

pub(crate) const TRACE: &[u8] = b"Received: from here\r\n";

/// What is to be sent.
pub(crate) struct Message {
    pub(crate) content: Content,
    pub(crate) bytes: Vec<u8>,
}

impl Message {
    pub(crate) async fn new(body: &[u8]) -> Message {
        let store = Arc::new(Memory::new(Arc::new(SystemClock)));
        let (account, folder) = (Account::Inbox("Support".into()), Folder::root());
        let created = Change::MailboxCreated { account: account.clone(), folder: folder.clone() };
        commit(&*store, created).await;
        let mailbox = store.find(&account, &folder).expect("a mailbox").id;
        let message = NewMessage {
            bytes: Bytes::Memory(Arc::new(body.to_vec())),
            hash: [1; 32],
            parsed: Arc::new(message::parse(body)),
        };
        let delivered = Delivered {
            mailbox,
            message,
            trace: TRACE.to_vec(),
            flags: FlagList::default(),
            seen_by: Vec::new(),
            internal_date: Timestamp(0),
            thread: None,
            duplicate_key: None,
        };
        commit(&*store, Change::Delivered(Box::new(delivered))).await;
        let snapshot = store.snapshot(mailbox).await.expect("a snapshot");
        let entry = snapshot.iter().next().expect("the message");
        let (blob, trace) = (entry.blob, entry.trace);
        let under = Post::always(Duty::Queue).present();
        Message { content: Content { store, blob, trace, under }, bytes: [TRACE, body].concat() }
    }

    pub(crate) async fn small() -> Message {
        Message::new(b"Subject: small\r\n\r\n.dot\r\nend\r\n").await
    }

    /// More than what fits into the buffers between us and the server.
    pub(crate) async fn large() -> Message {
        let mut body = b"Subject: large\r\n\r\n".to_vec();
        for line in 0..200_000 {
            body.extend_from_slice(format!(".{line} {}\r\n", "x".repeat(line % 60)).as_bytes());
        }
        Message::new(&body).await
    }

    pub(crate) fn mail(&self, to: &[&str]) -> Mail {
        let recipient = |name: &&str| MailRecipient {
            address: Address::new(name, "y.example"),
            notify: None,
            orcpt: None,
        };
        Mail {
            reverse_path: Some(Address::new("a", "b.example")),
            recipients: to.iter().map(recipient).collect(),
            envid: None,
            ret: None,
            body: Body::SevenBit,
            smtputf8: false,
            size_bytes: self.bytes.len() as u64,
        }
    }
}

async fn commit(store: &dyn Store, change: Change) {
    let transaction = Transaction { actor: Actor::System, changes: vec![change] };
    store.commit(transaction).await.expect("a commit");
}

/// Each answer within this time.
pub(crate) fn timeouts(time: Duration) -> Timeouts {
    Timeouts {
        greeting: time,
        command: time,
        mail: time,
        recipient: time,
        data: time,
        block: time,
        end: time,
        reuse: time,
        quit: time,
        opening: time * 20,
        transaction: time * 20,
    }
}

pub(crate) fn settings() -> Settings {
    Settings { timeouts: timeouts(Duration::from_secs(10)), ..Settings::new("mail.example.org") }
}

pub(crate) fn relay(settings: Settings) -> Relay {
    Relay::new(settings, Arc::new(SystemClock)).expect("authorities")
}

pub(crate) fn hop(addresses: &[SocketAddr]) -> Hop {
    Hop {
        name: "localhost".to_owned(),
        addresses: addresses.to_vec(),
        security: Security::Opportunistic,
        login: Login::None,
        dane: None,
    }
}

/// Sends to `x` over a new relay.
pub(crate) async fn send_one(server: &Server, message: &Message) -> Attempt {
    let relay = relay(settings());
    relay.attempt(&hop(&[server.address]), &message.mail(&["x"]), &message.content).await
}

/// `delivered 2.0.0 text`, for one recipient; `!` before it: the hop does not serve us.
pub(crate) fn shown(attempt: &Attempt) -> String {
    assert_eq!(attempt.fates.len(), 1);
    let mark = if attempt.reach == Reach::Unserved { "!" } else { "" };
    format!("{mark}{}", fate(&attempt.fates[0]))
}

pub(crate) fn fate(fate: &Fate) -> String {
    let (word, told) = match fate {
        Fate::Delivered(told) => ("delivered", told),
        Fate::Deferred(told) => ("deferred", told),
        Fate::Failed(told) => ("failed", told),
    };
    format!("{word} {} {}", told.status, told.text)
}

static NEXT_FOLDER: AtomicU64 = AtomicU64::new(0);

/// A certificate for a name, from an authority of its own.
pub(crate) struct Certificate {
    folder: PathBuf,
    pub(crate) acceptor: TlsAcceptor,
}

impl Certificate {
    pub(crate) fn new(hostname: &str) -> Certificate {
        let number = NEXT_FOLDER.fetch_add(1, Ordering::Relaxed);
        let name = format!("postfach-relay-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        let source = Source::SelfSigned { folder: folder.clone(), hostname: hostname.into() };
        let acceptor = Certificates::load(&source).expect("a certificate").acceptor();
        Certificate { folder, acceptor }
    }

    /// One for another name, from the same authority.
    pub(crate) fn beside(&self, hostname: &str) -> TlsAcceptor {
        let source = Source::SelfSigned { folder: self.folder.clone(), hostname: hostname.into() };
        Certificates::load(&source).expect("a certificate").acceptor()
    }

    /// The same, and the authority's certificate is shown, too.
    pub(crate) fn chain_for(&self, hostname: &str) -> TlsAcceptor {
        self.beside(hostname);
        let read = |name| std::fs::read_to_string(self.folder.join(name)).expect("PEM");
        let chain = self.folder.join("chain.pem");
        std::fs::write(&chain, read("certificate.pem") + &read(AUTHORITY)).expect("written");
        let source = Source::Files { certificate: chain, key: self.folder.join("key.pem") };
        Certificates::load(&source).expect("a certificate").acceptor()
    }

    /// The certificate that was made last, in DER.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.folder.join("certificate.pem")).expect("PEM")
    }

    /// The authority's, in DER.
    pub(crate) fn authority_der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.authority()).expect("PEM")
    }

    pub(crate) fn authority(&self) -> PathBuf {
        self.folder.join(AUTHORITY)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Waits until it holds, for some seconds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come about");
}
