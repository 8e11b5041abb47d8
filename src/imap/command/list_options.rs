//! The arguments of LIST: selection options, patterns, return options. RFC 5258 §6

use super::{metadata, status};
use crate::imap::wire::lex::{Cursor, is_astring_char};
use crate::imap::wire::utf7;
use crate::imap::{Context, Refusal};

/// Most patterns in one LIST.
pub(super) const PATTERNS_MAX: usize = 100;
/// Longest pattern with its reference, in bytes.
pub(super) const PATTERN_BYTES_MAX: usize = 4096;

/// What LIST is asked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Options {
    /// Whether any part of the extended syntax was used.
    pub(super) extended: bool,
    /// `SUBSCRIBED` selects.
    pub(super) select_subscribed: bool,
    /// `SPECIAL-USE` selects. RFC 6154 §3
    pub(super) select_special_use: bool,
    /// `RECURSIVEMATCH`
    pub(super) recursive_match: bool,
    /// The reference, decoded.
    pub(super) reference: String,
    /// The patterns, decoded, without the reference.
    pub(super) patterns: Vec<String>,
    /// `RETURN (SUBSCRIBED)`
    pub(super) return_subscribed: bool,
    /// `RETURN (MYRIGHTS)`. RFC 8440 §3
    pub(super) return_my_rights: bool,
    /// `RETURN (STATUS …)`. RFC 5819 §2
    pub(super) return_status: Vec<status::Item>,
    /// `RETURN (METADATA …)`. RFC 9590 §3
    pub(super) return_metadata: Vec<String>,
}

/// All arguments.
pub(super) fn parse(context: &Context, arguments: &mut Cursor<'_>) -> Result<Options, Refusal> {
    let mut options = Options::default();
    if arguments.peek() == Some(b'(') {
        check_on(context, arguments, "LIST-EXTENDED")?;
        options.extended = true;
        list(arguments, |arguments| select_option(context, arguments, &mut options))?;
        arguments.space()?;
    }
    if options.recursive_match && !(options.select_subscribed || options.select_special_use) {
        return Err(arguments.expected("a selection option beside RECURSIVEMATCH"));
    }
    options.reference = utf7::mailbox(arguments)?;
    arguments.space()?;
    patterns(context, arguments, &mut options)?;
    let here = arguments.clone();
    if arguments.take(b' ') && arguments.take_word("RETURN ") {
        check_on(context, &here, "LIST-EXTENDED")?;
        options.extended = true;
        list(arguments, |arguments| return_option(context, arguments, &mut options))?;
    }
    arguments.end()?;
    Ok(options)
}

fn check_on(context: &Context, here: &Cursor<'_>, capability: &str) -> Result<(), Refusal> {
    let is_on = context.capabilities.has(capability);
    if is_on { Ok(()) } else { Err(here.expected("nothing of a capability that is switched off")) }
}

/// `"(" [item *(SP item)] ")"`
fn list<'a>(
    arguments: &mut Cursor<'a>,
    mut item: impl FnMut(&mut Cursor<'a>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    if !arguments.take(b'(') {
        return Err(arguments.expected("a list in parentheses"));
    }
    if arguments.take(b')') {
        return Ok(());
    }
    loop {
        item(arguments)?;
        if arguments.take(b')') {
            return Ok(());
        }
        arguments.space()?;
    }
}

fn select_option(
    context: &Context,
    arguments: &mut Cursor<'_>,
    options: &mut Options,
) -> Result<(), Refusal> {
    let start = arguments.clone();
    let word = arguments.atom()?;
    if word.eq_ignore_ascii_case("SUBSCRIBED") {
        options.select_subscribed = true;
    } else if word.eq_ignore_ascii_case("RECURSIVEMATCH") {
        options.recursive_match = true;
    } else if word.eq_ignore_ascii_case("SPECIAL-USE") {
        check_on(context, &start, "SPECIAL-USE")?;
        options.select_special_use = true;
    } else if !word.eq_ignore_ascii_case("REMOTE") {
        // there are no remote mailboxes: REMOTE changes nothing
        return Err(start.expected("SUBSCRIBED, REMOTE, RECURSIVEMATCH or SPECIAL-USE"));
    }
    Ok(())
}

fn return_option(
    context: &Context,
    arguments: &mut Cursor<'_>,
    options: &mut Options,
) -> Result<(), Refusal> {
    let start = arguments.clone();
    let word = arguments.atom()?;
    if word.eq_ignore_ascii_case("SUBSCRIBED") {
        options.return_subscribed = true;
    } else if word.eq_ignore_ascii_case("STATUS") {
        check_on(context, &start, "LIST-STATUS")?;
        arguments.space()?;
        options.return_status = status::items(context, arguments)?;
    } else if word.eq_ignore_ascii_case("METADATA") {
        check_on(context, &start, "LIST-METADATA")?;
        arguments.space()?;
        options.return_metadata = metadata::entries(arguments)?;
    } else if word.eq_ignore_ascii_case("SPECIAL-USE") {
        check_on(context, &start, "SPECIAL-USE")?;
    } else if word.eq_ignore_ascii_case("MYRIGHTS") {
        check_on(context, &start, "LIST-MYRIGHTS")?;
        options.return_my_rights = true;
    } else if !word.eq_ignore_ascii_case("CHILDREN") {
        // what CHILDREN and SPECIAL-USE ask for is returned anyway
        return Err(
            start.expected("SUBSCRIBED, CHILDREN, SPECIAL-USE, MYRIGHTS, METADATA or STATUS")
        );
    }
    Ok(())
}

fn patterns(
    context: &Context,
    arguments: &mut Cursor<'_>,
    options: &mut Options,
) -> Result<(), Refusal> {
    let start = arguments.clone();
    if arguments.peek() == Some(b'(') {
        check_on(context, arguments, "LIST-EXTENDED")?;
        options.extended = true;
        list(arguments, |arguments| {
            options.patterns.push(pattern(arguments)?);
            if options.patterns.len() > PATTERNS_MAX {
                return Err(arguments.expected("at most 100 patterns"));
            }
            Ok(())
        })?;
    } else {
        options.patterns.push(pattern(arguments)?);
    }
    let too_long = |p: &String| p.len() + options.reference.len() > PATTERN_BYTES_MAX;
    match options.patterns.iter().any(too_long) {
        true => Err(start.expected("a pattern of at most 4096 bytes")),
        false => Ok(()),
    }
}

/// `list-mailbox`: as a mailbox name, with wildcards. RFC 3501 §9
pub(super) fn pattern(arguments: &mut Cursor<'_>) -> Result<String, Refusal> {
    match arguments.peek() {
        Some(b'"' | b'{') => utf7::mailbox(arguments),
        _ => {
            let is_list_char = |b: u8| is_astring_char(b) || b >= 0x80 || b"*%".contains(&b);
            let spelling = arguments.spelling();
            let bytes = arguments.take_while("a pattern", is_list_char)?;
            Ok(utf7::read(bytes, spelling))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::memory::Memory;
    use crate::sys::ManualClock;

    fn parsed(arguments: &str) -> Result<Options, Refusal> {
        let context = Context {
            store: Arc::new(Memory::new(Arc::new(ManualClock::default()))),
            folder_names: Arc::default(),
            message_bytes_max: 1,
            capabilities: Arc::default(),
            admin: None,
            own_copies: Default::default(),
            object_ids: crate::imap::object_id::ObjectIds::by([7; 32]),
        };
        parse(&context, &mut Cursor::new(arguments.as_bytes()))
    }

    #[test]
    fn patterns_are_taken_up_to_their_number() {
        let list = |count: usize| format!("\"\" ({})", vec!["x"; count].join(" "));
        let options = parsed(&list(PATTERNS_MAX)).expect("as many as there may be");
        assert_eq!(options.patterns.len(), PATTERNS_MAX);
        assert!(parsed(&list(PATTERNS_MAX + 1)).is_err());
    }

    #[test]
    fn a_pattern_is_taken_up_to_its_length() {
        let list = |bytes: usize| format!("ab {}", "x".repeat(bytes));
        assert!(parsed(&list(PATTERN_BYTES_MAX - 2)).is_ok());
        assert!(parsed(&list(PATTERN_BYTES_MAX - 1)).is_err());
    }
}
