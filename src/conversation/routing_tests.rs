//! Which rule matches, and who is chosen.

use std::path::Path;

use super::*;
use crate::directory::file;
use crate::mail::message;

const DIRECTORY: &str = r#"
[[domain]]
name = "example.org"
[[user]]
login = "anna"
name = "Anna"
password = "$2b$04$abcdefghijklmnopqrstuuWkMVwbmqUjJ2y.fJjWT7u0E2FVBTyuu"
[[inbox]]
name = "Support"
addresses = ["support@example.org"]
"#;

fn rules(text: &str) -> Vec<Rule> {
    let directory = file::parse(&format!("{DIRECTORY}{text}"), Path::new("d.toml"));
    let mut directory = directory.unwrap_or_else(|faults| panic!("{faults:?}"));
    directory.inboxes.pop_first().expect("an inbox").1.policy.rules
}

fn matches(rule: &str, header: &str, detail: Option<&str>) -> bool {
    let rules = rules(&format!("[[inbox.route]]\n{rule}\nfolder = \"done\"\n"));
    let parsed = message::parse(format!("{header}\r\n\r\n").as_bytes());
    let sender = Address::parse("envelope@sender.example");
    matching(&rules, &Facts::new(&parsed, sender.as_ref(), detail)).is_some()
}

#[test]
fn a_condition_looks_at_what_people_see() {
    let rows = [
        ("sender_domain = [\"Big.example\"]", "From: a@BIG.example", true),
        ("sender_domain = [\"big.example\"]", "From: a@mail.big.example", true),
        ("sender_domain = [\"big.example\"]", "From: a@notbig.example", false),
        ("sender_domain = [\"big.example\"]", "From: a@big.example.net", false),
        ("sender_domain = [\"sender.example\"]", "Subject: x", true),
        ("sender_domain = [\"sender.example\"]", "From: a@b.example", false),
        ("header = \"X-Tier\"\nequals = \"Gold\"", "x-tier:  GOLD ", true),
        ("header = \"X-Tier\"\nequals = \"Gold\"", "X-Tier: Golden", false),
        ("header = \"X-Tier\"\ncontains = \"old\"", "X-Tier: Golden", true),
        ("header = \"X-Tier\"\ncontains = \"gold\"", "X-Tier: a\r\nX-Tier: gold", true),
        ("header = \"X-Tier\"\ncontains = \"gold\"", "X-Tiers: gold", false),
        ("subject = [\"Rechnung\", \"invoice\"]", "Subject: Ihre RECHNUNG, bitte", true),
        ("subject = [\"invoice\"]", "Subject: invoices", false),
        ("subject = [\"invoice*\"]", "Subject: Re: (Invoices)", true),
        ("subject = [\"open invoice\"]", "Subject: an open\r\n invoice", true),
        ("subject = [\"größe\"]", "Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe_42?=", true),
        ("subject = [\"x\"]", "From: a@b.example", false),
        ("", "Subject: anything", true),
        (
            "header = \"X-Tier\"\ncontains = \"gold\"",
            "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nX-Tier: gold\r\n\r\nx",
            false,
        ),
        ("subject = [\"x\"]\nsender_domain = [\"b.example\"]", "From: a@b.example", false),
    ];
    for (rule, header, expected) in rows {
        assert_eq!(matches(rule, header, None), expected, "{rule} of {header}");
    }
    assert!(matches("detail = [\"VIP\"]", "Subject: x", Some("vip")));
    assert!(!matches("detail = [\"vip\"]", "Subject: x", Some("vip2")));
    assert!(!matches("detail = [\"vip\"]", "Subject: x", None));
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = rules(
        "[[inbox.route]]\nsubject = [\"one\"]\nfolder = \"junk\"\n\
         [[inbox.route]]\nsubject = [\"two\"]\nfolder = \"open\"\n\
         [[inbox.route]]\npick = \"round-robin\"\n",
    );
    let number = |subject: &str| {
        let parsed = message::parse(format!("Subject: {subject}\r\n\r\n").as_bytes());
        matching(&rules, &Facts::new(&parsed, None, None)).map(|(number, _)| number)
    };
    assert_eq!((number("one two"), number("two"), number("three")), (Some(0), Some(1), Some(2)));
}

#[test]
fn who_has_waited_longest_is_chosen_and_fewest_open_goes_before() {
    let candidate = |login: &str, turn, open| Candidate { login: Login::new(login), turn, open };
    let all = [candidate("anna", 5, 1), candidate("ben", 3, 2), candidate("carla", 4, 1)];
    let chosen = |pick, all: &[Candidate]| choose(pick, all).map(|c| c.login.to_string());
    assert_eq!(chosen(Pick::RoundRobin, &all).as_deref(), Some("ben"));
    assert_eq!(chosen(Pick::LeastOpen, &all).as_deref(), Some("carla"));
    let new = [candidate("ben", 0, 0), candidate("anna", 0, 0)];
    assert_eq!(chosen(Pick::RoundRobin, &new).as_deref(), Some("anna"));
    assert_eq!(chosen(Pick::RoundRobin, &[]), None);
}
