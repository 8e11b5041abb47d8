//! STORE and UID STORE. What the user may not change stays as it is, and the untagged answer says
//! so: a tagged NO is for mailboxes where they may change nothing. RFC 3501 §6.4.6, RFC 4314 §4

use std::sync::Arc;

use super::Call;
use super::assign::{self, Wish};
use super::share::{Share, shares};
use super::states;
use crate::conversation::is_ours;
use crate::imap::fetch::body::gone;
use crate::imap::flags::{self, Changeable};
use crate::imap::view::{
    ClearKeywords, Edit, Expunge, Own, Selection, SequenceSet, Shown, updates_with,
};
use crate::imap::wire::lex::Cursor;
use crate::imap::{Completion, Numbering, Refusal, Selected};
use crate::mail::flag::{FlagList, SeenMode, SystemFlags};
use crate::mail::id::{Login, ModSeq};
use crate::mail::uid_set::UidSet;
use crate::store::change::{Change, FlagOperation, Outcome};

/// STORE and UID STORE.
pub async fn run(call: &mut Call<'_, '_>, selected: &mut Selected) -> Result<Completion, Refusal> {
    let arguments = Arguments::parse(&mut call.arguments)?;
    if arguments.unchanged_since.is_some() {
        if !call.context.capabilities.has("CONDSTORE") {
            return Err(Refusal::Bad("UNCHANGEDSINCE is switched off".into()));
        }
        super::enable_condstore(call, selected);
    }
    let selection = selected.view.select(&arguments.set, call.numbering)?;
    let changeable = selected.changeable();
    if selected.examined {
        return Err(Refusal::no("READ-ONLY", "The mailbox was opened with EXAMINE"));
    }
    if changeable.is_nothing() {
        return Err(Refusal::no_permission("You may not change flags here"));
    }
    let uids = selected.view.uids(&selection);
    let changed = changed_since(selected, &selection, arguments.unchanged_since);
    let mut plan = Plan { refused: changed.clone(), ..Plan::default() };
    for share in shares(call, selected, &without(&uids, &changed)) {
        plan.add(call, share, &arguments).await?;
    }
    let done = plan.commit(call).await?;
    let modified = selected.view.named(&done.refused, call.numbering);
    let own = Own {
        uids: without(&uids, &done.refused),
        edit: arguments.edit(changeable),
        shown: arguments.shown,
        numbering: call.numbering,
    };
    updates_with(call.context, selected, call.out, (Expunge::Held, Some(&own))).await?;
    if !modified.is_empty() {
        let code = format!("MODIFIED {modified}");
        return Ok(Completion::with_code(code, "Conditional STORE failed"));
    }
    Ok(completion(selected, &selection, (call.numbering, done.assigned)))
}

/// The messages of a virtual mailbox that UNCHANGEDSINCE refuses: nobody else counts as it does. Of
/// others, the store finds out.
fn changed_since(selected: &Selected, selection: &Selection, since: Option<ModSeq>) -> UidSet {
    match since {
        Some(since) if selected.sources.is_some() => {
            let changed = selected.view.messages(selection).filter(|m| m.modseq > since);
            changed.map(|m| m.entry.uid).collect()
        }
        _ => UidSet::new(),
    }
}

/// A number of a message that is gone is a reason for NOOP. RFC 5530 §3
fn completion(
    selected: &Selected,
    selection: &Selection,
    (numbering, assigned): (Numbering, usize),
) -> Completion {
    let text = match assigned {
        0 => "Stored, but for messages that another session has expunged",
        _ => "Stored, and the conversations have gone to the folder that says who has them",
    };
    if numbering == Numbering::Sequence && selected.view.has_lost(selection) {
        return Completion::with_code("EXPUNGEISSUED".into(), text);
    }
    Completion::ok(if assigned == 0 { "Stored" } else { text })
}

/// What STORE asks for.
struct Arguments {
    set: SequenceSet,
    unchanged_since: Option<ModSeq>,
    operation: Operation,
    shown: Shown,
    flags: FlagList,
}

/// How flags are combined. RFC 3501 §6.4.6
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    /// FLAGS
    Replace,
    /// +FLAGS
    Add,
    /// -FLAGS
    Remove,
}

impl Arguments {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Arguments, Refusal> {
        let set = SequenceSet::parse(cursor)?;
        cursor.space()?;
        let unchanged_since = unchanged_since(cursor)?;
        let operation = if cursor.take(b'+') {
            Operation::Add
        } else if cursor.take(b'-') {
            Operation::Remove
        } else {
            Operation::Replace
        };
        if !cursor.take_word("FLAGS") {
            return Err(cursor.expected("FLAGS, +FLAGS or -FLAGS"));
        }
        let shown = if cursor.take_word(".SILENT") { Shown::Silent } else { Shown::Always };
        cursor.space()?;
        let flags = flags::list_or_bare(cursor)?;
        cursor.end()?;
        Ok(Arguments { set, unchanged_since, operation, shown, flags })
    }

    /// What the client expects to happen.
    fn edit(&self, changeable: Changeable) -> Edit {
        let FlagList { system, keywords } = changeable.among(&self.flags);
        match self.operation {
            Operation::Add => Edit { set: system, set_keywords: keywords, ..Edit::default() },
            Operation::Remove => {
                let clear_keywords = ClearKeywords::These(keywords);
                Edit { clear: system, clear_keywords, ..Edit::default() }
            }
            Operation::Replace => {
                let all = changeable.keywords;
                let clear_keywords = if all { ClearKeywords::Others } else { ClearKeywords::None };
                let clear = changeable.system & !system;
                Edit { set: system, clear, set_keywords: keywords, clear_keywords }
            }
        }
    }
}

/// `(UNCHANGEDSINCE n) `. RFC 7162 §3.1.3
fn unchanged_since(cursor: &mut Cursor<'_>) -> Result<Option<ModSeq>, Refusal> {
    if !cursor.take(b'(') {
        return Ok(None);
    }
    if !cursor.take_word("UNCHANGEDSINCE") {
        return Err(cursor.expected("UNCHANGEDSINCE"));
    }
    cursor.space()?;
    let since = cursor.number64()?;
    if !cursor.take(b')') {
        return Err(cursor.expected("a closing parenthesis"));
    }
    cursor.space()?;
    Ok(Some(ModSeq(since)))
}

/// All changes of one STORE.
#[derive(Default)]
struct Plan {
    changes: Vec<Change>,
    /// By change, whose messages it is about.
    shares: Vec<Share>,
    /// What is refused from the start.
    refused: UidSet,
    /// The places of those that bring conversations to who is to have them.
    assigning: Vec<usize>,
    /// Whether somebody is to have conversations.
    wishes: usize,
}

/// What became of a STORE.
struct Done {
    /// Which messages UNCHANGEDSINCE refused.
    refused: UidSet,
    /// How many messages have gone to who is to have them.
    assigned: usize,
}

impl Plan {
    async fn add(
        &mut self,
        call: &Call<'_, '_>,
        share: Share,
        arguments: &Arguments,
    ) -> Result<(), Refusal> {
        let changeable = Changeable::by(share.rights);
        let mut flags = changeable.among(&arguments.flags);
        let wish = assign::wish(&share, arguments.operation, &mut flags)?;
        if wish != Wish::Nothing && arguments.unchanged_since.is_some() {
            // who comes second finds the message gone: that is the condition
            let why = "UNCHANGEDSINCE does not go with an assignment";
            return Err(Refusal::no("CANNOT", why));
        }
        let known = match share.is_team() && arguments.operation == Operation::Replace {
            true => call.context.store.snapshot(share.mailbox.id).await?.keywords.clone(),
            false => Arc::default(),
        };
        let steps = steps(&share, (arguments.operation, flags), (changeable, &known));
        let user = &call.session.user;
        let since = arguments.unchanged_since.map(|since| share.unchanged_since(since));
        self.changes.extend(steps.iter().map(|step| step.change((&share, user), since)));
        if let Some(moves) = assign::changes(call, &share, wish).await? {
            self.wishes += 1;
            let is_move = |change: &Change| matches!(change, Change::Moved(_));
            let at = moves.iter().position(is_move);
            self.assigning.extend(at.map(|at| self.changes.len() + at));
            self.changes.extend(moves);
        }
        self.shares.resize(self.changes.len(), share);
        Ok(())
    }

    async fn commit(self, call: &Call<'_, '_>) -> Result<Done, Refusal> {
        let mut done = Done { refused: self.refused, assigned: 0 };
        if !self.changes.is_empty() {
            let receipt = states::committed(call, self.changes).await?;
            for (at, outcome) in receipt.outcomes.into_iter().enumerate() {
                match outcome {
                    Outcome::Flags { refused } => {
                        let own = refused.iter().filter_map(|uid| self.shares[at].own(uid));
                        own.for_each(|uid| done.refused.insert(uid));
                    }
                    Outcome::Copied { pairs, .. } if self.assigning.contains(&at) => {
                        done.assigned += pairs.len();
                    }
                    _ => {}
                }
            }
        }
        if self.wishes > 0 && done.assigned == 0 {
            return Err(gone());
        }
        Ok(done)
    }
}

/// A change of shared flags, or of the user's own \Seen.
enum Step {
    Flags(FlagOperation, FlagList),
    Seen(bool),
}

/// What one STORE consists of in one mailbox, which knows the keywords `known`.
fn steps(
    share: &Share,
    (operation, allowed): (Operation, FlagList),
    (changeable, known): (Changeable, &[Arc<str>]),
) -> Vec<Step> {
    let own = match share.seen {
        SeenMode::PerUser => changeable.system & SystemFlags::SEEN,
        SeenMode::Shared => SystemFlags::NONE,
    };
    let seen = allowed.system & own != SystemFlags::NONE;
    let shared = FlagList { system: allowed.system & !own, keywords: allowed.keywords };
    let has_mirror = known.iter().any(|name| is_ours(name));
    let mut steps = match operation {
        Operation::Add => vec![Step::Flags(FlagOperation::Add, shared)],
        Operation::Remove => vec![Step::Flags(FlagOperation::Remove, shared)],
        Operation::Replace if changeable.keywords && !has_mirror => {
            let keep = flags::ALL & (own | !changeable.system);
            vec![Step::Flags(FlagOperation::Replace { keep }, shared)]
        }
        Operation::Replace => {
            let system = changeable.system & !own & !shared.system;
            let keywords = match changeable.keywords {
                true => others(known, &shared.keywords),
                false => Vec::new(),
            };
            let others = FlagList { system, keywords };
            vec![
                Step::Flags(FlagOperation::Add, shared),
                Step::Flags(FlagOperation::Remove, others),
            ]
        }
    };
    if own != SystemFlags::NONE && (seen || operation == Operation::Replace) {
        steps.push(Step::Seen(seen && operation != Operation::Remove));
    }
    steps.retain(|step| !step.is_empty());
    steps
}

/// What a replacement by `kept` takes away: not what is the daemon's to say.
fn others(known: &[Arc<str>], kept: &[String]) -> Vec<String> {
    let is_kept = |name: &str| kept.iter().any(|kept| kept.eq_ignore_ascii_case(name));
    let others = known.iter().filter(|name| !is_ours(name) && !is_kept(name));
    others.map(|name| name.to_string()).collect()
}

impl Step {
    fn is_empty(&self) -> bool {
        match self {
            Step::Flags(FlagOperation::Replace { .. }, _) | Step::Seen(_) => false,
            Step::Flags(_, flags) => *flags == FlagList::default(),
        }
    }

    fn change(&self, (share, user): (&Share, &Login), unchanged_since: Option<ModSeq>) -> Change {
        let (mailbox, uids, user) = (share.mailbox.id, share.uids.clone(), user.clone());
        match self {
            Step::Seen(seen) => {
                Change::SeenSet { mailbox, user, uids, seen: *seen, unchanged_since }
            }
            Step::Flags(operation, flags) => {
                let (operation, flags) = (*operation, flags.clone());
                let viewer = (share.seen == SeenMode::PerUser).then_some(user);
                Change::FlagsSet { mailbox, uids, operation, flags, unchanged_since, viewer }
            }
        }
    }
}

fn without(uids: &UidSet, refused: &UidSet) -> UidSet {
    if refused.is_empty() {
        return uids.clone();
    }
    uids.iter().filter(|uid| !refused.contains(*uid)).collect()
}
