//! What an extended SEARCH or SORT returns: `RETURN (MIN COUNT)`. RFC 4731 §3.1, RFC 5182 §2.4,
//! RFC 5267 §4, RFC 9394 §3, RFC 6203 §4

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::evaluate::Hit;
use crate::imap::Refusal;
use crate::imap::capability::Capabilities;
use crate::imap::fetch::item::Request;
use crate::imap::wire::lex::Cursor;

/// RETURN options.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Returns {
    /// MIN
    pub min: bool,
    /// MAX
    pub max: bool,
    /// ALL
    pub all: bool,
    /// COUNT
    pub count: bool,
    /// PARTIAL
    pub partial: Option<Partial>,
    /// SAVE
    pub save: bool,
    /// UPDATE
    pub update: bool,
    /// CONTEXT: a hint, of which we make nothing. RFC 5267 §4.2
    pub context: bool,
    /// RELEVANCY
    pub relevancy: bool,
}

/// What is searched, as far as options depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Searching {
    /// By SEARCH.
    Search,
    /// By SORT.
    Sort,
    /// By ESEARCH, in several mailboxes.
    Mailboxes,
}

/// Each option with the capability that it belongs to.
const OPTIONS: [(&str, &str); 9] = [
    ("MIN", "ESEARCH"),
    ("MAX", "ESEARCH"),
    ("ALL", "ESEARCH"),
    ("COUNT", "ESEARCH"),
    ("SAVE", "SEARCHRES"),
    ("PARTIAL", "PARTIAL"),
    ("UPDATE", "CONTEXT=SEARCH"),
    ("CONTEXT", "CONTEXT=SEARCH"),
    ("RELEVANCY", "SEARCH=FUZZY"),
];

impl Returns {
    /// `RETURN (MIN COUNT) `, if it is next; an empty list is ALL. What UPDATE shows of new
    /// messages is left in `shows`. RFC 5465 §7
    pub fn parse(
        cursor: &mut Cursor<'_>,
        (searching, capabilities): (Searching, &Capabilities),
        shows: &mut Option<Arc<Request>>,
    ) -> Result<Option<Returns>, Refusal> {
        if !cursor.take_word("RETURN ") {
            return Ok(None);
        }
        if !cursor.take(b'(') {
            return Err(cursor.expected("a list of return options"));
        }
        let mut returns = Returns::default();
        while !cursor.take(b')') {
            let start = cursor.clone();
            let name = cursor.atom()?.to_ascii_uppercase();
            let is_on = is_on(&name, searching, capabilities);
            if !is_on || !returns.set(&name, searching, cursor)? {
                return Err(start.expected("a return option that is offered here"));
            }
            if cursor.peek() != Some(b')') {
                cursor.space()?;
            }
            if name == "UPDATE" && cursor.peek() == Some(b'(') && capabilities.has("NOTIFY") {
                *shows = Some(Arc::new(what_is_shown(cursor, capabilities)?));
            }
        }
        cursor.space()?;
        if returns.all && returns.partial.is_some() {
            // RFC 9394 §3.1
            return Err(cursor.expected("one of ALL and PARTIAL before"));
        }
        returns.all |= returns == Returns::default();
        Ok(Some(returns))
    }

    /// Whether `searching` knows the option.
    fn set(
        &mut self,
        name: &str,
        searching: Searching,
        cursor: &mut Cursor<'_>,
    ) -> Result<bool, Refusal> {
        match (name, searching) {
            ("MIN", _) => self.min = true,
            ("MAX", _) => self.max = true,
            ("ALL", _) => self.all = true,
            ("COUNT", _) => self.count = true,
            // $ is about the selected mailbox. RFC 7377 §2.2
            ("SAVE", Searching::Search | Searching::Sort) => self.save = true,
            ("UPDATE", _) => self.update = true,
            ("CONTEXT", _) => self.context = true,
            ("RELEVANCY", _) => self.relevancy = true,
            ("PARTIAL", _) if self.partial.is_none() => {
                cursor.space()?;
                self.partial = Some(Partial::parse(cursor)?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Whether anything is to be answered: SAVE alone says nothing. RFC 5182 §1
    pub fn answers(&self) -> bool {
        Returns { save: false, ..*self } != Returns::default()
    }

    /// The hits that are told or counted one by one: of which `$` consists, and whose mod-sequence
    /// counts. RFC 5182 §2.4, RFC 9394 §3.2, RFC 4731 §3.2
    pub fn shown(&self, hits: &[Hit]) -> Vec<Hit> {
        let some = self.min || self.max || self.partial.is_some();
        if self.all || self.count || !some {
            return hits.to_vec();
        }
        let first = hits.first().filter(|_| self.min);
        let last = hits.last().filter(|_| self.max);
        let part = self.partial.map(|partial| &hits[partial.range(hits.len())]);
        let shown = first.into_iter().chain(last).chain(part.into_iter().flatten());
        shown.copied().collect()
    }
}

fn is_on(name: &str, searching: Searching, capabilities: &Capabilities) -> bool {
    let option = OPTIONS.iter().find(|option| option.0 == name);
    option.is_some_and(|option| match (option.1, searching) {
        ("CONTEXT=SEARCH", Searching::Sort) => capabilities.has("CONTEXT=SORT"),
        (capability, _) => capabilities.has(capability),
    })
}

/// `"(" fetch-att *(SP fetch-att) ")"` behind UPDATE. RFC 5465 §8 `modifier-update`
fn what_is_shown(cursor: &mut Cursor<'_>, capabilities: &Capabilities) -> Result<Request, Refusal> {
    let start = cursor.clone();
    let request = Request::parse_list(cursor)?;
    if request.capabilities().any(|capability| !capabilities.has(capability)) {
        return Err(start.expected("nothing of a capability that is switched off"));
    }
    if cursor.peek() != Some(b')') {
        cursor.space()?;
    }
    Ok(request)
}

/// Some of the results, counted from the first or from the last one. RFC 9394 §3.1
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Partial {
    ends: (u32, u32),
    from: From,
}

/// From where results are counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum From {
    First,
    Last,
}

impl Partial {
    /// `1:500`, `-1:-100`. RFC 9394 §4 `partial-range`
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Partial, Refusal> {
        let from = if cursor.take(b'-') { From::Last } else { From::First };
        let one = cursor.nz_number()?;
        if !cursor.take(b':') {
            return Err(cursor.expected("a colon"));
        }
        if from == From::Last && !cursor.take(b'-') {
            return Err(cursor.expected("a minus sign"));
        }
        Ok(Partial { ends: (one, cursor.nz_number()?), from })
    }

    /// Which of `count` results these are, counted from 0.
    pub fn range(self, count: usize) -> Range<usize> {
        let (low, high) = (self.ends.0.min(self.ends.1), self.ends.0.max(self.ends.1));
        let (start, end) = (count.min(low as usize - 1), count.min(high as usize));
        match self.from {
            From::First => start..end,
            From::Last => count - end..count - start,
        }
    }
}

/// As it was asked for.
impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minus = if self.from == From::Last { "-" } else { "" };
        write!(f, "{minus}{}:{minus}{}", self.ends.0, self.ends.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<Returns>, Refusal> {
        let on = Capabilities::default();
        Returns::parse(&mut Cursor::new(text.as_bytes()), (Searching::Search, &on), &mut None)
    }

    #[test]
    fn a_part_is_counted_from_either_end() {
        let range = |text: &str, count| {
            let partial = Partial::parse(&mut Cursor::new(text.as_bytes())).expect("a range");
            assert_eq!(partial.to_string(), text);
            partial.range(count)
        };
        assert_eq!(range("1:3", 10), 0..3);
        assert_eq!(range("3:1", 10), 0..3);
        assert_eq!(range("9:12", 10), 8..10);
        assert_eq!(range("11:12", 10), 10..10);
        assert_eq!(range("-1:-3", 10), 7..10);
        assert_eq!(range("-3:-1", 2), 0..2);
        assert_eq!(range("-11:-12", 10), 0..0);
        for wrong in ["0:1", "1", "1:*", "-1:2", "1:-2", "-0:-1", ""] {
            assert!(Partial::parse(&mut Cursor::new(wrong.as_bytes())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_are_read_as_they_are_offered() {
        let all = Returns { all: true, ..Returns::default() };
        assert_eq!(parsed("RETURN () ALL"), Ok(Some(all)));
        assert_eq!(parsed("ALL"), Ok(None));
        let save = parsed("RETURN (save) ALL").expect("known").expect("there");
        assert!(save.save && !save.all && !save.answers());
        for wrong in ["(ALL PARTIAL 1:2)", "(PARTIAL 1:2 PARTIAL 1:2)", "(X)", "MIN", "(MIN"] {
            assert!(parsed(&format!("RETURN {wrong} ALL")).is_err(), "{wrong}");
        }
        let off = Capabilities::without(&["searchres".into()]);
        let mut cursor = Cursor::new(b"RETURN (SAVE) ALL");
        assert!(Returns::parse(&mut cursor, (Searching::Search, &off), &mut None).is_err());
    }

    #[test]
    fn update_says_what_is_shown_of_new_messages() {
        let parse = |text: &str, off: &[&str], searching| {
            let off: Vec<String> = off.iter().map(|name| (*name).to_owned()).collect();
            let (off, mut shows) = (Capabilities::without(&off), None);
            let text = format!("RETURN ({text}) ALL");
            let cursor = &mut Cursor::new(text.as_bytes());
            let returns = Returns::parse(cursor, (searching, &off), &mut shows)?;
            Ok::<_, Refusal>((
                returns.is_some_and(|r| r.update),
                shows.map_or(0, |s| s.items.len()),
            ))
        };
        for searching in [Searching::Search, Searching::Sort] {
            assert_eq!(parse("UPDATE", &[], searching), Ok((true, 0)));
            assert_eq!(parse("UPDATE (UID FLAGS) COUNT", &[], searching), Ok((true, 2)));
            assert!(parse("COUNT UPDATE (UID PREVIEW)", &["PREVIEW"], searching).is_err());
            assert!(parse("UPDATE (UID)", &["NOTIFY"], searching).is_err());
            for wrong in ["UPDATE ()", "UPDATE (X)", "UPDATE (UID", "UPDATE UID"] {
                assert!(parse(wrong, &[], searching).is_err(), "{wrong}");
            }
        }
        assert!(parse("UPDATE", &["CONTEXT=SORT"], Searching::Sort).is_err());
        assert!(parse("UPDATE", &["CONTEXT=SORT"], Searching::Search).is_ok());
    }

    #[test]
    fn what_is_shown_depends_on_the_options() {
        let hit = |number| Hit { number, uid: number, modseq: Default::default(), relevancy: 0 };
        let hits: Vec<Hit> = (1..=5).map(hit).collect();
        let shown = |options: &str| -> Vec<u32> {
            let returns = parsed(&format!("RETURN ({options}) ALL")).expect("known");
            returns.expect("there").shown(&hits).iter().map(|hit| hit.number).collect()
        };
        assert_eq!(shown("SAVE"), [1, 2, 3, 4, 5]);
        assert_eq!(shown("SAVE MIN"), [1]);
        assert_eq!(shown("SAVE MIN MAX"), [1, 5]);
        assert_eq!(shown("SAVE MIN COUNT"), [1, 2, 3, 4, 5]);
        assert_eq!(shown("SAVE PARTIAL 2:3"), [2, 3]);
        assert_eq!(shown("SAVE PARTIAL 2:3 MAX"), [5, 2, 3]);
        assert_eq!(shown("SAVE PARTIAL 2:3 COUNT"), [1, 2, 3, 4, 5]);
    }
}
