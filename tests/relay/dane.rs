//! Servers that say in DNS which certificate is theirs. RFC 7672

use aws_lc_rs::digest::{SHA256, SHA512, digest};
use hickory_resolver::proto::rr::RecordType;
use postfach::outbound::Security;
use postfach::outbound::routes::Destination;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::server::ParsedCertificate;

use crate::domain::{DOMAIN, Domain, Sender};
use crate::world::{Certificate, until};

const MX1: &str = "mx1.partner.example";
const MX2: &str = "mx2.partner.example";
const NOT_MEANT: &str = "no TLSA record (DANE) means its certificate";

fn key(certificate: &CertificateDer<'_>) -> Vec<u8> {
    let parsed = ParsedCertificate::try_from(certificate).expect("a certificate");
    parsed.subject_public_key_info().to_vec()
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    digest(&SHA256, bytes).as_ref().to_vec()
}

/// A domain whose servers have certificates of nobody that is known, under other names.
struct Strangers {
    domain: Domain,
    /// Their keys, as records mean them: `3 1 1`.
    digests: [Vec<u8>; 2],
}

impl Strangers {
    async fn new() -> Strangers {
        let [one, two] = [Certificate::new("a.example"), Certificate::new("b.example")];
        let digests = [sha256(&key(&one.der())), sha256(&key(&two.der()))];
        let tls = [Some(one.acceptor.clone()), Some(two.acceptor.clone())];
        Strangers { domain: domain(tls).await, digests }
    }

    fn publish(&self, host: &str, data: &[u8]) {
        self.domain.dns.tlsa((host, self.domain.port()), [3, 1, 1], data);
    }
}

async fn domain(tls: [Option<TlsAcceptor>; 2]) -> Domain {
    let mut domain = Domain::with(Certificate::new(MX1), tls).await;
    domain.dane = true;
    domain
}

async fn send(domain: &Domain) -> Sender {
    Sender::start(domain, domain.routes(None), 1).await
}

fn below(domain: &Domain, host: &str) -> String {
    format!("_{}._tcp.{host}", domain.port())
}

#[tokio::test]
async fn a_server_is_held_to_its_records_whatever_its_certificate_says() {
    let Strangers { domain, digests } = &Strangers::new().await;
    let publish = |host, data: &[u8]| domain.dns.tlsa((host, domain.port()), [3, 1, 1], data);
    publish(MX1, &digests[0]);
    send(domain).await.empty().await;
    assert_eq!((domain.messages(), domain.servers[0].heard().handshakes), ([1, 0], 1));
    publish(MX1, &digests[1]);
    publish(MX2, &digests[1]);
    send(domain).await.empty().await;
    assert_eq!(domain.messages(), [1, 1], "the one with a wrong certificate is passed over");
    publish(MX2, &digests[0]);
    let reply = send(domain).await.last_reply().await;
    assert!(reply.contains(MX2) && reply.contains(NOT_MEANT), "{reply}");
    assert_eq!(domain.messages(), [1, 1]);
}

#[tokio::test]
async fn a_server_with_records_and_without_tls_gets_nothing() {
    let domain = domain([None, None]).await;
    for (numbers, data) in [([3, 1, 1], vec![7; 32]), ([0, 0, 1], vec![7; 32])] {
        domain.dns.tlsa((MX1, domain.port()), numbers, &data);
        domain.dns.tlsa((MX2, domain.port()), numbers, &data);
        let reply = send(&domain).await.last_reply().await;
        assert!(reply.contains("does not offer STARTTLS"), "{numbers:?}: {reply}");
    }
    assert_eq!(domain.messages(), [0, 0]);
}

#[tokio::test]
async fn records_that_nobody_can_use_ask_for_tls_with_any_certificate() {
    let strangers = Strangers::new().await;
    let domain = &strangers.domain;
    domain.dns.tlsa((MX1, domain.port()), [1, 1, 1], &[7; 32]);
    send(domain).await.empty().await;
    assert_eq!((domain.messages(), domain.servers[0].heard().handshakes), ([1, 0], 1));
}

#[tokio::test]
async fn what_is_not_proven_counts_for_nothing() {
    let strangers = Strangers::new().await;
    let domain = &strangers.domain;
    strangers.publish(MX1, &strangers.digests[1]);
    for (n, insecure) in [DOMAIN, MX1, &below(domain, MX1)].into_iter().enumerate() {
        domain.dns.insecure(&[insecure]);
        send(domain).await.empty().await;
        assert_eq!(domain.messages(), [n + 1, 0], "{insecure}");
    }
    let asked = domain.dns.asked(&below(domain, MX1), RecordType::TLSA);
    assert_eq!(asked, 1, "not where the rest is not proven");
}

#[tokio::test]
async fn a_server_whose_records_are_hidden_is_passed_over_and_mail_waits_for_the_last() {
    let strangers = Strangers::new().await;
    let domain = &strangers.domain;
    domain.dns.fails(&[&below(domain, MX1)]);
    send(domain).await.empty().await;
    assert_eq!(domain.messages(), [0, 1]);
    domain.dns.fails(&[&below(domain, MX1), &below(domain, MX2)]);
    let reply = send(domain).await.last_reply().await;
    assert!(reply.contains("the TLSA records of mx1.partner.example cannot be"), "{reply}");
    domain.dns.fails(&[DOMAIN]);
    let reply = send(domain).await.last_reply().await;
    assert!(reply.contains("the servers of partner.example cannot be looked up"), "{reply}");
    assert_eq!(domain.messages(), [0, 1]);
}

/// Makes the certificate that a server shows for a name, alone or with its authority's.
type Shown = fn(&Certificate, &str) -> TlsAcceptor;

/// What is said of mail to a server that shows such a certificate and has such a record of its
/// authority; `None` when it got the mail.
async fn vouched(name: &str, shown: Shown, numbers: [u8; 3]) -> Option<String> {
    let certificate = Certificate::new(MX1);
    let tls = shown(&certificate, name);
    let authority = certificate.authority_der();
    let data = match numbers {
        [_, 0, 0] => authority.to_vec(),
        [_, 0, _] => sha256(&authority),
        _ => digest(&SHA512, &key(&authority)).as_ref().to_vec(),
    };
    let domain = domain([Some(tls), None]).await;
    domain.dns.mx(DOMAIN, &[MX1]);
    domain.dns.tlsa((MX1, domain.port()), numbers, &data);
    let sender = send(&domain).await;
    until("an attempt", || sender.is_empty() || sender.reply().is_some()).await;
    assert_eq!(domain.messages()[0] == 1, sender.is_empty());
    sender.reply()
}

#[tokio::test]
async fn an_authority_vouches_for_names_of_the_server_or_of_its_domain() {
    let (alone, chain): (Shown, Shown) = (Certificate::beside, Certificate::chain_for);
    for name in [MX1, DOMAIN] {
        assert_eq!(vouched(name, alone, [2, 0, 0]).await, None, "{name}");
        assert_eq!(vouched(name, chain, [2, 0, 1]).await, None, "{name}");
        assert_eq!(vouched(name, chain, [2, 1, 2]).await, None, "{name}");
    }
    let wrong = vouched("elsewhere.example", chain, [2, 0, 1]).await.expect("it waits");
    assert!(wrong.contains("not valid for name"), "{wrong}");
    let not_shown = vouched(MX1, alone, [2, 0, 1]).await.expect("it waits");
    assert!(not_shown.contains(NOT_MEANT), "{not_shown}");
    let not_its_own = vouched(MX1, chain, [3, 0, 1]).await.expect("it waits");
    assert!(not_its_own.contains(NOT_MEANT), "{not_its_own}");
}

#[tokio::test]
async fn what_a_server_proves_counts_more_than_the_policy_of_its_domain() {
    let certificate = Certificate::new(MX1);
    let stranger = Certificate::new("a.example");
    let good = certificate.beside(MX2);
    let tls = [Some(stranger.acceptor.clone()), Some(good)];
    let mut domain = Domain::with(certificate, tls).await;
    domain.dane = true;
    domain.publish("enforce", &[MX2]);
    domain.dns.tlsa((MX1, domain.port()), [3, 0, 1], &sha256(&stranger.der()));
    send(&domain).await.empty().await;
    assert_eq!(domain.messages(), [1, 0], "it need not be allowed");
    domain.dns.tlsa((MX1, domain.port()), [3, 0, 1], &[7; 32]);
    send(&domain).await.empty().await;
    assert_eq!(domain.messages(), [1, 1], "the other one has no records, and is verified");
    domain.dns.tlsa((MX2, domain.port()), [3, 0, 1], &[7; 32]);
    let reply = send(&domain).await.last_reply().await;
    assert!(reply.contains(MX2) && reply.contains(NOT_MEANT), "{reply}");
}

#[tokio::test]
async fn the_records_of_an_alias_stand_below_the_name_behind_it() {
    let strangers = Strangers::new().await;
    let domain = &strangers.domain;
    domain.dns.mx(DOMAIN, &["alias.partner.example"]);
    domain.dns.alias("alias.partner.example", MX1);
    strangers.publish(MX1, &strangers.digests[1]);
    let reply = send(domain).await.last_reply().await;
    assert!(reply.contains(MX1) && reply.contains(NOT_MEANT), "{reply}");
    strangers.publish(MX1, &strangers.digests[0]);
    send(domain).await.empty().await;
    assert_eq!(domain.messages(), [1, 0]);
}

#[tokio::test]
async fn long_answers_come_over_tcp() {
    let strangers = Strangers::new().await;
    let domain = &strangers.domain;
    strangers.publish(MX1, &strangers.digests[1]);
    domain.dns.mx(DOMAIN, &[MX1]);
    domain.dns.long(&below(domain, MX1));
    let reply = send(domain).await.last_reply().await;
    assert!(reply.contains(NOT_MEANT), "{reply}");
    strangers.publish(MX1, &strangers.digests[0]);
    send(domain).await.empty().await;
    assert_eq!(domain.messages(), [1, 0]);
}

#[tokio::test]
async fn where_the_operator_wants_no_tls_nobody_asks_for_records() {
    let domain = domain([None, None]).await;
    domain.dns.tlsa((MX1, domain.port()), [3, 1, 1], &[7; 32]);
    let own = Destination { tls: Some(Security::Off), via: None };
    Sender::start(&domain, domain.routes(Some(own)), 1).await.empty().await;
    assert_eq!(domain.messages(), [1, 0]);
    assert_eq!(domain.dns.asked(&below(&domain, MX1), RecordType::TLSA), 0);
}
