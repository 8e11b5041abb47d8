//! The message structure against two judges: a tree that was rendered by the test itself, and
//! mail-parser on ordinary mail. And the time that hostile messages take.

use std::time::{Duration, Instant};

use imap_codec::ResponseCodec;
use imap_codec::decode::Decoder;
use postfach::imap::fetch::write;
use postfach::mail::fold::fold;
use postfach::mail::message::{Content, Part, parse};
use proptest::prelude::*;

/// A message as the test makes it.
#[derive(Clone, Debug)]
enum Node {
    Text { subtype: &'static str, body: String },
    Multipart(Vec<Node>),
    Message { subject: String, inside: Box<Node> },
}

fn node() -> impl Strategy<Value = Node> {
    let body = "([a-zA-Z -]{0,20}(\r\n)?){0,4}";
    let leaf = (prop_oneof![Just("plain"), Just("calendar")], body)
        .prop_map(|(subtype, body)| Node::Text { subtype, body });
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Node::Multipart),
            ("[a-z]{1,8}", inner)
                .prop_map(|(subject, inside)| Node::Message { subject, inside: Box::new(inside) }),
        ]
    })
}

/// Writes the node's own header and body; `next` makes each boundary different.
fn render(node: &Node, out: &mut String, next: &mut usize) {
    match node {
        Node::Text { subtype, body } => {
            out.push_str(&format!("Content-Type: text/{subtype}\r\n\r\n{body}"));
        }
        Node::Multipart(children) => {
            *next += 1;
            let boundary = format!("=_{next}");
            out.push_str(&format!(
                "Content-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n"
            ));
            for child in children {
                out.push_str(&format!("--{boundary}\r\n"));
                render(child, out, next);
                out.push_str("\r\n");
            }
            out.push_str(&format!("--{boundary}--\r\n"));
        }
        Node::Message { subject, inside } => {
            out.push_str(&format!("Content-Type: message/rfc822\r\n\r\nSubject: {subject}\r\n"));
            render(inside, out, next);
        }
    }
}

fn assert_same(node: &Node, part: &Part, bytes: &str) {
    let body = &bytes[part.body_start as usize..part.body_end as usize];
    match (node, &part.content) {
        (Node::Text { subtype, body: written }, Content::Leaf) => {
            assert_eq!(part.subtype, subtype.to_uppercase());
            assert_eq!(body, written);
            assert_eq!(part.lines as usize, written.matches('\n').count());
        }
        (Node::Multipart(nodes), Content::Multipart(parts)) => {
            assert_eq!(nodes.len(), parts.len());
            nodes.iter().zip(parts).for_each(|(node, part)| assert_same(node, part, bytes));
        }
        (Node::Message { subject, inside }, Content::Message(envelope, top)) => {
            assert_eq!(envelope.subject.as_deref(), Some(subject.as_bytes()));
            assert_eq!((top.header_start, top.body_end), (part.body_start, part.body_end));
            assert_same(inside, top, bytes);
        }
        (node, content) => panic!("{node:?} became {content:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rendered_tree_is_read_back(node in node()) {
        let mut message = String::new();
        render(&node, &mut message, &mut 0);
        assert_same(&node, &parse(message.as_bytes()).structure, &message);
    }
}

/// Lines of which hostile and broken messages are made.
fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just(
            "Content-Type: multipart/mixed; boundary=a; name*0*=utf-8''%C3; name*1=\"\u{e4}\"\r\n"
        ),
        Just("Content-Type: multipart/digest; boundary=\"b\"\n"),
        Just("Content-Type: message/rfc822\r\n"),
        Just("Content-Type: message/delivery-status; x=\"\\\"\\\\\"\r\n"),
        Just("Content-Type: nonsense\r\n"),
        Just("Content-Transfer-Encoding: base64\r\n"),
        Just("Content-Disposition: attachment; filename=\"a \\\"b\\\".txt\"\r\n"),
        Just("Content-Language: de, en\r\nContent-ID: <\u{e4}>\r\nContent-MD5:\r\n"),
        Just("From: \"A, B\" <a@b>, Group: c@d (x), e;, <@r:f@g>\r\n"),
        Just("Subject: =?utf-8?Q?h=C3=A4?= \"quoted\" \\ \u{e4}\r\n\tfolded\r\n"),
        Just("Message-ID: <a\rb@c>\r\nDate: \r\nIn-Reply-To: x y\r\n"),
        Just("--a\r\n"),
        Just("--a--\r\n"),
        Just("--b\n"),
        Just("\r\n"),
        Just("text\r\n"),
    ];
    proptest::collection::vec(line, 0..24).prop_map(|lines| lines.concat())
}

fn depth(part: &Part) -> usize {
    match &part.content {
        Content::Leaf => 0,
        Content::Message(_, top) => 1 + depth(top),
        Content::Multipart(children) => 1 + children.iter().map(depth).max().unwrap_or_default(),
    }
}

/// How deep imap-codec follows.
const JUDGE_DEPTH_MAX: usize = 7;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_message_imap_codec_reads_its_structure_and_envelope(message in lines()) {
        let parsed = parse(message.as_bytes());
        prop_assume!(depth(&parsed.structure) <= JUDGE_DEPTH_MAX);
        let mut response = b"* 1 FETCH (ENVELOPE ".to_vec();
        write::envelope(&mut response, &parsed.envelope, write::Beyond::Shown);
        response.extend_from_slice(b" BODYSTRUCTURE ");
        let form = (write::Extensions::Shown, write::Beyond::Shown);
        write::structure(&mut response, &parsed.structure, form);
        response.extend_from_slice(b")\r\n");
        let shown = response.escape_ascii().to_string();
        let decoded = ResponseCodec::default().decode(&response);
        let (rest, _) = decoded.map_err(|e| TestCaseError::fail(format!("{e:?}: {shown}")))?;
        prop_assert!(rest.is_empty());
    }
}

/// Our leaves, nested messages' leaves included, as (media type, start, end of body).
fn leaves(part: &Part, found: &mut Vec<(String, usize, usize)>) {
    match &part.content {
        Content::Leaf => {
            let kind = format!("{}/{}", part.media_type, part.subtype);
            found.push((kind, part.body_start as usize, part.body_end as usize));
        }
        Content::Multipart(children) => children.iter().for_each(|child| leaves(child, found)),
        Content::Message(_, top) => leaves(top, found),
    }
}

/// The same from mail-parser.
fn judged(message: &mail_parser::Message<'_>, found: &mut Vec<(String, usize, usize)>) {
    use mail_parser::{MimeHeaders, PartType};
    for part in &message.parts {
        match &part.body {
            PartType::Multipart(_) => {}
            PartType::Message(inner) => judged(inner, found),
            _ => {
                let kind = part.content_type().map_or(String::from("TEXT/PLAIN"), |kind| {
                    format!("{}/{}", kind.ctype(), kind.subtype().unwrap_or("PLAIN")).to_uppercase()
                });
                let end = part.raw_end_offset() as usize;
                found.push((kind, part.raw_body_offset() as usize, end));
            }
        }
    }
}

#[test]
fn ordinary_mail_is_read_as_mail_parser_reads_it() {
    for message in ORDINARY {
        let ours = parse(message.as_bytes());
        let theirs = mail_parser::MessageParser::default().parse(message).expect("a message");
        let (mut our_leaves, mut their_leaves) = (Vec::new(), Vec::new());
        leaves(&ours.structure, &mut our_leaves);
        judged(&theirs, &mut their_leaves);
        assert_eq!(our_leaves, their_leaves, "{message}");
        let subject = theirs.subject().expect("a subject");
        assert!(ours.text.header.contains(&fold(subject)), "{subject}");
        let date = theirs.date().expect("a date").to_timestamp();
        assert_eq!(ours.envelope.date_micros, Some(date * 1_000_000));
        for at in 0..theirs.text_body_count() {
            let text = theirs.body_text(at).expect("a text");
            assert!(ours.text.body.contains(fold(text.trim()).as_str()), "{text}");
        }
        let from = theirs.from().and_then(|from| from.first()).expect("a sender");
        let address = &ours.envelope.from[0];
        let spec =
            [address.mailbox.as_deref(), address.host.as_deref()].map(Option::unwrap_or_default);
        assert_eq!(spec.join(&b'@'), from.address().expect("an address").as_bytes());
    }
}

const ORDINARY: &[&str] = &[
    "From: Anna <anna@example.org>\r\nTo: info@example.org\r\nSubject: plain\r\n\
        Date: Fri, 21 Nov 1997 09:55:06 -0600\r\n\r\nHello there,\r\n  world.\r\n",
    "From: \"M\u{fc}ller, J.\" <j.m@example.org>\r\nSubject: =?UTF-8?Q?Gr=C3=BC=C3=9Fe?=\r\n \
        =?UTF-8?Q?_aus?= Bonn\r\nDate: 1 Mar 2026 10:00:00 +0200\r\nMIME-Version: 1.0\r\n\
        Content-Type: text/plain; charset=iso-8859-15\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\nviele Gr=FC=DFe, 5 =A4=\r\n!\r\n",
    "From: x@example.com\r\nSubject: alternative\r\nDate: Mon, 2 Mar 2026 10:00:00 GMT\r\n\
        Content-Type: multipart/mixed; boundary=\"out-er\"\r\n\r\nThis is MIME.\r\n\
        --out-er\r\nContent-Type: multipart/alternative;\r\n boundary=inner\r\n\r\n\
        --inner\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nplain text\r\n\
        --inner\r\nContent-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\
        \r\nPHA+aHRtbCA8Yj50ZXh0PC9iPjwvcD4=\r\n--inner--\r\n\r\n\
        --out-er\r\nContent-Type: application/pdf; name=\"a b.pdf\"\r\n\
        Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment\r\n\r\n\
        JVBERi0xLjQK\r\nJVBERi0xLjQK\r\n--out-er--\r\n",
    "From: list@example.net\r\nSubject: forwarded\r\nDate: Tue, 3 Mar 2026 10:00:00 +0000\r\n\
        Content-Type: multipart/mixed; boundary=b1\r\n\r\n--b1\r\n\r\nsee below\r\n\
        --b1\r\nContent-Type: message/rfc822\r\n\r\nFrom: a@example.org\r\nSubject: inner\r\n\
        Content-Type: multipart/related; boundary=b2\r\n\r\n--b2\r\nContent-Type: text/html\r\n\r\n\
        <b>hi</b>\r\n--b2\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n\
        iVBORw0KGgo=\r\n--b2--\r\n\r\n--b1--\r\n",
];

/// 60 multiparts inside each other, all open, then `rest`.
fn open_boundaries(rest: &str) -> String {
    let mut message = String::new();
    for level in 0..60 {
        message.push_str(&format!("Content-Type: multipart/mixed; boundary=b{level}\r\n\r\n"));
        message.push_str(&format!("--b{level}\r\n"));
    }
    message.push_str("\r\n");
    message.push_str(rest);
    message
}

/// Enough to tell linear from quadratic time.
const HOSTILE_BYTES: usize = 2 * 1024 * 1024;

fn fill(piece: &str) -> String {
    piece.repeat(HOSTILE_BYTES / piece.len())
}

fn body(header: &str, piece: &str) -> String {
    format!("{header}\r\n\r\n{}", fill(piece))
}

fn hostile_messages() -> Vec<(&'static str, String)> {
    let text = "Content-Type: text/plain";
    let transfer = "Content-Transfer-Encoding:";
    vec![
        ("delimiter-like lines", open_boundaries(&fill("--b\r\n"))),
        ("delimiters", open_boundaries(&fill("--b59\r\n"))),
        ("empty lines", open_boundaries(&fill("\n"))),
        ("one long line", open_boundaries(&fill("--b0--"))),
        ("nested messages", fill("Content-Type: message/rfc822\r\n\r\n")),
        ("one header field", format!("Subject: {}", fill("=?utf-8?Q?a"))),
        ("many header fields", fill("To: a@b\r\n")),
        ("addresses", format!("To: {}\r\n", fill("\"<(,"))),
        ("comments", format!("To: {}\r\n", fill("("))),
        ("groups", format!("To: {}\r\n", fill("a:;"))),
        ("parameters", format!("Content-Type: a/b{}\r\n", fill(";a*0=\""))),
        ("type comments", format!("Content-Type: {}\r\n", fill("(a) "))),
        ("references", format!("References: {}\r\n", fill("<a>"))),
        ("quoted-printable", body(&format!("{transfer} quoted-printable"), "=X\n")),
        ("base64", body(&format!("{transfer} base64"), "=-\n")),
        ("html", body("Content-Type: text/html", "<!--&amp;<")),
        ("utf-7", body(&format!("{text}; charset=utf-7"), "+AAA")),
        ("iso-2022-jp", body(&format!("{text}; charset=iso-2022-jp"), "\u{1b}$B\u{1b}(B")),
        ("marks", body(text, "\u{300}\u{323}")),
        ("ligatures", body(text, "\u{fdfa}")),
    ]
}

#[test]
fn hostile_messages_take_linear_time() {
    for (name, message) in hostile_messages() {
        let start = Instant::now();
        let parsed = parse(message.as_bytes());
        let took = start.elapsed();
        println!("{name}: {took:?}");
        assert_eq!(parsed.structure.body_end as usize, message.len(), "{name}");
        // unoptimised and beside other builds; quadratic behaviour takes minutes
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
    }
}
