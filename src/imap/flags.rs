//! Flags as IMAP writes them, and which of them a user may change. Knows no store.

use std::sync::Arc;

use super::Refusal;
use super::wire::lex::{Cursor, is_atom_char};
use crate::directory::Rights;
use crate::mail::flag::{FlagList, KEYWORDS_MAX, KeywordSet, SystemFlags};

/// Longest keyword, in bytes.
pub const KEYWORD_BYTES_MAX: usize = 128;

/// Every system flag.
pub const ALL: SystemFlags = SystemFlags(31);

/// The system flags that need the right `w`. RFC 4314 §4
const WRITABLE: SystemFlags = SystemFlags(2 | 4 | 16);

/// Which flags a user may change in a mailbox. RFC 4314 §4
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Changeable {
    /// Among the system flags.
    pub system: SystemFlags,
    /// Whether keywords are.
    pub keywords: bool,
}

impl Changeable {
    /// `s` for \Seen, `t` for \Deleted, `w` for all others.
    pub fn by(rights: Rights) -> Changeable {
        let with = |letter, flags| if rights.has(letter) { flags } else { SystemFlags::NONE };
        let seen = with('s', SystemFlags::SEEN);
        let system = seen | with('t', SystemFlags::DELETED) | with('w', WRITABLE);
        Changeable { system, keywords: rights.has('w') }
    }

    /// Nothing at all: the mailbox was opened by EXAMINE.
    pub fn nothing() -> Changeable {
        Changeable { system: SystemFlags::NONE, keywords: false }
    }

    /// Whether no flag may be changed.
    pub fn is_nothing(self) -> bool {
        self == Changeable::nothing()
    }

    /// Those of `flags` that may be changed.
    pub fn among(self, flags: &FlagList) -> FlagList {
        let keywords = if self.keywords { flags.keywords.clone() } else { Vec::new() };
        FlagList { system: flags.system & self.system, keywords }
    }
}

/// `flag-list`: in parentheses, maybe empty. RFC 3501 §9
pub fn list(cursor: &mut Cursor<'_>) -> Result<FlagList, Refusal> {
    if !cursor.take(b'(') {
        return Err(cursor.expected("a list of flags"));
    }
    let mut flags = FlagList::default();
    while !cursor.take(b')') {
        one(cursor, &mut flags)?;
        if cursor.peek() != Some(b')') {
            cursor.space()?;
        }
    }
    Ok(flags)
}

/// Flags in parentheses, or at least one without. RFC 3501 §9 `store-att-flags`
pub fn list_or_bare(cursor: &mut Cursor<'_>) -> Result<FlagList, Refusal> {
    if cursor.peek() == Some(b'(') {
        return list(cursor);
    }
    let mut flags = FlagList::default();
    loop {
        one(cursor, &mut flags)?;
        let mut ahead = cursor.clone();
        if ahead.space().is_err() || ahead.peek().is_none_or(|b| b == b' ') {
            return Ok(flags);
        }
        *cursor = ahead;
    }
}

/// A keyword, as SEARCH names one. RFC 3501 §9 `flag-keyword`
pub fn keyword(cursor: &mut Cursor<'_>) -> Result<String, Refusal> {
    let start = cursor.clone();
    let name = cursor.atom()?;
    if name.len() > KEYWORD_BYTES_MAX {
        return Err(start.expected("a keyword of at most 128 bytes"));
    }
    Ok(name.to_owned())
}

fn one(cursor: &mut Cursor<'_>, flags: &mut FlagList) -> Result<(), Refusal> {
    let start = cursor.clone();
    if !cursor.take(b'\\') {
        let name = keyword(cursor)?;
        if !flags.keywords.iter().any(|k| k.eq_ignore_ascii_case(&name)) {
            flags.keywords.push(name);
        }
        return match flags.keywords.len() > KEYWORDS_MAX {
            true => Err(start.expected("at most 256 keywords")),
            false => Ok(()),
        };
    }
    let name = cursor.take_while("a flag", is_atom_char)?;
    let is = |full: &str| full.as_bytes()[1..].eq_ignore_ascii_case(name);
    match SystemFlags::NAMES.iter().find(|(_, full)| is(full)) {
        Some((flag, _)) => flags.system = flags.system | *flag,
        // clients that copy mail name \Recent, which nobody can set: it is left out
        None if is("\\Recent") => (),
        None => return Err(start.expected("a system flag or a keyword")),
    }
    Ok(())
}

/// The numbers of those `names` that a mailbox knows.
pub fn numbered(names: &[String], known: &[Arc<str>]) -> KeywordSet {
    let mut set = KeywordSet::default();
    for name in names {
        if let Some(number) = known.iter().position(|k| k.eq_ignore_ascii_case(name)) {
            set.insert(u8::try_from(number).unwrap_or(u8::MAX));
        }
    }
    set
}

/// Writes `FLAGS (…)` of one message.
pub fn write(
    out: &mut Vec<u8>,
    system: SystemFlags,
    recent: Recent,
    keywords: (&KeywordSet, &[Arc<str>]),
) {
    out.extend_from_slice(b"FLAGS (");
    let start = out.len();
    for (flag, name) in SystemFlags::NAMES {
        if system.contains(flag) {
            out.extend_from_slice(name.as_bytes());
            out.push(b' ');
        }
    }
    if recent == Recent::Yes {
        out.extend_from_slice(b"\\Recent ");
    }
    let (set, names) = keywords;
    if !set.is_empty() {
        for name in set.iter().filter_map(|number| names.get(usize::from(number))) {
            out.extend_from_slice(name.as_bytes());
            out.push(b' ');
        }
    }
    if out.len() > start {
        out.pop();
    }
    out.push(b')');
}

/// Whether a message is shown with \Recent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recent {
    /// This session is the first to be told of it.
    Yes,
    /// Another was.
    No,
}

/// Writes `* FLAGS (…)`: what this mailbox knows. RFC 3501 §7.2.6
pub fn write_known(out: &mut Vec<u8>, keywords: &[Arc<str>]) {
    out.extend_from_slice(b"* FLAGS (");
    write_names(out, ALL, keywords);
    out.extend_from_slice(b")\r\n");
}

/// Writes `* OK [PERMANENTFLAGS (…)]`: what this user may change. RFC 3501 §7.1
pub fn write_permanent(out: &mut Vec<u8>, changeable: Changeable, keywords: &[Arc<str>]) {
    out.extend_from_slice(b"* OK [PERMANENTFLAGS (");
    let shown = if changeable.keywords { keywords } else { &[] };
    write_names(out, changeable.system, shown);
    if changeable.keywords && keywords.len() < KEYWORDS_MAX {
        out.extend_from_slice(b" \\*");
    }
    out.extend_from_slice(b")] Flags permitted\r\n");
}

fn write_names(out: &mut Vec<u8>, system: SystemFlags, keywords: &[Arc<str>]) {
    let names = SystemFlags::NAMES.iter().filter(|(flag, _)| system.contains(*flag));
    let names = names.map(|(_, name)| *name).chain(keywords.iter().map(|k| &**k));
    for (n, name) in names.enumerate() {
        if n > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<FlagList, Refusal> {
        let mut cursor = Cursor::new(text.as_bytes());
        let flags = list_or_bare(&mut cursor)?;
        cursor.end()?;
        Ok(flags)
    }

    #[test]
    fn flags_are_read_with_and_without_parentheses() {
        let flags = parsed("(\\seen $Label1 \\Deleted $LABEL1)").expect("flags");
        assert_eq!(flags.system, SystemFlags::SEEN | SystemFlags::DELETED);
        assert_eq!(flags.keywords, ["$Label1"]);
        assert_eq!(parsed("\\Seen Junk").expect("flags").keywords, ["Junk"]);
        assert_eq!(parsed("()").expect("flags"), FlagList::default());
        assert_eq!(parsed("(\\Recent)").expect("flags"), FlagList::default());
        assert!(parsed("(\\Foo)").is_err() && parsed("(a").is_err() && parsed("").is_err());
    }

    #[test]
    fn a_keyword_has_a_length_limit() {
        assert!(parsed(&"k".repeat(KEYWORD_BYTES_MAX)).is_ok());
        assert!(parsed(&"k".repeat(KEYWORD_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn permanent_flags_follow_the_rights() {
        let shown = |letters: &str| {
            let mut out = Vec::new();
            write_permanent(&mut out, Changeable::by(Rights::letters(letters)), &["kw".into()]);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(shown("lrs"), "* OK [PERMANENTFLAGS (\\Seen)] Flags permitted\r\n");
        let all = "(\\Answered \\Flagged \\Deleted \\Seen \\Draft kw \\*)";
        assert!(shown("lrswit").contains(all));
        assert!(shown("lr").contains("()"));
    }
}
