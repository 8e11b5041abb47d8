//! For tests: a real S3 server (moto's, from PyPI), and a door before it that can be shut, slowed
//! or slammed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::{KeySecret, Objects, Settings, Transport};

/// How long moto may take to start, on a machine with much else to do.
const START_MAX: Duration = Duration::from_secs(60);

/// The server of this test process, started with the first bucket.
struct Moto {
    port: u16,
    /// Its shell ends it when this is closed, and be it by the death of the test.
    _life: ChildStdin,
    _shell: Child,
}

/// A bucket of its own for each test.
pub(in crate::store) struct TestBucket {
    pub(in crate::store) name: String,
    pub(in crate::store) port: u16,
}

impl TestBucket {
    pub(in crate::store) fn new() -> TestBucket {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let bucket = TestBucket::missing(COUNT.fetch_add(1, Ordering::Relaxed));
        assert!(bucket.request("PUT", "").starts_with("HTTP/1.1 200"), "no bucket");
        bucket
    }

    /// One that nobody has made.
    pub(in crate::store) fn missing(number: u32) -> TestBucket {
        TestBucket { name: format!("mail-{}-{number}", std::process::id()), port: moto().port }
    }

    pub(in crate::store) fn objects(&self) -> Objects {
        Objects::new(self.settings(self.port)).expect("a client")
    }

    /// As seen through a door.
    pub(in crate::store) fn behind(&self, door: &Door) -> Objects {
        Objects::new(self.settings(door.port)).expect("a client")
    }

    pub(in crate::store) fn settings(&self, port: u16) -> Settings {
        Settings {
            bucket: self.name.clone(),
            prefix: "post/fach".into(),
            endpoint: Some(format!("http://127.0.0.1:{port}")),
            region: None,
            keys: Some(KeySecret { access_key: "key".into(), secret: "secret".into() }),
            authority: None,
            transport: Transport::HttpAllowed,
        }
    }

    /// Asks the server itself; what it answers.
    pub(in crate::store) fn request(&self, verb: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("moto is there");
        // not a signature, but it says to which service this goes
        let who = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request";
        let head = format!(
            "{verb} /{}/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\
             Connection: close\r\nAuthorization: {who}\r\n\r\n",
            self.name
        );
        stream.write_all(head.as_bytes()).expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }
}

fn moto() -> &'static Moto {
    static MOTO: OnceLock<Moto> = OnceLock::new();
    MOTO.get_or_init(start)
}

fn program() -> PathBuf {
    let tests = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/test-venv/bin/moto_server");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("moto_server"));
    found.chain([tests]).find(|program| program.exists()).expect(
        "moto_server is missing: tests/run installs it, or python3 -m venv target/test-venv && \
         target/test-venv/bin/pip install 'moto[server]'",
    )
}

fn start() -> Moto {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = free.local_addr().expect("its number").port();
    drop(free);
    let script = "\"$0\" -H 127.0.0.1 -p \"$1\" >/dev/null 2>&1 & read line; kill $!";
    let mut shell = Command::new("sh")
        .args(["-c", script])
        .arg(program())
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let life = shell.stdin.take().expect("piped");
    let late = Instant::now() + START_MAX;
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < late, "moto_server does not start");
        std::thread::sleep(Duration::from_millis(50));
    }
    Moto { port, _life: life, _shell: shell }
}

/// What a door does with who comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store) enum Manners {
    /// Lets everything through.
    Open,
    /// Hangs up at once.
    Shut,
    /// Takes what is asked, and answers 500.
    Broken,
    /// Lets so many bytes of a request through, then hangs up.
    Slam(u64),
    /// Waits so long before it lets a request through.
    Slow(Duration),
}

/// A TCP proxy before moto. Its threads end with the test process.
pub(in crate::store) struct Door {
    port: u16,
    manners: Arc<Mutex<Manners>>,
    /// How many requests have come.
    pub(in crate::store) visits: Arc<AtomicU64>,
}

impl Door {
    pub(in crate::store) fn before(bucket: &TestBucket) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let door =
            Door { port, manners: Arc::new(Mutex::new(Manners::Open)), visits: Arc::default() };
        let (manners, visits, inside) = (door.manners.clone(), door.visits.clone(), bucket.port);
        std::thread::spawn(move || {
            for visitor in listener.incoming().map_while(Result::ok) {
                let (manners, visits) = (manners.clone(), visits.clone());
                std::thread::spawn(move || serve(visitor, inside, (&manners, &visits)));
            }
        });
        door
    }

    pub(in crate::store) fn set(&self, manners: Manners) {
        *self.manners.lock().expect("not poisoned") = manners;
    }
}

/// One connection: request by request, so that a change of manners counts from the next on.
fn serve(visitor: TcpStream, inside: u16, (manners, visits): (&Mutex<Manners>, &AtomicU64)) {
    let mut requests = BufReader::new(visitor.try_clone().expect("a handle"));
    let mut visitor = visitor;
    while let Some(request) = request(&mut requests) {
        let now = *manners.lock().expect("not poisoned");
        // whoever sees it may change the manners: only the next has those
        visits.fetch_add(1, Ordering::Relaxed);
        let cut = match now {
            Manners::Open => request.len(),
            Manners::Slow(time) => {
                std::thread::sleep(time);
                request.len()
            }
            Manners::Slam(bytes) => request.len().min(bytes as usize),
            Manners::Shut => break,
            Manners::Broken => {
                let answer = b"HTTP/1.1 500 Broken\r\nContent-Length: 0\r\n\r\n";
                if visitor.write_all(answer).is_err() {
                    break;
                }
                continue;
            }
        };
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", inside)) else { break };
        if server.write_all(&request[..cut]).is_err() || cut < request.len() {
            break;
        }
        // moto closes after each answer that is told so
        let _ = std::io::copy(&mut server, &mut visitor);
        break;
    }
    let _ = visitor.shutdown(Shutdown::Both);
}

/// A whole request, with a header that asks the server to close behind its answer.
fn request(from: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if from.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    head.push_str("Connection: close\r\n\r\n");
    let mut bytes = head.into_bytes();
    let body = bytes.len();
    bytes.resize(body + length, 0);
    from.read_exact(&mut bytes[body..]).ok()?;
    Some(bytes)
}
