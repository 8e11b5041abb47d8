//! URLs of messages and of their parts, as CATENATE names them: relative to this server and this
//! user. Knows no mailbox. RFC 4469 §3, RFC 5092 §11

use crate::imap::names::DELIMITER;
use crate::mail::id::{Uid, UidValidity};

/// Longest URL: a mailbox name of 16 levels with each byte as `%C3`, and the rest.
pub const URL_BYTES_MAX: usize = 16 * 1024;

/// A message, or a part of one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MessageUrl {
    base: Base,
    /// Below the base.
    path: Vec<Step>,
    /// The epoch that the UID is of, if it says so.
    pub uid_validity: Option<UidValidity>,
    /// Which message.
    pub uid: Uid,
    /// What would stand between the brackets of BODY[]; nothing for the whole message.
    pub section: Vec<u8>,
    /// First byte and length; all of it without.
    pub partial: Option<(u64, u64)>,
}

/// What a path begins at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Base {
    /// The server: `/INBOX/;UID=1`.
    Server,
    /// The selected mailbox: `;UID=1`.
    Selected,
    /// What the selected mailbox lies in: `Other/;UID=1`. RFC 3986 §5.2.3
    BesideSelected,
}

/// One segment of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    /// `..`
    Up,
    Down(String),
}

impl MessageUrl {
    /// `None`: it is no URL, or one of something else. Absolute URLs are of something else.
    pub fn parse(url: &[u8]) -> Option<MessageUrl> {
        let is_possible = |byte: u8| is_bchar(byte) || byte == b';' || byte == b'%';
        if url.len() > URL_BYTES_MAX || !url.iter().copied().all(is_possible) {
            return None;
        }
        let url = std::str::from_utf8(url).ok()?;
        let (path, parameters) = url.split_once(';')?;
        let mut parameters = parameters.split("/;").peekable();
        let mut take = |name: &str| {
            let is_meant = |parameter: &&str| {
                let start = parameter.get(..name.len());
                start.is_some_and(|start| start.eq_ignore_ascii_case(name))
            };
            parameters.next_if(is_meant).map(|parameter| &parameter[name.len()..])
        };
        let uid_validity = take("UIDVALIDITY=");
        let (base, path) = reference(path, uid_validity.is_some())?;
        let uid_validity = uid_validity.map(|value| nz_number(value).ok_or(())).transpose().ok()?;
        let uid = Uid(take("UID=").and_then(nz_number)?);
        let section = take("SECTION=").map_or(Some(Vec::new()), section)?;
        let partial = take("PARTIAL=").map(|value| partial(value).ok_or(())).transpose().ok()?;
        let uid_validity = uid_validity.map(UidValidity);
        parameters.next().is_none().then_some(MessageUrl {
            base,
            path,
            uid_validity,
            uid,
            section,
            partial,
        })
    }

    /// Whether it takes the selected mailbox to know which mailbox is meant.
    pub fn is_relative(&self) -> bool {
        self.base != Base::Server
    }

    /// The name of the mailbox, in UTF-8; `None`: there is none without one that is selected.
    pub fn mailbox(&self, selected: Option<&str>) -> Option<String> {
        let mut levels: Vec<&str> = match (self.base, selected) {
            (Base::Selected, None) => return None,
            (Base::Server, _) | (Base::BesideSelected, None) => Vec::new(),
            (_, Some(selected)) => selected.split(DELIMITER).collect(),
        };
        if self.base == Base::BesideSelected {
            levels.pop();
        }
        for step in &self.path {
            match step {
                Step::Up => drop(levels.pop()),
                Step::Down(level) => levels.push(level),
            }
        }
        (!levels.is_empty()).then(|| levels.join("/"))
    }
}

/// A URL for a BADURL response code, in quotes, with the characters encoded that would end it.
/// RFC 4469 §5 `url-resp-text`
pub fn written(url: &[u8]) -> String {
    let mut written = String::with_capacity(url.len() + 2);
    written.push('"');
    for byte in url {
        match byte {
            b'"' | b'\\' | b']' => written.push_str(&format!("%{byte:02X}")),
            b' '..=b'~' => written.push(char::from(*byte)),
            _ => written.push_str(&format!("%{byte:02X}")),
        }
    }
    written.push('"');
    written
}

/// `bchar` without its encoded form. RFC 5092 §11
fn is_bchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$'()*+,&=:@/".contains(&byte)
}

/// What stands in front of the first `;`. The slash in front of it is left out by some programs.
fn reference(path: &str, has_uid_validity: bool) -> Option<(Base, Vec<Step>)> {
    let (base, path) = match path.strip_prefix('/') {
        // another server
        Some(path) if path.starts_with('/') => return None,
        Some(path) => (Base::Server, path),
        None if path.is_empty() && !has_uid_validity => return Some((Base::Selected, Vec::new())),
        // another scheme
        None if path.split('/').next().is_some_and(|first| first.contains(':')) => return None,
        None => (Base::BesideSelected, path),
    };
    let path = match has_uid_validity {
        true => path,
        false => path.strip_suffix('/').unwrap_or(path),
    };
    (!path.is_empty()).then_some(())?;
    let steps = path.split('/').filter(|segment| *segment != ".").map(|segment| match segment {
        "" => None,
        ".." => Some(Step::Up),
        level => String::from_utf8(decoded(level)?).ok().map(Step::Down),
    });
    Some((base, steps.collect::<Option<_>>()?))
}

fn section(value: &str) -> Option<Vec<u8>> {
    decoded(value).filter(|section| !section.is_empty())
}

/// Without `%C3` and the like. RFC 3986 §2.1
fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut pieces = text.split('%');
    let mut decoded = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let digits = piece.get(..2).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        decoded.push(u8::from_str_radix(digits, 16).ok()?);
        decoded.extend_from_slice(&piece.as_bytes()[2..]);
    }
    Some(decoded)
}

fn nz_number(text: &str) -> Option<u32> {
    number(text).and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0)
}

fn number(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse::<i64>().ok())?.map(|number| number as u64)
}

/// `partial-range`: without a length it goes to the end. RFC 5092 §11
fn partial(text: &str) -> Option<(u64, u64)> {
    match text.split_once('.') {
        None => Some((number(text)?, u64::MAX)),
        Some((origin, length)) => {
            Some((number(origin)?, number(length).filter(|length| *length > 0)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(url: &str) -> MessageUrl {
        MessageUrl::parse(url.as_bytes()).expect(url)
    }

    fn mailbox(url: &str, selected: Option<&str>) -> Option<String> {
        parsed(url).mailbox(selected)
    }

    #[test]
    fn all_of_a_url_is_read() {
        let url = parsed("/Drafts;UIDVALIDITY=385759045/;uid=20/;Section=1.MIME/;PARTIAL=3.4");
        assert_eq!(url.mailbox(None).as_deref(), Some("Drafts"));
        assert_eq!(url.uid_validity, Some(UidValidity(385_759_045)));
        assert_eq!((url.uid, url.partial), (Uid(20), Some((3, 4))));
        assert_eq!(url.section, b"1.MIME");
        let url = parsed("/INBOX/;UID=1/;PARTIAL=7");
        assert_eq!((url.section.len(), url.partial), (0, Some((7, u64::MAX))));
        let url = parsed("/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(From%20%22x/y%22)");
        assert_eq!(url.section, b"HEADER.FIELDS (From \"x/y\")");
    }

    #[test]
    fn a_mailbox_is_named_from_the_server_or_from_the_selected_one() {
        let selected = Some("Lists/foo");
        for (url, named, alone) in [
            ("/INBOX/;UID=1", Some("INBOX"), Some("INBOX")),
            ("/INBOX;UID=1", Some("INBOX"), Some("INBOX")),
            ("/Lists/Gr%C3%BCn/;UID=1", Some("Lists/Grün"), Some("Lists/Grün")),
            ("/Lists%2Ffoo/;UID=1", Some("Lists/foo"), Some("Lists/foo")),
            ("/R&D/;UID=1", Some("R&D"), Some("R&D")),
            ("/a%3Bb%25/;UID=1", Some("a;b%"), Some("a;b%")),
            ("/Lists/../INBOX/;UID=1", Some("INBOX"), Some("INBOX")),
            (";UID=1", Some("Lists/foo"), None),
            (";UID=1/;SECTION=1", Some("Lists/foo"), None),
            ("bar/;UID=1", Some("Lists/bar"), Some("bar")),
            ("./bar;UIDVALIDITY=3/;UID=1", Some("Lists/bar"), Some("bar")),
            ("../bar/x/;UID=1", Some("bar/x"), Some("bar/x")),
            ("../../..;UID=1", None, None),
        ] {
            assert_eq!(mailbox(url, selected).as_deref(), named, "{url}");
            assert_eq!(mailbox(url, None).as_deref(), alone, "{url}");
        }
    }

    #[test]
    fn what_is_no_message_of_this_server_is_none() {
        for wrong in [
            "",
            "/",
            "/INBOX",
            "/INBOX/",
            "imap://u@h/INBOX/;UID=1",
            "imap:/INBOX/;UID=1",
            "//h/INBOX/;UID=1",
            "/;UID=1",
            ";SECTION=1",
            "/;SECTION=1",
            ";UIDVALIDITY=1/;UID=1",
            "/INBOX/;UIDVALIDITY=1/;UID=1",
            "/INBOX;UIDVALIDITY=0/;UID=1",
            "/INBOX;UIDVALIDITY=x/;UID=1",
            "/INBOX//;UID=1",
            "/a//b/;UID=1",
            "/INBOX/;UID=0",
            "/INBOX/;UID=",
            "/INBOX/;UID=-1",
            "/INBOX/;UID=4294967296",
            "/INBOX/;UID=1/",
            "/INBOX/;UID=1;URLAUTH=anonymous",
            "/INBOX/;UID=1;EXPIRE=2030-01-01T00:00:00Z;URLAUTH=anonymous",
            "/INBOX/;UID=1/;SECTION=",
            "/INBOX/;UID=1/;SECTION=1/;SECTION=2",
            "/INBOX/;UID=1/;PARTIAL=1.0",
            "/INBOX/;UID=1/;PARTIAL=.5",
            "/INBOX/;UID=1/;PARTIAL=9223372036854775808",
            "/INBOX/;PARTIAL=0.1/;UID=1",
            "/INBOX/;UID=1/;PARTIAL=0.1/;SECTION=1",
            "/INBOX/;UID=1/;X=1",
            "/INBOX/;UID=1?SUBJECT",
            "/INBOX/;UID=1#x",
            "/INBOX/;UID=1 ",
            "/IN BOX/;UID=1",
            "/IN%ZZBOX/;UID=1",
            "/INBOX%4/;UID=1",
            "/INBOX%/;UID=1",
            "/%FF/;UID=1",
            "/Grün/;UID=1",
            "/INBOX/%3BUID=1",
        ] {
            assert_eq!(MessageUrl::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn a_url_may_have_its_limit_and_not_one_byte_more() {
        let of = |bytes: usize| format!("/{}/;UID=1", "x".repeat(bytes - 8));
        assert!(MessageUrl::parse(of(URL_BYTES_MAX).as_bytes()).is_some());
        assert_eq!(MessageUrl::parse(of(URL_BYTES_MAX + 1).as_bytes()), None);
    }

    #[test]
    fn a_refused_url_is_written_so_that_it_stays_inside_of_its_brackets() {
        assert_eq!(written(b"/INBOX;UID=1"), "\"/INBOX;UID=1\"");
        assert_eq!(written(b"a]\r\n\"\\\x00\xff %5D"), "\"a%5D%0D%0A%22%5C%00%FF %5D\"");
        assert_eq!(written(b""), "\"\"");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_url_or_none(url in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Some(url) = MessageUrl::parse(&url) {
                prop_assert!(url.uid.0 > 0);
                prop_assert!(url.mailbox(Some("a/b")) != Some(String::new()));
            }
            prop_assert!(written(&url).bytes().all(|b| (b' '..=b'~').contains(&b) && b != b']'));
        }

        #[test]
        fn any_name_is_found_by_its_encoded_form(name in "[^/]{1,20}") {
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let url = parsed(&format!("/{encoded}/;UID=1"));
            prop_assert_eq!(url.mailbox(None), Some(name));
        }
    }
}
