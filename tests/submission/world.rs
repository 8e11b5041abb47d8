//! A small organisation with a store in memory, and users who submit to it.

use std::net::IpAddr;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use postfach::conversation::collision::Desk;
use postfach::delivery::submission::{self, Outgoing, Submitter};
use postfach::delivery::{self, Accepted, Content, Envelope, Origin, Protection, Refused, Site};
use postfach::directory::{Directory, file};
use postfach::mail::account::{Account, Folder, FolderRole};
use postfach::mail::flag::{FlagList, SystemFlags};
use postfach::mail::id::{Login, QueueId, Timestamp};
use postfach::mail::message;
use postfach::mail::transport::Body;
use postfach::server::dkim::Signers;
use postfach::server::folders;
use postfach::smtp::parameters::{MailParameters, RcptParameters};
use postfach::smtp::path::Path;
use postfach::smtp::{Client, Recipient};
use postfach::store::audit::Presence;
use postfach::store::change::{Actor, Bytes, Change, Delivered, NewMessage, Transaction};
use postfach::store::memory::Memory;
use postfach::store::queue::Queued;
use postfach::store::{Store, StoreError};
use postfach::sys::ManualClock;

const DIRECTORY: &str = r#"
[[domain]]
name = "example.org"
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
addresses = ["ben@example.org"]
[[user]]
login = "dora"
name = "Dora"
password = "HASH"
addresses = ["dora@example.org"]
[[inbox]]
name = "Support"
addresses = ["support@example.org", "hilfe@example.org"]
users = ["anna", "ben", "dora:read"]
[[inbox]]
name = "Sales"
addresses = ["sales@example.org"]
users = ["anna"]
identity = "rewrite"
[[inbox]]
name = "Info"
addresses = ["info@example.org"]
users = ["anna"]
identity = "off"
seen = "shared"
[[channel]]
name = "Ben Direct"
owner = "ben"
addresses = ["direct@split.example"]
personal = true
"#;

const HASH: &str = "$2b$04$abcdefghijklmnopqrstuuWkMVwbmqUjJ2y.fJjWT7u0E2FVBTyuu";

static NEXT: AtomicU64 = AtomicU64::new(0);

pub(crate) struct World {
    pub(crate) store: Memory,
    pub(crate) directory: Directory,
    pub(crate) desk: Desk,
    pub(crate) clock: Arc<ManualClock>,
}

pub(crate) fn login(name: &str) -> Login {
    Login::new(name)
}

pub(crate) fn inbox(name: &str) -> Account {
    Account::Inbox(name.into())
}

pub(crate) fn user(name: &str) -> Account {
    Account::User(login(name))
}

pub(crate) fn sent() -> Folder {
    Folder::role(FolderRole::Sent)
}

/// What is seen of a stored message: its header fields and its body, then its flags.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub(crate) text: String,
    pub(crate) flags: SystemFlags,
    pub(crate) keywords: Vec<String>,
    pub(crate) blob: i64,
}

impl World {
    pub(crate) async fn new() -> World {
        World::with("").await
    }

    /// With this at the end of the directory's file.
    pub(crate) async fn with(more: &str) -> World {
        let clock = Arc::new(ManualClock::default());
        clock.set(Timestamp::from_seconds(1_795_389_786));
        let text = format!("{DIRECTORY}{more}").replace("HASH", HASH);
        let directory = file::parse(&text, FilePath::new("directory.toml")).expect("valid");
        let store = Memory::new(clock.clone());
        folders::ensure(&store, &directory).await.expect("folders");
        World { store, directory, desk: Desk::default(), clock }
    }

    pub(crate) fn envelope(&self, from: &str, to: &[&str], origin: Origin) -> Envelope {
        let path = |text: &str| {
            let (path, _) = Path::parse(&format!("<{text}>")).expect("a path");
            path
        };
        let mut transaction =
            postfach::smtp::Transaction::new(path(from), MailParameters::default());
        transaction.recipients = to
            .iter()
            .map(|to| Recipient { path: path(to), parameters: RcptParameters::default() })
            .collect();
        Envelope {
            transaction,
            client: Client { name: "client.example".into(), extended: true },
            client_address: IpAddr::from([192, 0, 2, 1]),
            protection: Protection::Tls,
            hostname: "mail.example.org".into(),
            received_at: self.store.now(),
            id: format!("x{}", NEXT.fetch_add(1, Ordering::Relaxed)),
            origin,
            upstream: Vec::new(),
            lifetime_secs: 432_000,
        }
    }

    /// Mail from outside.
    pub(crate) async fn receive(&self, to: &[&str], text: &str) {
        self.receive_from("kunde@customer.example", to, text).await;
    }

    pub(crate) async fn receive_from(&self, from: &str, to: &[&str], text: &str) {
        let envelope = self.envelope(from, to, Origin::Relay);
        let message = new_message(text);
        let content = Content { message: &message, head: text.as_bytes() };
        let keys = Signers::default();
        let site = Site { store: &self.store, directory: &self.directory, keys: &keys };
        let delivered = delivery::deliver(&site, &envelope, content).await;
        delivered.expect("accepted");
    }

    /// As APPEND does it.
    pub(crate) async fn file(&self, (account, folder): (&Account, Folder), text: &str) {
        let mailbox = self.store.find(account, &folder).expect("a mailbox").id;
        let appended = Change::Delivered(Box::new(Delivered {
            mailbox,
            message: new_message(text),
            trace: Vec::new(),
            flags: FlagList::default(),
            seen_by: Vec::new(),
            internal_date: self.store.now(),
            thread: None,
            duplicate_key: None,
        }));
        let transaction =
            Transaction { actor: Actor::User(login("anna")), changes: vec![appended] };
        self.store.commit(transaction).await.expect("filed");
    }

    /// As the driver does it: plan, header, commit. The reply of a refusal as text.
    pub(crate) async fn submit(
        &self,
        user: &str,
        (from, to): (&str, &[&str]),
        text: &str,
    ) -> Result<Accepted, String> {
        self.submit_by(user, self.envelope(from, to, Origin::Submission), text).await
    }

    pub(crate) async fn submit_by(
        &self,
        user: &str,
        envelope: Envelope,
        text: &str,
    ) -> Result<Accepted, String> {
        let told = |refused: Refused| match refused {
            Refused::Policy(reply) => {
                let mut wire = Vec::new();
                reply.write(&mut wire);
                String::from_utf8(wire).expect("text").trim().to_owned()
            }
            other => format!("{other:?}"),
        };
        let user = login(user);
        let by = Submitter {
            store: &self.store,
            directory: &self.directory,
            user: &user,
            presence: &Arc::new(Presence::of(user.clone())),
            desk: &self.desk,
        };
        let message = new_message(text);
        let content = Content { message: &message, head: text.as_bytes() };
        let plan = submission::plan(&by, &envelope, content).await.map_err(told)?;
        let body = &text[message.parsed.structure.body_start as usize..];
        let text = match &plan.header {
            Some(header) => format!("{}{body}", String::from_utf8_lossy(header)),
            None => text.to_owned(),
        };
        let message = new_message(&text);
        let content = Content { message: &message, head: text.as_bytes() };
        let outgoing = Outgoing { signatures: b"X-Signed: yes\r\n".to_vec(), body: Body::SevenBit };
        submission::submit(&by, &envelope, &plan, (content, outgoing)).await.map_err(told)
    }

    /// The messages of a mailbox, as `viewer` sees them.
    pub(crate) async fn messages(
        &self,
        (account, folder): (&Account, Folder),
        viewer: &str,
    ) -> Vec<Seen> {
        let mailbox = self.store.find(account, &folder).expect("a mailbox");
        let snapshot = self.store.snapshot(mailbox.id).await.expect("a snapshot");
        let overlay = self.store.overlay(mailbox.id, &login(viewer)).await.expect("an overlay");
        let mut seen = Vec::new();
        for entry in snapshot.iter() {
            let mut flags = entry.flags;
            if overlay.seen(entry.uid) {
                flags = flags | SystemFlags::SEEN;
            }
            let keywords = entry.keywords.iter();
            seen.push(Seen {
                text: self.text((entry.blob, entry.trace)).await.expect("stored"),
                flags,
                keywords: keywords.map(|n| snapshot.keywords[usize::from(n)].to_string()).collect(),
                blob: entry.blob.0,
            });
        }
        seen
    }

    pub(crate) fn queue(&self) -> Vec<Arc<Queued>> {
        self.store.queued_from(QueueId(0), 100)
    }

    pub(crate) async fn queued_text(&self, queued: &Queued) -> String {
        self.text((queued.blob, queued.trace)).await.expect("stored")
    }

    async fn text(
        &self,
        (blob, trace): (postfach::mail::id::BlobId, postfach::mail::id::TraceId),
    ) -> Result<String, StoreError> {
        let trace = self.store.trace(trace).await?;
        let body = self.store.body(blob, 0..u64::MAX).await?;
        Ok(String::from_utf8([trace, body].concat()).expect("text"))
    }
}

pub(crate) fn new_message(text: &str) -> NewMessage {
    NewMessage {
        bytes: Bytes::Memory(Arc::new(text.as_bytes().to_vec())),
        hash: digest(text),
        parsed: Arc::new(message::parse(text.as_bytes())),
    }
}

/// Unlike for unlike texts; the store asks for no more.
fn digest(text: &str) -> [u8; 32] {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut digest = [0; 32];
    for (n, piece) in digest.chunks_mut(8).enumerate() {
        let mut hasher = DefaultHasher::new();
        (n, text).hash(&mut hasher);
        piece.copy_from_slice(&hasher.finish().to_le_bytes());
    }
    digest
}
