//! SELECT and EXAMINE. What was selected before is gone when these are called; `* OK [CLOSED]` has
//! been sent.

use super::Call;
use crate::directory::Rights;
use crate::imap::names::resolve;
use crate::imap::view::{Claims, View};
use crate::imap::wire::utf7;
use crate::imap::{Completion, Refusal, Selected, flags};
use crate::mail::flag::SeenMode;

/// SELECT. RFC 3501 §6.3.1
pub async fn select(call: &mut Call<'_, '_>) -> Result<(Selected, Completion), Refusal> {
    open(call, Claims::Recent).await
}

/// EXAMINE. RFC 3501 §6.3.2
pub async fn examine(call: &mut Call<'_, '_>) -> Result<(Selected, Completion), Refusal> {
    open(call, Claims::Nothing).await
}

async fn open(call: &mut Call<'_, '_>, claims: Claims) -> Result<(Selected, Completion), Refusal> {
    let name = utf7::mailbox(&mut call.arguments)?;
    parameters(call)?;
    let found = resolve(call.context, call.session, &name).ok_or_else(Refusal::no_such_mailbox)?;
    let mailbox = found.mailbox.ok_or_else(Refusal::no_such_mailbox)?;
    if !found.rights.has('r') {
        return Err(Refusal::no_permission("You may see this mailbox, but not read it"));
    }
    call.tell_reading(&mailbox).await?;
    let user = &call.session.user;
    let mut view = View::open(call.context, mailbox.id, user, (found.seen, claims)).await?;
    if call.session.condstore {
        view.enable_condstore();
    }
    let examined = claims == Claims::Nothing;
    let selected = Selected { mailbox, rights: found.rights, seen: found.seen, examined, view };
    describe(call, &selected);
    let completion = match examined || is_read_only(found.rights, found.seen) {
        true => Completion::with_code("READ-ONLY".into(), "Mailbox opened, read-only"),
        false => Completion::with_code("READ-WRITE".into(), "Mailbox opened"),
    };
    Ok((selected, completion))
}

/// `(CONDSTORE)`. RFC 7162 §3.1.8
fn parameters(call: &mut Call<'_, '_>) -> Result<(), Refusal> {
    let cursor = &mut call.arguments;
    if cursor.rest().starts_with(b" (") {
        cursor.space()?;
        cursor.take(b'(');
        if !cursor.take_word("CONDSTORE") {
            return Err(cursor.expected("CONDSTORE"));
        }
        if !cursor.take(b')') {
            return Err(cursor.expected("a closing parenthesis"));
        }
        call.session.condstore = true;
    }
    cursor.end()
}

/// None of `i`, `e` and the rights to change flags that others see. RFC 4314 §5.2
pub(in crate::imap) fn is_read_only(rights: Rights, seen: SeenMode) -> bool {
    let letters: &[char] = match seen {
        SeenMode::PerUser => &['i', 'e', 'w', 't'],
        SeenMode::Shared => &['i', 'e', 'w', 't', 's'],
    };
    !letters.iter().any(|letter| rights.has(*letter))
}

fn describe(call: &mut Call<'_, '_>, selected: &Selected) {
    let (view, out) = (&selected.view, &mut *call.out);
    let state = view.told();
    flags::write_known(out.buffer(), &state.keywords);
    out.line(format_args!("* {} EXISTS", view.exists()));
    out.line(format_args!("* {} RECENT", view.recent()));
    if let Some(number) = view.first_unseen() {
        out.line(format_args!("* OK [UNSEEN {number}] First unread message"));
    }
    flags::write_permanent(out.buffer(), selected.changeable(), &state.keywords);
    out.line(format_args!("* OK [UIDVALIDITY {}] UIDs are valid", state.uid_validity.0));
    out.line(format_args!("* OK [UIDNEXT {}] Next UID", state.uid_next.0));
    out.line(format_args!("* OK [HIGHESTMODSEQ {}] Last change", state.highest_modseq.0));
}
