//! From `postfach.toml` as it is written to what is meant. Decides defaults; touches no disk.

use std::ops::Range;
use std::path::PathBuf;

use toml::Spanned;

use super::written::{Folders, Imap, Limits as WrittenLimits, Store, Submission, Text, Written};
use super::{Config, Limits, MESSAGE_BYTES_MAX, PlaintextLogin, StoreEngine, Subjects};
use super::{DEFAULT_DATA_DIR, DEFAULT_DIRECTORY};
use super::{database, dkim, network, oauth, outbound};
use crate::directory::findings::Findings;
use crate::directory::name;
use crate::directory::source::{Fault, Source};
use crate::imap::OwnCopies;
use crate::imap::capability::Capabilities;
use crate::imap::names::{INBOX, OTHER_USERS, PRIVATE, SHARED};
use crate::mail::account::FolderNames;
use crate::server::connections::{CONNECTIONS_MAX, SMTP_PER_ADDRESS_MAX, WAITING_PER_ADDRESS_MAX};
use crate::store::text::TextIndexing;

/// Smallest `limits.message_bytes_max`. RFC 5321 §4.5.3.1.7
const MESSAGE_BYTES_LEAST: i64 = 64 * 1024;
/// Largest `limits.message_bytes_max`: IMAP's sizes have 32 bits, and a message is mapped whole.
const MESSAGE_BYTES_MOST: i64 = 1024 * 1024 * 1024;
/// Largest count that `[limits]` takes.
const COUNT_MOST: i64 = 1_000_000;

/// Turns the file into its meaning, or into all its faults.
pub(super) fn check(
    source: &Source,
    written: Written,
    (faults, damaged): (Vec<Fault>, Vec<Range<usize>>),
) -> Result<Config, Vec<Fault>> {
    let mut found = Findings::new(source, faults, damaged);
    let tls = network::tls(&mut found, written.tls);
    let data_dir = path(&mut found, written.data_dir, DEFAULT_DATA_DIR);
    let config = Config {
        hostname: hostname(&mut found, written.hostname),
        dkim: dkim::keys(&mut found, written.dkim, &data_dir),
        data_dir,
        directory_path: path(&mut found, written.directory, DEFAULT_DIRECTORY),
        plaintext_without_tls: auth(&mut found, written.auth.plaintext_without_tls),
        oauth: oauth::check(&mut found, written.auth.oauth),
        listen: network::listen(&mut found, written.listen, &tls),
        tls,
        limits: limits(&mut found, written.limits),
        folder_names: folders(&mut found, written.folders),
        imap_admin: admin(&mut found, written.imap.admin.as_ref()),
        imap_disable: imap(&mut found, written.imap),
        own_copies: own_copies(&mut found, written.submission),
        store: store(&mut found, written.store),
        outbound: outbound::check(&mut found, written.outbound),
        audit_subjects: if written.audit.subjects { Subjects::Shown } else { Subjects::Hidden },
        warnings: Vec::new(),
    };
    found.finish().map(|warnings| Config { warnings, ..config })
}

fn hostname(found: &mut Findings, written: Option<Text>) -> String {
    const REMEDY: &str = "write the full name of this host: hostname = \"mail.example.org\"";
    let Some(written) = written else {
        found.missing(0..0, "hostname", REMEDY);
        return String::new();
    };
    if !name::is_domain(written.get_ref()) {
        found.fault(written.span(), format!("{:?} is not a host name", written.get_ref()), REMEDY);
    }
    written.into_inner().to_ascii_lowercase()
}

/// The directory's file by what could be read of a faulty file.
pub(super) fn directory_path(source: &Source, written: &Written) -> PathBuf {
    let found = Findings::new(source, Vec::new(), Vec::new());
    found.path(written.directory.as_ref().map_or(DEFAULT_DIRECTORY, |text| text.get_ref()))
}

fn path(found: &mut Findings, written: Option<Text>, default: &str) -> PathBuf {
    if let Some(written) = &written
        && written.get_ref().is_empty()
    {
        found.fault(written.span(), "the path is empty", "write a path, or leave the key out");
    }
    found.path(written.as_ref().map_or(default, |text| text.get_ref()))
}

fn auth(found: &mut Findings, written: Option<Text>) -> PlaintextLogin {
    let Some(written) = written else { return PlaintextLogin::Never };
    match written.get_ref().as_str() {
        "never" => return PlaintextLogin::Never,
        "loopback" => return PlaintextLogin::Loopback,
        other => found.fault(
            written.span(),
            format!("{other:?} says nothing about passwords without TLS"),
            "write \"never\" or \"loopback\"",
        ),
    }
    PlaintextLogin::Never
}

fn limits(found: &mut Findings, written: WrittenLimits) -> Limits {
    let bytes = MESSAGE_BYTES_LEAST..=MESSAGE_BYTES_MOST;
    let mut limit = |value: Option<Spanned<i64>>, range: std::ops::RangeInclusive<i64>, default| {
        let Some(value) = value else { return default };
        let number = *value.get_ref();
        if !range.contains(&number) {
            let remedy = format!("write a number from {} to {}", range.start(), range.end());
            found.fault(value.span(), format!("{number} is out of range"), &remedy);
        }
        u64::try_from(number).unwrap_or(default)
    };
    let message_bytes_max = limit(written.message_bytes_max, bytes, MESSAGE_BYTES_MAX);
    let mut count = |value, default: usize| {
        let limit = limit(value, 1..=COUNT_MOST, default as u64);
        usize::try_from(limit).unwrap_or(default)
    };
    Limits {
        message_bytes_max,
        connections_max: count(written.connections_max, CONNECTIONS_MAX),
        waiting_per_address_max: count(written.waiting_per_address_max, WAITING_PER_ADDRESS_MAX),
        smtp_per_address_max: count(written.smtp_per_address_max, SMTP_PER_ADDRESS_MAX),
    }
}

fn folders(found: &mut Findings, written: Folders) -> FolderNames {
    let mut names = FolderNames::default();
    let rows = [
        (written.drafts, &mut names.drafts),
        (written.sent, &mut names.sent),
        (written.junk, &mut names.junk),
        (written.trash, &mut names.trash),
        (written.archive, &mut names.archive),
        (written.done, &mut names.done),
        (written.assigned, &mut names.assigned),
        (written.mine, &mut names.mine),
        (written.all_open, &mut names.all_open),
    ];
    let mut spans = Vec::new();
    let mut taken = Vec::new();
    for (text, name) in rows {
        if let Some(text) = text {
            spans.push((text.span(), text.get_ref().to_lowercase()));
            folder(found, &text);
            *name = text.into_inner();
        }
        taken.push(name.to_lowercase());
    }
    for (span, name) in spans {
        if taken.iter().filter(|other| **other == name).count() > 1 {
            found.fault(span, "two folders have this name", "give each folder a name of its own");
        }
    }
    names
}

fn folder(found: &mut Findings, text: &Text) {
    let reserved = [INBOX, PRIVATE, OTHER_USERS, SHARED];
    if let Err(why) = name::check(text.get_ref()) {
        found.fault(text.span(), format!("the folder name {why}"), "choose another name");
    } else if reserved.iter().any(|r| r.eq_ignore_ascii_case(text.get_ref())) {
        let message = format!("{:?} has a meaning of its own", text.get_ref());
        found.fault(text.span(), message, "choose another name");
    }
}

/// RFC 5464 §3.2.1.1: a URI.
fn admin(found: &mut Findings, written: Option<&Text>) -> Option<String> {
    let uri = written?.get_ref();
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    if !is_scheme || !uri.bytes().all(|b| b.is_ascii_graphic()) {
        let remedy = "write one like \"mailto:postmaster@example.org\"";
        found.fault(written?.span(), format!("{uri:?} is not a URI"), remedy);
    }
    Some(uri.clone())
}

fn imap(found: &mut Findings, written: Imap) -> Vec<String> {
    let mut disabled = Vec::new();
    for text in written.disable {
        let capability = text.get_ref().to_ascii_uppercase();
        if capability.is_empty() || !capability.bytes().all(|b| b.is_ascii_graphic()) {
            let remedy = "write a name as CAPABILITY shows it: disable = [\"CONDSTORE\"]";
            found.fault(text.span(), "this is not the name of a capability", remedy);
        } else if !Capabilities::is_known(&capability) {
            let message = format!("there is no {capability} to switch off in this version");
            found.fault(text.span(), message, "correct the name, or take it out");
        }
        disabled.push(capability);
    }
    disabled
}

fn own_copies(found: &mut Findings, written: Submission) -> OwnCopies {
    let Some(written) = written.own_copies else { return OwnCopies::Keep };
    match written.get_ref().as_str() {
        "keep" => return OwnCopies::Keep,
        "leave-out" => return OwnCopies::LeaveOut,
        other => found.fault(
            written.span(),
            format!("{other:?} says nothing about the copies of sent mail"),
            "write \"keep\" or \"leave-out\"",
        ),
    }
    OwnCopies::Keep
}

fn store(found: &mut Findings, written: Store) -> StoreEngine {
    let text_index = match written.text_index {
        Some(false) => TextIndexing::Off,
        Some(true) | None => TextIndexing::On,
    };
    let embedded = StoreEngine::Embedded { text_index };
    let engine = written.engine.as_ref().map_or("embedded", |text| text.get_ref());
    let at = written.engine.as_ref().map_or(0..0, Spanned::span);
    match engine {
        "embedded" => {
            let at = |key: &Option<Text>| key.as_ref().map(Spanned::span);
            let texts = [&written.url, &written.password, &written.ca, &written.blobs];
            let keys = texts.into_iter().filter_map(at);
            for key in keys.chain(written.s3.as_ref().map(Spanned::span)) {
                let remedy = "leave it out: the embedded store keeps everything in data_dir";
                found.warn(key, "this has no meaning for engine = \"embedded\"", remedy);
            }
            embedded
        }
        "postgres" => match database::check(found, written, (at, text_index)) {
            Some(database) => StoreEngine::Postgres(Box::new(database)),
            // its faults are told
            None => embedded,
        },
        other => {
            let remedy = "write \"embedded\" or \"postgres\"";
            found.fault(at, format!("there is no store engine {other:?}"), remedy);
            embedded
        }
    }
}
