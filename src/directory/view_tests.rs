//! The views of anna (support), ben (support, sales), carla (admin), dora (no team) and erik
//! (super-admin).

use super::*;
use crate::directory::file;

/// The directory that comes with the daemon.
fn sample() -> Directory {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/config/directory.toml");
    file::load(std::path::Path::new(path)).expect("the sample is valid")
}

/// `place/name letters`, a line each, as `user` sees it.
fn seen(user: &str) -> Vec<String> {
    let told = |v: Visible| {
        let name = match (&v.account, &v.place) {
            (Account::User(login), Place::Personal) => format!("INBOX of {login}"),
            (Account::Channel(name), Place::Private) => format!("Private/{name}"),
            (Account::Channel(name), Place::OtherUsers(owner)) => {
                format!("Other Users/{owner}/{name}")
            }
            (Account::Inbox(name), Place::Shared) => format!("Shared/{name}"),
            other => format!("{other:?}"),
        };
        format!("{name} {}", v.rights)
    };
    view(&sample(), &Login::new(user)).into_iter().map(told).collect()
}

const ALL: &str = "lrswipkxtea";
const WORK: &str = "lrswipte";

fn lines(lines: &[(&str, &str)]) -> Vec<String> {
    lines.iter().map(|(name, letters)| format!("{name} {letters}")).collect()
}

#[test]
fn anna_sees_her_team_and_her_channel() {
    let expected = [
        ("INBOX of anna", ALL),
        ("Private/Anna Sales", WORK),
        ("Shared/Info", WORK),
        ("Shared/Support", WORK),
    ];
    assert_eq!(seen("anna"), lines(&expected));
}

#[test]
fn ben_sees_both_teams_and_his_channel() {
    let expected = [
        ("INBOX of ben", ALL),
        ("Private/Ben Sales", WORK),
        ("Shared/Info", WORK),
        ("Shared/Sales", WORK),
        ("Shared/Support", WORK),
    ];
    assert_eq!(seen("ben"), lines(&expected));
}

#[test]
fn carla_reads_everything_but_personal_mailboxes() {
    let expected = [
        ("INBOX of carla", ALL),
        ("Other Users/anna/Anna Sales", "lrs"),
        ("Other Users/ben/Ben Sales", "lrs"),
        ("Shared/Info", WORK),
        ("Shared/Sales", "lrs"),
        ("Shared/Support", "lrs"),
    ];
    assert_eq!(seen("carla"), lines(&expected));
}

#[test]
fn dora_sees_what_is_open_to_everyone() {
    assert_eq!(seen("dora"), lines(&[("INBOX of dora", ALL), ("Shared/Info", WORK)]));
}

#[test]
fn erik_manages_everything_but_personal_mailboxes() {
    let expected = [
        ("INBOX of erik", ALL),
        ("Other Users/anna/Anna Sales", ALL),
        ("Other Users/ben/Ben Sales", ALL),
        ("Shared/Info", ALL),
        ("Shared/Sales", ALL),
        ("Shared/Support", ALL),
    ];
    assert_eq!(seen("erik"), lines(&expected));
}

#[test]
fn who_is_not_declared_sees_nothing() {
    assert_eq!(seen("fritz"), Vec::<String>::new());
}

#[test]
fn an_assigned_folder_is_for_who_works_there_not_for_who_reads_or_only_manages() {
    let directory = sample();
    let at_work = |name: &str| {
        let members = directory.members_at_work(&Account::Inbox(name.into()));
        members.iter().map(Login::to_string).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(at_work("Support"), "anna ben");
    assert_eq!(at_work("Sales"), "ben");
    assert_eq!(at_work("Info"), "anna ben carla dora erik");
    assert_eq!(at_work("Absent"), "");
}
