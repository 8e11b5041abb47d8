//! What `[listen]` and `[tls]` mean. Opens no socket and no file.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::written::{Listen as WrittenListen, Text, Tls as WrittenTls};
use super::{Listen, Tls};
use crate::directory::findings::Findings;

/// Most addresses in one list.
pub(super) const ADDRESSES_MAX: usize = 64;

/// Where systemd puts the unit's credentials, for a `check` by hand.
const CREDENTIALS: &str = "/run/credentials/postfach.service";

const LATER: &str = "nothing is to be done; it opens with a version that can serve it";

/// Where the certificate comes from.
pub(super) fn tls(found: &mut Findings, written: Option<Spanned<WrittenTls>>) -> Tls {
    let Some(written) = written else { return Tls::Off };
    let table = written.span();
    let WrittenTls { certificate, key, self_signed } = written.into_inner();
    let self_signed = self_signed.filter(|on| *on.get_ref());
    match (certificate, key, self_signed) {
        (None, None, Some(_)) => Tls::SelfSigned,
        (Some(certificate), Some(key), None) => Tls::Files {
            certificate: reference(found, certificate.get_ref()),
            key: reference(found, key.get_ref()),
        },
        (certificate, key, Some(on)) => {
            let at = certificate.or(key).map_or(on.span(), |text| text.span());
            let remedy = "keep either self_signed = true or certificate and key";
            found.fault(at, "there are files and a self-signed certificate", remedy);
            Tls::Off
        }
        (certificate, _, None) => {
            let key = if certificate.is_some() { "key" } else { "certificate" };
            let remedy = "write certificate = \"….pem\" and key = \"….pem\", or self_signed = true";
            found.missing(table, key, remedy);
            Tls::Off
        }
    }
}

/// A file, or with `credential:NAME` what systemd hands over by LoadCredential=.
pub(super) fn reference(found: &Findings, text: &str) -> PathBuf {
    let Some(name) = text.strip_prefix("credential:") else { return found.path(text) };
    let folder = std::env::var_os("CREDENTIALS_DIRECTORY");
    folder.map_or_else(|| PathBuf::from(CREDENTIALS), PathBuf::from).join(name)
}

/// Deliberately not the password itself: a config file is read by many, copied and shown.
pub(super) fn secret(found: &mut Findings, text: &Text) -> Option<PathBuf> {
    let written = text.get_ref();
    if written.starts_with("credential:") && written.len() > "credential:".len() {
        return Some(reference(found, written));
    }
    match written.strip_prefix("file:") {
        Some(path) if !path.is_empty() => Some(found.path(path)),
        _ => {
            let remedy = "put the password into a file that only the daemon may read, and write \
                          its name here: \"file:NAME\", or \"credential:NAME\" for systemd's \
                          LoadCredential=";
            found.fault(text.span(), "a password does not stand in the config itself", remedy);
            None
        }
    }
}

/// Where the daemon listens.
pub(super) fn listen(found: &mut Findings, written: WrittenListen, tls: &Tls) -> Listen {
    let at = |list: &[Text]| list.first().map(Spanned::span);
    later(found, at(&written.http), "http: this version has no HTTP service yet");
    for (name, list) in [("imaps", &written.imaps), ("submissions", &written.submissions)] {
        if let (Tls::Off, Some(at)) = (tls, at(list)) {
            let remedy = "add [tls] with certificate and key, or with self_signed = true";
            found.fault(at, format!("{name} cannot be served without a certificate"), remedy);
        }
    }
    let mut taken = Vec::new();
    let mut list = |written: Vec<Text>| addresses(found, written, &mut taken);
    let listen = Listen {
        smtp: list(written.smtp),
        submission: list(written.submission),
        submissions: list(written.submissions),
        imap: list(written.imap),
        imaps: list(written.imaps),
        http: list(written.http),
    };
    let lists =
        [&listen.smtp, &listen.submission, &listen.submissions, &listen.imap, &listen.imaps];
    if lists.iter().all(|list| list.is_empty()) {
        let remedy = "add [listen] with smtp = [\"[::]:25\"] and imaps = [\"[::]:993\"]";
        found.warn(0..0, "the daemon listens nowhere", remedy);
    }
    listen
}

fn later(found: &mut Findings, at: Option<Range<usize>>, what: &str) {
    if let Some(at) = at {
        found.warn(at, format!("not opened: {what}"), LATER);
    }
}

fn addresses(
    found: &mut Findings,
    written: Vec<Text>,
    taken: &mut Vec<SocketAddr>,
) -> Vec<SocketAddr> {
    if let Some(text) = written.get(ADDRESSES_MAX) {
        found.fault(text.span(), "too many addresses in one list", "leave 64 of them at most");
    }
    let mut list = Vec::new();
    for text in written.into_iter().take(ADDRESSES_MAX) {
        let Ok(address) = text.get_ref().parse::<SocketAddr>() else {
            let message = format!("{:?} is not an address to listen on", text.get_ref());
            found.fault(text.span(), message, "write an IP address and a port: \"[::]:25\"");
            continue;
        };
        // port 0 asks the system for a free one, so it may stand there twice
        if address.port() != 0 && taken.contains(&address) {
            found.fault(text.span(), "this address is taken twice", "leave it in one list only");
        }
        taken.push(address);
        list.push(address);
    }
    list
}
