//! The parameters of MAIL and RCPT, as far as an extension that we advertise defines them.
//! RFC 5321 §4.1.1.11
//!
//! Ours, not smtp-proto's: that one wraps round on a long SIZE, accepts a parameter twice, and
//! drops the address type of ORCPT.

use super::reply::Refusal;
pub use crate::mail::transport::{Body, Notify, Ret};

/// Longest ENVID. RFC 3461 §4.4
const ENVID_BYTES_MAX: usize = 100;
/// Longest ORCPT. RFC 3461 §4.2
const ORCPT_BYTES_MAX: usize = 500;
/// Most digits of a SIZE. RFC 1870 §3
const SIZE_DIGITS_MAX: usize = 20;

/// What MAIL says beside the reverse-path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MailParameters {
    /// SIZE: bytes that the client expects to send; as many as fit, if it names more. RFC 1870 §6
    pub size: Option<u64>,
    /// BODY. RFC 6152 §2
    pub body: Option<Body>,
    /// SMTPUTF8 was given. RFC 6531 §3.4
    pub smtputf8: bool,
    /// RET. RFC 3461 §4.3
    pub ret: Option<Ret>,
    /// ENVID, encoded as it came. RFC 3461 §4.4
    pub envid: Option<String>,
}

/// Which parameters of MAIL are defined where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Defined {
    Everywhere,
    /// Also those of the extensions that only submission offers.
    AtSubmission,
}

/// What RCPT says beside the forward-path.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RcptParameters {
    /// NOTIFY. RFC 3461 §4.1
    pub notify: Option<Notify>,
    /// ORCPT, encoded as it came. RFC 3461 §4.2
    pub orcpt: Option<String>,
}

impl MailParameters {
    /// Reads them from what follows the reverse-path, on port 25.
    pub fn parse(text: &str) -> Result<MailParameters, Refusal> {
        MailParameters::read(text, Defined::Everywhere)
    }

    /// The same at submission, which has AUTH and BINARYMIME. RFC 4954 §5, RFC 3030 §3
    pub fn parse_submitted(text: &str) -> Result<MailParameters, Refusal> {
        MailParameters::read(text, Defined::AtSubmission)
    }

    fn read(text: &str, defined: Defined) -> Result<MailParameters, Refusal> {
        let mut parameters = MailParameters::default();
        let mut submitter = None;
        for (keyword, value) in split(text)? {
            match (keyword.to_ascii_uppercase().as_str(), defined) {
                ("SIZE", _) => once(&mut parameters.size, size(value), "SIZE")?,
                ("BODY", _) => once(&mut parameters.body, body(value, defined), "BODY")?,
                ("RET", _) => once(&mut parameters.ret, ret(value), "RET")?,
                ("ENVID", _) => once(&mut parameters.envid, envid(value), "ENVID")?,
                ("SMTPUTF8", _) if value.is_none() && !parameters.smtputf8 => {
                    parameters.smtputf8 = true;
                }
                ("SMTPUTF8", _) => return Err(Refusal::Parameter("SMTPUTF8")),
                // Checked and dropped: the client does not vouch for others, it logged in itself.
                ("AUTH", Defined::AtSubmission) => {
                    once(&mut submitter, value.filter(|v| is_xtext(v) && !v.is_empty()), "AUTH")?;
                }
                _ => return Err(Refusal::UnknownParameter),
            }
        }
        Ok(parameters)
    }
}

impl RcptParameters {
    /// Reads them from what follows the forward-path.
    pub fn parse(text: &str) -> Result<RcptParameters, Refusal> {
        let mut parameters = RcptParameters::default();
        for (keyword, value) in split(text)? {
            match keyword.to_ascii_uppercase().as_str() {
                "NOTIFY" => once(&mut parameters.notify, notify(value), "NOTIFY")?,
                "ORCPT" => once(&mut parameters.orcpt, orcpt(value), "ORCPT")?,
                _ => return Err(Refusal::UnknownParameter),
            }
        }
        Ok(parameters)
    }
}

/// Keyword and value of each; between them spaces. Their number is bounded by the line's length.
fn split(text: &str) -> Result<Vec<(&str, Option<&str>)>, Refusal> {
    if !text.is_empty() && !text.starts_with(' ') {
        return Err(Refusal::UnknownParameter);
    }
    Ok(text
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        })
        .collect())
}

fn once<T>(slot: &mut Option<T>, value: Option<T>, name: &'static str) -> Result<(), Refusal> {
    match (slot.is_some(), value) {
        (false, Some(value)) => {
            *slot = Some(value);
            Ok(())
        }
        _ => Err(Refusal::Parameter(name)),
    }
}

fn size(value: Option<&str>) -> Option<u64> {
    let digits = value?;
    let fits = (1..=SIZE_DIGITS_MAX).contains(&digits.len());
    // Twenty digits can be more than a u64 holds: then it is too large in any case.
    (fits && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().unwrap_or(u64::MAX))
}

fn body(value: Option<&str>, defined: Defined) -> Option<Body> {
    match (value?.to_ascii_uppercase().as_str(), defined) {
        ("7BIT", _) => Some(Body::SevenBit),
        ("8BITMIME", _) => Some(Body::EightBitMime),
        ("BINARYMIME", Defined::AtSubmission) => Some(Body::BinaryMime),
        _ => None,
    }
}

fn ret(value: Option<&str>) -> Option<Ret> {
    match value?.to_ascii_uppercase().as_str() {
        "FULL" => Some(Ret::Full),
        "HDRS" => Some(Ret::Headers),
        _ => None,
    }
}

fn envid(value: Option<&str>) -> Option<String> {
    let value = value.filter(|v| v.len() <= ENVID_BYTES_MAX && is_xtext(v))?;
    Some(value.to_owned())
}

fn notify(value: Option<&str>) -> Option<Notify> {
    let value = value?;
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::default());
    }
    let mut notify = Notify::default();
    for word in value.split(',') {
        let flag = match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => &mut notify.success,
            "FAILURE" => &mut notify.failure,
            "DELAY" => &mut notify.delay,
            _ => return None,
        };
        if std::mem::replace(flag, true) {
            return None;
        }
    }
    Some(notify)
}

/// `rfc822;xtext`, or `utf-8;` with an address beyond ASCII. RFC 3461 §4.2, RFC 6533 §3
fn orcpt(value: Option<&str>) -> Option<String> {
    let value = value.filter(|v| v.len() <= ORCPT_BYTES_MAX)?;
    let (kind, address) = value.split_once(';')?;
    let is_kind = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_utf8 = kind.eq_ignore_ascii_case("utf-8")
        && address.chars().all(|c| c.is_ascii_graphic() || (!c.is_ascii() && !c.is_control()));
    (is_kind && !address.is_empty() && (is_xtext(address) || is_utf8)).then(|| value.to_owned())
}

/// RFC 3461 §4 `xtext`: `+` is followed by two hexadecimal digits.
fn is_xtext(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'+' => hex(at + 1) && hex(at + 2),
        b'=' => false,
        byte => byte.is_ascii_graphic(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_parameters_are_kept() {
        let text = " SIZE=1000 body=8bitmime SMTPUTF8 RET=HDRS ENVID=a+2Bb";
        let expected = MailParameters {
            size: Some(1000),
            body: Some(Body::EightBitMime),
            smtputf8: true,
            ret: Some(Ret::Headers),
            envid: Some("a+2Bb".into()),
        };
        assert_eq!(MailParameters::parse(text), Ok(expected));
        assert_eq!(MailParameters::parse(""), Ok(MailParameters::default()));
    }

    #[test]
    fn a_long_size_does_not_wrap_round() {
        let parse = |digits: &str| MailParameters::parse(&format!(" SIZE={digits}"));
        assert_eq!(parse(&"9".repeat(20)).map(|p| p.size), Ok(Some(u64::MAX)));
        for bad in [&"9".repeat(21)[..], "", "+1", "-1", "1x", "٣"] {
            assert_eq!(parse(bad), Err(Refusal::Parameter("SIZE")), "{bad}");
        }
    }

    #[test]
    fn mail_parameters_that_are_wrong_or_unknown_are_refused() {
        let refused = [
            (" SIZE=1 SIZE=2", Refusal::Parameter("SIZE")),
            (" BODY=BINARYMIME", Refusal::Parameter("BODY")),
            (" SMTPUTF8=1", Refusal::Parameter("SMTPUTF8")),
            (" SMTPUTF8 SMTPUTF8", Refusal::Parameter("SMTPUTF8")),
            (" RET", Refusal::Parameter("RET")),
            (" ENVID=a=b", Refusal::Parameter("ENVID")),
            (" ENVID=a+2", Refusal::Parameter("ENVID")),
            (" AUTH=<>", Refusal::UnknownParameter),
            (" NOTIFY=NEVER", Refusal::UnknownParameter),
            ("SIZE=1", Refusal::UnknownParameter),
        ];
        for (text, refusal) in refused {
            assert_eq!(MailParameters::parse(text), Err(refusal), "{text}");
        }
    }

    #[test]
    fn submission_has_parameters_of_its_own() {
        let read = MailParameters::parse_submitted;
        let size = MailParameters { size: Some(1), ..MailParameters::default() };
        assert_eq!(read(" SIZE=1 AUTH=<>"), Ok(size));
        assert_eq!(read(" AUTH=anna+40example.org"), Ok(MailParameters::default()));
        for text in [" AUTH=", " AUTH", " AUTH=<> AUTH=<>", " AUTH=a+4"] {
            assert_eq!(read(text), Err(Refusal::Parameter("AUTH")), "{text}");
        }
        let binary = MailParameters { body: Some(Body::BinaryMime), ..MailParameters::default() };
        assert_eq!(read(" BODY=binarymime"), Ok(binary));
        assert_eq!(MailParameters::parse(" BODY=BINARYMIME"), Err(Refusal::Parameter("BODY")));
        assert_eq!(read(" HOLDFOR=60"), Err(Refusal::UnknownParameter));
    }

    #[test]
    fn rcpt_parameters_are_kept_or_refused() {
        let parse = RcptParameters::parse;
        let all = parse(" NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b@c").expect("valid");
        assert_eq!(all.notify, Some(Notify { success: true, failure: false, delay: true }));
        assert_eq!(all.orcpt.as_deref(), Some("rfc822;a+40b@c"));
        assert!(parse(" ORCPT=utf-8;bücher@b").is_ok());
        for bad in
            [" NOTIFY=NEVER,SUCCESS", " NOTIFY=DELAY,DELAY", " NOTIFY=", " ORCPT=x", " ORCPT=;x"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let longest = format!(" ORCPT=rfc822;{}", "a".repeat(ORCPT_BYTES_MAX - 7));
        assert!(parse(&longest).is_ok() && parse(&format!("{longest}a")).is_err());
    }
}
