//! Runs `tests/transcripts/smtp/**.txt` against the pure session. `UPDATE=1` rewrites the answers.
//!
//! `C: text` is a line from the client, CRLF added; `C> text` is bytes with `\r \n \0 \\` escapes
//! and nothing added. `S: text` is a line of ours, in order. `D: …` is a message that is
//! delivered. `T:` at the top sets TLS: `active`, `available` or `unavailable` (default: active).
//! `R: submission` makes it a session of a user's program; `R: submission in clear` one that takes
//! passwords without TLS, `R: submission with tokens` one that takes tokens, too. `#` is a comment.

mod smtp_support;

use std::fs;
use std::path::{Path, PathBuf};

use postfach::smtp::{InClear, Tls};
use smtp_support::{Message, Peer};

#[test]
fn transcripts_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/smtp");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() >= 20, "transcripts are missing: {files:?}");
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a transcript is UTF-8");
        let played = play(&text);
        if played == text {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, played).expect("writable");
        } else {
            wrong.push(format!("{}:\n{played}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "these went otherwise:\n{}", wrong.join("\n"));
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the transcripts' folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
    files.sort();
}

/// The transcript with the answers that really came.
fn play(text: &str) -> String {
    let tls = match text.lines().find_map(|line| line.strip_prefix("T: ")) {
        Some("available") => Tls::Available,
        Some("unavailable") => Tls::Unavailable,
        _ => Tls::Active,
    };
    let mut peer = match text.lines().find_map(|line| line.strip_prefix("R: ")) {
        Some("submission") => Peer::submitting(tls, InClear::Refused),
        Some("submission with binding") => Peer::submitting_bound(),
        Some("submission with tokens") => Peer::submitting_with_tokens(tls),
        Some("submission in clear") => Peer::submitting(tls, InClear::Taken),
        _ => Peer::new(tls),
    };
    let mut told = Told::default();
    let mut played = String::new();
    let mut greeted = false;
    for line in text.lines() {
        let bytes = match line.get(..3) {
            Some("C: ") => [&line.as_bytes()[3..], b"\r\n"].concat(),
            Some("C> ") => unescape(&line[3..]),
            Some("S: " | "D: ") => continue,
            _ if line == "C:" => b"\r\n".to_vec(),
            _ => {
                played.push_str(&format!("{line}\n"));
                continue;
            }
        };
        if !std::mem::replace(&mut greeted, true) {
            played.push_str(&told.news(&peer));
        }
        peer.send(&bytes);
        played.push_str(&format!("{line}\n{}", told.news(&peer)));
    }
    played
}

/// How much was told already.
#[derive(Default)]
struct Told {
    wire: usize,
    messages: usize,
    closed: bool,
}

impl Told {
    fn news(&mut self, peer: &Peer) -> String {
        let mut news = String::new();
        for message in &peer.messages[self.messages..] {
            news.push_str(&format!("D: {}\n", describe(message)));
        }
        let wire = String::from_utf8_lossy(&peer.wire[self.wire..]).into_owned();
        wire.split_terminator("\r\n").for_each(|line| news.push_str(&format!("S: {line}\n")));
        if peer.closed && !std::mem::replace(&mut self.closed, true) {
            news.push_str("S: (closed)\n");
        }
        (self.wire, self.messages) = (peer.wire.len(), peer.messages.len());
        news
    }
}

fn describe(message: &Message) -> String {
    use postfach::smtp::path::Path;
    let from = message.transaction.reverse_path.as_ref().map_or(String::new(), |a| a.to_string());
    let to = message.transaction.recipients.iter().map(|r| match &r.path {
        Path::Address(address) => format!("<{address}>"),
        Path::Postmaster => "<postmaster>".to_owned(),
        Path::Null => "<>".to_owned(),
    });
    let to: Vec<String> = to.collect();
    format!("<{from}> to {}: {:?}", to.join(" "), String::from_utf8_lossy(&message.content))
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('r')) => bytes.push(b'\r'),
            ('\\', Some('n')) => bytes.push(b'\n'),
            ('\\', Some('0')) => bytes.push(0),
            ('\\', Some('f')) => bytes.push(0xff),
            ('\\', Some(other)) => bytes.extend(other.to_string().bytes()),
            (c, _) => bytes.extend(c.to_string().bytes()),
        }
    }
    bytes
}
