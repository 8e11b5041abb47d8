//! COPY, UID COPY, MOVE and UID MOVE. A move out of an inbox leaves an instance in the team's
//! Trash; one between its folders of work takes the conversation along.
//!
//! A message is in one of the folders that tell its state: COPY from one of them (or from Junk or
//! Trash) to another is a move. The copy is there and the original is not; a program that has no
//! MOVE marks and expunges it next, finds nothing left to do, and all ends as a MOVE would have,
//! with one instance and none in the Trash. The inbox's Sent and the team's own folders keep
//! theirs.

use super::expunge::{self, Removal};
use super::share::{Share, shares};
use super::undelete::{self, Undeletion};
use super::{Call, states};
use crate::conversation::{self, State};
use crate::imap::fetch::body::gone;
use crate::imap::flags::{self, Changeable};
use crate::imap::names::{Resolved, resolve};
use crate::imap::view::SequenceSet;
use crate::imap::wire::utf7;
use crate::imap::{Completion, Refusal, Selected, quota, virtual_mailbox};
use crate::mail::flag::FlagList;
use crate::mail::id::{MailboxId, Uid};
use crate::mail::uid_set::UidSet;
use crate::store::Usage;
use crate::store::change::{Change, FlagOperation, Outcome};
use crate::store::mirror::Refresh;

/// COPY and UID COPY. RFC 3501 §6.4.7
pub async fn copy(call: &mut Call<'_, '_>, selected: &mut Selected) -> Result<Completion, Refusal> {
    let request = Request::parse(call, selected)?;
    if request.shares.is_empty() {
        return Ok(Completion::ok("No messages to copy"));
    }
    let is_move = |share: &Share| states::copy_is_move(share, &request.target);
    let moves = |share: &Share| is_move(share) && share.may_be_left();
    if request.shares.iter().all(moves)
        && let Undeletion::Done(code) = request.undeleted(call).await?
    {
        let text = "Restored to where it was";
        return Ok(code.map_or(Completion::ok(text), |code| Completion::with_code(code, text)));
    }
    let mut plan = Plan::default();
    for share in &request.shares {
        let without_flags = request.without_flags(call, share).await?;
        plan.add(request.copied(call, share).await?, without_flags);
    }
    if request.shares.iter().any(|share| states::copy_is_move(share, &request.target)) {
        plan.changes.extend(request.renewal(selected));
    }
    let code = request.commit(call, plan).await?;
    Ok(Completion::with_code(code, "Copied"))
}

/// MOVE and UID MOVE. RFC 6851
pub async fn r#move(
    call: &mut Call<'_, '_>,
    selected: &mut Selected,
) -> Result<Completion, Refusal> {
    let request = Request::parse(call, selected)?;
    expunge::check(selected)?;
    if !selected.rights.has('t') {
        return Err(Refusal::no_permission("You may not delete messages here"));
    }
    if request.shares.is_empty() {
        return Ok(Completion::ok("No messages to move"));
    }
    if !request.shares.iter().all(Share::may_be_left) {
        return Err(Refusal::no_permission("You may not move some of these messages away"));
    }
    if let Undeletion::Done(code) = request.undeleted(call).await? {
        if let Some(code) = code {
            call.out.line(format_args!("* OK [{code}] Moved"));
        }
        return expunge::told(call, selected, "Restored to where it was").await;
    }
    let mut plan = Plan::default();
    for share in &request.shares {
        let without_flags = request.without_flags(call, share).await?;
        plan.add(request.moved(call, share).await?, without_flags);
    }
    plan.changes.extend(request.renewal(selected));
    let code = request.commit(call, plan).await?;
    // RFC 6851 §4.3: in front of the EXPUNGE responses, which follow before the tagged answer
    call.out.line(format_args!("* OK [{code}] Moved"));
    expunge::told(call, selected, "Moved").await
}

/// Nothing can be put into a virtual mailbox.
pub(super) fn check_is_real(target: &Resolved) -> Result<(), Refusal> {
    match target.mailbox.as_ref().and_then(|mailbox| mailbox.virtual_role()) {
        Some(_) => Err(Refusal::no("CANNOT", "This mailbox only shows what lies in others")),
        None => Ok(()),
    }
}

/// What goes where.
struct Request {
    /// By the selected mailbox's UIDs.
    uids: UidSet,
    shares: Vec<Share>,
    target: Resolved,
    to: MailboxId,
    /// Whether nothing may be taken away: the mailbox was opened with EXAMINE.
    examined: bool,
}

/// All changes of one command.
#[derive(Default)]
struct Plan {
    changes: Vec<Change>,
    /// The places of those that make the new instances of what is named, and for which share.
    named: Vec<(usize, usize)>,
    shares: usize,
}

impl Plan {
    /// Adds the changes for the next share, of which the first that makes new instances does so for
    /// those that are named, perhaps without some of their flags.
    fn add(&mut self, mut changes: Vec<Change>, without_flags: Option<Change>) {
        let is_transfer = |c: &Change| matches!(c, Change::Copied(_) | Change::Moved(_));
        let at = changes.iter().position(is_transfer);
        if let Some((at, without_flags)) = at.zip(without_flags) {
            changes.insert(at + 1, without_flags);
        }
        self.named.extend(at.map(|at| (self.changes.len() + at, self.shares)));
        self.shares += 1;
        self.changes.extend(changes);
    }
}

impl Request {
    fn parse(call: &mut Call<'_, '_>, selected: &Selected) -> Result<Request, Refusal> {
        let set = SequenceSet::parse(&mut call.arguments)?;
        call.arguments.space()?;
        let name = utf7::mailbox(&mut call.arguments)?;
        call.arguments.end()?;
        let selection = selected.view.select(&set, call.numbering)?;
        let target = resolve(call.context, call.session, &name).ok_or_else(Refusal::try_create)?;
        let to = target.mailbox.as_ref().map(|mailbox| mailbox.id);
        let to = to.ok_or_else(Refusal::try_create)?;
        check_is_real(&target)?;
        if !target.rights.has('i') {
            return Err(Refusal::no_permission("You may not add messages to that mailbox"));
        }
        let uids = selected.view.uids(&selection);
        let shares = shares(call, selected, &uids);
        if shares.is_empty() && !uids.is_empty() {
            return Err(gone());
        }
        Ok(Request { uids, shares, target, to, examined: selected.examined })
    }

    /// What has been moved out of a virtual mailbox is gone for the client, and new where it is
    /// still to be shown.
    fn renewal(&self, selected: &Selected) -> Option<Change> {
        let sources = selected.sources.clone()?;
        let refresh = virtual_mailbox::refresh(&selected.mailbox, selected.view.user(), sources);
        Some(Change::Refreshed(Box::new(Refresh { renewed: self.uids.clone(), ..refresh })))
    }

    /// What is dragged out of a Trash. One command has one of these at most.
    async fn undeleted(&self, call: &Call<'_, '_>) -> Result<Undeletion, Refusal> {
        match (&self.shares[..], &self.target.mailbox) {
            ([share], Some(to)) => undelete::run(call, share, to).await,
            _ => Ok(Undeletion::None),
        }
    }

    async fn copied(&self, call: &Call<'_, '_>, share: &Share) -> Result<Vec<Change>, Refusal> {
        if !states::copy_is_move(share, &self.target) {
            return self.added(call, share).await;
        }
        if self.examined {
            let why = "COPY between these folders moves, and the mailbox was opened with EXAMINE";
            return Err(Refusal::no("READ-ONLY", why));
        }
        if !share.may_be_left() {
            return Err(Refusal::no_permission("You may not move conversations here"));
        }
        self.moved_within(call, share).await
    }

    /// New instances, and what follows from where they are.
    async fn added(&self, call: &Call<'_, '_>, share: &Share) -> Result<Vec<Change>, Refusal> {
        let present = call.context.store.snapshot(share.mailbox.id).await?;
        let adding = present.entries_in(&share.uids).fold(Usage::default(), |all, entry| Usage {
            messages: all.messages + 1,
            bytes: all.bytes + u64::from(entry.size_bytes),
        });
        let room = (adding, Usage::default());
        quota::check_room(call.context, call.session, &self.target.account, room)?;
        let mut changes = vec![Change::Copied(share.transfer(call, (self.to, self.target.seen)))];
        changes.extend(states::arrivals(call, share, &self.target).await?);
        Ok(changes)
    }

    /// Within an account messages just move, which restores them from its Trash too. To another
    /// account they are copied, and a team keeps its instance in its Trash.
    async fn moved(&self, call: &Call<'_, '_>, share: &Share) -> Result<Vec<Change>, Refusal> {
        if self.target.account == share.mailbox.account {
            return self.moved_within(call, share).await;
        }
        let mut changes = self.added(call, share).await?;
        let removal = Removal::of(call.context, share);
        match removal {
            Removal::Final if share.is_team() => (),
            Removal::Final | Removal::IntoTrash(_) => changes.extend(removal.changes(call, share)?),
            // out of the team's Trash: the instance stays there until its retention ends
            Removal::NotAllowed => (),
            Removal::TrashMissing => return Err(expunge::trash_missing()),
        }
        Ok(changes)
    }

    /// Between the folders of an inbox that say who has a conversation, the rest of it comes along.
    async fn moved_within(
        &self,
        call: &Call<'_, '_>,
        share: &Share,
    ) -> Result<Vec<Change>, Refusal> {
        let account = &share.mailbox.account;
        let to = self.target.mailbox.as_ref().and_then(|to| State::of(account, &to.folder));
        match to {
            Some(state) => states::within(call, share, (state, self.to)).await,
            None => Ok(vec![Change::Moved(share.transfer(call, (self.to, self.target.seen)))]),
        }
    }

    /// Carries the changes out; answers COPYUID. RFC 4315 §3
    async fn commit(&self, call: &Call<'_, '_>, plan: Plan) -> Result<String, Refusal> {
        let receipt = states::committed(call, plan.changes).await.map_err(|error| match error {
            // the target was deleted meanwhile
            crate::store::StoreError::Gone => Refusal::try_create(),
            other => other.into(),
        })?;
        let mut made = None;
        let mut pairs: Vec<(Uid, Uid)> = Vec::new();
        for (at, share) in plan.named {
            if let Some(Outcome::Copied { uid_validity, pairs: some }) = receipt.outcomes.get(at) {
                made = Some(uid_validity);
                let share = &self.shares[share];
                pairs.extend(some.iter().filter_map(|(old, new)| Some((share.own(*old)?, *new))));
            }
        }
        let uid_validity = made.filter(|_| !pairs.is_empty()).ok_or_else(gone)?;
        pairs.sort_unstable();
        let old: UidSet = pairs.iter().map(|(old, _)| *old).collect();
        let new = in_order(pairs.iter().map(|(_, new)| *new));
        Ok(format!("COPYUID {} {old} {new}", uid_validity.0))
    }

    /// Takes away the flags which the user may not set in the target. RFC 4314 §4
    async fn without_flags(
        &self,
        call: &Call<'_, '_>,
        share: &Share,
    ) -> Result<Option<Change>, Refusal> {
        let changeable = Changeable::by(self.target.rights);
        if changeable.system == flags::ALL && changeable.keywords {
            return Ok(None);
        }
        let source = call.context.store.snapshot(share.mailbox.id).await?;
        // who has a conversation follows from the folder, and what is a note from its way in
        let names = source.keywords.iter().filter(|name| !conversation::is_ours(name));
        let names = names.map(|name| name.to_string());
        let keywords = if changeable.keywords { Vec::new() } else { names.collect() };
        let flags = FlagList { system: flags::ALL & !changeable.system, keywords };
        let (mailbox, operation) = (self.to, FlagOperation::Remove);
        Ok(Some(Change::ArrivalsFlagged { mailbox, operation, flags, seen_by: None }))
    }
}

/// UIDs as a set that keeps their order: the nth of COPYUID's second set is for the nth of its
/// first. RFC 4315 §3
fn in_order(uids: impl Iterator<Item = Uid>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for Uid(uid) in uids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(uid) => *last = uid,
            _ => runs.push((uid, uid)),
        }
    }
    let run = |(first, last): &(u32, u32)| match first == last {
        true => first.to_string(),
        false => format!("{first}:{last}"),
    };
    runs.iter().map(run).collect::<Vec<_>>().join(",")
}
