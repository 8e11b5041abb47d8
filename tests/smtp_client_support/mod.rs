//! Plays a transcript with a pure client session. Knows no socket.

use postfach::mail::address::Address;
use postfach::mail::id::Timestamp;
use postfach::mail::transport::{Body, Notify, Ret};
use postfach::smtp::client::{
    Credentials, Fate, Lost, Mail, MailRecipient, Pipelining, PlainLogin, Session, Settings, Step,
    Timeouts, Tls, Told, Verification,
};

/// The transcript with what the session really does; the server's bytes come `size` at a time.
pub(crate) fn play(text: &str, size: usize) -> String {
    let mut player = Player::new(text, size);
    let mut played = String::new();
    let mut begun = false;
    for line in text.lines() {
        let is_result = ["C: ", "D: ", "F: "].iter().any(|mark| line.starts_with(mark));
        if is_result {
            continue;
        }
        let driving = line.get(1..2).is_some_and(|mark| ":>+".contains(mark));
        if driving && !line.starts_with("T:") && !std::mem::replace(&mut begun, true) {
            played.push_str(&player.news());
        }
        played.push_str(&format!("{line}\n"));
        if driving {
            player.drive(&line[..2], line.get(3..).unwrap_or(""));
            played.push_str(&player.news());
        }
    }
    played
}

struct Player {
    session: Session,
    size: usize,
    now: Timestamp,
    recipients: Vec<Address>,
    news: String,
    told: Option<Step>,
}

impl Player {
    fn new(text: &str, size: usize) -> Player {
        let words = text.lines().find_map(|line| line.strip_prefix("T: ")).unwrap_or("");
        let value = |name: &str| words.split(' ').find_map(|word| word.strip_prefix(name));
        let settings = Settings {
            hostname: "mail.example.org".to_owned(),
            server: "mx.example".to_owned(),
            tls: match value("tls=") {
                Some("required") => Tls::Required,
                Some("offered") => Tls::IfOffered,
                Some("active") => Tls::Active,
                _ => Tls::Never,
            },
            credentials: value("login=").and_then(|login| login.split_once(':')).map(
                |(login, password)| Credentials { login: login.into(), password: password.into() },
            ),
            plain_login: match value("local") {
                Some(_) => PlainLogin::Allowed,
                None => PlainLogin::Refused,
            },
            pipelining: match value("pipelining=") {
                Some("never") => Pipelining::Never,
                _ => Pipelining::AsOffered,
            },
            timeouts: Timeouts::default(),
        };
        let now = Timestamp::from_seconds(1_000);
        let session = Session::new(settings, now);
        let (recipients, news, told) = (Vec::new(), String::new(), None);
        let mut player = Player { session, size, now, recipients, news, told };
        player.run(b"");
        player
    }

    fn news(&mut self) -> String {
        std::mem::take(&mut self.news)
    }

    fn drive(&mut self, kind: &str, text: &str) {
        match kind {
            "S:" => self.bring(format!("{text}\r\n").as_bytes()),
            "S>" => self.bring(&unescape(text)),
            "M:" => {
                let mail = mail(text);
                self.recipients = mail.recipients.iter().map(|r| r.address.clone()).collect();
                self.session.send(&mail, self.now);
            }
            "V:" => {
                let asked = mail(text);
                let to = &asked.recipients[0].address;
                self.session.verify(asked.reverse_path.as_ref(), to, self.now);
            }
            "B:" | "B+" => {
                let content = unescape(text);
                content.chunks(self.size).for_each(|piece| self.session.content(piece, self.now));
                if kind == "B:" {
                    self.session.content_end(self.now);
                }
            }
            "X:" => self.event(text),
            _ => return,
        }
        self.run(b"");
    }

    fn event(&mut self, text: &str) {
        match text {
            "tls" => self.session.tls_started(self.now),
            "lost" => self.session.lost(Lost::Closed),
            "abandon" => self.session.abandon("the stored message cannot be read"),
            "quit" => self.session.quit(self.now),
            "expire" => {
                let waited = (self.session.deadline().0 - self.now.0) / 1_000_000;
                self.news.push_str(&format!("D: after {waited} s\n"));
                self.session.expire();
            }
            other => panic!("no such event: {other}"),
        }
    }

    fn bring(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(self.size) {
            self.run(piece);
        }
    }

    fn run(&mut self, input: &[u8]) {
        let mut at = 0;
        loop {
            let (used, step) = self.session.step(&input[at..], self.now);
            at += used;
            let output = self.session.take_output();
            let output = String::from_utf8_lossy(&output).into_owned();
            for line in output.split_inclusive("\r\n") {
                let shown = line.strip_suffix("\r\n").map_or(format!("{line}…"), str::to_owned);
                self.news.push_str(&format!("C: {}\n", shown.replace(['\r', '\n'], "?")));
            }
            let is_level = self.level(&step);
            if is_level {
                self.told = Some(step);
                return;
            }
            self.told = None;
            self.tell(step);
        }
    }

    /// Whether nothing more happens until the driver acts; such a step is shown once.
    fn level(&mut self, step: &Step) -> bool {
        let shown = match step {
            Step::NeedInput => return true,
            Step::StartTls => "handshake",
            Step::Ready => "ready",
            Step::Content => "content",
            Step::Close => "close",
            _ => return false,
        };
        if self.told.as_ref() != Some(step) {
            self.news.push_str(&format!("D: {shown}\n"));
        }
        true
    }

    fn tell(&mut self, step: Step) {
        let line = match step {
            Step::Unavailable(told) => format!("D: unavailable {}\n", shown(&told)),
            Step::Stale => "D: stale\n".to_owned(),
            Step::Verified(Verification::Accepted(told)) => format!("D: yes {}\n", shown(&told)),
            Step::Verified(Verification::Refused(told)) => format!("D: no {}\n", shown(&told)),
            Step::Verified(Verification::Unknown(told)) => format!("D: unknown {}\n", shown(&told)),
            Step::Done(fates) => {
                assert_eq!(fates.len(), self.recipients.len());
                self.recipients.iter().zip(&fates).map(|(to, fate)| line(to, fate)).collect()
            }
            other => panic!("not to be told: {other:?}"),
        };
        self.news.push_str(&line);
    }
}

fn line(to: &Address, fate: &Fate) -> String {
    let (word, told) = match fate {
        Fate::Delivered(told) => ("delivered", told),
        Fate::Deferred(told) => ("deferred", told),
        Fate::Failed(told) => ("failed", told),
    };
    format!("F: <{to}> {word} {}\n", shown(told))
}

fn shown(told: &Told) -> String {
    assert_eq!(told.by, "mx.example");
    let marks = match (told.is_reply, told.dsn) {
        (true, true) => " (dsn)",
        (true, false) => "",
        (false, true) => " (ours, dsn)",
        (false, false) => " (ours)",
    };
    format!("{} {:?}{marks}", told.status, told.text)
}

fn mail(text: &str) -> Mail {
    let (from, rest) = text.split_once(" -> ").expect("M: <from> -> <to>");
    let words: Vec<&str> = rest.split(' ').collect();
    let value = |name: &str| words.iter().find_map(|word| word.strip_prefix(name));
    let address = |word: &str| {
        Address::parse(word.trim_start_matches('<').trim_end_matches('>').trim_matches('"'))
    };
    let notify = value("notify=").map(|conditions| Notify {
        success: conditions.contains("success"),
        failure: conditions.contains("failure"),
        delay: conditions.contains("delay"),
    });
    let recipient = |word: &&str| MailRecipient {
        address: address(word).expect("an address"),
        notify,
        orcpt: value("orcpt=").map(str::to_owned),
    };
    Mail {
        reverse_path: address(from),
        recipients: words.iter().filter(|word| word.starts_with('<')).map(recipient).collect(),
        envid: value("envid=").map(str::to_owned),
        ret: value("ret=").map(|ret| if ret == "hdrs" { Ret::Headers } else { Ret::Full }),
        body: if words.contains(&"8bit") { Body::EightBitMime } else { Body::SevenBit },
        smtputf8: words.contains(&"utf8"),
        size_bytes: value("size=").map_or(20, |size| size.parse().expect("a number")),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some('r')) => bytes.push(b'\r'),
            ('\\', Some('n')) => bytes.push(b'\n'),
            ('\\', Some('0')) => bytes.push(0),
            ('\\', Some(other)) => bytes.extend(other.to_string().bytes()),
            (c, _) => bytes.extend(c.to_string().bytes()),
        }
    }
    bytes
}
