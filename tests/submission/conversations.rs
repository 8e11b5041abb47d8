//! Conversations between delivery and submission: follow-ups, answers that assign, colleagues who
//! answer at once.

use postfach::mail::account::{Account, Folder, FolderRole};
use postfach::mail::flag::SeenMode;
use postfach::mail::id::{ThreadId, Timestamp};
use postfach::mail::uid_set::UidSet;
use postfach::store::Store;
use postfach::store::change::{Actor, Change, FlagOperation, Transaction, Transfer};

use crate::world::{World, inbox, login, sent};

pub(crate) const CUSTOMER: &str = "kunde@customer.example";

fn assigned(to: &str) -> Folder {
    Folder::assigned(&login(to))
}

pub(crate) fn done() -> Folder {
    Folder::role(FolderRole::Done)
}

/// A mail from outside: `From` and what it follows.
fn incoming(from: &str, id: &str, follows: &[&str]) -> String {
    let references: String = follows.iter().map(|id| format!(" <{id}>")).collect();
    format!(
        "From: {from}\r\nTo: support@example.org\r\nMessage-ID: <{id}>\r\n\
         References:{references}\r\nSubject: Frage\r\n\r\n{id}\r\n"
    )
}

/// An answer of the inbox.
fn answer(id: &str, follows: &[&str]) -> String {
    let references: String = follows.iter().map(|id| format!(" <{id}>")).collect();
    let parent = follows.last().expect("a parent");
    format!(
        "From: support@example.org\r\nTo: {CUSTOMER}\r\nMessage-ID: <{id}>\r\n\
         Date: Sun, 22 Nov 2026 23:23:06 +0000\r\n\
         In-Reply-To: <{parent}>\r\nReferences:{references}\r\n\r\n{id}\r\n"
    )
}

impl World {
    pub(crate) async fn comes(&self, id: &str, follows: &[&str]) {
        self.receive(&["support@example.org"], &incoming(CUSTOMER, id, follows)).await;
    }

    pub(crate) async fn answers(&self, by: &str, id: &str, follows: &[&str]) -> Result<(), String> {
        let to = ("support@example.org", &[CUSTOMER][..]);
        self.submit(by, to, &answer(id, follows)).await.map(|_| ())
    }

    /// What lies in a folder of Support: the last line of each body, and its keywords.
    pub(crate) async fn there(&self, folder: Folder) -> Vec<String> {
        let all = self.messages((&inbox("Support"), folder), "anna").await;
        let line = |text: &str| text.trim_end().rsplit("\r\n").next().unwrap_or("").to_owned();
        all.iter().map(|m| [&[line(&m.text)], &m.keywords[..]].concat().join(" ")).collect()
    }

    /// Moves all of a folder, with the keyword that a MOVE would leave.
    pub(crate) async fn moves(&self, from: Folder, to: Folder, mark: Option<&str>) {
        let mailbox = |folder| self.store.find(&inbox("Support"), folder).expect("there").id;
        let (from, to) = (mailbox(&from), mailbox(&to));
        let uids: UidSet =
            self.store.snapshot(from).await.expect("there").iter().map(|e| e.uid).collect();
        let mut changes = Vec::new();
        changes.extend(mark.map(|mark| Change::FlagsSet {
            mailbox: from,
            uids: uids.clone(),
            operation: FlagOperation::Add,
            flags: postfach::mail::flag::FlagList {
                keywords: vec![mark.to_owned()],
                ..Default::default()
            },
            unchanged_since: None,
            viewer: None,
        }));
        let (from_seen, to_seen) = (SeenMode::PerUser, SeenMode::PerUser);
        let user = login("anna");
        changes.push(Change::Moved(Transfer { from, from_seen, uids, to, to_seen, user }));
        let actor = Actor::User(login("anna"));
        self.store.commit(Transaction { actor, changes }).await.expect("moves");
    }

    /// The THREADIDs of an account's folder, by UID.
    async fn threads(&self, of: &Account, folder: Folder) -> Vec<ThreadId> {
        let id = self.store.find(of, &folder).expect("there").id;
        self.store.snapshot(id).await.expect("there").iter().map(|entry| entry.thread).collect()
    }

    fn later(&self, seconds: i64) {
        self.clock.set(Timestamp::from_seconds(self.store.now().seconds() + seconds));
    }
}

#[tokio::test]
async fn what_follows_somebody_who_is_away_goes_to_nobody_and_is_told() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    world.answers("ben", "a1@o", &["q1@c"]).await.expect("accepted");
    world.comes("other@c", &[]).await;
    world.answers("ben", "a2@o", &["other@c"]).await.expect("accepted");
    world.moves(assigned("ben"), done(), None).await;
    world.comes("q2@c", &["q1@c"]).await;
    assert_eq!(world.there(assigned("ben")).await.len(), 2, "while he is there");
    let away = |until| vec![Change::AwaySet { user: login("ben"), until }];
    let operator = async |changes| {
        world.store.commit(Transaction { actor: Actor::Operator, changes }).await.expect("commits");
    };
    operator(away(Some(Timestamp(i64::MAX)))).await;
    assert_eq!(world.there(assigned("ben")).await.len(), 2, "what he has, stays");
    world.comes("q3@c", &["q2@c"]).await;
    world.comes("q4@c", &["other@c"]).await;
    assert_eq!(world.there(assigned("ben")).await, [""; 0]);
    assert_eq!(world.there(Folder::root()).await, ["q1@c", "q2@c", "q3@c", "other@c", "q4@c"]);
    let deeds: Vec<String> = crate::audited::entries(&world)
        .await
        .iter()
        .filter(|entry| entry.user().is_none())
        .map(|entry| entry.deed.to_string())
        .collect();
    assert_eq!(deeds, ["reopen", "assign", "away", "unassign", "reopen"]);
    operator(away(None)).await;
    world.moves(Folder::root(), assigned("ben"), Some("$assigned-ben")).await;
    world.comes("q5@c", &["q1@c"]).await;
    assert_eq!(world.there(assigned("ben")).await.len(), 6, "he is back");
}

#[tokio::test]
async fn answering_takes_a_conversation_that_nobody_has() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    world.comes("q2@c", &["q1@c"]).await;
    world.comes("other@c", &[]).await;
    world.answers("ben", "a1@o", &["q1@c", "q2@c"]).await.expect("accepted");
    assert_eq!(world.there(Folder::root()).await, ["other@c"]);
    assert_eq!(
        world.there(assigned("ben")).await,
        ["q1@c $assigned-ben", "q2@c $assigned-ben"],
        "all of it"
    );
    // anna, who knows of ben's answer, does not take it away from him
    world.comes("q3@c", &["q1@c", "a1@o"]).await;
    world.answers("anna", "a2@o", &["q1@c", "a1@o", "q3@c"]).await.expect("accepted");
    assert_eq!(world.there(assigned("ben")).await.len(), 3);
    assert!(world.there(assigned("anna")).await.is_empty());
}

#[tokio::test]
async fn a_conversation_is_one_thread_wherever_it_lies() {
    let world = World::new().await;
    let support = inbox("Support");
    world.comes("q1@c", &[]).await;
    world.comes("other@c", &[]).await;
    let open = world.threads(&support, Folder::root()).await;
    let (first, other) = (open[0], open[1]);
    assert!(open.len() == 2 && first != other, "{open:?}");
    world.answers("ben", "a1@o", &["q1@c"]).await.expect("accepted");
    assert_eq!(world.threads(&support, sent()).await, [first], "the copy in Sent");
    world.comes("q2@c", &["q1@c", "a1@o"]).await;
    assert_eq!(world.threads(&support, assigned("ben")).await, [first, first]);
    // by another's hand the same reference means nothing
    let forged = incoming("evil@elsewhere.example", "x@x", &["q1@c"]);
    world.receive(&["support@example.org"], &forged).await;
    let open = world.threads(&support, Folder::root()).await;
    assert!(open.len() == 2 && open[0] == other && open[1] != first, "{open:?}");
}

#[tokio::test]
async fn a_follow_up_sticks_to_who_has_the_conversation() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    world.answers("ben", "a1@o", &["q1@c"]).await.expect("accepted");
    world.comes("q2@c", &["q1@c", "a1@o"]).await;
    world.comes("q3@c", &["a1@o"]).await;
    let expected = ["q1@c $assigned-ben", "q2@c $assigned-ben", "q3@c $assigned-ben"];
    assert_eq!(world.there(assigned("ben")).await, expected);
    // by another's hand the same reference means nothing
    let forged = incoming("evil@elsewhere.example", "x@x", &["q1@c", "a1@o"]);
    world.receive(&["support@example.org"], &forged).await;
    world.comes("same subject@c", &[]).await;
    assert_eq!(world.there(Folder::root()).await, ["x@x", "same subject@c"]);
}

#[tokio::test]
async fn a_reply_opens_what_was_closed_for_who_had_it() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    world.answers("ben", "a1@o", &["q1@c"]).await.expect("accepted");
    world.moves(assigned("ben"), done(), None).await;
    assert_eq!(world.there(done()).await, ["q1@c $assigned-ben"], "the keyword stays");
    world.comes("q2@c", &["q1@c", "a1@o"]).await;
    assert_eq!(world.there(assigned("ben")).await, ["q1@c $assigned-ben", "q2@c $assigned-ben"]);
    assert!(world.there(done()).await.is_empty());
    // nobody had it: it is open for all
    world.comes("r1@c", &[]).await;
    world.moves(Folder::root(), done(), None).await;
    world.comes("r2@c", &["r1@c"]).await;
    assert_eq!(world.there(Folder::root()).await, ["r1@c", "r2@c"]);
}

#[tokio::test]
async fn who_works_there_no_longer_has_no_conversations() {
    let mut world = World::new().await;
    world.comes("q1@c", &[]).await;
    world.answers("ben", "a1@o", &["q1@c"]).await.expect("accepted");
    world.directory.users.remove(&login("ben"));
    world.comes("q2@c", &["q1@c", "a1@o"]).await;
    assert_eq!(world.there(Folder::root()).await, ["q1@c", "q2@c"], "open, and without keyword");
    world.moves(Folder::root(), done(), Some("$assigned-ben")).await;
    world.comes("q3@c", &["q1@c"]).await;
    assert_eq!(world.there(Folder::root()).await, ["q1@c", "q2@c", "q3@c"]);
}

#[tokio::test]
async fn a_retry_of_what_was_delivered_opens_nothing() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    world.answers("ben", "a1@o", &["q1@c"]).await.expect("accepted");
    world.comes("q2@c", &["a1@o"]).await;
    world.moves(assigned("ben"), done(), None).await;
    world.comes("q2@c", &["a1@o"]).await;
    assert_eq!(world.there(done()).await.len(), 2);
    assert!(world.there(assigned("ben")).await.is_empty());
}

#[tokio::test]
async fn parents_may_be_missing_and_come_in_any_order() {
    let world = World::new().await;
    world.comes("q3@c", &["q1@c", "q2@c"]).await;
    world.answers("ben", "a1@o", &["q3@c"]).await.expect("accepted");
    world.comes("q1@c", &[]).await;
    world.comes("q2@c", &["q1@c"]).await;
    assert_eq!(world.there(assigned("ben")).await.len(), 3, "the later ones found their child");
    let many: Vec<String> = (0..5_000).map(|n| format!("{n}@x")).collect();
    let mut follows: Vec<&str> = many.iter().map(String::as_str).collect();
    follows.insert(0, "q1@c");
    world.comes("q4@c", &follows).await;
    assert_eq!(world.there(assigned("ben")).await.len(), 4, "the first of huge References counts");
}

#[tokio::test]
async fn an_answer_that_crosses_a_colleagues_is_stopped_once() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    world.answers("ben", "b1@o", &["q1@c"]).await.expect("accepted");
    world.later(60);
    let refusal = "550 5.7.1 Ben answered at 23:23 (UTC); send again to send anyway";
    assert_eq!(world.answers("anna", "a1@o", &["q1@c"]).await, Err(refusal.to_owned()));
    assert_eq!(world.there(sent()).await, ["b1@o"], "nothing has left");
    assert_eq!(world.queue().len(), 1);
    world.later(14 * 60);
    // programs give it another Message-ID when it is sent once more
    assert_eq!(world.answers("anna", "a2@o", &["q1@c"]).await, Ok(()));
    assert_eq!(world.there(sent()).await, ["b1@o", "a2@o"]);
    // ben, in his turn, has not seen anna's
    let refusal = "550 5.7.1 Anna answered at 23:38 (UTC); send again to send anyway";
    assert_eq!(world.answers("ben", "b2@o", &["q1@c", "b1@o"]).await, Err(refusal.to_owned()));
    assert_eq!(world.answers("ben", "b3@o", &["q1@c", "b1@o", "a2@o"]).await, Ok(()), "now he has");
}

#[tokio::test]
async fn a_lost_250_is_no_collision_with_oneself() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    world.answers("anna", "a1@o", &["q1@c"]).await.expect("accepted");
    world.answers("ben", "b1@o", &["q1@c", "a1@o"]).await.expect("accepted");
    assert_eq!(world.answers("anna", "a1@o", &["q1@c"]).await, Ok(()));
    assert_eq!(world.queue().len(), 2, "and nothing is sent twice");
}

#[tokio::test]
async fn of_two_answers_in_the_same_instant_one_is_stopped() {
    for _ in 0..20 {
        let world = World::new().await;
        world.comes("q1@c", &[]).await;
        let both = tokio::join!(
            world.answers("anna", "a1@o", &["q1@c"]),
            world.answers("ben", "b1@o", &["q1@c"]),
        );
        assert_eq!(u32::from(both.0.is_ok()) + u32::from(both.1.is_ok()), 1, "{both:?}");
    }
}

#[tokio::test]
async fn the_switches_are_the_inboxs() {
    let mut world = World::new().await;
    let policy = |world: &mut World, change: fn(&mut postfach::directory::Policy)| {
        change(&mut world.directory.inboxes.get_mut("Support").expect("there").policy);
    };
    policy(&mut world, |policy| {
        policy.collision = postfach::directory::CollisionGuard::Reject;
        policy.answering_assigns = false;
    });
    world.comes("q1@c", &[]).await;
    world.answers("ben", "b1@o", &["q1@c"]).await.expect("accepted");
    assert_eq!(world.there(Folder::root()).await, ["q1@c"], "not assigned");
    let refusal = "550 5.7.1 Ben answered at 23:23 (UTC); read that answer and answer it instead";
    for id in ["a1@o", "a2@o"] {
        assert_eq!(world.answers("anna", id, &["q1@c"]).await, Err(refusal.to_owned()));
    }
    assert_eq!(world.answers("anna", "a3@o", &["q1@c", "b1@o"]).await, Ok(()));
    policy(&mut world, |policy| {
        policy.collision = postfach::directory::CollisionGuard::Off;
        policy.answering_assigns = true;
        policy.conversation = postfach::directory::Moves::Single;
    });
    world.comes("q2@c", &["q1@c"]).await;
    world.answers("ben", "b2@o", &["q1@c", "q2@c"]).await.expect("off");
    assert_eq!(world.there(Folder::root()).await, ["q1@c"]);
    assert_eq!(world.there(assigned("ben")).await, ["q2@c $assigned-ben"], "alone");
}

#[tokio::test]
async fn who_has_sent_it_does_not_leave_the_house() {
    let world = World::new().await;
    world.comes("q1@c", &[]).await;
    world.answers("ben", "b1@o", &["q1@c"]).await.expect("accepted");
    let filed = world.messages((&inbox("Support"), sent()), "anna").await;
    assert!(filed[0].text.starts_with("X-Postfach-Sender: ben\r\nFrom: support@"), "{filed:?}");
    // a program that sends the copy in Sent again
    let to = ("support@example.org", &["other@customer.example"][..]);
    world.submit("ben", to, &filed[0].text).await.expect("accepted");
    for queued in world.queue() {
        let leaving = world.queued_text(&queued).await;
        assert!(!leaving.contains("X-Postfach-Sender"), "{leaving}");
    }
    // personal mail says nothing of the kind
    let to = ("anna@example.org", &[CUSTOMER][..]);
    let text = "From: anna@example.org\r\nMessage-ID: <p@o>\r\nDate: x\r\n\r\n";
    world.submit("anna", to, text).await.expect("accepted");
    let filed = world.messages((&Account::User(login("anna")), sent()), "anna").await;
    assert!(!filed[0].text.contains("X-Postfach-Sender"), "{filed:?}");
}
