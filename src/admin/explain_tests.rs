//! What `explain` says of the sample directory.

use super::*;
use crate::admin::check::tests::sample;

fn explained(user: &str, mailbox: Option<&str>) -> (Outcome, String) {
    let mut out = Vec::new();
    let outcome = report(&sample("postfach.toml"), (user, mailbox), &mut out).expect("memory");
    (outcome, String::from_utf8(out).expect("text"))
}

fn says(user: &str, mailbox: &str, words: &[&str]) {
    let (outcome, text) = explained(user, Some(mailbox));
    assert_eq!(outcome, Outcome::Done);
    for words in words {
        assert!(text.contains(words), "{user} {mailbox}: {words:?} is not in {text:?}");
    }
}

#[test]
fn it_lists_what_a_user_sees_and_why() {
    let (outcome, text) = explained("Anna", None);
    assert_eq!(outcome, Outcome::Done);
    let expected = "anna (Anna Beispiel), member, in support\n\
        \x20 INBOX and own folders: manage (lrswipkxtea), because: owner\n\
        \x20 Private/Anna Sales: work (lrswipte), because: owner\n\
        \x20 Shared/Info: work (lrswipte), because: open to everyone\n\
        \x20 Shared/Support: work (lrswipte), because: team support (work)\n";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn it_says_why_a_mailbox_is_seen() {
    says("anna", "Shared/Support", &["Shared/Support: work", "team support (work)"]);
    says("ben", "Shared/Support/Assigned/ben", &["Shared/Support: work"]);
    says("carla", "Shared/Sales", &["read (lrs), because: role admin", "carla (Carla Chefin)"]);
    says("carla", "Other Users/anna/Anna Sales", &["read (lrs)", "role admin"]);
}

#[test]
fn it_says_why_a_mailbox_is_not_seen() {
    let why = "the inbox is for team sales, admins, and anna is none of these";
    says("anna", "Shared/Sales", &["Shared/Sales does not exist for anna: ", why]);
    let why = "the channel is for its owner anna, admins, and ben is none of these";
    says("ben", "Other Users/anna/Anna Sales", &[why]);
    says("ben", "Private/Anna Sales", &[why]);
}

#[test]
fn it_says_where_a_mailbox_is_and_that_one_is_absent() {
    says("carla", "Private/Anna Sales", &["carla sees Other Users/anna/Anna Sales"]);
    says("anna", "Shared/support", &["anna sees Shared/Support"]);
    says("anna", "Shared/Einkauf", &["nothing of that name is declared"]);
    says("anna", "Rechnungen/2026", &["a personal folder of anna"]);
}

#[test]
fn an_unknown_user_and_a_faulty_file_are_refused() {
    let (outcome, text) = explained("fritz", None);
    assert_eq!(outcome, Outcome::Refused);
    assert!(text.contains("no user \"fritz\"") && text.contains("anna, ben, carla"), "{text}");
    let mut out = Vec::new();
    let outcome = report(Path::new("/nonexistent.toml"), ("anna", None), &mut out);
    assert_eq!(outcome.expect("memory"), Outcome::Refused);
}
