//! What `check` says, and that the samples in config/ are what they claim to be.

use std::fs;

use super::*;
use crate::directory::password;
use crate::mail::account::FolderNames;

/// A folder of its own below the system's temporary one, removed in the end.
pub(in crate::admin) struct Scratch(std::path::PathBuf);

impl Scratch {
    pub(in crate::admin) fn new(name: &str, files: &[(&str, &str)]) -> Scratch {
        let path = std::env::temp_dir().join(format!("postfach-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        for (file, text) in files {
            fs::write(path.join(file), text).expect("a file");
        }
        Scratch(path)
    }

    pub(in crate::admin) fn file(&self, name: &str) -> std::path::PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(in crate::admin) fn sample(file: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(file)
}

fn checked(path: &Path) -> (Outcome, String) {
    let mut out = Vec::new();
    let outcome = report(path, &mut out).expect("memory");
    (outcome, String::from_utf8(out).expect("text"))
}

#[test]
fn every_sample_is_valid_and_without_a_warning() {
    for file in ["postfach.toml", "minimal.toml", "de/postfach.toml", "de/minimal.toml"] {
        let (outcome, text) = checked(&sample(file));
        assert_eq!(outcome, Outcome::Done, "{file}: {text}");
        assert!(!text.contains("warning") && text.starts_with("5 users, 2 teams"), "{text}");
    }
}

#[test]
fn the_commented_reference_says_the_defaults() {
    let load = |file| config::load(&sample(file)).expect("valid");
    let (reference, minimal) = (load("postfach.toml"), load("minimal.toml"));
    assert_eq!(reference.limits, minimal.limits);
    assert_eq!(reference.folder_names, FolderNames::default());
    assert_eq!(reference.plaintext_without_tls, minimal.plaintext_without_tls);
    assert_eq!(reference.outbound, minimal.outbound);
    assert_eq!(reference.data_dir, minimal.data_dir);
    assert_eq!(reference.directory_path, minimal.directory_path);
    assert_eq!((reference.store, reference.imap_disable), (minimal.store, minimal.imap_disable));
}

#[test]
fn the_german_samples_name_the_folders_in_german() {
    for file in ["de/postfach.toml", "de/minimal.toml"] {
        let names = config::load(&sample(file)).expect("valid").folder_names;
        let names = [
            names.drafts,
            names.sent,
            names.junk,
            names.trash,
            names.archive,
            names.done,
            names.assigned,
        ];
        let german =
            ["Entwürfe", "Gesendet", "Spam", "Papierkorb", "Archiv", "Erledigt", "Zugewiesen"];
        assert_eq!(names, german, "{file}");
    }
}

#[test]
fn the_passwords_of_the_samples_are_as_documented() {
    for path in ["directory.toml", "de/directory.toml"] {
        let directory = file::load(&sample(path)).expect("valid");
        for user in directory.users.values() {
            let password = format!("postfach-{}", user.login);
            assert!(password::verify(password.as_bytes(), &user.password), "{path}: {password}");
        }
    }
}

#[test]
fn keys_in_the_comments_of_the_samples_are_known() {
    for file in ["postfach.toml", "de/postfach.toml"] {
        let text = fs::read_to_string(sample(file)).expect("the sample");
        let key = |line: &&str| {
            let assigned = line.trim_start_matches("# ").split_once(" = ");
            line.starts_with("# ")
                && assigned.is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase()))
        };
        let commented = text.lines().filter(key).count();
        assert!(commented >= 4, "{file}: {commented}");
        let all: String = text
            .lines()
            .filter(|line| !line.starts_with("self_signed"))
            .map(|line| {
                let is_table = line.starts_with("# [");
                let line = if key(&line) || is_table { &line[2..] } else { line };
                format!("{line}\n")
            })
            .collect();
        let config = config::parse(&all, Path::new("p.toml")).expect("valid");
        // what is for the other engine stands there, too
        let is_other = |told: &String| told.contains("engine = \"embedded\"");
        let told: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(told.iter().filter(|told| is_other(told)).count(), 5, "{file}: {told:?}");
        assert_eq!(told.len(), 6, "and the later one: {file}: {told:?}");
    }
}

#[test]
fn check_says_who_sees_each_inbox_and_channel() {
    let (_, text) = checked(&sample("postfach.toml"));
    let support = "Inbox \"Support\": support@example.org, hilfe@example.org\n\
                   \x20 anna   work    lrswipte     team support (work)\n\
                   \x20 ben    work    lrswipte     team support (work)\n\
                   \x20 carla  read    lrs          role admin\n\
                   \x20 erik   manage  lrswipkxtea  role super-admin\n";
    let channel = "Channel \"Anna Sales\" of anna: anna.sales@example.org\n\
                   \x20 anna   work    lrswipte     owner\n\
                   \x20 carla  read    lrs          role admin\n\
                   \x20 erik   manage  lrswipkxtea  role super-admin\n";
    assert!(text.contains(support) && text.contains(channel), "{text}");
}

#[test]
fn check_prints_the_faults_of_both_files_at_once() {
    let faulty = "hostnaem = \"m\"\nhostname = 1\ndirectory = \"d.toml\"\n";
    let directory = "[[team]]\nname = \"t\"\nmembers = [\"x\"]\n";
    let scratch = Scratch::new("check", &[("p.toml", faulty), ("d.toml", directory)]);
    let (outcome, text) = checked(&scratch.file("p.toml"));
    assert_eq!(outcome, Outcome::Refused);
    for words in
        ["p.toml:1:1: unknown key `hostnaem`", "p.toml:2:12: ", "d.toml:3:12: there is no user"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.ends_with("3 faults to be mended.\n"), "{text}");
}

#[test]
fn check_prints_warnings_of_the_config_before_faults_of_the_directory() {
    let directory = "[[team]]\nname = \"t\"\nmembers = [\"x\"]\n";
    let files = [("p.toml", "hostname = \"m\"\n"), ("directory.toml", directory)];
    let scratch = Scratch::new("check-warnings", &files);
    let (outcome, text) = checked(&scratch.file("p.toml"));
    assert_eq!(outcome, Outcome::Refused);
    assert!(text.starts_with("warning: ") && text.contains("listens nowhere"), "{text}");
    assert!(text.contains("directory.toml:3:12: there is no user \"x\""), "{text}");
}

#[test]
fn check_reads_the_certificate_and_says_what_is_wrong_with_it() {
    let text = "hostname = \"m\"\n[listen]\nimaps = [\"[::]:993\"]\n[tls]\n\
                certificate = \"none.pem\"\nkey = \"none.key\"\n";
    let scratch = Scratch::new("check-tls", &[("p.toml", text), ("directory.toml", "")]);
    let (outcome, text) = checked(&scratch.file("p.toml"));
    assert_eq!(outcome, Outcome::Refused);
    assert!(text.contains("fault: ") && text.contains("none.pem"), "{text}");
}
