//! Where the PostgreSQL engine keeps message bytes: `[store] blobs` and `[store.s3]`. Opens no
//! socket and no file.

use std::net::IpAddr;
use std::path::PathBuf;

use toml::Spanned;

use super::network;
use super::written::{S3 as Written, Text};
use crate::directory::findings::Findings;
use crate::directory::source::Place;
use crate::store::objects::Transport;

/// Longest prefix: with the name of an object it must stay below S3's 1,024 bytes.
const PREFIX_BYTES_MAX: usize = 512;
/// Longest name of a key and of a region.
const NAME_BYTES_MAX: usize = 256;

const REMEDY: &str = "write \"database\" or \"s3://bucket/prefix\"";

/// Where message bytes are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Blobs {
    /// In a table.
    Database,
    /// In a bucket.
    Bucket(Box<Bucket>),
}

/// A bucket of an S3-compatible store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bucket {
    /// Its name.
    pub bucket: String,
    /// What the names of all objects begin with; may be empty.
    pub prefix: String,
    /// The server's URL; `None`: Amazon's.
    pub endpoint: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Who we are; `None`: as AWS_* variables or the machine's role say.
    pub keys: Option<BucketKeys>,
    /// An authority that is trusted beside the system's, and where it is named.
    pub ca: Option<(PathBuf, Place)>,
    /// Whether the endpoint may be without TLS.
    pub transport: Transport,
    /// Where the bucket is named.
    pub place: Place,
}

/// The name of a key, and the file that holds its secret.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BucketKeys {
    /// As the store has it.
    pub access_key: String,
    /// Where its secret is; only the first line counts.
    pub secret_path: PathBuf,
    /// Where this is named.
    pub secret_place: Place,
}

/// What the two say together.
pub(super) fn check(
    found: &mut Findings,
    blobs: Option<&Text>,
    s3: Option<Spanned<Written>>,
) -> Blobs {
    let named = match blobs.map(|text| (text, text.get_ref().as_str())) {
        None | Some((_, "database")) => None,
        Some((text, url)) => match url.strip_prefix("s3://") {
            Some(rest) => Some((text, rest)),
            None => {
                let message = format!("{url:?} is no place for messages");
                found.fault(text.span(), message, REMEDY);
                return Blobs::Database;
            }
        },
    };
    match named {
        Some((text, rest)) => Blobs::Bucket(Box::new(bucket(found, (text, rest), s3))),
        None => {
            if let Some(table) = s3 {
                let remedy = "write blobs = \"s3://bucket/prefix\", or take the table out";
                found.warn(table.span(), "messages are not kept in a bucket", remedy);
            }
            Blobs::Database
        }
    }
}

fn bucket(
    found: &mut Findings,
    (text, rest): (&Text, &str),
    s3: Option<Spanned<Written>>,
) -> Bucket {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.trim_end_matches('/');
    if !is_bucket(bucket) {
        let message = format!("{bucket:?} is not the name of a bucket");
        found.fault(text.span(), message, REMEDY);
    } else if !is_prefix(prefix) {
        let message = format!("{prefix:?} cannot stand before the names of objects");
        let remedy = "write words of letters, digits, dot, dash and underscore, with / between";
        found.fault(text.span(), message, remedy);
    }
    let at = s3.as_ref().map_or(text.span(), Spanned::span);
    let mut s3 = s3.map(Spanned::into_inner).unwrap_or_default();
    let allowed = s3.allow_http.as_ref().is_some_and(|allow| *allow.get_ref());
    let endpoint = s3.endpoint.take();
    let transport = endpoint
        .as_ref()
        .map_or(Transport::Https, |endpoint| self::endpoint(found, endpoint, allowed));
    let endpoint = endpoint.map(|text| text.get_ref().trim_end_matches('/').to_owned());
    Bucket {
        bucket: bucket.to_owned(),
        prefix: prefix.to_owned(),
        endpoint,
        region: s3.region.take().map(|text| name(found, text)),
        ca: s3
            .ca
            .take()
            .map(|text| (network::reference(found, text.get_ref()), found.place(text.span()))),
        keys: keys(found, at, s3),
        transport,
        place: found.place(text.span()),
    }
}

/// Of letters, digits and what stands in names of hosts, as all servers of this kind take it.
fn is_bucket(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(plain) && name.bytes().last().is_some_and(plain);
    (3..=63).contains(&name.len()) && ends && name.bytes().all(|b| plain(b) || b".-".contains(&b))
}

fn is_prefix(prefix: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let is_word = |word: &str| !matches!(word, "" | "." | "..") && word.bytes().all(plain);
    prefix.is_empty() || prefix.len() <= PREFIX_BYTES_MAX && prefix.split('/').all(is_word)
}

/// A URL without a path; in clear only to this machine, unless somebody says otherwise.
fn endpoint(found: &mut Findings, text: &Text, allowed: bool) -> Transport {
    let url = text.get_ref().trim_end_matches('/');
    let (transport, server) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(server), _) => (Transport::Https, server),
        (_, Some(server)) => (Transport::HttpAllowed, server),
        _ => (Transport::Https, ""),
    };
    let Some(host) = host(server) else {
        let remedy = "write one like \"https://s3.example.org\" or \"https://[::1]:9000\"";
        let message = format!("{:?} is not the URL of a server", text.get_ref());
        found.fault(text.span(), message, remedy);
        return transport;
    };
    let on_this_machine =
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if transport == Transport::HttpAllowed && !allowed && !on_this_machine {
        let remedy = "write https://; or allow_http = true, where everybody on the way may read \
                      all mail";
        found.fault(text.span(), "mail would travel in clear", remedy);
    }
    transport
}

/// The host of `host`, `host:port` or `[address]:port`.
fn host(server: &str) -> Option<&str> {
    let (host, port) = match server.strip_prefix('[') {
        Some(rest) => {
            let (address, rest) = rest.split_once(']')?;
            address.parse::<IpAddr>().ok()?;
            (address, rest.strip_prefix(':').or(rest.is_empty().then_some("443"))?)
        }
        None => server.split_once(':').unwrap_or((server, "443")),
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b".:-".contains(&b);
    let good = !host.is_empty() && host.bytes().all(plain);
    (good && port.parse::<u16>().is_ok_and(|port| port != 0)).then_some(host)
}

fn keys(found: &mut Findings, at: std::ops::Range<usize>, s3: Written) -> Option<BucketKeys> {
    match (s3.access_key, s3.secret_key) {
        (Some(access_key), Some(secret)) => Some(BucketKeys {
            access_key: name(found, access_key),
            secret_place: found.place(secret.span()),
            secret_path: network::secret(found, &secret)?,
        }),
        (None, None) => None,
        (Some(_), None) => {
            let remedy = "add secret_key = \"file:s3.secret\", or \"credential:NAME\"";
            found.missing(at, "secret_key", remedy);
            None
        }
        (None, Some(_)) => {
            found.missing(at, "access_key", "add access_key = \"…\", the name of the key");
            None
        }
    }
}

fn name(found: &mut Findings, text: Text) -> String {
    let value = text.get_ref();
    let good =
        (1..=NAME_BYTES_MAX).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
    if !good {
        found.fault(text.span(), "this is no name", "write what the store has for it");
    }
    text.into_inner()
}

#[cfg(test)]
#[path = "blobs_tests.rs"]
mod tests;
