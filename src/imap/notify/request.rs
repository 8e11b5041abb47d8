//! What a client asks NOTIFY to tell, as it says it. RFC 5465 §8

use std::sync::Arc;

use crate::imap::Refusal;
use crate::imap::capability::Capabilities;
use crate::imap::fetch::item::{Item, Request as Shown};
use crate::imap::sources::Source;
use crate::imap::view::{Expunge, Scope, Wishes};
use crate::imap::wire::lex::Cursor;

/// Most groups of events in one NOTIFY.
pub const GROUPS_MAX: usize = 64;
/// Most events in one group.
const EVENTS_MAX: usize = 32;

/// The events that there are, as a refusal lists them. RFC 5465 §3.1
const KNOWN: &str = "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName \
    SubscriptionChange MailboxMetadataChange ServerMetadataChange)";
/// The same where METADATA is switched off.
const KNOWN_WITHOUT_METADATA: &str =
    "BADEVENT (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)";

/// NOTIFY SET.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Whether the counts of the mailboxes are told at once.
    pub status: Status,
    /// What is told.
    pub interest: Interest,
    /// Whether it shows mod-sequences, which enables CONDSTORE. RFC 7162 §3.1
    pub shows_modseq: ShowsModSeq,
}

/// Whether NOTIFY SET stands with STATUS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// It does.
    Asked,
    /// It does not.
    Omitted,
}

/// Whether what is shown of new messages has MODSEQ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ShowsModSeq {
    /// It has.
    Yes,
    /// It has not.
    No,
}

/// What is told, until the next NOTIFY.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interest {
    /// Of mailboxes that are not selected.
    pub groups: Vec<Group>,
    /// Of the one that is.
    pub wishes: Arc<Wishes>,
}

/// Some mailboxes, and what is told of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    /// Which.
    pub source: Source,
    /// What.
    pub events: Events,
}

/// A set of events. RFC 5465 §5
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Events(u8);

impl Events {
    /// None.
    pub const NONE: Events = Events(0);
    /// MessageNew and MessageExpunge, which come together.
    pub const MESSAGES: Events = Events(1);
    /// FlagChange
    pub const FLAGS: Events = Events(2);
    /// MailboxName
    pub const NAMES: Events = Events(4);
    /// SubscriptionChange
    pub const SUBSCRIPTIONS: Events = Events(8);
    /// MailboxMetadataChange
    pub const NOTES: Events = Events(16);
    /// ServerMetadataChange
    pub const SERVER_NOTES: Events = Events(32);

    /// Whether one of `events` is among them.
    pub fn any(self, events: Events) -> bool {
        self.0 & events.0 != 0
    }

    /// Those in either.
    pub fn and(self, more: Events) -> Events {
        Events(self.0 | more.0)
    }
}

impl Interest {
    /// NOTIFY NONE: nothing is told, not even of the selected mailbox. RFC 5465 §3.1
    pub fn nothing() -> Interest {
        Interest { groups: Vec::new(), wishes: Arc::new(nothing_selected()) }
    }

    /// Whether changes of metadata of the server are told.
    pub fn has_server_notes(&self) -> bool {
        self.groups.iter().any(|group| group.events.any(Events::SERVER_NOTES))
    }
}

fn nothing_selected() -> Wishes {
    Wishes { scope: Scope::Nothing, expunge: Expunge::Held, new: None }
}

impl Request {
    /// What stands behind `SET `.
    pub fn parse(cursor: &mut Cursor<'_>, capabilities: &Capabilities) -> Result<Request, Refusal> {
        let status = match cursor.take_word("STATUS ") {
            true => Status::Asked,
            false => Status::Omitted,
        };
        let (mut groups, mut selected) = (Vec::new(), None);
        let mut unknown = false;
        loop {
            let start = cursor.clone();
            let read = group(cursor, capabilities)?;
            unknown |= read.unknown;
            match read.of {
                Of::Selected(_) if selected.is_some() => {
                    return Err(start.expected("one of SELECTED and SELECTED-DELAYED"));
                }
                Of::Selected(wishes) => selected = Some(wishes),
                Of::Others(group) => groups.push(group),
            }
            if groups.len() > GROUPS_MAX {
                return Err(start.expected("at most 64 groups of events"));
            }
            if !cursor.take(b' ') || cursor.rest().iter().all(|byte| *byte == b' ') {
                break;
            }
        }
        cursor.end()?;
        if unknown {
            let known = if has_notes(capabilities) { KNOWN } else { KNOWN_WITHOUT_METADATA };
            return Err(Refusal::no(known, "There is an event among them that is not told"));
        }
        let wishes = selected.unwrap_or_else(nothing_selected);
        let shown = wishes.new.iter().any(|shown| shown.items.contains(&Item::ModSeq));
        let shows_modseq = if shown { ShowsModSeq::Yes } else { ShowsModSeq::No };
        let interest = Interest { groups, wishes: Arc::new(wishes) };
        Ok(Request { status, interest, shows_modseq })
    }
}

fn has_notes(capabilities: &Capabilities) -> bool {
    capabilities.has("METADATA")
}

/// One group as it was read.
struct Read {
    of: Of,
    unknown: bool,
}

enum Of {
    Selected(Wishes),
    Others(Group),
}

/// `event-group`
fn group(cursor: &mut Cursor<'_>, capabilities: &Capabilities) -> Result<Read, Refusal> {
    if !cursor.take(b'(') {
        return Err(cursor.expected("a group of events in parentheses"));
    }
    let start = cursor.clone();
    let expunge = selected(cursor);
    let source = match expunge {
        Some(_) => Source::Selected,
        None => Source::parse(cursor)?,
    };
    if matches!(source, Source::SubtreeOne(_)) {
        return Err(start.expected("a set of mailboxes that NOTIFY knows"));
    }
    cursor.space()?;
    let named = events(cursor, capabilities)?;
    if !cursor.take(b')') {
        return Err(cursor.expected("a closing parenthesis"));
    }
    let unknown = named.unknown;
    let Some(expunge) = expunge else {
        return match named.shown {
            Some(_) => Err(start.expected("SELECTED, where data items are shown")),
            None => Ok(Read { of: Of::Others(Group { source, events: named.events }), unknown }),
        };
    };
    let message = Events::MESSAGES.and(Events::FLAGS);
    if named.events.and(message) != message {
        return Err(start.expected("no other events than of messages for the selected mailbox"));
    }
    let scope = match (named.events.any(Events::MESSAGES), named.events.any(Events::FLAGS)) {
        (false, _) => return Ok(Read { of: Of::Selected(nothing_selected()), unknown }),
        (true, false) => Scope::Messages,
        (true, true) => Scope::Everything,
    };
    Ok(Read { of: Of::Selected(Wishes { scope, expunge, new: named.shown }), unknown })
}

/// `SELECTED`, `SELECTED-DELAYED`: whether EXPUNGE is told between commands. RFC 5465 §6.1
fn selected(cursor: &mut Cursor<'_>) -> Option<Expunge> {
    let mut ahead = cursor.clone();
    let expunge = match ahead.atom().ok()?.to_ascii_uppercase().as_str() {
        "SELECTED" => Expunge::Allowed,
        "SELECTED-DELAYED" => Expunge::Held,
        _ => return None,
    };
    *cursor = ahead;
    Some(expunge)
}

/// The events of a group.
#[derive(Default)]
struct Named {
    events: Events,
    /// What is shown of new messages.
    shown: Option<Shown>,
    new: Seen,
    expunge: Seen,
    annotation: Seen,
    /// One that is not supported: refused when all the rest is understood. RFC 5465 §3.1
    unknown: bool,
}

/// Whether an event was named.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Seen {
    Yes,
    #[default]
    No,
}

/// `events`
fn events(cursor: &mut Cursor<'_>, capabilities: &Capabilities) -> Result<Named, Refusal> {
    let mut named = Named::default();
    if cursor.take_word("NONE") {
        return Ok(named);
    }
    let start = cursor.clone();
    if !cursor.take(b'(') {
        return Err(cursor.expected("NONE or a list of events"));
    }
    for count in 0.. {
        if count == EVENTS_MAX {
            return Err(cursor.expected("at most 32 events"));
        }
        named.event(cursor, capabilities)?;
        if cursor.take(b')') {
            break;
        }
        cursor.space()?;
    }
    // RFC 5465 §5
    let needs_both = named.events.any(Events::FLAGS) || named.annotation == Seen::Yes;
    if named.new != named.expunge || needs_both && named.new == Seen::No {
        return Err(start.expected("both MessageNew and MessageExpunge, or none of a message"));
    }
    Ok(named)
}

impl Named {
    fn event(
        &mut self,
        cursor: &mut Cursor<'_>,
        capabilities: &Capabilities,
    ) -> Result<(), Refusal> {
        let event = match cursor.atom()?.to_ascii_uppercase().as_str() {
            "MESSAGENEW" => {
                self.new = Seen::Yes;
                self.shown(cursor, capabilities)?;
                Events::MESSAGES
            }
            "MESSAGEEXPUNGE" => {
                self.expunge = Seen::Yes;
                Events::MESSAGES
            }
            "FLAGCHANGE" => Events::FLAGS,
            "MAILBOXNAME" => Events::NAMES,
            "SUBSCRIPTIONCHANGE" => Events::SUBSCRIPTIONS,
            "MAILBOXMETADATACHANGE" if has_notes(capabilities) => Events::NOTES,
            "SERVERMETADATACHANGE" if has_notes(capabilities) => Events::SERVER_NOTES,
            word => {
                self.unknown = true;
                if word == "ANNOTATIONCHANGE" {
                    self.annotation = Seen::Yes;
                }
                Events::NONE
            }
        };
        self.events = self.events.and(event);
        Ok(())
    }

    /// ` (uid flags)` behind MessageNew.
    fn shown(
        &mut self,
        cursor: &mut Cursor<'_>,
        capabilities: &Capabilities,
    ) -> Result<(), Refusal> {
        if !cursor.rest().starts_with(b" (") {
            return Ok(());
        }
        cursor.space()?;
        let start = cursor.clone();
        let shown = Shown::parse_list(cursor)?;
        if shown.capabilities().any(|capability| !capabilities.has(capability)) {
            return Err(start.expected("nothing of a capability that is switched off"));
        }
        self.shown = Some(shown);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Request, Refusal> {
        Request::parse(&mut Cursor::new(text.as_bytes()), &Capabilities::default())
    }

    #[test]
    fn groups_are_read_up_to_their_number() {
        let groups = |count: usize| vec!["(personal NONE)"; count].join(" ");
        assert!(parsed(&groups(GROUPS_MAX)).is_ok());
        assert!(parsed(&groups(GROUPS_MAX + 1)).is_err());
        let events =
            |count: usize| format!("(personal ({}))", vec!["MailboxName"; count].join(" "));
        assert!(parsed(&events(EVENTS_MAX)).is_ok());
        assert!(parsed(&events(EVENTS_MAX + 1)).is_err());
    }

    #[test]
    fn events_of_messages_come_together() {
        for wrong in [
            "(personal (MessageNew))",
            "(personal (MessageExpunge))",
            "(personal (FlagChange))",
            "(personal (AnnotationChange))",
            "(personal (MessageNew FlagChange))",
            "(personal ())",
            "(personal MessageNew)",
            "(personal)",
            "(selected (MailboxName))",
            "(selected NONE) (selected-delayed NONE)",
            "(personal (MessageNew (uid) MessageExpunge))",
            "(subtree-one x NONE)",
            "STATUS",
            "",
        ] {
            assert!(matches!(parsed(wrong), Err(Refusal::Bad(_))), "{wrong}");
        }
    }

    #[test]
    fn what_is_not_told_is_refused_when_the_rest_is_understood() {
        for unknown in ["AnnotationChange", "X-Frob"] {
            let text = format!("(personal (MessageNew MessageExpunge {unknown}))");
            let refusal = parsed(&text).expect_err("refused");
            assert!(matches!(&refusal, Refusal::No { code: Some(c), .. } if c == KNOWN), "{text}");
        }
        let off = Capabilities::without(&["metadata".into()]);
        let text = b"(personal (MailboxMetadataChange))";
        let refusal = Request::parse(&mut Cursor::new(text), &off).expect_err("refused");
        let known = KNOWN_WITHOUT_METADATA;
        assert!(matches!(refusal, Refusal::No { code: Some(code), .. } if code == known));
    }

    #[test]
    fn what_is_wanted_of_the_selected_mailbox_stands_apart() {
        let request = parsed(
            "STATUS (selected-delayed (MessageNew (uid modseq) messageexpunge flagchange)) \
             (inboxes (MessageNew MessageExpunge)) (subtree (a b) (MailboxName)) ",
        );
        let request = request.expect("understood");
        assert_eq!((request.status, request.shows_modseq), (Status::Asked, ShowsModSeq::Yes));
        let wishes = &request.interest.wishes;
        assert_eq!((wishes.scope, wishes.expunge), (Scope::Everything, Expunge::Held));
        assert_eq!(wishes.new.as_ref().map(|shown| shown.items.len()), Some(2));
        assert_eq!(request.interest.groups.len(), 2);
        let none = parsed("(selected NONE)").expect("understood").interest;
        assert_eq!(none, Interest::nothing());
    }
}
