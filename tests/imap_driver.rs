//! The IMAP driver on real sockets: what the pure session cannot show. Waiting, waking, memory, the
//! spool, STARTTLS, the end.

mod imap_support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use imap_support::{DIRECTORY, account};
use postfach::config;
use postfach::directory::{Access, Directory, file, password};
use postfach::mail::account::Folder;
use postfach::mail::flag::FlagList;
use postfach::mail::id::{Login, Timestamp};
use postfach::server::connections::{Connections, Limits};
use postfach::server::imap::{IDLE_TIMEOUT, LOGIN_TIMEOUT, TRANSFER_TIMEOUT};
use postfach::server::login::Authenticator;
use postfach::server::stream::Stream;
use postfach::server::tls::{Certificates, Source};
use postfach::server::upstream::Upstreams;
use postfach::server::{Peer, Shared, folders, imap};
use postfach::store::Store;
use postfach::store::audit::EntryId;
use postfach::store::change::{Actor, Change, Delivered, Transaction};
use postfach::store::memory::Memory;
use postfach::sys::SystemClock;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const CONFIG: &str = r#"
hostname = "mail.example.org"
directory = "directory.toml"
[listen]
imap = ["127.0.0.1:0"]
[tls]
self_signed = true
[limits]
message_bytes_max = 2000000
"#;

/// What one idle connection may keep in its future, beside what its session believes.
const FUTURE_BYTES_MAX: usize = 3 * 1024;

/// What a deadline may be late by.
const MOMENT: Duration = Duration::from_secs(5);

static NEXT_FOLDER: AtomicU64 = AtomicU64::new(0);

struct Daemon {
    store: Arc<Memory>,
    directory: watch::Sender<Arc<Directory>>,
    shutdown: watch::Sender<bool>,
    shared: Arc<Shared>,
    folder: PathBuf,
}

impl Daemon {
    async fn start(plaintext: &str) -> Daemon {
        let number = NEXT_FOLDER.fetch_add(1, Ordering::Relaxed);
        let name = format!("postfach-imap-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(folder.join("spool")).expect("a temporary folder");
        let clock = Arc::new(SystemClock);
        let store = Arc::new(Memory::new(clock.clone()));
        let auth = format!("[auth]\nplaintext_without_tls = \"{plaintext}\"\n");
        let text = format!("data_dir = {:?}\n{CONFIG}{auth}", folder.display().to_string());
        let config = config::parse(&text, Path::new("postfach.toml")).expect("a valid config");
        let mut declared = file::parse(DIRECTORY, Path::new("directory.toml")).expect("valid");
        let hash = password::hash(b"secret").unwrap_or_else(|_| panic!("no hash"));
        declared.users.values_mut().for_each(|user| user.password = hash.clone());
        folders::ensure(&*store, &declared).await.expect("folders are made");
        let (directory, watched) = watch::channel(Arc::new(declared));
        let (shutdown, stop) = watch::channel(false);
        let hostname = "mail.example.org".to_owned();
        let source = Source::SelfSigned { folder: folder.join("tls"), hostname };
        let certificates = Certificates::load(&source).expect("a certificate");
        let shared = Arc::new(Shared {
            store: store.clone(),
            login: Arc::new(Authenticator::new(watched.clone(), clock.clone())),
            directory: watched,
            config: arc_swap::ArcSwap::from_pointee(config),
            tls: Some(Arc::new(certificates)),
            dkim: Arc::default(),
            shutdown: stop,
            desk: Arc::default(),
            auditor: Arc::default(),
            upstreams: Upstreams::out_of_reach(clock.clone()),
            clock,
            counts: Connections::new(Limits::default()),
        });
        Daemon { store, directory, shutdown, shared, folder }
    }

    async fn connect(&self) -> Client<TcpStream> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let local = listener.local_addr().expect("an address");
        let (ours, theirs) = tokio::join!(TcpStream::connect(local), listener.accept());
        let (socket, address) = theirs.expect("a connection");
        let peer = Peer::new(address, local);
        let connection = imap::connection(Stream::Plain(socket), peer, self.shared.clone());
        let bytes = size_of_val(&connection);
        assert!(bytes <= FUTURE_BYTES_MAX, "a connection takes {bytes} bytes");
        tokio::spawn(connection);
        let mut client = Client { stream: ours.expect("a connection"), unread: Vec::new() };
        assert!(client.line().await.starts_with("* OK [CAPABILITY IMAP4rev1 "));
        client
    }

    async fn logged_in(&self, login: &str) -> Client<TcpStream> {
        let mut client = self.connect().await;
        let answer = client.tell("l", &format!("LOGIN {login} secret")).await;
        assert!(answer.contains("l OK "), "{answer}");
        client
    }

    async fn deliver(&self, to: &str) {
        let mailbox = self.store.find(&account(to), &Folder::root()).expect("a mailbox");
        let delivered = Delivered {
            mailbox: mailbox.id,
            message: imap_support::new_message(b"Subject: x\r\n\r\ny\r\n"),
            trace: Vec::new(),
            flags: FlagList::default(),
            seen_by: Vec::new(),
            internal_date: self.store.now(),
            thread: None,
            duplicate_key: None,
        };
        let changes = vec![Change::Delivered(Box::new(delivered))];
        let transaction = Transaction { actor: Actor::Delivery, changes };
        self.store.commit(transaction).await.expect("delivered");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

struct Client<S> {
    stream: S,
    unread: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }

    /// The next line, without its end; `(closed)` at the end of the connection.
    async fn line(&mut self) -> String {
        self.line_within(Duration::from_secs(10)).await
    }

    async fn line_within(&mut self, limit: Duration) -> String {
        loop {
            if let Some(at) = self.unread.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..at + 2).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            let mut piece = [0; 4096];
            let read = tokio::time::timeout(limit, self.stream.read(&mut piece));
            match read.await.expect("an answer in time") {
                Ok(0) | Err(_) => return "(closed)".to_owned(),
                Ok(count) => self.unread.extend_from_slice(&piece[..count]),
            }
        }
    }

    /// A command and all lines up to its tagged answer or `+`.
    async fn tell(&mut self, tag: &str, command: &str) -> String {
        self.send(format!("{tag} {command}\r\n").as_bytes()).await;
        self.until(tag).await
    }

    async fn until(&mut self, tag: &str) -> String {
        let mut lines = String::new();
        loop {
            let line = self.line().await;
            let is_last = line.starts_with(&format!("{tag} ")) || line.starts_with('+');
            lines.push_str(&line);
            lines.push('\n');
            if is_last || line == "(closed)" {
                return lines;
            }
        }
    }
}

#[tokio::test]
async fn idle_tells_within_a_moment_and_costs_nothing_meanwhile() {
    let daemon = Daemon::start("loopback").await;
    let mut client = daemon.logged_in("anna").await;
    client.tell("a", "SELECT Shared/Support").await;
    assert_eq!(client.tell("b", "IDLE").await, "+ idling\n");
    let start = Instant::now();
    daemon.deliver("inbox Support").await;
    assert_eq!(client.line().await, "* 1 EXISTS");
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
    assert_eq!(client.line().await, "* 1 RECENT");
    client.send(b"DONE\r\n").await;
    assert_eq!(client.until("b").await, "b OK Idle ended\n");
}

/// RFC 5465: no command runs, and no IDLE.
#[tokio::test]
async fn one_connection_hears_of_many_inboxes_within_a_moment() {
    let daemon = Daemon::start("loopback").await;
    let mut client = daemon.logged_in("anna").await;
    let notify = "NOTIFY SET (subtree Shared (MessageNew MessageExpunge)) \
                  (selected (MessageNew (UID) MessageExpunge))";
    client.tell("a", notify).await;
    let start = Instant::now();
    daemon.deliver("inbox Support").await;
    assert!(client.line().await.starts_with("* STATUS Shared/Support (MESSAGES 1 UIDNEXT 2 "));
    daemon.deliver("inbox Info").await;
    assert!(client.line().await.starts_with("* STATUS Shared/Info (MESSAGES 1 UIDNEXT 2 "));
    assert!(start.elapsed() < Duration::from_millis(200), "{:?}", start.elapsed());
    client.tell("b", "SELECT Shared/Support").await;
    daemon.deliver("inbox Sales").await;
    daemon.deliver("inbox Support").await;
    for expected in ["* 2 EXISTS", "* 2 RECENT", "* 2 FETCH (UID 2)"] {
        assert_eq!(client.line().await, expected);
    }
    assert_eq!(client.tell("c", "IDLE").await, "+ idling\n");
    daemon.deliver("inbox Info").await;
    assert!(client.line().await.starts_with("* STATUS Shared/Info (MESSAGES 2 "));
    client.send(b"DONE\r\n").await;
    assert_eq!(client.until("c").await, "c OK Idle ended\n");
    assert_eq!(client.tell("d", "NOTIFY NONE").await, "d OK What is asked for is told\n");
    daemon.deliver("inbox Info").await;
    assert_eq!(client.tell("e", "NOOP").await, "e OK Done\n");
}

#[tokio::test]
async fn a_revoked_right_ends_in_an_open_session_without_a_command() {
    let daemon = Daemon::start("loopback").await;
    let (mut idle, mut silent) = (daemon.logged_in("anna").await, daemon.logged_in("anna").await);
    idle.tell("a", "SELECT Shared/Support").await;
    silent.tell("a", "SELECT Shared/Support").await;
    idle.tell("b", "IDLE").await;
    daemon.directory.send_modify(|directory| {
        let mut changed = Directory::clone(directory);
        let team = changed.teams.get_mut("support").expect("a team");
        team.retain(|login| *login != Login::new("anna"));
        *directory = Arc::new(changed);
    });
    let closed = "* OK [CLOSED] The mailbox is no longer there";
    assert_eq!(idle.line().await, closed);
    assert_eq!(silent.line().await, closed);
    let answer = silent.tell("b", "SELECT Shared/Support").await;
    assert_eq!(answer, "b NO [NONEXISTENT] No such mailbox\n");
}

#[tokio::test]
async fn what_only_the_role_shows_any_more_is_opened_anew_and_told() {
    let daemon = Daemon::start("loopback").await;
    let mut carla = daemon.logged_in("carla").await;
    let channel = "\"Other Users/ben/Ben Desk\"";
    let answer = carla.tell("a", &format!("SELECT {channel}")).await;
    assert!(answer.contains("a OK"), "{answer}");
    daemon.directory.send_modify(|directory| {
        let mut changed = Directory::clone(directory);
        let channel = changed.channels.get_mut("Ben Desk").expect("a channel");
        channel.access = Access::Limited { teams: Vec::new(), users: Vec::new() };
        *directory = Arc::new(changed);
    });
    assert_eq!(carla.line().await, "* OK [CLOSED] The mailbox is no longer there");
    let read = async || {
        let all = daemon.store.audited(EntryId(1), Timestamp(0), 1000).await.expect("answers");
        all.iter().filter(|record| record.text.contains("\"read\"")).count()
    };
    assert_eq!(read().await, 0);
    let answer = carla.tell("b", &format!("SELECT {channel}")).await;
    assert!(answer.contains("b OK"), "{answer}");
    assert_eq!(read().await, 1);
}

#[tokio::test]
async fn a_deleted_mailbox_is_closed_in_idle() {
    let daemon = Daemon::start("loopback").await;
    let (mut idle, mut other) = (daemon.logged_in("anna").await, daemon.logged_in("anna").await);
    other.tell("a", "CREATE Gone").await;
    idle.tell("a", "SELECT Gone").await;
    idle.tell("b", "IDLE").await;
    other.tell("b", "DELETE Gone").await;
    assert_eq!(idle.line().await, "* OK [CLOSED] The mailbox is no longer there");
    idle.send(b"DONE\r\n").await;
    assert_eq!(idle.until("b").await, "b OK Idle ended\n");
}

#[tokio::test]
async fn a_large_message_is_appended_through_the_spool_and_comes_back_whole() {
    let daemon = Daemon::start("loopback").await;
    let mut client = daemon.logged_in("anna").await;
    let message = format!("Subject: large\r\n\r\n{}", "0123456789abcdef\r\n".repeat(60_000));
    let announced = format!("APPEND Sent {{{}}}", message.len());
    assert!(client.tell("a", &announced).await.starts_with("+ "));
    client.send(format!("{message}\r\n").as_bytes()).await;
    assert!(client.until("a").await.contains("a OK [APPENDUID "));
    let left = std::fs::read_dir(daemon.folder.join("spool")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "the spool is empty again");
    client.tell("b", "SELECT Sent").await;
    let answer = client.tell("c", "FETCH 1 BODY.PEEK[]").await;
    assert!(answer.contains(&message.replace("\r\n", "\n")), "{} bytes", answer.len());
    let answer = client.tell("d", "APPEND Sent {2000001}").await;
    assert!(answer.starts_with("d NO [TOOBIG] "), "{answer}");
}

/// The files that hold messages on their way.
fn spooled(daemon: &Daemon) -> usize {
    std::fs::read_dir(daemon.folder.join("spool")).map_or(0, Iterator::count)
}

#[tokio::test]
async fn large_messages_are_put_together_in_the_spool() {
    let daemon = Daemon::start("loopback").await;
    let mut client = daemon.logged_in("anna").await;
    let message = format!("Subject: large\r\n\r\n{}", "0123456789abcdef\r\n".repeat(30_000));
    client.tell("a", &format!("APPEND Sent {{{}}}", message.len())).await;
    client.send(format!("{message}\r\n").as_bytes()).await;
    assert!(client.until("a").await.contains("a OK "));
    let [head, text] = ["HEADER", "TEXT"].map(|part| format!("URL /Sent/;UID=1/;SECTION={part}"));
    let filler = "filler\r\n".repeat(50_000);
    let command =
        format!("APPEND Sent CATENATE ({head} {text} TEXT {{{}+}}\r\n{filler})", filler.len());
    let answer = client.tell("b", &format!("{command} CATENATE ({head} TEXT {{1}}")).await;
    assert_eq!(answer, "+ Send the message\n");
    assert_eq!(spooled(&daemon), 2, "the first message waits for the second");
    client.send(format!("x {text})\r\n").as_bytes()).await;
    assert!(client.until("b").await.contains("b OK [APPENDUID "));
    assert_eq!(spooled(&daemon), 0, "the spool is empty again");
    client.tell("c", "SELECT Sent").await;
    let [begin, rest] = message.split_at_checked(18).map_or([""; 2], |(a, b)| [a, b]);
    for (n, whole) in [(2, format!("{message}{filler}")), (3, format!("{begin}x{rest}"))] {
        let answer = client.tell("d", &format!("FETCH {n} BODY.PEEK[]")).await;
        assert!(answer.contains(&whole.replace("\r\n", "\n")), "{} bytes", answer.len());
    }
    let urls = ["URL /Sent/;UID=2"; 3].join(" ");
    let answer = client.tell("e", &format!("APPEND Sent CATENATE ({urls})")).await;
    assert!(answer.ends_with("e NO [TOOBIG] The message is too large for this server\n"));
}

/// What is kept of a part since it was measured, and what is read anew, are the same.
#[tokio::test]
async fn long_fields_and_short_ones_are_put_in_alike() {
    let daemon = Daemon::start("loopback").await;
    let mut client = daemon.logged_in("anna").await;
    for (uid, bytes) in [(1, 1024), (2, 1025)] {
        // the name, the end of its line and an empty line
        let field = format!("X: {}\r\n\r\n", "y".repeat(bytes - 7));
        let message = format!("Subject: x\r\n{field}text\r\n");
        client
            .send(format!("a APPEND Sent {{{}+}}\r\n{message}\r\n", message.len()).as_bytes())
            .await;
        assert!(client.until("a").await.contains("a OK "));
        let url = format!("/Sent/;UID={uid}/;SECTION=HEADER.FIELDS%20(X)");
        let answer = client.tell("b", &format!("APPEND Drafts CATENATE (URL \"{url}\")")).await;
        assert!(answer.contains("b OK "), "{answer}");
        client.tell("c", "SELECT Drafts").await;
        let answer = client.tell("d", &format!("FETCH {uid} BODY.PEEK[]")).await;
        let wanted = format!("{{{bytes}}}\n{})", field.replace("\r\n", "\n"));
        assert!(answer.contains(&wanted), "{answer}");
    }
}

#[tokio::test]
async fn of_a_command_that_is_cut_off_nothing_is_left() {
    let daemon = Daemon::start("loopback").await;
    let mut client = daemon.logged_in("anna").await;
    let message = format!("Subject: large\r\n\r\n{}", "0123456789abcdef\r\n".repeat(30_000));
    client.tell("a", &format!("APPEND Sent {{{}}}", message.len())).await;
    client.send(format!("{message}\r\n").as_bytes()).await;
    client.until("a").await;
    let command = "APPEND Sent CATENATE (URL /Sent/;UID=1) CATENATE (URL /Sent/;UID=1 TEXT {9}";
    assert_eq!(client.tell("b", command).await, "+ Send the message\n");
    client.send(b"half").await;
    assert!(spooled(&daemon) > 0);
    drop(client);
    let mut client = daemon.logged_in("anna").await;
    for _ in 0..100 {
        if spooled(&daemon) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(spooled(&daemon), 0);
    assert!(client.tell("c", "STATUS Sent (MESSAGES)").await.contains("MESSAGES 1"));
}

#[tokio::test]
async fn what_only_the_role_shows_is_put_into_nothing_untold() {
    let daemon = Daemon::start("loopback").await;
    daemon.deliver("channel Anna Sales").await;
    let mut carla = daemon.logged_in("carla").await;
    let read = async || {
        let all = daemon.store.audited(EntryId(1), Timestamp(0), 1000).await.expect("answers");
        all.iter().filter(|record| record.text.contains("\"read\"")).count()
    };
    for (uid, told) in [(9, "NO [BADURL"), (1, "OK [APPENDUID"), (1, "OK [APPENDUID")] {
        let url = format!("/Other%20Users/anna/Anna%20Sales/;UID={uid}");
        let answer = carla.tell("a", &format!("APPEND INBOX CATENATE (URL \"{url}\")")).await;
        assert!(answer.starts_with(&format!("a {told}")), "{answer}");
        assert_eq!(read().await, 1, "once for each session");
    }
}

#[tokio::test]
async fn starttls_drops_what_was_sent_before_the_handshake() {
    let daemon = Daemon::start("never").await;
    let mut client = daemon.connect().await;
    let refused = client.tell("a", "LOGIN anna secret").await;
    assert!(refused.starts_with("a NO [PRIVACYREQUIRED] "), "{refused}");
    client.send(b"b STARTTLS\r\nc NOOP\r\n").await;
    assert!(client.until("b").await.contains("b OK "));
    let pem = std::fs::read(daemon.folder.join("tls/ca.pem")).expect("the authority");
    let mut roots = RootCertStore::empty();
    let authority = CertificateDer::from_pem_slice(&pem).expect("a certificate");
    roots.add(authority).expect("a usable authority");
    let trust = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("mail.example.org").expect("a name");
    let stream = TlsConnector::from(Arc::new(trust)).connect(name, client.stream).await;
    let mut client = Client { stream: stream.expect("a handshake"), unread: Vec::new() };
    // the NOOP before the handshake is never answered
    assert!(client.tell("d", "LOGIN anna secret").await.starts_with("d OK [CAPABILITY "));
    assert!(client.tell("e", "LOGOUT").await.starts_with("* BYE "));
    assert_eq!(client.line().await, "(closed)");
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() {
    let daemon = Daemon::start("loopback").await;
    let mut client = daemon.logged_in("anna").await;
    let commands: String = (0..50).map(|n| format!("t{n} STATUS INBOX (MESSAGES)\r\n")).collect();
    client.send(commands.as_bytes()).await;
    for n in 0..50 {
        assert_eq!(client.line().await, "* STATUS INBOX (MESSAGES 0)");
        assert_eq!(client.line().await, format!("t{n} OK Status told"));
    }
}

/// The clock stands still while everything waits, and then jumps to the next deadline.
#[tokio::test(start_paused = true)]
async fn who_does_not_log_in_in_time_is_sent_away_whatever_they_send() {
    let daemon = Daemon::start("loopback").await;
    let start = tokio::time::Instant::now();
    let mut client = daemon.connect().await;
    // a byte now and then does not put it off
    for _ in 0..11 {
        tokio::time::sleep(LOGIN_TIMEOUT / 12).await;
        client.send(b"x").await;
    }
    assert_eq!(client.line_within(LOGIN_TIMEOUT).await, "* BYE You were silent for too long");
    assert_eq!(client.line_within(LOGIN_TIMEOUT).await, "(closed)");
    let took = start.elapsed();
    assert!((LOGIN_TIMEOUT..LOGIN_TIMEOUT + MOMENT).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_user_may_be_silent_for_half_an_hour_and_not_longer() {
    let daemon = Daemon::start("loopback").await;
    let (mut silent, mut idle) = (daemon.logged_in("anna").await, daemon.logged_in("anna").await);
    idle.tell("a", "IDLE").await;
    tokio::time::sleep(IDLE_TIMEOUT - MOMENT).await;
    assert!(silent.tell("a", "NOOP").await.contains("a OK "));
    assert_eq!(idle.line_within(2 * MOMENT).await, "* BYE You were silent for too long");
    assert_eq!(idle.line_within(MOMENT).await, "(closed)");
    let start = tokio::time::Instant::now();
    let goodbye = silent.line_within(2 * IDLE_TIMEOUT).await;
    assert_eq!(goodbye, "* BYE You were silent for too long");
    assert!(start.elapsed() + 3 * MOMENT > IDLE_TIMEOUT, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_cut_off() {
    let daemon = Daemon::start("loopback").await;
    let mut client = daemon.logged_in("anna").await;
    let message = format!("Subject: large\r\n\r\n{}", "0123456789abcdef\r\n".repeat(100_000));
    client.tell("a", &format!("APPEND Sent {{{}}}", message.len())).await;
    client.send(format!("{message}\r\n").as_bytes()).await;
    assert!(client.until("a").await.contains("a OK "));
    client.tell("b", "SELECT Sent").await;
    // more than the buffers of both sides hold
    client.send(&b"c FETCH 1 BODY.PEEK[]\r\n".repeat(20)).await;
    tokio::time::sleep(TRANSFER_TIMEOUT + MOMENT).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(MOMENT, client.stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is still open");
    assert!(rest.len() < 20 * message.len(), "all {} bytes were taken", rest.len());
}

#[tokio::test(start_paused = true)]
async fn who_does_not_go_on_with_a_message_is_cut_off() {
    let daemon = Daemon::start("loopback").await;
    let mut client = daemon.logged_in("anna").await;
    let start = tokio::time::Instant::now();
    client.tell("a", "APPEND Sent {100}").await;
    client.send(b"Subject: ").await;
    assert_eq!(client.line_within(2 * TRANSFER_TIMEOUT).await, "(closed)");
    let took = start.elapsed();
    assert!((TRANSFER_TIMEOUT..TRANSFER_TIMEOUT + MOMENT).contains(&took), "{took:?}");
    let mut client = daemon.logged_in("anna").await;
    assert!(client.tell("a", "STATUS Sent (MESSAGES)").await.contains("MESSAGES 0"));
}

#[tokio::test]
async fn shutdown_says_bye_also_to_who_idles() {
    let daemon = Daemon::start("loopback").await;
    let (mut idle, mut silent) = (daemon.logged_in("anna").await, daemon.connect().await);
    idle.tell("a", "IDLE").await;
    daemon.shutdown.send_replace(true);
    for client in [&mut idle, &mut silent] {
        assert_eq!(client.line().await, "* BYE The server is shutting down");
        assert_eq!(client.line().await, "(closed)");
    }
}
