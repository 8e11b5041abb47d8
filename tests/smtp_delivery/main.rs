//! Mail from a socket to the mailboxes: the driver, the spool and delivery over a store in memory.

#[macro_use]
#[path = "../../src/server/queue/fake/passed_on.rs"]
mod passed_on;

mod gate;
mod receipts;
mod submission;
mod world;

use std::time::Duration;

use postfach::directory::quota::Quota;
use postfach::mail::account::{Account, Folder, FolderRole};
use postfach::mail::flag::SeenMode;
use postfach::mail::id::{Login, QueueId, Timestamp, Uid};
use postfach::mail::transport::Notify;
use postfach::store::change::{Actor, Change, Transaction, Transfer};
use postfach::store::{Store, StoreError};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use world::{Client, HELLO, World, instance};

fn inbox(name: &str) -> Account {
    Account::Inbox(name.into())
}

fn user(login: &str) -> Account {
    Account::User(postfach::mail::id::Login::new(login))
}

const TO_SUPPORT: &str = "MAIL FROM:<bob@c.example>\nRCPT TO:<support@example.org>\nDATA\n";

#[tokio::test]
async fn a_message_arrives_with_its_trace_and_as_it_was_sent() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    let answer = client.tell(&format!("{TO_SUPPORT}Subject: hi\n\n..dot\n.\n")).await;
    assert!(answer.last().is_some_and(|line| line.starts_with("250 2.0.0 OK ")), "{answer:?}");
    let instances = world.instances(&inbox("Support")).await;
    let [(trace, body)] = &instances[..] else { panic!("{instances:?}") };
    assert_eq!(body, "Subject: hi\r\n\r\n.dot\r\n");
    let lines: Vec<&str> = trace.split_terminator("\r\n").collect();
    assert_eq!(lines[0], "Return-Path: <bob@c.example>");
    assert_eq!(lines[1], "Delivered-To: support@example.org");
    assert_eq!(lines[2], "Received: from c.example ([127.0.0.1])");
    assert!(lines[3].starts_with("\tby mail.example.org with ESMTP id "), "{lines:?}");
    assert_eq!(lines[4], "\tfor <support@example.org>;");
    assert_eq!(lines[5], "\tSun, 22 Nov 2026 23:23:06 +0000");
    let id = answer.last().and_then(|line| line.rsplit(' ').next()).expect("an id");
    assert!(lines[3].ends_with(id), "the answer names the id of Received");
}

#[tokio::test]
async fn a_mail_for_several_inboxes_is_one_message_with_an_instance_each() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    let recipients = ["hilfe", "support", "support+4711", "anna.sales", "anna"];
    let recipients: String =
        recipients.iter().map(|r| format!("RCPT TO:<{r}@example.org>\n")).collect();
    let answer = client.tell(&format!("MAIL FROM:<>\n{recipients}DATA\nx: y\n\nz\n.\n")).await;
    assert!(answer.last().is_some_and(|line| line.starts_with("250 ")), "{answer:?}");
    let mut blobs = Vec::new();
    for (account, address) in [
        (inbox("Support"), "hilfe@example.org"),
        (Account::Channel("Anna Sales".into()), "anna.sales@example.org"),
        (user("anna"), "anna@example.org"),
    ] {
        let instances = world.instances(&account).await;
        let [(trace, _)] = &instances[..] else { panic!("{account:?}: {instances:?}") };
        assert!(trace.starts_with("Return-Path: <>\r\n"), "{trace}");
        assert!(trace.contains(&format!("Delivered-To: {address}\r\n")), "{trace}");
        blobs.extend(world.entries(&account).await.iter().map(|entry| entry.blob));
    }
    blobs.dedup();
    assert_eq!(blobs.len(), 1, "stored once");
}

#[tokio::test]
async fn an_address_of_a_channel_and_a_person_reaches_both() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    client.tell("MAIL FROM:<>\nRCPT TO:<both@example.org>\nDATA\nx: y\n\nz\n.\n").await;
    assert_eq!(world.instances(&user("ben")).await.len(), 1);
    assert_eq!(world.instances(&Account::Channel("Ben Both".into())).await.len(), 1);
}

#[tokio::test]
async fn the_upstreams_copy_waits_while_it_cannot_be_asked_and_nobody_is_told_of_it() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    let text = "MAIL FROM:<bob@c.example>\nRCPT TO:<ben@split.example>\nDATA\nx: y\n\nz\n.\n";
    let answer = client.tell(text).await;
    assert!(answer.last().is_some_and(|line| line.starts_with("250 ")), "{answer:?}");
    assert_eq!(world.instances(&Account::Channel("Ben Split".into())).await.len(), 1);
    let queue = world.store.queued_from(QueueId(0), 10);
    let [recipient] = &queue[0].recipients[..] else { panic!("{queue:?}") };
    assert_eq!(recipient.address.to_string(), "ben@split.example");
    assert_eq!(recipient.notify, Some(Notify::default()), "bob may be forged");
}

#[tokio::test]
async fn a_retry_makes_no_second_instance_within_a_day() {
    let world = World::new();
    let message = format!("{HELLO}{TO_SUPPORT}Subject: once\n\nx\n.\nQUIT\n");
    for _ in 0..2 {
        let mut client = world.connect().await;
        let answer = client.tell(&message).await;
        assert!(answer.iter().any(|line| line.starts_with("250 2.0.0 OK ")), "{answer:?}");
    }
    assert_eq!(world.instances(&inbox("Support")).await.len(), 1);
    let other = message.replace("Subject: once", "Subject: other");
    world.connect().await.tell(&other).await;
    world.connect().await.tell(&message.replace("bob@", "carl@")).await;
    assert_eq!(world.instances(&inbox("Support")).await.len(), 3);
    world.clock.set(Timestamp(world.clock_now().0 + 25 * 3600 * 1_000_000));
    world.connect().await.tell(&message).await;
    assert_eq!(world.instances(&inbox("Support")).await.len(), 4);
}

#[tokio::test]
async fn the_answer_waits_until_the_message_is_durable() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    client.tell(TO_SUPPORT).await;
    world.make_folders().await;
    world.store.hold();
    client.send("x: y\n\nz\n.\n").await;
    assert_eq!(client.answer_within(Duration::from_millis(200)).await, None);
    world.store.commits.add_permits(1);
    let answer = client.answer_within(Duration::from_secs(10)).await.expect("an answer");
    assert!(answer.starts_with("250 2.0.0 OK "), "{answer}");
}

#[tokio::test]
async fn a_store_that_cannot_keep_a_message_is_not_acknowledged() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    world.make_folders().await;
    for (error, code) in [
        (StoreError::NoSpace("x".into()), "452 4.3.1 "),
        (StoreError::Unavailable("x".into()), "451 4.3.0 "),
        (StoreError::Corrupt("x".into()), "451 4.3.0 "),
        (StoreError::Limit("messages"), "452 4.3.1 "),
    ] {
        world.store.fail_next(error);
        let answer = client.tell(&format!("{TO_SUPPORT}x: y\n\nz\n.\n")).await;
        let last = answer.last().expect("an answer");
        assert!(last.starts_with(code) && !last.contains("disk"), "{last}");
    }
    world.store.fail_next(StoreError::Gone);
    let answer = client.tell(&format!("{TO_SUPPORT}x: y\n\nz\n.\n")).await;
    assert!(answer.last().is_some_and(|l| l.starts_with("250 ")), "tried again: {answer:?}");
    assert_eq!(world.instances(&inbox("Support")).await.len(), 1);
}

#[tokio::test]
async fn loops_are_cut() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    let received = "Received: from a by b; Sun, 22 Nov 2026 23:23:06 +0000\n";
    for (header, code) in [
        (received.repeat(30), "250 "),
        (received.repeat(31), "554 5.4.6 "),
        ("Delivered-To: support@example.org\n".to_owned(), "554 5.4.6 "),
        ("Delivered-To: sales@example.org\n".to_owned(), "250 "),
        ("Delivered-To: hilfe@example.org\n".to_owned(), "250 "),
    ] {
        let answer = client.tell(&format!("{TO_SUPPORT}{header}Subject: x\n\nz\n.\n")).await;
        assert!(answer.last().is_some_and(|line| line.starts_with(code)), "{header}: {answer:?}");
    }
    assert_eq!(world.instances(&inbox("Support")).await.len(), 3);
    let both = "MAIL FROM:<>\nRCPT TO:<support@example.org>\nRCPT TO:<hilfe@example.org>\nDATA\n";
    let answer = client.tell(&format!("{both}Delivered-To: hilfe@example.org\n\nz\n.\n")).await;
    assert!(answer.last().is_some_and(|line| line.starts_with("554 5.4.6 ")), "{answer:?}");
}

#[tokio::test]
async fn recipients_are_judged_by_the_directory() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    client.tell("MAIL FROM:<bob@c.example>\n").await;
    for (recipient, code) in [
        ("SUPPORT@Example.Org", "250 2.1.5 "),
        ("support+tag@example.org", "250 2.1.5 "),
        ("anyone@all.example", "250 2.1.5 "),
        ("nobody@example.org", "550 5.1.1 "),
        ("somebody@elsewhere.example", "550 5.7.1 "),
        ("old@split.example", "451 4.4.3 "),
        ("support@[127.0.0.1]", "550 5.7.1 "),
        ("x%elsewhere.example@example.org", "550 5.1.1 "),
        ("\"x@elsewhere.example\"@example.org", "550 5.1.1 "),
    ] {
        let answer = client.tell(&format!("RCPT TO:<{recipient}>\n")).await;
        assert!(answer[0].starts_with(code), "{recipient}: {answer:?}");
    }
}

#[tokio::test]
async fn a_full_mailbox_takes_mail_again_once_there_is_room() {
    let world = World::new();
    let support = inbox("Support");
    let limit = |bytes, messages| {
        let quota = Quota { bytes, messages };
        world.declare(|directory| directory.quotas.extend([(support.clone(), quota)]));
    };
    limit(None, Some(1));
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    let first = "MAIL FROM:<>\nRCPT TO:<support@example.org>\nDATA\nx: 1\n\nz\n.\n";
    let answer = client.tell(first).await;
    assert!(answer.last().is_some_and(|line| line.starts_with("250 ")), "{answer:?}");
    let judged = async |client: &mut Client<TcpStream>, size: u64| {
        let mail = format!("RSET\nMAIL FROM:<> SIZE={size}\nRCPT TO:<support@example.org>\n");
        client.tell(&mail).await.pop().expect("an answer")
    };
    assert!(judged(&mut client, 1).await.starts_with("452 4.2.2 "));
    limit(None, Some(2));
    assert!(judged(&mut client, 1).await.starts_with("250 2.1.5 "));
    let held = world.store.usage(&support).bytes;
    limit(Some(held + 100), None);
    assert!(judged(&mut client, 100).await.starts_with("250 2.1.5 "));
    assert!(judged(&mut client, 101).await.starts_with("452 4.2.2 "));
    assert!(judged(&mut client, held + 100).await.starts_with("452 4.2.2 "));
    assert!(judged(&mut client, held + 101).await.starts_with("552 5.2.2 "));
    // others are not concerned
    client.tell("RSET\nMAIL FROM:<> SIZE=100000\n").await;
    let other = client.tell("RCPT TO:<anna@example.org>\n").await;
    assert!(other[0].starts_with("250 2.1.5 "), "{other:?}");
}

#[tokio::test]
async fn postmaster_reaches_those_who_run_the_place() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    for (n, recipient) in ["Postmaster", "postmaster@example.org"].iter().enumerate() {
        let message = format!("MAIL FROM:<>\nRCPT TO:<{recipient}>\nDATA\nx: {n}\n\nz\n.\n");
        let answer = client.tell(&message).await;
        assert!(answer.last().is_some_and(|line| line.starts_with("250 ")), "{answer:?}");
    }
    assert_eq!(world.instances(&user("dora")).await.len(), 2, "dora is the super-admin");
    assert_eq!(world.instances(&user("carla")).await.len(), 0);
}

#[tokio::test]
async fn a_large_message_is_spooled_and_its_file_removed() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    client.tell(TO_SUPPORT).await;
    let line = format!("{}\n", "x".repeat(998));
    let body = line.repeat(3_000);
    client.send(&format!("Subject: large\n\n{body}")).await;
    world.wait_for_spool_files(1).await;
    let answer = client.tell(".\n").await;
    assert!(answer.last().is_some_and(|line| line.starts_with("250 ")), "{answer:?}");
    let instances = world.instances(&inbox("Support")).await;
    assert_eq!(instance(&instances).1.len(), 18 + 1000 * 3_000);
    world.wait_for_spool_files(0).await;
    client.tell(TO_SUPPORT).await;
    client.send(&body).await;
    world.wait_for_spool_files(1).await;
    drop(client);
    world.wait_for_spool_files(0).await;
    assert_eq!(world.instances(&inbox("Support")).await.len(), 1, "half a message is none");
}

#[tokio::test]
async fn chunks_arrive_as_one_message() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    let answer = client
        .tell("MAIL FROM:<>\nRCPT TO:<support@example.org>\nBDAT 8\na: b\n\nBDAT 4 LAST\n.c\n")
        .await;
    assert!(answer.iter().any(|line| line.starts_with("250 2.0.0 OK ")), "{answer:?}");
    let instances = world.instances(&inbox("Support")).await;
    assert_eq!(instance(&instances).1, "a: b\r\n\r\n.c\r\n");
}

#[tokio::test]
async fn a_pipelined_batch_is_answered_in_order() {
    let world = World::new();
    let mut client = world.connect().await;
    let batch =
        "MAIL FROM:<>\nRCPT TO:<no@example.org>\nRCPT TO:<support@example.org>\nNOOP\nRSET\n";
    client.send(&format!("{HELLO}{batch}QUIT\n")).await;
    let all = client.rest().await;
    let codes: Vec<&str> =
        all.lines().filter(|l| l.as_bytes()[3] == b' ').map(|l| &l[..3]).collect();
    assert_eq!(codes, ["220", "250", "250", "550", "250", "250", "250", "221"]);
}

#[tokio::test]
async fn starttls_protects_and_forgets() {
    let world = World::with_tls();
    let mut client = world.connect().await;
    let offered = client.tell(HELLO).await;
    assert!(offered.iter().any(|line| line == "250-STARTTLS"), "{offered:?}");
    client.tell("MAIL FROM:<>\nSTARTTLS\n").await;
    let mut client: Client<_> = client.start_tls(&world).await;
    assert!(client.tell("MAIL FROM:<>\n").await[0].starts_with("503 5.5.1 "));
    let offered = client.tell(HELLO).await;
    assert!(!offered.iter().any(|line| line.contains("STARTTLS")), "{offered:?}");
    let answer = client.tell(&format!("{TO_SUPPORT}x: y\n\nz\n.\n")).await;
    assert!(answer.last().is_some_and(|line| line.starts_with("250 ")), "{answer:?}");
    let instances = world.instances(&inbox("Support")).await;
    assert!(instance(&instances).0.contains(" with ESMTPS id "));
}

#[tokio::test]
async fn what_stands_behind_starttls_is_not_run() {
    let world = World::with_tls();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    client.send("STARTTLS\nMAIL FROM:<>\n").await;
    assert_eq!(client.rest().await, "554 5.5.1 Nothing may follow STARTTLS\r\n");
}

#[tokio::test]
async fn an_idle_connection_is_told_that_the_daemon_stops_and_a_busy_one_finishes() {
    let world = World::new();
    let mut idle = world.connect().await;
    idle.tell(HELLO).await;
    let mut busy = world.connect().await;
    busy.tell(HELLO).await;
    busy.tell(TO_SUPPORT).await;
    world.shutdown.send_replace(true);
    assert_eq!(idle.rest().await, "421 4.3.2 Shutting down, try again later\r\n");
    busy.send("x: y\n\nz\n.\n").await;
    let answers = busy.rest().await;
    assert!(answers.starts_with("250 2.0.0 OK ") && answers.contains("421 4.3.2 "), "{answers}");
    assert_eq!(world.instances(&inbox("Support")).await.len(), 1);
}

#[tokio::test]
async fn a_peer_that_is_too_slow_is_dropped() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    let later = |seconds: i64| Timestamp(world.clock_now().0 + seconds * 1_000_000);
    world.clock.set(later(299));
    client.stream().write_all(b"NOOP\r\nNO").await.expect("sent");
    assert_eq!(
        client.answer_within(Duration::from_secs(10)).await.as_deref(),
        Some("250 2.0.0 OK")
    );
    world.clock.set(later(301));
    client.stream().write_all(b"O").await.expect("sent");
    assert_eq!(client.rest().await, "421 4.4.2 Timeout, closing the connection\r\n");
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_set_back_gives_nobody_longer() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    world.clock.set(Timestamp(world.clock_now().0 - 24 * 3600 * 1_000_000));
    client.stream().write_all(b"NO").await.expect("sent");
    let start = tokio::time::Instant::now();
    let answer = client.answer_within(Duration::from_secs(3600)).await;
    assert_eq!(answer.as_deref(), Some("421 4.4.2 Timeout, closing the connection"));
    let took = start.elapsed();
    assert!(took <= Duration::from_secs(301), "{took:?}");
}

#[tokio::test]
async fn mail_for_here_and_an_upstream_that_is_away_waits_for_it() {
    let world = World::new();
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    let envelope = "MAIL FROM:<bob@c.example>\nRCPT TO:<anna.old@split.example>\n";
    client.tell(&format!("{envelope}RSET\n")).await;
    let answer = client.tell(&format!("{envelope}DATA\nSubject: hi\n\n.\n")).await;
    assert!(answer.last().is_some_and(|line| line.starts_with("250 2.0.0 OK ")), "{answer:?}");
    assert_eq!(world.instances(&Account::Channel("Anna Old".into())).await.len(), 1);
    let queue = world.store.queued_from(QueueId(0), 10);
    assert_eq!(queue.len(), 1);
    assert_eq!(queue[0].recipients[0].upstream.as_deref(), Some("smtp://old.example:25"));
    assert_eq!(queue[0].recipients[0].notify, Some(Notify::default()));
}

#[tokio::test]
async fn mail_that_is_placed_while_its_conversation_is_moved_follows_it() {
    let world = World::new();
    world.make_folders().await;
    let mut client = world.connect().await;
    client.tell(HELLO).await;
    client.tell(&format!("{TO_SUPPORT}From: bob@c.example\nMessage-ID: <1@c>\n\none\n.\n")).await;
    let support = inbox("Support");
    let find = |folder: &Folder| world.store.find(&support, folder).expect("a folder").id;
    let (open, done) = (find(&Folder::root()), find(&Folder::role(FolderRole::Done)));
    let closed = Change::Moved(Transfer {
        from: open,
        from_seen: SeenMode::Shared,
        uids: [Uid(1)].into_iter().collect(),
        to: done,
        to_seen: SeenMode::Shared,
        user: Login::new("anna"),
    });
    let closed = Transaction { actor: Actor::System, changes: vec![closed] };
    *world.store.sooner.lock().expect("not poisoned") = Some(closed);
    let follow_up = "From: bob@c.example\nMessage-ID: <2@c>\nIn-Reply-To: <1@c>\n\ntwo\n.\n";
    let answer = client.tell(&format!("{TO_SUPPORT}{follow_up}")).await;
    assert!(answer.last().is_some_and(|line| line.starts_with("250 ")), "{answer:?}");
    let len = async |id| world.store.snapshot(id).await.expect("there").len();
    let lengths = (len(open).await, len(done).await);
    assert_eq!(lengths, (2, 0), "it was closed, and is open again");
}
