//! Charset and keys of SEARCH, SORT and THREAD. RFC 3501 §6.4.4, RFC 5256 §5

use super::fuzzy::{LIKES_MAX, count_likes, fuzzily};
use super::key::{DEPTH_MAX, KEYS_MAX, Key, When};
use crate::imap::object_id::Sought;
use crate::imap::view::{Expunge, SequenceSet, View};
use crate::imap::wire::lex::Cursor;
use crate::imap::{Context, Numbering, Refusal, date, flags, object_id};
use crate::mail::flag::SystemFlags;
use crate::mail::fold::{decode_needle, fold, is_charset_known};
use crate::mail::id::{ModSeq, Timestamp};

/// What is searched for.
#[derive(Clone, PartialEq, Debug)]
pub struct Program {
    /// What messages must meet.
    pub key: Key,
    /// Whether EXPUNGE must wait: sequence numbers are among the keys. RFC 7162 §3.2.10.2
    pub expunge: Expunge,
}

impl Program {
    /// `[CHARSET UTF-8] keys`, to the end of the command: messages are named as `view` numbers
    /// them, intervals end now.
    pub fn parse(
        cursor: &mut Cursor<'_>,
        view: &View,
        context: &Context,
    ) -> Result<Program, Refusal> {
        let charset = match cursor.take_word("CHARSET ") {
            true => Some(charset(cursor)?),
            false => None,
        };
        Program::keys(cursor, charset, (view, context))
    }

    /// `UTF-8 keys`: SORT and THREAD must have a charset. RFC 5256 §5 `search-criteria`
    pub fn parse_behind_charset(
        cursor: &mut Cursor<'_>,
        view: &View,
        context: &Context,
    ) -> Result<Program, Refusal> {
        let charset = charset(cursor)?;
        Program::keys(cursor, Some(charset), (view, context))
    }

    fn keys(
        cursor: &mut Cursor<'_>,
        charset: Option<String>,
        (view, context): (&View, &Context),
    ) -> Result<Program, Refusal> {
        let (keys, expunge) = (0, Expunge::Allowed);
        let now = context.store.now();
        let cursor = cursor.clone();
        let mut parser = Parser { cursor, view, context, now, charset, keys, expunge };
        let key = parser.all(0)?;
        parser.cursor.end()?;
        if count_likes(&key) > LIKES_MAX {
            return Err(Refusal::no("LIMIT", "Look for at most 16 words with FUZZY"));
        }
        Ok(Program { key, expunge: parser.expunge })
    }
}

/// The name of a charset that is known, and the space behind it.
fn charset(cursor: &mut Cursor<'_>) -> Result<String, Refusal> {
    let name = String::from_utf8_lossy(&cursor.astring()?).into_owned();
    cursor.space()?;
    if !name.eq_ignore_ascii_case("US-ASCII") && !is_charset_known(&name) {
        return Err(Refusal::no(
            "BADCHARSET (US-ASCII UTF-8)",
            "This charset is not known here, use UTF-8",
        ));
    }
    Ok(name)
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    view: &'a View,
    context: &'a Context,
    now: Timestamp,
    charset: Option<String>,
    keys: usize,
    expunge: Expunge,
}

impl Parser<'_> {
    /// One or more keys, up to a closing parenthesis or the end.
    fn all(&mut self, depth: usize) -> Result<Key, Refusal> {
        let mut keys = vec![self.key(depth)?];
        while self.more() {
            self.cursor.space()?;
            keys.push(self.key(depth)?);
        }
        match keys.len() {
            1 => Ok(keys.remove(0)),
            _ => Ok(Key::And(keys)),
        }
    }

    /// Whether a space and another key follow; some phones send a trailing space.
    fn more(&self) -> bool {
        let rest = self.cursor.rest();
        rest.first() == Some(&b' ') && !rest.trim_ascii_start().is_empty()
    }

    fn key(&mut self, depth: usize) -> Result<Key, Refusal> {
        self.keys += 1;
        if self.keys > KEYS_MAX {
            return Err(self.cursor.expected("at most 256 search keys"));
        }
        if depth > DEPTH_MAX {
            return Err(self.cursor.expected("search keys at most 32 deep"));
        }
        if self.cursor.take(b'(') {
            let key = self.all(depth + 1)?;
            return match self.cursor.take(b')') {
                true => Ok(key),
                false => Err(self.cursor.expected("a closing parenthesis")),
            };
        }
        if SequenceSet::is_next(&self.cursor) {
            return self.messages(Numbering::Sequence);
        }
        let start = self.cursor.clone();
        let word = self.cursor.take_while("a search key", |b| b.is_ascii_alphabetic())?;
        let word = String::from_utf8_lossy(word).to_ascii_uppercase();
        let needed = CAPABILITIES.iter().find(|row| row.0 == word).map(|row| row.1);
        if needed.is_some_and(|capability| !self.context.capabilities.has(capability)) {
            return Err(start.expected("nothing of a capability that is switched off"));
        }
        if let Some(key) = plain(&word) {
            return Ok(key);
        }
        self.cursor.space().map_err(|_| start.expected("a search key"))?;
        self.with_argument(&word, depth, &start)
    }

    fn with_argument(
        &mut self,
        word: &str,
        depth: usize,
        start: &Cursor<'_>,
    ) -> Result<Key, Refusal> {
        match word {
            "NOT" => Ok(self.key(depth + 1)?.negated()),
            "FUZZY" => Ok(Key::Fuzzy(Box::new(fuzzily(self.key(depth + 1)?)))),
            "OR" => {
                let first = self.key(depth + 1)?;
                self.cursor.space()?;
                Ok(Key::Or(Box::new((first, self.key(depth + 1)?))))
            }
            "UID" => self.messages(Numbering::Uid),
            "KEYWORD" => self.keyword(),
            "UNKEYWORD" => Ok(self.keyword()?.negated()),
            "LARGER" => Ok(Key::Larger(self.cursor.number64()?)),
            "SMALLER" => Ok(Key::Smaller(self.cursor.number64()?)),
            "BEFORE" => Ok(Key::Internal(When::Before, date::date(&mut self.cursor)?)),
            "ON" => Ok(Key::Internal(When::On, date::date(&mut self.cursor)?)),
            "SINCE" => Ok(Key::Internal(When::Since, date::date(&mut self.cursor)?)),
            "SAVEDBEFORE" => Ok(Key::Saved(When::Before, date::date(&mut self.cursor)?)),
            "SAVEDON" => Ok(Key::Saved(When::On, date::date(&mut self.cursor)?)),
            "SAVEDSINCE" => Ok(Key::Saved(When::Since, date::date(&mut self.cursor)?)),
            "OLDER" => Ok(Key::Older(self.seconds_ago()?)),
            "YOUNGER" => Ok(Key::Younger(self.seconds_ago()?)),
            "EMAILID" => Ok(Key::EmailId(self.object_id()?)),
            "THREADID" => Ok(Key::ThreadId(self.object_id()?)),
            "SENTBEFORE" => Ok(Key::Sent(When::Before, date::date(&mut self.cursor)?)),
            "SENTON" => Ok(Key::Sent(When::On, date::date(&mut self.cursor)?)),
            "SENTSINCE" => Ok(Key::Sent(When::Since, date::date(&mut self.cursor)?)),
            "BCC" | "CC" | "FROM" | "SUBJECT" | "TO" => {
                Ok(Key::Header { name: word.to_owned(), text: self.text()? })
            }
            "HEADER" => {
                let name = fold(&String::from_utf8_lossy(&self.cursor.astring()?));
                self.cursor.space()?;
                Ok(Key::Header { name, text: self.text()? })
            }
            "BODY" => Ok(Key::Body(self.text()?)),
            "TEXT" => Ok(Key::Text(self.text()?)),
            "MODSEQ" => self.modseq(),
            _ => Err(start.expected("a search key")),
        }
    }

    fn object_id(&mut self) -> Result<Option<Sought>, Refusal> {
        let text = object_id::object_id(&mut self.cursor)?;
        Ok(self.context.object_ids.sought(text))
    }

    /// An interval, as the moment so long ago. RFC 5032 §3
    fn seconds_ago(&mut self) -> Result<i64, Refusal> {
        Ok(self.now.seconds() - i64::from(self.cursor.nz_number()?))
    }

    fn messages(&mut self, by: Numbering) -> Result<Key, Refusal> {
        let set = SequenceSet::parse(&mut self.cursor)?;
        let has_saved = self.context.capabilities.has("SEARCHRES");
        match by {
            _ if set.is_saved() && !has_saved => {
                Err(self.cursor.expected("nothing of a capability that is switched off before"))
            }
            _ if set.is_saved() => Ok(Key::Uids(self.view.saved().clone())),
            Numbering::Sequence => {
                self.expunge = Expunge::Held;
                Ok(Key::Messages(self.view.searched_numbers(&set)))
            }
            Numbering::Uid => Ok(Key::Uids(self.view.searched_uids(&set))),
        }
    }

    fn keyword(&mut self) -> Result<Key, Refusal> {
        let name = flags::keyword(&mut self.cursor)?;
        let known = &self.view.told().keywords;
        let number = known.iter().position(|k| k.eq_ignore_ascii_case(&name));
        Ok(Key::Keyword(number.and_then(|n| u8::try_from(n).ok())))
    }

    /// Text to look for, folded as the stored text is.
    fn text(&mut self) -> Result<String, Refusal> {
        let start = self.cursor.clone();
        let bytes = self.cursor.astring()?;
        let text = match &self.charset {
            Some(charset) => decode_needle(Some(charset), &bytes),
            // what is not UTF-8 comes from programs that send what the terminal gave them
            None => {
                decode_needle(None, &bytes).or_else(|| decode_needle(Some("windows-1252"), &bytes))
            }
        };
        Ok(fold(&text.ok_or_else(|| start.expected("text in the charset named"))?))
    }

    /// `MODSEQ ["/flags/\\Draft" all] 620162338`; all flags of a message share its mod-sequence.
    fn modseq(&mut self) -> Result<Key, Refusal> {
        if self.cursor.peek() == Some(b'"') {
            self.cursor.quoted()?;
            self.cursor.space()?;
            let start = self.cursor.clone();
            if !["all", "priv", "shared"].iter().any(|kind| self.cursor.take_word(kind)) {
                return Err(start.expected("all, priv or shared"));
            }
            self.cursor.space()?;
        }
        Ok(Key::ModSeq(ModSeq(self.cursor.number64()?)))
    }
}

/// Keys that belong to a capability.
const CAPABILITIES: [(&str, &str); 10] = [
    ("FUZZY", "SEARCH=FUZZY"),
    ("OLDER", "WITHIN"),
    ("YOUNGER", "WITHIN"),
    ("MODSEQ", "CONDSTORE"),
    ("EMAILID", "OBJECTID"),
    ("THREADID", "OBJECTID"),
    ("SAVEDBEFORE", "SAVEDATE"),
    ("SAVEDON", "SAVEDATE"),
    ("SAVEDSINCE", "SAVEDATE"),
    ("SAVEDATESUPPORTED", "SAVEDATE"),
];

/// The keys without an argument.
fn plain(word: &str) -> Option<Key> {
    let flag = |flag| Some(Key::Flags(flag));
    let no_flag = |flag| Some(Key::Flags(flag).negated());
    match word {
        // every mailbox keeps the date of saving. RFC 8514 §4.3
        "ALL" | "SAVEDATESUPPORTED" => Some(Key::All),
        "ANSWERED" => flag(SystemFlags::ANSWERED),
        "DELETED" => flag(SystemFlags::DELETED),
        "DRAFT" => flag(SystemFlags::DRAFT),
        "FLAGGED" => flag(SystemFlags::FLAGGED),
        "SEEN" => flag(SystemFlags::SEEN),
        "UNANSWERED" => no_flag(SystemFlags::ANSWERED),
        "UNDELETED" => no_flag(SystemFlags::DELETED),
        "UNDRAFT" => no_flag(SystemFlags::DRAFT),
        "UNFLAGGED" => no_flag(SystemFlags::FLAGGED),
        "UNSEEN" => no_flag(SystemFlags::SEEN),
        "RECENT" => Some(Key::Recent),
        "OLD" => Some(Key::Recent.negated()),
        "NEW" => Some(Key::And(vec![Key::Recent, Key::Flags(SystemFlags::SEEN).negated()])),
        _ => None,
    }
}
