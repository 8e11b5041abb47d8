//! FETCH and UID FETCH. Answers from the snapshot where it can, from stored facts in batches where
//! it must, and reads messages only for their bodies. RFC 3501 §6.4.5

use super::share::{Share, shares};
use super::{Call, resync};
use crate::imap::fetch::answer::Answer;
use crate::imap::fetch::body::gone;
use crate::imap::fetch::item::{Item, Request};
use crate::imap::fetch::modifiers::Modifiers;
use crate::imap::view::{Edit, Expunge, Message, Own, Selection, SequenceSet, Shown, updates_with};
use crate::imap::{Completion, Numbering, Refusal, Selected};
use crate::mail::flag::{FlagList, SeenMode, SystemFlags};
use crate::mail::id::Login;
use crate::mail::uid_set::UidSet;
use crate::store::change::{Change, FlagOperation};

/// So many messages are marked as read by one commit.
const SEEN_BATCH: usize = 50;

/// FETCH and UID FETCH.
pub async fn run(call: &mut Call<'_, '_>, selected: &mut Selected) -> Result<Completion, Refusal> {
    let set = SequenceSet::parse(&mut call.arguments)?;
    call.arguments.space()?;
    let start = call.arguments.clone();
    let mut request = Request::parse(&mut call.arguments)?;
    check_modifiers(call, &request)?;
    if request.capabilities().any(|capability| !call.context.capabilities.has(capability)) {
        return Err(start.expected("nothing of a capability that is switched off"));
    }
    if request.items.contains(&Item::ModSeq) {
        super::enable_condstore(call, selected);
    }
    if call.numbering == Numbering::Uid && !request.items.contains(&Item::Uid) {
        // RFC 3501 §6.4.8; in front, where all servers have it
        request.items.insert(0, Item::Uid);
    }
    let mut selection = selected.view.select(&set, call.numbering)?;
    if let Some(partial) = request.modifiers.partial {
        selection = selection.slice(partial.range(selection.len()));
    }
    if let Some(since) = request.modifiers.changed_since {
        if request.modifiers.vanished.is_some() {
            let uids = selected.view.named_uids(&set);
            resync::tell_vanished(call, &selected.view, (since, &uids)).await?;
        }
        selection = selected.view.changed_since(&selection, since);
    }
    let marks_seen = request.marks_seen() && may_mark_seen(selected);
    let batch = if marks_seen { SEEN_BATCH } else { selection.len() };
    let beyond = call.session.beyond();
    // what is gone from a virtual mailbox is not shown: it may be forbidden now
    let is_lost = selected.sources.is_some() && call.numbering == Numbering::Sequence;
    let mut failure = (is_lost && selected.view.has_lost(&selection)).then(gone);
    for piece in selection.pieces(batch) {
        let seen =
            if marks_seen { mark_seen(call, selected, &piece).await? } else { UidSet::new() };
        let ids = call.context.object_ids;
        let answer = Answer { request: &request, selected, beyond, ids, newly_seen: &seen };
        let store = &*call.context.store;
        answer.write_all((store, call.out), &piece, &mut failure).await?;
    }
    match failure {
        None => Ok(Completion::ok("Fetched")),
        Some(refusal) => Err(refusal),
    }
}

/// VANISHED and PARTIAL are for UID FETCH. RFC 7162 §3.2.6, RFC 9394 §3.3
fn check_modifiers(call: &Call<'_, '_>, request: &Request) -> Result<(), Refusal> {
    let Modifiers { vanished, partial, .. } = request.modifiers;
    if call.numbering != Numbering::Uid && (vanished.is_some() || partial.is_some()) {
        return Err(Refusal::Bad("VANISHED and PARTIAL are for UID FETCH only".into()));
    }
    if vanished.is_some() && !call.session.qresync {
        return Err(Refusal::Bad("VANISHED needs ENABLE QRESYNC before".into()));
    }
    if partial.is_some() && !call.context.capabilities.has("PARTIAL") {
        return Err(Refusal::Bad("PARTIAL is switched off".into()));
    }
    Ok(())
}

fn may_mark_seen(selected: &Selected) -> bool {
    selected.changeable().system.contains(SystemFlags::SEEN)
}

/// Sets \Seen on the messages of `piece` that have it not; answers which these were.
async fn mark_seen(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
    piece: &Selection,
) -> Result<UidSet, Refusal> {
    let unseen = |m: &Message<'_>| !m.flags.contains(SystemFlags::SEEN);
    let uids: UidSet = selected.view.messages(piece).filter(unseen).map(|m| m.entry.uid).collect();
    if uids.is_empty() {
        return Ok(uids);
    }
    let user = &call.session.user;
    let shares = shares(call, selected, &uids);
    let changes = shares.into_iter().filter(|share| share.rights.has('s'));
    let changes = changes.map(|share| seen_change(share, user)).collect();
    if call.commit(changes).await.is_err() {
        // reading goes on when the disk is full
        return Ok(UidSet::new());
    }
    let edit = Edit { set: SystemFlags::SEEN, ..Edit::default() };
    let numbering = call.numbering;
    let own = Own { uids: uids.clone(), edit, shown: Shown::Never, numbering };
    updates_with(call.context, selected, call.out, (Expunge::Held, Some(&own))).await?;
    Ok(uids)
}

fn seen_change(share: Share, user: &Login) -> Change {
    let (mailbox, uids) = (share.mailbox.id, share.uids);
    match share.seen {
        SeenMode::PerUser => {
            Change::SeenSet { mailbox, user: user.clone(), uids, seen: true, unchanged_since: None }
        }
        SeenMode::Shared => Change::FlagsSet {
            mailbox,
            uids,
            operation: FlagOperation::Add,
            flags: FlagList { system: SystemFlags::SEEN, keywords: Vec::new() },
            unchanged_since: None,
            viewer: None,
        },
    }
}
