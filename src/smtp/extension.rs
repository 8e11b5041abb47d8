//! What EHLO offers: a table, a row for each extension. RFC 5321 §2.2

use std::borrow::Cow;

use super::session::Tls;
use super::{RECIPIENTS_MAX, TRANSACTIONS_MAX};

/// A row: keyword, and what stands behind it.
struct Extension {
    keyword: &'static str,
    argument: Argument,
}

enum Argument {
    None,
    /// The most bytes that a message may have.
    MessageBytesMax,
    /// The limits that a client can keep.
    Limits,
    /// Offered only while TLS can be started.
    StartTls,
}

const EXTENSIONS: [Extension; 9] = [
    // RFC 2920
    Extension { keyword: "PIPELINING", argument: Argument::None },
    // RFC 1870
    Extension { keyword: "SIZE", argument: Argument::MessageBytesMax },
    // RFC 6152
    Extension { keyword: "8BITMIME", argument: Argument::None },
    // RFC 6531
    Extension { keyword: "SMTPUTF8", argument: Argument::None },
    // RFC 3030
    Extension { keyword: "CHUNKING", argument: Argument::None },
    // RFC 2034
    Extension { keyword: "ENHANCEDSTATUSCODES", argument: Argument::None },
    // RFC 3461
    Extension { keyword: "DSN", argument: Argument::None },
    // RFC 3207
    Extension { keyword: "STARTTLS", argument: Argument::StartTls },
    // RFC 9422
    Extension { keyword: "LIMITS", argument: Argument::Limits },
];

/// The lines of the answer to EHLO, the host's name first.
pub fn lines(hostname: &str, message_bytes_max: u64, tls: Tls) -> Vec<Cow<'static, str>> {
    let mut lines = vec![Cow::Owned(hostname.to_owned())];
    for Extension { keyword, argument, .. } in &EXTENSIONS {
        match argument {
            Argument::None => lines.push(Cow::Borrowed(*keyword)),
            Argument::StartTls if tls == Tls::Available => lines.push(Cow::Borrowed(*keyword)),
            Argument::StartTls => {}
            Argument::MessageBytesMax => {
                lines.push(format!("{keyword} {message_bytes_max}").into())
            }
            Argument::Limits => {
                let limits =
                    format!("{keyword} MAILMAX={TRANSACTIONS_MAX} RCPTMAX={RECIPIENTS_MAX}");
                lines.push(limits.into());
            }
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starttls_is_offered_only_while_it_can_be_started() {
        let offered = |tls| lines("h", 1, tls).iter().any(|line| line == "STARTTLS");
        assert!(offered(Tls::Available) && !offered(Tls::Active) && !offered(Tls::Unavailable));
    }

    #[test]
    fn limits_are_told() {
        let lines = lines("mail.example.org", 52_428_800, Tls::Active);
        assert_eq!(lines[0], "mail.example.org");
        assert!(lines.iter().any(|line| line == "SIZE 52428800"));
        assert!(lines.iter().any(|line| line == "LIMITS MAILMAX=100 RCPTMAX=1000"));
    }
}
