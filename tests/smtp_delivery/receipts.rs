//! What leaves because mail has come: reports for NOTIFY=SUCCESS (RFC 3461 §5.2.3), which are part
//! of the delivery, and acknowledgements, which are a courtesy.

use std::sync::Arc;
use std::time::Duration;

use postfach::delivery::QUEUED_WITH_COURTESIES_MAX;
use postfach::directory::rule::{Acknowledgement, Template};
use postfach::mail::address::Address;
use postfach::mail::id::{Login, QueueId};
use postfach::mail::message;
use postfach::mail::transport::{Body, Notify};
use postfach::store::change::{Actor, Bytes, Change, NewMessage, Transaction};
use postfach::store::queue::{NewQueued, Progress, QueuedEnvelope, QueuedRecipient};
use postfach::store::{Store, StoreError};

use crate::world::{HELLO, World, instance};
use crate::{inbox, user};

const BOB: &str = "MAIL FROM:<bob@c.example> RET=FULL ENVID=QQ+2B314159\n";
const ANNA: &str = "MAIL FROM:<anna@example.org>\n";
const SUPPORT: &str =
    "RCPT TO:<support@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;help@d.example\n";
const MESSAGE: &str = "DATA\nSubject: Hello\nMessage-ID: <m1@c.example>\n\nbody\n.\n";

/// What waits in the queue: for whom, and the text.
async fn queued(world: &World) -> Vec<(Address, String)> {
    let mut all = Vec::new();
    for queued in world.store.queued_from(QueueId(0), 100) {
        let body = world.store.body(queued.blob, 0..u64::MAX).await.expect("a body");
        assert_eq!(queued.envelope.reverse_path, None, "a report causes none");
        assert_eq!(queued.recipients[0].notify, Some(Notify::default()), "NEVER");
        all.push((queued.recipients[0].address.clone(), String::from_utf8(body).expect("ASCII")));
    }
    all
}

async fn send(world: &World, text: &str) -> String {
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    client.tell(text).await.pop().unwrap_or_default()
}

#[tokio::test]
async fn a_delivery_is_reported_to_a_sender_elsewhere_by_mail() {
    let world = World::new();
    let both = format!("{SUPPORT}RCPT TO:<anna@example.org> NOTIFY=SUCCESS\n");
    let answer = send(&world, &format!("{BOB}{both}{MESSAGE}")).await;
    assert!(answer.starts_with("250 2.0.0 OK "), "{answer}");
    assert_eq!(world.instances(&inbox("Support")).await.len(), 1);
    let queue = queued(&world).await;
    let [(to, report)] = &queue[..] else { panic!("one report on both: {queue:?}") };
    assert_eq!(to.to_string(), "bob@c.example");
    for expected in [
        "To: <bob@c.example>\r\nSubject: Delivered: Hello\r\n",
        "Auto-Submitted: auto-replied\r\n",
        "In-Reply-To: <m1@c.example>\r\n",
        "Original-Envelope-Id: QQ+314159\r\n",
        "Original-Recipient: rfc822; help@d.example\r\nFinal-Recipient: rfc822; \
         support@example.org\r\nAction: delivered\r\nStatus: 2.0.0\r\n",
        "Final-Recipient: rfc822; anna@example.org\r\nAction: delivered\r\n",
        "Content-Type: text/rfc822-headers\r\n",
        "\r\nReceived: from c.example ([127.0.0.1])\r\n",
    ] {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    assert!(!report.contains("body\r\n"), "RET=FULL is for failures");
}

#[tokio::test]
async fn nobody_is_told_who_did_not_ask_or_has_no_address() {
    let world = World::new();
    for (from, notify) in [
        ("bob@c.example", ""),
        ("bob@c.example", " NOTIFY=FAILURE,DELAY"),
        ("bob@c.example", " NOTIFY=NEVER"),
        ("", " NOTIFY=SUCCESS"),
    ] {
        let text = format!("MAIL FROM:<{from}>\nRCPT TO:<support@example.org>{notify}\n{MESSAGE}");
        let answer = send(&world, &text.replace("Hello", notify)).await;
        assert!(answer.starts_with("250 2.0.0 OK "), "{answer}");
    }
    assert_eq!(world.instances(&inbox("Support")).await.len(), 4);
    assert!(queued(&world).await.is_empty());
}

#[tokio::test]
async fn a_retry_is_not_reported_again() {
    let world = World::new();
    for _ in 0..2 {
        let answer = send(&world, &format!("{BOB}{SUPPORT}{MESSAGE}")).await;
        assert!(answer.starts_with("250 2.0.0 OK "), "{answer}");
    }
    assert_eq!(world.instances(&inbox("Support")).await.len(), 1);
    assert_eq!(queued(&world).await.len(), 1);
}

#[tokio::test]
async fn a_delivery_is_reported_to_one_of_us_into_the_mailbox() {
    let world = World::new();
    let answer = send(&world, &format!("{ANNA}{SUPPORT}{MESSAGE}")).await;
    assert!(answer.starts_with("250 2.0.0 OK "), "{answer}");
    assert!(queued(&world).await.is_empty());
    let instances = world.instances(&user("anna")).await;
    let (trace, report) = instance(&instances);
    assert_eq!(trace, "Return-Path: <>\r\nDelivered-To: anna@example.org\r\n");
    assert!(report.contains("Action: delivered\r\n"), "{report}");
}

#[tokio::test]
async fn a_message_is_not_acknowledged_without_its_report() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    world.make_folders().await;
    world.store.hold();
    client.send(&format!("{BOB}{SUPPORT}{MESSAGE}")).await;
    let patience = Duration::from_secs(10);
    for code in ["250 2.1.0 ", "250 2.1.5 ", "354 "] {
        let answer = loop {
            let answer = client.answer_within(patience).await.expect("an answer");
            if !answer.starts_with("220 ") {
                break answer;
            }
        };
        assert!(answer.starts_with(code), "{answer}");
    }
    assert_eq!(client.answer_within(Duration::from_millis(200)).await, None);
    assert!(queued(&world).await.is_empty());
    world.store.commits.add_permits(1);
    let answer = client.answer_within(patience).await.expect("an answer");
    assert!(answer.starts_with("250 2.0.0 OK "), "{answer}");
    assert_eq!(queued(&world).await.len(), 1, "in the one transaction that was let through");
}

#[tokio::test]
async fn a_delivery_here_and_upstream_is_reported_once_and_nothing_of_the_copy() {
    let world = World::new();
    let split = "RCPT TO:<ben@split.example> NOTIFY=SUCCESS,FAILURE\n";
    let answer = send(&world, &format!("{ANNA}{split}{MESSAGE}")).await;
    assert!(answer.starts_with("250 2.0.0 OK "), "{answer}");
    let queue = world.store.queued_from(QueueId(0), 100);
    assert_eq!(queue.len(), 1, "the copy");
    assert_eq!(queue[0].recipients[0].notify, Some(Notify::default()));
    assert_eq!(world.instances(&user("anna")).await.len(), 1);
    world.declare(|directory| drop(directory.users.remove(&Login::new("anna"))));
    let answer = send(&world, &format!("{ANNA}{SUPPORT}{MESSAGE}")).await;
    assert!(answer.starts_with("250 2.0.0 OK "), "an address of nobody's: {answer}");
    assert_eq!(world.store.queued_from(QueueId(0), 100).len(), 1);
}

#[tokio::test]
async fn mail_is_taken_without_its_acknowledgement_where_the_queue_takes_none() {
    let world = World::new();
    world.declare(|directory| {
        let text = Template::parse("Danke, {reference}").expect("a template");
        let acknowledgement = Acknowledgement { subject: text.clone(), text };
        for inbox in directory.inboxes.values_mut() {
            inbox.policy.acknowledgement = Some(acknowledgement.clone());
        }
    });
    world.make_folders().await;
    let mail = |n: usize| {
        let message = format!("DATA\nTo: support@example.org\nMessage-ID: <{n}@c>\n\nx\n.\n");
        format!("MAIL FROM:<bob{n}@c.example>\nRCPT TO:<support@example.org>\n{message}")
    };
    world.store.fail_next(StoreError::Limit("queued messages"));
    let answer = send(&world, &mail(1)).await;
    assert!(answer.starts_with("250 2.0.0 OK "), "{answer}");
    assert_eq!(queued(&world).await.len(), 0, "mail comes before courtesy");
    let answer = send(&world, &mail(2)).await;
    assert!(answer.starts_with("250 2.0.0 OK "), "{answer}");
    assert_eq!(queued(&world).await.len(), 1);
    assert_eq!(world.instances(&inbox("Support")).await.len(), 2);
}

/// So many mails of users, on their way out.
async fn fill_queue(world: &World, count: usize) {
    let queued = |n: usize| {
        let mut hash = [0; 32];
        hash[..8].copy_from_slice(&n.to_le_bytes());
        let bytes = format!("Message-ID: <{n}@x>\r\n\r\n.\r\n").into_bytes();
        let parsed = Arc::new(message::parse(&bytes));
        let message = NewMessage { bytes: Bytes::Memory(Arc::new(bytes)), hash, parsed };
        Change::Queued(Box::new(NewQueued {
            message,
            trace: Vec::new(),
            envelope: QueuedEnvelope {
                id: n.to_string(),
                reverse_path: None,
                sender: None,
                envid: None,
                ret: None,
                body: Body::SevenBit,
                smtputf8: false,
                queued_at: world.store.now(),
                expires_at: world.store.now(),
            },
            recipients: vec![QueuedRecipient {
                number: 0,
                address: Address::new("kunde", "c.example"),
                upstream: None,
                notify: None,
                orcpt: None,
                progress: Progress::new(world.store.now()),
            }],
            duplicate_key: None,
        }))
    };
    let changes = (0..count).map(queued).collect();
    let transaction = Transaction { actor: Actor::System, changes };
    world.store.commit(transaction).await.expect("queued");
}

#[tokio::test]
async fn strangers_are_told_nothing_when_the_queue_is_needed_for_mail() {
    let world = World::new();
    fill_queue(&world, QUEUED_WITH_COURTESIES_MAX - 1).await;
    for (n, left) in [(1, 0), (2, 1)] {
        let message = MESSAGE.replace("m1@", &format!("m{n}@"));
        let answer = send(&world, &format!("{BOB}{SUPPORT}{message}")).await;
        assert!(answer.starts_with("250 2.0.0 OK "), "{answer}");
        assert_eq!(world.instances(&inbox("Support")).await.len(), n, "mail is taken");
        let all = world.store.queued_from(QueueId(0), usize::MAX).len();
        assert_eq!(all, QUEUED_WITH_COURTESIES_MAX, "one report, and {left} left out");
    }
}
