//! The messages of an APPEND or REPLACE on their way in, as steps for who moves the bytes: literals
//! that are invited, parts that are copied, messages that are complete. Knows no spool.
//! RFC 3501 §6.3.11, RFC 3502, RFC 4469, RFC 8508

use std::collections::VecDeque;

use crate::imap::Refusal;
use crate::imap::command::append::{Arrived, Pending};
use crate::imap::command::append_data::{Role, Settings, Slot, State};
use crate::imap::command::catenate::{Part, Places};
use crate::imap::command::table::Row;
use crate::imap::fetch::body::Copying;
use crate::imap::output::Output;
use crate::imap::wire::framing::{Announced, Literal, Octets};
use crate::store::change::NewMessage;
use crate::store::{Store, Usage};

/// Most messages in one APPEND.
const MESSAGES_MAX: usize = 1000;
/// Most bytes in one APPEND of several messages: what was computed of them is in memory until the
/// last one is here.
const SEVERAL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The messages of one command.
pub struct Incoming {
    pub(super) tag: String,
    pub(super) row: &'static Row,
    pub(super) pending: Pending,
    /// How far the command has been read.
    pub(super) state: State,
    /// What is to be done with what has been read.
    pub(super) works: VecDeque<Work>,
    /// The part that is being copied.
    copying: Option<(Box<Part>, Copying)>,
    /// The literal that is being taken.
    taking: Option<(Slot, Announced)>,
    /// A URL that comes as a literal.
    url: Vec<u8>,
    /// What is taken of other messages.
    pub(super) places: Places,
    announced: Sizes,
    settings: Settings,
    pub(super) arrived: Vec<Arrived>,
    /// Bytes of the messages that have arrived.
    bytes_before: u64,
    /// Bytes of the present message.
    bytes: u64,
    found: Found,
    /// What headers the client may send.
    headers: Headers,
    pub(super) refusal: Option<Refusal>,
}

/// What follows from a word of the command.
pub(super) enum Work {
    Begin(Settings),
    Copy(Box<Part>),
    Take(Slot, Announced),
    End,
    /// The command ends.
    Complete,
}

/// What is done next.
pub enum Step {
    /// The announced literal is accepted; after `Incoming::invite` it comes in pieces. Each is for
    /// `Incoming::received`, and belongs to the message if that says so.
    Literal,
    /// These bytes belong to the message.
    Bytes(Vec<u8>),
    /// The message is complete: `Incoming::has_arrived`.
    Whole,
    /// What follows in the command is for `Dialogue::message_follows`.
    Follows,
    /// `Dialogue::messages_complete`. What is announced and not accepted is refused.
    Complete,
}

/// Where a piece of a literal belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Belongs {
    /// To the message.
    ToMessage,
    /// To the command.
    ToCommand,
}

/// What has been announced so far, before it is here.
struct Sizes {
    messages: usize,
    /// Of the messages before.
    bytes_before: u64,
    /// Of the present one.
    bytes: u64,
    /// Longest message.
    bytes_max: u64,
}

/// What the header of a new message may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Headers {
    Any,
    Ascii,
}

/// What the literals of a message hold that not every one may. NUL: in a literal without `~` it
/// could never be sent back, and in a header there is no encoding for it. RFC 3501 §4.3.1
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Found {
    nul_in_text: bool,
    nul: bool,
    nul_in_header: bool,
    /// RFC 6855 §4
    eight_bit_in_header: bool,
    /// Line ends in a row at the end of what has been read of the header; the start counts as one.
    line_ends: u8,
}

impl Found {
    const NOTHING: Found = Found {
        nul_in_text: false,
        nul: false,
        nul_in_header: false,
        eight_bit_in_header: false,
        line_ends: 1,
    };

    fn look(&mut self, piece: &[u8], octets: Octets) {
        let has_nul = memchr::memchr(0, piece).is_some();
        match octets {
            Octets::Text => self.nul_in_text |= has_nul,
            Octets::Any => self.nul |= has_nul,
        }
        for byte in piece {
            match byte {
                _ if self.line_ends == 2 => return,
                b'\n' => self.line_ends += 1,
                b'\r' => {}
                byte => {
                    self.nul_in_header |= *byte == 0;
                    self.eight_bit_in_header |= *byte >= 0x80;
                    self.line_ends = 0;
                }
            }
        }
    }

    /// What is stored may stay as it is.
    fn pass(&mut self, piece: &[u8]) {
        let mut passed = *self;
        passed.look(piece, Octets::Any);
        self.line_ends = passed.line_ends;
    }
}

impl Incoming {
    pub(super) fn new(
        (tag, row): (String, &'static Row),
        (pending, state): (Pending, State),
        bytes_max: u64,
        headers: Headers,
    ) -> Incoming {
        Incoming {
            tag,
            row,
            pending,
            state,
            works: VecDeque::new(),
            copying: None,
            taking: None,
            url: Vec::new(),
            places: Places::default(),
            announced: Sizes { messages: 0, bytes_before: 0, bytes: 0, bytes_max },
            settings: Settings::default(),
            arrived: Vec::new(),
            bytes_before: 0,
            bytes: 0,
            found: Found::NOTHING,
            headers,
            refusal: None,
        }
    }

    /// Another message is announced.
    pub(super) fn begins(&mut self, settings: Settings) -> Result<(), Refusal> {
        let sizes = &mut self.announced;
        if sizes.messages == MESSAGES_MAX {
            return Err(too_many());
        }
        sizes.messages += 1;
        sizes.bytes_before += std::mem::take(&mut sizes.bytes);
        self.works.push_back(Work::Begin(settings));
        Ok(())
    }

    /// More of the present message is announced. RFC 4469 §4.2
    pub(super) fn grows(&mut self, bytes: u64) -> Result<(), Refusal> {
        let sizes = &mut self.announced;
        sizes.bytes = sizes.bytes.saturating_add(bytes);
        if sizes.bytes > sizes.bytes_max {
            return Err(too_big());
        }
        if sizes.messages > 1 && sizes.bytes_before + sizes.bytes > SEVERAL_BYTES_MAX {
            return Err(too_many());
        }
        Ok(())
    }

    /// All that has been announced.
    pub(super) fn usage(&self) -> Usage {
        let Sizes { messages, bytes_before, bytes, .. } = self.announced;
        Usage { messages: messages as u64, bytes: bytes_before + bytes }
    }

    /// The URL that has come as a literal, if that was one.
    pub(super) fn take_url(&mut self) -> Option<Vec<u8>> {
        let is_url = |(slot, _): &(Slot, Announced)| slot.role == Role::Url;
        let taken = self.taking.take();
        taken.is_some_and(|taken| is_url(&taken)).then(|| std::mem::take(&mut self.url))
    }

    /// What is to be done next.
    pub async fn step(&mut self, store: &dyn Store) -> Step {
        loop {
            if self.refusal.is_some() && !self.works.is_empty() {
                return Step::Complete;
            }
            if let Some((part, mut copying)) = self.copying.take() {
                match copying.next(store).await {
                    Ok(None) => {}
                    Ok(Some(bytes)) => {
                        self.copying = Some((part, copying));
                        if self.takes(&bytes) {
                            self.found.pass(&bytes);
                            return Step::Bytes(bytes);
                        }
                    }
                    Err(error) => self.refuse(part.told(error)),
                }
                continue;
            }
            match self.works.pop_front() {
                None => return Step::Follows,
                Some(Work::Begin(settings)) => {
                    (self.settings, self.found, self.bytes) = (settings, Found::NOTHING, 0);
                }
                Some(Work::Copy(mut part)) => match part.open(store).await {
                    Ok(copying) => self.copying = Some((part, copying)),
                    Err(refusal) => self.refuse(refusal),
                },
                Some(Work::Take(slot, announced)) => {
                    self.taking = Some((slot, announced));
                    return Step::Literal;
                }
                Some(Work::End) => return Step::Whole,
                Some(Work::Complete) => return Step::Complete,
            }
        }
    }

    /// Asks for the literal, where the client waits for that.
    pub fn invite(&self, out: &mut Output<'_>) {
        let announced = self.taking.map(|(_, announced)| announced.literal);
        if announced == Some(Literal::Synchronizing) {
            out.line(format_args!("+ Send the message"));
        }
    }

    /// To be called with each piece of the literal.
    pub fn received(&mut self, piece: &[u8]) -> Belongs {
        match self.taking {
            Some((Slot { role: Role::Url, .. }, _)) => {
                self.url.extend_from_slice(piece);
                Belongs::ToCommand
            }
            Some((_, announced)) => {
                self.found.look(piece, announced.octets);
                self.bytes += piece.len() as u64;
                Belongs::ToMessage
            }
            None => Belongs::ToCommand,
        }
    }

    /// Longest message.
    pub fn bytes_max(&self) -> u64 {
        self.announced.bytes_max
    }

    /// Bytes of the messages of the same command that have arrived before.
    pub fn bytes_before(&self) -> u64 {
        self.bytes_before
    }

    /// Whether the message has to be brought into lines before it is stored. The transfer encoding
    /// of a part changes where it must, and nothing is lost; see `cannot_become_lines`.
    /// RFC 3516 §4.4
    pub fn must_become_lines(&self) -> bool {
        self.found.nul
    }

    /// A NUL stands where no transfer encoding could keep it: it is refused rather than lost.
    pub fn cannot_become_lines(&mut self) {
        self.found.nul_in_header |= true;
    }

    /// The message cannot be kept.
    pub fn cannot_be_kept(&mut self, refusal: Refusal) {
        self.refuse(refusal);
    }

    /// Whether nothing more of it has to be kept.
    pub fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    /// The message is here.
    pub fn has_arrived(&mut self, message: NewMessage) {
        let settings = std::mem::take(&mut self.settings);
        self.bytes_before += self.bytes;
        if self.found.nul_in_text {
            self.refuse(Refusal::no("CANNOT", "The message holds a NUL"));
        } else if self.found.nul_in_header {
            self.refuse(Refusal::no(
                "UNKNOWN-CTE",
                "A header of the message, or what is between its parts, holds a NUL",
            ));
        } else if self.found.eight_bit_in_header && self.headers == Headers::Ascii {
            let why = "A header beyond ASCII is for who has enabled UTF8=ACCEPT";
            self.refuse(Refusal::no("CANNOT", why));
        }
        self.arrived.push(Arrived { settings, message });
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.refusal.get_or_insert(refusal);
    }

    /// Whether the message has room for these bytes; it was announced so.
    fn takes(&mut self, bytes: &[u8]) -> bool {
        self.bytes += bytes.len() as u64;
        let takes = self.bytes <= self.announced.bytes_max;
        if !takes {
            self.refuse(too_big());
        }
        takes
    }
}

fn too_big() -> Refusal {
    Refusal::no("TOOBIG", "The message is too large for this server")
}

fn too_many() -> Refusal {
    Refusal::no("LIMIT", "Send fewer messages in one command")
}
