//! What a reply means for a recipient. RFC 5321 §4.2.1, §4.5.3.1.10
//!
//! | what is said | fate |
//! |---|---|
//! | 4xx to MAIL, RCPT, DATA or the content; 421 to anything | deferred |
//! | 5xx to MAIL, RCPT, DATA or the content | failed |
//! | 552 to RCPT where it can only mean "too many recipients" | deferred |
//! | no to the greeting, HELO, STARTTLS where it must be, AUTH | deferred: try another host |
//! | nothing, or nothing that can be understood | deferred |

use super::reply::{Class, ServerReply};
use super::{Fate, TOLD_BYTES_MAX, Told};

/// The server, as reports name it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Host {
    pub(super) name: String,
    pub(super) dsn: bool,
}

impl Host {
    /// The server's own words. A status that it does not tell is the class of its code. RFC 3463 §3
    pub(super) fn said(&self, reply: &ServerReply) -> Told {
        let class = reply.code / 100;
        let status = reply.status.clone().unwrap_or_else(|| format!("{class}.0.0"));
        self.told(status, reply.text(), true)
    }

    /// The server's own words, where they do not settle the matter: a permanent status becomes a
    /// temporary one.
    pub(super) fn said_for_now(&self, reply: &ServerReply) -> Told {
        let mut told = self.said(reply);
        told.status.replace_range(..1, "4");
        told
    }

    /// Our words.
    pub(super) fn judged(&self, status: &str, text: impl Into<String>) -> Told {
        self.told(status.to_owned(), text.into(), false)
    }

    fn told(&self, status: String, mut text: String, is_reply: bool) -> Told {
        text.truncate(text.floor_char_boundary(TOLD_BYTES_MAX));
        Told { by: self.name.clone(), status, text, is_reply, dsn: self.dsn }
    }
}

/// A refusal of MAIL, DATA or the content.
pub(super) fn refused(host: &Host, reply: &ServerReply) -> Fate {
    match reply.class() {
        Class::Permanent => Fate::Failed(host.said(reply)),
        _ => Fate::Deferred(host.said_for_now(reply)),
    }
}

/// A refusal of RCPT; `accepted` is how many were accepted before it.
pub(super) fn recipient_refused(host: &Host, reply: &ServerReply, accepted: usize) -> Fate {
    if !is_one_too_many(reply, accepted) {
        return refused(host, reply);
    }
    let mut told = host.said_for_now(reply);
    told.status = TOO_MANY_RECIPIENTS.to_owned();
    Fate::Deferred(told)
}

/// The status of a recipient that is to be tried in a transaction of its own.
pub(super) const TOO_MANY_RECIPIENTS: &str = "4.5.3";

/// 452, and 552 as older servers say it, mean a full mailbox as well. RFC 5321 §4.5.3.1.10
fn is_one_too_many(reply: &ServerReply, accepted: usize) -> bool {
    let detail = reply.status.as_deref().and_then(|status| status.split_once('.'));
    match (reply.code, detail) {
        (452 | 552, Some((_, detail))) => detail == "5.3",
        (452 | 552, None) => accepted > 0,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16, status: Option<&str>) -> ServerReply {
        ServerReply { code, status: status.map(str::to_owned), lines: vec!["x".into()] }
    }

    fn host() -> Host {
        Host { name: "mx.example".into(), dsn: false }
    }

    /// `D` or `F`, and the status.
    fn shown(fate: Fate) -> String {
        match fate {
            Fate::Delivered(told) => format!("+ {}", told.status),
            Fate::Deferred(told) => format!("D {}", told.status),
            Fate::Failed(told) => format!("F {}", told.status),
        }
    }

    #[test]
    fn the_class_decides_and_a_missing_status_is_its_class() {
        for (code, status, expected) in [
            (450, None, "D 4.0.0"),
            (421, Some("4.3.2"), "D 4.3.2"),
            (550, None, "F 5.0.0"),
            (554, Some("5.7.1"), "F 5.7.1"),
            (552, Some("5.3.4"), "F 5.3.4"),
            (250, Some("2.0.0"), "D 4.0.0"),
            (354, None, "D 4.0.0"),
        ] {
            assert_eq!(shown(refused(&host(), &reply(code, status))), expected, "{code}");
        }
    }

    #[test]
    fn too_many_recipients_are_told_from_a_full_mailbox() {
        for (code, status, accepted, expected) in [
            (552, None, 1, "D 4.5.3"),
            (552, None, 0, "F 5.0.0"),
            (552, Some("5.5.3"), 0, "D 4.5.3"),
            (552, Some("5.2.2"), 1, "F 5.2.2"),
            (452, None, 1, "D 4.5.3"),
            (452, None, 0, "D 4.0.0"),
            (452, Some("4.5.3"), 9, "D 4.5.3"),
            (452, Some("4.2.2"), 9, "D 4.2.2"),
            (550, None, 1, "F 5.0.0"),
        ] {
            let fate = recipient_refused(&host(), &reply(code, status), accepted);
            assert_eq!(shown(fate), expected, "{code} {status:?} {accepted}");
        }
    }

    #[test]
    fn a_long_reply_is_cut_at_a_character() {
        let text = |lead: usize| "x".repeat(lead) + &"ü".repeat(400);
        for lead in [0, 1] {
            let told = host().judged("4.0.0", text(lead));
            assert!((TOLD_BYTES_MAX - 1..=TOLD_BYTES_MAX).contains(&told.text.len()));
        }
        assert_eq!(host().judged("4.0.0", "x".repeat(TOLD_BYTES_MAX)).text.len(), TOLD_BYTES_MAX);
    }
}
