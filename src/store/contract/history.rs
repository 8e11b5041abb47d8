//! What happens in a random history: transactions of random changes, hours that pass, restarts.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::model::{Copying, Delivery, Flagging, Op, Operation, Queueing};

pub(super) const USERS: [&str; 3] = ["anna", "ben", "carla"];
pub(super) const FOLDERS: [&str; 4] = ["", "\\Done", "A", "A/B"];
pub(super) const RIGHTS: [&str; 2] = ["", "lrs"];
pub(super) const FLAGS: [&str; 6] = ["\\flagged", "\\deleted", "\\answered", "k1", "k2", "$label"];
/// Transactions in one history.
const STEPS_MAX: usize = 24;
const MAILBOXES: usize = 7;

#[derive(Clone, Debug)]
pub(super) enum Step {
    Commit(Vec<Op>),
    Wait { hours: i64 },
    Reopen,
}

fn mailbox() -> impl Strategy<Value = usize> {
    // The first ones are hit most, so that something happens inside them.
    prop_oneof![4 => 0..4usize, 1 => 0..MAILBOXES]
}

fn uid_range() -> impl Strategy<Value = (u32, u32)> {
    prop_oneof![3 => (1..12u32, 1..12u32), 1 => (1..140u32, 1..140u32), 1 => Just((1, u32::MAX))]
}

fn flags() -> impl Strategy<Value = BTreeSet<&'static str>> {
    prop::collection::btree_set(prop::sample::select(&FLAGS[..]), 0..4)
}

fn since() -> impl Strategy<Value = Option<usize>> {
    prop::option::weighted(0.4, 0..STEPS_MAX)
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let key = prop::option::weighted(0.3, 0..4u8);
    let seen_by = prop::option::weighted(0.2, 0..USERS.len());
    let all = (mailbox(), 0..6usize, flags(), seen_by, key, any::<bool>());
    all.prop_map(|(mailbox, text, flags, seen_by, key, has_trace)| Delivery {
        mailbox,
        text,
        flags,
        seen_by,
        key,
        has_trace,
    })
}

fn queueing() -> impl Strategy<Value = Queueing> {
    let key = prop::option::weighted(0.3, 0..4u8);
    let all = (0..6usize, 1..4u32, key, any::<bool>());
    all.prop_map(|(text, recipients, key, has_trace)| Queueing { text, recipients, key, has_trace })
}

/// Recipients, and what attempt they wait for; `None` is done.
fn updates() -> impl Strategy<Value = Vec<(u32, Option<u32>)>> {
    prop::collection::vec((0..4u32, prop::option::of(1..9u32)), 0..4)
}

fn copying() -> impl Strategy<Value = Copying> {
    let all = (mailbox(), mailbox(), uid_range(), 0..USERS.len());
    all.prop_map(|(from, to, uids, user)| Copying { from, to, uids, user })
}

fn flagging() -> impl Strategy<Value = Flagging> {
    let operations = [
        Operation::Replace,
        Operation::ReplaceKeepingFlagged,
        Operation::Add,
        Operation::Add,
        Operation::Remove,
    ];
    let operation = prop::sample::select(operations.to_vec());
    let viewer = prop::option::of(0..USERS.len());
    let all = (mailbox(), uid_range(), operation, flags(), since(), viewer);
    all.prop_map(|(mailbox, uids, operation, flags, since, viewer)| Flagging {
        mailbox,
        uids,
        operation,
        flags,
        since,
        viewer,
    })
}

fn op() -> impl Strategy<Value = Op> {
    let seeing = (mailbox(), uid_range(), 0..USERS.len(), any::<bool>(), since());
    prop_oneof![
        3 => (0..3usize, 0..FOLDERS.len())
            .prop_map(|(account, folder)| Op::Create { account, folder }),
        1 => (mailbox(), 0..FOLDERS.len())
            .prop_map(|(mailbox, folder)| Op::Rename { mailbox, folder }),
        1 => (mailbox(), 0..FOLDERS.len(), 0..USERS.len())
            .prop_map(|(mailbox, folder, user)| Op::Empty { mailbox, folder, user }),
        1 => mailbox().prop_map(|mailbox| Op::Delete { mailbox }),
        12 => delivery().prop_map(Op::Deliver),
        4 => queueing().prop_map(Op::Queue),
        5 => (0..4usize, updates()).prop_map(|(entry, updates)| Op::QueueUpdate { entry, updates }),
        3 => copying().prop_map(Op::Copy),
        3 => copying().prop_map(Op::Move),
        5 => flagging().prop_map(Op::Flags),
        6 => seeing.prop_map(|(mailbox, uids, user, seen, since)| {
            Op::See { mailbox, uids, user, seen, since }
        }),
        3 => (mailbox(), uid_range())
            .prop_map(|(mailbox, uids)| Op::Expunge { mailbox, uids }),
        1 => (0..USERS.len(), 0..3usize, 0..FOLDERS.len(), any::<bool>()).prop_map(
            |(user, account, folder, subscribed)| {
                Op::Subscribe { user, account, folder, subscribed }
            }
        ),
        1 => (0..3usize, 0..USERS.len(), prop::option::of(0..RIGHTS.len()))
            .prop_map(|(account, user, rights)| Op::Grant { account, user, rights }),
    ]
}

pub(super) fn history() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => prop::collection::vec(op(), 1..6).prop_map(Step::Commit),
        1 => (1..30i64).prop_map(|hours| Step::Wait { hours }),
        1 => Just(Step::Reopen),
    ];
    // One mailbox or two of each account to begin with, so that histories are not mostly refusals.
    let first = Step::Commit(vec![
        Op::Create { account: 0, folder: 0 },
        Op::Create { account: 0, folder: 1 },
        Op::Create { account: 1, folder: 0 },
        Op::Create { account: 2, folder: 0 },
    ]);
    prop::collection::vec(step, 1..STEPS_MAX).prop_map(move |mut steps| {
        steps.insert(0, first.clone());
        // What was written last is read back, too.
        steps.push(Step::Reopen);
        steps
    })
}
