//! APPEND, in two halves: what stands before a message decides whether it is invited; when all are
//! here they are stored together or not at all. RFC 3501 §6.3.11, RFC 3502

use super::append_data::{Reader, Settings, Word};
use super::copy::check_is_real;
use super::{Call, append_sent};
use crate::conversation::{Scope, moving, thread};
use crate::directory::rights;
use crate::imap::fetch::body::gone;
use crate::imap::flags::Changeable;
use crate::imap::names::{Resolved, resolve};
use crate::imap::wire::framing::Announced;
use crate::imap::wire::utf7;
use crate::imap::{Completion, Refusal, quota};
use crate::mail::flag::{SeenMode, SystemFlags};
use crate::mail::fold;
use crate::mail::id::MailboxId;
use crate::mail::uid_set::UidSet;
use crate::store::change::{Change, Delivered, NewMessage, Outcome};
use crate::store::{StoreError, Usage};

/// An APPEND or REPLACE whose messages are awaited.
pub struct Pending {
    pub(super) target: Resolved,
    pub(super) to: MailboxId,
    /// What a REPLACE removes.
    pub(super) replaced: UidSet,
    /// How much room that makes.
    pub(super) freed: Usage,
}

/// A message that is here.
pub struct Arrived {
    /// What stood in front of it.
    pub settings: Settings,
    /// What it is.
    pub message: NewMessage,
}

/// Mailbox, and what follows up to the first literal, if there is one. RFC 3501 §6.3.11
pub async fn begin(
    call: &mut Call<'_, '_>,
    (reader, announced): (&mut Reader<'_>, Option<Announced>),
) -> Result<(Pending, Vec<Word>), Refusal> {
    let name = utf7::mailbox(&mut call.arguments)?;
    call.arguments.space()?;
    let words = reader.read(&mut call.arguments, announced)?;
    let pending = target(call, &name)?;
    // RFC 9051 §6.3.12
    if fold::composed(&name).is_some() {
        call.tell_other_name(&name, (&pending.target.account, &pending.target.folder));
    }
    Ok((pending, words))
}

/// The mailbox that messages go to, if the user may add some there.
pub(super) fn target(call: &Call<'_, '_>, name: &str) -> Result<Pending, Refusal> {
    let target = resolve(call.context, call.session, name).ok_or_else(Refusal::try_create)?;
    let to = target.mailbox.as_ref().map(|m| m.id).ok_or_else(Refusal::try_create)?;
    check_is_real(&target)?;
    if !target.rights.has('i') {
        return Err(no_insert());
    }
    Ok(Pending { target, to, replaced: UidSet::new(), freed: Usage::default() })
}

fn no_insert() -> Refusal {
    Refusal::no_permission("You may not add messages to that mailbox")
}

/// Stores the messages; they have arrived whole. `call.arguments` is empty. What is new is
/// announced with the other updates, in front of the tagged answer.
pub async fn finish(
    call: &mut Call<'_, '_>,
    pending: Pending,
    mut arrived: Vec<Arrived>,
) -> Result<Completion, Refusal> {
    check(call, &pending, &arrived)?;
    // a mail program files one copy at a time
    if let [one] = arrived.as_slice()
        && let Some(filed) =
            append_sent::filed(call, (&pending, &one.settings), &one.message).await?
    {
        return Ok(filed);
    }
    let mut changes = Vec::with_capacity(arrived.len());
    for one in arrived.drain(..) {
        changes.push(delivery(call, &pending, one).await?);
    }
    Ok(match stored(call, changes).await? {
        Some(code) => Completion::with_code(code, "Appended"),
        None => Completion::ok("Appended"),
    })
}

/// Rights may have changed while the messages came in.
pub(super) fn check(
    call: &Call<'_, '_>,
    pending: &Pending,
    arrived: &[Arrived],
) -> Result<(), Refusal> {
    // RFC 3502 §6.3.11
    if arrived.iter().any(|one| one.message.bytes.is_empty()) {
        return Err(Refusal::no("CANNOT", "A message of no bytes is not stored"));
    }
    let now = rights(&call.session.directory, &call.session.user, &pending.target.account);
    match (now.has('l'), now.has('i')) {
        (false, _) => return Err(Refusal::try_create()),
        (true, false) => return Err(no_insert()),
        (true, true) => {}
    }
    let bytes = arrived.iter().map(|one| one.message.bytes.len()).sum();
    check_room(call, pending, Usage { messages: arrived.len() as u64, bytes })
}

/// What a REPLACE removes in the same account makes room. RFC 8508 §3.4
pub fn check_room(call: &Call<'_, '_>, pending: &Pending, adding: Usage) -> Result<(), Refusal> {
    let room = (adding, pending.freed);
    quota::check_room(call.context, call.session, &pending.target.account, room)
}

/// The change that stores one message.
pub(super) async fn delivery(
    call: &Call<'_, '_>,
    pending: &Pending,
    arrived: Arrived,
) -> Result<Change, Refusal> {
    let Arrived { settings, message } = arrived;
    let user = &call.session.user;
    let now = rights(&call.session.directory, user, &pending.target.account);
    let mut flags = Changeable::by(now).among(&settings.flags);
    let (account, folder) = (&pending.target.account, &pending.target.folder);
    flags.keywords = moving::appended(account, folder, flags.keywords);
    let mut seen_by = Vec::new();
    if pending.target.seen == SeenMode::PerUser {
        seen_by.extend(flags.system.contains(SystemFlags::SEEN).then(|| user.clone()));
        flags.system = flags.system & !SystemFlags::SEEN;
    }
    let store = &call.context.store;
    let scope = Scope { store: &**store, directory: &call.session.directory, account };
    let thread = thread::id(&scope, &message.parsed.envelope).await?;
    Ok(Change::Delivered(Box::new(Delivered {
        mailbox: pending.to,
        message,
        trace: Vec::new(),
        flags,
        seen_by,
        internal_date: settings.internal_date.unwrap_or_else(|| store.now()),
        thread,
        duplicate_key: None,
    })))
}

/// Commits changes of which the first ones store messages; answers their APPENDUID. RFC 4315 §3
pub(super) async fn stored(
    call: &Call<'_, '_>,
    changes: Vec<Change>,
) -> Result<Option<String>, Refusal> {
    let receipt = call.committed(changes).await;
    let receipt = receipt.map_err(|error| match error {
        // the mailbox was deleted while the message came in
        StoreError::Gone => Refusal::try_create(),
        // what was to be replaced is gone
        StoreError::Outrun => gone(),
        other => other.into(),
    })?;
    let (mut epoch, mut uids) = (None, UidSet::new());
    for outcome in receipt.outcomes {
        if let Outcome::Stored { uid, uid_validity } = outcome {
            epoch = Some(uid_validity);
            uids.insert(uid);
        }
    }
    Ok(epoch.map(|epoch| format!("APPENDUID {} {uids}", epoch.0)))
}
