//! Sets of mailboxes as a client names them: `personal`, `subtree Shared`. What is in them follows
//! from the names, not from rights: the caller has left out what may not be seen. RFC 5465 §6,
//! RFC 7377 §2.2

use super::Refusal;
use super::names::{DELIMITER, INBOX, OTHER_USERS, SHARED};
use super::wire::lex::Cursor;
use super::wire::utf7;
use crate::conversation::State;
use crate::mail::fold;
use crate::mail::id::MailboxId;
use crate::store::{Mailbox, Subscriptions};

/// Most mailboxes that one source names.
pub const NAMES_MAX: usize = 1_000;

/// A set of mailboxes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// The selected mailbox.
    Selected,
    /// All of the user's own.
    Personal,
    /// Those of them into which mail comes.
    Inboxes,
    /// What the user has subscribed to.
    Subscribed,
    /// These, and all below them.
    Subtree(Vec<String>),
    /// These, and those right below them. RFC 7377 §2.2
    SubtreeOne(Vec<String>),
    /// These.
    Mailboxes(Vec<String>),
}

/// What the sets depend on.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The selected mailbox.
    pub selected: Option<MailboxId>,
    /// The user's choices.
    pub choices: &'a Subscriptions,
}

impl Scope<'_> {
    /// Whether a name is in a set; without a mailbox it is only a name.
    pub fn has(self, source: &Source, (name, mailbox): (&str, Option<&Mailbox>)) -> bool {
        let below_any = |roots: &[String], is_meant: fn(&str) -> bool| {
            roots.iter().any(|root| below(root, name).is_some_and(is_meant))
        };
        match source {
            Source::Selected => mailbox.is_some_and(|m| self.selected == Some(m.id)),
            Source::Personal => is_personal(name),
            Source::Inboxes => is_personal(name) && mailbox.is_some_and(takes_mail),
            Source::Subscribed => mailbox.is_some_and(|m| self.is_subscribed(m)),
            Source::Subtree(roots) => below_any(roots, |_| true),
            Source::SubtreeOne(roots) => below_any(roots, |rest| !rest.contains(DELIMITER)),
            Source::Mailboxes(names) => names.iter().any(|wanted| wanted == name),
        }
    }

    fn is_subscribed(self, mailbox: &Mailbox) -> bool {
        let place = (mailbox.account.clone(), mailbox.folder.clone());
        self.choices.get(&place) != Some(&false)
    }
}

impl Source {
    /// `personal`, `mailboxes (a b)`.
    pub fn parse(cursor: &mut Cursor<'_>) -> Result<Source, Refusal> {
        let start = cursor.clone();
        Ok(match cursor.atom()?.to_ascii_uppercase().as_str() {
            "SELECTED" => Source::Selected,
            "PERSONAL" => Source::Personal,
            "INBOXES" => Source::Inboxes,
            "SUBSCRIBED" => Source::Subscribed,
            "SUBTREE" => Source::Subtree(mailbox_names(cursor)?),
            "SUBTREE-ONE" => Source::SubtreeOne(mailbox_names(cursor)?),
            "MAILBOXES" => Source::Mailboxes(mailbox_names(cursor)?),
            _ => return Err(start.expected("a set of mailboxes")),
        })
    }
}

/// Whether a name is in the personal namespace.
fn is_personal(name: &str) -> bool {
    let is_in = |root: &str| name.strip_prefix(root).is_some_and(|r| r.starts_with(DELIMITER));
    !is_in(OTHER_USERS) && !is_in(SHARED)
}

/// Whether mail that comes in may go there. RFC 5465 §6.3
fn takes_mail(mailbox: &Mailbox) -> bool {
    mailbox.folder.is_root() || State::of(&mailbox.account, &mailbox.folder).is_some()
}

/// What is left of `name` below `root`; nothing of `root` itself.
fn below<'n>(root: &str, name: &'n str) -> Option<&'n str> {
    match name.strip_prefix(root)? {
        "" => Some(""),
        rest => rest.strip_prefix(DELIMITER),
    }
}

/// `one-or-more-mailbox`, INBOX in the form in which `names` has it; what is not composed in both
/// forms, as a name is. RFC 5465 §8, RFC 9051 §5.1
fn mailbox_names(cursor: &mut Cursor<'_>) -> Result<Vec<String>, Refusal> {
    cursor.space()?;
    let one = |cursor: &mut Cursor<'_>| -> Result<String, Refusal> {
        let name = utf7::mailbox(cursor)?;
        let (first, rest) = name.split_at(name.find(DELIMITER).unwrap_or(name.len()));
        Ok(if first.eq_ignore_ascii_case(INBOX) { format!("{INBOX}{rest}") } else { name })
    };
    let mut names = Vec::new();
    if !cursor.take(b'(') {
        names.push(one(cursor)?);
        return Ok(in_both_forms(names));
    }
    loop {
        names.push(one(cursor)?);
        if names.len() > NAMES_MAX {
            return Err(cursor.expected("at most 1000 mailboxes"));
        }
        if cursor.take(b')') {
            return Ok(in_both_forms(names));
        }
        cursor.space()?;
    }
}

fn in_both_forms(mut names: Vec<String>) -> Vec<String> {
    let composed: Vec<String> = names.iter().filter_map(|name| fold::composed(name)).collect();
    names.extend(composed);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_up_to_their_number() {
        let parsed = |text: &str| Source::parse(&mut Cursor::new(text.as_bytes()));
        let names = |count: usize| format!("mailboxes ({})", vec!["x"; count].join(" "));
        assert!(parsed(&names(NAMES_MAX)).is_ok());
        assert!(parsed(&names(NAMES_MAX + 1)).is_err());
        let inbox = Source::Subtree(vec!["INBOX/x".to_owned()]);
        assert_eq!(parsed("SubTree inbox/x"), Ok(inbox));
        assert!(parsed("mailboxes ()").is_err() && parsed("everything").is_err());
    }

    #[test]
    fn names_below_a_root_are_told_from_those_beside_it() {
        assert_eq!(below("a", "a"), Some(""));
        assert_eq!(below("a", "a/b/c"), Some("b/c"));
        assert_eq!(below("a", "ab"), None);
        assert!(is_personal("INBOX") && is_personal("Sharedx") && is_personal("Private/Anna"));
        assert!(!is_personal("Shared/Support") && !is_personal("Other Users/ben/Desk"));
    }
}
