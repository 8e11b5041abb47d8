//! GETMETADATA and SETMETADATA: what is noted about a mailbox or the server. RFC 5464 §4

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Call;
use crate::imap::annotation::{self, PRIVATE, Place, SHARED};
use crate::imap::fetch::write::nstring8;
use crate::imap::names::{Named, Resolved};
use crate::imap::wire::lex::Cursor;
use crate::imap::wire::utf7;
use crate::imap::{Completion, Refusal};
use crate::store::apply::{METADATA_ENTRY_BYTES_MAX, METADATA_VALUE_BYTES_MAX, TOO_MANY_ENTRIES};
use crate::store::change::{About, Change};
use crate::store::{Mailbox, StoreError};

/// Most entries in one command.
pub const ENTRIES_MAX: usize = 100;
/// Says `METADATA_VALUE_BYTES_MAX`.
const MAX_SIZE: &str = "METADATA MAXSIZE 8192";

/// GETMETADATA. RFC 5464 §4.2
pub async fn get_metadata(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let request = Request::parse(&mut call.arguments)?;
    let target = target(call, &request.name)?;
    let all = annotation::all(call.context, call.session, place(&target))?;
    let (mut shown, mut longest) = (Vec::new(), 0);
    for (entry, value) in request.chosen(&all) {
        match value {
            Some(value) if value.len() as u64 > request.size_max => {
                longest = longest.max(value.len())
            }
            value => shown.push((entry, value)),
        }
    }
    if !shown.is_empty() {
        write(call, &request.name, &shown);
    }
    Ok(match longest {
        0 => Completion::ok("Annotations listed"),
        longest => Completion::with_code(
            format!("METADATA LONGENTRIES {longest}"),
            "Annotations listed, but for long ones",
        ),
    })
}

/// What LIST tells of a mailbox's annotations: as GETMETADATA would. RFC 9590 §3
pub(super) fn write_listed(call: &mut Call<'_, '_>, named: &Named, entries: &[String]) {
    let place = Place::Mailbox(&named.mailbox, named.rights);
    let Ok(all) = annotation::all(call.context, call.session, place) else { return };
    let chosen: BTreeMap<_, _> =
        entries.iter().map(|entry| (entry.clone(), all.get(entry).cloned())).collect();
    write(call, &named.name, &chosen.into_iter().collect::<Vec<_>>());
}

fn write(call: &mut Call<'_, '_>, name: &str, entries: &[(String, Option<Arc<[u8]>>)]) {
    call.out.push(format!("* METADATA {} (", call.session.spelled(name)).as_bytes());
    for (n, (entry, value)) in entries.iter().enumerate() {
        let separator = if n > 0 { " " } else { "" };
        let entry = utf7::quoted_unless_atom(entry);
        call.out.push(format!("{separator}{entry} ").as_bytes());
        nstring8(call.out.buffer(), value.as_deref());
    }
    call.out.push(b")\r\n");
}

/// SETMETADATA: all of it, or nothing. RFC 5464 §4.3
pub async fn set_metadata(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = utf7::mailbox(&mut call.arguments)?;
    call.arguments.space()?;
    let values = entry_values(&mut call.arguments)?;
    call.arguments.end()?;
    let target = target(call, &name)?;
    let mut changes = Vec::new();
    for (entry, value) in values {
        annotation::check_set(
            call.context,
            call.session,
            place(&target),
            (&entry, value.as_deref()),
        )?;
        if value.as_ref().is_some_and(|value| value.len() > METADATA_VALUE_BYTES_MAX) {
            return Err(Refusal::no(MAX_SIZE, "An annotation may have 8192 bytes at most"));
        }
        let user = entry.starts_with(PRIVATE).then(|| call.session.user.clone());
        let about = match &target {
            Some((_, mailbox)) => About::Mailbox(mailbox.id),
            None => About::Server,
        };
        changes.push(Change::MetadataSet { user, about, entry, value: value.map(Arc::from) });
    }
    match call.committed(changes).await {
        Ok(_) => Ok(Completion::ok("Annotated")),
        Err(StoreError::Limit(TOO_MANY_ENTRIES)) => {
            Err(Refusal::no("METADATA TOOMANY", "There are too many annotations already"))
        }
        Err(error) => Err(error.into()),
    }
}

type Target = Option<(Resolved, Arc<Mailbox>)>;

/// `None`: the server, whose name is empty.
fn target(call: &Call<'_, '_>, name: &str) -> Result<Target, Refusal> {
    if name.is_empty() { Ok(None) } else { call.find(name).map(Some) }
}

fn place(target: &Target) -> Place<'_> {
    match target {
        Some((found, mailbox)) => Place::Mailbox(mailbox, found.rights),
        None => Place::Server,
    }
}

/// What GETMETADATA asks for.
struct Request {
    name: String,
    size_max: u64,
    depth: Depth,
    entries: Vec<String>,
}

/// How far below an entry others are told too. RFC 5464 §4.2.2
#[derive(Clone, Copy, PartialEq, Eq)]
enum Depth {
    Zero,
    One,
    Infinity,
}

impl Request {
    /// The options stand in front of the mailbox in the grammar, and behind it in the examples.
    fn parse(cursor: &mut Cursor<'_>) -> Result<Request, Refusal> {
        let (size_max, depth) = (u64::MAX, Depth::Zero);
        let mut request = Request { name: String::new(), size_max, depth, entries: Vec::new() };
        if cursor.peek() == Some(b'(') {
            request.options(cursor)?;
            cursor.space()?;
        }
        request.name = utf7::mailbox(cursor)?;
        cursor.space()?;
        if cursor.peek() == Some(b'(') && cursor.rest().get(1) != Some(&b'/') {
            request.options(cursor)?;
            cursor.space()?;
        }
        let is_list = cursor.peek() == Some(b'(');
        request.entries = entries(cursor)?;
        // programs name several without parentheses
        while !is_list
            && cursor.peek() == Some(b' ')
            && !cursor.rest().iter().all(|byte| *byte == b' ')
        {
            cursor.space()?;
            request.entries.push(entry(cursor, Side::Read)?);
            check_count(&request.entries, cursor)?;
        }
        cursor.end()?;
        Ok(request)
    }

    fn options(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Refusal> {
        cursor.take(b'(');
        loop {
            let start = cursor.clone();
            match cursor.atom()?.to_ascii_uppercase().as_str() {
                "MAXSIZE" => {
                    cursor.space()?;
                    self.size_max = cursor.number64()?;
                }
                "DEPTH" => {
                    cursor.space()?;
                    self.depth = depth(cursor)?;
                }
                _ => return Err(start.expected("MAXSIZE or DEPTH")),
            }
            if cursor.take(b')') {
                return Ok(());
            }
            cursor.space()?;
        }
    }

    /// The entries that are asked for, each once; one that is named itself is told even if it has
    /// no value.
    fn chosen(&self, all: &BTreeMap<String, Arc<[u8]>>) -> BTreeMap<String, Option<Arc<[u8]>>> {
        let mut chosen = BTreeMap::new();
        for wanted in &self.entries {
            let found = all.iter().filter(|(entry, _)| self.reaches(wanted, entry));
            chosen.extend(found.map(|(entry, value)| (entry.clone(), Some(value.clone()))));
            if self.depth == Depth::Zero {
                chosen.entry(wanted.clone()).or_insert(None);
            }
        }
        chosen
    }

    fn reaches(&self, wanted: &str, entry: &str) -> bool {
        let Some(below) = entry.strip_prefix(wanted) else { return false };
        match below.strip_prefix('/') {
            None => below.is_empty(),
            Some(below) => match self.depth {
                Depth::Zero => false,
                Depth::One => !below.contains('/'),
                Depth::Infinity => true,
            },
        }
    }
}

/// One entry, or several in parentheses. RFC 5464 §5 `entries`
pub(super) fn entries(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Refusal> {
    if !cursor.take(b'(') {
        return Ok(vec![entry(cursor, Side::Read)?]);
    }
    let mut entries = Vec::new();
    loop {
        entries.push(entry(cursor, Side::Read)?);
        check_count(&entries, cursor)?;
        if cursor.take(b')') {
            return Ok(entries);
        }
        cursor.space()?;
    }
}

fn check_count(entries: &[String], cursor: &Cursor<'_>) -> Result<(), Refusal> {
    match entries.len() > ENTRIES_MAX {
        true => Err(cursor.expected("at most 100 entries")),
        false => Ok(()),
    }
}

fn depth(cursor: &mut Cursor<'_>) -> Result<Depth, Refusal> {
    let start = cursor.clone();
    match cursor.atom()?.to_ascii_lowercase().as_str() {
        "0" => Ok(Depth::Zero),
        "1" => Ok(Depth::One),
        "infinity" => Ok(Depth::Infinity),
        _ => Err(start.expected("0, 1 or infinity")),
    }
}

/// What an entry's name is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    /// To read it, and maybe what is below.
    Read,
    /// To note something.
    Write,
}

/// An entry's name, in lower case. RFC 5464 §3.2
fn entry(cursor: &mut Cursor<'_>, side: Side) -> Result<String, Refusal> {
    let start = cursor.clone();
    let name = String::from_utf8(cursor.astring()?).unwrap_or_default().to_ascii_lowercase();
    let levels: Vec<&str> = name.split('/').skip(1).collect();
    let is_clean = |c: char| (' '..='~').contains(&c) && !matches!(c, '*' | '%');
    let is_sound = name.starts_with('/')
        && name.len() <= METADATA_ENTRY_BYTES_MAX
        && levels.iter().all(|level| !level.is_empty())
        && name.chars().all(is_clean)
        && [PRIVATE, SHARED].iter().any(|root| root[1..] == *levels[0]);
    let least = if levels.get(1) == Some(&"vendor") { 4 } else { 2 };
    match is_sound && (side == Side::Read || levels.len() >= least) {
        true => Ok(name),
        false => Err(start.expected("an entry below /private/ or /shared/")),
    }
}

type Values = Vec<(String, Option<Vec<u8>>)>;

fn entry_values(cursor: &mut Cursor<'_>) -> Result<Values, Refusal> {
    if !cursor.take(b'(') {
        return Err(cursor.expected("a list of entries and values"));
    }
    let mut values = Vec::new();
    loop {
        let entry = entry(cursor, Side::Write)?;
        cursor.space()?;
        let value = if cursor.take_word("NIL") { None } else { Some(cursor.string8()?) };
        values.push((entry, value));
        if values.len() > ENTRIES_MAX {
            return Err(cursor.expected("at most 100 entries"));
        }
        if cursor.take(b')') {
            return Ok(values);
        }
        cursor.space()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_size_is_what_the_store_takes() {
        assert_eq!(MAX_SIZE, format!("METADATA MAXSIZE {METADATA_VALUE_BYTES_MAX}"));
    }

    #[test]
    fn options_stand_on_either_side_of_the_mailbox() {
        for text in [
            "(MAXSIZE 5 DEPTH 1) INBOX /private/comment",
            "INBOX (DEPTH 1 MAXSIZE 5) (/private/COMMENT)",
        ] {
            let request = Request::parse(&mut Cursor::new(text.as_bytes())).expect(text);
            assert_eq!((request.size_max, request.depth == Depth::One), (5, true));
            assert_eq!(request.entries, ["/private/comment"]);
        }
        let request = Request::parse(&mut Cursor::new(b"\"\" /private/a /shared/b "));
        assert_eq!(request.expect("two").entries, ["/private/a", "/shared/b"]);
    }

    #[test]
    fn entries_are_checked_and_counted() {
        for wrong in ["/a/b", "/privat/x", "/private//x", "/private/x/", "/private/a*", "x", "/"] {
            let text = format!("INBOX {wrong}");
            assert!(Request::parse(&mut Cursor::new(text.as_bytes())).is_err(), "{wrong}");
        }
        let set = |entry: &str| entry_values(&mut Cursor::new(format!("({entry} NIL)").as_bytes()));
        assert!(set("/private").is_err() && set("/shared/vendor/x").is_err());
        assert!(set("/shared/vendor/x/y").is_ok());
        let many = |n: usize| {
            let entries = vec!["/private/x NIL"; n].join(" ");
            entry_values(&mut Cursor::new(format!("({entries})").as_bytes())).is_ok()
        };
        assert!(many(ENTRIES_MAX) && !many(ENTRIES_MAX + 1));
    }
}
