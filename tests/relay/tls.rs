//! TLS as the hop wants it, and logging in.

use postfach::outbound::{Hop, Login, Security};
use postfach::server::relay::Settings;
use postfach::smtp::client::Credentials;

use crate::server::{Fault, Script, Server};
use crate::world::{Certificate, Message, hop, relay, settings, shown};

/// Sends to `x`; the server is known as `localhost`.
async fn send(server: &Server, security: Security, settings: Settings) -> String {
    let message = Message::small().await;
    let hop = Hop { security, ..hop(&[server.address]) };
    let relay = relay(settings);
    shown(&relay.attempt(&hop, &message.mail(&["x"]), &message.content).await)
}

fn starttls(certificate: &Certificate) -> Script {
    Script { tls: Some(certificate.acceptor.clone()), ..Script::offering(&["STARTTLS"]) }
}

fn trusting(certificate: &Certificate) -> Settings {
    Settings { authorities: Some(certificate.authority()), ..settings() }
}

#[tokio::test]
async fn any_certificate_is_better_than_none() {
    let certificate = Certificate::new("elsewhere.example");
    let server = Server::start(starttls(&certificate)).await;
    let attempt = send(&server, Security::Opportunistic, settings()).await;
    assert!(attempt.starts_with("delivered"), "{attempt}");
    let heard = server.heard();
    assert_eq!((heard.handshakes, heard.connections), (1, 1));
    let ehlos = heard.commands.iter().filter(|line| line.starts_with("EHLO")).count();
    assert_eq!(ehlos, 2);
}

#[tokio::test]
async fn a_broken_handshake_is_followed_by_plain_text_where_tls_is_not_required() {
    let certificate = Certificate::new("localhost");
    for fault in [Fault::SayAndClose("220 go"), Fault::Say("220 go\r\n250 not TLS")] {
        let script = Script { tls: None, ..starttls(&certificate) }.with("STARTTLS", fault.clone());
        let server = Server::start(script.clone()).await;
        let attempt = send(&server, Security::Verified, trusting(&certificate)).await;
        assert!(attempt.starts_with("!deferred 4.7.5"), "{attempt}");
        assert_eq!(server.heard().messages.len(), 0);
        if let Fault::SayAndClose(_) = fault {
            let server = Server::start(script).await;
            let attempt = send(&server, Security::Opportunistic, settings()).await;
            assert!(attempt.starts_with("delivered"), "{attempt}");
            assert_eq!(server.heard().connections, 2);
        }
    }
}

#[tokio::test]
async fn a_server_that_leaves_at_starttls_gets_plain_text_where_tls_is_not_required() {
    let certificate = Certificate::new("localhost");
    for fault in [Fault::Close, Fault::SayAndClose("421 4.7.0 no"), Fault::Say("454 4.7.0 no")] {
        let connections = if matches!(fault, Fault::Say(_)) { 1 } else { 2 };
        let server = Server::start(starttls(&certificate).with("STARTTLS", fault)).await;
        let attempt = send(&server, Security::Opportunistic, settings()).await;
        assert!(attempt.starts_with("delivered"), "{attempt}");
        assert_eq!(server.heard().connections, connections);
        let attempt = send(&server, Security::Verified, trusting(&certificate)).await;
        assert!(attempt.starts_with("!deferred 4."), "{attempt}");
        assert_eq!(server.heard().messages.len(), 1);
    }
}

#[tokio::test]
async fn bytes_in_plain_text_behind_starttls_are_never_replies_under_tls() {
    let certificate = Certificate::new("localhost");
    let injected = Fault::Say("220 go\r\n250-mx.example\r\n250 AUTH PLAIN");
    let server = Server::start(starttls(&certificate).with("STARTTLS", injected)).await;
    for security in [Security::Opportunistic, Security::Verified] {
        let attempt = send(&server, security, trusting(&certificate)).await;
        assert_eq!(attempt, "!deferred 4.7.5 bytes came between STARTTLS and TLS");
    }
    assert_eq!(server.heard().messages.len(), 0);
}

#[tokio::test]
async fn a_verified_hop_needs_a_certificate_for_its_name_from_an_authority() {
    let good = Certificate::new("localhost");
    let server = Server::start(starttls(&good)).await;
    let attempt = send(&server, Security::Verified, trusting(&good)).await;
    assert!(attempt.starts_with("delivered"), "{attempt}");
    assert_eq!(server.heard().handshakes, 1);
    let unknown = send(&server, Security::Verified, settings()).await;
    assert!(unknown.starts_with("!deferred 4.7.5 TLS handshake with localhost"), "{unknown}");
    let message = Message::small().await;
    let mut elsewhere = hop(&[server.address]);
    (elsewhere.name, elsewhere.security) = ("mx.example".into(), Security::Verified);
    let relay = relay(trusting(&good));
    let attempt = relay.attempt(&elsewhere, &message.mail(&["x"]), &message.content).await;
    let attempt = shown(&attempt);
    assert!(attempt.starts_with("!deferred 4.7.5 TLS handshake with mx.example"), "{attempt}");
    assert!(attempt.contains("not valid for name"), "{attempt}");
    let plain = Server::start(Script::default()).await;
    let attempt = send(&plain, Security::Verified, trusting(&good)).await;
    assert_eq!(attempt, "!deferred 4.7.4 the server does not offer STARTTLS");
    assert_eq!((server.heard().messages.len(), plain.heard().messages.len()), (1, 0));
}

#[tokio::test]
async fn implicit_tls_is_verified_too() {
    let (good, other) = (Certificate::new("localhost"), Certificate::new("localhost"));
    let script = Script { implicit: true, tls: Some(good.acceptor.clone()), ..Script::default() };
    let server = Server::start(script).await;
    let attempt = send(&server, Security::Implicit, trusting(&good)).await;
    assert!(attempt.starts_with("delivered"), "{attempt}");
    let attempt = send(&server, Security::Implicit, trusting(&other)).await;
    assert!(attempt.starts_with("!deferred 4.7.5"), "{attempt}");
}

#[tokio::test]
async fn tls_is_left_alone_where_it_is_off() {
    let certificate = Certificate::new("localhost");
    let server = Server::start(starttls(&certificate)).await;
    let attempt = send(&server, Security::Off, settings()).await;
    assert!(attempt.starts_with("delivered"), "{attempt}");
    assert_eq!(server.heard().handshakes, 0);
}

#[tokio::test]
async fn a_hop_with_a_login_gets_it_under_tls() {
    let certificate = Certificate::new("localhost");
    let offers = ["STARTTLS", "AUTH PLAIN"];
    let script = Script { offers: offers.to_vec(), ..starttls(&certificate) };
    let credentials = Credentials { login: "anna".into(), password: "secret".into() };
    let message = Message::small().await;
    for (script, expected) in [
        (script.clone(), "delivered"),
        (script.with("AUTH", Fault::Say("535 5.7.8 no")), "!deferred 4.7.8 535 5.7.8 no"),
    ] {
        let server = Server::start(script).await;
        let settings =
            Settings { credentials: Some(credentials.clone()), ..trusting(&certificate) };
        let login = Login::Configured;
        let hop = Hop { security: Security::Verified, login, ..hop(&[server.address]) };
        let relay = relay(settings);
        let attempt = relay.attempt(&hop, &message.mail(&["x"]), &message.content).await;
        assert!(shown(&attempt).starts_with(expected), "{attempt:?}");
        let commands = server.heard().commands;
        let auth = commands.iter().position(|line| line == "AUTH PLAIN AGFubmEAc2VjcmV0");
        let starttls = commands.iter().position(|line| line == "STARTTLS");
        assert!(starttls.is_some() && auth > starttls, "{commands:?}");
        let without = Hop { login: Login::None, ..hop };
        let _ = relay.attempt(&without, &message.mail(&["x"]), &message.content).await;
        let auths = server.heard().commands.iter().filter(|l| l.starts_with("AUTH")).count();
        assert_eq!(auths, 1);
    }
}
