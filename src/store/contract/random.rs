//! Random transactions of several users, applied to an engine and to the model; after each, all
//! that can be asked is compared. The embedded engine is closed and opened again in between.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use proptest::prelude::*;

use super::engines::{self, Running};
use super::history::{FLAGS, FOLDERS, RIGHTS, Step, USERS, history};
use super::model::{
    Copying, Delivery, Expected, Fault, Flagging, Model, Op, Operation, Queueing, is_shared,
};
use super::queue::{new_queued, recipient};
use super::*;
use crate::mail::id::{BlobId, QueueId, TraceId};
use crate::store::FactsWanted;
use crate::store::change::Grant;
use crate::store::memory::Memory;
use crate::store::queue::{NewQueued, Progress, QueuedRecipient, RecipientUpdate};

/// Different Message-IDs.
const MESSAGE_IDS: usize = 3;

fn account(number: usize) -> Account {
    match number {
        0 => inbox("Support"),
        1 => personal("anna"),
        _ => Account::Channel("Anna Sales".into()),
    }
}

/// An engine beside the model.
pub(super) struct Beside {
    pub(super) bench: Bench,
    pub(super) model: Model,
    pub(super) ids: Vec<MailboxId>,
    queue_ids: Vec<QueueId>,
    /// After each transaction: the last ModSeq of each mailbox.
    modseqs: Vec<HashMap<MailboxId, ModSeq>>,
    before: HashMap<MailboxId, Arc<Snapshot>>,
}

impl Beside {
    pub(super) fn new(bench: Bench) -> Beside {
        let modseqs = vec![HashMap::new()];
        let (model, ids, queue_ids) = (Model::new(), Vec::new(), Vec::new());
        Beside { bench, model, ids, queue_ids, modseqs, before: HashMap::new() }
    }

    fn id(&self, mailbox: usize) -> MailboxId {
        self.ids.get(mailbox).copied().unwrap_or(MailboxId(4711))
    }

    fn since(&self, mailbox: usize, since: Option<usize>) -> Option<ModSeq> {
        let since = since?.min(self.modseqs.len() - 1);
        Some(self.modseqs[since].get(&self.id(mailbox)).copied().unwrap_or(ModSeq(0)))
    }

    fn seen_mode(&self, mailbox: usize) -> SeenMode {
        let folder = self.model.folders.get(mailbox).and_then(Option::as_ref);
        match folder.is_some_and(|folder| is_shared(folder.account)) {
            true => SeenMode::Shared,
            false => SeenMode::PerUser,
        }
    }

    fn change(&self, op: &Op, delivery: usize) -> Change {
        match op {
            Op::Create { account: a, folder } => Change::MailboxCreated {
                account: account(*a),
                folder: Folder::new(FOLDERS[*folder]),
            },
            Op::Rename { mailbox, folder } => Change::MailboxRenamed {
                mailbox: self.id(*mailbox),
                folder: Folder::new(FOLDERS[*folder]),
            },
            Op::Empty { mailbox, folder, user } => Change::MailboxEmptied {
                mailbox: self.id(*mailbox),
                seen: self.seen_mode(*mailbox),
                folder: Folder::new(FOLDERS[*folder]),
                user: login(USERS[*user]),
            },
            Op::Delete { mailbox } => Change::MailboxDeleted { mailbox: self.id(*mailbox) },
            Op::Deliver(it) => Change::Delivered(Box::new(self.delivered(it, delivery))),
            Op::Queue(it) => Change::Queued(Box::new(new_entry(it, delivery))),
            Op::QueueUpdate { entry, updates } => Change::QueueUpdated {
                id: self.queue_ids.get(*entry).copied().unwrap_or(QueueId(4711)),
                recipients: updates.iter().map(|(number, to)| (*number, update(*to))).collect(),
            },
            Op::Copy(copying) => Change::Copied(self.transfer(copying)),
            Op::Move(copying) => Change::Moved(self.transfer(copying)),
            Op::Flags(it) => self.flags_set(it),
            Op::See { mailbox, uids, user, seen, since } => Change::SeenSet {
                mailbox: self.id(*mailbox),
                user: login(USERS[*user]),
                uids: range(*uids),
                seen: *seen,
                unchanged_since: self.since(*mailbox, *since),
            },
            Op::Expunge { mailbox, uids } => {
                Change::Expunged { mailbox: self.id(*mailbox), uids: range(*uids) }
            }
            Op::Subscribe { user, account: a, folder, subscribed } => Change::Subscribed {
                user: login(USERS[*user]),
                account: account(*a),
                folder: Folder::new(FOLDERS[*folder]),
                subscribed: *subscribed,
            },
            Op::Grant { account: a, user, rights } => Change::Granted(Grant {
                account: account(*a),
                user: login(USERS[*user]),
                rights: rights.map(|rights| RIGHTS[rights].to_owned()),
            }),
        }
    }

    fn delivered(&self, it: &Delivery, number: usize) -> Delivered {
        let trace = if it.has_trace { trace_of(number) } else { Vec::new() };
        Delivered {
            trace,
            flags: flag_list(&it.flags),
            seen_by: it.seen_by.iter().map(|user| login(USERS[*user])).collect(),
            duplicate_key: it.key.map(|key| [key; 32]),
            message: message_of(it.text),
            ..delivered(self.id(it.mailbox), "")
        }
    }

    fn transfer(&self, it: &Copying) -> Transfer {
        Transfer {
            from: self.id(it.from),
            from_seen: self.seen_mode(it.from),
            uids: range(it.uids),
            to: self.id(it.to),
            to_seen: self.seen_mode(it.to),
            user: login(USERS[it.user]),
        }
    }

    fn flags_set(&self, it: &Flagging) -> Change {
        let keep = SystemFlags::FLAGGED;
        let operation = match it.operation {
            Operation::Replace => FlagOperation::Replace { keep: SystemFlags::NONE },
            Operation::ReplaceKeepingFlagged => FlagOperation::Replace { keep },
            Operation::Add => FlagOperation::Add,
            Operation::Remove => FlagOperation::Remove,
        };
        Change::FlagsSet {
            mailbox: self.id(it.mailbox),
            uids: range(it.uids),
            operation,
            flags: flag_list(&it.flags),
            unchanged_since: self.since(it.mailbox, it.since),
            viewer: it.viewer.map(|user| login(USERS[user])),
        }
    }

    pub(super) async fn commit(&mut self, ops: &[Op]) {
        // In the model a transaction's number is an index into `modseqs`.
        let ops: Vec<Op> = ops.iter().map(|op| self.with_known_since(op)).collect();
        let mut delivery = self.model.deliveries;
        let changes: Vec<Change> = ops
            .iter()
            .map(|op| {
                delivery += usize::from(matches!(op, Op::Deliver(_) | Op::Queue(_)));
                self.change(op, delivery)
            })
            .collect();
        let expected = self.model.commit(&ops);
        match (self.bench.commit(changes).await, expected) {
            (Ok(outcomes), Ok(expected)) => {
                let expected: Vec<_> = expected.into_iter().collect();
                assert_eq!(outcomes.len(), expected.len());
                for (outcome, expected) in outcomes.iter().zip(&expected) {
                    if let Outcome::Created(id) = outcome {
                        assert!(self.ids.iter().all(|other| other < id), "ids ascend");
                        self.ids.push(*id);
                    }
                    if let Outcome::Queued(id) = outcome {
                        assert!(self.queue_ids.iter().all(|other| other < id), "ids ascend");
                        self.queue_ids.push(*id);
                    }
                    assert_eq!(told(outcome), *expected);
                }
            }
            (Err(StoreError::Gone), Err(Fault::Gone)) => {}
            (Err(StoreError::Exists), Err(Fault::Exists)) => {}
            (engine, model) => panic!("engine: {engine:?}\nmodel: {model:?}"),
        }
    }

    fn with_known_since(&self, op: &Op) -> Op {
        let mut op = op.clone();
        if let Op::Flags(Flagging { since: Some(since), .. }) | Op::See { since: Some(since), .. } =
            &mut op
        {
            *since = (*since).min(self.modseqs.len() - 1);
        }
        op
    }

    /// Compares everything. `committed`: a transaction lies between this and the last look.
    pub(super) async fn compare(&mut self) {
        let mut blobs: BTreeMap<usize, BlobId> = BTreeMap::new();
        let mut threads = BTreeMap::new();
        let mut modseqs = HashMap::new();
        for (number, id) in self.ids.clone().into_iter().enumerate() {
            let Some(folder) = self.model.folders[number].clone() else {
                assert_eq!(self.bench.store.snapshot(id).await, Err(StoreError::Gone));
                continue;
            };
            let found = self
                .bench
                .store
                .find(&account(folder.account), &Folder::new(FOLDERS[folder.folder]));
            assert_eq!(found.map(|mailbox| mailbox.id), Some(id));
            let snapshot = self.bench.snapshot(id).await;
            assert_eq!(snapshot.uid_next, Uid(folder.uid_next));
            assert_eq!(snapshot.len(), folder.messages.len());
            for (entry, message) in snapshot.iter().zip(&folder.messages) {
                assert_eq!(entry.uid.0, message.uid);
                assert_eq!(names(&snapshot, entry), message.flags);
                assert!(entry.modseq <= snapshot.highest_modseq);
                let blob = *blobs.entry(message.text).or_insert(entry.blob);
                assert_eq!(blob, entry.blob, "one text, one blob");
                let thread = *threads.entry(message.thread).or_insert(entry.thread);
                assert_eq!(thread, entry.thread, "it goes along");
                let trace = self.bench.store.trace(entry.trace).await.expect("answers");
                assert_eq!(trace, message.trace.map(trace_of).unwrap_or_default());
                assert_eq!(entry.trace == TraceId::NONE, message.trace.is_none());
            }
            self.compare_modseqs(id, &folder, &snapshot);
            self.compare_users(id, &folder).await;
            self.compare_expunged(id, &folder).await;
            modseqs.insert(id, snapshot.highest_modseq);
            self.before.insert(id, snapshot);
        }
        let distinct: BTreeSet<_> = threads.values().collect();
        assert_eq!(distinct.len(), threads.len(), "one delivery, one thread");
        self.compare_queue(&mut blobs).await;
        self.compare_message_ids().await;
        let distinct: BTreeSet<BlobId> = blobs.values().copied().collect();
        assert_eq!(distinct.len(), blobs.len(), "another text, another blob");
        self.compare_texts(&blobs).await;
        self.compare_choices();
        self.bench.verify().await;
        if self.modseqs.len() <= self.model.number {
            self.modseqs.push(modseqs);
        }
    }

    /// What the last transaction changed has a higher ModSeq than all before, the rest the same.
    fn compare_modseqs(&self, id: MailboxId, folder: &model::Folder, snapshot: &Snapshot) {
        let Some(before) = self.before.get(&id) else { return };
        let committed = self.modseqs.len() <= self.model.number;
        for message in &folder.messages {
            let entry = snapshot.by_uid(Uid(message.uid)).expect("compared before");
            if committed && message.changed == self.model.number {
                assert!(entry.modseq > before.highest_modseq);
            } else {
                let old = before.by_uid(entry.uid).map(|old| old.modseq);
                assert_eq!(Some(entry.modseq), old);
            }
        }
        assert!(snapshot.highest_modseq >= before.highest_modseq);
    }

    async fn compare_users(&self, id: MailboxId, folder: &model::Folder) {
        for (number, user) in USERS.iter().enumerate() {
            let overlay = self.bench.overlay(id, user).await;
            for message in &folder.messages {
                let uid = Uid(message.uid);
                assert_eq!(overlay.seen(uid), message.seen_by.contains(&number));
                let changed = message.seen_changed.contains_key(&number);
                assert_eq!(overlay.modseq(uid) > ModSeq(0), changed);
            }
            let seen = folder.messages.iter().filter(|m| m.seen_by.contains(&number)).count();
            let status = self.bench.store.status(id, &login(user), SeenMode::PerUser).await;
            let status = status.expect("exists");
            assert_eq!(status.unseen as usize, folder.messages.len() - seen);
            let status = self.bench.store.status(id, &login(user), SeenMode::Shared).await;
            let shared = folder.messages.iter().filter(|m| m.flags.contains("\\seen")).count();
            assert_eq!(status.expect("exists").unseen as usize, folder.messages.len() - shared);
        }
    }

    async fn compare_expunged(&self, id: MailboxId, folder: &model::Folder) {
        for (number, modseqs) in self.modseqs.iter().enumerate() {
            let since = modseqs.get(&id).copied().unwrap_or(ModSeq(0));
            let uids = self.bench.store.expunged_since(id, since).await.expect("answers");
            let later = folder.expunged.iter().filter(|(_, by)| *by > number);
            assert_eq!(uids, later.map(|(uid, _)| Uid(*uid)).collect());
        }
    }

    async fn compare_queue(&self, blobs: &mut BTreeMap<usize, BlobId>) {
        let there = self.queue_ids.iter().zip(&self.model.queue);
        let there = there.filter_map(|(id, entry)| Some((*id, entry.as_ref()?)));
        let queued = self.bench.queued();
        assert!(queued.iter().map(|queued| queued.id).eq(there.clone().map(|(id, _)| id)));
        for (queued, (_, entry)) in queued.iter().zip(there) {
            assert_eq!(*queued.envelope, queue::envelope(&text_of(entry.text)));
            let recipients: Vec<QueuedRecipient> = entry.recipients.iter().map(expected).collect();
            assert_eq!(queued.recipients, recipients);
            let blob = *blobs.entry(entry.text).or_insert(queued.blob);
            assert_eq!(blob, queued.blob, "one text, one blob");
            let trace = self.bench.store.trace(queued.trace).await.expect("answers");
            assert_eq!(trace, entry.trace.map(trace_of).unwrap_or_default());
            let body = self.bench.store.body(blob, 0..u64::MAX).await.expect("answers");
            assert_eq!(queued.size_bytes as usize, trace.len() + body.len());
        }
    }

    async fn compare_message_ids(&self) {
        for id in 0..MESSAGE_IDS {
            let found = self.bench.instances_of(&message_id_of(id)).await;
            assert!(found.is_sorted_by_key(|i| std::cmp::Reverse(i.blob)), "newest first");
            let found = found.iter().map(|i| (i.mailbox, i.uid.0));
            let folders = self.ids.iter().zip(&self.model.folders);
            let expected = folders.flat_map(|(mailbox, folder)| {
                let messages = folder.iter().flat_map(|folder| &folder.messages);
                let of_it = messages.filter(|m| m.text % MESSAGE_IDS == id);
                of_it.map(|message| (*mailbox, message.uid))
            });
            assert_eq!(found.collect::<BTreeSet<_>>(), expected.collect());
        }
    }

    async fn compare_texts(&self, blobs: &BTreeMap<usize, BlobId>) {
        let asked: Vec<BlobId> = blobs.values().copied().collect();
        let wanted = FactsWanted {
            fields: true,
            header_text: true,
            body_text: true,
            ..FactsWanted::default()
        };
        let facts = self.bench.store.facts(&asked, wanted).await.expect("answers");
        for ((text, blob), facts) in blobs.iter().zip(facts) {
            let expected = message(&text_of(*text));
            assert_eq!(facts.fields, expected.parsed.fields);
            assert_eq!(facts.header_text.as_ref(), Some(&expected.parsed.text.header));
            assert_eq!(facts.body_text.as_ref(), Some(&expected.parsed.text.body));
            let body = self.bench.store.body(*blob, 0..u64::MAX).await.expect("answers");
            let Bytes::Memory(bytes) = expected.bytes else { panic!("in memory") };
            assert_eq!(body, *bytes);
        }
    }

    fn compare_choices(&self) {
        for (number, user) in USERS.iter().enumerate() {
            let own = self.model.subscriptions.iter().filter(|((of, _, _), _)| *of == number);
            let expected = own.map(|((_, a, folder), subscribed)| {
                ((account(*a), Folder::new(FOLDERS[*folder])), *subscribed)
            });
            assert_eq!(*self.bench.store.subscriptions(&login(user)), expected.collect());
        }
        let grants = self.bench.store.grants();
        let found = grants.iter().map(|grant| {
            let rights = grant.rights.clone().expect("those without are removed");
            ((grant.account.clone(), grant.user.clone()), rights)
        });
        let expected = self.model.grants.iter().map(|((a, user), rights)| {
            ((account(*a), login(USERS[*user])), RIGHTS[*rights].to_owned())
        });
        assert_eq!(found.collect::<BTreeMap<_, _>>(), expected.collect());
        for number in 0..3 {
            let there = self.model.folders.iter().flatten().filter(|f| f.account == number);
            assert_eq!(self.bench.store.mailboxes(&account(number)).len(), there.count());
        }
    }
}

fn text_of(number: usize) -> String {
    format!("text {number} {}", "x".repeat(number * 700))
}

/// Several texts share a Message-ID.
fn message_of(number: usize) -> NewMessage {
    let mut message = message(&text_of(number));
    let id = format!("<{}>", message_id_of(number % MESSAGE_IDS));
    Arc::make_mut(&mut message.parsed).envelope.message_id = Some(id.into_bytes());
    message
}

fn message_id_of(number: usize) -> String {
    format!("{number}@example.org")
}

fn new_entry(it: &Queueing, number: usize) -> NewQueued {
    NewQueued {
        message: message_of(it.text),
        trace: if it.has_trace { trace_of(number) } else { Vec::new() },
        recipients: (0..it.recipients).map(|n| recipient(&n.to_string())).collect(),
        duplicate_key: it.key.map(|key| [key; 32]),
        ..new_queued(&text_of(it.text), &[])
    }
}

fn update(attempts: Option<u32>) -> RecipientUpdate {
    attempts.map_or(RecipientUpdate::Done, |attempts| RecipientUpdate::Waits(progress(attempts)))
}

fn progress(attempts: u32) -> Progress {
    let start = Progress::new(Timestamp::from_seconds(START));
    match attempts {
        0 => start,
        _ => Progress { attempts, last_reply: Some(format!("45{attempts} later")), ..start },
    }
}

fn expected((number, attempts): &(u32, u32)) -> QueuedRecipient {
    let progress = progress(*attempts);
    QueuedRecipient { number: *number, progress, ..recipient(&number.to_string()) }
}

fn trace_of(delivery: usize) -> Vec<u8> {
    format!("Received: delivery {delivery}\r\n").into_bytes()
}

fn range((first, last): (u32, u32)) -> UidSet {
    let mut uids = UidSet::new();
    uids.insert_range(Uid(first), Uid(last));
    uids
}

fn flag_list(names: &BTreeSet<&'static str>) -> FlagList {
    let mut list = FlagList::default();
    for name in names {
        match SystemFlags::NAMES.iter().find(|(_, n)| n.eq_ignore_ascii_case(name)) {
            Some((flag, _)) => list.system = list.system | *flag,
            // Another spelling of the same keyword.
            None if list.keywords.len() % 2 == 1 => list.keywords.push(name.to_uppercase()),
            None => list.keywords.push(name.to_string()),
        }
    }
    list
}

fn names(snapshot: &Snapshot, entry: &Entry) -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    for (flag, name) in SystemFlags::NAMES {
        if entry.flags.contains(flag) {
            let known = FLAGS.iter().find(|known| known.eq_ignore_ascii_case(name));
            names.insert(known.copied().unwrap_or("\\seen"));
        }
    }
    for number in entry.keywords.iter() {
        let name = &snapshot.keywords[usize::from(number)];
        names.extend(FLAGS.iter().find(|known| known.eq_ignore_ascii_case(name)));
    }
    names
}

fn told(outcome: &Outcome) -> Expected {
    let set = |uids: &UidSet| uids.iter().map(|uid| uid.0).collect();
    match outcome {
        Outcome::Stored { uid, .. } => Expected::Stored(uid.0),
        Outcome::Duplicate => Expected::Duplicate,
        Outcome::Copied { pairs, .. } => {
            Expected::Copied(pairs.iter().map(|(old, new)| (old.0, new.0)).collect())
        }
        Outcome::Flags { refused } => Expected::Refused(set(refused)),
        Outcome::Expunged { uids } => Expected::Expunged(set(uids)),
        Outcome::Created(_) => Expected::Created,
        Outcome::Queued(_) => Expected::Queued,
        Outcome::Done => Expected::Done,
    }
}

fn run(steps: &[Step], reopen: &mut dyn FnMut(Option<Bench>) -> Bench) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut beside = Beside::new(reopen(None));
    for step in steps {
        match step {
            Step::Commit(ops) => runtime.block_on(beside.commit(ops)),
            Step::Wait { hours } => {
                beside.model.now += hours * 3600;
                beside.bench.clock.set(Timestamp::from_seconds(beside.model.now));
            }
            Step::Reopen => {
                let Beside { bench, model, ids, queue_ids, modseqs, before } = beside;
                let bench = reopen(Some(bench));
                beside = Beside { bench, model, ids, queue_ids, modseqs, before };
            }
        }
        runtime.block_on(beside.compare());
    }
}

pub(super) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(128))]
    #[test]
    fn the_memory_engine_does_as_the_model(steps in history()) {
        let clock = engines::clock();
        let store = Arc::new(Memory::new(clock.clone()));
        run(&steps, &mut |_| Bench { store: store.clone(), clock: clock.clone() });
    }
}

proptest! {
    #![proptest_config(cases(32))]
    #[test]
    fn the_embedded_engine_does_as_the_model_and_keeps_it(steps in history()) {
        let (folder, clock) = (engines::Folder::new(), engines::clock());
        let mut running: Option<Running> = None;
        let mut reopen = |bench: Option<Bench>| {
            drop(bench);
            if let Some(running) = running.take() {
                assert_eq!(running.close(), Ok(()));
            }
            let opened = running.insert(Running::open(folder.path(), &clock));
            Bench { store: Arc::new(opened.store.clone()), clock: clock.clone() }
        };
        run(&steps, &mut reopen);
    }
}
