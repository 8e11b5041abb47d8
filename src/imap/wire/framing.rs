//! Bytes to commands: lines that end in CRLF, and the literals announced at their ends, within
//! limits.
//!
//! The messages of an APPEND or REPLACE never enter a command: each is announced, and taken in
//! pieces by whoever stores it. What is refused is swallowed without being kept, its literals
//! included, so that a message can never be read as a command. Any split of the input gives the
//! same events. Knows no command but these two words, and no state but its limits.

/// Longest line before login, in bytes, without its CRLF: AUTHENTICATE with the longest response.
pub const LINE_BYTES_MAX_BEFORE_LOGIN: usize = crate::sasl::bearer::LINE_BYTES_MAX + 1024;
/// Longest line after login.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Longest literal before login.
pub const LITERAL_BYTES_MAX_BEFORE_LOGIN: u64 = 4 * 1024;
/// Longest literal after login; the message of an APPEND has its own limit.
pub const LITERAL_BYTES_MAX: u64 = 64 * 1024;
/// Longest command with all its lines and literals, before login.
pub const COMMAND_BYTES_MAX_BEFORE_LOGIN: usize = 16 * 1024;
/// Longest command after login.
pub const COMMAND_BYTES_MAX: usize = 192 * 1024;
/// What is swallowed of one refused command before the connection is closed.
pub const SKIPPED_BYTES_MAX: u64 = 128 * 1024 * 1024;
/// Longest literal that may come uninvited where LITERAL- holds. RFC 7888 §5
pub const NON_SYNCHRONIZING_BYTES_MAX: u64 = 4096;
/// Longest tag that is repeated in an answer.
pub const TAG_BYTES_MAX: usize = 64;
/// `~{`, 20 digits, `+}`: what must be kept of a swallowed line to see a literal at its end.
const LITERAL_MARK_BYTES_MAX: usize = 32;

/// What is taken, by state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Longest line.
    pub line_bytes_max: usize,
    /// Longest literal.
    pub literal_bytes_max: u64,
    /// Longest command.
    pub command_bytes_max: usize,
    /// Longest literal that may come uninvited.
    pub non_synchronizing_bytes_max: u64,
}

impl Limits {
    /// For a peer that nobody knows.
    pub const BEFORE_LOGIN: Limits = Limits {
        line_bytes_max: LINE_BYTES_MAX_BEFORE_LOGIN,
        literal_bytes_max: LITERAL_BYTES_MAX_BEFORE_LOGIN,
        command_bytes_max: COMMAND_BYTES_MAX_BEFORE_LOGIN,
        non_synchronizing_bytes_max: u64::MAX,
    };
    /// For a user.
    pub const AFTER_LOGIN: Limits = Limits {
        line_bytes_max: LINE_BYTES_MAX,
        literal_bytes_max: LITERAL_BYTES_MAX,
        command_bytes_max: COMMAND_BYTES_MAX,
        non_synchronizing_bytes_max: u64::MAX,
    };

    /// The same, where LITERAL- holds. RFC 7888 §5
    pub fn inviting_literals(self) -> Limits {
        Limits { non_synchronizing_bytes_max: NON_SYNCHRONIZING_BYTES_MAX, ..self }
    }
}

/// How a literal is sent. RFC 7888
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Literal {
    /// `{n}`: the client waits for `+`.
    Synchronizing,
    /// `{n+}`: its bytes follow at once.
    NonSynchronizing,
}

/// What a literal may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Octets {
    /// Anything but NUL. RFC 3501 §4.3
    Text,
    /// `~{n}`: NUL as well. RFC 3516 §4.4
    Any,
}

/// A literal that follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Announced {
    /// Its length.
    pub bytes: u64,
    /// How it is sent.
    pub literal: Literal,
    /// What it may hold.
    pub octets: Octets,
}

/// What the input amounts to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A whole command, without its last CRLF; literals stand in it as they came.
    Command(Vec<u8>),
    /// A literal was announced and is welcome: send `+`.
    Invite,
    /// A message was announced. Call `accept` or `refuse`.
    Message {
        /// The command up to the literal; from the end of the message before, if there was one.
        head: Vec<u8>,
        /// The message.
        announced: Announced,
    },
    /// The command breaks a limit and is dropped: answer BAD.
    Refused {
        /// Its tag, or `*`.
        tag: String,
        /// Which limit.
        why: &'static str,
    },
    /// Too much would have to be swallowed: say BYE and close.
    Overrun,
}

/// Where in a command the input stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In a line.
    Line,
    /// In a literal that is kept; so many bytes are missing.
    Literal(usize),
    /// A message was announced and neither accepted nor refused.
    Announced(u64, Literal),
    /// In a message.
    Message(u64),
    /// In a line of a refused command; so much of it was swallowed.
    SkipLine(u64),
    /// In a literal of a refused command; so many bytes are missing, so many were swallowed.
    SkipLiteral(u64, u64),
    /// Nothing more is read.
    Closed,
}

/// Splits the input of one connection.
#[derive(Debug)]
pub struct Framer {
    /// Received and not used.
    input: Vec<u8>,
    /// Up to where `input` holds no CRLF.
    searched: usize,
    /// The command so far, or the end of a line that is swallowed.
    command: Vec<u8>,
    /// The tag of the command of which `command` is what follows a message.
    appending: Option<String>,
    state: State,
}

impl Default for Framer {
    fn default() -> Framer {
        let (input, command) = (Vec::new(), Vec::new());
        Framer { input, searched: 0, command, appending: None, state: State::Line }
    }
}

impl Framer {
    /// Takes what was read. Ask for all events before reading more: that bounds the memory.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// Whether nothing is waiting here, so that the peer's next move is awaited.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty() && self.command.is_empty()
    }

    /// Throws away what came before TLS. RFC 3501 §6.2.1
    pub fn clear(&mut self) {
        *self = Framer::default();
    }

    /// Gives up what was received and not used: it is to be read otherwise.
    pub fn take_received(&mut self) -> Vec<u8> {
        self.searched = 0;
        std::mem::take(&mut self.input)
    }

    /// Gives memory back that an idle connection does not need.
    pub fn shrink(&mut self) {
        self.input.shrink_to_fit();
        self.command.shrink_to_fit();
    }

    /// The next event; `None`: more input is needed.
    pub fn next(&mut self, limits: &Limits) -> Option<Event> {
        loop {
            let event = match self.state {
                State::Line => self.in_line(limits),
                State::Literal(missing) => self.in_literal(missing),
                State::Announced(..) | State::Message(_) | State::Closed => return None,
                State::SkipLine(skipped) => self.skip_line(skipped),
                State::SkipLiteral(missing, skipped) => self.skip_literal(missing, skipped),
            };
            match event {
                Progress::Stuck => return None,
                Progress::On => {}
                Progress::Event(event) => return Some(event),
            }
        }
    }

    /// The next line, when the client answers a `+`: no literals. `Some(None)`: it is too long.
    pub fn next_line(&mut self, limits: &Limits) -> Option<Option<Vec<u8>>> {
        if self.state != State::Line {
            let event = self.next(limits)?;
            return matches!(event, Event::Overrun).then_some(None);
        }
        match self.find_line(limits.line_bytes_max)? {
            Line::Found(length) => {
                let line = self.input[..length].to_vec();
                self.consume(length + 2);
                Some(Some(line))
            }
            Line::TooLong => {
                self.start_skipping();
                Some(None)
            }
        }
    }

    /// The announced message is welcome; `+` has been sent where the client waits for it.
    pub fn accept(&mut self) {
        if let State::Announced(bytes, _) = self.state {
            self.state = State::Message(bytes);
        }
    }

    /// The announced message is not welcome, and an answer has been sent. The client sends it all
    /// the same if it did not wait.
    pub fn refuse(&mut self) {
        match self.state {
            State::Announced(bytes, Literal::NonSynchronizing) => {
                self.state = State::SkipLiteral(bytes, 0);
            }
            // what came of the message is swallowed too
            State::Message(bytes) => self.state = State::SkipLiteral(bytes, 0),
            _ => self.state = State::Line,
        }
        self.command.clear();
        self.appending = None;
    }

    /// The next piece of an accepted message; empty: more input is needed. `None`: it is complete.
    pub fn message_piece(&mut self) -> Option<Vec<u8>> {
        let State::Message(missing) = self.state else { return None };
        if missing == 0 {
            self.state = State::Line;
            return None;
        }
        let take = usize::try_from(missing).unwrap_or(usize::MAX).min(self.input.len());
        self.state = State::Message(missing - take as u64);
        self.searched = 0;
        if take == self.input.len() {
            return Some(std::mem::take(&mut self.input));
        }
        Some(self.input.drain(..take).collect())
    }

    fn in_line(&mut self, limits: &Limits) -> Progress {
        let length = match self.find_line(limits.line_bytes_max) {
            None => return Progress::Stuck,
            Some(Line::Found(length)) => length,
            Some(Line::TooLong) => {
                return Progress::Event(self.drop_command(limits.line_bytes_max));
            }
        };
        self.command.extend_from_slice(&self.input[..length]);
        self.consume(length + 2);
        if self.command.len() > limits.command_bytes_max {
            return Progress::Event(self.refuse_command("The command is too long"));
        }
        match announced(&self.command) {
            None => {
                self.appending = None;
                Progress::Event(Event::Command(std::mem::take(&mut self.command)))
            }
            Some(announced) => self.on_literal(announced, limits),
        }
    }

    fn on_literal(&mut self, announced: Announced, limits: &Limits) -> Progress {
        let Announced { bytes, literal, .. } = announced;
        let head = without_mark(&self.command);
        let is_message = self.appending.is_some() || is_before_message(head);
        let is_invited = literal == Literal::Synchronizing;
        if !is_invited && bytes > limits.non_synchronizing_bytes_max {
            // RFC 7888 §5
            let why = match is_message {
                true => "[TOOBIG] A literal of more than 4096 bytes must wait for its invitation",
                false => "A literal of more than 4096 bytes must wait for its invitation",
            };
            return Progress::Event(self.refuse_command(why));
        }
        if is_message {
            let head = head.to_vec();
            self.appending.get_or_insert_with(|| tag_of(&head));
            self.command.clear();
            self.state = State::Announced(bytes, literal);
            return Progress::Event(Event::Message { head, announced });
        }
        if bytes > limits.literal_bytes_max {
            return Progress::Event(self.refuse_command("The literal is too long"));
        }
        self.command.extend_from_slice(b"\r\n");
        self.state = State::Literal(bytes as usize);
        match literal {
            Literal::Synchronizing => Progress::Event(Event::Invite),
            Literal::NonSynchronizing => Progress::On,
        }
    }

    fn in_literal(&mut self, missing: usize) -> Progress {
        let take = missing.min(self.input.len());
        self.command.extend_from_slice(&self.input[..take]);
        self.consume(take);
        if take < missing {
            self.state = State::Literal(missing - take);
            return Progress::Stuck;
        }
        self.state = State::Line;
        Progress::On
    }

    /// Refuses a command whose present line is complete and stands in `command`.
    fn refuse_command(&mut self, why: &'static str) -> Event {
        let tag = self.appending.take().unwrap_or_else(|| tag_of(&self.command));
        self.state = match uninvited(&self.command) {
            Some(bytes) => State::SkipLiteral(bytes, 0),
            None => State::Line,
        };
        self.command.clear();
        match self.state {
            State::SkipLiteral(bytes, _) if bytes > SKIPPED_BYTES_MAX => self.overrun(),
            _ => Event::Refused { tag, why },
        }
    }

    /// Refuses a command in whose present line the end has not been found within the limit.
    fn drop_command(&mut self, line_bytes_max: usize) -> Event {
        let start = if self.command.is_empty() { &self.input } else { &self.command };
        // no further than the limit, so that it does not matter how much has arrived
        let start = &start[..start.len().min(line_bytes_max)];
        let tag = self.appending.take().unwrap_or_else(|| tag_of(start));
        self.start_skipping();
        Event::Refused { tag, why: "The line is too long" }
    }

    fn start_skipping(&mut self) {
        self.command.clear();
        self.state = State::SkipLine(0);
    }

    fn overrun(&mut self) -> Event {
        self.clear();
        self.state = State::Closed;
        Event::Overrun
    }

    /// Swallows up to the end of the line, keeping what could be a literal's mark.
    fn skip_line(&mut self, skipped: u64) -> Progress {
        let found = memchr::memmem::find(&self.input, b"\r\n");
        let ends_in_cr = self.input.last() == Some(&b'\r');
        let take = found.unwrap_or(self.input.len() - usize::from(ends_in_cr));
        let kept = take.min(LITERAL_MARK_BYTES_MAX);
        self.command.extend_from_slice(&self.input[take - kept..take]);
        let surplus = self.command.len().saturating_sub(LITERAL_MARK_BYTES_MAX);
        self.command.drain(..surplus);
        self.consume(take);
        let skipped = skipped + take as u64;
        if skipped > SKIPPED_BYTES_MAX {
            return Progress::Event(self.overrun());
        }
        if found.is_none() {
            self.state = State::SkipLine(skipped);
            return Progress::Stuck;
        }
        self.consume(2);
        self.state = match uninvited(&self.command) {
            Some(bytes) => State::SkipLiteral(bytes, skipped),
            None => State::Line,
        };
        self.command.clear();
        Progress::On
    }

    fn skip_literal(&mut self, missing: u64, skipped: u64) -> Progress {
        if skipped.saturating_add(missing) > SKIPPED_BYTES_MAX {
            return Progress::Event(self.overrun());
        }
        let take = usize::try_from(missing).unwrap_or(usize::MAX).min(self.input.len());
        self.consume(take);
        let (missing, skipped) = (missing - take as u64, skipped + take as u64);
        if missing > 0 {
            self.state = State::SkipLiteral(missing, skipped);
            return Progress::Stuck;
        }
        self.state = State::SkipLine(skipped);
        Progress::On
    }

    fn find_line(&mut self, bytes_max: usize) -> Option<Line> {
        // a CR at the end of what was searched may be half of the CRLF
        let from = self.searched.saturating_sub(1);
        if let Some(at) = memchr::memmem::find(&self.input[from..], b"\r\n") {
            let length = from + at;
            return Some(if length > bytes_max { Line::TooLong } else { Line::Found(length) });
        }
        self.searched = self.input.len();
        let ends_in_cr = self.input.last() == Some(&b'\r');
        let length = self.input.len() - usize::from(ends_in_cr);
        (length > bytes_max).then_some(Line::TooLong)
    }

    fn consume(&mut self, count: usize) {
        self.searched = 0;
        if count == self.input.len() {
            self.input.clear();
        } else {
            self.input.drain(..count);
        }
    }
}

/// How far a step came.
enum Progress {
    Stuck,
    On,
    Event(Event),
}

/// What a search for the end of a line found.
enum Line {
    Found(usize),
    TooLong,
}

/// The literal announced at the end of a line. A length beyond 64 bits is as good as the largest.
fn announced(line: &[u8]) -> Option<Announced> {
    let inner = line.strip_suffix(b"}")?;
    let (inner, literal) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, Literal::NonSynchronizing),
        None => (inner, Literal::Synchronizing),
    };
    let open = inner.iter().rposition(|b| *b == b'{')?;
    let digits = std::str::from_utf8(&inner[open + 1..]).ok()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let octets = if inner[..open].ends_with(b"~") { Octets::Any } else { Octets::Text };
    let bytes = digits.parse().unwrap_or(u64::MAX);
    is_number.then_some(Announced { bytes, literal, octets })
}

/// The length of a literal that follows without an invitation.
fn uninvited(line: &[u8]) -> Option<u64> {
    announced(line).filter(|a| a.literal == Literal::NonSynchronizing).map(|a| a.bytes)
}

/// The line without the literal's mark at its end.
fn without_mark(line: &[u8]) -> &[u8] {
    let open = line.iter().rposition(|b| *b == b'{').unwrap_or(line.len());
    line[..open].strip_suffix(b"~").unwrap_or(&line[..open])
}

/// Whether the literal behind `head` is the message of an APPEND or REPLACE, not its mailbox name.
fn is_before_message(head: &[u8]) -> bool {
    let mut words = head.split(|b| *b == b' ').skip(1);
    let mut verb = words.next().unwrap_or_default();
    if verb.eq_ignore_ascii_case(b"UID") {
        verb = words.next().unwrap_or_default();
    } else if verb.eq_ignore_ascii_case(b"APPEND") {
        return words.next().is_some_and(|mailbox| !mailbox.is_empty());
    }
    let mailbox = words.nth(1);
    verb.eq_ignore_ascii_case(b"REPLACE") && mailbox.is_some_and(|mailbox| !mailbox.is_empty())
}

/// The tag at the start of a command, or `*` where there is none that could be repeated.
pub fn tag_of(command: &[u8]) -> String {
    let end = command.iter().position(|b| *b == b' ').unwrap_or(0);
    let tag = &command[..end];
    let is_tag = !tag.is_empty()
        && tag.len() <= TAG_BYTES_MAX
        && tag.iter().all(|b| super::lex::is_astring_char(*b) && *b != b'+');
    if is_tag { String::from_utf8_lossy(tag).into_owned() } else { "*".to_owned() }
}

#[cfg(test)]
#[path = "framing_tests.rs"]
mod tests;
