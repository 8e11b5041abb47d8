//! STORE and UID STORE. What the user may not change stays as it is, and the untagged answer says
//! so: a tagged NO is for mailboxes where they may change nothing. RFC 3501 §6.4.6, RFC 4314 §4

use super::Call;
use crate::imap::flags::{self, Changeable};
use crate::imap::view::{
    ClearKeywords, Edit, Expunge, Own, Selection, SequenceSet, Shown, updates_with,
};
use crate::imap::wire::lex::Cursor;
use crate::imap::{Completion, Numbering, Refusal, Selected};
use crate::mail::flag::{FlagList, SeenMode, SystemFlags};
use crate::mail::id::{Login, ModSeq, Uid};
use crate::mail::uid_set::UidSet;
use crate::store::change::{Change, FlagOperation, Outcome};

/// STORE and UID STORE.
pub async fn run(call: &mut Call<'_, '_>, selected: &mut Selected) -> Result<Completion, Refusal> {
    let arguments = Arguments::parse(&mut call.arguments)?;
    if arguments.unchanged_since.is_some() {
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
    let steps = Steps::new(selected, &arguments, changeable);
    let refused = steps.commit(call, selected, &uids).await?;
    let modified = selected.view.named(&refused, call.numbering);
    let own = Own {
        uids: without(&uids, &refused),
        edit: arguments.edit(changeable),
        shown: arguments.shown,
        numbering: call.numbering,
    };
    updates_with(call.context, selected, call.out, (Expunge::Held, Some(&own))).await?;
    Ok(completion(selected, &modified, (&selection, call.numbering)))
}

fn completion(
    selected: &Selected,
    modified: &UidSet,
    (selection, numbering): (&Selection, Numbering),
) -> Completion {
    if !modified.is_empty() {
        return Completion::with_code(format!("MODIFIED {modified}"), "Conditional STORE failed");
    }
    if numbering == Numbering::Sequence && selected.view.has_lost(selection) {
        let text = "Stored, but for messages that another session has expunged";
        return Completion::with_code("EXPUNGEISSUED".into(), text);
    }
    Completion::ok("Stored")
}

/// What STORE asks for.
struct Arguments {
    set: SequenceSet,
    unchanged_since: Option<ModSeq>,
    operation: Operation,
    shown: Shown,
    flags: FlagList,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Replace,
    Add,
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

/// The changes that one STORE consists of: shared flags, and the user's own \Seen.
struct Steps {
    steps: Vec<Step>,
    unchanged_since: Option<ModSeq>,
}

enum Step {
    Flags(FlagOperation, FlagList),
    Seen(bool),
}

impl Steps {
    fn new(selected: &Selected, arguments: &Arguments, changeable: Changeable) -> Steps {
        let allowed = changeable.among(&arguments.flags);
        let own = match selected.seen {
            SeenMode::PerUser => changeable.system & SystemFlags::SEEN,
            SeenMode::Shared => SystemFlags::NONE,
        };
        let shared = FlagList { system: allowed.system & !own, keywords: allowed.keywords };
        let mut steps = Vec::new();
        match arguments.operation {
            Operation::Add => steps.push(Step::Flags(FlagOperation::Add, shared)),
            Operation::Remove => steps.push(Step::Flags(FlagOperation::Remove, shared)),
            Operation::Replace if changeable.keywords => {
                let keep = flags::ALL & (own | !changeable.system);
                steps.push(Step::Flags(FlagOperation::Replace { keep }, shared));
            }
            Operation::Replace => {
                let system = changeable.system & !own & !shared.system;
                let others = FlagList { system, keywords: Vec::new() };
                steps.push(Step::Flags(FlagOperation::Add, shared));
                steps.push(Step::Flags(FlagOperation::Remove, others));
            }
        }
        let seen = allowed.system & own != SystemFlags::NONE;
        if own != SystemFlags::NONE && (seen || arguments.operation == Operation::Replace) {
            steps.push(Step::Seen(seen && arguments.operation != Operation::Remove));
        }
        steps.retain(|step| !step.is_empty());
        Steps { steps, unchanged_since: arguments.unchanged_since }
    }

    /// Carries the changes out; answers which messages `unchanged_since` refused.
    async fn commit(
        &self,
        call: &Call<'_, '_>,
        selected: &Selected,
        uids: &UidSet,
    ) -> Result<UidSet, Refusal> {
        let mut refused = UidSet::new();
        if self.steps.is_empty() || uids.is_empty() {
            return Ok(refused);
        }
        let user = &call.session.user;
        let change =
            |step: &Step| step.change((selected, user), uids.clone(), self.unchanged_since);
        let changes = self.steps.iter().map(change).collect();
        let receipt = call.commit(changes).await?;
        for outcome in receipt.outcomes {
            if let Outcome::Flags { refused: some } = outcome {
                some.ranges().iter().for_each(|r| refused.insert_range(Uid(r.0), Uid(r.1)));
            }
        }
        Ok(refused)
    }
}

impl Step {
    fn is_empty(&self) -> bool {
        match self {
            Step::Flags(FlagOperation::Replace { .. }, _) | Step::Seen(_) => false,
            Step::Flags(_, flags) => *flags == FlagList::default(),
        }
    }

    fn change(
        &self,
        (selected, user): (&Selected, &Login),
        uids: UidSet,
        unchanged_since: Option<ModSeq>,
    ) -> Change {
        let (mailbox, user) = (selected.mailbox.id, user.clone());
        match self {
            Step::Seen(seen) => {
                Change::SeenSet { mailbox, user, uids, seen: *seen, unchanged_since }
            }
            Step::Flags(operation, flags) => {
                let (operation, flags) = (*operation, flags.clone());
                let viewer = (selected.seen == SeenMode::PerUser).then_some(user);
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
