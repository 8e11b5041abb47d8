//! What EHLO offers: a table, a row for each extension. RFC 5321 §2.2
//!
//! Deliberately not: FUTURERELEASE (RFC 4865): what goes to mailboxes of ours would have to wait in
//! the queue too, and mail programs that send later do it themselves.

use std::borrow::Cow;

use super::session::{Role, Settings, Tls};
use super::{RECIPIENTS_MAX, TRANSACTIONS_MAX};

/// A row: keyword, and what stands behind it.
struct Extension {
    keyword: &'static str,
    argument: Argument,
}

enum Argument {
    None,
    /// None; at submission only.
    Submission,
    /// The most bytes that a message may have.
    MessageBytesMax,
    /// The limits that a client can keep.
    Limits,
    /// Offered only while TLS can be started.
    StartTls,
    /// The mechanisms; offered only where a password may be sent.
    Mechanisms,
}

const EXTENSIONS: [Extension; 11] = [
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
    // RFC 3030 §3
    Extension { keyword: "BINARYMIME", argument: Argument::Submission },
    // RFC 2034
    Extension { keyword: "ENHANCEDSTATUSCODES", argument: Argument::None },
    // RFC 3461
    Extension { keyword: "DSN", argument: Argument::None },
    // RFC 3207
    Extension { keyword: "STARTTLS", argument: Argument::StartTls },
    // RFC 4954
    Extension { keyword: "AUTH", argument: Argument::Mechanisms },
    // RFC 9422
    Extension { keyword: "LIMITS", argument: Argument::Limits },
];

/// The lines of the answer to EHLO, the host's name first.
pub fn lines(settings: &Settings) -> Vec<Cow<'static, str>> {
    let mut lines = vec![Cow::Owned(settings.hostname.clone())];
    lines.extend(EXTENSIONS.iter().filter_map(|extension| line(extension, settings)));
    lines
}

fn line(extension: &Extension, settings: &Settings) -> Option<Cow<'static, str>> {
    let keyword = extension.keyword;
    let argument = match (&extension.argument, &settings.role) {
        (Argument::None, _) | (Argument::Submission, Role::Submission(_)) => {
            return Some(keyword.into());
        }
        (Argument::StartTls, _) => {
            return (settings.tls == Tls::Available).then_some(keyword.into());
        }
        (Argument::MessageBytesMax, _) => settings.message_bytes_max.to_string(),
        (Argument::Limits, _) => format!("MAILMAX={TRANSACTIONS_MAX} RCPTMAX={RECIPIENTS_MAX}"),
        (Argument::Mechanisms, Role::Submission(offer)) if settings.takes_passwords() => {
            offer.mechanisms.iter().map(|m| m.name()).collect::<Vec<_>>().join(" ")
        }
        (Argument::Mechanisms | Argument::Submission, _) => return None,
    };
    Some(format!("{keyword} {argument}").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sasl::Mechanism;
    use crate::smtp::session::{InClear, LoginOffer};

    fn offered(role: Role, tls: Tls) -> Vec<Cow<'static, str>> {
        let (hostname, message_bytes_max) = ("mail.example.org".to_owned(), 52_428_800);
        let settings = Settings { hostname, message_bytes_max, tls, role };
        lines(&settings)
    }

    fn submission(in_clear: InClear) -> Role {
        let mechanisms = vec![Mechanism::Plain, Mechanism::Login];
        Role::Submission(LoginOffer { mechanisms, in_clear })
    }

    #[test]
    fn starttls_is_offered_only_while_it_can_be_started() {
        let offered = |tls| offered(Role::Relay, tls).iter().any(|line| line == "STARTTLS");
        assert!(offered(Tls::Available) && !offered(Tls::Active) && !offered(Tls::Unavailable));
    }

    #[test]
    fn limits_are_told() {
        let lines = offered(Role::Relay, Tls::Active);
        assert_eq!(lines[0], "mail.example.org");
        assert!(lines.iter().any(|line| line == "SIZE 52428800"));
        assert!(lines.iter().any(|line| line == "LIMITS MAILMAX=100 RCPTMAX=1000"));
    }

    #[test]
    fn a_login_is_offered_only_where_a_password_may_be_sent() {
        let offered = |in_clear, tls| {
            offered(submission(in_clear), tls).iter().any(|line| line == "AUTH PLAIN LOGIN")
        };
        assert!(offered(InClear::Refused, Tls::Active));
        assert!(!offered(InClear::Refused, Tls::Available));
        assert!(!offered(InClear::Refused, Tls::Unavailable));
        assert!(offered(InClear::Taken, Tls::Available));
    }

    #[test]
    fn port_25_offers_no_login() {
        let of = |role: Role, keyword: &str| {
            let lines = offered(role, Tls::Active);
            lines.iter().find(|line| line.starts_with(keyword)).map(|line| line.to_string())
        };
        assert_eq!(of(Role::Relay, "AUTH"), None);
        assert_eq!(of(Role::Relay, "BINARYMIME"), None);
        let binary = of(submission(InClear::Refused), "BINARYMIME");
        assert_eq!(binary.as_deref(), Some("BINARYMIME"));
    }
}
