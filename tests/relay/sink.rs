//! Postfix's smtp-sink as the server, where it is installed: a second opinion on what we say.

use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use crate::world::{Message, hop, relay, settings, shown};

const SINK: &str = "/usr/sbin/smtp-sink";

/// A running smtp-sink; what it gets is in its folder, a file for each message.
struct Sink {
    child: Child,
    folder: PathBuf,
    address: SocketAddr,
}

impl Sink {
    /// `None` where it is not installed.
    async fn start(name: &str, options: &[&str]) -> Option<Sink> {
        if !Path::new(SINK).exists() {
            eprintln!("{SINK} is not installed: not tested");
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = free.local_addr().expect("an address");
        drop(free);
        let folder = std::env::temp_dir().join(format!("postfach-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let child = Command::new(SINK)
            .current_dir(&folder)
            .args(options)
            .args(as_root())
            .args(["-d", "%M.", &address.to_string(), "100"])
            .stderr(Stdio::null())
            .spawn()
            .expect("smtp-sink starts");
        let sink = Sink { child, folder, address };
        for _ in 0..300 {
            if TcpStream::connect(address).await.is_ok() {
                return Some(sink);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("smtp-sink does not listen");
    }

    fn messages(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.folder).expect("a folder");
        let text = |entry: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(entry.expect("an entry").path()).expect("a message")
        };
        entries.map(text).filter(|text| !text.is_empty()).collect()
    }
}

/// It wants to be told whom to become when root starts it.
fn as_root() -> &'static [&'static str] {
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if is_root { &["-u", "root"] } else { &[] }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[tokio::test]
async fn it_gets_what_was_sent() {
    for (name, options) in
        [("all", &[][..]), ("no-pipelining", &["-p"][..]), ("no-esmtp", &["-e"][..])]
    {
        let Some(sink) = Sink::start(name, options).await else { return };
        let message = Message::small().await;
        let relay = relay(settings());
        for _ in 0..3 {
            let (hop, mail) = (hop(&[sink.address]), message.mail(&["x", "y"]));
            let attempt = relay.attempt(&hop, &mail, &message.content).await;
            let delivered =
                |fate| crate::world::fate(fate).starts_with("delivered 2.0.0 250 2.0.0");
            assert!(attempt.fates.iter().all(delivered), "{name}: {attempt:?}");
        }
        relay.close().await;
        let messages = sink.messages();
        assert_eq!(messages.len(), 3, "{name}");
        let sent = String::from_utf8(message.bytes.clone()).expect("ASCII").replace("\r\n", "\n");
        for message in messages {
            assert!(message.contains("X-Mail-Args: <a@b.example>"), "{message}");
            assert_eq!(message.matches("X-Rcpt-Args:").count(), 2, "{message}");
            assert!(message.trim_end().ends_with(sent.trim_end()), "{message}");
        }
    }
}

#[tokio::test]
async fn its_refusals_and_departures_are_understood() {
    for (options, expected) in [
        (&["-f", "mail"][..], "failed 5.3.0"),
        (&["-r", "mail"][..], "deferred 4.3.0"),
        (&["-f", "rcpt"][..], "failed 5.3.0"),
        (&["-r", "rcpt"][..], "deferred 4.3.0"),
        (&["-f", "data"][..], "failed 5.3.0"),
        (&["-r", "."][..], "deferred 4.3.0"),
        (&["-f", "."][..], "failed 5.3.0"),
        (&["-q", "mail"][..], "deferred 4.4.2"),
        (&["-q", "rcpt"][..], "deferred 4.4.2"),
        (&["-q", "data"][..], "deferred 4.4.2"),
        (&["-q", "."][..], "deferred 4.4.2"),
        (&["-Q", "rcpt"][..], "deferred 4."),
    ] {
        let name = options.join("").replace('.', "end");
        let Some(sink) = Sink::start(&name, options).await else { return };
        let message = Message::small().await;
        let (hop, mail) = (hop(&[sink.address]), message.mail(&["x"]));
        let relay = relay(settings());
        let attempt = shown(&relay.attempt(&hop, &mail, &message.content).await);
        assert!(attempt.starts_with(expected), "{options:?}: {attempt}");
    }
}
