//! What `postfach queue` says.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::thread;

use super::*;
use crate::server::control::words::Recipient;

const NOW: i64 = 1_795_389_786;

struct Installation(PathBuf);

impl Installation {
    fn new(name: &str) -> Installation {
        let folder = std::env::temp_dir().join(format!("postfach-q-{name}-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("run")).expect("made");
        let text = format!("hostname = \"m.example\"\ndata_dir = \"{}\"\n", folder.display());
        std::fs::write(folder.join("postfach.toml"), text).expect("written");
        Installation(folder)
    }

    fn ask(&self, request: &Request, form: Form) -> (Outcome, String) {
        let mut out = Vec::new();
        let config = self.0.join("postfach.toml");
        let outcome = report(&config, (request, form), &mut out).expect("memory");
        (outcome, String::from_utf8(out).expect("text"))
    }

    /// A daemon that says this once.
    fn answers(&self, lines: Vec<u8>) -> thread::JoinHandle<()> {
        let listener = UnixListener::bind(self.0.join(FILE)).expect("bound");
        thread::Builder::new()
            .spawn(move || {
                let (mut stream, _) = listener.accept().expect("asked");
                let mut line = String::new();
                let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
                reader.read_line(&mut line).expect("a request");
                stream.write_all(&lines).expect("taken");
            })
            .expect("a thread")
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn message() -> Message {
    let recipient = |address: &str, held| Recipient {
        address: address.into(),
        upstream: None,
        attempts: 3,
        next_attempt_secs: NOW + 1200,
        last_reply: Some("mx.example.net: 450 4.2.0 later\u{1b}[2J".into()),
        held,
    };
    Message {
        id: 7,
        name: "x1".into(),
        sender: "anna@example.org".into(),
        account: Some("inbox Support".into()),
        size_bytes: 20_480,
        queued_at_secs: NOW - 3 * 3600 - 720,
        expires_at_secs: NOW + 4 * 86_400,
        recipients: vec![recipient("bob@example.net", false), recipient("c@example.net", true)],
    }
}

fn done(messages: usize, recipients: usize, busy: usize) -> Line {
    Line::Done(Done { messages, recipients, busy, now_secs: NOW })
}

fn answered(name: &str, lines: &[Line], (request, form): (Request, Form)) -> (Outcome, String) {
    let installation = Installation::new(name);
    let daemon = installation.answers(lines.iter().flat_map(Line::to_bytes).collect());
    let answer = installation.ask(&request, form);
    daemon.join().expect("no panic");
    answer
}

#[test]
fn a_list_shows_who_waits_since_when_and_why() {
    let lines = [Line::Message(message()), done(1, 0, 0)];
    let (outcome, text) = answered("list", &lines, (Request::List, Form::Text));
    assert_eq!(outcome, Outcome::Done);
    let expected = "      ID     AGE     SIZE  SENDER\n\
         \x20      7  3h 12m      20K  anna@example.org\n\
         \x20                          bob@example.net (3 attempts, next in 20m)\n\
         \x20                            mx.example.net: 450 4.2.0 later\u{fffd}[2J\n\
         \x20                          c@example.net (3 attempts, held)\n\
         \x20                            mx.example.net: 450 4.2.0 later\u{fffd}[2J\n\
         1 message, 2 recipients, 20K\n";
    assert_eq!(text, expected);
    let (_, text) = answered("empty", &[done(0, 0, 0)], (Request::List, Form::Text));
    assert_eq!(text, "the queue is empty\n");
}

#[test]
fn a_message_is_shown_in_full() {
    let lines = [Line::Message(message()), done(1, 0, 0)];
    let (_, text) = answered("show", &lines, (Request::Show("7".into()), Form::Text));
    for expected in ["id        7\n", "in log    x1\n", "account   inbox Support\n", "(in 4d 0h)"] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn programs_get_a_json_object_a_message() {
    let lines = [Line::Message(message()), done(1, 0, 0)];
    let (_, text) = answered("json", &lines, (Request::List, Form::Json));
    let read: Message = serde_json::from_str(&text).expect("JSON");
    assert_eq!(read, message());
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_change_says_what_it_did() {
    let one = |verb| (Request::One(verb, "7".into()), Form::Text);
    let (_, text) = answered("drop", &[done(1, 2, 0)], one(Verb::Drop));
    assert_eq!(text, "2 recipients of 1 message: dropped; nobody is told\n");
    let (_, text) = answered("busy", &[done(1, 0, 1)], one(Verb::Hold));
    assert!(text.contains("1 recipient being tried at this moment"), "{text}");
    let (_, text) = answered("held", &[done(1, 0, 0)], one(Verb::Retry));
    assert!(text.contains("queue release ID"), "{text}");
    let (outcome, text) = answered("no", &[Line::Error("no message 7".into())], one(Verb::Drop));
    assert_eq!((outcome, text.as_str()), (Outcome::Refused, "no message 7\n"));
}

#[test]
fn a_daemon_that_is_not_there_or_breaks_off_is_told() {
    let installation = Installation::new("away");
    let (outcome, text) = installation.ask(&Request::List, Form::Text);
    assert_eq!(outcome, Outcome::Refused);
    assert!(text.starts_with("the daemon is not running: nobody answers at "), "{text}");
    let lines = [Line::Message(message())];
    let (outcome, text) = answered("cut", &lines, (Request::List, Form::Text));
    assert_eq!((outcome, text.as_str()), (Outcome::Refused, "the daemon broke its answer off\n"));
}
