//! Connections that wait for the next mail.

use std::time::Duration;

use postfach::server::relay::{IDLE_MAX, MAILS_PER_CONNECTION_MAX, Relay};

use crate::server::{Fault, Script, Server};
use crate::world::{Message, hop, relay, settings, shown, until};

/// Sends to `x` and expects that it arrives.
async fn deliver(relay: &Relay, server: &Server, message: &Message) {
    let (hop, mail) = (hop(&[server.address]), message.mail(&["x"]));
    let attempt = shown(&relay.attempt(&hop, &mail, &message.content).await);
    assert!(attempt.starts_with("delivered"), "{attempt}");
}

#[tokio::test]
async fn the_next_mail_takes_the_same_connection() {
    let server = Server::start(Script::offering(&["PIPELINING"])).await;
    let (message, relay) = (Message::small().await, relay(settings()));
    for _ in 0..3 {
        deliver(&relay, &server, &message).await;
    }
    let heard = server.heard();
    assert_eq!((heard.connections, heard.messages.len()), (1, 3));
}

#[tokio::test]
async fn a_refused_mail_does_not_spoil_the_connection() {
    let server = Server::start(Script::offering(&["PIPELINING"])).await;
    let (message, relay) = (Message::small().await, relay(settings()));
    let (hop, mail) = (hop(&[server.address]), message.mail(&["no"]));
    let attempt = shown(&relay.attempt(&hop, &mail, &message.content).await);
    assert!(attempt.starts_with("failed"), "{attempt}");
    deliver(&relay, &server, &message).await;
    assert_eq!(server.heard().connections, 1);
    assert!(server.heard().commands.iter().any(|line| line == "RSET"));
}

#[tokio::test]
async fn a_connection_carries_so_many_mails_and_not_one_more() {
    let server = Server::start(Script::offering(&["PIPELINING"])).await;
    let (message, relay) = (Message::small().await, relay(settings()));
    for _ in 0..MAILS_PER_CONNECTION_MAX {
        deliver(&relay, &server, &message).await;
    }
    assert_eq!(server.heard().connections, 1);
    deliver(&relay, &server, &message).await;
    assert_eq!(server.heard().connections, 2);
    until("the farewell", || server.heard().commands.iter().any(|line| line == "QUIT")).await;
}

#[tokio::test]
async fn a_server_that_takes_few_mails_on_a_connection_gets_few() {
    let server = Server::start(Script::offering(&["LIMITS MAILMAX=2"])).await;
    let (message, relay) = (Message::small().await, relay(settings()));
    for _ in 0..4 {
        deliver(&relay, &server, &message).await;
    }
    assert_eq!(server.heard().connections, 2);
    let quits = || server.heard().commands.iter().filter(|line| *line == "QUIT").count();
    until("two farewells", || quits() == 2).await;
}

#[tokio::test]
async fn an_idle_connection_that_died_costs_nothing() {
    for fault in [Fault::Close, Fault::SayAndClose("421 4.4.2 idle for too long")] {
        let at_once = Script::default().once("end", Fault::SayAndClose("250 2.0.0 taken"));
        let at_mail = Script::default().once("RSET", fault);
        for script in [at_once, at_mail] {
            let (server, message) = (Server::start(script).await, Message::small().await);
            let relay = relay(settings());
            deliver(&relay, &server, &message).await;
            let hop = hop(&[server.address]);
            let mail = message.mail(&["no"]);
            let _ = relay.attempt(&hop, &mail, &message.content).await;
            deliver(&relay, &server, &message).await;
            assert_eq!(server.heard().connections, 2);
        }
    }
}

#[tokio::test]
async fn a_silent_idle_connection_costs_a_wait_and_no_deferral() {
    let script = Script::default().once("RSET", Fault::Freeze);
    let (server, message) = (Server::start(script).await, Message::small().await);
    let mut settings = settings();
    settings.timeouts.reuse = Duration::from_millis(100);
    let relay = relay(settings);
    let (hop, mail) = (hop(&[server.address]), message.mail(&["no"]));
    let _ = relay.attempt(&hop, &mail, &message.content).await;
    deliver(&relay, &server, &message).await;
    assert_eq!(server.heard().connections, 2);
}

#[tokio::test]
async fn an_idle_connection_is_left_after_a_while() {
    let (server, message) = (Server::start(Script::default()).await, Message::small().await);
    let mut settings = settings();
    settings.idle_timeout = Duration::from_millis(200);
    let relay = relay(settings);
    deliver(&relay, &server, &message).await;
    assert_eq!(server.heard().open, 1);
    until("the farewell", || server.heard().open == 0).await;
    assert_eq!(server.heard().commands.last().map(String::as_str), Some("QUIT"));
}

#[tokio::test]
async fn so_many_wait_for_a_hop_and_not_one_more() {
    let (server, message) = (Server::start(Script::default()).await, Message::small().await);
    let relay = relay(settings());
    let one = || deliver(&relay, &server, &message);
    tokio::join!(one(), one(), one());
    assert_eq!(server.heard().connections, 3);
    until("one farewell", || server.heard().open == 2).await;
    relay.close().await;
    until("all farewells", || server.heard().open == 0).await;
}

#[tokio::test]
async fn so_many_wait_in_all_and_not_one_more() {
    let (server, message) = (Server::start(Script::default()).await, Message::small().await);
    let relay = relay(settings());
    let mail = message.mail(&["x"]);
    for number in 0..=IDLE_MAX {
        assert_eq!(server.heard().open, number.min(IDLE_MAX));
        let mut hop = hop(&[server.address]);
        hop.name = format!("mx{number}.example");
        let attempt = shown(&relay.attempt(&hop, &mail, &message.content).await);
        assert!(attempt.starts_with("delivered"), "{attempt}");
    }
    until("one farewell", || server.heard().open == IDLE_MAX).await;
    assert_eq!(server.heard().commands.iter().filter(|line| *line == "QUIT").count(), 1);
}

#[tokio::test]
async fn without_idle_time_nothing_waits() {
    let (server, message) = (Server::start(Script::default()).await, Message::small().await);
    let mut settings = settings();
    settings.idle_timeout = Duration::ZERO;
    let relay = relay(settings);
    deliver(&relay, &server, &message).await;
    until("the farewell", || server.heard().open == 0).await;
}
