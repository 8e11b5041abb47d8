//! What the answer to EHLO offers. RFC 5321 §4.1.1.1
//!
//! Ours, not smtp-proto's: that one wraps round on a long SIZE (a small limit comes out, and mail
//! would be failed for it) and knows no LIMITS. It is the judge in tests.

/// What a server offers, as far as we use it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Offer {
    /// PIPELINING. RFC 2920
    pub pipelining: bool,
    /// SIZE; inside, the largest message, if the server has a fixed limit. RFC 1870
    pub size: Option<Option<u64>>,
    /// 8BITMIME. RFC 6152
    pub eight_bit: bool,
    /// SMTPUTF8. RFC 6531
    pub smtputf8: bool,
    /// DSN. RFC 3461
    pub dsn: bool,
    /// STARTTLS. RFC 3207
    pub starttls: bool,
    /// AUTH PLAIN. RFC 4954, RFC 4616
    pub auth_plain: bool,
    /// AUTH LOGIN.
    pub auth_login: bool,
    /// LIMITS RCPTMAX: recipients of one transaction. RFC 9422 §4.2
    pub recipients_max: Option<usize>,
    /// LIMITS MAILMAX: transactions of one connection. RFC 9422 §4.1
    pub mails_max: Option<u32>,
}

impl Offer {
    /// Reads the lines of the answer; the first is the server's name. What cannot be read is not
    /// offered.
    pub fn parse(lines: &[String]) -> Offer {
        let mut offer = Offer::default();
        for line in lines.iter().skip(1) {
            offer.add(&line.to_ascii_uppercase());
        }
        offer
    }

    fn add(&mut self, line: &str) {
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        match words.next() {
            Some("PIPELINING") => self.pipelining = true,
            Some("SIZE") => self.size = Some(words.next().and_then(size)),
            Some("8BITMIME") => self.eight_bit = true,
            Some("SMTPUTF8") => self.smtputf8 = true,
            Some("DSN") => self.dsn = true,
            Some("STARTTLS") => self.starttls = true,
            Some("AUTH") => words.for_each(|name| self.mechanism(name)),
            Some("LIMITS") => words.for_each(|limit| self.limit(limit)),
            // An old form that some servers have instead.
            Some(word) => {
                if let Some(first) = word.strip_prefix("AUTH=") {
                    std::iter::once(first).chain(words).for_each(|name| self.mechanism(name));
                }
            }
            None => {}
        }
    }

    fn mechanism(&mut self, name: &str) {
        match name {
            "PLAIN" => self.auth_plain = true,
            "LOGIN" => self.auth_login = true,
            _ => {}
        }
    }

    /// A limit that cannot be read, or is 0, is none. RFC 9422 §3
    fn limit(&mut self, limit: &str) {
        let Some((name, value)) = limit.split_once('=') else { return };
        let Some(value) = value.parse::<u32>().ok().filter(|value| *value > 0) else { return };
        match name {
            "RCPTMAX" => self.recipients_max = usize::try_from(value).ok(),
            "MAILMAX" => self.mails_max = Some(value),
            _ => {}
        }
    }
}

/// 0 is no fixed limit, and so is what no number holds. RFC 1870 §4
fn size(digits: &str) -> Option<u64> {
    digits.parse().ok().filter(|size| *size > 0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use smtp_proto::{
        AUTH_LOGIN, AUTH_PLAIN, EXT_8BIT_MIME, EXT_AUTH, EXT_DSN, EXT_PIPELINING, EXT_SIZE,
        EXT_SMTP_UTF8, EXT_START_TLS, EhloResponse,
    };

    use super::*;

    fn offer(keywords: &[&str]) -> Offer {
        let lines = std::iter::once("mx.example").chain(keywords.iter().copied());
        Offer::parse(&lines.map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_offered_is_read() {
        let all = offer(&[
            "PIPELINING",
            "size 1000",
            "8BitMIME",
            "SMTPUTF8",
            "DSN",
            "STARTTLS",
            "AUTH SCRAM-SHA-256 PLAIN LOGIN",
            "LIMITS MAILMAX=20 RCPTMAX=50 OTHER=1",
            "XCLIENT NAME ADDR",
            "",
        ]);
        let expected = Offer {
            pipelining: true,
            size: Some(Some(1000)),
            eight_bit: true,
            smtputf8: true,
            dsn: true,
            starttls: true,
            auth_plain: true,
            auth_login: true,
            recipients_max: Some(50),
            mails_max: Some(20),
        };
        assert_eq!(all, expected);
        assert_eq!(offer(&["AUTH=LOGIN PLAIN"]), offer(&["AUTH LOGIN PLAIN"]));
        assert_eq!(offer(&[]), Offer::default());
    }

    #[test]
    fn the_name_of_the_server_is_no_keyword() {
        assert_eq!(Offer::parse(&["STARTTLS".to_owned()]), Offer::default());
    }

    #[test]
    fn a_size_that_limits_nothing_is_no_limit() {
        for line in ["SIZE", "SIZE 0", "SIZE x", "SIZE 99999999999999999999999"] {
            assert_eq!(offer(&[line]).size, Some(None), "{line}");
        }
    }

    #[test]
    fn limits_that_cannot_be_kept_are_ignored() {
        let offer = offer(&["LIMITS RCPTMAX=0 MAILMAX=x RCPTDOMAINMAX=1"]);
        assert_eq!((offer.recipients_max, offer.mails_max), (None, None));
    }

    /// Why the judge is not the reader.
    #[test]
    fn the_judge_is_wrong_about_a_long_size() {
        let judge = |line: &str| {
            let wire = format!("250-mx.example\r\n250 {line}\r\n");
            EhloResponse::parse(&mut wire.as_bytes().iter()).map(|offer| offer.size)
        };
        assert!(judge("SIZE 99999999999999999999999").is_ok_and(|size| size < 1000));
    }

    proptest! {
        #[test]
        fn the_judge_reads_well_formed_answers_alike(
            mut keywords in prop::sample::subsequence(
                vec![
                    "PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN", "STARTTLS",
                    "AUTH PLAIN", "AUTH LOGIN CRAM-MD5", "VRFY", "ENHANCEDSTATUSCODES", "HELP",
                ],
                0..8,
            ),
        ) {
            let ours = offer(&keywords);
            keywords.insert(0, "mx.example");
            let last = keywords.len() - 1;
            let line = |(n, keyword): (usize, &&str)| {
                format!("250{}{keyword}\r\n", if n < last { '-' } else { ' ' })
            };
            let wire: String = keywords.iter().enumerate().map(line).collect();
            let judged = EhloResponse::parse(&mut wire.as_bytes().iter()).expect("an answer");
            let has = |extension| judged.capabilities & extension != 0;
            prop_assert_eq!(ours.pipelining, has(EXT_PIPELINING));
            prop_assert_eq!(ours.size.is_some(), has(EXT_SIZE));
            prop_assert_eq!(ours.size.flatten().unwrap_or(0), judged.size as u64);
            prop_assert_eq!(ours.eight_bit, has(EXT_8BIT_MIME));
            prop_assert_eq!(ours.smtputf8, has(EXT_SMTP_UTF8));
            prop_assert_eq!(ours.dsn, has(EXT_DSN));
            prop_assert_eq!(ours.starttls, has(EXT_START_TLS));
            let auth = |mechanism| has(EXT_AUTH) && judged.auth_mechanisms & mechanism != 0;
            prop_assert_eq!(ours.auth_plain, auth(AUTH_PLAIN));
            prop_assert_eq!(ours.auth_login, auth(AUTH_LOGIN));
        }
    }
}
