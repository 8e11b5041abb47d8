//! Runs `tests/transcripts/imap/**.txt` against the pure session, with the sample organisation of
//! `imap_support`. `UPDATE=1` rewrites the answers for review.
//!
//! - `1C: text` is a line from the client of connection 1 (CRLF added), `1C> text` are bytes with
//!   `\r \n \0 \\` escapes and nothing added.
//! - `@1 login anna`, `@1 plain` (no TLS, passwords refused), `@1 loopback` (no TLS, passwords
//!   taken) open a connection; one that is not opened so is under TLS and greeted.
//! - `@deliver inbox Support: text` lets mail come in; `@fire anna support` takes her from a team,
//!   `@remove anna` from the directory; `@quota user anna: bytes=9 messages=2` limits an account;
//!   `@disable NAME` at the top switches a capability off, `@scram` and `@tokens` some on,
//!   `@virtual` gives everybody `Mine` and `All open`.
//! - `1S: text` is a line from us, in order; `1S~ text` comes in any order among its neighbours;
//!   `1!: text` begins no line of this answer. In all of them, `$name` stands for one word: it is
//!   bound where it is first met, and the same from then on, also in `C:`.
//! - `$*` stands for all that follows up to the next `]` or the end of the line: for the list of
//!   capabilities, which one transcript shows.
//! - NUL in an answer stands there as `\0`.
//! - `#` is a comment.

mod imap_support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imap_codec::decode::Decoder;
use imap_codec::{GreetingCodec, ResponseCodec};
use imap_support::{Client, World, account, plain};
use postfach::directory::quota::Quota;
use postfach::imap::capability::Passwords;
use postfach::imap::session::Transport;
use postfach::mail::account::FolderNames;
use postfach::mail::id::Login;

#[tokio::test]
async fn transcripts_hold() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/imap");
    let mut files = Vec::new();
    collect(&root, &mut files);
    assert!(files.len() >= 20, "transcripts are missing: {files:?}");
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a transcript is UTF-8");
        let (played, faults) = play(&text).await;
        if faults.is_empty() {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, played).expect("writable");
        } else {
            wrong.push(format!("{}:\n{}", file.display(), faults.join("\n")));
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

/// Plays a transcript: as it went, and what went otherwise than it says.
async fn play(text: &str) -> (String, Vec<String>) {
    let mut player = Player::new(text).await;
    let mut lines = text.lines().enumerate().peekable();
    while let Some((number, line)) = lines.next() {
        player.played.push_str(line);
        player.played.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut expected = Vec::new();
        while let Some((_, answer)) = lines.next_if(|(_, line)| Expected::parse(line).is_some()) {
            expected.extend(Expected::parse(answer));
        }
        let answers = player.act(line).await;
        player.compare(number + 1, &answers, &expected);
    }
    (player.played, player.faults)
}

/// A line that says what is answered.
#[derive(Clone, PartialEq, Debug)]
struct Expected {
    connection: char,
    kind: char,
    text: String,
}

impl Expected {
    fn parse(line: &str) -> Option<Expected> {
        let mut chars = line.chars();
        let connection = chars.next().filter(char::is_ascii_digit)?;
        let kind = match line.get(1..3)? {
            "S:" => ':',
            "S~" => '~',
            "!:" => '!',
            _ => return None,
        };
        let text = line[3..].strip_prefix(' ').unwrap_or(&line[3..]).to_owned();
        Some(Expected { connection, kind, text })
    }
}

struct Player {
    world: World,
    clients: BTreeMap<char, Client>,
    bound: BTreeMap<String, String>,
    played: String,
    faults: Vec<String>,
}

/// What each connection was sent in one step, by lines.
type Answers = BTreeMap<char, Vec<String>>;

impl Player {
    async fn new(text: &str) -> Player {
        let disabled: Vec<String> =
            text.lines().filter_map(|l| l.strip_prefix("@disable ")).map(str::to_owned).collect();
        let names = match text.lines().any(|line| line == "@german") {
            true => german(),
            false => FolderNames::default(),
        };
        let directory = match text.lines().any(|line| line == "@virtual") {
            true => format!("virtual = [\"mine\", \"all-open\"]\n{}", imap_support::DIRECTORY),
            false => imap_support::DIRECTORY.to_owned(),
        };
        let mut world = World::of(&directory, names, &disabled).await;
        if text.lines().any(|line| line == "@scram") {
            world.offer_scram();
        }
        if text.lines().any(|line| line == "@tokens") {
            world.offer_bearer();
        }
        Player {
            world,
            clients: BTreeMap::new(),
            bound: BTreeMap::new(),
            played: String::new(),
            faults: Vec::new(),
        }
    }

    async fn act(&mut self, line: &str) -> Answers {
        match line.strip_prefix('@') {
            Some(event) => self.event(event).await,
            None => self.speak(line).await,
        }
        self.world.refresh();
        let mut answers = Answers::new();
        for (connection, client) in &mut self.clients {
            let mut text = client.take();
            client.wake(&self.world).await;
            text.push_str(&client.take());
            self.faults.extend(judge(&text));
            let text = text.replace('\0', "\\0");
            let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
            lines.pop_if(|line| line.is_empty());
            if client.closed {
                lines.push("(closed)".to_owned());
            }
            if !lines.is_empty() {
                answers.insert(*connection, lines);
            }
        }
        self.clients.retain(|_, client| !client.closed);
        answers
    }

    async fn event(&mut self, event: &str) {
        let words: Vec<&str> = event.split(' ').collect();
        match words.as_slice() {
            [number, "login", login] => {
                let client = self.world.client(login).await;
                self.clients.insert(first(number), client);
            }
            [number, "plain"] => self.open(first(number), plain(Passwords::Refused)).await,
            [number, "loopback"] => self.open(first(number), plain(Passwords::Taken)).await,
            [number, "tls"] => self.open(first(number), Transport::TLS).await,
            [number, "tls", "bound"] => {
                self.open(first(number), Transport::TLS).await;
                let client = self.clients.get_mut(&first(number)).expect("just opened");
                client.dialogue.bind(Some(imap_support::binding()));
            }
            ["deliver", ..] => {
                let (to, text) = event["deliver ".len()..].split_once(": ").expect("a colon");
                self.world.deliver(&account(to), &text.replace("\\r\\n", "\r\n")).await;
            }
            ["fire", login, team] => self.world.declare(|directory| {
                let team = directory.teams.get_mut(*team).expect("a team");
                team.retain(|member| member.as_str() != *login);
            }),
            ["quota", ..] => {
                let (of, limits) = event["quota ".len()..].split_once(": ").expect("a colon");
                let number = |key: &str| {
                    let found = limits.split(' ').find_map(|word| word.strip_prefix(key));
                    found.map(|number| number.parse().expect("a number"))
                };
                let quota = Quota { bytes: number("bytes="), messages: number("messages=") };
                self.world.declare(|directory| directory.quotas.extend([(account(of), quota)]));
            }
            ["remove", login] => self.world.declare(|directory| {
                directory.users.remove(&Login::new(login));
            }),
            ["disable", _] | ["german"] | ["virtual"] | ["scram"] | ["tokens"] => {}
            _ => panic!("no such event: {event}"),
        }
    }

    async fn open(&mut self, connection: char, transport: Transport) {
        let mut client = Client::new(&self.world, transport);
        client.send(&self.world, b"").await;
        self.clients.insert(connection, client);
    }

    async fn speak(&mut self, line: &str) {
        let connection = first(line);
        let bytes = match line.get(1..3) {
            Some("C:") => {
                let text = line[3..].strip_prefix(' ').unwrap_or(&line[3..]);
                format!("{}\r\n", self.filled(text)).into_bytes()
            }
            Some("C>") => unescape(&self.filled(&line[4..])),
            _ => panic!("not a line of a transcript: {line}"),
        };
        let client = self.clients.get_mut(&connection).expect("an open connection");
        client.send(&self.world, &bytes).await;
    }

    fn filled(&self, text: &str) -> String {
        let longest_first = self.bound.iter().rev();
        longest_first.fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn compare(&mut self, number: usize, answers: &Answers, expected: &[Expected]) {
        let mut holds = true;
        let connections = answers.keys().copied().chain(expected.iter().map(|e| e.connection));
        for connection in connections.collect::<std::collections::BTreeSet<char>>() {
            let none = Vec::new();
            let lines = answers.get(&connection).unwrap_or(&none);
            let wanted: Vec<&Expected> =
                expected.iter().filter(|e| e.connection == connection).collect();
            holds &= self.matches_all(lines, &wanted);
        }
        let told = told(answers, expected, holds);
        if !holds {
            self.faults.push(format!("line {number}, but:\n{told}"));
        }
        self.played.push_str(&told);
    }

    fn matches_all(&mut self, lines: &[String], wanted: &[&Expected]) -> bool {
        let (forbidden, wanted): (Vec<&Expected>, Vec<&Expected>) =
            wanted.iter().partition(|e| e.kind == '!');
        let mut left: Vec<&Expected> = wanted;
        for line in lines {
            if forbidden.iter().any(|f| line.starts_with(&self.filled(&f.text))) {
                return false;
            }
            // any of the leading run of unordered lines, or the one that is next in order
            let run = left.iter().take_while(|e| e.kind == '~').count().max(1);
            let candidates = left.iter().take(run).map(|e| e.text.clone()).collect::<Vec<_>>();
            match candidates.iter().position(|text| self.matches(text, line)) {
                Some(at) => drop(left.remove(at)),
                None => return false,
            }
        }
        left.is_empty()
    }

    /// Whether a line is as expected; binds names that are not bound.
    fn matches(&mut self, expected: &str, line: &str) -> bool {
        let mut bound = self.bound.clone();
        let (mut pattern, mut rest) = (expected, line);
        while let Some((before, after)) = pattern.split_once('$') {
            let length = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
            let (name, behind) = (format!("${}", &after[..length]), &after[length..]);
            let Some(value) = rest.strip_prefix(before) else { return false };
            if let Some(behind) = after.strip_prefix('*') {
                let end = value.find(']').unwrap_or(value.len());
                (pattern, rest) = (behind, &value[end..]);
                continue;
            }
            let end = value.find([' ', ']', ')']).unwrap_or(value.len());
            let known = bound.entry(name).or_insert_with(|| value[..end].to_owned()).clone();
            let Some(after_value) = value.strip_prefix(&known) else { return false };
            (pattern, rest) = (behind, after_value);
        }
        let same = pattern == rest;
        if same {
            self.bound = bound;
        }
        same
    }
}

/// imap-codec must be able to decode what we write, but for what it does not know at all.
fn judge(text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let greeting = GreetingCodec::default().decode(rest).map(|(rest, _)| rest);
        let response = ResponseCodec::default().decode(rest).map(|(rest, _)| rest);
        if let Some(behind) = greeting.ok().or(response.ok()) {
            rest = behind;
            continue;
        }
        let end = end_of_response(rest);
        let line = String::from_utf8_lossy(&rest[..end]).trim_end().to_owned();
        if !is_unknown_to_the_judge(&line) {
            faults.push(format!("imap-codec cannot decode: {line}"));
        }
        rest = &rest[end..];
    }
    faults
}

/// The end of a response, literals included.
fn end_of_response(text: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let line = text[at..].windows(2).position(|w| w == b"\r\n");
        let Some(length) = line else { return text.len() };
        let literal = String::from_utf8_lossy(&text[at..at + length]).into_owned();
        let literal = literal.strip_suffix('}').and_then(|line| line.rsplit_once('{'));
        at += length + 2;
        match literal.and_then(|(_, number)| number.parse::<usize>().ok()) {
            Some(bytes) => at = (at + bytes).min(text.len()),
            None => return at,
        }
    }
}

/// Extensions that imap-codec has no words for, with their own grammar checked here as far as a
/// line shows it.
fn is_unknown_to_the_judge(line: &str) -> bool {
    let starts = |start: &str| line.starts_with(start);
    let items = ["(\"CHILDINFO\" (\"SUBSCRIBED\"))", "(\"OLDNAME\" ("];
    let is_extended_list = starts("* LIST (") && items.iter().any(|item| line.contains(item));
    // RFC 8474, RFC 8514, RFC 8970, RFC 3516, and the envelope of one in IMAP4rev2: RFC 9051 §9
    let items = [
        "EMAILID (",
        "THREADID (",
        "SAVEDATE \"",
        "PREVIEW ",
        "BINARY[",
        "BINARY.SIZE[",
        "(\"MESSAGE\" \"GLOBAL\" (\"NAME\" \"note.u8msg\") NIL NIL \"8BIT\" 166 (NIL ",
    ];
    let is_extended_fetch =
        line.contains(" FETCH (") && items.iter().any(|item| line.contains(item));
    let counts = ["MAILBOXID (", "APPENDLIMIT ", "DELETED-STORAGE "];
    let is_extended_status = starts("* STATUS ") && counts.iter().any(|count| line.contains(count));
    is_extended_list
        || is_extended_fetch
        || is_extended_status
        || starts("* QUOTA ")
        || starts("* QUOTAROOT ")
        || starts("* ESEARCH ")
        || starts("* ACL ")
        || starts("* MYRIGHTS ")
        || starts("* LISTRIGHTS ")
}

/// The answers as they stand in a transcript: as they were written, if they hold.
fn told(answers: &Answers, expected: &[Expected], holds: bool) -> String {
    if holds {
        let line = |e: &Expected| match e.kind {
            '!' => format!("{}!: {}\n", e.connection, e.text),
            kind => format!("{}S{kind} {}\n", e.connection, e.text),
        };
        return expected.iter().map(line).collect();
    }
    let mut told = String::new();
    for (connection, lines) in answers {
        lines.iter().for_each(|line| told.push_str(&format!("{connection}S: {line}\n")));
    }
    for never in expected.iter().filter(|e| e.kind == '!') {
        told.push_str(&format!("{}!: {}\n", never.connection, never.text));
    }
    told
}

fn first(text: &str) -> char {
    text.chars().next().expect("a connection's number")
}

fn german() -> FolderNames {
    FolderNames {
        drafts: "Entwürfe".into(),
        sent: "Gesendet".into(),
        junk: "Spam".into(),
        trash: "Papierkorb".into(),
        archive: "Archiv".into(),
        done: "Erledigt".into(),
        assigned: "Zugewiesen".into(),
        mine: "Meine".into(),
        all_open: "Alle offenen".into(),
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, c == '\\') {
            (_, true) => match chars.next() {
                Some('r') => bytes.push(b'\r'),
                Some('n') => bytes.push(b'\n'),
                Some('0') => bytes.push(0),
                Some('\\') => bytes.push(b'\\'),
                other => panic!("no such escape: {other:?}"),
            },
            (c, false) => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}
