//! Shows a token to its issuer and reads what it says of it, each time anew: what was revoked there
//! counts here no longer. RFC 7662

use std::io;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::token::Claims;
use super::web::Web;
use crate::sasl::bearer::BearerToken;
use crate::server::https::{Form, Url};

/// Longest answer.
pub(super) const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The endpoint, and who we are there; without Debug.
pub(super) struct Endpoint {
    pub(super) url: Url,
    /// Ready to be sent: a secret.
    pub(super) authorization: String,
    pub(super) web: Arc<Web>,
}

/// Name and password as they are sent. RFC 6749 §2.3.1
pub(super) fn authorization(client_id: &str, secret: &str) -> String {
    let both = format!("{}:{}", encoded(client_id), encoded(secret));
    format!("Basic {}", STANDARD.encode(both))
}

impl Endpoint {
    /// What the issuer says of a token that is active. RFC 7662 §2.2
    pub(super) async fn claims(&self, token: &BearerToken) -> io::Result<Option<Claims>> {
        let body = format!("token={}&token_type_hint=access_token", encoded(&token.0));
        let form = Form { authorization: self.authorization.clone(), body };
        let json = self.web.text(&self.url, Some(form), ANSWER_BYTES_MAX).await?;
        let claims: Claims =
            serde_json::from_slice(&json).map_err(|_| io::Error::other("the answer is no JSON"))?;
        match claims.get("active") {
            Some(Value::Bool(true)) => Ok(Some(claims)),
            Some(Value::Bool(false)) => Ok(None),
            _ => Err(io::Error::other("the answer does not say whether the token is active")),
        }
    }
}

/// For `application/x-www-form-urlencoded`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_secrets_are_encoded_before_they_are_joined() {
        assert_eq!(encoded("a:b c+d/ü=&~"), "a%3Ab%20c%2Bd%2F%C3%BC%3D%26~");
        assert_eq!(
            authorization("a:b", "c d"),
            format!("Basic {}", STANDARD.encode("a%3Ab:c%20d"))
        );
    }
}
