//! How MAIL and RCPT are written for a server that offers this or that. RFC 5321 §4.1.1.2
//!
//! Nothing goes out that is not offered, and nothing that could end the line.

use std::fmt::Write;

use super::{Mail, MailRecipient, Offer};
use crate::mail::address::Address;
use crate::mail::transport::{Body, Notify, Ret};
use crate::smtp::path::Path;

/// Whether an address can go without SMTPUTF8.
pub(super) fn is_ascii(address: &Address) -> bool {
    address.local().is_ascii() && address.domain().is_ascii()
}

/// MAIL; `None` when the reverse-path is none.
pub(super) fn mail(mail: &Mail, offer: &Offer, utf8: bool) -> Option<String> {
    let mut line = format!("MAIL FROM:{}", path(mail.reverse_path.as_ref())?);
    if offer.size.is_some() {
        push(&mut line, format_args!("SIZE={}", mail.size_bytes));
    }
    if offer.eight_bit && mail.body == Body::EightBitMime {
        push(&mut line, format_args!("BODY=8BITMIME"));
    }
    if utf8 {
        push(&mut line, format_args!("SMTPUTF8"));
    }
    if offer.dsn {
        match mail.ret {
            Some(Ret::Full) => push(&mut line, format_args!("RET=FULL")),
            Some(Ret::Headers) => push(&mut line, format_args!("RET=HDRS")),
            None => {}
        }
        if let Some(envid) = mail.envid.as_ref().filter(|envid| is_value(envid, false)) {
            push(&mut line, format_args!("ENVID={envid}"));
        }
    }
    Some(line + "\r\n")
}

/// RCPT; `None` when the address is none.
pub(super) fn rcpt(recipient: &MailRecipient, offer: &Offer, utf8: bool) -> Option<String> {
    let mut line = format!("RCPT TO:{}", path(Some(&recipient.address))?);
    if offer.dsn {
        if let Some(notify) = recipient.notify {
            push(&mut line, format_args!("NOTIFY={}", conditions(notify)));
        }
        if let Some(orcpt) = recipient.orcpt.as_ref().filter(|orcpt| is_value(orcpt, utf8)) {
            push(&mut line, format_args!("ORCPT={orcpt}"));
        }
    }
    Some(line + "\r\n")
}

fn push(line: &mut String, parameter: std::fmt::Arguments<'_>) {
    // Writing into memory cannot fail.
    let _ = write!(line, " {parameter}");
}

/// In angle brackets; `None` when our own reader would not take it, because it is too long or holds
/// what no address may.
fn path(address: Option<&Address>) -> Option<String> {
    let Some(address) = address else { return Some("<>".to_owned()) };
    let text = format!("<{address}>");
    matches!(Path::parse(&text), Some((Path::Address(read), "")) if read == *address)
        .then_some(text)
}

fn conditions(notify: Notify) -> String {
    let all = [(notify.success, "SUCCESS"), (notify.failure, "FAILURE"), (notify.delay, "DELAY")];
    let wanted: Vec<&str> = all.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    if wanted.is_empty() { "NEVER".to_owned() } else { wanted.join(",") }
}

/// Whether it can stand behind `=`; beyond ASCII only where SMTPUTF8 is used. RFC 6533 §3
fn is_value(text: &str, utf8: bool) -> bool {
    let fits = |c: char| c.is_ascii_graphic() || (utf8 && !c.is_ascii() && !c.is_control());
    !text.is_empty() && text.chars().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::Command;

    const EVERYTHING: Offer = Offer {
        pipelining: true,
        size: Some(None),
        eight_bit: true,
        smtputf8: true,
        dsn: true,
        starttls: false,
        auth_plain: false,
        auth_login: false,
        recipients_max: None,
        mails_max: None,
    };

    fn message() -> Mail {
        Mail {
            reverse_path: Some(Address::new("a b", "example.org")),
            recipients: Vec::new(),
            envid: Some("id+2B1".into()),
            ret: Some(Ret::Headers),
            body: Body::EightBitMime,
            smtputf8: true,
            size_bytes: 1234,
        }
    }

    fn recipient(address: Address) -> MailRecipient {
        let notify = Some(Notify { success: true, failure: false, delay: true });
        MailRecipient { address, notify, orcpt: Some("rfc822;a@b".into()) }
    }

    #[test]
    fn what_is_offered_is_used() {
        let line = mail(&message(), &EVERYTHING, true).expect("an address");
        let expected = "MAIL FROM:<\"a b\"@example.org> SIZE=1234 BODY=8BITMIME SMTPUTF8 \
                        RET=HDRS ENVID=id+2B1\r\n";
        assert_eq!(line, expected);
        let line = rcpt(&recipient(Address::new("c", "d")), &EVERYTHING, false).expect("one");
        assert_eq!(line, "RCPT TO:<c@d> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@b\r\n");
    }

    #[test]
    fn what_is_not_offered_is_left_out() {
        let nothing = Offer::default();
        let line = mail(&message(), &nothing, false).expect("an address");
        assert_eq!(line, "MAIL FROM:<\"a b\"@example.org>\r\n");
        let line = rcpt(&recipient(Address::new("c", "d")), &nothing, false).expect("one");
        assert_eq!(line, "RCPT TO:<c@d>\r\n");
        let null = Mail { reverse_path: None, ..message() };
        assert_eq!(mail(&null, &nothing, false).as_deref(), Some("MAIL FROM:<>\r\n"));
    }

    #[test]
    fn no_notification_is_never() {
        let silent = MailRecipient {
            notify: Some(Notify::default()),
            orcpt: None,
            ..recipient(Address::new("c", "d"))
        };
        let line = rcpt(&silent, &EVERYTHING, false).expect("an address");
        assert_eq!(line, "RCPT TO:<c@d> NOTIFY=NEVER\r\n");
    }

    #[test]
    fn what_would_end_the_line_or_the_path_does_not_go_out() {
        for (local, domain) in
            [("a\r\nRSET", "b"), ("a", "b\r\nRSET"), ("a", "b> SIZE=1"), ("", "b"), ("a", "")]
        {
            let bad = recipient(Address::new(local, domain));
            assert_eq!(rcpt(&bad, &EVERYTHING, false), None, "{local:?} {domain:?}");
        }
        let bad = MailRecipient {
            orcpt: Some("rfc822;a b\r\n".into()),
            notify: None,
            ..recipient(Address::new("c", "d"))
        };
        assert_eq!(rcpt(&bad, &EVERYTHING, true).as_deref(), Some("RCPT TO:<c@d>\r\n"));
    }

    #[test]
    fn an_original_recipient_beyond_ascii_needs_smtputf8() {
        let original = MailRecipient {
            orcpt: Some("utf-8;bücher@b".into()),
            notify: None,
            ..recipient(Address::new("c", "d"))
        };
        let with = |utf8| rcpt(&original, &EVERYTHING, utf8).expect("an address");
        assert_eq!(with(false), "RCPT TO:<c@d>\r\n");
        assert_eq!(with(true), "RCPT TO:<c@d> ORCPT=utf-8;bücher@b\r\n");
    }

    #[test]
    fn our_own_server_reads_what_we_write() {
        let line = mail(&message(), &EVERYTHING, true).expect("an address");
        let read = Command::parse(line.trim_end().as_bytes());
        assert!(matches!(read, Ok(Command::Mail(Path::Address(_), _))), "{read:?}");
        let line = rcpt(&recipient(Address::new("bücher", "d")), &EVERYTHING, true).expect("one");
        let read = Command::parse(line.trim_end().as_bytes());
        assert!(matches!(read, Ok(Command::Rcpt(Path::Address(_), _))), "{read:?}");
    }
}
