//! A domain's MTA-STS policy on the way from the queue to its servers. RFC 8461 §5

use std::sync::atomic::Ordering;

use hickory_resolver::proto::rr::RecordType;
use postfach::outbound::Security;
use postfach::outbound::routes::Destination;

use crate::domain::{DOMAIN, Domain, Sender};
use crate::world::Certificate;

const RECORD: &str = "_mta-sts.partner.example";

async fn send(domain: &Domain) -> Sender {
    Sender::start(domain, domain.routes(None), 1).await
}

#[tokio::test]
async fn mail_goes_only_to_servers_that_the_policy_allows() {
    let domain = Domain::new().await;
    send(&domain).await.empty().await;
    assert_eq!(domain.messages(), [1, 0], "without a policy the preferred one gets it");
    domain.publish("enforce", &["mx2.partner.example"]);
    send(&domain).await.empty().await;
    assert_eq!(domain.messages(), [1, 1]);
    assert_eq!(domain.servers[1].heard().handshakes, 1);
    assert_eq!(domain.servers[0].heard().connections, 1, "the other is not even connected to");
}

#[tokio::test]
async fn a_server_with_a_wrong_certificate_or_without_tls_is_passed_over() {
    let stranger = Certificate::new("mx1.partner.example");
    for fault in ["stranger", "name", "plain"] {
        let certificate = Certificate::new("mx1.partner.example");
        let first = match fault {
            "stranger" => Some(stranger.acceptor.clone()),
            "name" => Some(certificate.beside("elsewhere.example")),
            _ => None,
        };
        let good = certificate.beside("mx2.partner.example");
        let domain = Domain::with(certificate, [first, Some(good)]).await;
        domain.publish("enforce", &["*.partner.example"]);
        send(&domain).await.empty().await;
        assert_eq!(domain.messages(), [0, 1], "{fault}");
    }
}

#[tokio::test]
async fn mail_waits_and_says_why_when_no_server_is_good_enough() {
    let stranger = Certificate::new("mx2.partner.example");
    let certificate = Certificate::new("mx1.partner.example");
    let domain = Domain::with(certificate, [None, Some(stranger.acceptor.clone())]).await;
    domain.publish("enforce", &["mx2.partner.example"]);
    let reply = send(&domain).await.last_reply().await;
    assert!(reply.contains("TLS handshake with mx2.partner.example failed"), "{reply}");
    domain.publish("enforce", &["mx1.partner.example"]);
    let reply = send(&domain).await.last_reply().await;
    assert!(reply.contains("the server does not offer STARTTLS"), "{reply}");
    domain.publish("enforce", &["*.elsewhere.example"]);
    let reply = send(&domain).await.last_reply().await;
    let expected = "the MTA-STS policy of partner.example does not allow its servers: \
                    mx1.partner.example, mx2.partner.example";
    assert!(reply.contains(expected), "{reply}");
    assert_eq!(domain.messages(), [0, 0]);
    domain.publish("testing", &["*.elsewhere.example"]);
    send(&domain).await.empty().await;
    assert_eq!(domain.messages(), [1, 0], "a policy on trial holds nothing up");
}

#[tokio::test]
async fn the_operator_may_switch_tls_off_for_a_domain() {
    let certificate = Certificate::new("mx1.partner.example");
    let domain = Domain::with(certificate, [None, None]).await;
    domain.publish("enforce", &["*.elsewhere.example"]);
    for (tls, asked) in [(Security::Off, 0), (Security::Opportunistic, 1)] {
        let own = Destination { tls: Some(tls), via: None };
        let sender = Sender::start(&domain, domain.routes(Some(own)), 1).await;
        match tls {
            Security::Off => sender.empty().await,
            _ => assert!(sender.last_reply().await.contains("MTA-STS")),
        }
        assert_eq!(domain.messages(), [1, 0]);
        assert_eq!(domain.dns.asked(RECORD, RecordType::TXT), asked);
    }
}

#[tokio::test]
async fn many_messages_at_once_cause_one_fetch() {
    let domain = Domain::new().await;
    domain.publish("enforce", &["mx2.partner.example"]);
    Sender::start(&domain, domain.routes(None), 10).await.empty().await;
    assert_eq!(domain.messages(), [0, 10]);
    assert_eq!(domain.policy.fetches.load(Ordering::Relaxed), 1, "for {DOMAIN}");
}
