//! Signed tokens and the keys that their signatures are checked with. Pure: keys and time come in
//! as arguments. RFC 7519 (JWT), RFC 7515 (JWS), RFC 7517 (JWK), RFC 8725

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::config::Oauth;
use crate::mail::id::Timestamp;

/// By how much the clocks of the issuer and this host may differ.
pub(super) const LEEWAY_SECS: i64 = 60;
/// Most keys of an issuer; of more, the first ones count.
pub(super) const KEYS_MAX: usize = 64;

/// Why a token is refused, for the log: holds nothing of the token.
pub(super) type Why = &'static str;

/// What an issuer says.
pub(super) type Claims = Map<String, Value>;

/// A public key of the issuer.
pub(super) struct PublicKey {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// By which key a token says that it is signed, and how.
pub(super) struct Head {
    algorithm: Algorithm,
    key_id: Option<String>,
}

/// A key as it is served. RFC 7517 §4
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Value>,
}

/// Reads a set of keys. Those of a kind that we cannot use are passed over; a set without any other
/// is none. RFC 7517 §5
pub(super) fn read_keys(json: &[u8]) -> Result<Vec<PublicKey>, Why> {
    let set: JwkSet = serde_json::from_slice(json).map_err(|_| "this is no JWK set")?;
    let jwk = |key: Value| serde_json::from_value::<Jwk>(key).ok();
    let keys = set.keys.into_iter().filter_map(jwk).filter_map(PublicKey::new);
    let keys: Vec<PublicKey> = keys.take(KEYS_MAX).collect();
    if keys.is_empty() {
        return Err("there is no key for RS256, PS256, ES256 or EdDSA in this JWK set");
    }
    Ok(keys)
}

impl PublicKey {
    fn new(jwk: Jwk) -> Option<PublicKey> {
        if jwk.r#use.is_some_and(|r#use| r#use != "sig") {
            return None;
        }
        let (mut algorithms, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => (
                vec![Algorithm::RS256, Algorithm::PS256],
                DecodingKey::from_rsa_components(&jwk.n?, &jwk.e?),
            ),
            ("EC", Some("P-256")) => {
                (vec![Algorithm::ES256], DecodingKey::from_ec_components(&jwk.x?, &jwk.y?))
            }
            ("OKP", Some("Ed25519")) => {
                (vec![Algorithm::EdDSA], DecodingKey::from_ed_components(&jwk.x?))
            }
            _ => return None,
        };
        if let Some(alg) = jwk.alg {
            algorithms.retain(|algorithm| alg == format!("{algorithm:?}"));
        }
        let key = key.ok().filter(|_| !algorithms.is_empty())?;
        Some(PublicKey { id: jwk.kid, algorithms, key })
    }

    /// Whether a token with this head may be signed by it. A token that names no key may be signed
    /// by any.
    pub(super) fn fits(&self, head: &Head) -> bool {
        let is_named = head.key_id.is_none() || head.key_id == self.id;
        is_named && self.algorithms.contains(&head.algorithm)
    }
}

impl Head {
    /// Reads the head of a token. Which signatures count is decided here, not by the token: neither
    /// none nor one that a public key could make. RFC 8725 §3.1
    pub(super) fn read(token: &str) -> Result<Head, Why> {
        let head =
            decode_header(token).map_err(|_| "it is no token with a signature that counts")?;
        let counts = [Algorithm::RS256, Algorithm::PS256, Algorithm::ES256, Algorithm::EdDSA];
        if !counts.contains(&head.alg) {
            return Err("its signature is of a kind that does not count");
        }
        // RFC 7515 §4.1.11: there is nothing beyond the standard that we understand
        if head.crit.is_some() {
            return Err("it wants something understood that is not");
        }
        Ok(Head { algorithm: head.alg, key_id: head.kid })
    }

    /// Whether any key may have signed it.
    pub(super) fn names_no_key(&self) -> bool {
        self.key_id.is_none()
    }

    /// What a token says that one of these keys has signed.
    pub(super) fn claims(&self, token: &str, keys: &[PublicKey]) -> Result<Claims, Why> {
        let mut validation = Validation::new(self.algorithm);
        // claims are looked at afterwards, by our own clock
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let mut fitting = keys.iter().filter(|key| key.fits(self)).peekable();
        if fitting.peek().is_none() {
            return Err("it is signed by a key that the issuer does not have");
        }
        fitting
            .find_map(|key| decode::<Claims>(token, &key.key, &validation).ok())
            .map(|token| token.claims)
            .ok_or("its signature is wrong")
    }
}

/// Whom a token that we have verified ourselves names: it must say who made it, and when it ends.
pub(super) fn signed(oauth: &Oauth, claims: &Claims, now: Timestamp) -> Result<String, Why> {
    if !claims.contains_key("iss") || !claims.contains_key("exp") {
        return Err("it does not say who made it, or when it ends");
    }
    named(oauth, claims, now)
}

/// Whom a token names that is for us and counts now. RFC 7519 §4.1
pub(super) fn named(oauth: &Oauth, claims: &Claims, now: Timestamp) -> Result<String, Why> {
    if claims.get("iss").is_some_and(|issuer| *issuer != oauth.issuer.as_str()) {
        return Err("it is from another issuer");
    }
    let is_for_us = match claims.get("aud") {
        Some(Value::Array(all)) => all.iter().any(|one| *one == oauth.audience.as_str()),
        Some(one) => *one == oauth.audience.as_str(),
        None => false,
    };
    if !is_for_us {
        return Err("it is for another audience");
    }
    let now = now.seconds() as f64;
    let leeway = LEEWAY_SECS as f64;
    let time =
        |name| claims.get(name).map(|time| time.as_f64().ok_or("it has times that are none"));
    if time("exp").transpose()?.is_some_and(|end| now >= end + leeway) {
        return Err("it has expired");
    }
    if time("nbf").transpose()?.is_some_and(|start| now < start - leeway) {
        return Err("it is not valid yet");
    }
    // an address that anybody could have claimed
    if oauth.login_claim == "email" && claims.get("email_verified") == Some(&Value::Bool(false)) {
        return Err("its address has not been verified");
    }
    let name = claims.get(&oauth.login_claim).and_then(Value::as_str);
    name.map(str::to_owned).ok_or("it lacks the claim that names a login")
}
