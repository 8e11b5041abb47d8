//! SCRAM-SHA-256, the server's side: four messages, of which these functions read two and write
//! two. Which password's keys there are, and whether a proof counts, only the driver knows.
//! RFC 5802, RFC 7677

use std::sync::Arc;

use aws_lc_rs::{constant_time, digest, hmac};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::binding::Binding;
use super::{Failure, LOGIN_BYTES_MAX};

/// A key of SHA-256's size.
pub type Key = [u8; 32];

/// What is stored for a login, and what makes this exchange unlike any other. Without Debug: the
/// keys are secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// How often the password is hashed.
    pub iterations: u32,
    /// What makes equal passwords different.
    pub salt: Vec<u8>,
    /// What the client's proof is compared with.
    pub stored_key: Key,
    /// What we prove by that we have the password's keys.
    pub server_key: Key,
    /// Our part of the nonce: printable, without a comma, never used before. RFC 5802 §5.1
    pub nonce: String,
}

/// Whether the client has proven that it knows the password.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// It has, of the password with this stored key.
    Right(Key),
    /// It has not.
    Wrong,
}

/// What an exchange can be bound to. RFC 5802 §6
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Channel {
    /// Nothing is offered.
    Unbound,
    /// -PLUS is offered, and the client has taken the mechanism without.
    Left,
    /// The client has taken -PLUS.
    Bound(Arc<Binding>),
}

impl Channel {
    /// What the client's final message has behind the GS2 header, by the header's flag: `n`, the
    /// client binds nothing; `y`, it would, but was not offered it; `p=`, it does. RFC 5802 §6
    fn data(&self, flag: &str) -> Result<Vec<u8>, Failure> {
        match (self, flag, flag.strip_prefix("p=")) {
            (Channel::Unbound | Channel::Left, "n", _) | (Channel::Unbound, "y", _) => {
                Ok(Vec::new())
            }
            // it was offered: somebody has taken it out of what we said
            (Channel::Left, "y", _) => Err(Failure::NotBound),
            (Channel::Bound(binding), _, Some(kind)) => {
                binding.data(kind).map(<[u8]>::to_vec).ok_or(Failure::Malformed)
            }
            _ => Err(Failure::Malformed),
        }
    }
}

/// The client's first message. RFC 5802 §7 `client-first-message`
pub(super) struct ClientFirst {
    /// Who they say they are.
    pub(super) login: String,
    /// As it came; the client's final message repeats it.
    gs2_header: String,
    /// What must be behind it there.
    binding: Vec<u8>,
    bare: String,
    nonce: String,
}

/// What was challenged.
pub(super) struct Challenged {
    first: ClientFirst,
    keys: Keys,
    server_first: String,
}

impl ClientFirst {
    pub(super) fn parse(message: &[u8], channel: &Channel) -> Result<ClientFirst, Failure> {
        let text = std::str::from_utf8(message).map_err(|_| Failure::Malformed)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Malformed);
        };
        let binding = channel.data(flag)?;
        let mut attributes = bare.split(',');
        // An extension that must be understood (`m=`) would stand before the name.
        let login = attributes.next().and_then(|a| a.strip_prefix("n=")).and_then(name);
        let nonce = attributes.next().and_then(|a| a.strip_prefix("r=")).filter(|n| is_nonce(n));
        let (Some(login), Some(nonce)) = (login, nonce) else { return Err(Failure::Malformed) };
        if !authzid.is_empty() {
            let authzid = authzid.strip_prefix("a=").and_then(name).ok_or(Failure::Malformed)?;
            if authzid != login {
                return Err(Failure::NotAuthorized);
            }
        }
        let gs2_header = text[..text.len() - bare.len()].to_owned();
        let (bare, nonce) = (bare.to_owned(), nonce.to_owned());
        Ok(ClientFirst { login, gs2_header, binding, bare, nonce })
    }

    /// The first message of the server. RFC 5802 §7 `server-first-message`
    pub(super) fn challenge(self, keys: Keys) -> (Challenged, String) {
        let (salt, iterations) = (STANDARD.encode(&keys.salt), keys.iterations);
        let server_first = format!("r={}{},s={salt},i={iterations}", self.nonce, keys.nonce);
        (Challenged { first: self, keys, server_first: server_first.clone() }, server_first)
    }
}

impl Challenged {
    /// Reads the client's final message: whose it is, whether its proof is right, and what the
    /// server's final message would be. RFC 5802 §7 `client-final-message`
    pub(super) fn prove(self, message: &[u8]) -> Result<(String, Proof, String), Failure> {
        let text = std::str::from_utf8(message).map_err(|_| Failure::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Failure::Malformed)?;
        let mut attributes = without_proof.split(',');
        let binding = attributes.next().and_then(|a| a.strip_prefix("c="));
        let binding = binding.and_then(|b| STANDARD.decode(b).ok()).ok_or(Failure::Malformed)?;
        let nonce = attributes.next().and_then(|a| a.strip_prefix("r="));
        let is_ours = nonce.and_then(|n| n.strip_prefix(self.first.nonce.as_str()))
            == Some(self.keys.nonce.as_str());
        let data = binding.strip_prefix(self.first.gs2_header.as_bytes());
        let (Some(data), true) = (data, is_ours) else { return Err(Failure::Malformed) };
        if data != self.first.binding {
            let is_bound = !self.first.binding.is_empty();
            return Err(if is_bound { Failure::NotBound } else { Failure::Malformed });
        }
        let proof: Key = STANDARD
            .decode(proof)
            .ok()
            .and_then(|proof| proof.try_into().ok())
            .ok_or(Failure::Malformed)?;
        let signed = [&self.first.bare, ",", &self.server_first, ",", without_proof].concat();
        let server_final = format!("v={}", STANDARD.encode(sign(&self.keys.server_key, &signed)));
        let proof = self.judge(proof, &signed);
        Ok((self.first.login, proof, server_final))
    }

    /// RFC 5802 §3: the proof holds the client's key, hidden by a signature that only who has the
    /// stored key can take off; and the stored key is the hash of the client's.
    fn judge(&self, proof: Key, signed: &str) -> Proof {
        let mut client_key = proof;
        let signature = sign(&self.keys.stored_key, signed);
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        let hashed = digest::digest(&digest::SHA256, &client_key);
        let stored_key = self.keys.stored_key;
        match constant_time::verify_slices_are_equal(hashed.as_ref(), &stored_key) {
            Ok(()) => Proof::Right(stored_key),
            Err(_) => Proof::Wrong,
        }
    }
}

/// A comma and an equals sign are written `=2C` and `=3D`. RFC 5802 §5.1
pub(super) fn name(text: &str) -> Option<String> {
    let mut name = String::new();
    let mut parts = text.split('=');
    name.push_str(parts.next()?);
    for part in parts {
        let (sign, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return None,
        };
        name.push(sign);
        name.push_str(rest);
    }
    ((1..=LOGIN_BYTES_MAX).contains(&name.len()) && !name.contains('\0')).then_some(name)
}

fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic())
}

fn sign(key: &Key, text: &str) -> Key {
    let mut signature = [0; 32];
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    signature.copy_from_slice(tag.as_ref());
    signature
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What RFC 7677 §3 has for "pencil".
    pub(in crate::sasl) fn pencil() -> Keys {
        let key = |text| STANDARD.decode(text).expect("base64").try_into().expect("32 bytes");
        Keys {
            iterations: 4096,
            salt: STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64"),
            stored_key: key("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="),
            server_key: key("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="),
            nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned(),
        }
    }

    const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const PROOF: &str = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn challenged(first: &str) -> Challenged {
        let first = ClientFirst::parse(first.as_bytes(), &Channel::Unbound);
        first.expect("a first message").challenge(pencil()).0
    }

    #[test]
    fn the_example_of_the_standard_is_followed() {
        let first = ClientFirst::parse(FIRST.as_bytes(), &Channel::Unbound).expect("a message");
        assert_eq!(first.login, "user");
        let (challenged, server_first) = first.challenge(pencil());
        assert_eq!(server_first, format!("r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
        let last = format!("c=biws,r={NONCE},p={PROOF}");
        let (login, proof, server_final) = challenged.prove(last.as_bytes()).expect("final");
        assert_eq!(login, "user");
        assert!(proof == Proof::Right(pencil().stored_key));
        assert_eq!(server_final, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_proof_of_something_else_is_wrong() {
        for last in [
            format!("c=biws,r={NONCE},p={}", PROOF.replace("dH", "dG")),
            // what was signed is another message
            format!("c=biws,r={NONCE},x=y,p={PROOF}"),
        ] {
            let (_, proof, _) = challenged(FIRST).prove(last.as_bytes()).expect("final");
            assert!(proof == Proof::Wrong, "{last}");
        }
    }

    #[test]
    fn a_final_message_that_does_not_belong_to_the_first_is_malformed() {
        let other = NONCE.replace("k0", "k1");
        for last in [
            format!("c=biws,r={other},p={PROOF}"),
            format!("c=biws,r={},p={PROOF}", &NONCE[..20]),
            format!("c=eSws,r={NONCE},p={PROOF}"),
            format!("c=biw,r={NONCE},p={PROOF}"),
            format!("r={NONCE},c=biws,p={PROOF}"),
            format!("c=biws,r={NONCE},p={}", &PROOF[4..]),
            format!("c=biws,r={NONCE}"),
            format!("p={PROOF}"),
            String::new(),
        ] {
            let refused = challenged(FIRST).prove(last.as_bytes()).err();
            assert_eq!(refused, Some(Failure::Malformed), "{last}");
        }
        let y = format!("c=eSws,r={NONCE},p={PROOF}");
        assert!(challenged(&FIRST.replacen('n', "y", 1)).prove(y.as_bytes()).is_ok());
    }

    fn bound() -> Channel {
        let end_point = Some(vec![9; 48].into());
        Channel::Bound(Arc::new(Binding { exporter: [8; 32], end_point }))
    }

    /// Whether a client whose exchange is over this channel gets through with this flag, and this
    /// data behind the header.
    fn outcome(channel: &Channel, flag: &str, data: &[u8]) -> Result<bool, Failure> {
        let bare = "n=user,r=rOprNGfwEbeRWgbNEkqO";
        let header = format!("{flag},,");
        let first = ClientFirst::parse(format!("{header}{bare}").as_bytes(), channel)?;
        let (challenged, server_first) = first.challenge(pencil());
        let binding = STANDARD.encode([header.as_bytes(), data].concat());
        let without_proof = format!("c={binding},r={NONCE}");
        // the client's key of "pencil", hidden by the signature. RFC 5802 §3
        let example = format!("{bare},{server_first},c=biws,r={NONCE}");
        let mut proof: Key = STANDARD.decode(PROOF).expect("base64").try_into().expect("a key");
        for signed in [example, format!("{bare},{server_first},{without_proof}")] {
            let signature = sign(&pencil().stored_key, &signed);
            proof.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        }
        let last = format!("{without_proof},p={}", STANDARD.encode(proof));
        let (_, proof, _) = challenged.prove(last.as_bytes())?;
        Ok(proof == Proof::Right(pencil().stored_key))
    }

    #[test]
    fn a_proof_counts_on_the_connection_that_it_is_bound_to_and_on_no_other() {
        assert_eq!(outcome(&bound(), "p=tls-exporter", &[8; 32]), Ok(true));
        assert_eq!(outcome(&bound(), "p=tls-server-end-point", &[9; 48]), Ok(true));
        for (flag, data) in [
            ("p=tls-exporter", &[7; 32][..]),
            ("p=tls-exporter", &[8; 31]),
            ("p=tls-exporter", &[]),
            ("p=tls-exporter", &[9; 48]),
            ("p=tls-server-end-point", &[8; 32]),
        ] {
            assert_eq!(outcome(&bound(), flag, data), Err(Failure::NotBound), "{flag}");
        }
    }

    #[test]
    fn a_kind_of_binding_that_there_is_not_is_refused() {
        for flag in ["p=tls-unique", "p=", "p", "n", "y", "p=TLS-EXPORTER"] {
            assert_eq!(outcome(&bound(), flag, &[]), Err(Failure::Malformed), "{flag}");
        }
        let of_ed25519 = Arc::new(Binding { exporter: [8; 32], end_point: None });
        let refused = outcome(&Channel::Bound(of_ed25519), "p=tls-server-end-point", &[]);
        assert_eq!(refused, Err(Failure::Malformed));
    }

    #[test]
    fn a_client_that_was_not_shown_what_is_offered_is_warned() {
        assert_eq!(outcome(&Channel::Left, "y", &[]), Err(Failure::NotBound));
        assert_eq!(outcome(&Channel::Left, "n", &[]), Ok(true));
        assert_eq!(outcome(&Channel::Unbound, "y", &[]), Ok(true));
        assert_eq!(outcome(&Channel::Unbound, "n", &[]), Ok(true));
        for channel in [Channel::Left, Channel::Unbound] {
            let refused = outcome(&channel, "p=tls-exporter", &[8; 32]);
            assert_eq!(refused, Err(Failure::Malformed));
            assert_eq!(outcome(&channel, "n", b"x"), Err(Failure::Malformed));
        }
    }

    fn first(text: &str) -> Result<String, Failure> {
        ClientFirst::parse(text.as_bytes(), &Channel::Unbound).map(|first| first.login)
    }

    #[test]
    fn a_first_message_names_a_user() {
        assert_eq!(first("n,,n=a=2Cb=3Dc,r=x"), Ok("a,b=c".to_owned()));
        assert_eq!(first("y,a=anna,n=anna,r=x,ext=1"), Ok("anna".to_owned()));
        assert_eq!(first("n,,n=größe,r=x"), Ok("größe".to_owned()));
        assert_eq!(first("n,a=ben,n=anna,r=x"), Err(Failure::NotAuthorized));
        let longest = "a".repeat(LOGIN_BYTES_MAX);
        assert_eq!(first(&format!("n,,n={longest},r=x")), Ok(longest.clone()));
        assert_eq!(first(&format!("n,,n={longest}a,r=x")), Err(Failure::Malformed));
    }

    #[test]
    fn other_first_messages_are_malformed() {
        for text in [
            "",
            "n",
            "n,,",
            "n,,n=anna",
            "n,,n=anna,r=",
            "n,,n=,r=x",
            "n,,n=a=2D,r=x",
            "n,,n=a=,r=x",
            "n,,r=x,n=anna",
            "n,,m=x,n=anna,r=x",
            "n,,n=anna,r=ü",
            "n,,n=anna,r=a b",
            "n,b=anna,n=anna,r=x",
            "p=tls-unique,,n=anna,r=x",
            "z,,n=anna,r=x",
            ",,n=anna,r=x",
        ] {
            assert_eq!(first(text), Err(Failure::Malformed), "{text}");
        }
    }
}
