//! Whatever is delivered, moved and answered by several users: nothing is lost, and each message of
//! an inbox is in one folder of work, which is the one that the audit log tells of.

use std::collections::BTreeMap;

use postfach::conversation::{Scope, State, moving, restoring};
use postfach::mail::account::{Folder, FolderRole};
use postfach::mail::flag::SeenMode;
use postfach::mail::id::Timestamp;
use postfach::store::Store;
use postfach::store::change::{Actor, Change, Transaction, Transfer};
use proptest::prelude::*;

use crate::audited;
use crate::conversations::done;
use crate::world::{World, inbox, login, sent};

const USERS: [&str; 2] = ["anna", "ben"];

#[derive(Clone, Debug)]
enum Step {
    /// A mail that follows one of the earlier ones, or none.
    Comes(Option<prop::sample::Index>),
    /// A user answers one of the earlier ones, which they know all of or this one only.
    Answers(usize, prop::sample::Index, bool),
    /// A user moves a message from one folder to another.
    Moves(usize, usize, prop::sample::Index),
    /// A user deletes a message out of a folder.
    Deletes(usize, usize, prop::sample::Index),
    /// Some of what is in the Trash goes back to where it was.
    Restores(prop::sample::Index),
    /// A user is away, or back.
    Goes(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        proptest::option::of(index()).prop_map(Step::Comes),
        (0..2_usize, index(), any::<bool>())
            .prop_map(|(by, what, all)| Step::Answers(by, what, all)),
        (0..2_usize, 0..16_usize, index()).prop_map(|(by, way, what)| Step::Moves(by, way, what)),
        (0..2_usize, 0..4_usize, index()).prop_map(|(by, n, what)| Step::Deletes(by, n, what)),
        index().prop_map(Step::Restores),
        (0..2_usize, any::<bool>()).prop_map(|(who, away)| Step::Goes(who, away)),
    ]
}

fn folders() -> [Folder; 4] {
    let assigned = |name| Folder::assigned(&login(name));
    [Folder::root(), assigned("anna"), assigned("ben"), done()]
}

/// As MOVE does it.
async fn moves(world: &World, by: &str, (from, to): (&Folder, &Folder), what: usize) {
    let account = inbox("Support");
    let scope = Scope { store: &world.store, directory: &world.directory, account: &account };
    let id = |folder| world.store.find(&account, folder).expect("there").id;
    let (from, mailbox) = (id(from), id(to));
    let snapshot = world.store.snapshot(from).await.expect("there");
    let Some(entry) = snapshot.nth(what % snapshot.len().max(1)) else { return };
    let mut groups = vec![(from, [entry.uid].into_iter().collect())];
    if from == mailbox {
        return;
    }
    let rest = moving::rest(&scope, (&[entry.blob], &groups[0]), mailbox).await.expect("finds");
    groups.extend(rest);
    let state = State::of(&account, to).expect("a state");
    let target = moving::Target { state, mailbox, user: login(by) };
    let changes = moving::changes(&scope, &groups, &target).await.expect("changes");
    let actor = Actor::User(login(by));
    world.store.commit(Transaction { actor, changes }).await.expect("moves");
}

fn trash() -> Folder {
    Folder::role(FolderRole::Trash)
}

/// As EXPUNGE does it in an inbox.
async fn deletes(world: &World, by: &str, from: &Folder, what: usize) {
    let id = |folder: &Folder| world.store.find(&inbox("Support"), folder).expect("there").id;
    let (from, to) = (id(from), id(&trash()));
    let snapshot = world.store.snapshot(from).await.expect("there");
    let Some(entry) = snapshot.nth(what % snapshot.len().max(1)) else { return };
    let (seen, uids) = (SeenMode::PerUser, [entry.uid].into_iter().collect());
    let moved = Transfer { from, from_seen: seen, uids, to, to_seen: seen, user: login(by) };
    let (actor, changes) = (Actor::User(login(by)), vec![Change::Moved(moved)]);
    world.store.commit(Transaction { actor, changes }).await.expect("deletes");
}

/// As `postfach restore` does it.
async fn restores(world: &World, what: usize) {
    let account = inbox("Support");
    let scope = Scope { store: &world.store, directory: &world.directory, account: &account };
    let trash = world.store.find(&account, &trash()).expect("there").id;
    let snapshot = world.store.snapshot(trash).await.expect("there");
    let uids = snapshot.iter().map(|entry| entry.uid).collect();
    let mut messages = restoring::deleted(&scope, (trash, &uids)).await.expect("reads");
    assert!(messages.iter().all(|message| message.entry.is_some()), "it is known who did it");
    messages.truncate(what % 3);
    let messages = restoring::without_copies(&scope, trash, messages).await.expect("reads");
    let returns = restoring::returns(&scope, &messages).await.expect("finds");
    let changes = restoring::changes(&scope, (trash, &returns), &login("")).await.expect("changes");
    world.store.commit(Transaction { actor: Actor::Operator, changes }).await.expect("restores");
}

async fn goes(world: &World, who: &str, away: bool) {
    let until = away.then_some(Timestamp(i64::MAX));
    let changes = vec![Change::AwaySet { user: login(who), until }];
    world.store.commit(Transaction { actor: Actor::Operator, changes }).await.expect("goes");
}

async fn holds(world: &World, came: usize, answered: usize) {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for folder in folders().into_iter().chain([trash()]) {
        let keyword = folder.assignee().map(|login| format!("$assigned-{login}"));
        for message in world.there(folder.clone()).await {
            let mut words = message.split(' ');
            *places.entry(words.next().expect("an id").to_owned()).or_default() += 1;
            let named: Vec<String> = words.map(str::to_owned).collect();
            if folder != done() && folder != trash() {
                assert_eq!(named, Vec::from_iter(keyword.clone()), "the keyword is the assignee's");
            }
        }
    }
    assert_eq!(places.len(), came, "nothing is lost");
    assert!(places.values().all(|count| *count == 1), "{places:?}");
    audited::matches(world).await;
    assert_eq!(world.there(sent()).await.len(), answered);
    assert_eq!(world.queue().len(), answered);
}

async fn run(steps: Vec<Step>) {
    let world = World::new().await;
    let mut all: Vec<String> = Vec::new();
    let (mut came, mut answered) = (0, 0);
    for (n, step) in steps.into_iter().enumerate() {
        match step {
            Step::Comes(parent) => {
                let id = format!("q{n}@c");
                let parent =
                    parent.filter(|_| !all.is_empty()).map(|index| index.get(&all).clone());
                world.comes(&id, &Vec::from_iter(parent.as_deref())).await;
                all.push(id);
                came += 1;
            }
            Step::Answers(by, what, knows_all) if !all.is_empty() => {
                let id = format!("a{n}@o");
                let parent = [what.get(&all).as_str()];
                let every: Vec<&str> = all.iter().map(String::as_str).collect();
                let known = if knows_all { &every[..] } else { &parent[..] };
                if world.answers(USERS[by], &id, known).await.is_ok() {
                    all.push(id);
                    answered += 1;
                }
            }
            Step::Answers(..) => {}
            Step::Moves(by, way, what) => {
                let folders = folders();
                let way = (&folders[way / 4], &folders[way % 4]);
                moves(&world, USERS[by], way, what.index(1_000)).await;
            }
            Step::Deletes(by, n, what) => {
                deletes(&world, USERS[by], &folders()[n], what.index(1_000)).await;
            }
            Step::Restores(what) => restores(&world, what.index(1_000)).await,
            Step::Goes(who, away) => goes(&world, USERS[who], away).await,
        }
        holds(&world, came, answered).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn each_message_is_in_one_folder_of_work(steps in proptest::collection::vec(step(), 1..24)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(run(steps));
    }
}
