//! Our signatures before two judges who know nothing of us: mail-auth, and opendkim where it is
//! installed.

mod mail_auth_judge;
mod messages;
mod opendkim;

use std::slice;
use std::sync::Arc;

use messages::PLAIN;
use postfach::mail::id::Timestamp;
use postfach::outbound::dkim::{Algorithm, Content, KeyPair, SigningKey, sign};

const DOMAIN: &str = "example.org";

/// A key of each kind.
fn keys() -> Vec<SigningKey> {
    let kinds = [("r", Algorithm::RsaSha256), ("e", Algorithm::Ed25519Sha256)];
    let key = |(selector, algorithm): (&str, Algorithm)| SigningKey {
        domain: DOMAIN.to_owned(),
        selector: selector.to_owned(),
        pair: Arc::new(KeyPair::generate(algorithm).expect("a key")),
    };
    kinds.map(key).into()
}

/// The message with its signatures.
fn signed(keys: &[SigningKey], message: &[u8]) -> Vec<u8> {
    let content = Content::of(message).expect("short enough");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = i64::try_from(now.expect("after 1970").as_secs()).expect("before the end of time");
    let lines = sign(keys, &content.header, &content.body, Timestamp::from_seconds(now));
    [lines.expect("signed"), message.to_vec()].concat()
}

#[tokio::test]
async fn mail_auth_accepts_both_signatures_of_every_message() {
    let keys = keys();
    let judge = mail_auth_judge::Judge::new(&keys);
    let not_understood = [messages::SPACES_AT_THE_END, messages::SPACE_BEFORE_COLON];
    let understood = |(name, _): &(&str, Vec<u8>)| !not_understood.contains(name);
    for (name, message) in messages::all().into_iter().filter(understood) {
        let verdicts = judge.verdicts(&signed(&keys, &message)).await;
        assert_eq!(verdicts, ["pass", "pass"], "{name}");
    }
}

#[tokio::test]
async fn mail_auth_refuses_a_message_with_any_byte_changed() {
    let keys = &keys()[1..];
    let judge = mail_auth_judge::Judge::new(keys);
    let message = signed(keys, PLAIN.as_bytes());
    assert_eq!(judge.verdicts(&message).await, ["pass"]);
    for at in message.len() - PLAIN.len()..message.len() {
        let mut changed = message.clone();
        changed[at] ^= 0x40;
        let verdicts = judge.verdicts(&changed).await;
        assert!(verdicts.iter().all(|verdict| verdict != "pass"), "byte {at}: {verdicts:?}");
    }
}

#[tokio::test]
async fn nobody_can_add_a_field_that_a_reader_is_shown() {
    let keys = keys();
    let judge = mail_auth_judge::Judge::new(&keys);
    let message = signed(&keys, PLAIN.as_bytes());
    for name in ["From", "To", "Cc", "Subject", "Reply-To", "Content-Type", "In-Reply-To"] {
        let added = [format!("{name}: x@example.com\r\n").as_bytes(), &message].concat();
        let verdicts = judge.verdicts(&added).await;
        assert!(verdicts.iter().all(|verdict| verdict != "pass"), "{name}: {verdicts:?}");
    }
    let relayed = [b"Received: from a by b\r\n", &message[..]].concat();
    assert_eq!(judge.verdicts(&relayed).await, ["pass", "pass"]);
}

#[test]
fn opendkim_accepts_each_signature_of_every_message() {
    let keys = keys();
    let Some(judge) = opendkim::Judge::new("accepts", &keys) else { return };
    for (name, message) in messages::all() {
        for key in &keys {
            let mut signed = signed(slice::from_ref(key), &message);
            if !signed.ends_with(b"\r\n") {
                // as SMTP's DATA would
                signed.extend_from_slice(b"\r\n");
            }
            let verdict = judge.verdict(&signed);
            let selector = format!("(s={}", key.selector);
            assert!(
                verdict.contains(&selector) && verdict.contains("succeeded"),
                "{name}: {verdict}"
            );
        }
    }
}

#[test]
fn opendkim_refuses_a_changed_message() {
    let keys = keys();
    let Some(judge) = opendkim::Judge::new("refuses", &keys) else { return };
    let message = String::from_utf8(signed(&keys, PLAIN.as_bytes())).expect("ASCII");
    assert!(judge.verdict(message.as_bytes()).contains("succeeded"));
    let changes = [
        ("Is it so", "It is so"),
        ("A question", "An answer"),
        ("ben@", "eve@"),
        ("To: ", "To: x@example.com\r\nTo: "),
        ("From: ", "From: eve@example.org\r\nFrom: "),
    ];
    for (from, to) in changes {
        let verdict = judge.verdict(message.replacen(from, to, 1).as_bytes());
        assert!(verdict.contains(" failed: "), "{from}: {verdict}");
    }
}
