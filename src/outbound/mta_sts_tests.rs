//! Records, policies and their matching, by the sections of the standard.

use proptest::prelude::*;

use super::*;

fn id(records: &[&str]) -> Option<String> {
    record_id(&records.iter().map(|&record| record.to_owned()).collect::<Vec<_>>())
}

fn policy(text: &str) -> Policy {
    Policy::parse(text.as_bytes()).expect("a policy")
}

fn fault(text: &str) -> String {
    Policy::parse(text.as_bytes()).err().map_or_else(String::new, |fault| fault.to_string())
}

/// The example of RFC 8461 §3.2.
const EXAMPLE: &str = "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\n\
                       mx: backupmx.example.com\nmax_age: 604800\n";

#[test]
fn one_record_has_the_id() {
    let known = Some("20160831085700Z".to_owned());
    assert_eq!(id(&["v=STSv1; id=20160831085700Z;"]), known);
    assert_eq!(id(&["v=STSv1;id=20160831085700Z"]), known);
    assert_eq!(id(&["v=spf1 -all", "v=STSv1; x=y ;\tid=20160831085700Z ; id=2"]), known);
}

#[test]
fn without_exactly_one_good_record_there_is_none() {
    for records in [
        &[][..],
        &["v=STSv1; id=1;", "v=STSv1; id=1;"],
        &["v=STSv2; id=1;"],
        &["v=STSv1"],
        &["v=STSv1;"],
        &["v=STSv1; id="],
        &["v=STSv1; id=a-b;"],
        &["id=1; v=STSv1;"],
    ] {
        assert_eq!(id(records), None, "{records:?}");
    }
    let longest = "a".repeat(ID_BYTES_MAX);
    assert_eq!(id(&[&format!("v=STSv1; id={longest};")]), Some(longest.clone()));
    assert_eq!(id(&[&format!("v=STSv1; id={longest}a;")]), None);
}

#[test]
fn the_example_of_the_standard_is_read() {
    let read = policy(EXAMPLE);
    assert_eq!(read.mode, Mode::Enforce);
    assert_eq!(read.patterns, ["mail.example.com", "*.example.net", "backupmx.example.com"]);
    assert_eq!(read.max_age_secs, 604_800);
    assert_eq!(policy(&EXAMPLE.replace('\n', " \r\n")), read);
    assert_eq!(policy(EXAMPLE.trim_end()), read);
    assert_eq!(policy(&format!("{EXAMPLE}later: x\nmode: none\nmax_age: 1\n")), read);
    assert_eq!(policy("version: STSv1\nmode: none\nmax_age: 0").mode, Mode::None);
}

#[test]
fn a_policy_that_lacks_something_is_none() {
    for (text, words) in [
        ("", "STSv1"),
        (&*EXAMPLE.replace("STSv1", "STSv2"), "STSv1"),
        (&*EXAMPLE.replace("enforce", "report"), "no mode"),
        (&*EXAMPLE.replace("mode: enforce\n", ""), "no mode"),
        (&*EXAMPLE.replace("max_age: 604800\n", ""), "no max_age"),
        (&*EXAMPLE.replace("604800", "-1"), "no max_age"),
        (&*EXAMPLE.replace("604800", "12345678901"), "no max_age"),
        (&*EXAMPLE.replace("mx: ", "xm: "), "no mx"),
        (&*EXAMPLE.replace("*.example.net", "mail.*.net"), "no name"),
        (&*EXAMPLE.replace("*.example.net", "bücher.example"), "no name"),
        ("<html>", "colon"),
    ] {
        assert!(fault(text).contains(words), "{text}: {}", fault(text));
    }
    assert!(Policy::parse(b"version: STSv1\nx: \xff\n").is_err());
}

#[test]
fn limits_hold_at_their_ends_and_not_beyond() {
    let longest = policy(&EXAMPLE.replace("604800", "9999999999"));
    assert_eq!(longest.max_age_secs, MAX_AGE_SECS_MAX);
    let many = |count: usize| {
        format!("version: STSv1\nmode: testing\nmax_age: 1\n{}", "mx: a.b\n".repeat(count))
    };
    assert_eq!(policy(&many(PATTERNS_MAX)).patterns.len(), PATTERNS_MAX);
    assert!(fault(&many(PATTERNS_MAX + 1)).contains("too many"));
}

/// RFC 8461 §4.1
#[test]
fn a_star_stands_for_one_label() {
    let policy = Applied::Enforce(Arc::new(policy(EXAMPLE)));
    for host in ["mail.example.com", "MAIL.example.com.", "a.example.net", "A.EXAMPLE.NET"] {
        assert!(policy.allows(host), "{host}");
    }
    for host in
        ["example.com", "example.net", "a.b.example.net", ".example.net", "x.mail.example.com", ""]
    {
        assert!(!policy.allows(host), "{host}");
    }
    assert!(Applied::Testing.allows("anything") && Applied::None.allows("anything"));
}

fn kept(fetched_at: i64) -> Kept {
    let policy = Arc::new(policy(EXAMPLE));
    Kept { id: "1".to_owned(), fetched_at: Timestamp::from_seconds(fetched_at), policy }
}

#[test]
fn a_policy_holds_for_its_age_and_is_fetched_again_after_a_day_or_for_a_new_id() {
    let (kept, at) = (kept(1000), |secs: i64| Timestamp::from_seconds(1000 + secs));
    assert!(kept.holds(at(604_799)) && !kept.holds(at(604_800)));
    assert!(kept.suffices("1", at(REFRESH_SECS - 1)) && !kept.suffices("1", at(REFRESH_SECS)));
    assert!(!kept.suffices("2", at(0)));
}

#[test]
fn a_kept_policy_is_the_same_after_its_line() {
    let kept = kept(1_764_150_000);
    let line = kept.line("example.com");
    let read = Kept::read(line.trim_end_matches('\n')).expect("a line");
    assert_eq!(read, ("example.com".to_owned(), kept));
    let none = Arc::new(policy("version: STSv1\nmode: none\nmax_age: 5"));
    let none = Kept { id: "x".to_owned(), fetched_at: Timestamp(0), policy: none };
    let line = none.line("a.b");
    assert_eq!(Kept::read(line.trim_end_matches('\n')), Some(("a.b".to_owned(), none)));
    for bad in
        ["", "a.b", "a.b 1 0 enforce 5 ", "a.b 1 0 x 5 a.b", "a.b 1 x none 5 ", "- 1 0 none 5 "]
    {
        assert_eq!(Kept::read(bad), None, "{bad:?}");
    }
}

proptest! {
    #[test]
    fn no_policy_and_no_record_makes_the_reader_panic(
        text in proptest::collection::vec(
            proptest::sample::select(vec![
                "version", ": ", "STSv1", "\n", "\r\n", "mx", "*.", "a.b", "mode", "enforce",
                "max_age", "1", "ü", "v=STSv1;", "id=", ";", " ",
            ]),
            0..30,
        ),
    ) {
        let text = text.concat();
        let _ = Policy::parse(text.as_bytes());
        let _ = Kept::read(&text);
        let _ = record_id(&[text]);
    }
}
