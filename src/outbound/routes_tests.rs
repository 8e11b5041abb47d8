//! What URLs and entries mean for the way of a recipient.

use proptest::prelude::*;

use super::*;
use crate::mail::address::Address;
use crate::mail::id::Timestamp;
use crate::store::queue::Progress;

fn recipient(domain: &str, upstream: Option<&str>) -> QueuedRecipient {
    QueuedRecipient {
        number: 0,
        address: Address::new("bob", domain),
        upstream: upstream.map(str::to_owned),
        notify: None,
        orcpt: None,
        progress: Progress::new(Timestamp(0)),
    }
}

fn server(url: &str) -> Server {
    Server::parse(url).expect("a server").0
}

fn mx(domain: &str, security: Security) -> Route {
    Route::Mx { domain: domain.into(), port: 25, security }
}

#[test]
fn urls_name_scheme_user_host_and_port() {
    let rows = [
        ("smtp://relay.example", "relay.example", 25, None),
        ("smtp://anna@Relay.example", "relay.example", 587, Some("anna")),
        (
            "smtps://anna%40example.org@relay.example",
            "relay.example",
            465,
            Some("anna@example.org"),
        ),
        (
            "smtp://anna@example.org@relay.example:2525/",
            "relay.example",
            2525,
            Some("anna@example.org"),
        ),
        ("smtp://127.0.0.1:2525", "127.0.0.1", 2525, None),
        ("smtp://[::1]:2525", "::1", 2525, None),
        ("smtp://[::1]", "::1", 25, None),
    ];
    for (url, host, port, user) in rows {
        let (server, named) = Server::parse(url).expect(url);
        assert_eq!((server.host.as_str(), server.port), (host, port), "{url}");
        assert_eq!(named.as_deref(), user, "{url}");
    }
}

#[test]
fn urls_that_name_no_server_say_why() {
    let rows = [
        ("relay.example", "neither"),
        ("http://relay.example", "neither"),
        ("smtp://", "no host"),
        ("smtp://a b", "no host"),
        ("smtp://relay.example:", ""),
        ("smtp://relay.example:0", "port"),
        ("smtp://relay.example:65536", "port"),
        ("smtp://[::1", "lacks"),
        ("smtp://[::1]x", "odd"),
        ("smtp://[relay]", "no IP"),
        ("smtp://user:secret@relay.example", "password"),
        ("smtp://@relay.example", "user"),
        ("smtp://a%0@relay.example", "user"),
        ("smtp://a%0a@relay.example", "user"),
    ];
    for (url, why) in rows {
        match Server::parse(url) {
            Ok(_) => assert!(why.is_empty(), "{url}"),
            Err(said) => assert!(said.contains(why) && !why.is_empty(), "{url}: {said}"),
        }
    }
}

#[test]
fn an_upstream_goes_before_an_entry_and_an_entry_before_the_smarthost() {
    let smarthost = server("smtp://smart.example:587");
    let own = server("smtp://own.example");
    let entry = Destination { tls: Some(Security::Verified), via: Some(own.clone()) };
    let routes = Routes {
        via: Via::Server(smarthost.clone(), Login::Configured),
        destinations: [("b.example".to_owned(), entry)].into(),
        ..Routes::default()
    };
    let to = |server: Server, security, login| Route::Server { server, security, login };
    let (verified, configured) = (Security::Verified, Login::Configured);
    assert_eq!(routes.of(&recipient("a.example", None)), to(smarthost, verified, configured));
    assert_eq!(routes.of(&recipient("b.example", None)), to(own, verified, Login::None));
    let upstream = to(server("smtp://old.example:26"), Security::Opportunistic, Login::None);
    let a = recipient("a.example", Some("smtp://old.example:26"));
    assert_eq!(routes.of(&a), upstream);
}

#[test]
fn without_more_words_mail_goes_by_mx() {
    let off = Destination { tls: Some(Security::Off), via: None };
    let routes =
        Routes { destinations: [("b.example".to_owned(), off)].into(), ..Routes::default() };
    assert_eq!(routes.of(&recipient("A.example", None)), mx("a.example", Security::Opportunistic));
    assert_eq!(routes.of(&recipient("b.example", None)), mx("b.example", Security::Off));
    let verified = Routes { tls: Security::Verified, ..Routes::default() };
    assert_eq!(verified.of(&recipient("a.example", None)), mx("a.example", Security::Verified));
}

#[test]
fn a_password_travels_to_a_proved_server_or_on_this_machine_only() {
    let security = |url: &str| {
        let via = Via::Server(server(url), Login::Configured);
        let routes = Routes { via, tls: Security::Off, ..Routes::default() };
        match routes.of(&recipient("a.example", None)) {
            Route::Server { security, .. } => security,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(security("smtp://u@smart.example"), Security::Verified);
    assert_eq!(security("smtps://u@smart.example"), Security::Implicit);
    assert_eq!(security("smtp://u@127.0.0.1:25"), Security::Off);
    assert_eq!(security("smtp://u@localhost:25"), Security::Off);
}

#[test]
fn an_address_literal_and_a_faulty_upstream_lead_nowhere() {
    let routes = Routes::default();
    let status = |route| match route {
        Route::Nowhere { status, .. } => status,
        other => panic!("{other:?}"),
    };
    assert_eq!(status(routes.of(&recipient("[192.0.2.1]", None))), "5.1.2");
    assert_eq!(status(routes.of(&recipient("a.example", Some("old")))), "4.3.5");
}

proptest! {
    #[test]
    fn no_url_makes_the_reader_panic(text in "\\PC{0,40}", rest in "\\PC{0,30}") {
        let _ = Server::parse(&text);
        if let Ok((server, _)) = Server::parse(&format!("smtp://{rest}")) {
            prop_assert!(server.port > 0 && !server.host.is_empty());
        }
    }
}
