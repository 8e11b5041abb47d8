//! Random changes of mailboxes that a virtual one shows, against what it should show; on disk it is
//! closed and opened again in between.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::engines::{self, Running};
use super::*;
use crate::mail::flag::KEYWORDS_MAX;
use crate::mail::id::BlobId;
use crate::store::memory::Memory;
use crate::store::mirror::{Origin, Refresh, Source, bring_forward};

/// Folders 0 and 1 are of one inbox, 2 and 3 of another, which keeps one \Seen for all.
const SOURCES: usize = 4;

#[derive(Clone, Debug)]
pub(super) enum Op {
    Deliver(usize),
    Flag { source: usize, nth: usize, set: bool },
    Keyword { source: usize, nth: usize, name: usize },
    See { source: usize, nth: usize, by_other: bool, seen: bool },
    Move { from: usize, to: usize, nth: usize },
    MoveAndRenew { from: usize, to: usize, nth: usize },
    Expunge { source: usize, nth: usize },
    Look(u8),
    Reopen,
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let source = || 0..SOURCES;
    prop_oneof![
        3 => source().prop_map(Op::Deliver),
        2 => (source(), 0..6usize, any::<bool>())
            .prop_map(|(source, nth, set)| Op::Flag { source, nth, set }),
        1 => (source(), 0..6usize, 0..3usize)
            .prop_map(|(source, nth, name)| Op::Keyword { source, nth, name }),
        2 => (source(), 0..6usize, any::<bool>(), any::<bool>())
            .prop_map(|(source, nth, by_other, seen)| Op::See { source, nth, by_other, seen }),
        3 => (source(), source(), 0..6usize).prop_map(|(from, to, nth)| Op::Move { from, to, nth }),
        1 => (source(), source(), 0..6usize)
            .prop_map(|(from, to, nth)| Op::MoveAndRenew { from, to, nth }),
        1 => (source(), 0..6usize).prop_map(|(source, nth)| Op::Expunge { source, nth }),
        3 => (0..16u8).prop_map(Op::Look),
        3 => Just(Op::Look(15)),
        1 => Just(Op::Reopen),
    ]
}

/// A message as the user should see it.
#[derive(Clone, PartialEq, Debug)]
struct Shown {
    blob: BlobId,
    flags: SystemFlags,
    keywords: BTreeSet<String>,
}

/// What was seen at the last look.
#[derive(Default)]
struct Last {
    shown: BTreeMap<Uid, (Shown, ModSeq)>,
    /// In which source each message lay.
    places: BTreeMap<BlobId, usize>,
    uid_next: u32,
    highest: ModSeq,
    /// Whatever a UID has meant.
    meant: BTreeMap<Uid, BlobId>,
    /// Messages that are to have another UID.
    renewed: UidSet,
}

pub(super) struct World {
    pub(super) bench: Bench,
    pub(super) sources: Vec<MailboxId>,
    pub(super) own: MailboxId,
    delivered: usize,
    last: Last,
}

fn seen_mode(source: usize) -> SeenMode {
    if source < 2 { SeenMode::PerUser } else { SeenMode::Shared }
}

impl World {
    pub(super) async fn new(bench: Bench) -> World {
        let mut sources = Vec::new();
        for (inbox_name, path) in [("A", ""), ("A", "x"), ("B", ""), ("B", "x")] {
            sources.push(bench.create(&inbox(inbox_name), path).await);
        }
        let own = bench.create(&personal("anna"), "\\AllOpen").await;
        World { bench, sources, own, delivered: 0, last: Last::default() }
    }

    async fn nth(&self, source: usize, nth: usize) -> Option<Uid> {
        self.bench.snapshot(self.sources[source]).await.nth(nth).map(|entry| entry.uid)
    }

    fn moving(&self, from: usize, to: usize, uid: Uid) -> Change {
        let place = |source: usize| (self.sources[source], seen_mode(source));
        Change::Moved(transfer(place(from), place(to), &uid.0.to_string()))
    }

    fn refresh(&self, mask: u8, renewed: UidSet) -> Refresh {
        let chosen = (0..SOURCES).filter(|n| mask >> n & 1 == 1);
        let sources = chosen.map(|n| Source { mailbox: self.sources[n], seen: seen_mode(n) });
        let (mailbox, user) = (self.own, login("anna"));
        Refresh { mailbox, user, sources: sources.collect(), renewed }
    }

    pub(super) async fn perform(&mut self, op: &Op) {
        let change = match *op {
            Op::Deliver(source) => {
                self.delivered += 1;
                Some(delivery(self.sources[source], &format!("message {}", self.delivered)))
            }
            Op::Flag { source, nth, set } => self.flag(source, nth, set).await,
            Op::Keyword { source, nth, name } => {
                let flags = keywords(&[["$One", "$Two", "$Three"][name]]);
                self.flags(source, nth, (FlagOperation::Add, flags)).await
            }
            Op::See { source, nth, by_other, seen } => {
                self.see(source, nth, (by_other, seen)).await
            }
            Op::Move { from, to, nth } => {
                self.nth(from, nth).await.map(|uid| self.moving(from, to, uid))
            }
            Op::MoveAndRenew { from, to, nth } => return self.renew(from, to, nth).await,
            Op::Expunge { source, nth } => {
                self.nth(source, nth).await.map(|uid| Change::Expunged {
                    mailbox: self.sources[source],
                    uids: [uid].into_iter().collect(),
                })
            }
            Op::Look(mask) => return self.look(mask).await,
            Op::Reopen => None,
        };
        if let Some(change) = change {
            self.bench.one(change).await;
        }
    }

    async fn flag(&self, source: usize, nth: usize, set: bool) -> Option<Change> {
        let operation = if set { FlagOperation::Add } else { FlagOperation::Remove };
        self.flags(source, nth, (operation, system(SystemFlags::FLAGGED))).await
    }

    async fn flags(
        &self,
        source: usize,
        nth: usize,
        (operation, flags): (FlagOperation, crate::mail::flag::FlagList),
    ) -> Option<Change> {
        let uid = self.nth(source, nth).await?;
        Some(Change::FlagsSet {
            mailbox: self.sources[source],
            uids: [uid].into_iter().collect(),
            operation,
            flags,
            unchanged_since: None,
            viewer: None,
        })
    }

    async fn see(&self, source: usize, nth: usize, how: (bool, bool)) -> Option<Change> {
        let (by_other, seen) = how;
        if seen_mode(source) == SeenMode::Shared {
            let operation = if seen { FlagOperation::Add } else { FlagOperation::Remove };
            return self.flags(source, nth, (operation, system(SystemFlags::SEEN))).await;
        }
        let uid = self.nth(source, nth).await?;
        Some(Change::SeenSet {
            mailbox: self.sources[source],
            user: login(if by_other { "ben" } else { "anna" }),
            uids: [uid].into_iter().collect(),
            seen,
            unchanged_since: None,
        })
    }

    /// As MOVE does in a virtual mailbox: one transaction.
    async fn renew(&mut self, from: usize, to: usize, nth: usize) {
        self.look(15).await;
        let Some(uid) = self.nth(from, nth).await else { return };
        let mirror = self.bench.snapshot(self.own).await.mirror.clone().expect("looked at");
        let own = mirror.own(Origin { mailbox: self.sources[from], uid }).expect("shown");
        let renewed: UidSet = [own].into_iter().collect();
        let refresh = self.refresh(15, renewed.clone());
        let changes = vec![self.moving(from, to, uid), Change::Refreshed(Box::new(refresh))];
        let outcomes = self.bench.commit(changes).await.expect("commits");
        assert!(matches!(outcomes[0], Outcome::Copied { .. }));
        self.last.renewed = renewed;
        self.look(15).await;
    }

    /// What the virtual mailbox should show of these sources.
    async fn expected(&self, mask: u8) -> BTreeMap<Origin, Shown> {
        let mut expected = BTreeMap::new();
        for n in (0..SOURCES).filter(|n| mask >> n & 1 == 1) {
            let mailbox = self.sources[n];
            let snapshot = self.bench.snapshot(mailbox).await;
            let overlay = self.bench.overlay(mailbox, "anna").await;
            for entry in snapshot.iter() {
                let mut flags = entry.flags;
                if seen_mode(n) == SeenMode::PerUser && overlay.seen(entry.uid) {
                    flags = flags | SystemFlags::SEEN;
                }
                let shown = Shown { blob: entry.blob, flags, keywords: names(&snapshot, entry) };
                expected.insert(Origin { mailbox, uid: entry.uid }, shown);
            }
        }
        expected
    }

    pub(super) async fn look(&mut self, mask: u8) {
        let refresh = self.refresh(mask, UidSet::new());
        bring_forward(&*self.bench.store, refresh).await.expect("comes forward");
        let snapshot = self.bench.snapshot(self.own).await;
        let empty = Arc::default();
        let mirror = snapshot.mirror.as_ref().unwrap_or(&empty);
        let mut shown: BTreeMap<Origin, (Uid, Shown, ModSeq)> = BTreeMap::new();
        for entry in snapshot.iter() {
            let origin = mirror.origin(entry.uid).expect("an origin");
            assert_eq!(mirror.own(origin), Some(entry.uid));
            let (blob, flags, keywords) = (entry.blob, entry.flags, names(&snapshot, entry));
            let told = Shown { blob, flags, keywords };
            assert!(shown.insert(origin, (entry.uid, told, entry.modseq)).is_none());
        }
        let plain: BTreeMap<Origin, Shown> =
            shown.iter().map(|(origin, (_, shown, _))| (*origin, shown.clone())).collect();
        assert_eq!(plain, self.expected(mask).await);
        let source = |origin: &Origin| self.sources.iter().position(|id| *id == origin.mailbox);
        let places = shown.iter().map(|(o, (_, s, _))| (s.blob, source(o).expect("known")));
        let places = places.collect();
        let now = shown.into_values().map(|(uid, shown, modseq)| (uid, (shown, modseq)));
        let now = now.collect();
        self.compare((&snapshot, mask), (now, places)).await;
    }

    /// UIDs and mod-sequences are as RFC 3501 and RFC 7162 want them.
    async fn compare(
        &mut self,
        (snapshot, mask): (&Snapshot, u8),
        (now, places): (BTreeMap<Uid, (Shown, ModSeq)>, BTreeMap<BlobId, usize>),
    ) {
        let last = &mut self.last;
        assert!(snapshot.uid_next.0 >= last.uid_next && snapshot.highest_modseq >= last.highest);
        let gone = self.bench.store.expunged_since(self.own, last.highest).await.expect("there");
        for (uid, (shown, _)) in &last.shown {
            let kept = now.contains_key(uid);
            assert_ne!(gone.contains(*uid), kept, "{uid:?} {gone}");
            // in a source that is not shown any more it is lost from sight
            let place = last.places[&shown.blob];
            let still = |now: &usize| now / 2 == place / 2 && mask >> place & 1 == 1;
            let stayed = places.get(&shown.blob).is_some_and(still);
            let renewed = last.renewed.contains(*uid);
            assert!(kept || !stayed || renewed, "{uid:?} has got another UID");
            assert!(!renewed || !kept, "{uid:?} has kept its UID");
        }
        for (uid, (shown, modseq)) in &now {
            let meant = last.meant.entry(*uid).or_insert(shown.blob);
            assert_eq!(*meant, shown.blob, "a UID is used twice");
            match last.shown.get(uid) {
                Some((before, old)) if before == shown => assert!(modseq >= old),
                Some(_) => assert!(*modseq > last.highest, "a change is not seen"),
                None => assert!(uid.0 >= last.uid_next && *modseq > last.highest),
            }
            assert!(*modseq <= snapshot.highest_modseq);
        }
        (last.uid_next, last.highest) = (snapshot.uid_next.0, snapshot.highest_modseq);
        (last.shown, last.places) = (now, places);
        last.renewed = UidSet::new();
    }
}

fn names(snapshot: &Snapshot, entry: &Entry) -> BTreeSet<String> {
    entry.keywords.iter().map(|n| snapshot.keywords[usize::from(n)].to_string()).collect()
}

fn run(ops: &[Op], reopen: &mut dyn FnMut(Option<Bench>) -> Bench) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut world = World::new(reopen(None)).await;
        for op in ops {
            if let Op::Reopen = op {
                let World { bench, sources, own, delivered, last } = world;
                world = World { bench: reopen(Some(bench)), sources, own, delivered, last };
            }
            world.perform(op).await;
        }
        world.look(15).await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn a_virtual_mailbox_shows_what_its_sources_have(
        ops in proptest::collection::vec(op(), 1..60)
    ) {
        let clock = engines::clock();
        let store = Arc::new(Memory::new(clock.clone()));
        run(&ops, &mut |_| Bench { store: store.clone(), clock: clock.clone() });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn on_disk_its_uids_and_mod_sequences_outlive_a_restart(
        ops in proptest::collection::vec(op(), 1..60)
    ) {
        let (folder, clock) = (engines::Folder::new(), engines::clock());
        let mut running: Option<Running> = None;
        run(&ops, &mut |bench| {
            drop(bench);
            if let Some(running) = running.take() {
                assert_eq!(running.close(), Ok(()));
            }
            let opened = running.insert(Running::open(folder.path(), &clock));
            Bench { store: Arc::new(opened.store.clone()), clock: clock.clone() }
        });
    }
}

#[tokio::test]
async fn what_goes_from_one_source_to_another_of_its_account_keeps_its_uid() {
    let clock = engines::clock();
    let store = Arc::new(Memory::new(clock.clone()));
    let mut world = World::new(Bench { store, clock }).await;
    world.perform(&Op::Deliver(0)).await;
    world.look(15).await;
    world.perform(&Op::Move { from: 0, to: 1, nth: 0 }).await;
    world.look(15).await;
    assert_eq!(world.bench.uids(world.own).await, [1]);
    // between accounts it is another one, and so it is for a client that has moved it itself
    world.perform(&Op::MoveAndRenew { from: 1, to: 0, nth: 0 }).await;
    assert_eq!(world.bench.uids(world.own).await, [2]);
    world.perform(&Op::Move { from: 0, to: 2, nth: 0 }).await;
    world.look(15).await;
    assert_eq!(world.bench.uids(world.own).await, [3]);
}

#[tokio::test]
async fn who_watches_it_is_woken_by_what_it_shows_and_by_nothing_else() {
    let clock = engines::clock();
    let store = Arc::new(Memory::new(clock.clone()));
    let mut world = World::new(Bench { store, clock }).await;
    world.look(3).await;
    let mut watch = world.bench.store.watch(world.own);
    for (source, wakes) in [(0, true), (1, true), (2, false)] {
        world.perform(&Op::Deliver(source)).await;
        assert_eq!(watch.has_changed().expect("open"), wakes, "{source}");
        watch.mark_unchanged();
    }
    world.look(4).await;
    watch.mark_unchanged();
    world.perform(&Op::Deliver(0)).await;
    assert!(!watch.has_changed().expect("open"), "it is not shown any more");
    world.perform(&Op::Deliver(2)).await;
    assert!(watch.has_changed().expect("open"));
}

#[tokio::test]
async fn it_is_found_by_no_message_id() {
    let (folder, clock) = (engines::Folder::new(), engines::clock());
    let running = Running::open(folder.path(), &clock);
    let on_disk = Bench { store: Arc::new(running.store.clone()), clock: clock.clone() };
    let in_memory = Bench { store: Arc::new(Memory::new(clock.clone())), clock };
    for bench in [on_disk, in_memory] {
        let mut world = World::new(bench).await;
        let mut message = delivered(world.sources[0], "one");
        let mut parsed = (*message.message.parsed).clone();
        parsed.envelope.message_id = Some(b"<one@example.org>".to_vec());
        message.message.parsed = Arc::new(parsed);
        world.bench.one(Change::Delivered(Box::new(message))).await;
        world.look(15).await;
        assert_eq!(world.bench.uids(world.own).await, [1]);
        let found = world.bench.store.instances_of("one@example.org").await.expect("found");
        assert_eq!(found.iter().map(|i| i.mailbox).collect::<Vec<_>>(), [world.sources[0]]);
    }
    assert_eq!(running.close(), Ok(()));
}

#[tokio::test]
async fn what_there_is_no_number_left_for_is_not_shown() {
    let clock = engines::clock();
    let store = Arc::new(Memory::new(clock.clone()));
    let mut world = World::new(Bench { store, clock }).await;
    for source in [0, 2] {
        world.perform(&Op::Deliver(source)).await;
        let names: Vec<String> = (0..200).map(|n| format!("k{source}-{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let change = world.flags(source, 0, (FlagOperation::Add, keywords(&names))).await;
        world.bench.one(change.expect("there")).await;
    }
    let refresh = world.refresh(15, UidSet::new());
    bring_forward(&*world.bench.store, refresh.clone()).await.expect("comes forward");
    let snapshot = world.bench.snapshot(world.own).await;
    assert_eq!(snapshot.keywords.len(), KEYWORDS_MAX);
    let shown: usize = snapshot.iter().map(|entry| entry.keywords.iter().count()).sum();
    assert_eq!(shown, KEYWORDS_MAX);
    // and it is not tried again each time
    bring_forward(&*world.bench.store, refresh).await.expect("comes forward");
    assert_eq!(world.bench.snapshot(world.own).await.highest_modseq, snapshot.highest_modseq);
}
