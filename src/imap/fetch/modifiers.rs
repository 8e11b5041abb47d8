//! What stands in parentheses behind the items of a FETCH, and narrows it. RFC 4466 §2.5

use crate::imap::Refusal;
use crate::imap::search::returns::Partial;
use crate::imap::wire::lex::Cursor;
use crate::mail::id::ModSeq;

/// The modifiers of one FETCH.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Modifiers {
    /// Only messages changed after this. RFC 7162 §3.1.4.1
    pub changed_since: Option<ModSeq>,
    /// And those that have gone after it. RFC 7162 §3.2.6
    pub vanished: Option<Vanished>,
    /// Only these of the messages that the set names. RFC 9394 §3.3
    pub partial: Option<Partial>,
}

/// VANISHED was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vanished;

impl Modifiers {
    /// `(CHANGEDSINCE 12345 VANISHED)`
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Modifiers, Refusal> {
        let mut modifiers = Modifiers::default();
        if !cursor.take(b'(') {
            return Err(cursor.expected("modifiers in parentheses"));
        }
        loop {
            let start = cursor.clone();
            match cursor.atom()?.to_ascii_uppercase().as_str() {
                "CHANGEDSINCE" => {
                    cursor.space()?;
                    modifiers.changed_since = Some(ModSeq(cursor.number64()?));
                }
                "VANISHED" => modifiers.vanished = Some(Vanished),
                "PARTIAL" if modifiers.partial.is_none() => {
                    cursor.space()?;
                    modifiers.partial = Some(Partial::parse(cursor)?);
                }
                _ => return Err(start.expected("CHANGEDSINCE, VANISHED or PARTIAL")),
            }
            if cursor.take(b')') {
                break;
            }
            cursor.space()?;
        }
        match modifiers {
            Modifiers { vanished: Some(_), changed_since: None, .. } => {
                Err(cursor.expected("CHANGEDSINCE beside VANISHED"))
            }
            modifiers => Ok(modifiers),
        }
    }
}
