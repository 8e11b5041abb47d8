//! What becomes of a message that a user submits: who may send as what, the shared Sent, the marks
//! on what it answers, the queue entry, and all of it in one transaction.

mod audited;
mod conversations;
mod notes;
mod random;
mod routing;
mod world;

use postfach::delivery::Origin;
use postfach::mail::account::{Account, Folder};
use postfach::mail::address::Address;
use postfach::mail::flag::SystemFlags;
use postfach::mail::transport::Notify;
use world::{World, inbox, sent, user};

const OUTSIDE: (&str, &[&str]) = ("support@example.org", &["kunde@customer.example"]);

fn mail(from: &str, more: &str) -> String {
    format!(
        "From: {from}\r\nTo: kunde@customer.example\r\nSubject: Re: Frage\r\n\
         Date: Sun, 22 Nov 2026 23:23:06 +0000\r\n{more}\r\nGern.\r\n"
    )
}

fn question(id: &str, to: &str) -> String {
    format!("From: kunde@customer.example\r\nTo: {to}\r\nMessage-ID: <{id}>\r\n\r\nWo?\r\n")
}

#[tokio::test]
async fn a_reply_leaves_as_the_inbox_and_is_filed_in_its_sent_in_one_transaction() {
    let world = World::new().await;
    world.receive(&["support@example.org"], &question("q1@c", "support@example.org")).await;
    let text = mail("support@example.org", "Message-ID: <a1@c>\r\nIn-Reply-To: <q1@c>\r\n");
    let accepted = world.submit("anna", OUTSIDE, &text).await.expect("accepted");
    assert_eq!((accepted.instances, accepted.queued), (1, 1));

    let filed = world.messages((&inbox("Support"), sent()), "ben").await;
    assert_eq!(filed.len(), 1);
    assert_eq!(filed[0].text, format!("X-Postfach-Sender: anna\r\n{text}"));
    assert_eq!(filed[0].flags, SystemFlags::SEEN, "what a colleague sent is no news");
    let queue = world.queue();
    assert_eq!(queue.len(), 1);
    assert_eq!(queue[0].blob.0, filed[0].blob, "stored once");
    assert_eq!(queue[0].envelope.sender, Some(inbox("Support")));
    assert_eq!(queue[0].recipients[0].address.to_string(), "kunde@customer.example");
    let leaving = world.queued_text(&queue[0]).await;
    assert!(leaving.starts_with("X-Signed: yes\r\nReceived: from mail.example.org"), "{leaving}");
    assert!(leaving.ends_with(&text) && !leaving.contains("192.0.2.1"), "{leaving}");

    let taken = Folder::assigned(&world::login("anna"));
    let asked = world.messages((&inbox("Support"), taken), "ben").await;
    assert_eq!(asked[0].flags, SystemFlags::ANSWERED, "for everybody, and unread for ben");
    assert!(world.messages((&user("anna"), sent()), "anna").await.is_empty());
}

#[tokio::test]
async fn a_copy_that_the_program_filed_before_it_sent_is_the_teams() {
    let world = World::new().await;
    let text = mail("support@example.org", "Message-ID: <f1@c>\r\n");
    world.file((&inbox("Support"), sent()), &text).await;
    world.submit("anna", OUTSIDE, &text).await.expect("accepted");
    for login in ["anna", "ben", "dora"] {
        let filed = world.messages((&inbox("Support"), sent()), login).await;
        assert_eq!(filed.len(), 1);
        assert_eq!(filed[0].flags, SystemFlags::SEEN, "no news for {login}");
    }
    let text = mail("info@example.org", "Message-ID: <f2@c>\r\n");
    world.file((&inbox("Info"), sent()), &text).await;
    let to = ("info@example.org", &["kunde@customer.example"][..]);
    world.submit("anna", to, &text).await.expect("accepted");
    let filed = world.messages((&inbox("Info"), sent()), "ben").await;
    assert_eq!((filed.len(), filed[0].flags), (1, SystemFlags::SEEN), "\\Seen is shared there");
}

#[tokio::test]
async fn mail_as_oneself_is_filed_in_ones_own_sent() {
    let world = World::new().await;
    let text = mail("Anna <anna@example.org>", "Message-ID: <a2@c>\r\n");
    let to = ("anna@example.org", &["kunde@customer.example", "ben@example.org"][..]);
    let accepted = world.submit("anna", to, &text).await.expect("accepted");
    assert_eq!((accepted.instances, accepted.queued), (2, 1));
    let filed = world.messages((&user("anna"), sent()), "anna").await;
    assert_eq!(filed[0].text, format!("Bcc: ben@example.org\r\n{text}"), "hidden in To and Cc");
    assert_eq!(filed[0].flags, SystemFlags::SEEN);
    let got = world.messages((&user("ben"), Folder::root()), "ben").await;
    assert!(got[0].text.starts_with("Return-Path: <anna@example.org>\r\nDelivered-To: ben@"));
    assert!(!got[0].text.contains("Bcc") && got[0].blob == filed[0].blob);
}

#[tokio::test]
async fn only_allowed_addresses_can_be_used_at_all() {
    let world = World::new().await;
    let refusal = "550 5.7.1 You may send as ben@example.org, support@example.org, \
                   hilfe@example.org, direct@split.example";
    for from in ["anna@example.org", "sales@example.org", "x@elsewhere.example"] {
        let refused = world.submit("ben", OUTSIDE, &mail(from, "")).await;
        assert_eq!(refused, Err(refusal.to_owned()), "{from}");
    }
    let two = mail("support@example.org, anna@example.org", "");
    assert_eq!(world.submit("ben", OUTSIDE, &two).await, Err(refusal.to_owned()));
    let sender = mail("support@example.org", "Sender: anna@example.org\r\n");
    assert_eq!(world.submit("ben", OUTSIDE, &sender).await, Err(refusal.to_owned()));
    for (text, expected) in [
        (
            "Subject: x\r\n\r\n".to_owned(),
            "550 5.6.0 The message has no From field; name your \
          address in it",
        ),
        (
            mail("support@example.org", "From: ben@example.org\r\n"),
            "550 5.6.0 The message has more than one From field",
        ),
        (mail("support", ""), "550 5.6.0 From or Sender holds something that is no address"),
        (
            mail("\"support@example.org\"", ""),
            "550 5.6.0 From or Sender holds something that is no address",
        ),
        (mail("nobody:;", ""), "550 5.6.0 The From field names no address"),
    ] {
        assert_eq!(world.submit("ben", OUTSIDE, &text).await, Err(expected.to_owned()), "{text}");
    }
    assert!(world.queue().is_empty());
    let read_only = world.submit("dora", OUTSIDE, &mail("support@example.org", "")).await;
    assert_eq!(read_only, Err("550 5.7.1 You may send as dora@example.org".to_owned()));
}

#[tokio::test]
async fn nobody_else_can_be_named_where_some_reader_might_look() {
    let world = World::new().await;
    let from = |value: &str| mail(value, "");
    let crowd = format!("To: {}\r\n{}", "a,".repeat(19_999), from("ben@example.org, x@y.example"));
    let many = format!("Cc: {}\r\nSender: x@y.example\r\n", "a,".repeat(19_998));
    for text in [
        from("Chef <chef@example.org> <ben@example.org>"),
        from("chef@example.org <ben@example.org>"),
        from("<ben@example.org>, (a) chef@example.org"),
        mail("ben@example.org", "Resent-From: chef@example.org\r\n"),
        mail("ben@example.org", "Resent-Sender: chef@example.org\r\n"),
        crowd,
        mail("ben@example.org", &many),
    ] {
        let told = world.submit("ben", OUTSIDE, &text).await.expect_err("refused");
        assert!(told.starts_with("550 5.7.1 You may send as ben@example.org"), "{text}: {told}");
    }
    let odd = world.submit("ben", OUTSIDE, &from("\"Ben <ben@example.org>, x")).await;
    assert!(odd.is_err_and(|told| told.starts_with("550 5.6.0 From or Sender ")));
    let usual = from("\"chef@example.org\" <ben@example.org> (Ben, at work)");
    world.submit("ben", OUTSIDE, &usual).await.expect("a display name is free");
}

#[tokio::test]
async fn an_answer_from_a_personal_address_meets_the_identity_guard() {
    let world = World::new().await;
    for (id, to) in [("q1@c", "hilfe"), ("q2@c", "sales"), ("q3@c", "info")] {
        let to = format!("{to}@example.org");
        world.receive(&[&to], &question(id, &to)).await;
    }
    let answer = |id: &str, n: u32| {
        mail(
            "Anna B <anna@example.org>",
            &format!("Message-ID: <p{n}@c>\r\nIn-Reply-To: <{id}>\r\n"),
        )
    };
    let as_anna = ("anna@example.org", &["kunde@customer.example"][..]);

    let refused = world.submit("anna", as_anna, &answer("q1@c", 1)).await;
    let text = "550 5.7.1 This mail belongs to hilfe@example.org; answer it from hilfe@example.org";
    assert_eq!(refused, Err(text.to_owned()), "with the address that was written to");

    world.submit("anna", as_anna, &answer("q2@c", 2)).await.expect("rewritten");
    let filed = world.messages((&inbox("Sales"), sent()), "anna").await;
    let head = "X-Postfach-Sender: anna\r\nFrom: Anna B <sales@example.org>\r\n";
    assert!(filed[0].text.starts_with(head), "{filed:?}");
    let queue = world.queue();
    let reverse_path = queue[0].envelope.reverse_path.as_ref().map(Address::to_string);
    assert_eq!(reverse_path.as_deref(), Some("sales@example.org"));

    world.submit("anna", as_anna, &answer("q3@c", 3)).await.expect("off");
    assert_eq!(world.messages((&user("anna"), sent()), "anna").await.len(), 1);
    let asked = world.messages((&inbox("Info"), Folder::root()), "anna").await;
    assert_eq!(asked[0].flags, SystemFlags::ANSWERED, "it has been answered all the same");

    let as_dora = ("dora@example.org", &["kunde@customer.example"][..]);
    let text = mail("dora@example.org", "Message-ID: <p4@c>\r\nIn-Reply-To: <q1@c>\r\n");
    let refused = world.submit("dora", as_dora, &text).await.expect_err("may only read");
    assert!(refused.starts_with("550 5.7.1 You may read this mail"), "{refused}");
    let hidden = mail("dora@example.org", "Message-ID: <p5@c>\r\nIn-Reply-To: <q2@c>\r\n");
    world.submit("dora", as_dora, &hidden).await.expect("what she may not see does not exist");
    let taken = Folder::assigned(&world::login("anna"));
    let asked = world.messages((&inbox("Sales"), taken), "anna").await;
    assert_eq!(asked[0].flags, SystemFlags::ANSWERED, "by anna's answer alone");
}

#[tokio::test]
async fn mail_that_also_came_to_oneself_may_be_answered_personally() {
    let world = World::new().await;
    let to = ["support@example.org", "anna@example.org"];
    world.receive(&to, &question("q1@c", "support@example.org, anna@example.org")).await;
    let text = mail("anna@example.org", "Message-ID: <p1@c>\r\nIn-Reply-To: <q1@c>\r\n");
    let as_anna = ("anna@example.org", &["kunde@customer.example"][..]);
    world.submit("anna", as_anna, &text).await.expect("hers to answer");
}

#[tokio::test]
async fn a_forward_is_marked_as_one_and_not_guarded() {
    let world = World::new().await;
    world.receive(&["support@example.org"], &question("q1@c", "support@example.org")).await;
    let text = mail("anna@example.org", "Message-ID: <f1@c>\r\nX-Forwarded-Message-Id: <q1@c>\r\n");
    let as_anna = ("anna@example.org", &["kunde@customer.example"][..]);
    world.submit("anna", as_anna, &text).await.expect("accepted");
    let asked = world.messages((&inbox("Support"), Folder::root()), "ben").await;
    assert_eq!(asked[0].keywords, ["$Forwarded"]);
    assert_eq!(asked[0].flags, SystemFlags::NONE);
}

#[tokio::test]
async fn what_a_program_left_out_is_added_and_bcc_does_not_leave() {
    let world = World::new().await;
    let text = "From: support@example.org\r\nTo: kunde@customer.example\r\n\
                Bcc: chef@customer.example\r\n\r\nHallo\r\n";
    let to = ("support@example.org", &["kunde@customer.example", "chef@customer.example"][..]);
    world.submit("anna", to, text).await.expect("accepted");
    let leaving = world.queued_text(&world.queue()[0]).await;
    assert!(leaving.contains("\r\nDate: ") && leaving.contains("\r\nMessage-ID: <"), "{leaving}");
    assert!(!leaving.to_lowercase().contains("bcc"), "{leaving}");
    let filed = world.messages((&inbox("Support"), sent()), "anna").await;
    assert!(filed[0].text.starts_with("Bcc: chef@customer.example\r\n"), "the sender may know");
}

#[tokio::test]
async fn a_retry_after_a_lost_250_is_sent_and_filed_once() {
    let world = World::new().await;
    let text = mail("support@example.org", "Message-ID: <a1@c>\r\n");
    world.submit("anna", OUTSIDE, &text).await.expect("accepted");
    world.submit("anna", OUTSIDE, &text).await.expect("accepted again");
    assert_eq!(world.queue().len(), 1);
    assert_eq!(world.messages((&inbox("Support"), sent()), "anna").await.len(), 1);
    let other = ("support@example.org", &["other@customer.example"][..]);
    world.submit("anna", other, &text).await.expect("to somebody else it is no retry");
    assert_eq!(world.queue().len(), 2);
    let nameless = "From: support@example.org\r\nTo: kunde@customer.example\r\n\r\nHallo\r\n";
    for _ in 0..2 {
        world.submit("anna", OUTSIDE, nameless).await.expect("accepted");
    }
    assert_eq!(world.queue().len(), 4, "no Message-ID: it may be sent again on purpose");
}

#[tokio::test]
async fn shared_seen_is_set_where_the_inbox_keeps_it() {
    let world = World::new().await;
    let from = ("info@example.org", &["kunde@customer.example"][..]);
    world.submit("anna", from, &mail("info@example.org", "")).await.expect("accepted");
    let filed = world.messages((&inbox("Info"), sent()), "nobody").await;
    assert_eq!(filed[0].flags, SystemFlags::SEEN);
}

#[tokio::test]
async fn others_of_a_split_domain_go_to_its_upstream_server() {
    let world = World::new().await;
    let to = ("anna@example.org", &["old@split.example", "direct@split.example"][..]);
    let mut envelope = world.envelope(to.0, to.1, postfach::delivery::Origin::Submission);
    world.submit_by("anna", envelope.clone(), &mail("anna@example.org", "")).await.expect("sent");
    let direct = Account::Channel("Ben Direct".into());
    assert_eq!(world.messages((&direct, Folder::root()), "ben").await.len(), 1);
    let queue = world.queue();
    assert_eq!(queue[0].recipients.len(), 1, "the upstream has said that it has not the other");
    assert_eq!(queue[0].recipients[0].upstream.as_deref(), Some("smtp://old.example:25"));

    envelope.upstream = vec![Address::new("direct", "split.example")];
    world.submit_by("anna", envelope, &mail("anna@example.org", "")).await.expect("sent");
    let both: Vec<String> =
        world.queue()[1].recipients.iter().map(|r| r.address.to_string()).collect();
    assert_eq!(both, ["old@split.example", "direct@split.example"]);
    assert_eq!(world.messages((&direct, Folder::root()), "ben").await.len(), 2);
}

#[tokio::test]
async fn a_delivery_here_is_reported_into_the_mailbox_that_sent_and_not_again_for_a_retry() {
    let world = World::new().await;
    let notify = Some(Notify { success: true, failure: true, delay: false });
    let text = "From: support@example.org\r\nTo: ben@example.org\r\nSubject: Hi\r\n\
                Message-ID: <dsn1@example.org>\r\nDate: x\r\n\r\nbody\r\n";
    for _ in 0..2 {
        let to = ["ben@example.org", "kunde@customer.example"];
        let mut envelope = world.envelope("support@example.org", &to, Origin::Submission);
        for recipient in &mut envelope.transaction.recipients {
            recipient.parameters.notify = notify;
        }
        world.submit_by("anna", envelope, text).await.expect("accepted");
    }
    let (support, ben) = (inbox("Support"), user("ben"));
    let reports = world.messages((&support, Folder::root()), "anna").await;
    assert_eq!(reports.len(), 1, "{reports:?}");
    let report = &reports[0].text;
    assert!(report.starts_with("Return-Path: <>\r\nDelivered-To: support@example.org\r\n"));
    assert!(report.contains("Action: delivered\r\n"), "{report}");
    assert!(report.contains("Final-Recipient: rfc822; ben@example.org\r\n"), "{report}");
    assert!(!report.contains("kunde@"), "the other is on its way: {report}");
    assert_eq!(world.messages((&ben, Folder::root()), "ben").await.len(), 1);
    let queue = world.queue();
    assert_eq!((queue.len(), queue[0].recipients[0].notify), (1, notify));
}
