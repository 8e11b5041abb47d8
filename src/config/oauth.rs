//! What `[auth.oauth]` means: who verifies tokens, and what of them is a login. Opens no socket and
//! no file.

use std::path::PathBuf;

use toml::Spanned;

use super::network;
use super::written::{Oauth as Written, Text};
use crate::directory::findings::Findings;
use crate::directory::source::Place;
use crate::server::https::Url;

/// `login_claim` when the file does not say.
const LOGIN_CLAIM: &str = "preferred_username";
/// Where an issuer says where its keys are, behind its own URL. OpenID Connect Discovery 1.0 §4
const DISCOVERY_PATH: &str = "/.well-known/openid-configuration";
/// Longest `audience`, `login_claim` and `client_id` in bytes.
const NAME_BYTES_MAX: usize = 1024;

/// `[auth.oauth]`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Oauth {
    /// Who makes the tokens; compared character by character.
    pub issuer: String,
    /// For whom the tokens must be.
    pub audience: String,
    /// The claim whose value is a login, or one of a user's own addresses.
    pub login_claim: String,
    /// Who says whether a token is good.
    pub judge: Judge,
    /// A certificate authority that is trusted beside the system's, and where it is named.
    pub ca: Option<(PathBuf, Place)>,
    /// Where the table is.
    pub place: Place,
}

/// Who says whether a token is good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judge {
    /// We do, by keys in this file.
    KeyFile(PathBuf, Place),
    /// We do, by keys that are served here.
    Keys(Url),
    /// We do, by keys whose place is told here.
    Discovery(Url),
    /// The issuer does, each time. RFC 7662
    Introspection(Introspection),
}

/// Where tokens are shown to their issuer, and who we are there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Introspection {
    /// The endpoint.
    pub url: Url,
    /// Our name.
    pub client_id: String,
    /// Where our password is; only its first line counts.
    pub secret_path: PathBuf,
    /// Where this is named.
    pub secret_place: Place,
}

/// Nothing without the table.
pub(super) fn check(found: &mut Findings, written: Option<Spanned<Written>>) -> Option<Oauth> {
    let written = written?;
    let table = written.span();
    let mut written = written.into_inner();
    let issuer = written.issuer.take();
    if issuer.is_none() {
        let remedy = "write the URL that stands as `iss` in its tokens: issuer = \"https://…\"";
        found.missing(table.clone(), "issuer", remedy);
    }
    let audience = written.audience.take();
    if audience.is_none() {
        let remedy = "write what stands as `aud` in tokens that are for this server, so that \
                      those for other services are refused";
        found.missing(table.clone(), "audience", remedy);
    }
    let audience = audience.map(|text| name(found, text));
    let claim = written.login_claim.take();
    let login_claim = claim.map_or(LOGIN_CLAIM.to_owned(), |claim| name(found, claim));
    let ca = written
        .ca
        .take()
        .map(|text| (network::reference(found, text.get_ref()), found.place(text.span())));
    let discovery = issuer.as_ref().and_then(|text| discovery(found, text));
    Some(Oauth {
        judge: judge(found, written, discovery)?,
        issuer: issuer.map(Spanned::into_inner)?,
        audience: audience?,
        login_claim,
        ca,
        place: found.place(table),
    })
}

fn discovery(found: &mut Findings, issuer: &Text) -> Option<Url> {
    const REMEDY: &str = "write the issuer as its tokens have it: \"https://login.example.org\"";
    let whole = url(found, issuer, REMEDY);
    let text = format!("{}{DISCOVERY_PATH}", issuer.get_ref().trim_end_matches('/'));
    whole.and_then(|_| Url::parse(&text).ok())
}

fn judge(found: &mut Findings, written: Written, discovery: Option<Url>) -> Option<Judge> {
    let Written { jwks, introspection, client_id, client_secret, .. } = written;
    let Some(introspection) = introspection else {
        for unused in [client_id, client_secret].into_iter().flatten() {
            let remedy = "leave it out, or write introspection = \"https://…\"";
            found.fault(unused.span(), "nobody is asked who would want to know it", remedy);
        }
        return match jwks {
            None => discovery.map(Judge::Discovery),
            Some(text) => keys(found, &text),
        };
    };
    if let Some(jwks) = jwks {
        let remedy = "keep either jwks or introspection";
        found.fault(jwks.span(), "with introspection we need no keys", remedy);
    }
    const REMEDY: &str = "write introspection = \"https://login.example.org/introspect\"";
    let at = introspection.span();
    let url = url(found, &introspection, REMEDY);
    if client_id.is_none() {
        let remedy = "write the name by which the issuer knows this server";
        found.lacking(at.clone(), "`client_id` is missing", remedy);
    }
    let client_id = client_id.map(|text| name(found, text));
    let Some(secret) = client_secret else {
        let remedy = "add client_secret = \"file:oauth.secret\", or \"credential:NAME\"";
        found.lacking(at, "`client_secret` is missing", remedy);
        return None;
    };
    let (secret_path, secret_place) =
        (network::secret(found, &secret)?, found.place(secret.span()));
    let (url, client_id) = (url?, client_id?);
    Some(Judge::Introspection(Introspection { url, client_id, secret_path, secret_place }))
}

fn keys(found: &mut Findings, text: &Text) -> Option<Judge> {
    const REMEDY: &str = "write jwks = \"https://…\", \"file:keys.json\", or leave it out: then \
                          the issuer is asked where its keys are";
    match text.get_ref().strip_prefix("file:") {
        Some(path) if !path.is_empty() => {
            Some(Judge::KeyFile(found.path(path), found.place(text.span())))
        }
        _ => url(found, text, REMEDY).map(Judge::Keys),
    }
}

fn url(found: &mut Findings, text: &Text, remedy: &str) -> Option<Url> {
    let url = Url::parse(text.get_ref());
    url.map_err(|why| found.fault(text.span(), format!("{:?} {why}", text.get_ref()), remedy)).ok()
}

fn name(found: &mut Findings, text: Text) -> String {
    if !(1..=NAME_BYTES_MAX).contains(&text.get_ref().len()) {
        let message = "this is empty, or longer than 1024 bytes";
        found.fault(text.span(), message, "write what the identity provider has for it");
    }
    text.into_inner()
}

#[cfg(test)]
#[path = "oauth_tests.rs"]
mod tests;
