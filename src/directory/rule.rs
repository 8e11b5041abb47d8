//! What an inbox or a channel does with new conversations by itself: rules for who gets one, and
//! what the customer is told at once. Words only; what matches and who is chosen is decided in
//! `conversation`.

use crate::directory::source::Place;
use crate::mail::fold::fold;
use crate::mail::id::Login;

/// Most rules of an inbox.
pub const RULES_MAX: usize = 100;
/// Most values that one condition lists, and most users and teams of a rule.
pub const VALUES_MAX: usize = 100;
/// Longest value in bytes.
pub const VALUE_BYTES_MAX: usize = 200;
/// Longest text of an acknowledgement in bytes.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;

/// One rule: what a message must be like, and what becomes of its conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Where it is written.
    pub place: Place,
    /// All of these must hold; none is always so.
    pub conditions: Vec<Condition>,
    /// What becomes of it.
    pub action: Action,
}

/// What a message must be like. Texts are folded: see `fold`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Its author's domain is one of these or below one.
    SenderDomain(Vec<String>),
    /// It came for an address with one of these details: `support+vip@`.
    Detail(Vec<String>),
    /// A header field of this name holds this somewhere.
    Contains(Words),
    /// A header field of this name is this.
    Equals(Words),
    /// One of these stands in the subject, as whole words.
    Subject(Vec<Words>),
}

/// A text as it is written, and as it is looked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Words {
    /// The header field, lower case; of a subject `subject`.
    pub field: String,
    /// As written.
    pub text: String,
    /// Folded.
    pub folded: String,
}

impl Words {
    /// What is looked for in a field.
    pub fn new(field: &str, text: &str) -> Words {
        let (field, folded) = (field.to_ascii_lowercase(), fold(text.trim()));
        Words { field, text: text.to_owned(), folded }
    }
}

/// What becomes of a conversation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// One of these gets it.
    Assign {
        /// By name.
        users: Vec<Login>,
        /// All members of these.
        teams: Vec<String>,
        /// How one is chosen of several. Without users and teams, of all who work there.
        pick: Pick,
    },
    /// `folder`: it stays open, is done, or is junk.
    Put(Target),
}

/// `pick`: how one of several is chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Pick {
    /// `round-robin`: who has waited longest for a turn.
    #[default]
    RoundRobin,
    /// `least-open`: who has the fewest open conversations; of several, who has waited longest.
    LeastOpen,
}

/// `folder`: where a conversation goes that nobody gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Target {
    /// `open`: into the inbox itself.
    #[default]
    Open,
    /// `done`
    Done,
    /// `junk`
    Junk,
}

/// What a customer is told once a new conversation has come in. RFC 3834
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Acknowledgement {
    /// Its subject.
    pub subject: Template,
    /// Its text; lines end with LF.
    pub text: Template,
}

/// A text with gaps.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template(pub Vec<Piece>);

/// A piece of a template.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// As it stands.
    Text(String),
    /// `{reference}`: what the conversation is called.
    Reference,
    /// `{subject}`: the message's own.
    Subject,
    /// `{inbox}`: the name of the inbox.
    Inbox,
}

/// The gaps by name.
const GAPS: [(&str, Piece); 3] =
    [("reference", Piece::Reference), ("subject", Piece::Subject), ("inbox", Piece::Inbox)];

impl Template {
    /// Reads a text; the name of a gap that there is none of, if it has one. Braces that hold
    /// anything but a small word are no gap.
    pub fn parse(text: &str) -> Result<Template, String> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            plain.push_str(before);
            rest = after;
            let name = after.split_once('}').map(|(name, _)| name);
            let is_word =
                |n: &&str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            let Some(name) = name.filter(is_word) else {
                plain.push('{');
                continue;
            };
            let Some((_, gap)) = GAPS.iter().find(|(known, _)| *known == name) else {
                return Err(name.to_owned());
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(gap.clone());
            rest = &after[name.len() + 1..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Template(pieces))
    }

    /// The text, its gaps filled.
    pub fn fill(&self, reference: &str, subject: &str, inbox: &str) -> String {
        let filled = self.0.iter().map(|piece| match piece {
            Piece::Text(text) => text,
            Piece::Reference => reference,
            Piece::Subject => subject,
            Piece::Inbox => inbox,
        });
        filled.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        Template::parse(text).map(|template| template.fill("K7-1", "Hilfe", "Support"))
    }

    #[test]
    fn gaps_are_filled_and_other_braces_stay() {
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("[{reference}] {subject} an {inbox}", "[K7-1] Hilfe an Support"),
            ("{subject}{subject}", "HilfeHilfe"),
            ("{ subject } {} {A} {x", "{ subject } {} {A} {x"),
            ("{{subject}}", "{Hilfe}"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
        assert_eq!(filled("{name}"), Err("name".into()));
    }
}
