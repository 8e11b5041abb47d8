//! Reports that cannot be stored when they are due, or whose sender is gone: none is lost.

use std::sync::atomic::Ordering;

use super::*;
use crate::directory::Role;
use crate::store::queue::{NewQueued, OwedOutcome};

fn relayed(new: &mut NewQueued) {
    new.envelope.sender = None;
    new.envelope.reverse_path = Address::parse("eve@elsewhere.example");
}

/// Whoever gets a report gets it at once; others what the script says.
fn reports_are_taken(script: Script) -> Script {
    Arc::new(move |hop, mail| match mail.reverse_path {
        None => delivered()(hop, mail),
        Some(_) => script(hop, mail),
    })
}

fn told_to_eve(world: &World) -> usize {
    let is_eve = |to: &String| to == "eve@elsewhere.example";
    world.attempts().iter().filter(|(_, _, to)| to.iter().any(is_eve)).count()
}

#[tokio::test(start_paused = true)]
async fn a_report_that_a_full_queue_does_not_take_is_made_later_and_nothing_is_sent_twice() {
    let success = Some(Notify { success: true, failure: true, delay: true });
    let rows = [(failed(), OwedOutcome::Failed), (delivered(), OwedOutcome::Relayed)];
    for (script, outcome) in rows {
        let world = World::new(reports_are_taken(script)).await;
        world.store.is_queue_full.store(true, Ordering::SeqCst);
        world
            .queue_as(&["bob@example.net", "carol@example.net"], |new| {
                relayed(new);
                new.recipients[0].notify = success;
            })
            .await;
        world.pass(1).await;
        let queued = world.queued();
        let owed = queued[0].recipients[0].progress.owed.as_deref().expect("a report is owed");
        assert_eq!((owed.outcome, owed.by.as_str()), (outcome, "mx.example.net"));
        let shown = queued[0].recipients[0].progress.last_reply.clone().unwrap_or_default();
        assert!(shown.starts_with("the report on it waits: mx.example.net: "), "{shown}");
        world.pass(10 * 24 * HOUR).await;
        assert_eq!(world.attempts().len(), 1, "it is decided, and does not expire");
        let world = world.restart().await;
        world.pass(1).await;
        assert_eq!((world.queued().len(), told_to_eve(&world)), (1, 0));
        world.store.is_queue_full.store(false, Ordering::SeqCst);
        world.pass(HOUR).await;
        assert_eq!((world.queued().len(), told_to_eve(&world)), (0, 1));
        assert_eq!(world.attempts().len(), 2, "{:?}", world.attempts());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_leaves_a_full_queue_makes_room_for_the_report_on_it() {
    let world = World::new(reports_are_taken(failed())).await;
    world.store.queue_max.store(1, Ordering::SeqCst);
    world.queue_as(&["bob@example.net"], relayed).await;
    world.pass(1).await;
    assert_eq!((world.queued().len(), told_to_eve(&world)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_a_full_queue_does_not_take_is_told_with_a_later_attempt() {
    let world = World::new(reports_are_taken(deferred())).await;
    world.store.is_queue_full.store(true, Ordering::SeqCst);
    world.queue_as(&["bob@example.net"], relayed).await;
    world.pass(12 * HOUR).await;
    assert_eq!(told_to_eve(&world), 0);
    assert!(!world.queued()[0].recipients[0].progress.delay_told);
    world.store.is_queue_full.store(false, Ordering::SeqCst);
    world.pass(12 * HOUR).await;
    assert_eq!(told_to_eve(&world), 1, "and once only");
}

#[tokio::test(start_paused = true)]
async fn an_operator_can_drop_a_message_whose_report_is_owed() {
    let world = World::new(failed()).await;
    world.store.is_queue_full.store(true, Ordering::SeqCst);
    let id = world.queue_as(&["bob@example.net"], relayed).await;
    world.pass(1).await;
    world.handle.ask(Verb::Hold, Which::One(id)).await.expect("it runs").expect("done");
    world.store.is_queue_full.store(false, Ordering::SeqCst);
    world.pass(24 * HOUR).await;
    assert_eq!(world.queued().len(), 1, "held");
    world.handle.ask(Verb::Drop, Which::One(id)).await.expect("it runs").expect("done");
    world.pass(24 * HOUR).await;
    assert_eq!((world.queued().len(), world.attempts().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_bounce_whose_inbox_or_user_is_gone_reaches_the_postmaster() {
    let world = World::new(failed()).await;
    let gone = |address: &str, sender: Account| {
        let reverse_path = Address::parse(address);
        move |new: &mut NewQueued| {
            new.envelope.sender = Some(sender);
            new.envelope.reverse_path = reverse_path;
        }
    };
    let closed = Account::Inbox("Closed".into());
    world.queue_as(&["bob@example.net"], gone("closed@example.org", closed.clone())).await;
    world.pass(1).await;
    assert!(world.inbox().await.is_empty(), "anna is no admin: there is nobody to tell");
    world.declare(|directory| {
        for user in directory.users.values_mut() {
            user.role = Role::SuperAdmin;
        }
    });
    world.queue_as(&["bob@example.net"], gone("closed@example.org", closed.clone())).await;
    world.pass(1).await;
    world.queue_as(&["bob@example.net"], gone("closed@old.example", closed)).await;
    world.pass(1).await;
    let inbox = world.inbox().await;
    assert_eq!(inbox.len(), 2, "{inbox:?}");
    assert!(inbox[0].contains("To: <closed@example.org>\r\n"), "{}", inbox[0]);
    assert!(inbox[1].contains("To: <closed@old.example>\r\n"), "the domain is gone as well");
    assert!(world.queued().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_when_its_servers_take_too_long() {
    let world = World::new(deferred()).await;
    *world.transport.hops.lock().expect("no panic") = vec!["mx1".into(), "mx2".into()];
    *world.transport.takes.lock().expect("no panic") = Duration::from_secs(30 * 60);
    let all: Vec<String> = (0..101).map(|n| format!("bob{n}@example.net")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    world.queue(&all).await;
    world.pass(HOUR - 1).await;
    let asked: Vec<usize> = world.attempts().iter().map(|(_, _, to)| to.len()).collect();
    assert_eq!(asked[0], 100, "neither the second server nor the last recipient was tried");
    let late = world.queued()[0].recipients[100].progress.last_reply.clone();
    assert!(late.is_some_and(|reply| reply.contains("not tried in this attempt")));
}
