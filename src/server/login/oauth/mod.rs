//! Who holds a token of `[auth.oauth]`'s issuer: verified here by the issuer's keys, or shown to
//! the issuer. Knows no directory: whether the name that a token has is a user's is decided where
//! passwords are. RFC 7628, RFC 7519, RFC 7662
//!
//! A token counts when it is shown. Deliberately not: that a session ends with its token. Programs
//! keep connections for days, and none of them would understand why; whoever is no longer to be let
//! in is taken out of the directory, which ends their sessions at once.

mod introspection;
mod keys;
#[cfg(test)]
mod tests;
mod token;
mod web;

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Fault, Introspection, Judge, Oauth};
use crate::directory::source::Place;
use crate::sasl::bearer::BearerToken;
use crate::server::{outgoing, relay};
use crate::sys::Clock;
use crate::sys::repeated::Repeated;
use introspection::Endpoint;
use keys::{Keys, Source};
use token::{Head, PublicKey};
use web::Web;

/// Verifies tokens.
pub struct Tokens {
    oauth: Oauth,
    verifier: Verifier,
    clock: Arc<dyn Clock>,
}

enum Verifier {
    Keys(Arc<Keys>),
    Introspection(Endpoint),
}

/// What is to be thought of a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The issuer says that who holds it is the user with this name.
    Genuine(String),
    /// It does not count; why, for the log.
    Refused(token::Why),
    /// The issuer, whose word is needed, cannot be reached.
    Unknown,
}

impl Tokens {
    /// Reads the files that the table names. Asks nobody yet.
    pub fn load(oauth: &Oauth, clock: Arc<dyn Clock>) -> Result<Tokens, Vec<Fault>> {
        let authorities = oauth.ca.as_ref().map(|(path, _)| path.as_path());
        let tls = relay::verified(authorities).map_err(|fault| {
            let remedy = "name a PEM file with the certificate of an authority";
            let place = oauth.ca.as_ref().map_or(&oauth.place, |(_, place)| place);
            vec![place.fault(fault.to_string(), remedy)]
        })?;
        let web = Arc::new(Web::new(tls));
        let keys = |source| Keys::new(source, web.clone(), clock.clone());
        let verifier = match &oauth.judge {
            Judge::KeyFile(path, place) => {
                let found = file(path, place)?;
                Verifier::Keys(Arc::new(keys(Source::File(path.clone())).of(found)))
            }
            Judge::Keys(url) => Verifier::Keys(Arc::new(keys(Source::Served(url.clone())))),
            Judge::Discovery(url) => {
                let source = Source::Discovered(url.clone(), oauth.issuer.clone());
                Verifier::Keys(Arc::new(keys(source)))
            }
            Judge::Introspection(asked) => Verifier::Introspection(endpoint(asked, web)?),
        };
        Ok(Tokens { oauth: oauth.clone(), verifier, clock })
    }

    /// Fetches the issuer's keys before anybody waits for them.
    pub fn warm(&self) {
        if let Verifier::Keys(keys) = &self.verifier {
            let keys = keys.clone();
            tokio::spawn(async move { keys.refresh().await });
        }
    }

    /// Whose the token is.
    pub(super) async fn verdict(&self, token: &BearerToken) -> Verdict {
        let named = match &self.verifier {
            Verifier::Keys(keys) => self.signed(keys, token).await,
            Verifier::Introspection(endpoint) => match endpoint.claims(token).await {
                Ok(Some(claims)) => token::named(&self.oauth, &claims, self.clock.now()),
                Ok(None) => Err("its issuer says that it is not active"),
                Err(error) => {
                    static MUTE: Repeated = Repeated::new();
                    if let Some(unsaid) = MUTE.due(error.to_string()) {
                        tracing::warn!(%error, unsaid, "tokens cannot be shown to their issuer");
                    }
                    return Verdict::Unknown;
                }
            },
        };
        match named {
            Ok(name) => Verdict::Genuine(name),
            Err(UNKNOWN) => Verdict::Unknown,
            Err(why) => Verdict::Refused(why),
        }
    }

    async fn signed(&self, keys: &Arc<Keys>, token: &BearerToken) -> Result<String, token::Why> {
        let head = Head::read(&token.0)?;
        let present = keys.for_head(&head).await.ok_or(UNKNOWN)?;
        let claims = match head.claims(&token.0, &present) {
            // which key is missing can only be told by trying
            Err(_) if head.names_no_key() => {
                keys.refresh().await;
                head.claims(&token.0, &keys.present())?
            }
            claims => claims?,
        };
        token::signed(&self.oauth, &claims, self.clock.now())
    }
}

/// No refusal: there are no keys at all.
const UNKNOWN: token::Why = "there are no keys";

fn file(path: &Path, place: &Place) -> Result<Vec<PublicKey>, Vec<Fault>> {
    let read = keys::read(path).and_then(|json| token::read_keys(&json).map_err(io::Error::other));
    read.map_err(|error| {
        let message = format!("{}: {error}", path.display());
        vec![place.fault(message, "put the JWK set there that the issuer serves")]
    })
}

fn endpoint(asked: &Introspection, web: Arc<Web>) -> Result<Endpoint, Vec<Fault>> {
    let Introspection { url, client_id, secret_path, secret_place } = asked;
    let secret = outgoing::password(secret_path).map_err(|error| {
        let message = format!("{}: {error}", secret_path.display());
        let remedy =
            "put the secret on the first line of this file, readable for the daemon's user";
        vec![secret_place.fault(message, remedy)]
    })?;
    let authorization = introspection::authorization(client_id, &secret);
    Ok(Endpoint { url: url.clone(), authorization, web })
}
