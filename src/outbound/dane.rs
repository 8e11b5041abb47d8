//! DANE: which TLSA records of a server can be used, and whether a certificate is the one that they
//! mean. Pure: `server/dns` asks for them, `server/relay` does the handshake. RFC 6698, RFC 7672

use aws_lc_rs::digest::{Algorithm, SHA256, SHA512, digest};

/// Most records of one server that are looked at.
pub const RECORDS_MAX: usize = 100;

/// What a server's certificate must be. RFC 7672 §3.1
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Dane {
    /// It must match one of these; at least one.
    pub records: Vec<Tlsa>,
    /// What the certificate of an authority may name beside the server: the domain whose mail it
    /// takes. RFC 7672 §3.2.2
    pub domain: String,
}

/// What is known of the TLSA records of a server. RFC 7672 §2.2
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Published {
    /// They say who the server is; they stand below this name, which is that of the server, or the
    /// one that it is an alias of. RFC 7672 §2.2.2
    Usable(String, Vec<Tlsa>),
    /// They promise TLS, but none says in a way that is known here who the server is.
    Unusable,
    /// Nobody knows at the moment; says why. Somebody may be hiding them: no delivery.
    Unknown(String),
}

impl Published {
    /// From what DNS holds below a server's name: numbers and data of each record.
    pub fn of(name: &str, found: &[Record]) -> Published {
        let usable = found.iter().take(RECORDS_MAX).filter_map(Tlsa::usable);
        let usable: Vec<Tlsa> = usable.collect();
        match usable.is_empty() {
            true => Published::Unusable,
            false => Published::Usable(name.to_owned(), usable),
        }
    }
}

/// A TLSA record as it stands in DNS. RFC 6698 §2.1
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Whose certificate is meant.
    pub usage: u8,
    /// What of it.
    pub selector: u8,
    /// In which form.
    pub matching: u8,
    /// The certificate, the key, or their digest.
    pub data: Vec<u8>,
}

/// A record that can be used.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Tlsa {
    /// Whose certificate it means.
    pub usage: Usage,
    selector: Selector,
    matching: Matching,
    data: Vec<u8>,
}

/// Whose certificate a record means. RFC 6698 §2.1.1
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Usage {
    /// That of the authority which has signed the server's: DANE-TA(2).
    Authority,
    /// The server's own: DANE-EE(3).
    Server,
}

/// What of the certificate. RFC 6698 §2.1.2
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Selector {
    Certificate,
    Key,
}

/// In which form. RFC 6698 §2.1.3
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Matching {
    Full,
    Sha256,
    Sha512,
}

impl Tlsa {
    /// Not the usages that want one of the world's authorities in addition: there is none that all
    /// agree on. RFC 7672 §3.1.3
    fn usable(record: &Record) -> Option<Tlsa> {
        let usage = match record.usage {
            2 => Usage::Authority,
            3 => Usage::Server,
            _ => return None,
        };
        let selector = match record.selector {
            0 => Selector::Certificate,
            1 => Selector::Key,
            _ => return None,
        };
        let (matching, bytes) = match record.matching {
            0 => (Matching::Full, record.data.len().max(1)),
            1 => (Matching::Sha256, SHA256.output_len()),
            2 => (Matching::Sha512, SHA512.output_len()),
            _ => return None,
        };
        let data = record.data.clone();
        (data.len() == bytes).then_some(Tlsa { usage, selector, matching, data })
    }

    /// Whether it means this certificate, which has this key (a SubjectPublicKeyInfo); both in DER.
    pub fn matches(&self, certificate: &[u8], key: &[u8]) -> bool {
        let selected = match self.selector {
            Selector::Certificate => certificate,
            Selector::Key => key,
        };
        let is_digest = |algorithm: &'static Algorithm| {
            digest(algorithm, selected).as_ref() == self.data.as_slice()
        };
        match self.matching {
            Matching::Full => selected == self.data,
            Matching::Sha256 => is_digest(&SHA256),
            Matching::Sha512 => is_digest(&SHA512),
        }
    }

    /// The certificate itself, when the record holds it.
    pub fn certificate(&self) -> Option<&[u8]> {
        let is_whole = self.selector == Selector::Certificate && self.matching == Matching::Full;
        is_whole.then_some(&self.data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record([usage, selector, matching]: [u8; 3], data: &[u8]) -> Record {
        Record { usage, selector, matching, data: data.to_vec() }
    }

    fn usable(record: Record) -> Vec<Tlsa> {
        match Published::of("mx.example", &[record]) {
            Published::Usable(name, records) if name == "mx.example" => records,
            _ => Vec::new(),
        }
    }

    #[test]
    fn a_record_means_a_certificate_or_a_key_whole_or_by_its_digest() {
        let (certificate, key) = (&b"certificate"[..], &b"key"[..]);
        for (selector, selected, other) in [(0, certificate, key), (1, key, certificate)] {
            for (matching, form) in [
                (0, (|bytes| bytes.to_vec()) as fn(&[u8]) -> Vec<u8>),
                (1, |bytes| digest(&SHA256, bytes).as_ref().to_vec()),
                (2, |bytes| digest(&SHA512, bytes).as_ref().to_vec()),
            ] {
                let numbers = [3, selector, matching];
                let right = &usable(record(numbers, &form(selected)))[0];
                assert!(right.matches(certificate, key), "{numbers:?}");
                let wrong = &usable(record(numbers, &form(other)))[0];
                assert!(!wrong.matches(certificate, key), "{numbers:?}");
                let whole = (selector, matching) == (0, 0);
                assert_eq!(right.certificate().is_some(), whole, "{numbers:?}");
            }
        }
    }

    #[test]
    fn what_is_not_known_or_has_a_wrong_length_is_unusable() {
        for numbers in [[0, 0, 0], [1, 1, 0], [4, 0, 0], [255, 1, 0], [3, 2, 0], [3, 0, 3]] {
            assert_eq!(usable(record(numbers, b"x")), [], "{numbers:?}");
        }
        for (matching, bytes) in [(0, 1), (1, 32), (2, 64)] {
            assert_eq!(usable(record([2, 0, matching], &vec![7; bytes])).len(), 1);
            assert_eq!(usable(record([2, 0, matching], &vec![7; bytes - 1])).len(), 0);
        }
        assert_eq!(usable(record([3, 1, 1], &[7; 33])).len(), 0);
        assert_eq!(
            Published::of("mx.example", &[record([0, 0, 1], &[7; 32])]),
            Published::Unusable
        );
    }

    #[test]
    fn so_many_records_are_looked_at_and_not_one_more() {
        let mut many = vec![record([3, 1, 1], &[7; 32]); RECORDS_MAX + 1];
        let count = |many: &[Record]| match Published::of("mx.example", many) {
            Published::Usable(_, records) => records.len(),
            _ => 0,
        };
        assert_eq!(count(&many[1..]), RECORDS_MAX);
        assert_eq!(count(&many), RECORDS_MAX);
        many[..RECORDS_MAX].fill(record([0, 1, 1], &[7; 32]));
        assert_eq!(count(&many), 0);
    }
}
