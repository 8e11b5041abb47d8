//! The trace fields of one instance: Return-Path, Delivered-To and Received, as whole lines with
//! CRLF. RFC 5321 §4.4
//!
//! Nothing in them can hold a line end: addresses and the client's name were checked when they
//! were read (`smtp::path`, `smtp::command`), the rest is ours.

use std::net::IpAddr;

use super::{Envelope, Origin, Protection};
use crate::mail::address::Address;
use crate::mail::id::Timestamp;

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
        date = date(envelope.received_at),
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

/// RFC 5322 §3.3, in UTC.
pub(super) fn date(time: Timestamp) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (time.seconds().div_euclid(86_400), time.seconds().rem_euclid(86_400));
    let (year, month, day) = civil(days);
    format!(
        "{}, {day} {} {year} {:02}:{:02}:{:02} +0000",
        WEEKDAYS[days.rem_euclid(7) as usize],
        MONTHS[(month - 1) as usize],
        second / 3600,
        second / 60 % 60,
        second % 60,
    )
}

/// Year, month and day of a day since 1970-01-01: a year begins in March here, so that the leap
/// day is its last; 400 years have 146,097 days.
fn civil(days: i64) -> (i64, i64, i64) {
    let since_march_0000 = days + 719_468;
    let era = since_march_0000.div_euclid(146_097);
    let day = since_march_0000.rem_euclid(146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
            (951_868_799, "Tue, 29 Feb 2000 23:59:59 +0000"),
            (4_107_542_400, "Mon, 1 Mar 2100 00:00:00 +0000"),
            (-1, "Wed, 31 Dec 1969 23:59:59 +0000"),
        ] {
            assert_eq!(date(Timestamp::from_seconds(seconds)), expected);
        }
    }
}
