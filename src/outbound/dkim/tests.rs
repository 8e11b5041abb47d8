//! What a signature says. That it verifies is judged by others: `tests/dkim`.

use std::sync::Arc;

use super::*;

const NOW: Timestamp = Timestamp(1_764_150_000_999_999);
const HEADER: &[u8] = b"From: anna@example.org\r\nTo: b@example.net\r\nSender: c@example.org\r\n";

fn key(algorithm: Algorithm, domain: &str) -> SigningKey {
    let pair = Arc::new(KeyPair::generate(algorithm).expect("a key"));
    SigningKey { domain: domain.to_owned(), selector: "2026a".to_owned(), pair }
}

fn signed(keys: &[SigningKey], header: &[u8]) -> String {
    let lines = sign(keys, header, &BodyHasher::new().finish(), NOW).expect("signed");
    String::from_utf8(lines).expect("ASCII")
}

fn unfolded(field: &str) -> String {
    field.replace("\r\n\t", "")
}

#[test]
fn each_key_makes_a_signature_with_its_tags() {
    let keys = [key(Algorithm::RsaSha256, "example.org"), key(Algorithm::Ed25519Sha256, "a.b")];
    let lines = signed(&keys, HEADER);
    let fields: Vec<&str> = lines.split_inclusive("=\r\n").collect();
    assert_eq!(fields.len(), 2, "{lines}");
    for (field, (algorithm, domain)) in
        fields.iter().zip([("rsa-sha256", "example.org"), ("ed25519-sha256", "a.b")])
    {
        let start =
            format!("DKIM-Signature: v=1; a={algorithm}; c=relaxed/relaxed; d={domain}; s=2026a;");
        let field = unfolded(field);
        assert!(field.replace("; ", ";").starts_with(&start.replace("; ", ";")), "{field}");
        assert!(field.contains("t=1764150000;"), "{field}");
        assert!(field.contains("bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=;"), "{field}");
        assert!(!field.contains("l=") && !field.contains("x="), "{field}");
    }
}

#[test]
fn from_is_listed_once_more_than_it_occurs_and_so_are_the_others() {
    let field = unfolded(&signed(&[key(Algorithm::Ed25519Sha256, "example.org")], HEADER));
    let listed = "h=From:From:To:To:Cc:Subject:Date:Message-ID:Reply-To:In-Reply-To:References:\
                  MIME-Version:Content-Type:Content-Transfer-Encoding:Sender;";
    assert!(field.contains(listed), "{field}");
}

#[test]
fn lines_have_less_than_78_columns_whatever_the_names() {
    for domain in ["a.b", "example.org", &format!("{}.example", "a".repeat(53))] {
        for algorithm in [Algorithm::RsaSha256, Algorithm::Ed25519Sha256] {
            let header = HEADER.repeat(INSTANCES_MAX);
            for line in signed(&[key(algorithm, domain)], &header).split_terminator("\r\n") {
                assert!(line.len() < 78 && !line.ends_with([' ', '\t']), "{line:?}");
                assert!(line.starts_with("DKIM-Signature: ") || line.starts_with('\t'), "{line:?}");
            }
        }
    }
}

#[test]
fn the_empty_line_and_what_is_not_signed_change_nothing() {
    let keys = [key(Algorithm::Ed25519Sha256, "example.org")];
    let alone = signed(&keys, HEADER);
    assert_eq!(alone, signed(&keys, &[HEADER, b"\r\nTo: the body\r\n"].concat()));
    assert_eq!(alone, signed(&keys, &[b"Received: from x\r\n", HEADER].concat()));
    assert_ne!(alone, signed(&keys, &[b"Cc: somebody else\r\n", HEADER].concat()));
}

#[test]
fn without_a_key_there_is_no_signature() {
    assert_eq!(signed(&[], HEADER), "");
}
