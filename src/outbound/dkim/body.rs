//! The body hash of relaxed canonicalisation, computed while the body passes by in pieces.

use aws_lc_rs::digest::{Context, SHA256};

/// SHA-256 of a body in its canonical form.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BodyHash(pub [u8; 32]);

/// How many canonical bytes are gathered before they are hashed.
const GATHERED_BYTES: usize = 16 * 1024;

/// Takes a body piece by piece, split anywhere. RFC 6376 §3.4.4
pub struct BodyHasher {
    hash: Context,
    gathered: Vec<u8>,
    /// Line ends that count only when something follows: empty lines at the end do not.
    line_ends: u64,
    /// White space that counts only when something follows in its line.
    space: bool,
    /// A CR that is a line end when LF follows, and a byte like others when not.
    carriage_return: bool,
    /// Something has been written.
    started: bool,
}

impl Default for BodyHasher {
    fn default() -> BodyHasher {
        BodyHasher::new()
    }
}

impl BodyHasher {
    /// Of an empty body.
    pub fn new() -> BodyHasher {
        BodyHasher {
            hash: Context::new(&SHA256),
            gathered: Vec::with_capacity(GATHERED_BYTES),
            line_ends: 0,
            space: false,
            carriage_return: false,
            started: false,
        }
    }

    /// Takes the next bytes.
    pub fn write(&mut self, mut bytes: &[u8]) {
        while let Some(&first) = bytes.first() {
            if self.carriage_return {
                self.carriage_return = false;
                if first == b'\n' {
                    (self.space, self.line_ends) = (false, self.line_ends + 1);
                    bytes = &bytes[1..];
                    continue;
                }
                self.put(b"\r");
            }
            let special = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
            let plain = bytes.iter().position(special).unwrap_or(bytes.len());
            match first {
                b' ' | b'\t' => self.space = true,
                b'\r' => self.carriage_return = true,
                _ => self.put(&bytes[..plain]),
            }
            bytes = &bytes[plain.max(1)..];
        }
    }

    /// The body is complete. What does not end with a line end gets one; a body of empty lines
    /// only is no bytes at all.
    pub fn finish(mut self) -> BodyHash {
        if self.carriage_return {
            self.put(b"\r");
        }
        if self.started {
            self.gathered.extend_from_slice(b"\r\n");
        }
        self.hash.update(&self.gathered);
        let mut hash = [0; 32];
        hash.copy_from_slice(self.hash.finish().as_ref());
        BodyHash(hash)
    }

    /// Bytes that count, and what was waiting for them.
    fn put(&mut self, bytes: &[u8]) {
        for _ in 0..std::mem::take(&mut self.line_ends) {
            self.gather(b"\r\n");
        }
        if std::mem::take(&mut self.space) {
            self.gather(b" ");
        }
        self.gather(bytes);
        self.started = true;
    }

    fn gather(&mut self, bytes: &[u8]) {
        if self.gathered.len() + bytes.len() > GATHERED_BYTES {
            self.hash.update(&self.gathered);
            self.gathered.clear();
        }
        if bytes.len() > GATHERED_BYTES {
            self.hash.update(bytes);
        } else {
            self.gathered.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::digest;
    use base64::prelude::{BASE64_STANDARD, Engine};
    use proptest::prelude::*;

    use super::*;

    fn of(body: &[u8]) -> BodyHash {
        in_pieces(body, usize::MAX)
    }

    fn in_pieces(body: &[u8], bytes: usize) -> BodyHash {
        let mut hasher = BodyHasher::new();
        body.chunks(bytes).for_each(|piece| hasher.write(piece));
        hasher.finish()
    }

    /// The canonical form of `body` is `canonical`.
    fn same(body: &[u8], canonical: &[u8]) {
        let expected = digest(&SHA256, canonical);
        assert_eq!(of(body).0, expected.as_ref(), "{body:?}");
    }

    /// The rule as it is written, for a body at hand.
    fn as_written(body: &[u8]) -> Vec<u8> {
        let text: String = body.iter().map(|&byte| char::from(byte)).collect();
        let mut lines: Vec<String> = Vec::new();
        for line in text.split("\r\n") {
            let mut words = String::new();
            for c in line.chars() {
                match c {
                    ' ' | '\t' if words.ends_with(' ') => {}
                    ' ' | '\t' => words.push(' '),
                    other => words.push(other),
                }
            }
            lines.push(words.strip_suffix(' ').unwrap_or(&words).to_owned());
        }
        while lines.last().is_some_and(String::is_empty) {
            lines.pop();
        }
        let whole: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        whole.chars().map(|c| u8::try_from(c).expect("a byte")).collect()
    }

    /// RFC 6376 §3.4.5
    #[test]
    fn the_example_of_the_standard() {
        same(b" C \r\nD \t E\r\n\r\n\r\n", b" C\r\nD E\r\n");
    }

    /// RFC 6376 §3.4.4, as its errata say it.
    #[test]
    fn a_body_of_empty_lines_only_is_no_bytes_at_all() {
        let empty = BASE64_STANDARD.decode("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        for body in [&b""[..], b"\r\n", b"\r\n\r\n\r\n", b" \t\r\n \r\n", b"  "] {
            assert_eq!(Ok(of(body).0.to_vec()), empty, "{body:?}");
        }
    }

    #[test]
    fn a_missing_line_end_is_added() {
        same(b"a", b"a\r\n");
        same(b"a \r\n\r\nb \t", b"a\r\n\r\nb\r\n");
    }

    #[test]
    fn carriage_returns_that_end_no_line_are_bytes_like_others() {
        same(b"a\rb", b"a\rb\r\n");
        same(b"a \r\r\nb\r", b"a \r\r\nb\r\r\n");
        same(b"a\nb \r \n", b"a\nb \r \n\r\n");
    }

    #[test]
    fn bytes_beyond_ascii_and_long_lines_pass_unchanged() {
        same("Grüße\r\n".as_bytes(), "Grüße\r\n".as_bytes());
        let long = b"x".repeat(3 * GATHERED_BYTES);
        same(&long, &[&long[..], b"\r\n"].concat());
        for bytes in [GATHERED_BYTES - 2, GATHERED_BYTES, GATHERED_BYTES + 1] {
            let line = b"y".repeat(bytes);
            same(&[&line[..], b" z"].concat(), &[&line[..], b" z\r\n"].concat());
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_hash_of_the_rule_as_written(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    &b" "[..], b"\t", b"\r\n", b"\r", b"\n", b"a", b"\xff.",
                ]),
                0..40,
            ),
            bytes in 1usize..5,
        ) {
            let body = parts.concat();
            let expected = digest(&SHA256, &as_written(&body));
            prop_assert_eq!(&of(&body).0, expected.as_ref());
            prop_assert_eq!(of(&body), in_pieces(&body, bytes));
        }
    }
}
