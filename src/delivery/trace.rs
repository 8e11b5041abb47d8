//! The trace fields of one instance: Return-Path, Delivered-To and Received, as whole lines with
//! CRLF. RFC 5321 §4.4
//!
//! Nothing in them can hold a line end: addresses and the client's name were checked when they
//! were read (`smtp::path`, `smtp::command`), the rest is ours.

use std::net::IpAddr;

use super::{Envelope, Origin, Protection};
use crate::mail::address::Address;
use crate::mail::date;

/// The fields for the instance that came for `address`.
pub fn fields(envelope: &Envelope, address: &Address) -> Vec<u8> {
    let sender = envelope.transaction.reverse_path.as_ref();
    let sender = sender.map(Address::to_string).unwrap_or_default();
    format!(
        "Return-Path: <{sender}>\r\n\
         Delivered-To: {address}\r\n\
         {received}",
        received = received(envelope, Some(address)),
    )
    .into_bytes()
}

/// Received, with the recipient where there is one only. RFC 5321 §4.4
///
/// Deliberately without the client of a submission: where our users are is nobody else's business.
pub(super) fn received(envelope: &Envelope, address: Option<&Address>) -> String {
    let from = match envelope.origin {
        Origin::Relay => {
            format!("{} ({})", envelope.client.name, literal(envelope.client_address))
        }
        Origin::Submission => format!("{} (submission)", envelope.hostname),
    };
    let recipient = address.map(|address| format!("\r\n\tfor <{address}>")).unwrap_or_default();
    format!(
        "Received: from {from}\r\n\
         \tby {hostname} with {protocol} id {id}{recipient};\r\n\
         \t{date}\r\n",
        hostname = envelope.hostname,
        protocol = protocol(envelope),
        id = envelope.id,
        date = date::rfc5322(envelope.received_at),
    )
}

/// RFC 5321 §4.1.3
fn literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => format!("[{v4}]"),
        IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
    }
}

/// RFC 3848, RFC 6531 §3.7.3
fn protocol(envelope: &Envelope) -> &'static str {
    let utf8 = envelope.transaction.parameters.smtputf8;
    match (envelope.client.extended, utf8, envelope.protection) {
        (_, false, Protection::None) if envelope.origin == Origin::Submission => "ESMTPA",
        (_, false, Protection::Tls) if envelope.origin == Origin::Submission => "ESMTPSA",
        (_, true, Protection::None) if envelope.origin == Origin::Submission => "UTF8SMTPA",
        (_, true, Protection::Tls) if envelope.origin == Origin::Submission => "UTF8SMTPSA",
        (false, _, _) => "SMTP",
        (true, false, Protection::None) => "ESMTP",
        (true, false, Protection::Tls) => "ESMTPS",
        (true, true, Protection::None) => "UTF8SMTP",
        (true, true, Protection::Tls) => "UTF8SMTPS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::id::Timestamp;
    use crate::smtp::parameters::MailParameters;
    use crate::smtp::path::Path;
    use crate::smtp::{Client, Transaction};

    fn envelope() -> Envelope {
        let (path, _) = Path::parse("<\"a b\"@c.example>").expect("a path");
        Envelope {
            transaction: Transaction::new(path, MailParameters::default()),
            client: Client { name: "c.example".into(), extended: true },
            client_address: IpAddr::from([192, 0, 2, 1]),
            protection: Protection::Tls,
            hostname: "mail.example.org".into(),
            received_at: Timestamp::from_seconds(1_795_389_786),
            id: "x1".into(),
            origin: Origin::Relay,
            upstream: Vec::new(),
            lifetime_secs: 0,
        }
    }

    #[test]
    fn the_fields_name_the_way_of_the_message() {
        let address = Address::parse("support@example.org").expect("an address");
        let fields = String::from_utf8(fields(&envelope(), &address)).expect("ASCII");
        assert_eq!(
            fields,
            "Return-Path: <\"a b\"@c.example>\r\n\
             Delivered-To: support@example.org\r\n\
             Received: from c.example ([192.0.2.1])\r\n\
             \tby mail.example.org with ESMTPS id x1\r\n\
             \tfor <support@example.org>;\r\n\
             \tSun, 22 Nov 2026 23:23:06 +0000\r\n"
        );
    }

    #[test]
    fn where_a_user_submitted_from_is_not_told() {
        let envelope = Envelope { origin: Origin::Submission, ..envelope() };
        assert_eq!(
            received(&envelope, None),
            "Received: from mail.example.org (submission)\r\n\
             \tby mail.example.org with ESMTPSA id x1;\r\n\
             \tSun, 22 Nov 2026 23:23:06 +0000\r\n"
        );
    }

    #[test]
    fn the_protocol_is_named_by_its_standard() {
        let mut envelope = envelope();
        envelope.protection = Protection::None;
        assert_eq!(protocol(&envelope), "ESMTP");
        envelope.transaction.parameters.smtputf8 = true;
        assert_eq!(protocol(&envelope), "UTF8SMTP");
        envelope.client.extended = false;
        assert_eq!(protocol(&envelope), "SMTP");
        assert_eq!(literal(IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])), "[IPv6:::1]");
        assert_eq!(literal(IpAddr::from([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x201])), "[192.0.2.1]");
    }
}
