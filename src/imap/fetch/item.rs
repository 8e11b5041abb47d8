//! What a FETCH asks for: its items, as parsed, with the labels that its answer repeats. Knows no
//! message. RFC 3501 §6.4.5

use std::borrow::Cow;

use super::modifiers::Modifiers;
use super::write::string;
use crate::imap::Refusal;
use crate::imap::view::Condstore;
use crate::imap::wire::lex::Cursor;
use crate::mail::message::are_cached;

/// Most items in one FETCH.
pub const ITEMS_MAX: usize = 64;
/// Most header fields in one list.
pub const FIELD_NAMES_MAX: usize = 256;
/// Deepest part number: `1.2.3` has depth 3.
pub const PART_DEPTH_MAX: usize = 64;

/// The arguments of FETCH behind its sequence set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Request {
    /// In the order in which they are answered.
    pub items: Vec<Item>,
    /// What narrows it.
    pub modifiers: Modifiers,
}

/// One data item. RFC 3501 §6.4.5
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    /// FLAGS
    Flags,
    /// UID
    Uid,
    /// INTERNALDATE
    InternalDate,
    /// RFC822.SIZE
    Size,
    /// ENVELOPE
    Envelope,
    /// BODY: the structure without extension data.
    Body,
    /// BODYSTRUCTURE
    BodyStructure,
    /// MODSEQ. RFC 7162 §3.1.4.2
    ModSeq,
    /// EMAILID. RFC 8474 §5.3
    EmailId,
    /// THREADID. RFC 8474 §5.3
    ThreadId,
    /// SAVEDATE. RFC 8514 §4.2
    SaveDate,
    /// PREVIEW. RFC 8970
    Preview(Patience),
    /// BODY[…], RFC822 and the like.
    Section(Section),
}

/// A part of a message as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// What the answer repeats: `BODY[HEADER]`, without the partial's origin.
    pub label: Vec<u8>,
    /// Part number; empty for the message itself.
    pub path: Vec<u32>,
    /// Which text of it.
    pub text: Text,
    /// First byte and length that are wanted.
    pub partial: Option<(u64, u64)>,
    /// Whether reading it sets \Seen.
    pub reading: Reading,
    /// What is done with its transfer encoding.
    pub transfer: Transfer,
}

impl Section {
    /// What `spec` would mean between the brackets of BODY.PEEK[]. RFC 5092 §11 `enc-section`
    pub fn of(spec: &[u8]) -> Result<Section, Refusal> {
        let bracketed = [b"[", spec, b"]"].concat();
        let mut cursor = Cursor::new(&bracketed);
        let section = section(&mut cursor, Reading::Peeks)?;
        match cursor.rest() {
            [] => Ok(section),
            _ => Err(cursor.expected("the end of the section")),
        }
    }
}

/// What is done with the transfer encoding of a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transfer {
    /// It stays.
    Kept,
    /// BINARY: it is removed. RFC 3516 §4.2
    Removed,
    /// BINARY.SIZE: it is removed, and only the length of the outcome told.
    Measured,
}

/// How long a client waits for a preview.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Patience {
    /// Until it is there.
    Patient,
    /// No longer than for everything else. RFC 8970 §4.1
    Lazy,
}

/// Which text of a message or part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Text {
    /// All of the message, or the content of the part.
    Whole,
    /// HEADER
    Header,
    /// HEADER.FIELDS with its names, and where they are found.
    Fields(Vec<Vec<u8>>, FieldsFrom),
    /// HEADER.FIELDS.NOT with its names.
    FieldsNot(Vec<Vec<u8>>),
    /// TEXT
    Text,
    /// MIME: the header of a part.
    Mime,
}

/// Where header fields are found. Decided once for a FETCH, since it compares many names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FieldsFrom {
    /// All of them are stored apart.
    Cache,
    /// All of them are stored apart, and the trace may have some too.
    TraceAndCache,
    /// The header has to be read.
    Message,
}

/// The fields that our trace consists of, and that a message may bring along as well.
const TRACE_FIELDS: [&str; 3] = ["Return-Path", "Delivered-To", "Received"];

impl FieldsFrom {
    /// Where the message's own fields with these names are found; those of a part always in it.
    fn of(names: &[Vec<u8>], path: &[u32]) -> FieldsFrom {
        let is_trace = |name: &Vec<u8>| {
            TRACE_FIELDS.iter().any(|trace| trace.as_bytes().eq_ignore_ascii_case(name))
        };
        match path.is_empty() && are_cached(names) {
            false => FieldsFrom::Message,
            true if names.iter().any(is_trace) => FieldsFrom::TraceAndCache,
            true => FieldsFrom::Cache,
        }
    }
}

/// Whether an item sets \Seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading {
    /// It does.
    MarksSeen,
    /// It does not: BODY.PEEK.
    Peeks,
}

impl Request {
    /// Reads items and modifiers, to the end of the command.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
        let mut request = Request::default();
        if cursor.take(b'(') {
            loop {
                request.add(item(cursor)?);
                if request.items.len() > ITEMS_MAX {
                    return Err(cursor.expected("at most 64 items"));
                }
                if cursor.take(b')') {
                    break;
                }
                cursor.space()?;
            }
        } else if let Some(items) = macro_items(cursor) {
            items.iter().for_each(|item| request.add(item.clone()));
        } else {
            request.add(item(cursor)?);
        }
        if cursor.peek() == Some(b' ') && cursor.rest().get(1) == Some(&b'(') {
            cursor.space()?;
            request.modifiers = Modifiers::parse(cursor)?;
        }
        if request.modifiers.changed_since.is_some() {
            request.add(Item::ModSeq);
        }
        cursor.end()?;
        Ok(request)
    }

    /// `"(" fetch-att *(SP fetch-att) ")"`: what is shown unasked. RFC 5465 §8
    pub fn parse_list(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
        if !cursor.take(b'(') {
            return Err(cursor.expected("a list of data items"));
        }
        let mut request = Request::default();
        loop {
            request.add(item(cursor)?);
            if request.items.len() > ITEMS_MAX {
                return Err(cursor.expected("at most 64 items"));
            }
            if cursor.take(b')') {
                return Ok(request);
            }
            cursor.space()?;
        }
    }

    /// What any of them asks for.
    pub fn together<'a>(requests: impl Iterator<Item = &'a Request>) -> Request {
        let mut together = Request::default();
        requests.for_each(|one| one.items.iter().for_each(|item| together.add(item.clone())));
        together
    }

    /// As it is answered unasked: with UID, and with MODSEQ where all FETCH responses have it.
    /// RFC 7162 §3.2.4
    pub fn in_condstore(&self, condstore: Condstore) -> Cow<'_, Request> {
        if !condstore.is_on() {
            return Cow::Borrowed(self);
        }
        let mut request = self.clone();
        request.add(Item::Uid);
        request.add(Item::ModSeq);
        Cow::Owned(request)
    }

    /// Adds an item once.
    pub fn add(&mut self, item: Item) {
        if !self.items.contains(&item) {
            self.items.push(item);
        }
    }

    /// The capabilities without which this would not be understood.
    pub fn capabilities(&self) -> impl Iterator<Item = &'static str> {
        self.items.iter().filter_map(|item| match item {
            Item::Preview(_) => Some("PREVIEW"),
            Item::EmailId | Item::ThreadId => Some("OBJECTID"),
            Item::SaveDate => Some("SAVEDATE"),
            Item::ModSeq => Some("CONDSTORE"),
            Item::Section(section) if section.transfer != Transfer::Kept => Some("BINARY"),
            _ => None,
        })
    }

    /// Whether any item sets \Seen.
    pub fn marks_seen(&self) -> bool {
        let marks = |i: &Item| matches!(i, Item::Section(s) if s.reading == Reading::MarksSeen);
        self.items.iter().any(marks)
    }
}

/// ALL, FAST, FULL stand alone. RFC 3501 §6.4.5
fn macro_items(cursor: &mut Cursor<'_>) -> Option<&'static [Item]> {
    const FULL: [Item; 5] =
        [Item::Flags, Item::InternalDate, Item::Size, Item::Envelope, Item::Body];
    let mut ahead = cursor.clone();
    let word = ahead.take_while("an item", is_item_char).ok()?;
    let count = match word.to_ascii_uppercase().as_slice() {
        b"FAST" => 3,
        b"ALL" => 4,
        b"FULL" => 5,
        _ => return None,
    };
    *cursor = ahead;
    const { &FULL }.get(..count)
}

fn item(cursor: &mut Cursor<'_>) -> Result<Item, Refusal> {
    let start = cursor.clone();
    let word = cursor.take_while("an item", is_item_char)?.to_ascii_uppercase();
    let simple = match word.as_slice() {
        b"FLAGS" => Item::Flags,
        b"UID" => Item::Uid,
        b"INTERNALDATE" => Item::InternalDate,
        b"RFC822.SIZE" => Item::Size,
        b"ENVELOPE" => Item::Envelope,
        b"BODYSTRUCTURE" => Item::BodyStructure,
        b"MODSEQ" => Item::ModSeq,
        b"EMAILID" => Item::EmailId,
        b"THREADID" => Item::ThreadId,
        b"SAVEDATE" => Item::SaveDate,
        b"RFC822" => whole(&word, Text::Whole, Reading::MarksSeen),
        b"RFC822.HEADER" => whole(&word, Text::Header, Reading::Peeks),
        b"RFC822.TEXT" => whole(&word, Text::Text, Reading::MarksSeen),
        b"BODY" if cursor.peek() != Some(b'[') => Item::Body,
        b"BODY" => Item::Section(section(cursor, Reading::MarksSeen)?),
        b"BODY.PEEK" => Item::Section(section(cursor, Reading::Peeks)?),
        b"BINARY" => binary(cursor, Reading::MarksSeen, Transfer::Removed)?,
        b"BINARY.PEEK" => binary(cursor, Reading::Peeks, Transfer::Removed)?,
        b"BINARY.SIZE" => binary(cursor, Reading::Peeks, Transfer::Measured)?,
        b"PREVIEW" => Item::Preview(patience(cursor)?),
        _ => return Err(start.expected("a data item")),
    };
    Ok(simple)
}

fn is_item_char(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'.'
}

fn whole(label: &[u8], text: Text, reading: Reading) -> Item {
    let (label, path, transfer) = (label.to_vec(), Vec::new(), Transfer::Kept);
    Item::Section(Section { label, path, text, partial: None, reading, transfer })
}

/// `section-binary` and its partial. RFC 3516 §7
fn binary(cursor: &mut Cursor<'_>, reading: Reading, transfer: Transfer) -> Result<Item, Refusal> {
    let start = cursor.clone();
    let mut section = section(cursor, reading)?;
    if section.text != Text::Whole {
        return Err(start.expected("the number of a part in brackets"));
    }
    if transfer == Transfer::Measured && section.partial.is_some() {
        return Err(start.expected("a part, not a piece of one"));
    }
    let name: &[u8] = if transfer == Transfer::Measured { b"BINARY.SIZE" } else { b"BINARY" };
    section.label.splice(..b"BODY".len(), name.iter().copied());
    Ok(Item::Section(Section { transfer, ..section }))
}

/// ` (LAZY)`. A list behind PREVIEW that is not in parentheses itself belongs to FETCH.
fn patience(cursor: &mut Cursor<'_>) -> Result<Patience, Refusal> {
    let mut ahead = cursor.clone();
    if !(ahead.take(b' ') && ahead.take(b'(') && ahead.take_word("LAZY")) {
        return Ok(Patience::Patient);
    }
    while ahead.take_word(" LAZY") {}
    if !ahead.take(b')') {
        return Err(ahead.expected("a closing parenthesis"));
    }
    *cursor = ahead;
    Ok(Patience::Lazy)
}

/// `section` and its partial. RFC 3501 §9
fn section(cursor: &mut Cursor<'_>, reading: Reading) -> Result<Section, Refusal> {
    let open = cursor.rest();
    if !cursor.take(b'[') {
        return Err(cursor.expected("["));
    }
    let mut path = Vec::new();
    let mut dotted = true;
    while dotted && cursor.peek().is_some_and(|b| b.is_ascii_digit()) {
        path.push(cursor.nz_number()?);
        dotted = cursor.take(b'.');
    }
    if path.len() > PART_DEPTH_MAX {
        return Err(cursor.expected("a part number of at most 64 levels"));
    }
    let text = match (path.is_empty(), dotted) {
        (true, _) if cursor.peek() == Some(b']') => Text::Whole,
        (false, false) => Text::Whole,
        _ => section_text(cursor, &path)?,
    };
    if !cursor.take(b']') {
        return Err(cursor.expected("]"));
    }
    let mut label = b"BODY".to_vec();
    let asked = &open[..open.len() - cursor.rest().len()];
    match &text {
        Text::Fields(names, _) | Text::FieldsNot(names) => label_fields(&mut label, asked, names),
        _ => label.extend_from_slice(asked),
    }
    let partial = partial(cursor)?;
    Ok(Section { label, path, text, partial, reading, transfer: Transfer::Kept })
}

/// As it was asked for, but that a literal of the client's has a form that a server may send.
/// RFC 9051 §4.3
fn label_fields(label: &mut Vec<u8>, asked: &[u8], names: &[Vec<u8>]) {
    let list = memchr::memchr(b'(', asked).unwrap_or(asked.len());
    if memchr::memchr(b'{', asked).is_none() {
        label.extend_from_slice(asked);
        return;
    }
    label.extend_from_slice(&asked[..list]);
    for (n, name) in names.iter().enumerate() {
        label.push(if n == 0 { b'(' } else { b' ' });
        string(label, name);
    }
    label.extend_from_slice(b")]");
}

fn section_text(cursor: &mut Cursor<'_>, path: &[u32]) -> Result<Text, Refusal> {
    let start = cursor.clone();
    let word = cursor.take_while("a section", is_item_char)?.to_ascii_uppercase();
    match word.as_slice() {
        b"HEADER" => Ok(Text::Header),
        b"HEADER.FIELDS" => {
            let names = field_names(cursor)?;
            let from = FieldsFrom::of(&names, path);
            Ok(Text::Fields(names, from))
        }
        b"HEADER.FIELDS.NOT" => Ok(Text::FieldsNot(field_names(cursor)?)),
        b"TEXT" => Ok(Text::Text),
        b"MIME" if !path.is_empty() => Ok(Text::Mime),
        _ => Err(start.expected("a section")),
    }
}

/// ` (From To)`; at least one.
fn field_names(cursor: &mut Cursor<'_>) -> Result<Vec<Vec<u8>>, Refusal> {
    cursor.space()?;
    if !cursor.take(b'(') {
        return Err(cursor.expected("a list of header fields"));
    }
    let mut names = Vec::new();
    loop {
        names.push(cursor.astring()?);
        if names.len() > FIELD_NAMES_MAX {
            return Err(cursor.expected("at most 256 header fields"));
        }
        if cursor.take(b')') {
            return Ok(names);
        }
        cursor.space()?;
    }
}

fn partial(cursor: &mut Cursor<'_>) -> Result<Option<(u64, u64)>, Refusal> {
    if !cursor.take(b'<') {
        return Ok(None);
    }
    let origin = cursor.number64()?;
    if !cursor.take(b'.') {
        return Err(cursor.expected("a dot"));
    }
    let start = cursor.clone();
    let count = cursor.number64()?;
    if count == 0 {
        return Err(start.expected("a number above 0"));
    }
    if !cursor.take(b'>') {
        return Err(cursor.expected(">"));
    }
    Ok(Some((origin, count)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::id::ModSeq;

    fn parsed(text: &str) -> Result<Request, Refusal> {
        Request::parse(&mut Cursor::new(text.as_bytes()))
    }

    fn one_section(text: &str) -> Section {
        match parsed(text).expect(text).items.remove(0) {
            Item::Section(section) => section,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn macros_stand_for_their_items() {
        assert_eq!(parsed("full").expect("a macro").items.len(), 5);
        assert_eq!(parsed("FAST").expect("a macro").items.len(), 3);
        assert_eq!(parsed("ALL ").expect("a macro").items.len(), 4);
        assert!(parsed("(ALL)").is_err());
    }

    #[test]
    fn sections_keep_what_the_answer_repeats() {
        let section = one_section("(BODY.PEEK[1.2.HEADER.FIELDS (From \"X-Y\")]<10.20> UID)");
        assert_eq!(section.label, b"BODY[1.2.HEADER.FIELDS (From \"X-Y\")]");
        assert_eq!(section.path, [1, 2]);
        let names = vec![b"From".to_vec(), b"X-Y".to_vec()];
        assert_eq!(section.text, Text::Fields(names, FieldsFrom::Message));
        assert_eq!(section.partial, Some((10, 20)));
        assert_eq!(section.reading, Reading::Peeks);
        assert_eq!(one_section("body[]").text, Text::Whole);
        assert_eq!(one_section("BODY[3]").path, [3]);
        assert_eq!(one_section("BODY[3.MIME]").text, Text::Mime);
        assert_eq!(one_section("RFC822.HEADER").reading, Reading::Peeks);
        assert_eq!(one_section("BODY[TEXT]").reading, Reading::MarksSeen);
    }

    #[test]
    fn a_section_is_read_without_its_brackets() {
        assert_eq!(
            Section::of(b"1.2.mime").map(|s| (s.path, s.text)),
            Ok((vec![1, 2], Text::Mime))
        );
        assert_eq!(Section::of(b"").map(|s| s.text), Ok(Text::Whole));
        let odd = Section::of(b"HEADER.FIELDS (\"a]b\")").map(|s| s.text);
        assert!(matches!(odd, Ok(Text::Fields(names, _)) if names == [b"a]b"]));
        for wrong in ["1]", "1]<0.5>", "1]<0.5>[", "MIME", "0", "1 ", "1.", "HEADER.FIELDS"] {
            assert!(Section::of(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn decoded_parts_are_sections_with_a_label_of_their_own() {
        let section = one_section("(BINARY.PEEK[1.2]<3.4> UID)");
        assert_eq!(
            (section.label.as_slice(), section.reading),
            (&b"BINARY[1.2]"[..], Reading::Peeks)
        );
        assert_eq!((section.transfer, section.partial), (Transfer::Removed, Some((3, 4))));
        assert_eq!(one_section("binary[]").reading, Reading::MarksSeen);
        let measured = one_section("BINARY.SIZE[1]");
        assert_eq!(measured.label, b"BINARY.SIZE[1]");
        assert_eq!((measured.transfer, measured.reading), (Transfer::Measured, Reading::Peeks));
        for wrong in ["BINARY", "BINARY[TEXT]", "BINARY[1.MIME]", "BINARY.SIZE[1]<0.5>"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_preview_may_be_lazy() {
        for text in ["(PREVIEW (LAZY) UID)", "(PREVIEW (lazy LAZY) UID)"] {
            let items = parsed(text).expect(text).items;
            assert_eq!(items, [Item::Preview(Patience::Lazy), Item::Uid]);
        }
        let request = parsed("PREVIEW (CHANGEDSINCE 5)").expect("a request");
        assert_eq!(request.items[0], Item::Preview(Patience::Patient));
        assert_eq!(request.modifiers.changed_since, Some(ModSeq(5)));
        for wrong in ["PREVIEW (EAGER)", "PREVIEW ()", "PREVIEW (LAZY", "(PREVIEW (LAZY EAGER))"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn fields_are_looked_for_where_they_are_cheapest() {
        let from = |names: &str| match one_section(&format!("BODY[HEADER.FIELDS ({names})]")).text {
            Text::Fields(_, from) => from,
            other => unreachable!("{other:?}"),
        };
        assert_eq!(from("from SUBJECT"), FieldsFrom::Cache);
        assert_eq!(from("From delivered-to"), FieldsFrom::TraceAndCache);
        assert_eq!(from("From Received"), FieldsFrom::Message);
    }

    #[test]
    fn what_is_not_an_item_is_refused() {
        for wrong in [
            "",
            "()",
            "(FLAGS",
            "FLAGS UID",
            "BODY[",
            "BODY[MIME]",
            "BODY[0]",
            "BODY[1.]",
            "BODY[HEADER.FIELDS]",
            "BODY[HEADER.FIELDS ()]",
            "BODY[]<0>",
            "BODY[]<0.0>",
            "BODY.PEEK",
            "FOO",
            "(FLAGS  UID)",
            "FLAGS (CHANGEDSINCE)",
            "BODY[1.2x]",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn changedsince_asks_for_the_mod_sequence_too() {
        let request = parsed("(FLAGS) (CHANGEDSINCE 12)").expect("a request");
        assert_eq!(request.modifiers.changed_since, Some(ModSeq(12)));
        assert_eq!(request.items, [Item::Flags, Item::ModSeq]);
    }

    #[test]
    fn items_and_parts_are_limited() {
        let sections = |n: u32| {
            let items: Vec<String> = (1..=n).map(|n| format!("BODY[{n}]")).collect();
            parsed(&format!("({})", items.join(" ")))
        };
        assert!(sections(ITEMS_MAX as u32).is_ok());
        assert!(sections(ITEMS_MAX as u32 + 1).is_err());
        let deep = |n: usize| parsed(&format!("BODY[{}]", vec!["1"; n].join(".")));
        assert!(deep(PART_DEPTH_MAX).is_ok());
        assert!(deep(PART_DEPTH_MAX + 1).is_err());
        let fields =
            |n: usize| parsed(&format!("BODY[HEADER.FIELDS ({})]", vec!["a"; n].join(" ")));
        assert!(fields(FIELD_NAMES_MAX).is_ok());
        assert!(fields(FIELD_NAMES_MAX + 1).is_err());
    }
}
