//! What `postfach.toml` may say and what it means.

use std::path::Path;

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<Config, Vec<Fault>> {
    parse(text, Path::new("/etc/postfach/postfach.toml"))
}

fn faults(text: &str) -> Vec<String> {
    match parsed(text) {
        Ok(_) => Vec::new(),
        Err(faults) => faults.iter().map(Fault::to_string).collect(),
    }
}

/// One fault, on this line, that says this.
fn refused(text: &str, place: &str, words: &str) {
    let faults = faults(text);
    let place = format!("/etc/postfach/postfach.toml:{place}: ");
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].starts_with(&place) && faults[0].contains(words), "{faults:?}");
}

#[test]
fn the_shortest_file_has_a_meaning() {
    let config = parsed("hostname = \"Mail.Example.org\"\n").expect("valid");
    assert_eq!(config.hostname, "mail.example.org");
    assert_eq!(config.data_dir, Path::new("/var/lib/postfach"));
    assert_eq!(config.directory_path, Path::new("/etc/postfach/directory.toml"));
    assert_eq!(config.tls, Tls::Off);
    assert_eq!(config.plaintext_without_tls, PlaintextLogin::Never);
    assert_eq!(config.limits.message_bytes_max, 52_428_800);
    assert_eq!(config.folder_names, FolderNames::default());
    assert_eq!(config.warnings.len(), 1, "it listens nowhere: {:?}", config.warnings);
}

/// The keys of the contract, all set.
const CONTRACT: &str = r#"
hostname = "mail.example.org"
data_dir = "data"
directory = "d/directory.toml"
[listen]
smtp = ["[::]:25", "192.0.2.1:25"]
submission = ["[::]:587"]
submissions = ["[::]:465"]
imap = ["[::]:143"]
imaps = ["[::]:993"]
http = ["127.0.0.1:8080"]
[tls]
certificate = "tls/fullchain.pem"
key = "/tls/privkey.pem"
[auth]
plaintext_without_tls = "loopback"
[limits]
message_bytes_max = 1000000
[store]
engine = "embedded"
text_index = false
[outbound]
via = "smtp://user@smarthost:587"
password = "file:secret"
[folders]
trash = "Papierkorb"
[imap]
disable = ["condstore"]
admin = "mailto:postmaster@example.org"
"#;

#[test]
fn all_keys_of_the_contract_are_accepted() {
    let config = parsed(CONTRACT).expect("valid");
    assert_eq!(config.data_dir, Path::new("/etc/postfach/data"));
    assert_eq!(config.directory_path, Path::new("/etc/postfach/d/directory.toml"));
    assert_eq!(config.listen.smtp.len(), 2);
    assert_eq!(config.listen.imaps, ["[::]:993".parse().expect("an address")]);
    let files = Tls::Files {
        certificate: "/etc/postfach/tls/fullchain.pem".into(),
        key: "/tls/privkey.pem".into(),
    };
    assert_eq!(config.tls, files);
    assert_eq!(config.plaintext_without_tls, PlaintextLogin::Loopback);
    assert_eq!(config.limits.message_bytes_max, 1_000_000);
    assert_eq!(config.folder_names.trash, "Papierkorb");
    assert_eq!(config.folder_names.sent, "Sent");
    assert_eq!(config.imap_disable, ["CONDSTORE"]);
    assert_eq!(config.store, StoreEngine::Embedded { text_index: TextIndexing::Off });
    assert_eq!(config.imap_admin.as_deref(), Some("mailto:postmaster@example.org"));
}

#[test]
fn a_credential_is_looked_for_where_systemd_puts_it() {
    let tls = "[tls]\ncertificate = \"credential:tls.crt\"\nkey = \"credential:tls.key\"\n";
    let config = parsed(&format!("hostname = \"mail.example.org\"\n{tls}")).expect("valid");
    let folder = Path::new("/run/credentials/postfach.service");
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    assert_eq!(config.tls, Tls::Files { certificate, key });
}

#[test]
fn what_is_set_but_not_built_yet_is_a_warning() {
    let warnings = parsed(CONTRACT).expect("valid").warnings;
    let told: Vec<String> = warnings.iter().map(Fault::to_string).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("postfach.toml:11:9: not opened: http"), "{told:?}");
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_file() {
    let text = "hostname = \"a b\"\n[listen]\nsmtp = [\"25\"]\nimpas = []\n\
                [store]\nengine = \"postgres\"\n[auth]\nplaintext_without_tls = true\n";
    let faults = faults(text);
    let lines: Vec<&str> = faults.iter().map(|f| f.split(':').nth(1).expect("a line")).collect();
    assert_eq!(lines, ["1", "3", "4", "6", "8"], "{faults:?}");
}

#[test]
fn each_fault_has_its_place_and_says_what_to_do() {
    let with = |rest: &str| format!("hostname = \"m.example\"\n{rest}");
    refused("", "1:1", "`hostname` is missing; write the full name");
    refused("hostname = 5", "1:12", "integer `5`");
    refused(&with("[store]\nengine = \"postgres\"\n"), "3:10", "`url` is missing");
    refused(&with("[store]\nengine = \"mysql\"\n"), "3:10", "no store engine \"mysql\"");
    refused(&with("[listen]\nimaps = [\"[::]:993\"]\n"), "3:10", "imaps cannot be served");
    let submissions = with("[listen]\nsubmissions = [\"[::]:465\"]\n");
    refused(&submissions, "3:16", "submissions cannot be served without a certificate");
    refused(&with("[listen]\nsmtp = [\"[::]:25\"]\nimap = [\"[::]:25\"]"), "4:9", "taken twice");
    refused(&with("[tls]\ncertificate = \"c\"\n"), "2:1", "`key` is missing");
    refused(&with("[tls]\nkey = \"c\"\n"), "2:1", "`certificate` is missing");
    refused(&with("[tls]\nself_signed = true\nkey = \"k\"\n"), "4:7", "keep either");
    refused(&with("[auth]\nplaintext_without_tls = \"yes\"\n"), "3:25", "\"never\" or");
    refused(&with("[limits]\nmessage_bytes_max = 65535\n"), "3:21", "from 65536 to");
    refused(&with("[folders]\nsent = \"a/b\"\n"), "3:8", "separates folders");
    refused(&with("[folders]\nsent = \"shared\"\n"), "3:8", "a meaning of its own");
    refused(&with("[folders]\nsent = \"trash\"\n"), "3:8", "two folders have this name");
    refused(&with("[imap]\ndisable = [\"\"]\n"), "3:12", "name of a capability");
    refused(&with("[imap]\nadmin = \"root\"\n"), "3:9", "is not a URI");
    refused(&with("data_dir = \"\"\n"), "2:12", "the path is empty");
    refused("hostname = \"a\n", "1:14", "invalid basic string");
}

const SIGNING: &str = "hostname = \"m\"\n[listen]\nsmtp = [\"[::]:25\"]\n";

fn dkim(domain: &str, selector: &str) -> String {
    format!("[[dkim]]\ndomain = {domain:?}\nselector = {selector:?}\n")
}

#[test]
fn a_dkim_key_is_named_or_lies_where_dkim_key_makes_it() {
    let named = "key = \"k.pem\"\n";
    let credential = "key = \"credential:dkim\"\n";
    let (one, two) = (dkim("Example.org", "A-rsa"), dkim("example.org", "b"));
    let text = format!("{SIGNING}{one}{two}{named}{}{credential}", dkim("example.org", "c"));
    let keys = parsed(&text).expect("valid").dkim;
    let known: Vec<_> = keys.iter().map(|k| (&*k.domain, &*k.selector, k.file.as_path())).collect();
    assert_eq!(
        known,
        [
            ("example.org", "a-rsa", Path::new("/var/lib/postfach/dkim/example.org.a-rsa.pem")),
            ("example.org", "b", Path::new("/etc/postfach/k.pem")),
            ("example.org", "c", Path::new("/run/credentials/postfach.service/dkim")),
        ]
    );
}

#[test]
fn faults_of_dkim_keys_have_their_places() {
    let with = |tables: &str| format!("{SIGNING}{tables}");
    let good = dkim("example.org", "s");
    refused(&with("[[dkim]]\nselector = \"s\"\n"), "4:1", "`domain` is missing");
    refused(&with("[[dkim]]\ndomain = \"a.b\"\n"), "4:1", "`selector` is missing");
    refused(&with(&dkim("a b", "s")), "5:10", "not a domain");
    refused(&with(&dkim("a.b", "s_t")), "6:12", "not a selector");
    refused(&with(&format!("{good}{}", dkim("EXAMPLE.org", "S"))), "9:12", "there twice");
    refused(&with(&format!("{good}ky = \"\"\n")), "7:1", "unknown key `ky`");
    let many = |count: u32| (0..count).map(|n| dkim("a.b", &n.to_string())).collect::<String>();
    assert!(parsed(&with(&many(4))).is_ok());
    refused(&with(&many(5)), "17:10", "too many keys");
}

#[test]
fn a_table_with_a_misspelt_key_is_not_blamed_for_what_it_lacks() {
    refused("hostname = \"m\"\n[tls]\ncertificate = \"c\"\nkye = \"k\"\n", "4:1", "unknown key");
    refused("hostnaem = \"m\"\n", "1:1", "unknown key `hostnaem`");
}

#[test]
fn limits_hold_at_their_ends_and_not_beyond() {
    let bytes = |n: i64| faults(&format!("hostname = \"m\"\n[limits]\nmessage_bytes_max = {n}\n"));
    assert!(bytes(65_536).is_empty() && bytes(1_073_741_824).is_empty());
    assert_eq!((bytes(65_535).len(), bytes(1_073_741_825).len()), (1, 1));
    let count = |n: i64| faults(&format!("hostname = \"m\"\n[limits]\nconnections_max = {n}\n"));
    assert!(count(1).is_empty() && count(1_000_000).is_empty());
    assert_eq!((count(0).len(), count(1_000_001).len(), count(-1).len()), (1, 1, 1));
    let smtp = |n: u16| {
        let list: Vec<String> = (1..=n).map(|port| format!("\"[::]:{port}\"")).collect();
        faults(&format!("hostname = \"m\"\n[listen]\nsmtp = [{}]\n", list.join(",")))
    };
    assert!(smtp(64).is_empty());
    assert_eq!(smtp(65).len(), 1);
}

#[test]
fn a_capability_that_is_not_there_cannot_be_switched_off() {
    let text = "hostname = \"m\"\n[listen]\nsmtp = [\"[::]:25\"]\n\
                [imap]\ndisable = [\"move\", \"MVOE\"]\n";
    refused(text, "5:20", "there is no MVOE");
    let sound = parsed(&text.replace("MVOE", "append-limit").replace('-', "")).expect("valid");
    assert_eq!(sound.imap_disable, ["MOVE", "APPENDLIMIT"]);
}

#[test]
fn a_file_that_is_not_there_is_a_fault() {
    let faults = load(Path::new("/nonexistent/postfach.toml")).expect_err("it is not there");
    assert_eq!(faults.len(), 1);
    assert!(faults[0].to_string().starts_with("/nonexistent/postfach.toml: the file cannot be"));
}

proptest! {
    #[test]
    fn no_line_cut_out_of_the_contract_makes_the_check_panic(
        cuts in proptest::collection::vec((0usize..700, 0usize..20), 0..5),
        junk in "\\PC{0,10}",
    ) {
        let mut text: Vec<char> = CONTRACT.chars().collect();
        for (at, length) in cuts {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, junk.chars());
        }
        let _ = parsed(&text.into_iter().collect::<String>());
    }
}
