//! The content: large ones, those that are not what they were declared to be, and those that cannot
//! be sent to the end.

use std::time::Duration;

use postfach::mail::transport::Body;
use postfach::smtp::client::Mail;

use crate::server::{Fault, Script, Server};
use crate::world::{Message, hop, relay, send_one, settings, shown, timeouts};

#[tokio::test]
async fn a_large_message_arrives_as_it_is() {
    let (server, message) = (Server::start(Script::default()).await, Message::large().await);
    assert!(message.bytes.len() > 5_000_000);
    let attempt = send_one(&server, &message).await;
    assert!(shown(&attempt).starts_with("delivered"), "{attempt:?}");
    assert!(server.heard().messages == [message.bytes]);
}

#[tokio::test]
async fn sizes_around_what_is_read_at_a_time_arrive_as_they_are() {
    for size in [256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 512 * 1024] {
        let mut body = b"Subject: x\r\n\r\n".to_vec();
        body.resize(size - 2, b'x');
        body.extend_from_slice(b"\r\n");
        let (server, message) = (Server::start(Script::default()).await, Message::new(&body).await);
        let attempt = send_one(&server, &message).await;
        assert!(shown(&attempt).starts_with("delivered"), "{size}: {attempt:?}");
        assert!(server.heard().messages == [message.bytes], "{size}");
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_is_heard_or_the_connection_is_lost() {
    for offers in [&[][..], &["PIPELINING"][..]] {
        let fault = Fault::SayAndClose("552 5.3.4 too large");
        let script = Script::offering(offers).with("content", fault);
        let (server, message) = (Server::start(script).await, Message::large().await);
        let attempt = shown(&send_one(&server, &message).await);
        // The reply may be lost with the connection: it was closed on bytes that nobody read.
        let told = attempt == "failed 5.3.4 552 5.3.4 too large";
        let lost = attempt.starts_with("deferred 4.4.2 ");
        assert!(told || lost, "{attempt}");
    }
}

#[tokio::test]
async fn a_refusal_in_the_middle_is_heard_from_a_server_that_goes_on_reading() {
    let script = Script::default().with("content", Fault::Say("552 5.3.4 too large"));
    let (server, message) = (Server::start(script).await, Message::large().await);
    let attempt = shown(&send_one(&server, &message).await);
    assert_eq!(attempt, "failed 5.3.4 552 5.3.4 too large");
    assert_eq!(server.heard().messages.len(), 0);
}

#[tokio::test]
async fn a_server_that_accepts_in_the_middle_has_accepted_nothing() {
    let script = Script::default().with("content", Fault::Say("250 2.0.0 taken"));
    let (server, message) = (Server::start(script).await, Message::large().await);
    let attempt = shown(&send_one(&server, &message).await);
    assert_eq!(attempt, "deferred 4.5.0 the server replied to nothing");
    assert_eq!(server.heard().messages.len(), 0);
}

#[tokio::test]
async fn a_server_that_does_not_read_is_given_up() {
    let script = Script::default().with("content", Fault::Freeze);
    let (server, message) = (Server::start(script).await, Message::large().await);
    let mut settings = settings();
    settings.timeouts = timeouts(Duration::from_millis(200));
    let (hop, mail) = (hop(&[server.address]), message.mail(&["x"]));
    let attempt = shown(&relay(settings).attempt(&hop, &mail, &message.content).await);
    assert_eq!(attempt, "deferred 4.4.2 no answer in time during the content");
}

#[tokio::test]
async fn a_server_that_closes_in_the_middle_has_not_got_it() {
    let script = Script::default().with("content", Fault::Close);
    let (server, message) = (Server::start(script).await, Message::large().await);
    let attempt = shown(&send_one(&server, &message).await);
    assert!(attempt.starts_with("deferred 4.4.2 "), "{attempt}");
    assert!(attempt.ends_with("during the content") || attempt.contains("during the content:"));
}

#[tokio::test]
async fn what_was_stored_with_another_size_is_not_ended() {
    let (server, message) = (Server::start(Script::default()).await, Message::small().await);
    for size_bytes in [message.bytes.len() as u64 - 1, message.bytes.len() as u64 + 1] {
        let mail = Mail { size_bytes, ..message.mail(&["x"]) };
        let relay = relay(settings());
        let attempt = relay.attempt(&hop(&[server.address]), &mail, &message.content).await;
        assert_eq!(shown(&attempt), "deferred 4.3.0 the stored message is damaged");
    }
    assert_eq!(server.heard().messages.len(), 0);
}

#[tokio::test]
async fn what_is_gone_from_the_store_is_not_ended() {
    let (server, message) = (Server::start(Script::default()).await, Message::small().await);
    let mut content = message.content.clone();
    content.blob = postfach::mail::id::BlobId(4711);
    let relay = relay(settings());
    let hop = hop(&[server.address]);
    let attempt = relay.attempt(&hop, &message.mail(&["x"]), &content).await;
    assert!(shown(&attempt).starts_with("deferred 4.3.0 "), "{attempt:?}");
    assert_eq!(server.heard().messages.len(), 0);
}

#[tokio::test]
async fn what_was_declared_beyond_ascii_and_is_not_goes_to_every_server() {
    let plain = b"Subject: x\r\n\r\nplain\r\n";
    let in_body = "Subject: x\r\n\r\nM\u{fc}ll\r\n".as_bytes();
    let in_header = "Subject: M\u{fc}ll\r\n\r\nplain\r\n".as_bytes();
    for (body, offers, expected) in [
        (&plain[..], &[][..], "delivered"),
        (in_body, &["8BITMIME"][..], "delivered"),
        (in_body, &[][..], "failed 5.6.3"),
        (in_header, &["8BITMIME"][..], "failed 5.6.7"),
        (in_header, &["8BITMIME", "SMTPUTF8"][..], "delivered"),
    ] {
        let server = Server::start(Script::offering(offers)).await;
        let message = Message::new(body).await;
        let declared = Mail { body: Body::EightBitMime, smtputf8: true, ..message.mail(&["x"]) };
        let relay = relay(settings());
        let attempt = relay.attempt(&hop(&[server.address]), &declared, &message.content).await;
        assert!(shown(&attempt).starts_with(expected), "{offers:?}: {attempt:?}");
    }
}

#[tokio::test]
async fn smtputf8_is_asked_for_only_where_it_is_needed() {
    let in_header = "Subject: M\u{fc}ll\r\n\r\nplain\r\n".as_bytes();
    for (body, needed) in [(&b"Subject: x\r\n\r\nplain\r\n"[..], false), (in_header, true)] {
        let server = Server::start(Script::offering(&["8BITMIME", "SMTPUTF8"])).await;
        let message = Message::new(body).await;
        let declared = Mail { smtputf8: true, ..message.mail(&["x"]) };
        let relay = relay(settings());
        let attempt = relay.attempt(&hop(&[server.address]), &declared, &message.content).await;
        assert!(shown(&attempt).starts_with("delivered"), "{attempt:?}");
        let asked = server.heard().commands.iter().any(|line| line.contains("SMTPUTF8"));
        assert_eq!(asked, needed);
    }
}

#[tokio::test]
async fn what_was_declared_ascii_and_is_not_does_not_go_as_it_is() {
    let server = Server::start(Script::default()).await;
    let message = Message::new("Subject: x\r\n\r\nM\u{fc}ll\r\n".as_bytes()).await;
    let attempt = send_one(&server, &message).await;
    assert!(shown(&attempt).starts_with("failed 5.6.3"), "{attempt:?}");
}
