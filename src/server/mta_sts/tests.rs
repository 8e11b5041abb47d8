//! Policies from a server of our own, with an authority of its own, while the clock is ours.

use std::fs;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;
use crate::server::self_signed::AUTHORITY;
use crate::server::tls::{Certificates, Source, provider, read_chain};
use crate::sys::ManualClock;

const DOMAIN: &str = "example.org";
const ENFORCE: &str = "version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 604800\n";
const NOW: i64 = 1_764_150_000;

/// What DNS holds.
struct Zone(Mutex<HashMap<String, String>>);

impl Names for Zone {
    fn texts<'a>(&'a self, name: &'a str) -> Looked<'a, Vec<String>> {
        let found = self.0.lock().expect("no panic").get(name).cloned();
        Box::pin(async move { Ok(found.into_iter().collect()) })
    }

    fn addresses<'a>(&'a self, _: &'a str) -> Looked<'a, Vec<IpAddr>> {
        Box::pin(async { Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]) })
    }
}

/// A policy host, a zone and a clock.
struct World {
    folder: PathBuf,
    port: u16,
    zone: Arc<Zone>,
    clock: Arc<ManualClock>,
    /// What the host answers; `None`: nothing at all.
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    /// Bytes of requests that came in whole.
    requests: Arc<Mutex<Vec<String>>>,
}

impl World {
    /// With the record and the policy in place.
    async fn new() -> World {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("postfach-mta-sts-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let world = World {
            port: listener.local_addr().expect("an address").port(),
            folder,
            zone: Arc::new(Zone(Mutex::new(HashMap::new()))),
            clock: Arc::new(ManualClock::default()),
            answer: Arc::default(),
            requests: Arc::default(),
        };
        world.at(NOW);
        world.record(Some("1"));
        world.says(&page("text/plain", ENFORCE));
        let hostname = format!("mta-sts.{DOMAIN}");
        let source = Source::SelfSigned { folder: world.folder.join("tls"), hostname };
        let certificates = Certificates::load(&source).expect("a certificate");
        tokio::spawn(serve(listener, certificates, world.answer.clone(), world.requests.clone()));
        world
    }

    /// What a daemon that has just started knows.
    fn policies(&self) -> Policies {
        let mut roots = RootCertStore::empty();
        let chain = read_chain(&self.folder.join("tls").join(AUTHORITY)).expect("an authority");
        chain.into_iter().for_each(|authority| roots.add(authority).expect("a certificate"));
        self.policies_that_trust(roots)
    }

    fn policies_that_trust(&self, roots: RootCertStore) -> Policies {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let timeout = Duration::from_secs(5);
        let settings = Settings { port: self.port, timeout, ..Settings::new(&self.folder) };
        let tls = TlsConnector::from(Arc::new(config));
        Policies::open(settings, tls, (self.zone.clone(), self.clock.clone()))
    }

    fn at(&self, seconds: i64) {
        self.clock.set(Timestamp::from_seconds(seconds));
    }

    fn record(&self, id: Option<&str>) {
        let name = format!("_mta-sts.{DOMAIN}");
        let mut zone = self.zone.0.lock().expect("no panic");
        match id {
            Some(id) => zone.insert(name, format!("v=STSv1; id={id};")),
            None => zone.remove(&name),
        };
    }

    fn says(&self, answer: &[u8]) {
        *self.answer.lock().expect("no panic") = Some(answer.to_vec());
    }

    fn fetches(&self) -> usize {
        self.requests.lock().expect("no panic").len()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn page(kind: &str, text: &str) -> Vec<u8> {
    let length = text.len();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: ";
    format!("{head}{kind}\r\nContent-Length: {length}\r\n\r\n{text}").into_bytes()
}

async fn serve(
    listener: TcpListener,
    certificates: Certificates,
    answer: Arc<Mutex<Option<Vec<u8>>>>,
    requests: Arc<Mutex<Vec<String>>>,
) {
    while let Ok((socket, _)) = listener.accept().await {
        let Ok(mut stream) = certificates.acceptor().accept(socket).await else { continue };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => request.push(byte),
                Err(_) => break,
            }
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        requests.lock().expect("no panic").push(request);
        let answer = answer.lock().expect("no panic").clone();
        let Some(answer) = answer else {
            tokio::spawn(async move {
                let _held = stream;
                std::future::pending::<()>().await;
            });
            continue;
        };
        let _ = stream.write_all(&answer).await;
        let _ = stream.shutdown().await;
    }
}

fn enforced(applied: &Applied) -> bool {
    matches!(applied, Applied::Enforce(_))
        && applied.allows("mx.example.org")
        && !applied.allows("mx.example.net")
}

#[tokio::test]
async fn a_policy_is_fetched_once_and_obeyed() {
    let world = World::new().await;
    let policies = world.policies();
    assert!(enforced(&policies.policy_for("Example.ORG.").await));
    assert!(enforced(&policies.policy_for(DOMAIN).await));
    let requests = world.requests.lock().expect("no panic").clone();
    assert_eq!(requests.len(), 1);
    let request = requests[0].to_ascii_lowercase();
    assert!(request.starts_with("get /.well-known/mta-sts.txt http/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nhost: mta-sts.example.org\r\n"), "{request}");
}

#[tokio::test]
async fn testing_and_none_hold_nothing_back() {
    let world = World::new().await;
    for (mode, applied) in [("testing", Applied::Testing), ("none", Applied::None)] {
        world.says(&page("Text/Plain; charset=utf-8", &ENFORCE.replace("enforce", mode)));
        world.record(Some(mode));
        assert_eq!(world.policies().policy_for(DOMAIN).await, applied);
    }
}

#[tokio::test]
async fn without_a_record_nothing_is_fetched() {
    let world = World::new().await;
    world.record(None);
    assert_eq!(world.policies().policy_for(DOMAIN).await, Applied::None);
    assert_eq!(world.policies().policy_for("no domain").await, Applied::None);
    assert_eq!(world.fetches(), 0);
}

#[tokio::test]
async fn a_certificate_that_is_not_the_hosts_gives_no_policy() {
    let world = World::new().await;
    let stranger = world.policies_that_trust(RootCertStore::empty());
    assert_eq!(stranger.policy_for(DOMAIN).await, Applied::None);
    let record = "v=STSv1; id=1;".to_owned();
    world.zone.0.lock().expect("no panic").insert("_mta-sts.example.net".to_owned(), record);
    assert_eq!(world.policies().policy_for("example.net").await, Applied::None);
    assert_eq!(world.fetches(), 0, "nothing is asked of a host that is not known");
}

#[tokio::test]
async fn answers_that_are_no_policy_give_none() {
    let world = World::new().await;
    let moved = "HTTP/1.1 301 Moved\r\nLocation: https://mta-sts.example.org/x\r\n\
                 Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n";
    let missing = page("text/plain", ENFORCE);
    let missing = String::from_utf8(missing).expect("text").replace("200 OK", "404 Not Found");
    for (n, answer) in [
        moved.as_bytes().to_vec(),
        missing.into_bytes(),
        page("text/html", ENFORCE),
        page("text/plain", "<html>"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc".to_vec(),
        page("text/plain", ENFORCE)[..100].to_vec(),
        b"220 mail.example.org ESMTP\r\n".to_vec(),
        Vec::new(),
    ]
    .iter()
    .enumerate()
    {
        world.says(answer);
        world.record(Some(&format!("{n}")));
        assert_eq!(world.policies().policy_for(DOMAIN).await, Applied::None, "{n}");
        assert_eq!(world.fetches(), n + 1);
    }
}

#[tokio::test]
async fn a_policy_may_have_64_kib_and_not_one_byte_more() {
    let world = World::new().await;
    let policy = |bytes: usize| {
        let filler = "x: ".to_owned() + &"y".repeat(bytes - ENFORCE.len() - 3);
        page("text/plain", &format!("{ENFORCE}{filler}"))
    };
    world.says(&policy(fetch::POLICY_BYTES_MAX + 1));
    assert_eq!(world.policies().policy_for(DOMAIN).await, Applied::None);
    world.says(&policy(fetch::POLICY_BYTES_MAX));
    assert!(enforced(&world.policies().policy_for(DOMAIN).await));
    let endless = [&b"HTTP/1.1 200 OK\r\nX: "[..], &b"y".repeat(1 << 20), b"\r\n\r\n"].concat();
    world.says(&endless);
    world.record(Some("2"));
    assert!(enforced(&world.policies().policy_for(DOMAIN).await), "the old one holds");
}

#[tokio::test]
async fn a_policy_may_come_in_chunks() {
    let world = World::new().await;
    let (one, two) = ENFORCE.split_at(30);
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = format!("{:x}\r\n{one}\r\n{:x}\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
    world.says(format!("{head}{chunks}").as_bytes());
    assert!(enforced(&world.policies().policy_for(DOMAIN).await));
}

#[tokio::test]
async fn a_restart_forgets_no_policy() {
    let world = World::new().await;
    assert!(enforced(&world.policies().policy_for(DOMAIN).await));
    world.record(None);
    world.at(NOW + 604_799);
    assert!(enforced(&world.policies().policy_for(DOMAIN).await));
    world.at(NOW + 604_800);
    assert_eq!(world.policies().policy_for(DOMAIN).await, Applied::None);
    assert_eq!(world.fetches(), 1);
}

#[tokio::test]
async fn a_damaged_file_loses_no_more_than_the_damaged_lines() {
    let world = World::new().await;
    assert!(enforced(&world.policies().policy_for(DOMAIN).await));
    let file = Settings::new(&world.folder).file;
    let text = fs::read_to_string(&file).expect("it was written");
    fs::write(&file, format!("damaged\n\n{text}example.com 1")).expect("written");
    world.record(None);
    assert!(enforced(&world.policies().policy_for(DOMAIN).await));
    fs::write(&file, b"\xff").expect("written");
    assert_eq!(world.policies().policy_for(DOMAIN).await, Applied::None);
}

#[tokio::test]
async fn a_new_record_and_a_day_later_it_is_fetched_again() {
    let world = World::new().await;
    let policies = world.policies();
    assert!(enforced(&policies.policy_for(DOMAIN).await));
    world.says(&page("text/plain", &ENFORCE.replace("enforce", "testing")));
    assert!(enforced(&policies.policy_for(DOMAIN).await), "the record is the same");
    world.record(Some("2"));
    assert_eq!(policies.policy_for(DOMAIN).await, Applied::Testing);
    world.says(&page("text/plain", ENFORCE));
    world.at(NOW + 24 * 3600 - 1);
    assert_eq!(policies.policy_for(DOMAIN).await, Applied::Testing);
    world.at(NOW + 24 * 3600);
    assert!(enforced(&policies.policy_for(DOMAIN).await));
    assert_eq!(world.fetches(), 3);
}

#[tokio::test]
async fn policies_are_refreshed_without_anybody_writing() {
    let world = World::new().await;
    let policies = world.policies();
    policies.policy_for(DOMAIN).await;
    for (days, fetches) in [(0, 1), (6, 2), (12, 3)] {
        world.at(NOW + days * 24 * 3600);
        policies.refresh().await;
        assert_eq!(world.fetches(), fetches, "after {days} days");
    }
    world.record(None);
    world.at(NOW + 18 * 24 * 3600);
    policies.refresh().await;
    assert_eq!(world.fetches(), 4, "whoever hides the record gains nothing");
    assert!(enforced(&policies.policy_for(DOMAIN).await), "its week has begun again");
}

#[tokio::test]
async fn a_failed_fetch_is_not_repeated_for_five_minutes_and_the_old_policy_holds() {
    let world = World::new().await;
    let policies = world.policies();
    assert!(enforced(&policies.policy_for(DOMAIN).await));
    world.says(b"");
    world.record(Some("2"));
    for (seconds, fetches) in [(0, 2), (299, 2), (300, 3), (301, 3)] {
        world.at(NOW + seconds);
        assert!(enforced(&policies.policy_for(DOMAIN).await));
        assert_eq!(world.fetches(), fetches, "after {seconds} s");
    }
    world.record(Some("3"));
    assert!(enforced(&policies.policy_for(DOMAIN).await));
    assert_eq!(world.fetches(), 4, "another record is another matter");
}

#[tokio::test]
async fn a_host_that_never_answers_is_given_up() {
    let world = World::new().await;
    *world.answer.lock().expect("no panic") = None;
    let mut policies = world.policies();
    policies.settings.timeout = Duration::from_millis(300);
    assert_eq!(policies.policy_for(DOMAIN).await, Applied::None);
}

#[tokio::test]
async fn those_who_ask_at_the_same_time_cause_one_fetch() {
    let world = World::new().await;
    let policies = Arc::new(world.policies());
    let ask = || {
        let policies = policies.clone();
        tokio::spawn(async move { policies.policy_for(DOMAIN).await })
    };
    for answer in [ask(), ask(), ask(), ask(), ask()] {
        assert!(enforced(&answer.await.expect("no panic")));
    }
    assert_eq!(world.fetches(), 1);
    assert!(policies.known().fetching.is_empty());
}

#[test]
fn so_many_domains_are_kept_and_not_one_more() {
    let line = |n: i64| format!("d{n}.example x {} none 604800 ", NOW - n);
    let mut kept: BTreeMap<String, Kept> =
        (0..DOMAINS_MAX as i64).filter_map(|n| Kept::read(&line(n))).collect();
    forget(&mut kept, Timestamp::from_seconds(NOW));
    assert_eq!(kept.len(), DOMAINS_MAX);
    kept.extend(Kept::read(&line(604_000)));
    forget(&mut kept, Timestamp::from_seconds(NOW));
    assert_eq!(kept.len(), DOMAINS_MAX);
    assert!(!kept.contains_key("d604000.example") && kept.contains_key("d0.example"));
    forget(&mut kept, Timestamp::from_seconds(NOW + 604_800));
    assert!(kept.is_empty());
}
