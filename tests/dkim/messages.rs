//! Messages of all kinds that a user may send.

/// Lines of white space at the end become empty lines first, and then are none: RFC 6376 §3.4.4,
/// as its errata say it. mail-auth 0.13.3 keeps them; opendkim does as we do.
pub(crate) const SPACES_AT_THE_END: &str = "lines of white space at the end";

/// An obsolete form, whose canonical one has no such space: RFC 6376 §3.4.2. mail-auth 0.13.3 does
/// not see that this is the field that `h=` names; opendkim does.
pub(crate) const SPACE_BEFORE_COLON: &str = "space before the colon";

/// A name for the report, and the message.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let long =
        format!("From: anna@example.org\r\nSubject: long\r\n\r\n{}\r\n", "word ".repeat(900));
    let large = format!("From: anna@example.org\r\n\r\n{}", "A line of text.\r\n".repeat(40_000));
    let mut all: Vec<(&str, Vec<u8>)> = [
        ("plain", PLAIN),
        ("8-bit", "From: Anna <anna@example.org>\r\nSubject: x\r\n\r\nGrüße aus Köln\r\n"),
        ("UTF-8 header", "From: Änne <anna@example.org>\r\nSubject: Grüße\r\n\r\nText\r\n"),
        ("folded", FOLDED),
        (
            "white space",
            "From: anna@example.org \r\nSubject: \t x  y \t\r\n\r\n a \t b \r\n\r\n\tc\r\n",
        ),
        (SPACE_BEFORE_COLON, "From: anna@example.org\r\nSubject : x\r\n\r\nx\r\n"),
        (SPACES_AT_THE_END, "From: anna@example.org\r\n\r\na\r\n \r\n \t\r\n"),
        ("no body", "From: anna@example.org\r\nSubject: none\r\n\r\n"),
        ("body of empty lines", "From: anna@example.org\r\n\r\n\r\n\r\n\r\n"),
        ("no line end", "From: anna@example.org\r\nSubject: x\r\n\r\nunfinished"),
        ("two From", "From: anna@example.org\r\nSubject: x\r\nFrom: ben@example.org\r\n\r\nx\r\n"),
        ("only From", "From: anna@example.org\r\n\r\nx\r\n"),
        ("empty fields", "From: anna@example.org\r\nSubject:\r\nCc: \r\nTo: \t\r\n\r\nx\r\n"),
        ("lists", LISTS),
        ("many Cc", "From: anna@example.org\r\nCc: a@b.c\r\nCc: d@e.f\r\nCC: g@h.i\r\n\r\nx\r\n"),
        ("dots", "From: anna@example.org\r\n\r\n.\r\n..\r\n.x\r\n"),
    ]
    .map(|(name, text)| (name, text.as_bytes().to_vec()))
    .to_vec();
    all.push(("long line", long.into_bytes()));
    all.push(("large", large.into_bytes()));
    all.push((
        "latin-1",
        b"From: anna@example.org\r\nSubject: Gr\xfc\xdfe\r\n\r\n\xe4\xf6\r\n".to_vec(),
    ));
    all
}

/// What most mail looks like.
pub(crate) const PLAIN: &str = "From: Anna Beispiel <anna@example.org>\r\n\
    To: ben@example.net\r\n\
    Subject: A question\r\n\
    Date: Thu, 26 Nov 2026 11:00:00 +0100\r\n\
    Message-ID: <1@example.org>\r\n\
    MIME-Version: 1.0\r\n\
    Content-Type: text/plain; charset=utf-8\r\n\
    \r\n\
    Is it so?\r\n\
    \r\n\
    Anna\r\n";

const FOLDED: &str = "From: Anna\r\n\t<anna@example.org>\r\n\
    To: ben@example.net,\r\n  carla@example.net,\r\n \t dora@example.net\r\n\
    Subject:\r\n A long subject\r\n that goes on\r\n\
    References: <1@example.org>\r\n <2@example.org>\r\n\
    \r\n\
    Text\r\n";

const LISTS: &str = "Sender: list@example.org\r\n\
    From: anna@example.org\r\n\
    List-Id: <news.example.org>\r\n\
    List-Unsubscribe: <https://example.org/u>\r\n\
    List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n\
    X-Mailer: none\r\n\
    \r\n\
    News\r\n";
