//! From the bytes of a message to everything that is kept of it. Knows no store.

use super::{Parsed, envelope, fields, preview, structure, text};

/// How much one message may make us allocate beyond its own bytes, over all of its parts.
pub(super) struct Budget {
    /// Envelope addresses still allowed.
    pub(super) addresses: usize,
    /// MIME parameters still allowed.
    pub(super) parameters: usize,
}

/// Envelope addresses of a message and all messages inside; those beyond are left out.
pub(super) const ADDRESSES_MAX: usize = 20_000;
/// MIME parameters of all parts of a message; those beyond are left out.
pub(super) const PARAMETERS_MAX: usize = 50_000;

impl Budget {
    /// The budget of one message.
    pub(super) fn new() -> Budget {
        Budget { addresses: ADDRESSES_MAX, parameters: PARAMETERS_MAX }
    }
}

/// Computes what is kept of a message. Any bytes are a message: what cannot be understood is a leaf
/// or a missing value, never an error.
pub fn parse(bytes: &[u8]) -> Parsed {
    let mut budget = Budget::new();
    let structure = structure::walk(bytes, &mut budget);
    let header = &bytes[..structure.body_start as usize];
    Parsed {
        envelope: envelope::read(header, &mut budget),
        fields: fields::cached(header),
        text: text::extract(bytes, &structure),
        preview: preview::of_message(bytes, &structure),
        structure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::message::{Content, Part};
    use proptest::prelude::*;

    fn check(part: &Part, from: u64, to: u64) -> usize {
        assert!(from <= part.header_start && part.header_start <= part.body_start);
        assert!(part.body_start <= part.body_end && part.body_end <= to);
        match &part.content {
            Content::Leaf => 1,
            Content::Multipart(children) => {
                assert!(!children.is_empty());
                children.iter().map(|child| check(child, part.body_start, part.body_end)).sum()
            }
            Content::Message(_, top) => 1 + check(top, part.body_start, part.body_end),
        }
    }

    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just("Content-Type: multipart/mixed; boundary=a\r\n"),
            Just("Content-Type: multipart/digest; boundary=\"b\"\n"),
            Just("Content-Type: message/rfc822\r\n"),
            Just("Content-Type: text/html; charset=iso-2022-jp\r\n"),
            Just("Content-Transfer-Encoding: base64\r\n"),
            Just("Content-Transfer-Encoding: quoted-printable\r\n"),
            Just("From: \"A, B\" <a@b>, G: c@d (x), e;, <@r:f@g>\r\n"),
            Just("Subject: =?utf-8?Q?h=C3=A4?= =?utf-8?B?w6Q=?=\r\n\tx\r\n"),
            Just("Date: Fri, 21 Nov 1997 09:55:06 -0600\r\n"),
            Just("--a\r\n"),
            Just("--a--\r\n"),
            Just("--b\n"),
            Just("--b--"),
            Just("\r\n"),
            Just("\n"),
            Just("gr\u{fc}n =3D <b>x</b> &amp;\r\n"),
            Just("SGVsbG8=\r\n"),
            Just("\u{0}\r"),
        ];
        proptest::collection::vec(piece, 0..60).prop_map(|all| all.concat().into_bytes())
    }

    proptest! {
        #[test]
        fn any_pieces_make_a_tree_within_bounds(bytes in pieces()) {
            let parsed = parse(&bytes);
            check(&parsed.structure, 0, bytes.len() as u64);
            prop_assert_eq!(parsed.structure.body_end, bytes.len() as u64);
            prop_assert!(parsed.fields.len() <= bytes.len());
        }

        #[test]
        fn any_bytes_make_a_tree_within_bounds(
            bytes in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let parsed = parse(&bytes);
            check(&parsed.structure, 0, bytes.len() as u64);
        }
    }

    #[test]
    fn addresses_and_parameters_stop_at_their_limits() {
        let to = format!("To: {}\r\n", "a,".repeat(ADDRESSES_MAX + 10));
        let parsed = parse(to.as_bytes());
        assert_eq!(parsed.envelope.to.len(), ADDRESSES_MAX);
        let parameters: String = (0..PARAMETERS_MAX + 10).map(|i| format!(";a{i}=b")).collect();
        let message = format!("Content-Type: text/plain{parameters}\r\n\r\n");
        let parsed = parse(message.as_bytes());
        assert!(parsed.structure.parameters.len() <= PARAMETERS_MAX);
    }
}
