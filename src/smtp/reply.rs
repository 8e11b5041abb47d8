//! Replies, and the one table that gives each refusal its code. RFC 5321 §4.2, RFC 2034
//!
//! A text never repeats what the peer sent.

use std::borrow::Cow;

/// A reply: a code, an enhanced status code where RFC 2034 §4 wants one, and one line or more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reply {
    code: u16,
    enhanced: Option<&'static str>,
    lines: Vec<Cow<'static, str>>,
}

impl Reply {
    /// A reply of one line.
    pub fn new(code: u16, enhanced: &'static str, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { code, enhanced: Some(enhanced), lines: vec![text.into()] }
    }

    /// A reply without an enhanced status code: the greeting, the answers to HELO and EHLO, and
    /// 354. RFC 2034 §4
    pub fn basic(code: u16, lines: Vec<Cow<'static, str>>) -> Reply {
        Reply { code, enhanced: None, lines }
    }

    /// Writes it as it goes on the wire. RFC 5321 §4.2.1
    pub fn write(&self, out: &mut Vec<u8>) {
        let last = self.lines.len().saturating_sub(1);
        for (n, line) in self.lines.iter().enumerate() {
            let separator = if n < last { '-' } else { ' ' };
            out.extend_from_slice(format!("{}{separator}", self.code).as_bytes());
            if let Some(enhanced) = self.enhanced {
                out.extend_from_slice(enhanced.as_bytes());
                out.push(b' ');
            }
            out.extend_from_slice(line.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Why something is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The line has more than `LINE_BYTES_MAX`.
    LineTooLong,
    /// A bare CR, a bare LF or a NUL in a command line.
    LineEnd,
    /// The line is not UTF-8.
    NotText,
    /// No such command.
    UnknownCommand,
    /// A command of SMTP that is not offered here.
    NotImplemented,
    /// The command takes no argument.
    NoArgument,
    /// The command's own syntax, which it breaks.
    Syntax(&'static str),
    /// The size of a chunk cannot be read: what follows cannot be told apart from commands.
    ChunkSize,
    /// The reverse-path cannot be read.
    SenderSyntax,
    /// The forward-path cannot be read.
    RecipientSyntax,
    /// An address beyond ASCII in a transaction without SMTPUTF8. RFC 6531 §3.5
    NeedsUtf8,
    /// No such parameter here. RFC 5321 §4.1.1.11
    UnknownParameter,
    /// The parameter's value cannot be read, or it stands twice.
    Parameter(&'static str),
    /// No HELO or EHLO yet.
    GreetingFirst,
    /// No MAIL yet.
    MailFirst,
    /// No recipient was accepted.
    NoRecipient,
    /// MAIL inside a transaction.
    NestedMail,
    /// A command that may not come between chunks. RFC 3030 §2
    ChunksStarted,
    /// DATA for a message in BINARYMIME. RFC 3030 §3
    BinaryData,
    /// TLS is not configured.
    TlsUnavailable,
    /// TLS is active already.
    TlsActive,
    /// Something stood behind STARTTLS. RFC 3207 §4.2
    TlsPipelined,
    /// The content is, or will be, larger than allowed. RFC 1870 §6.1
    TooLarge,
    /// A bare CR or bare LF in the content.
    ContentLineEnd,
    /// A NUL in the content.
    ContentNul,
    /// More recipients than `RECIPIENTS_MAX`.
    TooManyRecipients,
    /// More transactions than `TRANSACTIONS_MAX`.
    TooManyTransactions,
    /// More errors than `ERRORS_MAX`, or more refused recipients than `RECIPIENTS_REFUSED_MAX`.
    TooManyErrors,
    /// More commands than `IDLE_COMMANDS_MAX` without a message.
    TooManyIdleCommands,
    /// The address is not one of ours, the domain is.
    UnknownRecipient,
    /// The domain is not one of ours.
    ForeignRecipient,
    /// Nobody has logged in. RFC 4954 §6
    LoginFirst,
    /// A password would travel without TLS. RFC 4954 §6
    TlsFirst,
    /// AUTH after AUTH. RFC 4954 §4
    LoggedInAlready,
    /// AUTH in a transaction. RFC 4954 §4
    AuthInTransaction,
    /// There is no such mechanism. RFC 4954 §4
    UnknownMechanism,
    /// A response is longer than any mechanism's. RFC 4954 §4
    ResponseTooLong,
    /// A response is not base64, or not what the mechanism wants. RFC 4954 §4
    ResponseSyntax,
    /// The client has cancelled AUTH. RFC 4954 §4
    Cancelled,
    /// Unknown user, wrong password, or somebody else's name. RFC 4954 §6
    WrongCredentials,
    /// A token that does not count here. RFC 7628 §3.2.3, RFC 4954 §6
    BadToken,
    /// Too many attempts to log in. RFC 4954 §6
    LoginLater,
    /// The peer was silent, or too slow, for too long.
    Timeout,
    /// The daemon stops.
    ShuttingDown,
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Reply {
        let (code, enhanced, text) = of_connection(refusal)
            .or_else(|| of_command(refusal))
            .or_else(|| of_login(refusal))
            .unwrap_or_else(|| of_message(refusal));
        Reply::new(code, enhanced, text)
    }
}

type Row = (u16, &'static str, Cow<'static, str>);

fn row(code: u16, enhanced: &'static str, text: &'static str) -> Row {
    (code, enhanced, Cow::Borrowed(text))
}

/// Refusals that end the connection.
fn of_connection(refusal: Refusal) -> Option<Row> {
    Some(match refusal {
        Refusal::TooManyTransactions => row(421, "4.7.0", "Too many messages, connect again"),
        Refusal::TooManyErrors => row(421, "4.7.0", "Too many errors"),
        Refusal::TooManyIdleCommands => row(421, "4.7.0", "Too many commands without a message"),
        Refusal::Timeout => row(421, "4.4.2", "Timeout, closing the connection"),
        Refusal::ShuttingDown => row(421, "4.3.2", "Shutting down, try again later"),
        Refusal::TlsPipelined => row(554, "5.5.1", "Nothing may follow STARTTLS"),
        Refusal::ChunkSize => row(501, "5.5.4", "Syntax: BDAT size [LAST]"),
        _ => return None,
    })
}

/// Refusals of a command, whatever the message.
fn of_command(refusal: Refusal) -> Option<Row> {
    Some(match refusal {
        Refusal::LineTooLong => row(500, "5.5.2", "Line too long"),
        Refusal::LineEnd => row(500, "5.5.2", "Lines end in CRLF and hold no CR, LF or NUL"),
        Refusal::NotText => row(500, "5.5.2", "Not UTF-8"),
        Refusal::UnknownCommand => row(500, "5.5.1", "Unknown command"),
        Refusal::NotImplemented => row(502, "5.5.1", "Not offered here"),
        Refusal::NoArgument => row(501, "5.5.4", "No argument allowed"),
        Refusal::Syntax(syntax) => (501, "5.5.4", Cow::Owned(format!("Syntax: {syntax}"))),
        Refusal::UnknownParameter => row(555, "5.5.4", "Unknown parameter"),
        Refusal::Parameter(name) => (501, "5.5.4", Cow::Owned(format!("Bad parameter: {name}"))),
        Refusal::GreetingFirst => row(503, "5.5.1", "EHLO first"),
        Refusal::MailFirst => row(503, "5.5.1", "MAIL first"),
        Refusal::NoRecipient => row(503, "5.5.1", "No valid recipients"),
        Refusal::NestedMail => row(503, "5.5.1", "MAIL was given already"),
        Refusal::BinaryData => row(503, "5.5.1", "BODY=BINARYMIME comes by BDAT"),
        Refusal::ChunksStarted => row(503, "5.5.1", "Only BDAT or RSET between chunks"),
        Refusal::TlsUnavailable => row(502, "5.5.1", "TLS is not available"),
        Refusal::TlsActive => row(503, "5.5.1", "TLS is active already"),
        _ => return None,
    })
}

/// Refusals on the way to a login. RFC 4954 §6
fn of_login(refusal: Refusal) -> Option<Row> {
    Some(match refusal {
        Refusal::LoginFirst => row(530, "5.7.0", "Authentication required"),
        Refusal::TlsFirst => row(538, "5.7.11", "Begin TLS before you log in"),
        Refusal::LoggedInAlready => row(503, "5.5.1", "You are logged in already"),
        Refusal::AuthInTransaction => row(503, "5.5.1", "Not between MAIL and the message"),
        Refusal::UnknownMechanism => row(504, "5.5.4", "There is no such mechanism"),
        Refusal::ResponseTooLong => row(500, "5.5.6", "The response is too long"),
        Refusal::ResponseSyntax => row(501, "5.5.2", "Not what the mechanism wants"),
        Refusal::Cancelled => row(501, "5.7.0", "Cancelled"),
        Refusal::WrongCredentials => row(535, "5.7.8", "Wrong user name or password"),
        Refusal::BadToken => row(535, "5.7.8", "The token is not accepted here"),
        Refusal::LoginLater => row(454, "4.7.0", "Too many attempts, try again later"),
        _ => return None,
    })
}

/// Refusals of a sender, a recipient or a content.
fn of_message(refusal: Refusal) -> Row {
    match refusal {
        Refusal::SenderSyntax => row(501, "5.1.7", "Bad sender address"),
        Refusal::RecipientSyntax => row(501, "5.1.3", "Bad recipient address"),
        Refusal::NeedsUtf8 => row(553, "5.6.7", "This address needs SMTPUTF8"),
        Refusal::UnknownRecipient => row(550, "5.1.1", "No such mailbox"),
        Refusal::ForeignRecipient => row(550, "5.7.1", "Relaying denied"),
        Refusal::TooManyRecipients => row(452, "4.5.3", "Too many recipients"),
        Refusal::TooLarge => row(552, "5.3.4", "Message too large"),
        Refusal::ContentLineEnd => row(550, "5.6.11", "Bare CR or bare LF in the message"),
        Refusal::ContentNul => row(550, "5.6.11", "NUL in the message"),
        _ => row(451, "4.3.0", "Try again later"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn the_last_line_alone_has_a_space_behind_the_code() {
        let reply = Reply::basic(250, vec!["mail.example.org".into(), "SIZE 10".into()]);
        assert_eq!(wire(&reply), "250-mail.example.org\r\n250 SIZE 10\r\n");
    }

    #[test]
    fn refusals_carry_their_enhanced_code() {
        assert_eq!(wire(&Refusal::ForeignRecipient.into()), "550 5.7.1 Relaying denied\r\n");
        assert_eq!(
            wire(&Refusal::Syntax("EHLO domain").into()),
            "501 5.5.4 Syntax: EHLO domain\r\n"
        );
    }
}
