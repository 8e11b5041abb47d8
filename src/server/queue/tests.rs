//! Stories of the runner, with a fake world outside and a clock that follows tokio's paused one.

mod nodes;
mod owed;
mod turn;

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::fake::*;
use super::*;
use crate::mail::account::Account;
use crate::mail::address::Address;
use crate::mail::transport::Notify;
use crate::server::relay::Reach as HopReach;
use crate::smtp::client::Told;

const HOUR: u64 = 3600;

#[tokio::test(start_paused = true)]
async fn a_message_that_is_delivered_leaves_the_queue_and_is_not_sent_again() {
    let world = World::new(delivered()).await;
    world.queue(&["bob@example.net", "carol@example.net"]).await;
    world.pass(24 * HOUR).await;
    assert!(world.queued().is_empty());
    let attempts = world.attempts();
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert_eq!(attempts[0].2, ["bob@example.net", "carol@example.net"]);
    assert!(world.inbox().await.is_empty(), "nobody asked for a report");
}

#[tokio::test(start_paused = true)]
async fn a_deferred_recipient_is_tried_again_alone_after_longer_and_longer_waits() {
    let world = World::new(Arc::new(|_, mail| Attempt {
        fates: mail
            .recipients
            .iter()
            .map(|recipient| match recipient.address.local() {
                "bob" => Fate::Deferred(told("450 4.2.0 later")),
                _ => Fate::Delivered(told("250 2.0.0 OK")),
            })
            .collect(),
        reach: HopReach::Served,
    }))
    .await;
    world.queue(&["bob@example.net", "carol@example.net"]).await;
    world.pass(HOUR).await;
    let attempts = world.attempts();
    let times: Vec<i64> = attempts.iter().map(|(at, ..)| *at).collect();
    assert_eq!(times[0], 0);
    assert!((240..=361).contains(&times[1]), "{times:?}");
    assert!((480..=722).contains(&(times[2] - times[1])), "{times:?}");
    assert!(attempts[1..].iter().all(|(.., to)| *to == ["bob@example.net"]), "{attempts:?}");
    let queued = world.queued();
    let progress = &queued[0].recipients[0].progress;
    assert_eq!(progress.last_reply.as_deref(), Some("mx.example.net: 450 4.2.0 later"));
    assert_eq!(progress.attempts as usize, attempts.len());
    world.answer_with(delivered());
    world.pass(2 * HOUR).await;
    assert!(world.queued().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_reported_into_the_inbox_that_sent_in_one_report() {
    let world = World::new(failed()).await;
    world.queue(&["bob@example.net", "carol@example.net"]).await;
    world.pass(1).await;
    assert!(world.queued().is_empty());
    let inbox = world.inbox().await;
    assert_eq!(inbox.len(), 1, "{inbox:?}");
    let report = &inbox[0];
    for expected in [
        "Return-Path: <>\r\nDelivered-To: anna@example.org\r\nFrom: Mail Delivery System",
        "Subject: Undeliverable: Hello\r\n",
        "In-Reply-To: <m1@example.org>\r\n",
        "Final-Recipient: rfc822; bob@example.net\r\n",
        "Final-Recipient: rfc822; carol@example.net\r\n",
        "Diagnostic-Code: smtp; 550 5.1.1 no such user\r\n",
        "\r\nReceived: x\r\nFrom: anna@example.org\r\n",
    ] {
        assert!(report.contains(expected), "{expected:?} is not in {report}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_told_once_and_the_end_after_five_days() {
    let world = World::new(deferred()).await;
    world.queue(&["bob@example.net"]).await;
    world.pass(9 * HOUR).await;
    let inbox = world.inbox().await;
    assert_eq!(inbox.len(), 1, "{inbox:?}");
    assert!(inbox[0].contains("Action: delayed\r\n") && inbox[0].contains("Will-Retry-Until: "));
    world.pass(5 * 24 * HOUR).await;
    let inbox = world.inbox().await;
    assert_eq!(inbox.len(), 2, "{inbox:?}");
    assert!(inbox[1].contains("Action: failed\r\nStatus: 4.4.7\r\n"), "{}", inbox[1]);
    assert!(inbox[1].contains("It was tried for 5 days"), "{}", inbox[1]);
    assert!(world.queued().is_empty());
    let attempts = world.attempts();
    let last = attempts.last().expect("attempts").0;
    assert!((0..=1).contains(&(last - 5 * 86_400)), "the last one at the end: {last}");
    assert!(attempts.len() < 50, "{}", attempts.len());
}

#[tokio::test(start_paused = true)]
async fn mail_without_a_reverse_path_fails_in_silence() {
    let world = World::new(failed()).await;
    world.queue_as(&["bob@example.net"], |new| new.envelope.reverse_path = None).await;
    world.pass(1).await;
    assert!(world.queued().is_empty() && world.inbox().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_success_is_reported_where_it_was_asked_for() {
    let world = World::new(delivered()).await;
    let success = Some(Notify { success: true, failure: true, delay: false });
    world.queue_as(&["bob@example.net"], |new| new.recipients[0].notify = success).await;
    world.pass(1).await;
    let inbox = world.inbox().await;
    assert_eq!(inbox.len(), 1, "{inbox:?}");
    assert!(inbox[0].contains("Action: relayed\r\nStatus: 2.0.0\r\n"), "{}", inbox[0]);
}

#[tokio::test(start_paused = true)]
async fn a_report_on_relayed_mail_goes_to_its_reverse_path() {
    let world = World::new(failed()).await;
    let relayed = |reverse_path: &str| {
        let reverse_path = Address::parse(reverse_path);
        move |new: &mut crate::store::queue::NewQueued| {
            new.envelope.sender = None;
            new.envelope.reverse_path = reverse_path;
        }
    };
    world.queue_as(&["bob@example.net"], relayed("anna@example.org")).await;
    world.pass(1).await;
    assert_eq!(world.inbox().await.len(), 1, "anna is ours");

    world.queue_as(&["bob@example.net"], relayed("nobody@example.org")).await;
    world.pass(1).await;
    assert_eq!((world.inbox().await.len(), world.queued().len()), (1, 0), "nobody is nobody");

    world.answer_with(Arc::new(|_, mail| Attempt {
        fates: vec![match mail.reverse_path {
            Some(_) => Fate::Failed(told("550 5.1.1 no")),
            None => Fate::Deferred(told("450 4.2.0 later")),
        }],
        reach: HopReach::Served,
    }));
    world.queue_as(&["bob@example.net"], relayed("eve@elsewhere.example")).await;
    world.pass(1).await;
    let queued = world.queued();
    assert_eq!(queued.len(), 1);
    assert_eq!(queued[0].envelope.reverse_path, None);
    assert_eq!(queued[0].recipients[0].address.to_string(), "eve@elsewhere.example");
    assert_eq!(queued[0].recipients[0].progress.attempts, 1);
    world.answer_with(failed());
    world.pass(HOUR).await;
    assert!(world.queued().is_empty(), "a report causes no report");
    assert_eq!(world.inbox().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_while_the_disk_is_full_is_not_sent_again() {
    let world = World::new(delivered()).await;
    *world.transport.takes.lock().expect("no panic") = Duration::from_secs(5);
    world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    world.store.is_full.store(true, Ordering::SeqCst);
    world.pass(24 * HOUR).await;
    assert_eq!(world.queued().len(), 1);
    let refused = world.store.refused.load(Ordering::SeqCst);
    assert!((1000..2000).contains(&refused), "about one a minute: {refused}");
    world.store.is_full.store(false, Ordering::SeqCst);
    world.pass(61).await;
    assert!(world.queued().is_empty());
    assert_eq!(world.attempts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_report_waits_while_the_disk_is_full() {
    let world = World::new(failed()).await;
    *world.transport.takes.lock().expect("no panic") = Duration::from_secs(5);
    world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    world.store.is_full.store(true, Ordering::SeqCst);
    world.pass(HOUR).await;
    assert_eq!((world.inbox().await.len(), world.queued().len()), (0, 1));
    world.store.is_full.store(false, Ordering::SeqCst);
    world.pass(61).await;
    assert_eq!((world.inbox().await.len(), world.queued().len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_new_runner_goes_on_where_the_old_one_was_killed() {
    let world = World::new(deferred()).await;
    world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    *world.transport.takes.lock().expect("no panic") = Duration::from_secs(3600);
    world.queue(&["carol@example.net"]).await;
    world.pass(1).await;
    let world = world.restart().await;
    *world.transport.takes.lock().expect("no panic") = Duration::ZERO;
    world.answer_with(delivered());
    world.pass(1).await;
    let to: Vec<String> = world.attempts().into_iter().flat_map(|(.., to)| to).collect();
    assert_eq!(to, ["bob@example.net", "carol@example.net", "carol@example.net"]);
    assert_eq!(world.queued().len(), 1, "bob's wait goes on");
    world.pass(HOUR).await;
    assert!(world.queued().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_destination_has_five_attempts_at_a_time_at_most() {
    let world = World::new(delivered()).await;
    *world.transport.takes.lock().expect("no panic") = Duration::from_secs(10);
    for n in 0..12 {
        world.queue(&[&format!("bob{n}@example.net")]).await;
    }
    world.pass(60).await;
    assert!(world.queued().is_empty());
    assert_eq!(world.transport.most_at_once.load(Ordering::SeqCst), 5);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_be_reached_is_left_alone_by_other_messages() {
    let world = World::new(unreachable()).await;
    world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    for n in 0..20 {
        world.queue(&[&format!("bob{n}@example.net")]).await;
    }
    world.pass(200).await;
    assert_eq!(world.attempts().len(), 1);
    // The notice comes with the first attempt after four hours, which is five to six hours away.
    world.pass(7 * HOUR).await;
    assert!(world.attempts().len() < 20, "{}", world.attempts().len());
    assert_eq!(world.inbox().await.len(), 21, "each sender knows of the delay");
    world.answer_with(delivered());
    world.pass(5 * HOUR).await;
    assert!(world.queued().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_next_server_is_asked_when_one_is_away_or_busy_but_not_when_one_was_lost() {
    let lost = Told { is_reply: false, ..told("connection lost") };
    let rows: [(Fate, HopReach, usize); 3] = [
        (Fate::Deferred(Route::told("4.4.1", "refused")), HopReach::Unserved, 2),
        (Fate::Deferred(told("421 4.3.2 busy")), HopReach::Served, 2),
        (Fate::Deferred(lost), HopReach::Served, 1),
    ];
    for (fate, reach, expected) in rows {
        let world = World::new(Arc::new(move |hop, mail| match hop {
            "mx1" => Attempt { fates: vec![fate.clone(); mail.recipients.len()], reach },
            _ => Attempt {
                fates: vec![Fate::Delivered(told("250 2.0.0 OK")); mail.recipients.len()],
                reach: HopReach::Served,
            },
        }))
        .await;
        *world.transport.hops.lock().expect("no panic") = vec!["mx1".into(), "mx2".into()];
        world.queue(&["bob@example.net"]).await;
        world.pass(1).await;
        assert_eq!(world.attempts().len(), expected, "{:?}", world.attempts());
        assert_eq!(world.queued().is_empty(), expected == 2);
    }
}

#[tokio::test(start_paused = true)]
async fn two_servers_are_talked_to_in_one_attempt_and_others_wait() {
    let world = World::new(deferred()).await;
    *world.transport.hops.lock().expect("no panic") =
        vec!["mx1".into(), "mx2".into(), "mx3".into()];
    world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    let asked: Vec<String> = world.attempts().into_iter().map(|(_, hop, _)| hop).collect();
    assert_eq!(asked, ["mx1", "mx2"]);
    let world = World::new(unreachable()).await;
    *world.transport.hops.lock().expect("no panic") =
        vec!["mx1".into(), "mx2".into(), "mx3".into()];
    world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    assert_eq!(world.attempts().len(), 3, "those that are away do not count");
}

#[tokio::test(start_paused = true)]
async fn a_report_for_an_account_that_is_gone_goes_by_the_reverse_path() {
    let world = World::new(failed()).await;
    let gone = Account::Inbox("Closed".into());
    world.queue_as(&["bob@example.net"], |new| new.envelope.sender = Some(gone)).await;
    world.pass(1).await;
    assert_eq!(world.inbox().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_recipients_go_in_portions_and_what_is_done_stays_done() {
    let world = World::new(Arc::new(|_, mail| {
        assert!(mail.recipients.len() <= 100);
        Attempt {
            fates: vec![Fate::Delivered(told("250 2.0.0 OK")); mail.recipients.len()],
            reach: HopReach::Served,
        }
    }))
    .await;
    let all: Vec<String> = (0..101).map(|n| format!("bob{n}@example.net")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    *world.transport.takes.lock().expect("no panic") = Duration::from_secs(10);
    world.queue(&all).await;
    world.pass(15).await;
    assert_eq!(world.queued()[0].recipients.len(), 1);
    world.pass(15).await;
    assert!(world.queued().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_address_literal_fails_without_an_attempt() {
    let world = World::new(delivered()).await;
    world.queue(&["bob@[192.0.2.1]"]).await;
    world.pass(1).await;
    assert!(world.attempts().is_empty() && world.queued().is_empty());
    assert!(world.inbox().await[0].contains("Status: 5.1.2\r\n"));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_under_way_is_finished_when_the_daemon_stops() {
    let world = World::new(delivered()).await;
    *world.transport.takes.lock().expect("no panic") = Duration::from_secs(5);
    world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    world.queue(&["carol@example.net"]).await;
    let (store, transport) = world.stop().await;
    let left = store.queued_from(QueueId(0), 10);
    let is_bob = |queued: &Arc<Queued>| queued.recipients[0].address.local() == "bob";
    assert!(!left.iter().any(is_bob), "{left:?}");
    assert!(!transport.attempts.lock().expect("no panic").is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_broken_off_when_the_daemon_stops() {
    let world = World::new(delivered()).await;
    *world.transport.takes.lock().expect("no panic") = Duration::from_secs(3600);
    world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    let began = tokio::time::Instant::now();
    let (store, _) = world.stop().await;
    assert!(began.elapsed() < Duration::from_secs(9));
    assert_eq!(store.queued_from(QueueId(0), 10).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_held_waits_until_it_is_released() {
    let world = World::new(deferred()).await;
    let id = world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    let one = Which::One(id);
    let done = world.handle.ask(Verb::Hold, one).await.expect("it runs").expect("done");
    assert_eq!((done.messages, done.recipients, done.busy), (1, 1, 0));
    world.answer_with(delivered());
    world.pass(10 * 24 * HOUR).await;
    assert_eq!(world.attempts().len(), 1);
    assert_eq!(world.queued().len(), 1, "it does not expire either");
    let again = world.handle.ask(Verb::Retry, one).await.expect("it runs").expect("done");
    assert_eq!(again.recipients, 0, "what is held stays so");
    world.handle.ask(Verb::Release, one).await.expect("it runs").expect("done");
    world.pass(1).await;
    assert!(world.queued().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_dropped_goes_without_a_report() {
    let world = World::new(deferred()).await;
    let id = world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    world.handle.ask(Verb::Drop, Which::One(id)).await.expect("it runs").expect("done");
    assert!(world.queued().is_empty());
    world.pass(24 * HOUR).await;
    assert_eq!((world.attempts().len(), world.inbox().await.len()), (1, 0));
    let gone = world.handle.ask(Verb::Drop, Which::One(id)).await.expect("it runs").expect("done");
    assert_eq!(gone.messages, 0);
}

#[tokio::test(start_paused = true)]
async fn all_messages_are_tried_at_once_when_that_is_asked_for() {
    let world = World::new(unreachable()).await;
    for n in 0..3 {
        world.queue(&[&format!("bob{n}@example.net")]).await;
    }
    world.pass(1).await;
    world.answer_with(delivered());
    let done = world.handle.ask(Verb::Retry, Which::All).await.expect("it runs").expect("done");
    assert_eq!((done.messages, done.recipients), (3, 3));
    world.pass(1).await;
    assert!(world.queued().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_during_an_attempt_is_done_when_it_has_ended() {
    for (verb, held) in [(Verb::Hold, true), (Verb::Drop, false)] {
        let world = World::new(deferred()).await;
        *world.transport.takes.lock().expect("no panic") = Duration::from_secs(60);
        let id = world.queue(&["bob@example.net"]).await;
        world.pass(1).await;
        let done = world.handle.ask(verb, Which::One(id)).await.expect("it runs").expect("done");
        assert_eq!((done.recipients, done.busy), (0, 1));
        world.pass(120).await;
        let queued = world.queued();
        assert_eq!(queued.len(), usize::from(held));
        assert!(queued.iter().all(|q| q.recipients[0].progress.held));
        assert!(queued.iter().all(|q| q.recipients[0].progress.attempts == 1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_stops_nothing_else() {
    let world = World::new(Arc::new(|_, mail| match mail.recipients[0].address.local() {
        "bob" => panic!("a fault"),
        _ => {
            Attempt { fates: vec![Fate::Delivered(told("250 2.0.0 OK"))], reach: HopReach::Served }
        }
    }))
    .await;
    world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    world.answer_with(delivered());
    world.queue(&["carol@example.net"]).await;
    world.pass(HOUR).await;
    assert_eq!(world.queued().len(), 1);
    let world = world.restart().await;
    world.pass(1).await;
    assert!(world.queued().is_empty());
}
