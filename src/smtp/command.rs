//! What a command line says. Decides nothing about whether it is allowed now.
//!
//! MAIL and RCPT are read by `path` and `parameters`; the other commands by smtp-proto, one framed
//! line at a time, behind checks of what it lets through (see each).

use std::fmt;

use smtp_proto::{Error, Request};

use super::parameters::{MailParameters, RcptParameters};
use super::path::Path;
use super::reply::Refusal;

/// Most digits of a chunk's size; fits a u64, and is far more than any message.
const CHUNK_DIGITS_MAX: usize = 18;

/// A command. RFC 5321 §4.1.1
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// HELO with the client's name
    Helo(String),
    /// EHLO with the client's name
    Ehlo(String),
    /// MAIL
    Mail(Path, MailParameters),
    /// RCPT
    Rcpt(Path, RcptParameters),
    /// DATA
    Data,
    /// BDAT. RFC 3030 §2
    Bdat {
        /// Octets that follow.
        bytes: u64,
        /// Whether LAST was said.
        last: bool,
    },
    /// RSET
    Rset,
    /// NOOP
    Noop,
    /// VRFY; the address is not used
    Vrfy,
    /// HELP
    Help,
    /// QUIT
    Quit,
    /// STARTTLS. RFC 3207 §4
    StartTls,
    /// AUTH, at submission only. RFC 4954 §4
    Auth {
        /// The mechanism as the client names it.
        mechanism: String,
        /// The client's first response, if it did not wait to be asked.
        initial: Option<Response>,
    },
}

/// A client's response in base64, which may hold a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Response(pub Vec<u8>);

/// Nothing of it is shown.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Response(…)")
    }
}

impl Command {
    /// Reads a line at submission: AUTH, more parameters of MAIL, and otherwise what `parse` reads.
    pub fn parse_submitted(line: &[u8]) -> Result<Command, Refusal> {
        let text = std::str::from_utf8(line).map_err(|_| Refusal::NotText)?.trim_end_matches(' ');
        let (verb, argument) = text.split_once(' ').unwrap_or((text, ""));
        match verb.to_ascii_uppercase().as_str() {
            "AUTH" => auth(argument),
            "MAIL" => mail(argument, MailParameters::parse_submitted),
            _ => Command::parse(line),
        }
    }

    /// Reads a line without its CRLF.
    pub fn parse(line: &[u8]) -> Result<Command, Refusal> {
        let line = std::str::from_utf8(line).map_err(|_| Refusal::NotText)?.trim_end_matches(' ');
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match verb.to_ascii_uppercase().as_str() {
            "MAIL" => mail(argument, MailParameters::parse),
            "RCPT" => rcpt(argument),
            // smtp-proto ignores what stands behind these.
            "DATA" | "RSET" | "QUIT" | "STARTTLS" if !argument.is_empty() => {
                Err(Refusal::NoArgument)
            }
            // And here it takes the first word for the name.
            "EHLO" if argument.trim_start_matches(' ').contains(' ') => Err(EHLO_SYNTAX),
            "HELO" if argument.trim_start_matches(' ').contains(' ') => Err(HELO_SYNTAX),
            "BDAT" => bdat(argument),
            "" => Err(Refusal::UnknownCommand),
            _ => other(line),
        }
    }
}

/// Two arguments at most; what they are is the exchange's to judge.
fn auth(argument: &str) -> Result<Command, Refusal> {
    const SYNTAX: Refusal = Refusal::Syntax("AUTH mechanism [initial-response]");
    let mut words = argument.split(' ').filter(|word| !word.is_empty());
    let mechanism = words.next().ok_or(SYNTAX)?.to_owned();
    let initial = words.next().map(|word| Response(word.as_bytes().to_vec()));
    match words.next() {
        None => Ok(Command::Auth { mechanism, initial }),
        Some(_) => Err(SYNTAX),
    }
}

type ParseParameters = fn(&str) -> Result<MailParameters, Refusal>;

fn mail(argument: &str, parameters: ParseParameters) -> Result<Command, Refusal> {
    let rest = after_keyword(argument, "FROM:").ok_or(Refusal::Syntax("MAIL FROM:<address>"))?;
    let (path, rest) = Path::parse(rest).ok_or(Refusal::SenderSyntax)?;
    if path == Path::Postmaster {
        return Err(Refusal::SenderSyntax);
    }
    Ok(Command::Mail(path, parameters(rest)?))
}

fn rcpt(argument: &str) -> Result<Command, Refusal> {
    let rest = after_keyword(argument, "TO:").ok_or(Refusal::Syntax("RCPT TO:<address>"))?;
    let (path, rest) = Path::parse(rest).ok_or(Refusal::RecipientSyntax)?;
    if path == Path::Null {
        return Err(Refusal::RecipientSyntax);
    }
    Ok(Command::Rcpt(path, RcptParameters::parse(rest)?))
}

/// Spaces behind the colon are not allowed, but common.
fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let argument = argument.trim_start_matches(' ');
    let head = argument.get(..keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| argument[keyword.len()..].trim_start_matches(' '))
}

/// smtp-proto wraps round on long numbers and accepts a word other than LAST as none.
fn bdat(argument: &str) -> Result<Command, Refusal> {
    let (digits, last) = argument.split_once(' ').unwrap_or((argument, ""));
    let fits = (1..=CHUNK_DIGITS_MAX).contains(&digits.len());
    let is_last = last.trim_start_matches(' ').eq_ignore_ascii_case("LAST");
    if !fits || !digits.bytes().all(|b| b.is_ascii_digit()) || !(last.is_empty() || is_last) {
        return Err(Refusal::ChunkSize);
    }
    digits
        .parse()
        .map(|bytes| Command::Bdat { bytes, last: is_last })
        .map_err(|_| Refusal::ChunkSize)
}

fn other(line: &str) -> Result<Command, Refusal> {
    // It skips spaces before the verb.
    if !line.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return Err(Refusal::UnknownCommand);
    }
    let framed = [line.as_bytes(), b"\r\n"].concat();
    match Request::parse(&mut framed.iter()) {
        Ok(Request::Ehlo { host }) => name(&host).map(Command::Ehlo).ok_or(EHLO_SYNTAX),
        Ok(Request::Helo { host }) => name(&host).map(Command::Helo).ok_or(HELO_SYNTAX),
        Ok(Request::Data) => Ok(Command::Data),
        Ok(Request::Rset) => Ok(Command::Rset),
        Ok(Request::Noop { .. }) => Ok(Command::Noop),
        Ok(Request::Vrfy { .. }) => Ok(Command::Vrfy),
        Ok(Request::Help { .. }) => Ok(Command::Help),
        Ok(Request::Quit) => Ok(Command::Quit),
        Ok(Request::StartTls) => Ok(Command::StartTls),
        Ok(_) => Err(Refusal::NotImplemented),
        Err(Error::SyntaxError { syntax }) => Err(Refusal::Syntax(syntax)),
        Err(Error::UnknownCommand) => Err(Refusal::UnknownCommand),
        Err(_) => Err(Refusal::Syntax("see RFC 5321")),
    }
}

const EHLO_SYNTAX: Refusal = Refusal::Syntax("EHLO domain");
const HELO_SYNTAX: Refusal = Refusal::Syntax("HELO domain");

/// The client's name is written into Received, so only what a host name or an address literal can
/// consist of is accepted. Whether it is true is not asked. RFC 5321 §4.1.4
fn name(host: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.:[]".contains(c);
    let host = host.trim_matches(' ');
    (!host.is_empty() && host.len() <= super::DOMAIN_BYTES_MAX && host.chars().all(fits))
        .then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::mail::address::Address;

    fn parse(line: &str) -> Result<Command, Refusal> {
        Command::parse(line.as_bytes())
    }

    #[test]
    fn verbs_are_read_without_regard_to_case() {
        assert_eq!(parse("ehlo client.example"), Ok(Command::Ehlo("client.example".into())));
        assert_eq!(parse("HELO [192.0.2.1]"), Ok(Command::Helo("[192.0.2.1]".into())));
        assert_eq!(parse("Quit"), Ok(Command::Quit));
        assert_eq!(parse("NOOP what ever"), Ok(Command::Noop));
        assert_eq!(parse("NOOP"), Ok(Command::Noop));
        assert_eq!(parse("DATA "), Ok(Command::Data));
        assert_eq!(parse("VRFY anna"), Ok(Command::Vrfy));
        assert_eq!(parse("HELP"), Ok(Command::Help));
        assert_eq!(parse("starttls"), Ok(Command::StartTls));
        assert_eq!(parse("RSET"), Ok(Command::Rset));
    }

    #[test]
    fn mail_and_rcpt_carry_path_and_parameters() {
        let address = |a: &str| Path::Address(Address::parse(a).expect("address"));
        let mail =
            Command::Mail(address("a@b"), MailParameters { size: Some(5), ..Default::default() });
        assert_eq!(parse("MAIL FROM:<a@b> SIZE=5"), Ok(mail));
        assert_eq!(
            parse("mail from: <>"),
            Ok(Command::Mail(Path::Null, MailParameters::default()))
        );
        let rcpt = Command::Rcpt(address("a@b"), RcptParameters::default());
        assert_eq!(parse("rcpt to:<a@b>"), Ok(rcpt));
        assert_eq!(parse("RCPT TO:<>"), Err(Refusal::RecipientSyntax));
        assert_eq!(parse("MAIL FROM:<postmaster>"), Err(Refusal::SenderSyntax));
        assert_eq!(parse("MAIL FROM:a@b"), Err(Refusal::SenderSyntax));
        assert_eq!(parse("MAIL <a@b>"), Err(Refusal::Syntax("MAIL FROM:<address>")));
        assert_eq!(parse("MAIL"), Err(Refusal::Syntax("MAIL FROM:<address>")));
        assert_eq!(parse("MAIL FROM:<a@b>X"), Err(Refusal::UnknownParameter));
    }

    #[test]
    fn chunk_sizes_do_not_wrap_round() {
        assert_eq!(parse("BDAT 10"), Ok(Command::Bdat { bytes: 10, last: false }));
        assert_eq!(parse("BDAT 0 last"), Ok(Command::Bdat { bytes: 0, last: true }));
        assert!(parse(&format!("BDAT {}", "9".repeat(CHUNK_DIGITS_MAX))).is_ok());
        for bad in ["", "x", "-1", "1 MORE", "1 LAST x", &"9".repeat(CHUNK_DIGITS_MAX + 1)] {
            assert_eq!(parse(&format!("BDAT {bad}")), Err(Refusal::ChunkSize), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_its_kind() {
        for line in ["", " ", "FOO", " NOOP", "NOOPX", "EHLOX a", "\u{fc}"] {
            assert_eq!(parse(line), Err(Refusal::UnknownCommand), "{line:?}");
        }
        for line in ["EHLO", "HELO ", "EHLO a b", "EHLO a;b", "EHLO ü", "VRFY", "EHLO (x)"] {
            assert!(matches!(parse(line), Err(Refusal::Syntax(_))), "{line}");
        }
        for line in ["DATA x", "RSET x", "QUIT now", "STARTTLS x"] {
            assert_eq!(parse(line), Err(Refusal::NoArgument), "{line}");
        }
        for line in ["EXPN list", "AUTH PLAIN", "ETRN x", "LHLO x", "BURL imap://x"] {
            assert_eq!(parse(line), Err(Refusal::NotImplemented), "{line}");
        }
        assert_eq!(Command::parse(b"NOOP \xff"), Err(Refusal::NotText));
    }

    #[test]
    fn auth_is_read_at_submission_only() {
        let auth = |mechanism: &str, initial: Option<&str>| {
            let initial = initial.map(|text| Response(text.into()));
            Ok(Command::Auth { mechanism: mechanism.into(), initial })
        };
        let submitted = |line: &str| Command::parse_submitted(line.as_bytes());
        assert_eq!(submitted("AUTH PLAIN"), auth("PLAIN", None));
        assert_eq!(submitted("auth  plain  AGEAYg== "), auth("plain", Some("AGEAYg==")));
        assert_eq!(submitted("AUTH PLAIN ="), auth("PLAIN", Some("=")));
        for line in ["AUTH", "AUTH ", "AUTH PLAIN a b"] {
            assert!(matches!(submitted(line), Err(Refusal::Syntax(_))), "{line}");
        }
        assert!(submitted("MAIL FROM:<a@b> AUTH=<>").is_ok());
        assert_eq!(parse("MAIL FROM:<a@b> AUTH=<>"), Err(Refusal::UnknownParameter));
        for line in ["NOOP", "EHLO a.example", "RCPT TO:<a@b>", "EXPN list", "", "BDAT x"] {
            assert_eq!(submitted(line), parse(line), "{line}");
        }
        let shown = format!("{:?}", submitted("AUTH PLAIN c2VjcmV0"));
        assert!(!shown.contains("c2VjcmV0") && !shown.contains("99, 50"), "{shown}");
    }

    proptest! {
        /// smtp-proto is the judge of what both can read.
        #[test]
        fn smtp_proto_reads_the_same_address_and_size(
            local in "[a-z0-9!#$%&'*+/=?^_`{|}~-]{1,30}",
            domain in "[a-z0-9]{1,20}\\.[a-z]{2,5}",
            size in 0u32..,
        ) {
            let line = format!("MAIL FROM:<{local}@{domain}> SIZE={size}");
            let ours = parse(&line);
            let framed = format!("{line}\r\n");
            let judged = Request::parse(&mut framed.as_bytes().iter());
            let (Ok(Command::Mail(Path::Address(a), p)), Ok(Request::Mail { from })) =
                (&ours, &judged)
            else {
                return Err(TestCaseError::fail(format!("{ours:?} {judged:?}")));
            };
            prop_assert_eq!(a.to_string(), from.address.as_ref());
            prop_assert_eq!(p.size, Some(from.size as u64));
        }
    }
}
