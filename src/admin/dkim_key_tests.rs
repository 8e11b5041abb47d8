//! What `dkim-key` makes and says.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::admin::check;
use crate::admin::check::tests::Scratch;

const CONFIG: &str = "hostname = \"m\"\ndata_dir = \"data\"\ndirectory = \"d.toml\"\n\
                      [listen]\nsmtp = [\"[::]:25\"]\n";
const DIRECTORY: &str = "[[domain]]\nname = \"example.org\"\n[[domain]]\nname = \"example.net\"\n";

fn scratch(name: &str) -> Scratch {
    let scratch = Scratch::new(name, &[("p.toml", CONFIG), ("d.toml", DIRECTORY)]);
    fs::create_dir(scratch.file("data")).expect("a folder");
    scratch
}

fn made(scratch: &Scratch, domain: &str, selector: Option<&str>) -> (Outcome, String) {
    let mut out = Vec::new();
    let options = Options { domain: domain.to_owned(), selector: selector.map(str::to_owned) };
    let outcome = report(&scratch.file("p.toml"), &options, &mut out).expect("memory");
    (outcome, String::from_utf8(out).expect("text"))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it exists").permissions().mode() & 0o777
}

#[test]
fn both_keys_are_made_secret_and_never_overwritten() {
    let scratch = scratch("dkim-made");
    let (outcome, first) = made(&scratch, "Example.org", Some("2026A"));
    assert_eq!(outcome, Outcome::Done, "{first}");
    let folder = scratch.file("data/dkim");
    let files = ["example.org.2026a-rsa.pem", "example.org.2026a-ed25519.pem"];
    let pem = |file: &str| fs::read(folder.join(file)).expect("it is there");
    let keys = files.map(pem);
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 2);
    assert_eq!(mode(&folder), 0o700);
    assert!(files.iter().all(|file| mode(&folder.join(file)) == 0o600));
    let (outcome, again) = made(&scratch, "example.org", Some("2026a"));
    assert_eq!(outcome, Outcome::Done);
    assert_eq!(again, first.replace("Made ", "Kept, for it was there: "));
    assert_eq!(files.map(pem), keys);
    made(&scratch, "example.org", Some("2027"));
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 4);
}

#[test]
fn the_records_are_split_as_a_zone_file_needs_it() {
    let scratch = scratch("dkim-records");
    let (_, text) = made(&scratch, "example.org", Some("s"));
    assert!(text.contains("\ns-rsa._domainkey.example.org. IN TXT ( \"v=DKIM1; k=rsa; p="));
    let short = "\ns-ed25519._domainkey.example.org. IN TXT ( \"v=DKIM1; k=ed25519; p=";
    assert!(text.contains(short), "{text}");
    assert!(text.contains("\ndig +short TXT s-ed25519._domainkey.example.org\n"), "{text}");
    let strings: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
    assert!(strings.iter().all(|string| string.len() <= TXT_STRING_BYTES_MAX));
    let pem = fs::read(scratch.file("data/dkim/example.org.s-rsa.pem")).expect("it is there");
    let record = KeyPair::from_pem(&pem).ok().and_then(|pair| pair.record().ok());
    assert_eq!(strings[..2].concat(), record.expect("public"));
}

#[test]
fn a_string_at_the_limit_stays_whole_and_one_byte_more_is_split() {
    let longest = "x".repeat(TXT_STRING_BYTES_MAX);
    assert_eq!(txt("n", &longest), format!("n. IN TXT ( \"{longest}\" )"));
    let longer = format!("{longest}y");
    assert_eq!(txt("n", &longer), format!("n. IN TXT ( \"{longest}\"\n    \"y\" )"));
}

#[test]
fn the_lines_that_it_prints_are_a_valid_config_and_check_shows_who_signs() {
    let scratch = scratch("dkim-lines");
    let (_, text) = made(&scratch, "example.org", Some("s"));
    let lines = &text[text.find("[[dkim]]").expect("the lines")..];
    let config = format!("{CONFIG}{lines}");
    fs::write(scratch.file("p.toml"), &config).expect("written");
    let mut out = Vec::new();
    let outcome = check::report(&scratch.file("p.toml"), &mut out).expect("memory");
    let checked = String::from_utf8(out).expect("text");
    assert_eq!(outcome, Outcome::Done, "{checked}");
    let signs = "example.org signs with s-rsa (rsa-sha256), s-ed25519 (ed25519-sha256)\n";
    assert!(checked.contains(signs), "{checked}");
    let not = "example.net does not sign its mail; `postfach dkim-key --domain example.net`";
    assert!(checked.contains(not) && checked.matches("does not sign").count() == 1, "{checked}");
    // without `key`, the file is looked for where it was made
    let without: String =
        config.lines().filter(|l| !l.starts_with("key = ")).map(|l| format!("{l}\n")).collect();
    let parse = |text: &str| config::parse(text, &scratch.file("p.toml")).expect("valid").dkim;
    let files = |text: &str| parse(text).into_iter().map(|key| key.file).collect::<Vec<_>>();
    assert_eq!(files(&without), files(&config));
}

#[test]
fn check_says_which_key_cannot_be_read() {
    let scratch = scratch("dkim-unread");
    let config = format!("{CONFIG}[[dkim]]\ndomain = \"example.org\"\nselector = \"s\"\n");
    fs::write(scratch.file("p.toml"), config).expect("written");
    let mut out = Vec::new();
    let outcome = check::report(&scratch.file("p.toml"), &mut out).expect("memory");
    let checked = String::from_utf8(out).expect("text");
    assert_eq!(outcome, Outcome::Refused);
    let fault = "p.toml:6:1: the DKIM key ";
    assert!(checked.contains(fault) && checked.contains("1 fault to be mended"), "{checked}");
}

#[test]
fn what_cannot_be_made_is_refused_with_what_to_do() {
    let scratch = scratch("dkim-refused");
    for (domain, selector, words) in [
        ("exa mple", None, "--domain example.org"),
        ("example.org", Some("a/b"), "--selector 2026a"),
        ("example.org", Some(&*"a".repeat(60)), "--selector 2026a"),
    ] {
        let (outcome, text) = made(&scratch, domain, selector);
        assert!(outcome == Outcome::Refused && text.contains(words), "{text}");
    }
    let (_, text) = made(&scratch, "example.com", Some("s"));
    assert!(text.contains("warning: example.com is not declared"), "{text}");
    fs::write(scratch.file("data/dkim/example.org.s-rsa.pem"), "nothing").expect("written");
    let (outcome, text) = made(&scratch, "example.org", Some("s"));
    assert!(outcome == Outcome::Refused && text.contains("choose another --selector"), "{text}");
    fs::remove_dir_all(scratch.file("data")).expect("removed");
    let (outcome, text) = made(&scratch, "example.org", Some("s"));
    assert!(outcome == Outcome::Refused && text.contains("start the daemon once"), "{text}");
}
