//! The table of rights in product.md, cell by cell; grants; and grounds against rights.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::directory::rights::reads_by_role;
use crate::directory::{file, rights};

/// member: in the team; named: by name to read; other: a user like any; and one of each role.
/// `owner` has the channels, `routed` works in some of them.
fn directory() -> Directory {
    let hash = crate::directory::password::NOBODY;
    let users = [
        ("member", "member"),
        ("limited", "member"),
        ("other", "member"),
        ("owner", "member"),
        ("routed", "member"),
        ("admin", "admin"),
        ("super", "super-admin"),
    ];
    let users: String = users
        .iter()
        .map(|(login, role)| {
            format!("[[user]]\nlogin = \"{login}\"\npassword = \"{hash}\"\nrole = \"{role}\"\n")
        })
        .collect();
    let rest = r#"
[[team]]
name = "team"
members = ["member", "limited"]
[[team]]
name = "chiefs"
members = ["member", "routed", "owner"]
[[inbox]]
name = "Open"
[[inbox]]
name = "Limited"
teams = ["team"]
[[inbox]]
name = "Levels"
teams = ["team:read", "chiefs:manage"]
users = ["limited:read", "other:work", "routed:manage"]
[[channel]]
name = "Owner"
owner = "owner"
routed_to = ["routed"]
[[channel]]
name = "Level"
owner = "owner"
routed_to = ["routed:read"]
[[channel]]
name = "Everyone"
owner = "owner"
access = "everyone"
[[channel]]
name = "Lists"
owner = "owner"
routed_to = ["routed"]
access = { teams = ["team:read", "chiefs:manage"], users = ["other:read"] }
"#;
    file::parse(&(users + rest), Path::new("d.toml")).expect("valid")
}

const MANAGE: &str = "lrswipkxtea";
const WORK: &str = "lrswipte";
const READ: &str = "lrs";
const NONE: &str = "";

/// What each of `users` may do in `account`.
fn row(account: &Account, cells: &[(&str, &str)]) {
    let directory = directory();
    for (user, letters) in cells {
        let held = rights(&directory, &Login::new(user), account).to_string();
        assert_eq!(held, *letters, "{user} in {account:?}");
    }
}

fn inbox(name: &str) -> Account {
    Account::Inbox(name.into())
}

fn channel(name: &str) -> Account {
    Account::Channel(name.into())
}

#[test]
fn an_inbox_open_to_everyone_gives_every_user_the_right_to_work() {
    let cells =
        [("member", WORK), ("other", WORK), ("owner", WORK), ("admin", WORK), ("super", MANAGE)];
    row(&inbox("Open"), &cells);
}

#[test]
fn a_limited_inbox_is_for_its_teams_and_read_by_admins() {
    let cells = [("member", WORK), ("other", NONE), ("admin", READ), ("super", MANAGE)];
    row(&inbox("Limited"), &cells);
}

#[test]
fn a_level_is_the_highest_of_the_teams_unless_one_is_given_by_name() {
    let cells = [
        ("member", MANAGE),
        ("limited", READ),
        ("other", WORK),
        ("routed", MANAGE),
        ("owner", MANAGE),
        ("admin", READ),
        ("super", MANAGE),
    ];
    row(&inbox("Levels"), &cells);
}

#[test]
fn a_private_channel_is_for_its_owner_and_whom_it_is_routed_to() {
    let cells = [
        ("owner", WORK),
        ("routed", WORK),
        ("member", NONE),
        ("other", NONE),
        ("admin", READ),
        ("super", MANAGE),
    ];
    row(&channel("Owner"), &cells);
}

#[test]
fn a_channel_is_routed_to_somebody_with_a_level() {
    row(&channel("Level"), &[("owner", WORK), ("routed", READ), ("other", NONE), ("admin", READ)]);
}

#[test]
fn a_channels_access_says_who_else() {
    let cells = [("owner", WORK), ("other", WORK), ("admin", WORK), ("super", MANAGE)];
    row(&channel("Everyone"), &cells);
    let cells = [
        ("owner", MANAGE),
        ("routed", MANAGE),
        ("member", MANAGE),
        ("limited", READ),
        ("other", READ),
        ("admin", READ),
        ("super", MANAGE),
    ];
    row(&channel("Lists"), &cells);
}

#[test]
fn a_personal_mailbox_is_its_owners_alone() {
    let cells =
        [("member", MANAGE), ("other", NONE), ("owner", NONE), ("admin", NONE), ("super", NONE)];
    row(&Account::User(Login::new("member")), &cells);
}

#[test]
fn a_personal_mailbox_that_is_open_is_looked_into_by_that_super_admin_and_nobody_else() {
    let login = Login::new;
    let opened = |to: &str, of: &str| {
        directory().with_openings([(login(to), login(of))].into_iter().collect())
    };
    let held = |d: &Directory, user: &str, of: &str| {
        rights(d, &login(user), &Account::User(login(of))).to_string()
    };
    let to_super = opened("super", "member");
    assert_eq!(held(&to_super, "super", "member"), "lr");
    let others =
        [("admin", "member"), ("other", "member"), ("super", "owner"), ("super", "nobody")];
    for (user, of) in others {
        assert_eq!(held(&to_super, user, of), NONE, "{user} in {of}");
    }
    assert_eq!(held(&to_super, "member", "member"), MANAGE, "its owner's all the same");
    assert_eq!(held(&opened("super", "gone"), "super", "gone"), "lr", "of a user who has left");
    for user in ["admin", "member", "other", "nobody"] {
        assert_eq!(held(&opened(user, "owner"), user, "owner"), NONE, "{user} is no super-admin");
    }
    let account = Account::User(login("member"));
    assert!(reads_by_role(&to_super, &login("super"), &account));
    assert!(!reads_by_role(&to_super, &login("member"), &account));
    let why = grounds(&to_super, &login("super"), &account);
    assert_eq!(why, [(Ground::Opened, Rights::look())]);
    let shown = crate::directory::view(&to_super, &login("super"));
    let place = shown.iter().find(|v| v.account == account).map(|v| v.place.clone());
    assert_eq!(place, Some(crate::directory::Place::OtherUsers(login("member"))));
}

#[test]
fn a_channel_of_others_is_read_by_role_and_a_shared_inbox_is_not_private() {
    let by_role =
        |user: &str, account: &Account| reads_by_role(&directory(), &Login::new(user), account);
    assert!(by_role("admin", &channel("Owner")) && by_role("super", &channel("Owner")));
    assert!(!by_role("owner", &channel("Owner")) && !by_role("other", &channel("Owner")));
    assert!(!by_role("admin", &channel("Everyone")) && !by_role("admin", &inbox("Limited")));
}

#[test]
fn who_or_what_is_not_declared_has_no_rights() {
    row(&inbox("Absent"), &[("member", NONE), ("admin", NONE), ("super", NONE)]);
    row(&channel("Absent"), &[("owner", NONE), ("admin", NONE), ("super", NONE)]);
    row(&inbox("Open"), &[("nobody", NONE)]);
    row(&Account::User(Login::new("nobody")), &[("nobody", NONE)]);
}

#[test]
fn a_grant_replaces_what_is_declared_and_not_what_the_role_gives() {
    let limited = inbox("Limited");
    let login = Login::new;
    let grants =
        [(login("member"), Some("")), (login("other"), Some("lrw")), (login("admin"), Some(""))];
    let grants = || grants.iter().map(|(user, letters)| (&limited, user, *letters));
    let granted = directory().with_grants(grants());
    assert!(granted.has_grants(grants()) && !granted.has_grants(grants().skip(1)));
    assert!(directory().has_grants(grants().map(|(account, user, _)| (account, user, None))));
    let held = |d: &Directory, user: &str| rights(d, &login(user), &limited).to_string();
    assert_eq!(held(&granted, "member"), NONE);
    assert_eq!(held(&granted, "other"), "lrw");
    assert_eq!(held(&granted, "admin"), READ);
    let back = granted.with_grants(grants().map(|(account, user, _)| (account, user, None)));
    assert_eq!(held(&back, "member"), WORK);
    assert_eq!(held(&back, "other"), NONE);
    let own = Account::User(login("member"));
    let breached = directory().with_grants([(&own, &login("other"), Some("lr"))]);
    assert_eq!(rights(&breached, &login("other"), &own), Rights::NONE, "personal stays personal");
}

#[test]
fn grounds_say_why() {
    let told = |user: &str, account: &Account| {
        let grounds = grounds(&directory(), &Login::new(user), account);
        grounds.iter().map(|(ground, _)| ground.to_string()).collect::<Vec<_>>().join(", ")
    };
    assert_eq!(told("member", &inbox("Limited")), "team team (work)");
    assert_eq!(told("member", &inbox("Levels")), "team team (read), team chiefs (manage)");
    assert_eq!(told("limited", &inbox("Levels")), "by name (read)");
    assert_eq!(told("admin", &inbox("Open")), "open to everyone, role admin");
    assert_eq!(told("other", &inbox("Limited")), "");
    assert_eq!(told("owner", &channel("Owner")), "owner");
    assert_eq!(told("routed", &channel("Lists")), "routed to them, team chiefs (manage)");
    assert_eq!(told("super", &channel("Owner")), "role super-admin");
}

fn any_account() -> impl Strategy<Value = Account> {
    const NAMES: [&str; 8] =
        ["Open", "Limited", "Levels", "Owner", "Level", "Everyone", "Lists", "Absent"];
    const USERS: [&str; 4] = ["member", "owner", "admin", "nobody"];
    prop_oneof![
        proptest::sample::select(&NAMES).prop_map(inbox),
        proptest::sample::select(&NAMES).prop_map(channel),
        proptest::sample::select(&USERS).prop_map(|user| Account::User(Login::new(user))),
    ]
}

proptest! {
    #[test]
    fn the_union_of_all_grounds_is_what_rights_answers(
        grants in proptest::collection::vec((any_account(), 0usize..7, "[lrswipkxtea]{0,4}"), 0..4),
        account in any_account(),
    ) {
        let directory = directory();
        let users: Vec<Login> = directory.users.keys().cloned().collect();
        let grants = grants.iter().map(|(account, n, l)| (account, &users[*n], Some(l.as_str())));
        let openings = [(Login::new("super"), Login::new("owner"))].into_iter().collect();
        let directory = directory.with_grants(grants).with_openings(openings);
        for user in &users {
            let why = grounds(&directory, user, &account);
            let union = why.iter().fold(Rights::NONE, |all, (_, rights)| all.union(*rights));
            prop_assert_eq!(union, rights(&directory, user, &account));
        }
    }
}
