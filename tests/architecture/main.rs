//! The rules of the code that can be read off its text: layers, sizes, references, one place for
//! each dependency, no debug output of secrets. Each test lists every breach with its place.

mod source;
mod sql;

use std::fmt::Write;
use std::fs;

use source::{Source, block_end, module_folder, read_all, split};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 100;
const MAP_LINES_MAX: usize = 90;

/// What each layer may name of the others; itself always. See src/lib.rs.
const EDGES: &[(&str, &[&str])] = &[
    ("mail", &[]),
    ("sys", &["mail"]),
    ("directory", &["mail", "sys"]),
    ("store", &["mail", "sys"]),
    ("smtp", &["mail", "sasl"]),
    ("sasl", &["mail"]),
    ("conversation", &["mail", "sys", "directory", "store"]),
    ("imap", &["mail", "sys", "directory", "store", "sasl", "conversation"]),
    (
        "delivery",
        &["mail", "sys", "directory", "store", "smtp", "sasl", "imap", "conversation", "outbound"],
    ),
    ("outbound", &["mail", "sys", "directory", "store", "smtp"]),
    ("config", EVERYTHING),
    ("admin", EVERYTHING),
    ("server", EVERYTHING),
];

const EVERYTHING: &[&str] = &[
    "mail",
    "sys",
    "directory",
    "store",
    "smtp",
    "sasl",
    "conversation",
    "imap",
    "delivery",
    "outbound",
    "config",
    "admin",
    "server",
];

/// Where each dependency may be named: a folder (with `/`) or a file.
const CRATES: &[(&str, &[&str])] = &[
    ("crc32fast", &["src/store/text_index/"]),
    ("tokio", &["src/server/", "src/main.rs", "src/store/postgres/", "src/store/objects/"]),
    ("tokio-rustls", &["src/server/", "src/store/postgres/connection.rs"]),
    ("rustls-native-certs", &["src/server/relay/trust.rs"]),
    ("rustls-pki-types", &["src/outbound/dkim/key.rs"]),
    ("hyper", &["src/server/https.rs"]),
    ("hyper-util", &["src/server/https.rs"]),
    ("http-body-util", &["src/server/https.rs"]),
    ("rcgen", &["src/server/self_signed.rs"]),
    ("mail-parser", &["src/mail/message/"]),
    ("mail-builder", &["src/admin/"]),
    ("smtp-proto", &["src/smtp/"]),
    ("rusqlite", &["src/store/embedded/"]),
    ("tokio-postgres", &["src/store/postgres/"]),
    ("deadpool-postgres", &["src/store/postgres/"]),
    ("tokio-postgres-rustls", &["src/store/postgres/"]),
    ("object_store", &["src/store/objects/"]),
    ("futures-util", &["src/store/objects/", "src/store/postgres/", "src/imap/fetch/answer.rs"]),
    (
        "blake3",
        &[
            "src/imap/object_id.rs",
            "src/server/spool.rs",
            "src/server/queue/",
            "src/server/control/answer.rs",
            "src/server/control/glass.rs",
            "src/server/login/",
            "src/store/",
            "src/delivery/",
            "src/admin/",
        ],
    ),
    ("flate2", &["src/server/deflate.rs"]),
    ("zstd", &["src/store/texts.rs"]),
    (
        "memchr",
        &["src/mail/", "src/imap/", "src/smtp/", "src/outbound/report/", "src/store/text_index/"],
    ),
    ("unicode-normalization", &["src/mail/fold.rs", "src/mail/collation.rs"]),
    ("encoding_rs", &["src/mail/fold.rs"]),
    (
        "base64",
        &[
            "src/imap/",
            "src/mail/message/binary.rs",
            "src/sasl/",
            "src/smtp/client/",
            "src/outbound/dkim/",
            "src/directory/scram.rs",
            "src/delivery/acknowledgement.rs",
            "src/server/login/oauth/introspection.rs",
        ],
    ),
    ("hickory-resolver", &["src/server/dns.rs", "src/server/dns/"]),
    (
        "serde_json",
        &[
            "src/server/control/",
            "src/server/login/oauth/",
            "src/admin/",
            "src/store/audit/entry.rs",
        ],
    ),
    ("jsonwebtoken", &["src/server/login/oauth/token.rs"]),
    ("serde", ANYWHERE),
    ("toml", &["src/config/", "src/directory/"]),
    ("clap", &["src/main.rs"]),
    // a database that was restored, a clock that is wrong, and what is damaged, are for the
    // operator to know
    (
        "tracing",
        &[
            "src/server/",
            "src/delivery/",
            "src/imap/mod.rs",
            "src/store/postgres/clock.rs",
            "src/store/postgres/restored.rs",
            "src/main.rs",
        ],
    ),
    ("tracing-subscriber", &["src/main.rs", "src/server/"]),
    ("argon2", &["src/directory/password.rs"]),
    ("password-hash", &["src/directory/password.rs"]),
    ("bcrypt", &["src/directory/password.rs"]),
    ("sha-crypt", &["src/directory/password.rs"]),
    // In tls.rs it is rustls's module of this name.
    (
        "aws-lc-rs",
        &[
            "src/sasl/binding.rs",
            "src/sasl/scram.rs",
            "src/directory/scram.rs",
            "src/outbound/dkim/",
            "src/outbound/dane.rs",
            "src/store/audit/chain.rs",
            "src/store/postgres/blobs.rs",
            "src/server/object_secret.rs",
            "src/server/tls.rs",
        ],
    ),
    ("stringprep", &["src/directory/scram.rs"]),
    ("sd-notify", &["src/server/"]),
    ("sd-listen-fds", &["src/server/inherited.rs"]),
    ("arc-swap", &["src/server/"]),
    ("postcard", &["src/store/encode.rs", "src/store/text_index/"]),
];

const ANYWHERE: &[&str] = &["src/"];

/// What of tokio is fine outside its place: no socket, no task, no timer.
const TOKIO_ANYWHERE: &str = "tokio::sync";

/// The world, which only these may touch.
const WORLD: &[(&str, &[&str])] = &[
    ("std::net::Tcp", &["src/server/", "src/main.rs", "src/admin/"]),
    ("std::net::Udp", &["src/server/"]),
    ("thread::spawn", &["src/server/", "src/main.rs"]),
    ("thread::sleep", &[]),
    ("SystemTime::now", &["src/sys/", "src/server/"]),
    (
        "Instant::now",
        &[
            "src/sys/",
            "src/server/",
            "src/store/embedded/",
            "src/store/objects/",
            "src/store/postgres/",
            "src/store/text_index/",
        ],
    ),
];

/// What no code outside of tests may hold.
const BANNED: &[&str] = &[".unwrap()", "todo!", "unimplemented!", "dbg!"];

/// How the names of types end whose values must not be printed.
const SECRET_NAMES: &[&str] = &[
    "Password",
    "PasswordHash",
    "BearerToken",
    "Secret",
    "PrivateKey",
    "Credentials",
    "Pepper",
    "Plain",
];

/// Fields that hold a secret in a type with another name.
const SECRET_FIELDS: &[&str] = &["password", "secret", "private_key", "passphrase"];

/// Types of such fields that print nothing of it; the rule above holds for themselves.
const SILENT_TYPES: &[&str] = &["PasswordHash"];

fn library() -> Vec<Source> {
    read_all(&["src"])
}

fn everything() -> Vec<Source> {
    read_all(&["src", "tests", "benches", "fuzz"])
}

fn report(rule: &str, breaches: Vec<String>) {
    let mut text = String::new();
    breaches.iter().for_each(|breach| writeln!(text, "  {breach}").expect("memory"));
    assert!(breaches.is_empty(), "{rule}:\n{text}");
}

#[test]
fn layers_name_only_what_is_below_them() {
    let mut breaches = Vec::new();
    for source in library() {
        let Some((layer, _)) = source.path["src/".len()..].split_once('/') else { continue };
        let Some((_, allowed)) = EDGES.iter().find(|(name, _)| *name == layer) else {
            breaches.push(format!("{}: the layer {layer} is not in the table", source.path));
            continue;
        };
        for at in source.words_outside_tests("crate::") {
            for named in roots(&source.code[at + "crate::".len()..]) {
                if named != layer && !allowed.contains(&named) {
                    breaches.push(format!("{}: {layer} names {named}", source.place(at)));
                }
            }
        }
        breaches.extend(escapes(&source));
    }
    report("an edge that src/lib.rs does not have", breaches);
}

/// The first names of a path or of a group of paths.
fn roots(path: &str) -> Vec<&str> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![path.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("")];
    };
    let mut depth = 0;
    let mut names = Vec::new();
    let mut start = 0;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                names.extend(roots(group[start..at].trim()).into_iter().filter(|n| !n.is_empty()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// `super::` chains that leave the layer, which `crate::` would show.
fn escapes(source: &Source) -> Vec<String> {
    let depth = module_folder(&source.path).matches('/').count();
    let chain = "super::".repeat(depth + 1);
    let found = source.words_outside_tests(&chain);
    found.map(|at| format!("{}: {chain} leaves the layer", source.place(at))).collect()
}

#[test]
fn files_functions_and_lines_are_short() {
    let mut breaches = Vec::new();
    for source in everything() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES_MAX {
            breaches.push(format!("{}: {lines} lines", source.path));
        }
        for (number, line) in source.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > LINE_COLUMNS_MAX {
                breaches.push(format!("{}:{}: {columns} columns", source.path, number + 1));
            }
        }
        for (at, lines) in functions(&source) {
            if lines > FUNCTION_LINES_MAX {
                breaches.push(format!("{}: a function of {lines} lines", source.place(at)));
            }
        }
    }
    report("too long", breaches);
}

/// Where each function starts, and its lines.
fn functions(source: &Source) -> Vec<(usize, usize)> {
    let with_body = |at: usize| {
        let mut depth = 0_usize;
        let end = source.code[at..].bytes().position(|byte| {
            match byte {
                b'(' | b'[' => depth += 1,
                b')' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && matches!(byte, b'{' | b';')
        })?;
        let open = at + end;
        (source.code.as_bytes()[open] == b'{').then_some((at, open))
    };
    let bodies = source.words("fn").filter_map(with_body);
    bodies
        .map(|(at, open)| (at, source.code[at..block_end(&source.code, open)].lines().count()))
        .collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = everything().into_iter().filter(|source| !source.text.starts_with("//!"));
    report("no `//!` at the head", silent.map(|source| source.path).collect());
    let map = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/lib.rs"));
    let lines = map.expect("src/lib.rs").lines().filter(|line| line.starts_with("//!")).count();
    assert!(lines <= MAP_LINES_MAX, "the map in src/lib.rs has {lines} lines");
}

#[test]
fn standards_are_named_in_one_form() {
    let mut breaches = Vec::new();
    for source in everything().iter().filter(|source| !source.path.contains("tests/architecture")) {
        let lower = source.comments.to_ascii_lowercase();
        for (at, _) in lower.match_indices("rfc") {
            if !is_reference_well_formed(&source.comments, at) {
                let line = source.comments[at..].lines().next().unwrap_or("");
                let shown: String = line.chars().take(30).collect();
                breaches.push(format!("{}: {shown}", source.place(at)));
            }
        }
    }
    report("not `RFC nnnn` or `RFC nnnn §x.y`", breaches);
}

/// `RFC 3501`, `RFC 3501 §6.4.5`; not a reference at all: `message/rfc822`, `RFC822.SIZE`,
/// `decode_rfc2047`, `rfc9051/7.5.1.txt`.
fn is_reference_well_formed(text: &str, at: usize) -> bool {
    let before = text[..at].chars().next_back().unwrap_or(' ');
    let after = &text[at + 3..];
    let separator = after.len() - after.trim_start_matches([' ', '-', '_', ':', '#']).len();
    let digits = after[separator..].chars().take_while(char::is_ascii_digit).count();
    let rest = &after[separator + digits..];
    let number = &after[separator..separator + digits];
    let other_word = before.is_alphanumeric() || "_/.".contains(before);
    if digits < 3 || other_word || rest.starts_with('/') || (separator == 0 && number == "822") {
        return true;
    }
    let form = text[at..].starts_with("RFC ") && separator == 1;
    let section = rest.trim_start_matches([' ', ',', ':', '(']).to_ascii_lowercase();
    let spelled = ["sections", "section", "sec.", "chapter"]
        .iter()
        .find_map(|word| section.strip_prefix(word))
        .is_some_and(|number| number.trim_start().starts_with(|c: char| c.is_ascii_digit()));
    let marked = section.starts_with('§');
    let exact = rest.strip_prefix(" §").and_then(|section| section.chars().next());
    form && !spelled && (!marked || exact.is_some_and(|first| first.is_ascii_alphanumeric()))
}

#[test]
fn references_are_told_from_other_words() {
    let good = [
        "RFC 2231 sections joined",
        "RFC 3501",
        "RFC 3501 §6.4.5",
        "RFC 5322 §A.1",
        "RFC 3501, which",
        "RFC822.SIZE",
    ];
    let bad = ["rfc 3501", "RFC-3501", "RFC3501", "RFC 3501 section 6", "RFC 3501, §6"];
    good.iter().for_each(|text| assert!(is_reference_well_formed(text, 0), "{text}"));
    bad.iter().for_each(|text| assert!(!is_reference_well_formed(text, 0), "{text}"));
}

#[test]
fn nothing_unfinished_and_no_unwrap_outside_tests() {
    let mut breaches = Vec::new();
    for source in library() {
        for word in BANNED {
            let found = source.words_outside_tests(word);
            breaches.extend(found.map(|at| format!("{}: {word}", source.place(at))));
        }
        for word in ["TODO", "FIXME", "XXX", "HACK"] {
            let found = source.comments.match_indices(word);
            breaches.extend(found.map(|(at, _)| format!("{}: {word}", source.place(at))));
        }
    }
    report("must not be there", breaches);
}

#[test]
fn each_dependency_has_a_reason_and_one_place() {
    let sources = library();
    let mut breaches = Vec::new();
    for (name, reason) in dependencies() {
        if !reason {
            breaches.push(format!("Cargo.toml: {name} has no comment above it"));
        }
        let Some((_, places)) = CRATES.iter().find(|(known, _)| *known == name) else {
            breaches.push(format!("{name} is not in the table"));
            continue;
        };
        let root = name.replace('-', "_") + "::";
        let mut used = false;
        for source in &sources {
            for at in source.words(&root).filter(|&at| !source.code[..at].ends_with("::")) {
                used = true;
                let anywhere = source.code[at..].starts_with(TOKIO_ANYWHERE) || source.is_test(at);
                if !anywhere && !is_in(&source.path, places) {
                    breaches.push(format!("{}: names {name}", source.place(at)));
                }
            }
        }
        if !used {
            breaches.push(format!("Cargo.toml: {name} is used nowhere"));
        }
    }
    report("a dependency out of its place", breaches);
}

fn is_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path == *place || (place.ends_with('/') && path.starts_with(place)))
}

/// Name of each dependency, and whether a comment stands above it or its group.
fn dependencies() -> Vec<(String, bool)> {
    let manifest = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
    let mut found = Vec::new();
    let mut section = String::new();
    let mut reason = false;
    for line in manifest.expect("Cargo.toml").lines() {
        match line.split_once('=') {
            _ if line.starts_with('[') => section = line.to_owned(),
            _ if line.starts_with('#') => reason = true,
            Some((name, _)) if section == "[dependencies]" => {
                found.push((name.trim().to_owned(), reason));
            }
            None if line.is_empty() => reason = false,
            _ => {}
        }
    }
    found
}

#[test]
fn sockets_threads_and_clocks_have_one_place() {
    let mut breaches = Vec::new();
    for source in library() {
        for (word, _) in WORLD.iter().filter(|(_, places)| !is_in(&source.path, places)) {
            let start = source.code.match_indices(word).map(|(at, _)| at);
            let found = start.filter(|&at| !source.is_test(at));
            breaches.extend(found.map(|at| format!("{}: {word}", source.place(at))));
        }
    }
    report("the world is a parameter", breaches);
}

#[test]
fn secrets_have_no_debug() {
    let mut breaches = Vec::new();
    for source in library() {
        for (at, name, body) in types_with_debug(&source) {
            let named = SECRET_NAMES.iter().any(|word| name.ends_with(word));
            let held = body.lines().find(|line| holds_secret(line));
            if named || held.is_some() {
                let what = held.map_or("", str::trim);
                breaches.push(format!("{}: {name} derives Debug {what}", source.place(at)));
            }
        }
    }
    report("a secret could be printed", breaches);
}

fn holds_secret(line: &str) -> bool {
    let line = line.trim().trim_start_matches("pub ").trim_start_matches("pub(super) ");
    let line = line.trim_start_matches("pub(crate) ");
    let Some((field, kind)) = line.split_once(": ") else { return false };
    let kind = kind.trim_end_matches(',');
    SECRET_FIELDS.contains(&field) && !SILENT_TYPES.contains(&kind)
}

/// Place, name and body of each type that derives Debug, outside of tests.
fn types_with_debug(source: &Source) -> Vec<(usize, &str, &str)> {
    let mut found = Vec::new();
    for at in source.words_outside_tests("#[derive(") {
        let rest = &source.code[at..];
        let (derived, after) = rest.split_once(")]").unwrap_or((rest, ""));
        if !derived.split(['(', ',']).any(|name| name.trim() == "Debug") {
            continue;
        }
        let Some(keyword) = ["struct ", "enum "].iter().filter_map(|k| after.find(k)).min() else {
            continue;
        };
        let name = after[keyword..].split([' ', '(', '<', '{', ';']).nth(1).unwrap_or("");
        let open = after[keyword..].find(['{', ';']).map_or(after.len(), |open| keyword + open);
        let end = if after[open..].starts_with('{') { block_end(after, open) } else { open };
        found.push((at, name, &after[keyword..end]));
    }
    found
}

#[test]
fn comments_strings_and_tests_are_told_apart() {
    let text = "a(\"b{\") // c\n'{' 'x: &'static str; r#\"d\"e\"# /* f */ g '\\'' h";
    let (code, comments) = split(text);
    assert_eq!(code.len(), text.len());
    for kept in ["a(", "'x: &'static str;", "g", "h"] {
        assert!(code.contains(kept), "{kept} in {code}");
    }
    for blanked in ["b", "c\n", "{", "d", "f"] {
        assert!(!code.contains(blanked), "{blanked} in {code}");
    }
    assert!(comments.contains("// c") && comments.contains("f") && !comments.contains('b'));
}
