//! STATUS: counts of a mailbox without selecting it; also for LIST … RETURN (STATUS …).
//! RFC 3501 §6.3.10, RFC 5819

use std::fmt::Write;

use super::Call;
use crate::imap::wire::lex::Cursor;
use crate::imap::wire::utf7;
use crate::imap::{Completion, Context, Refusal, virtual_mailbox};
use crate::mail::id::MailboxId;
use crate::store::Status;

/// One count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Item {
    /// MESSAGES
    Messages,
    /// RECENT
    Recent,
    /// UIDNEXT
    UidNext,
    /// UIDVALIDITY
    UidValidity,
    /// UNSEEN
    Unseen,
    /// DELETED. RFC 9051 §6.3.11
    Deleted,
    /// SIZE. RFC 8438 §1
    Size,
    /// HIGHESTMODSEQ. RFC 7162 §3.1.7
    HighestModSeq,
    /// MAILBOXID. RFC 8474 §4.3
    MailboxId,
    /// APPENDLIMIT. RFC 7889 §3.1
    AppendLimit,
    /// DELETED-STORAGE. RFC 9208 §4.1.4
    DeletedStorage,
}

/// Each item with its name and the capability that it belongs to.
const ITEMS: [(Item, &str, Option<&str>); 11] = [
    (Item::Messages, "MESSAGES", None),
    (Item::Recent, "RECENT", None),
    (Item::UidNext, "UIDNEXT", None),
    (Item::UidValidity, "UIDVALIDITY", None),
    (Item::Unseen, "UNSEEN", None),
    (Item::Deleted, "DELETED", None),
    (Item::Size, "SIZE", Some("STATUS=SIZE")),
    (Item::HighestModSeq, "HIGHESTMODSEQ", Some("CONDSTORE")),
    (Item::MailboxId, "MAILBOXID", Some("OBJECTID")),
    (Item::AppendLimit, "APPENDLIMIT", Some("APPENDLIMIT")),
    (Item::DeletedStorage, "DELETED-STORAGE", Some("QUOTA=RES-STORAGE")),
];

/// STATUS. Needs `r`. RFC 4314 §4
pub async fn run(call: &mut Call<'_, '_>) -> Result<Completion, Refusal> {
    let name = utf7::mailbox(&mut call.arguments)?;
    call.arguments.space()?;
    let items = items(call.context, &mut call.arguments)?;
    call.arguments.end()?;
    call.context.store.reachable()?;
    let (found, mailbox) = call.find(&name)?;
    if !found.rights.has('r') {
        return Err(Refusal::no_permission("You may not read this mailbox"));
    }
    note_condstore(call, &items);
    virtual_mailbox::freshen(call.context, call.session, &mailbox).await?;
    let status = call.context.store.status(mailbox.id, &call.session.user, found.seen).await?;
    let counts = written(call.context, &items, (mailbox.id, &status));
    call.out.line(format_args!("* STATUS {} ({counts})", call.session.spelled(&name)));
    Ok(Completion::ok("Status told"))
}

/// Asking for HIGHESTMODSEQ enables CONDSTORE. RFC 7162 §3.1
pub(super) fn note_condstore(call: &mut Call<'_, '_>, items: &[Item]) {
    call.session.condstore |= items.contains(&Item::HighestModSeq);
}

/// `"(" status-att *(SP status-att) ")"`
pub(super) fn items(context: &Context, arguments: &mut Cursor<'_>) -> Result<Vec<Item>, Refusal> {
    if !arguments.take(b'(') {
        return Err(arguments.expected("a list of status items"));
    }
    let mut items = Vec::new();
    loop {
        let start = arguments.clone();
        let name = arguments.atom()?;
        let known = ITEMS.iter().find(|item| item.1.eq_ignore_ascii_case(name));
        let known = known.filter(|item| item.2.is_none_or(|c| context.capabilities.has(c)));
        let item = known.ok_or_else(|| start.expected("a status item"))?.0;
        if !items.contains(&item) {
            items.push(item);
        }
        if arguments.take(b')') {
            return Ok(items);
        }
        arguments.space()?;
    }
}

/// The counts as they stand in the response's parentheses.
pub(in crate::imap) fn written(
    context: &Context,
    items: &[Item],
    (id, status): (MailboxId, &Status),
) -> String {
    let mut counts = String::with_capacity(128);
    for (item, name, _) in ITEMS.iter().filter(|row| items.contains(&row.0)) {
        let separator = if counts.is_empty() { "" } else { " " };
        let count = match item {
            Item::MailboxId => {
                let id = context.object_ids.mailbox(id);
                // cannot fail: writing to memory
                let _ = write!(counts, "{separator}{name} ({id})");
                continue;
            }
            Item::Messages => u64::from(status.messages),
            Item::Recent => u64::from(status.recent),
            Item::UidNext => u64::from(status.uid_next.0),
            Item::UidValidity => u64::from(status.uid_validity.0),
            Item::Unseen => u64::from(status.unseen),
            Item::Deleted => u64::from(status.deleted),
            Item::Size => status.size_bytes,
            Item::DeletedStorage => status.deleted_bytes,
            Item::HighestModSeq => status.highest_modseq.0,
            Item::AppendLimit => context.message_bytes_max,
        };
        let _ = write!(counts, "{separator}{name} {count}");
    }
    counts
}
