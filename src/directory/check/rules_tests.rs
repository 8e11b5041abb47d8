//! What is said of rules and acknowledgements that cannot be meant.

use std::path::Path;

use crate::directory::file;
use crate::directory::rule::{RULES_MAX, VALUE_BYTES_MAX, VALUES_MAX};
use crate::directory::source::Fault;

const DIRECTORY: &str = r#"[[domain]]
name = "example.org"
[[user]]
login = "anna"
name = "Anna"
password = "$2b$04$abcdefghijklmnopqrstuuWkMVwbmqUjJ2y.fJjWT7u0E2FVBTyuu"
[[user]]
login = "dora"
name = "Dora"
password = "$2b$04$abcdefghijklmnopqrstuuWkMVwbmqUjJ2y.fJjWT7u0E2FVBTyuu"
[[team]]
name = "night"
members = ["dora"]
[[inbox]]
name = "Support"
addresses = ["support@example.org", "postmaster@example.org"]
users = ["anna", "dora:read"]
"#;

/// Line and column of what is written behind the directory, from 1, and the words.
fn faults(text: &str) -> Vec<String> {
    shown(file::parse(&format!("{DIRECTORY}{text}"), Path::new("d.toml")).err().unwrap_or_default())
}

fn warnings(text: &str) -> Vec<String> {
    let directory = file::parse(&format!("{DIRECTORY}{text}"), Path::new("d.toml"));
    shown(directory.unwrap_or_else(|faults| panic!("{faults:?}")).warnings)
}

fn shown(faults: Vec<Fault>) -> Vec<String> {
    let before = DIRECTORY.lines().count();
    let shown = |f: Fault| format!("{}:{} {}", f.line.saturating_sub(before), f.column, f.message);
    faults.into_iter().map(shown).collect()
}

#[test]
fn each_fault_of_a_rule_has_its_place() {
    let rows = [
        ("subject = [\"x\"]", "1:1 the rule does not say who gets the conversation"),
        ("users = [\"nobody\"]", "2:10 there is no user \"nobody\""),
        ("teams = [\"day\"]", "2:10 there is no team \"day\""),
        ("pick = \"dice\"", "2:8 \"dice\" is not known here"),
        ("folder = \"bin\"", "2:10 \"bin\" is not known here"),
        ("folder = \"done\"\nusers = [\"anna\"]", "2:10 a conversation that somebody gets lies"),
        ("users = [\"dora\"]", "1:1 this rule can choose nobody"),
        ("teams = [\"night\"]", "1:1 this rule can choose nobody"),
        ("folder = \"done\"\ncontains = \"x\"", "3:12 of which header field?"),
        ("folder = \"done\"\nheader = \"X\"", "3:10 what must the header field be?"),
        (
            "folder = \"done\"\nheader = \"X Y\"\nequals = \"1\"",
            "3:10 this is not the name of a header field",
        ),
        (
            "folder = \"done\"\nheader = \"X\"\nequals = \"1\"\ncontains = \"1\"",
            "4:10 contains stands there already",
        ),
        ("folder = \"done\"\nsubject = [\" \"]", "3:12 this is empty or too long"),
        ("folder = \"done\"\nsender_domain = [\"a@b\"]", "3:18 \"a@b\" is not a domain"),
        ("folder = \"done\"\nif = 1", "3:1 unknown key `if`"),
    ];
    for (rule, expected) in rows {
        let found = faults(&format!("[[inbox.route]]\n{rule}\n"));
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "{rule}: {found:?}");
    }
}

#[test]
fn what_is_odd_is_a_warning() {
    let odd = "[[inbox.route]]\nusers = [\"anna\", \"dora\"]\n[[inbox.route]]\nfolder = \"done\"\n";
    assert_eq!(
        warnings(odd),
        ["2:18 dora may not work here, and is never chosen", "3:1 this rule is never reached"]
    );
    assert!(warnings("[[inbox.route]]\nusers = [\"anna\"]\nteams = [\"night\"]\n").is_empty());
}

#[test]
fn rules_and_their_values_have_limits() {
    let rules =
        |count: usize| "[[inbox.route]]\nsubject = [\"x\"]\nfolder = \"done\"\n".repeat(count);
    assert!(warnings(&rules(RULES_MAX)).is_empty());
    assert_eq!(faults(&rules(RULES_MAX + 1)), ["301:1 too many rules"]);
    let values = |count: usize| {
        format!("[[inbox.route]]\nsubject = [{}]\nfolder = \"done\"\n", "\"x\",".repeat(count))
    };
    assert!(warnings(&values(VALUES_MAX)).is_empty());
    assert_eq!(faults(&values(VALUES_MAX + 1)), ["2:412 too many values"]);
    let long = |bytes: usize| {
        format!("[[inbox.route]]\nsubject = [\"{}\"]\nfolder = \"done\"\n", "x".repeat(bytes))
    };
    assert!(warnings(&long(VALUE_BYTES_MAX)).is_empty());
    assert_eq!(faults(&long(VALUE_BYTES_MAX + 1)), ["2:12 this is empty or too long"]);
}

#[test]
fn an_acknowledgement_has_a_text_that_can_be_filled() {
    let folder = std::env::temp_dir().join(format!("postfach-ack-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(folder.join("ack.txt"), "Danke, {reference}\r\n").expect("written");
    std::fs::write(folder.join("long.txt"), "x".repeat(16 * 1024 + 1)).expect("written");
    std::fs::write(folder.join("most.txt"), "x".repeat(16 * 1024)).expect("written");
    let faults = |table: &str| {
        let text = format!("{DIRECTORY}[inbox.acknowledgement]\n{table}\n");
        shown(file::parse(&text, &folder.join("d.toml")).err().unwrap_or_default())
    };
    for good in ["text = \"a\"", "file = \"ack.txt\"", "file = \"most.txt\"\nsubject = \"{inbox}\""]
    {
        assert_eq!(faults(good), [""; 0], "{good}");
    }
    for (table, expected) in [
        ("", "1:1 the acknowledgement has no text"),
        ("text = \" \"", "2:8 the text is empty or too long"),
        ("text = \"{name}\"", "2:8 {name} stands for nothing"),
        ("text = \"a\\u0007\"", "2:8 the text holds control characters"),
        ("text = \"a\"\nfile = \"ack.txt\"", "3:8 the text is there already"),
        ("file = \"gone.txt\"", "2:8 "),
        ("file = \"long.txt\"", "2:8 the text is empty or too long"),
        ("text = \"a\"\nsubject = \"a\\nb\"", "3:11 this is no subject"),
        ("text = \"a\"\nsubject = \"{x}\"", "3:11 {x} stands for nothing"),
    ] {
        let found = faults(table);
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "{table}: {found:?}");
    }
    std::fs::remove_dir_all(&folder).expect("removed");
}
