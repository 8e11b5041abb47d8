//! What comes of a mail when the server fails at one step or another.

use std::time::{Duration, Instant};

use postfach::server::relay::{Settings, TRANSACTIONS_PER_ATTEMPT_MAX};
use postfach::smtp::client::Verification;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::server::{Fault, Script, Server};
use crate::world::{Message, fate, hop, relay, send_one, settings, shown, timeouts};

const STEPS: [&str; 7] = ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "content", "end"];

#[tokio::test]
async fn a_mail_arrives_behind_its_trace_fields() {
    for script in [
        Script::default(),
        Script::offering(&["PIPELINING", "SIZE 1000000", "8BITMIME"]),
        Script { dribbles: true, ..Script::offering(&["PIPELINING"]) },
        Script::default().with("end", Fault::Say("250-2.0.0 one\r\n250-2.0.0 two\r\n250 three")),
    ] {
        let (server, message) = (Server::start(script).await, Message::small().await);
        let attempt = send_one(&server, &message).await;
        assert!(shown(&attempt).starts_with("delivered 2.0.0 250"), "{attempt:?}");
        assert_eq!(server.heard().messages, std::slice::from_ref(&message.bytes));
    }
}

#[tokio::test]
async fn a_connection_that_closes_defers() {
    for step in STEPS {
        for offers in [&[][..], &["PIPELINING"][..]] {
            let script = Script::offering(offers).with(step, Fault::Close);
            let (server, message) = (Server::start(script).await, Message::small().await);
            let attempt = shown(&send_one(&server, &message).await);
            let unserved = matches!(step, "greeting" | "EHLO");
            let expected = if unserved { "!deferred 4.4.2 " } else { "deferred 4.4.2 " };
            assert!(attempt.starts_with(expected), "{step}: {attempt}");
            let doubtful = attempt.contains("so it may have taken the mail");
            assert_eq!(doubtful, matches!(step, "content" | "end"), "{step}: {attempt}");
        }
    }
}

#[tokio::test]
async fn silence_defers_in_time() {
    for step in STEPS {
        let script = Script::offering(&["PIPELINING"]).with(step, Fault::Hang);
        let (server, message) = (Server::start(script).await, Message::small().await);
        let mut settings = settings();
        settings.timeouts = timeouts(Duration::from_millis(150));
        let begun = Instant::now();
        let (hop, mail) = (hop(&[server.address]), message.mail(&["x"]));
        let attempt = shown(&relay(settings).attempt(&hop, &mail, &message.content).await);
        assert!(attempt.contains("deferred 4.4.2 no answer in time"), "{step}: {attempt}");
        assert!(begun.elapsed() < Duration::from_secs(3), "{step}");
    }
}

#[tokio::test]
async fn a_mail_that_takes_too_long_in_all_is_broken_off() {
    for (step, opening) in [("greeting", true), ("EHLO", true), ("RCPT", false), ("end", false)] {
        let script = Script::offering(&["PIPELINING"]).with(step, Fault::Hang);
        let (server, message) = (Server::start(script).await, Message::small().await);
        let mut settings = settings();
        settings.timeouts = timeouts(Duration::from_millis(900));
        (settings.timeouts.opening, settings.timeouts.transaction) =
            (Duration::from_millis(150), Duration::from_millis(150));
        let (hop, mail) = (hop(&[server.address]), message.mail(&["x"]));
        let attempt = shown(&relay(settings).attempt(&hop, &mail, &message.content).await);
        let expected = match (step, opening) {
            // what was sent to its end is waited for as ever
            ("end", _) => "deferred 4.4.2 no answer in time after the end of the content",
            (_, true) => "!deferred 4.4.2 it took too long in all, and was broken off ",
            (_, false) => "deferred 4.4.2 it took too long in all, and was broken off ",
        };
        assert!(attempt.starts_with(expected), "{step}: {attempt}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_as_it_was_said() {
    for (step, reply, expected) in [
        ("greeting", "554 5.3.2 no", "!deferred 4.3.2 554 5.3.2 no"),
        ("greeting", "450 later", "!deferred 4.0.0 450 later"),
        ("EHLO", "450 4.7.1 later", "!deferred 4.7.1 450 4.7.1 later"),
        ("EHLO", "550 unknown", "delivered 2.0.0 250 2.0.0 taken"),
        ("MAIL", "550 5.7.1 no", "failed 5.7.1 550 5.7.1 no"),
        ("MAIL", "450 4.7.1 later", "deferred 4.7.1 450 4.7.1 later"),
        ("RCPT", "550 no", "failed 5.0.0 550 no"),
        ("RCPT", "450 later", "deferred 4.0.0 450 later"),
        ("DATA", "554 5.7.1 no", "failed 5.7.1 554 5.7.1 no"),
        ("DATA", "451 later", "deferred 4.0.0 451 later"),
        ("DATA", "250 what", "deferred 4.5.0 the server's reply makes no sense here"),
        ("end", "554 5.6.0 no", "failed 5.6.0 554 5.6.0 no"),
        ("end", "451 4.3.0 later", "deferred 4.3.0 451 4.3.0 later"),
        ("end", "nonsense", "deferred 4.5.0 the server's reply does not begin with a code"),
    ] {
        for offers in [&[][..], &["PIPELINING"][..]] {
            let script = Script::offering(offers).with(step, Fault::Say(reply));
            let (server, message) = (Server::start(script).await, Message::small().await);
            let attempt = shown(&send_one(&server, &message).await);
            assert!(attempt.starts_with(expected), "{step} {reply}: {attempt}");
        }
    }
}

#[tokio::test]
async fn a_421_defers_at_any_step() {
    for step in STEPS {
        let fault = Fault::SayAndClose("421 4.3.2 shutting down");
        let script = Script::offering(&["PIPELINING"]).with(step, fault);
        let (server, message) = (Server::start(script).await, Message::small().await);
        let attempt = shown(&send_one(&server, &message).await);
        assert!(attempt.contains("deferred 4.3.2 421 4.3.2 shutting down"), "{step}: {attempt}");
    }
}

#[tokio::test]
async fn one_recipient_does_not_lose_the_others() {
    let server = Server::start(Script::offering(&["PIPELINING"])).await;
    let message = Message::small().await;
    let mail = message.mail(&["no", "x", "later", "y"]);
    let attempt = relay(settings()).attempt(&hop(&[server.address]), &mail, &message.content).await;
    let fates: Vec<String> = attempt.fates.iter().map(fate).collect();
    let expected = [
        "failed 5.1.1 550 5.1.1 no such user",
        "delivered 2.0.0 250 2.0.0 taken",
        "deferred 4.2.1 450 4.2.1 greylisted",
        "delivered 2.0.0 250 2.0.0 taken",
    ];
    assert_eq!(fates, expected);
    assert_eq!(server.heard().recipients, ["RCPT TO:<x@y.example>", "RCPT TO:<y@y.example>"]);
}

#[tokio::test]
async fn the_next_address_is_tried() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nobody = closed.local_addr().expect("an address");
    drop(closed);
    let refusing = Script::default().with("greeting", Fault::Say("554 no"));
    let refusing = Server::start(refusing).await;
    let (server, message) = (Server::start(Script::default()).await, Message::small().await);
    let mail = message.mail(&["x"]);
    let relay = relay(settings());
    let attempt =
        async |addresses: Vec<_>| relay.attempt(&hop(&addresses), &mail, &message.content).await;
    let good = attempt(vec![nobody, refusing.address, server.address]).await;
    assert!(shown(&good).starts_with("delivered"), "{good:?}");
    let bad = shown(&attempt(vec![refusing.address, nobody]).await);
    assert!(bad.starts_with("!deferred 4.4.1 cannot connect to localhost"), "{bad}");
    let none = shown(&attempt(Vec::new()).await);
    assert!(none.starts_with("!deferred 4.4.4"), "{none}");
}

#[tokio::test]
async fn addresses_are_tried_up_to_the_limit() {
    let refusing = Script::default().with("greeting", Fault::Say("554 no"));
    let refusing = Server::start(refusing).await;
    let (server, message) = (Server::start(Script::default()).await, Message::small().await);
    let mail = message.mail(&["x"]);
    for (before, expected) in [(4, "delivered"), (5, "!deferred")] {
        let mut addresses = vec![refusing.address; before];
        addresses.push(server.address);
        let relay = relay(settings());
        let attempt = shown(&relay.attempt(&hop(&addresses), &mail, &message.content).await);
        assert!(attempt.starts_with(expected), "{before}: {attempt}");
    }
}

#[tokio::test]
async fn a_server_that_loses_pipelined_commands_gets_them_one_by_one_next_time() {
    let script = Script { loses_pipelined: true, ..Script::offering(&["PIPELINING"]) };
    let (server, message) = (Server::start(script).await, Message::small().await);
    let mut settings = settings();
    settings.timeouts = timeouts(Duration::from_millis(200));
    let relay = relay(settings);
    let (hop, mail) = (hop(&[server.address]), message.mail(&["x"]));
    let first = shown(&relay.attempt(&hop, &mail, &message.content).await);
    assert_eq!(first, "deferred 4.4.2 no answer in time after RCPT");
    let second = shown(&relay.attempt(&hop, &mail, &message.content).await);
    assert!(second.starts_with("delivered"), "{second}");
    assert_eq!(server.heard().messages.len(), 1);
}

#[tokio::test]
async fn many_recipients_go_in_several_transactions() {
    for (recipients_max, transactions) in [(None, 3), (Some(10), 25)] {
        let script = Script { recipients_max, ..Script::offering(&["PIPELINING"]) };
        let (server, message) = (Server::start(script).await, Message::small().await);
        let names: Vec<String> = (0..250).map(|n| format!("x{n}")).collect();
        let mail = message.mail(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let relay = relay(settings());
        let attempt = relay.attempt(&hop(&[server.address]), &mail, &message.content).await;
        assert!(attempt.fates.iter().all(|one| fate(one).starts_with("delivered")));
        let heard = server.heard();
        assert_eq!((heard.messages.len(), heard.connections), (transactions, 1));
        let mut reached = heard.recipients.clone();
        reached.sort();
        reached.dedup();
        assert_eq!(reached.len(), 250);
    }
}

#[tokio::test]
async fn an_attempt_has_so_many_transactions_and_not_one_more() {
    let script = Script { recipients_max: Some(1), ..Script::offering(&["PIPELINING"]) };
    let (server, message) = (Server::start(script).await, Message::small().await);
    let names: Vec<String> = (0..=TRANSACTIONS_PER_ATTEMPT_MAX).map(|n| format!("x{n}")).collect();
    let mail = message.mail(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let relay = relay(settings());
    let attempt = relay.attempt(&hop(&[server.address]), &mail, &message.content).await;
    let mut fates: Vec<String> = attempt.fates.iter().map(fate).collect();
    let last = fates.pop();
    assert_eq!(last.as_deref(), Some("deferred 4.5.3 452 4.5.3 too many recipients"));
    assert!(fates.iter().all(|fate| fate.starts_with("delivered")));
    assert_eq!(server.heard().messages.len(), TRANSACTIONS_PER_ATTEMPT_MAX);
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_left_in_time() {
    // A queue of connections that nobody takes: when it is full, the system drops what comes.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = socket.listen(1).expect("listening");
    let address = listener.local_addr().expect("an address");
    let mut waiting = Vec::new();
    let brief = Duration::from_millis(100);
    while let Ok(connected) = tokio::time::timeout(brief, TcpStream::connect(address)).await {
        waiting.push(connected);
    }
    let message = Message::small().await;
    let settings = Settings { connect_timeout: brief, ..settings() };
    let (hop, mail) = (hop(&[address]), message.mail(&["x"]));
    let attempt = shown(&relay(settings).attempt(&hop, &mail, &message.content).await);
    let expected = format!("!deferred 4.4.1 cannot connect to localhost ({address}): no answer");
    assert!(attempt.starts_with(&expected), "{attempt}");
}

#[tokio::test]
async fn a_verification_sends_no_mail() {
    let server = Server::start(Script::offering(&["PIPELINING"])).await;
    let relay = relay(settings());
    let hop = hop(&[server.address]);
    let ask = async |name: &str| {
        let to = postfach::mail::address::Address::new(name, "y.example");
        relay.verify(&hop, None, &to).await
    };
    assert!(matches!(ask("x").await, Verification::Accepted(_)));
    assert!(matches!(ask("no").await, Verification::Refused(told) if told.status == "5.1.1"));
    assert!(matches!(ask("later").await, Verification::Unknown(told) if told.status == "4.2.1"));
    let heard = server.heard();
    assert_eq!((heard.connections, heard.messages.len()), (1, 0));
    assert!(!heard.commands.iter().any(|line| line == "DATA"), "{:?}", heard.commands);
    let dead = Script::default().with("RCPT", Fault::Close);
    let dead = crate::world::hop(&[Server::start(dead).await.address]);
    let to = postfach::mail::address::Address::new("x", "y.example");
    assert!(matches!(relay.verify(&dead, None, &to).await, Verification::Unknown(_)));
}
