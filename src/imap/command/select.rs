//! SELECT and EXAMINE. What was selected before is gone when these are called; `* OK [CLOSED]` has
//! been sent.

use super::resync::{self, Known};
use super::{Call, list};
use crate::directory::Rights;
use crate::imap::names::name_of;
use crate::imap::view::{Claims, View};
use crate::imap::wire::utf7;
use crate::imap::{Completion, Refusal, Selected, flags, virtual_mailbox};
use crate::mail::flag::SeenMode;
use crate::store::Mailbox;

/// SELECT. RFC 3501 §6.3.1
pub async fn select(call: &mut Call<'_, '_>) -> Result<(Selected, Completion), Refusal> {
    open(call, Opened::ReadWrite).await
}

/// EXAMINE. RFC 3501 §6.3.2
pub async fn examine(call: &mut Call<'_, '_>) -> Result<(Selected, Completion), Refusal> {
    open(call, Opened::ReadOnly).await
}

/// How a mailbox is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Opened {
    ReadWrite,
    ReadOnly,
}

async fn open(call: &mut Call<'_, '_>, opened: Opened) -> Result<(Selected, Completion), Refusal> {
    let given = utf7::given(&mut call.arguments.clone())?;
    let name = utf7::mailbox(&mut call.arguments)?;
    let known = parameters(call)?;
    call.context.store.reachable()?;
    let (found, mailbox) = call.readable(&name)?;
    let claims = match (call.session.rev2, opened) {
        (true, _) => Claims::Unknown,
        (false, Opened::ReadWrite) => Claims::Recent,
        (false, Opened::ReadOnly) => Claims::Nothing,
    };
    call.tell_reading(&mailbox).await?;
    let sources = virtual_mailbox::sources(call.context, call.session, &mailbox);
    virtual_mailbox::freshen(call.context, call.session, &mailbox).await?;
    let user = &call.session.user;
    let mut view = View::open(call.context, mailbox.id, user, (found.seen, claims)).await?;
    view.set_condstore(call.session.condstore());
    let examined = opened == Opened::ReadOnly;
    let (rights, seen) = (found.rights, found.seen);
    let mut selected = Selected { mailbox, rights, seen, sources, examined, view };
    selected.heed(call.session);
    describe(call, &selected);
    if call.session.rev2 {
        tell_name(call, &selected.mailbox, &given);
    }
    if let Some(known) = known {
        resync::tell(call, &selected.view, &known).await?;
    }
    let completion = match examined || is_read_only(found.rights, found.seen) {
        true => Completion::with_code("READ-ONLY".into(), "Mailbox opened, read-only"),
        false => Completion::with_code("READ-WRITE".into(), "Mailbox opened"),
    };
    Ok((selected, completion))
}

/// `(CONDSTORE)`, `(QRESYNC (…))`; all of them are read before anything is opened.
/// RFC 7162 §3.1.8, §3.2.5
fn parameters(call: &mut Call<'_, '_>) -> Result<Option<Known>, Refusal> {
    let mut known = None;
    if call.arguments.rest().starts_with(b" (") {
        call.arguments.space()?;
        call.arguments.take(b'(');
        loop {
            let start = call.arguments.clone();
            match call.arguments.atom()?.to_ascii_uppercase().as_str() {
                "CONDSTORE" if call.context.capabilities.has("CONDSTORE") => {
                    call.session.condstore = true;
                }
                "QRESYNC" if call.session.qresync => {
                    call.arguments.space()?;
                    known = Some(resync::known(&mut call.arguments)?);
                }
                "QRESYNC" => return Err(start.expected("ENABLE QRESYNC before QRESYNC")),
                _ => return Err(start.expected("CONDSTORE or QRESYNC")),
            }
            if call.arguments.take(b')') {
                break;
            }
            call.arguments.space()?;
        }
    }
    call.arguments.end()?;
    Ok(known)
}

/// None of `i`, `e` and the rights to change flags that others see. RFC 4314 §5.2
pub(in crate::imap) fn is_read_only(rights: Rights, seen: SeenMode) -> bool {
    let letters: &[char] = match seen {
        SeenMode::PerUser => &['i', 'e', 'w', 't'],
        SeenMode::Shared => &['i', 'e', 'w', 't', 's'],
    };
    !letters.iter().any(|letter| rights.has(*letter))
}

/// The mailbox as LIST has it, with the name that was given if it is another. RFC 9051 §6.3.2
fn tell_name(call: &mut Call<'_, '_>, mailbox: &Mailbox, given: &str) {
    let attributes = match super::delete::has_children(call, &mailbox.account, &mailbox.folder) {
        true => "\\HasChildren",
        false => "\\HasNoChildren",
    };
    let name = name_of(call.context, call.session, &mailbox.account, &mailbox.folder);
    let name = name.unwrap_or_else(|| given.to_owned());
    list::write_named(call.session, (attributes, &name), Some(given), call.out);
}

fn describe(call: &mut Call<'_, '_>, selected: &Selected) {
    let (view, out) = (&selected.view, &mut *call.out);
    let state = view.told();
    flags::write_known(out.buffer(), &state.keywords);
    out.line(format_args!("* {} EXISTS", view.exists()));
    if !call.session.rev2 {
        out.line(format_args!("* {} RECENT", view.recent()));
        if let Some(number) = view.first_unseen() {
            out.line(format_args!("* OK [UNSEEN {number}] First unread message"));
        }
    }
    flags::write_permanent(out.buffer(), selected.changeable(), &state.keywords);
    out.line(format_args!("* OK [UIDVALIDITY {}] UIDs are valid", state.uid_validity.0));
    out.line(format_args!("* OK [UIDNEXT {}] Next UID", state.uid_next.0));
    if call.context.capabilities.has("CONDSTORE") {
        out.line(format_args!("* OK [HIGHESTMODSEQ {}] Last change", state.highest_modseq.0));
    }
    if call.context.capabilities.has("OBJECTID") {
        let id = call.context.object_ids.mailbox(selected.mailbox.id);
        out.line(format_args!("* OK [MAILBOXID ({id})] Identifier"));
    }
}
