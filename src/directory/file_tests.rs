//! What `directory.toml` may say, what it means, and where mail goes by it.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::directory::{Access, Level, Role, Routing};
use crate::mail::account::{Account, FolderRole};
use crate::mail::address::Address;
use crate::mail::flag::SeenMode;
use crate::mail::id::Login;

const HASH: &str = crate::directory::password::NOBODY;

fn parsed(text: &str) -> Result<Directory, Vec<Fault>> {
    parse(text, Path::new("directory.toml"))
}

fn valid(text: &str) -> Directory {
    parsed(text).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn user(login: &str, rest: &str) -> String {
    format!("[[user]]\nlogin = \"{login}\"\npassword = \"{HASH}\"\n{rest}\n")
}

/// A domain and two users, in 9 lines: what follows begins at line 10.
fn with(rest: &str) -> String {
    let anna = user("anna", "addresses = [\"anna@example.org\"]");
    let ben = user("Ben", "");
    format!("[[domain]]\nname = \"Example.org\"\n{anna}{}{rest}", ben.trim_end().to_owned() + "\n")
}

fn refused(rest: &str, place: &str, words: &str) {
    let faults = parsed(&with(rest)).err().unwrap_or_default();
    let told: Vec<String> = faults.iter().map(Fault::to_string).collect();
    let place = format!("directory.toml:{place}: ");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with(&place) && told[0].contains(words), "{told:?}");
}

fn warnings(rest: &str) -> Vec<String> {
    let told = valid(&with(rest)).warnings.iter().map(Fault::to_string).collect::<Vec<_>>();
    told.into_iter().filter(|w| !w.contains("postmaster")).collect()
}

#[test]
fn the_contract_of_directory_toml_is_accepted() {
    let directory = valid(&with(
        r#"
[[team]]
name = "support"
members = ["anna", "BEN"]
[[inbox]]
name = "Support"
addresses = ["support@example.org", "hilfe@example.org"]
teams = ["support"]
users = ["anna:manage", "ben:read"]
seen = "shared"
collision = "warn"
identity = "reject"
answering_assigns = true
retention_days = 30
[[inbox]]
name = "Info"
[[channel]]
name = "Anna Sales"
owner = "anna"
addresses = ["anna.sales@example.org"]
routed_to = ["ben"]
access = "everyone"
[[channel]]
name = "Ben Sales"
owner = "ben"
access = { teams = ["support:read"], users = ["anna"] }
"#,
    ));
    let (anna, ben) = (Login::new("anna"), Login::new("ben"));
    assert_eq!(directory.teams["support"], [anna.clone(), ben.clone()]);
    let support = &directory.inboxes["Support"];
    assert_eq!(support.seen, SeenMode::Shared);
    let limited = |teams: &[(&str, Level)], users: &[(&Login, Level)]| Access::Limited {
        teams: teams.iter().map(|(team, level)| (team.to_string(), *level)).collect(),
        users: users.iter().map(|(user, level)| ((*user).clone(), *level)).collect(),
    };
    let named = [(&anna, Level::Manage), (&ben, Level::Read)];
    assert_eq!(support.access, limited(&[("support", Level::Work)], &named));
    assert_eq!(directory.inboxes["Info"].access, Access::Everyone);
    assert_eq!(directory.inboxes["Info"].policy, support.policy, "the defaults are these");
    assert_eq!(directory.channels["Anna Sales"].access, Access::Everyone);
    assert_eq!(directory.channels["Anna Sales"].routed_to, std::slice::from_ref(&ben));
    let access = limited(&[("support", Level::Read)], &[(&anna, Level::Work)]);
    assert_eq!(directory.channels["Ben Sales"].access, access);
    assert_eq!(directory.users[&anna].role, Role::Member);
    assert_eq!(directory.users[&ben].name, "Ben");
}

#[test]
fn virtual_mailboxes_are_everybodys_or_a_users_own_and_none_by_default() {
    let text = with(&user("carla", "virtual = []")) + &user("dora", "virtual = [\"mine\"]");
    let has = |directory: &Directory, login: &str| {
        FolderRole::VIRTUAL.map(|role| directory.has_virtual(&Login::new(login), role))
    };
    let off = valid(&text);
    assert_eq!((has(&off, "anna"), has(&off, "dora")), ([false, false], [true, false]));
    let on = valid(&format!("virtual = [\"mine\", \"all-open\"]\n{text}"));
    assert_eq!((has(&on, "anna"), has(&on, "carla")), ([true, true], [false, false]));
    assert_eq!(has(&on, "dora"), [true, false]);
    assert_eq!(has(&on, "nobody"), [false, false]);
    refused(&user("c", "virtual = [\"all\"]"), "13:12", "write \"mine\" or \"all-open\"");
}

#[test]
fn each_fault_of_people_has_its_place_and_says_what_to_do() {
    refused(
        "[[team]]\nname = \"t\"\nmembers = [\"anna\", \"bert\"]\n",
        "12:20",
        "no user \"bert\"",
    );
    refused(&user("ANNA", ""), "11:9", "another user has the login");
    refused(&user("a/b", ""), "11:9", "separates folders");
    refused(&user("a:b", ""), "11:9", "separates a level");
    refused("[[user]]\nlogin = \"c\"\n", "10:1", "`password` is missing; put there what `postfach");
    refused("[[user]]\nlogin = \"c\"\npassword = \"geheim\"\n", "12:12", "none of $argon2id$");
    refused(&user("c", "role = \"root\""), "13:8", "\"member\" or \"admin\" or \"super-admin\"");
    refused(&format!("[[user]]\npassword = \"{HASH}\"\n"), "10:1", "`login` is missing");
    refused(
        "[[team]]\nname = \"t\"\n[[team]]\nname = \"T\"\n",
        "13:8",
        "another team has the name",
    );
    refused("[[taem]]\nname = \"t\"\n", "10:3", "unknown key `taem`");
}

#[test]
fn each_fault_of_mailboxes_has_its_place_and_says_what_to_do() {
    let inbox = |rest: &str| format!("[[inbox]]\nname = \"I\"\n{rest}\n");
    refused(&inbox("teams = [\"support\"]"), "12:10", "no team \"support\"");
    refused(&inbox("users = [\"dora:read\"]"), "12:10", "no user \"dora\"");
    refused(&inbox("users = [\"anna:raed\"]"), "12:10", "no level \"raed\"; write \"name:read\"");
    refused(&inbox("users = [\"anna\", \"anna:read\"]"), "12:18", "anna stands there twice");
    refused(&inbox("teams = []"), "10:1", "lists of who has access are empty");
    refused(&inbox("seen = \"mine\""), "12:8", "\"per-user\" or \"shared\"");
    refused(&inbox("retention_days = 0"), "12:18", "1 to 36500");
    refused(&inbox("[[inbox]]\nname = \"i\""), "13:8", "another inbox has the name \"i\"");
    refused("[[inbox]]\nname = \"a*\"\n", "11:8", "wildcards");
    refused("[[inbox]]\nname = \"\\\\Sent\"\n", "11:8", "marks flags");
    refused("[[inbox]]\nname = \"a\\u0007\"\n", "11:8", "control");
    refused(&format!("[[inbox]]\nname = \"{}\"\n", "a".repeat(256)), "11:8", "255 bytes");
    let channel = |rest: &str| format!("[[channel]]\nname = \"C\"\nowner = \"anna\"\n{rest}\n");
    refused("[[channel]]\nname = \"C\"\n", "10:1", "`owner` is missing");
    refused("[[channel]]\nname = \"C\"\nowner = \"x\"\n", "12:9", "no user \"x\"");
    refused(&channel("routed_to = [\"y\"]"), "13:14", "no user \"y\"");
    refused(&channel("access = \"all\""), "13:10", "not an access");
    refused(&channel("access = { teams = [\"z\"] }"), "13:21", "no team \"z\"");
    refused(&channel("access = { temas = [\"z\"] }"), "13:12", "unknown key `temas`");
    refused(&channel("access = 5"), "13:10", "expected here: \"owner\", \"everyone\" or {");
}

#[test]
fn each_fault_of_addresses_has_its_place_and_says_what_to_do() {
    let inbox = |name: &str, address: &str| {
        format!("[[inbox]]\nname = \"{name}\"\naddresses = [\"{address}\"]\n")
    };
    let two = inbox("I", "i@example.org") + &inbox("J", "I@Example.ORG");
    refused(&two, "15:14", "belongs to the inbox \"I\" already");
    refused(&inbox("I", "anna@example.org"), "12:14", "make a [[channel]] of it");
    refused(&inbox("I", "i@example.com"), "12:14", "add [[domain]] with name = \"example.com\"");
    refused(&inbox("I", "i"), "12:14", "not an address");
    refused(&inbox("I", "i i@example.org"), "12:14", "not an address");
    refused(&inbox("I", "i@example.org\", \"i@example.org"), "12:14", "stands there twice");
    refused(&user("c", "addresses = [\"Anna@example.org\"]"), "13:14", "anna's own already");
    refused("[[domain]]\nname = \"EXAMPLE.org\"\n", "11:8", "declared twice");
    refused("[[domain]]\nname = \"a b\"\n", "11:8", "not a domain");
    refused("[[domain]]\nupstream = \"smtp://h\"\n", "10:1", "`name` is missing");
    refused("[[domain]]\nname = \"b.c\"\nupstream = \"h:25\"\n", "12:12", "smtp://host:25");
    let catch_all = "[[domain]]\nname = \"b.c\"\ncatch_all = \"x@b.c\"\n";
    refused(catch_all, "12:13", "nobody has x@b.c");
}

#[test]
fn a_local_part_has_64_bytes_at_most() {
    let inbox =
        |n| format!("[[inbox]]\nname = \"I\"\naddresses = [\"{}@example.org\"]", "a".repeat(n));
    assert!(parsed(&with(&inbox(64))).is_ok());
    assert!(parsed(&with(&inbox(65))).is_err());
}

#[test]
fn all_faults_are_told_at_once() {
    let rest =
        "[[team]]\nname = \"t\"\nmembers = [\"x\"]\nmebmers = []\n[[inbox]]\nteams = [\"u\"]\n";
    let faults = parsed(&with(rest)).expect_err("four faults");
    let lines: Vec<usize> = faults.iter().map(|f| f.line).collect();
    assert_eq!(lines, [12, 13, 14, 15], "{faults:?}");
}

#[test]
fn a_channel_with_a_personal_address_is_warned_of_until_it_says_so() {
    let channel =
        "[[channel]]\nname = \"C\"\nowner = \"anna\"\naddresses = [\"anna@example.org\"]\n";
    let told = warnings(channel);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("directory.toml:13:14: the channel uses a personal address"));
    assert!(warnings(&format!("{channel}personal = true\n")).is_empty());
}

#[test]
fn what_is_declared_but_not_built_yet_is_warned_of() {
    let switches = "collision = \"off\"\nanswering_assigns = false\nconversation = \"single\"\n";
    let told = warnings(&format!("[[inbox]]\nname = \"I\"\n{switches}"));
    assert!(told.is_empty(), "{told:?}");
    let upstream = "[[domain]]\nname = \"b.c\"\nupstream = \"smtp://old.example:2525\"\n";
    assert!(warnings(upstream).iter().all(|told| !told.contains("upstream")), "it is used");
}

/// Where mail for `address` goes.
fn routed(directory: &Directory, address: &str) -> Routing {
    directory.route(&Address::parse(address).expect("an address"))
}

fn routes() -> Directory {
    valid(&with(
        r#"
[[domain]]
name = "all.example"
catch_all = "rest@all.example"
[[domain]]
name = "split.example"
upstream = "smtp://old.example:25"
[[inbox]]
name = "Support"
addresses = ["Support@example.org", "support+vip@example.org", "rest@all.example"]
[[inbox]]
name = "Vip"
addresses = ["support+gold@example.org", "müller@example.org", "kiosk@example.org"]
[[channel]]
name = "Anna"
owner = "anna"
addresses = ["anna@example.org", "anna@split.example"]
personal = true
"#,
    ))
}

fn inbox(name: &str) -> Routing {
    Routing::Local(vec![Account::Inbox(name.into())])
}

#[test]
fn an_address_is_found_without_regard_to_ascii_case() {
    let directory = routes();
    for address in ["support@example.org", "SUPPORT@EXAMPLE.ORG", "Support@Example.Org"] {
        assert_eq!(routed(&directory, address), inbox("Support"), "{address}");
    }
    assert_eq!(routed(&directory, "müller@example.org"), inbox("Vip"));
    assert_eq!(routed(&directory, "mÜller@example.org"), Routing::Unknown);
}

#[test]
fn look_alikes_of_an_address_are_unknown_and_of_a_domain_foreign() {
    let directory = routes();
    // KELVIN SIGN, whose lower case in Unicode is k
    assert_eq!(routed(&directory, "kios\u{212a}@example.org"), Routing::Unknown);
    for domain in
        ["еxample.org", "example.org.", "ｅxample.org", "xn--xample-2of.org", "example。org"]
    {
        assert_eq!(routed(&directory, &format!("support@{domain}")), Routing::Foreign, "{domain}");
    }
}

#[test]
fn the_detail_after_a_plus_is_the_senders_choice() {
    let directory = routes();
    assert_eq!(routed(&directory, "support+4711@example.org"), inbox("Support"));
    assert_eq!(routed(&directory, "support+a+b@example.org"), inbox("Support"));
    assert_eq!(routed(&directory, "support+@example.org"), inbox("Support"));
    assert_eq!(routed(&directory, "support+gold@example.org"), inbox("Vip"), "exact goes first");
    assert_eq!(routed(&directory, "support+gold+1@example.org"), inbox("Vip"), "then the longest");
    assert_eq!(routed(&directory, "+support@example.org"), Routing::Unknown);
    assert_eq!(routed(&directory, "other+support@example.org"), Routing::Unknown);
}

#[test]
fn a_catch_all_takes_what_nobody_has_in_its_domain_only() {
    let directory = routes();
    assert_eq!(routed(&directory, "whoever@all.example"), inbox("Support"));
    assert_eq!(routed(&directory, "whoever@example.org"), Routing::Unknown);
}

#[test]
fn what_is_not_ours_in_a_split_domain_goes_upstream() {
    let directory = routes();
    let upstream = Routing::Upstream("smtp://old.example:25".into());
    assert_eq!(routed(&directory, "whoever@split.example"), upstream);
    assert!(matches!(routed(&directory, "anna@split.example"), Routing::Both(..)));
    assert_eq!(routed(&directory, "anna@elsewhere.example"), Routing::Foreign);
}

#[test]
fn an_address_of_a_channel_and_of_a_user_goes_to_both() {
    let both = vec![Account::Channel("Anna".into()), Account::User(Login::new("anna"))];
    assert_eq!(routed(&routes(), "anna@example.org"), Routing::Local(both.clone()));
    assert_eq!(routed(&routes(), "anna+x@example.org"), Routing::Local(both));
}

proptest! {
    #[test]
    fn every_address_has_a_routing_and_none_of_a_foreign_domain_is_local(
        local in "\\PC{1,20}",
        domain in prop_oneof![
            Just("example.org".to_owned()), Just("all.example".to_owned()),
            Just("split.example".to_owned()), "\\PC{1,20}",
        ],
    ) {
        let directory = routes();
        let address = Address::new(&local, &domain);
        let ours = directory.domains.contains_key(address.domain());
        match directory.route(&address) {
            Routing::Local(accounts) | Routing::Both(accounts, _) => {
                prop_assert!(ours && !accounts.is_empty());
            }
            Routing::Upstream(_) => prop_assert_eq!(address.domain(), "split.example"),
            Routing::Unknown => prop_assert!(ours),
            Routing::Foreign => prop_assert!(!ours),
        }
    }

    #[test]
    fn upper_case_and_detail_change_nothing(local in "[a-z]{1,8}", detail in "[a-z0-9+]{0,8}") {
        let directory = routes();
        let plain = directory.route(&Address::new(&local, "example.org"));
        let upper = directory.route(&Address::new(&local.to_uppercase(), "EXAMPLE.org"));
        prop_assert_eq!(&plain, &upper);
        let detailed = format!("support+{detail}x");
        let found = directory.route(&Address::new(&detailed, "example.org"));
        prop_assert!(matches!(found, Routing::Local(_)), "{}", detailed);
    }

    #[test]
    fn no_directory_text_makes_the_check_panic(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("[[user]]\n"), Just("[[inbox]]\n"), Just("[[channel]]\n"), Just("[[team]]\n"),
                Just("[[domain]]\n"), Just("name = \"a\"\n"), Just("login = \"a\"\n"),
                Just("owner = \"a\"\n"), Just("addresses = [\"a@b.c\"]\n"), Just("name = 1\n"),
                Just("access = { teams = [\"a:read\"], users = [] }\n"), Just("access = []\n"),
                Just("routed_to = [\":\", \"a:\"]\n"), Just("users = [\"\"]\n"),
                Just("role = \"\""),
                Just("catch_all = \"@\"\n"), Just("upstream = \"smtp://:\"\n"), Just("ü"),
                Just("password = \"$2b$04$ü\"\n"), Just("name = \"b.c\"\n"), Just("= "),
            ],
            0..20,
        )
    ) {
        let _ = parsed(&parts.concat());
    }
}
