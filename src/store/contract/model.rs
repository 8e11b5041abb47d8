//! What a store is, told once more and naively: vectors and maps, names instead of numbers, clones
//! instead of undo. Written from the trait's promises, not from `apply`.

use std::collections::{BTreeMap, BTreeSet};

use super::START;

/// One change, with small numbers for everything; see `random` for what they stand for.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Create {
        account: usize,
        folder: usize,
    },
    Rename {
        mailbox: usize,
        folder: usize,
    },
    Empty {
        mailbox: usize,
        folder: usize,
        user: usize,
    },
    Delete {
        mailbox: usize,
    },
    Deliver(Delivery),
    Queue(Queueing),
    /// Recipients and the attempt that they wait for; `None` is done.
    QueueUpdate {
        entry: usize,
        updates: Vec<(u32, Option<u32>)>,
    },
    Copy(Copying),
    Move(Copying),
    Flags(Flagging),
    See {
        mailbox: usize,
        uids: (u32, u32),
        user: usize,
        seen: bool,
        since: Option<usize>,
    },
    Expunge {
        mailbox: usize,
        uids: (u32, u32),
    },
    Subscribe {
        user: usize,
        account: usize,
        folder: usize,
        subscribed: bool,
    },
    Grant {
        account: usize,
        user: usize,
        rights: Option<usize>,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) mailbox: usize,
    pub(super) text: usize,
    pub(super) flags: BTreeSet<&'static str>,
    pub(super) seen_by: Option<usize>,
    pub(super) key: Option<u8>,
    pub(super) has_trace: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Queueing {
    pub(super) text: usize,
    pub(super) recipients: u32,
    pub(super) key: Option<u8>,
    pub(super) has_trace: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Copying {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) uids: (u32, u32),
    pub(super) user: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Flagging {
    pub(super) mailbox: usize,
    pub(super) uids: (u32, u32),
    pub(super) operation: Operation,
    pub(super) flags: BTreeSet<&'static str>,
    /// The number of an earlier transaction.
    pub(super) since: Option<usize>,
    pub(super) viewer: Option<usize>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Replace,
    ReplaceKeepingFlagged,
    Add,
    Remove,
}

/// What the model expects of a change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Expected {
    Stored(u32),
    Duplicate,
    Copied(Vec<(u32, u32)>),
    Refused(BTreeSet<u32>),
    Expunged(BTreeSet<u32>),
    Created,
    Queued,
    Done,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Gone,
    Exists,
}

/// In `Model::flags`, lower case; \Seen only where it is shared.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Message {
    pub(super) uid: u32,
    pub(super) text: usize,
    /// The number of the delivery whose trace it has.
    pub(super) trace: Option<usize>,
    /// The number of the delivery that began its thread.
    pub(super) thread: usize,
    pub(super) flags: BTreeSet<&'static str>,
    pub(super) seen_by: BTreeSet<usize>,
    /// The number of the transaction that changed it for everybody.
    pub(super) changed: usize,
    /// And each user's own \Seen.
    pub(super) seen_changed: BTreeMap<usize, usize>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Folder {
    pub(super) account: usize,
    pub(super) folder: usize,
    pub(super) uid_next: u32,
    pub(super) messages: Vec<Message>,
    /// UID, number of the transaction.
    pub(super) expunged: Vec<(u32, usize)>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Entry {
    pub(super) text: usize,
    pub(super) trace: Option<usize>,
    /// Number, attempts.
    pub(super) recipients: Vec<(u32, u32)>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Model {
    /// By order of creation; `None` is deleted.
    pub(super) folders: Vec<Option<Folder>>,
    pub(super) subscriptions: BTreeMap<(usize, usize, usize), bool>,
    pub(super) grants: BTreeMap<(usize, usize), usize>,
    pub(super) keys: BTreeMap<u8, (i64, usize)>,
    pub(super) deliveries: usize,
    /// By order of arrival; `None` has left.
    pub(super) queue: Vec<Option<Entry>>,
    /// How many had arrived when the transaction began.
    pub(super) known_queue: usize,
    /// How many folders there were when the transaction began: later ones have no known id yet.
    pub(super) known: usize,
    /// The number of the transaction under way.
    pub(super) number: usize,
    pub(super) now: i64,
}

/// In which accounts \Seen is one for all.
pub(super) fn is_shared(account: usize) -> bool {
    account == 1
}

impl Model {
    pub(super) fn new() -> Model {
        Model {
            folders: Vec::new(),
            subscriptions: BTreeMap::new(),
            grants: BTreeMap::new(),
            keys: BTreeMap::new(),
            deliveries: 0,
            queue: Vec::new(),
            known_queue: 0,
            known: 0,
            number: 0,
            now: START,
        }
    }

    /// All of them, or none.
    pub(super) fn commit(&mut self, ops: &[Op]) -> Result<Vec<Expected>, Fault> {
        let mut next = self.clone();
        next.number += 1;
        next.known = next.folders.len();
        next.known_queue = next.queue.len();
        let outcomes = ops.iter().map(|op| next.apply(op)).collect::<Result<Vec<_>, _>>();
        match &outcomes {
            Ok(_) => *self = next,
            Err(_) => self.number += 1,
        }
        // Also a delivery that came to nothing has used its number: the traces differ.
        self.deliveries += ops.len();
        outcomes
    }

    fn apply(&mut self, op: &Op) -> Result<Expected, Fault> {
        match op {
            Op::Create { account, folder } => {
                self.must_be_free(*account, *folder)?;
                let (account, folder) = (*account, *folder);
                let (messages, expunged) = (Vec::new(), Vec::new());
                let made = Folder { account, folder, uid_next: 1, messages, expunged };
                self.folders.push(Some(made));
                Ok(Expected::Created)
            }
            Op::Rename { mailbox, folder } => {
                let account = self.folder(*mailbox)?.account;
                self.must_be_free(account, *folder)?;
                self.folder(*mailbox)?.folder = *folder;
                Ok(Expected::Done)
            }
            Op::Empty { mailbox, folder, user } => {
                let account = self.folder(*mailbox)?.account;
                self.apply(&Op::Create { account, folder: *folder })?;
                // here the new one is at hand, though no later change can name it
                let (from, to) = (*mailbox, self.folders.len() - 1);
                let known = std::mem::replace(&mut self.known, self.folders.len());
                let copying = Copying { from, to, uids: (1, u32::MAX), user: *user };
                let moved = self.apply(&Op::Move(copying));
                self.known = known;
                moved.map(|_| Expected::Created)
            }
            Op::Delete { mailbox } => {
                self.folder(*mailbox)?;
                self.folders[*mailbox] = None;
                Ok(Expected::Done)
            }
            Op::Deliver(delivery) => self.deliver(delivery),
            Op::Queue(queueing) => Ok(self.queue(queueing)),
            Op::QueueUpdate { entry, updates } => {
                updates.iter().for_each(|update| self.update(*entry, *update));
                Ok(Expected::Done)
            }
            Op::Copy(copying) => self.copy(copying).map(Expected::Copied),
            Op::Move(copying) => {
                let pairs = self.copy(copying)?;
                for (old, _) in &pairs {
                    self.expunge(copying.from, (*old, *old))?;
                }
                Ok(Expected::Copied(pairs))
            }
            Op::Flags(flagging) => self.flag(flagging),
            Op::See { mailbox, uids, user, seen, since } => {
                self.see(*mailbox, *uids, (*user, *seen, *since))
            }
            Op::Expunge { mailbox, uids } => self.expunge(*mailbox, *uids).map(Expected::Expunged),
            Op::Subscribe { user, account, folder, subscribed } => {
                self.subscriptions.insert((*user, *account, *folder), *subscribed);
                Ok(Expected::Done)
            }
            Op::Grant { account, user, rights } => {
                match rights {
                    Some(rights) => self.grants.insert((*account, *user), *rights),
                    None => self.grants.remove(&(*account, *user)),
                };
                Ok(Expected::Done)
            }
        }
    }

    fn folder(&mut self, mailbox: usize) -> Result<&mut Folder, Fault> {
        let known = &mut self.folders[..self.known];
        known.get_mut(mailbox).and_then(Option::as_mut).ok_or(Fault::Gone)
    }

    fn must_be_free(&self, account: usize, folder: usize) -> Result<(), Fault> {
        let mut there = self.folders.iter().flatten();
        match there.any(|f| (f.account, f.folder) == (account, folder)) {
            true => Err(Fault::Exists),
            false => Ok(()),
        }
    }

    fn deliver(&mut self, delivery: &Delivery) -> Result<Expected, Fault> {
        self.deliveries += 1;
        let (number, trace) = (self.number, self.deliveries);
        self.folder(delivery.mailbox)?;
        if self.repeats(delivery.key) {
            return Ok(Expected::Duplicate);
        }
        let folder = self.folder(delivery.mailbox)?;
        let uid = folder.uid_next;
        folder.uid_next += 1;
        folder.messages.push(Message {
            uid,
            text: delivery.text,
            trace: delivery.has_trace.then_some(trace),
            thread: trace,
            flags: delivery.flags.clone(),
            seen_by: delivery.seen_by.into_iter().collect(),
            changed: number,
            seen_changed: delivery.seen_by.into_iter().map(|user| (user, number)).collect(),
        });
        Ok(Expected::Stored(uid))
    }

    /// Whether an earlier transaction used the key today; if none did, it is used now.
    fn repeats(&mut self, key: Option<u8>) -> bool {
        let Some(key) = key else { return false };
        let (number, now) = (self.number, self.now);
        let used = self.keys.get(&key);
        let repeats = used.is_some_and(|(at, by)| now - at < 24 * 3600 && *by != number);
        if !repeats {
            self.keys.insert(key, (now, number));
        }
        repeats
    }

    fn queue(&mut self, queueing: &Queueing) -> Expected {
        self.deliveries += 1;
        if self.repeats(queueing.key) {
            return Expected::Duplicate;
        }
        let trace = queueing.has_trace.then_some(self.deliveries);
        let recipients = (0..queueing.recipients).map(|number| (number, 0)).collect();
        self.queue.push(Some(Entry { text: queueing.text, trace, recipients }));
        Expected::Queued
    }

    fn update(&mut self, entry: usize, (number, attempts): (u32, Option<u32>)) {
        let known = &mut self.queue[..self.known_queue];
        let Some(slot) = known.get_mut(entry) else { return };
        let Some(entry) = slot else { return };
        match attempts {
            Some(attempts) => {
                let them = entry.recipients.iter_mut().filter(|(n, _)| *n == number);
                them.for_each(|(_, a)| *a = attempts);
            }
            None => entry.recipients.retain(|(n, _)| *n != number),
        }
        if entry.recipients.is_empty() {
            *slot = None;
        }
    }

    fn copy(&mut self, copying: &Copying) -> Result<Vec<(u32, u32)>, Fault> {
        let (from, number) = (self.folder(copying.from)?.clone(), self.number);
        let to = self.folder(copying.to)?;
        let mut pairs = Vec::new();
        for old in from.messages.iter().filter(|m| within(m.uid, copying.uids)) {
            let mut new = old.clone();
            (new.uid, new.changed) = (to.uid_next, number);
            to.uid_next += 1;
            (new.seen_by, new.seen_changed) = Default::default();
            let mover_saw = match is_shared(from.account) {
                true => new.flags.remove("\\seen"),
                false => old.seen_by.contains(&copying.user),
            };
            if is_shared(to.account) {
                new.flags.extend(mover_saw.then_some("\\seen"));
            } else if !is_shared(from.account) && from.account == to.account {
                new.seen_by = old.seen_by.clone();
            } else {
                new.seen_by.extend(mover_saw.then_some(copying.user));
            }
            new.seen_changed = new.seen_by.iter().map(|user| (*user, number)).collect();
            pairs.push((old.uid, new.uid));
            to.messages.push(new);
        }
        Ok(pairs)
    }

    fn flag(&mut self, flagging: &Flagging) -> Result<Expected, Fault> {
        let number = self.number;
        let mut refused = BTreeSet::new();
        let named = &flagging.flags;
        for message in &mut self.folder(flagging.mailbox)?.messages {
            if !within(message.uid, flagging.uids) {
                continue;
            }
            if refuses(message, (flagging.since, flagging.viewer), number) {
                refused.insert(message.uid);
                continue;
            }
            let old = message.flags.clone();
            let kept = old.contains("\\flagged");
            message.flags = match flagging.operation {
                Operation::Replace => named.clone(),
                Operation::ReplaceKeepingFlagged => {
                    let others = named.iter().copied().filter(|flag| *flag != "\\flagged");
                    others.chain(kept.then_some("\\flagged")).collect()
                }
                Operation::Add => &old | named,
                Operation::Remove => &old - named,
            };
            if message.flags != old {
                message.changed = number;
            }
        }
        Ok(Expected::Refused(refused))
    }

    fn see(
        &mut self,
        mailbox: usize,
        uids: (u32, u32),
        (user, seen, since): (usize, bool, Option<usize>),
    ) -> Result<Expected, Fault> {
        let number = self.number;
        let mut refused = BTreeSet::new();
        for message in &mut self.folder(mailbox)?.messages {
            if !within(message.uid, uids) {
                continue;
            }
            if refuses(message, (since, Some(user)), number) {
                refused.insert(message.uid);
            } else if message.seen_by.contains(&user) != seen {
                match seen {
                    true => message.seen_by.insert(user),
                    false => message.seen_by.remove(&user),
                };
                message.seen_changed.insert(user, number);
            }
        }
        Ok(Expected::Refused(refused))
    }

    fn expunge(&mut self, mailbox: usize, uids: (u32, u32)) -> Result<BTreeSet<u32>, Fault> {
        let number = self.number;
        let folder = self.folder(mailbox)?;
        let gone = folder.messages.iter().map(|m| m.uid).filter(|uid| within(*uid, uids));
        let gone: BTreeSet<u32> = gone.collect();
        folder.messages.retain(|message| !gone.contains(&message.uid));
        folder.expunged.extend(gone.iter().map(|uid| (*uid, number)));
        Ok(gone)
    }
}

fn within(uid: u32, (first, last): (u32, u32)) -> bool {
    first.min(last) <= uid && uid <= first.max(last)
}

/// What this very transaction changed is not held against it.
fn refuses(
    message: &Message,
    (since, viewer): (Option<usize>, Option<usize>),
    number: usize,
) -> bool {
    let own = viewer.and_then(|user| message.seen_changed.get(&user)).copied().unwrap_or(0);
    let changed = message.changed.max(own);
    since.is_some_and(|since| changed > since && changed < number)
}
