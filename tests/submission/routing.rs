//! New conversations of an inbox with rules: who gets them, and what the customer is told.

use std::collections::BTreeMap;
use std::sync::Arc;

use postfach::delivery::{self, Content, Keys, Origin, Site};
use postfach::directory::rule::Action;
use postfach::mail::account::Folder;
use postfach::mail::address::Address;
use postfach::mail::day::Day;
use postfach::mail::id::Timestamp;
use postfach::mail::transport::Notify;
use postfach::outbound::dkim::{Algorithm, KeyPair, SigningKey};
use postfach::store::Store;

use crate::world::{World, inbox, login, new_message, sent};

/// Everybody works in Help but dora, who reads.
const HELP: &str = r#"
[[team]]
name = "night"
members = ["ben", "dora"]
[[inbox]]
name = "Help"
addresses = ["help@example.org"]
users = ["anna", "ben", "dora:read", "carla"]
[[user]]
login = "carla"
name = "Carla"
password = "HASH"
"#;

const HELP_ADDRESS: &[&str] = &["help@example.org"];

async fn world(rules: &str) -> World {
    World::with(&HELP.replace("[[user]]", &format!("{rules}\n[[user]]"))).await
}

fn mail(id: &str, more: &str) -> String {
    format!(
        "From: kunde@customer.example\r\nTo: help@example.org\r\nMessage-ID: <{id}@c>\r\n\
         {more}\r\nWo?\r\n"
    )
}

async fn count(world: &World, folder: Folder) -> usize {
    world.messages((&inbox("Help"), folder), "anna").await.len()
}

/// How many messages lie with whom; under "" those with nobody.
async fn spread(world: &World) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::from([(String::new(), count(world, Folder::root()).await)]);
    for user in ["anna", "ben", "carla"] {
        spread.insert(user.into(), count(world, Folder::assigned(&login(user))).await);
    }
    spread.retain(|_, messages| *messages > 0);
    spread
}

fn spread_of(rows: &[(&str, usize)]) -> BTreeMap<String, usize> {
    rows.iter().map(|(user, messages)| ((*user).to_owned(), *messages)).collect()
}

#[tokio::test]
async fn round_robin_gives_everybody_the_same_and_the_keyword_names_them() {
    let world = world("[[inbox.route]]\npick = \"round-robin\"").await;
    for n in 0..7 {
        world.receive(HELP_ADDRESS, &mail(&format!("q{n}"), "")).await;
    }
    assert_eq!(spread(&world).await, spread_of(&[("anna", 3), ("ben", 2), ("carla", 2)]));
    let bens = Folder::assigned(&login("ben"));
    let bens = world.messages((&inbox("Help"), bens), "ben").await;
    assert_eq!(bens[0].keywords, ["$assigned-ben"]);
    assert!(bens[0].text.contains("Message-ID: <q1@c>"), "{}", bens[0].text);
}

#[test]
fn deliveries_at_the_same_time_are_as_fair() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let world = runtime().block_on(world("[[inbox.route]]\npick = \"round-robin\""));
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let world = &world;
            scope.spawn(move || {
                runtime().block_on(async {
                    for n in 0..10 {
                        world.receive(HELP_ADDRESS, &mail(&format!("q{thread}.{n}"), "")).await;
                    }
                });
            });
        }
    });
    let spread = runtime().block_on(spread(&world));
    assert_eq!(spread, spread_of(&[("anna", 20), ("ben", 20), ("carla", 20)]));
}

#[tokio::test]
async fn only_those_who_work_there_now_are_chosen() {
    let rule = "[[inbox.route]]\nusers = [\"carla\"]\nteams = [\"night\"]";
    let mut world = world(rule).await;
    for n in 0..4 {
        world.receive(HELP_ADDRESS, &mail(&format!("q{n}"), "")).await;
    }
    assert_eq!(spread(&world).await, spread_of(&[("ben", 2), ("carla", 2)]), "dora only reads");
    world.directory.users.remove(&login("ben"));
    world.receive(HELP_ADDRESS, &mail("q4", "")).await;
    world.receive(HELP_ADDRESS, &mail("q5", "")).await;
    assert_eq!(spread(&world).await, spread_of(&[("ben", 2), ("carla", 4)]));
    world.directory.users.remove(&login("carla"));
    world.receive(HELP_ADDRESS, &mail("q6", "")).await;
    assert_eq!(spread(&world).await, spread_of(&[("", 1), ("ben", 2), ("carla", 4)]));
}

#[tokio::test]
async fn least_open_counts_conversations_and_not_messages() {
    let world = world(
        "[[inbox.route]]\nsubject = [\"anna\"]\nusers = [\"anna\"]\n\
         [[inbox.route]]\nusers = [\"anna\", \"ben\"]\npick = \"least-open\"",
    )
    .await;
    world.receive(HELP_ADDRESS, &mail("a1", "Subject: anna\r\n")).await;
    for n in 2..6 {
        let follows = format!("Subject: Re: anna\r\nIn-Reply-To: <a{}@c>\r\n", n - 1);
        world.receive(HELP_ADDRESS, &mail(&format!("a{n}"), &follows)).await;
    }
    assert_eq!(spread(&world).await, spread_of(&[("anna", 5)]), "one conversation");
    world.receive(HELP_ADDRESS, &mail("q1", "")).await;
    assert_eq!(spread(&world).await, spread_of(&[("anna", 5), ("ben", 1)]), "ben has none");
    world.receive(HELP_ADDRESS, &mail("q2", "")).await;
    assert_eq!(spread(&world).await, spread_of(&[("anna", 6), ("ben", 1)]), "it was a tie");
    world.receive(HELP_ADDRESS, &mail("q3", "")).await;
    assert_eq!(spread(&world).await, spread_of(&[("anna", 6), ("ben", 2)]));
}

#[tokio::test]
async fn a_follow_up_sticks_to_its_assignee_before_any_rule() {
    let world = world(
        "[[inbox.route]]\nsubject = [\"ben\"]\nusers = [\"ben\"]\n\
         [[inbox.route]]\nfolder = \"junk\"",
    )
    .await;
    world.receive(HELP_ADDRESS, &mail("q1", "Subject: for ben\r\n")).await;
    world.receive(HELP_ADDRESS, &mail("q2", "Subject: other\r\nIn-Reply-To: <q1@c>\r\n")).await;
    assert_eq!(spread(&world).await, spread_of(&[("ben", 2)]));
    assert_eq!(count(&world, Folder::new("\\Junk")).await, 0);
    world.receive(HELP_ADDRESS, &mail("q3", "Subject: other\r\n")).await;
    assert_eq!(count(&world, Folder::new("\\Junk")).await, 1);
}

#[tokio::test]
async fn rules_look_at_sender_detail_and_header() {
    let world = world(
        "[[inbox.route]]\nsender_domain = [\"big.example\"]\nusers = [\"anna\"]\n\
         [[inbox.route]]\ndetail = [\"vip\"]\nusers = [\"ben\"]\n\
         [[inbox.route]]\nheader = \"X-Form\"\ncontains = \"order\"\nusers = [\"carla\"]\n\
         [[inbox.route]]\nsubject = [\"unsubscribe\"]\nfolder = \"done\"",
    )
    .await;
    let from_big = mail("q1", "").replace("customer.example", "shop.big.example");
    world.receive(HELP_ADDRESS, &from_big).await;
    world.receive(&["help+VIP@example.org"], &mail("q2", "")).await;
    world.receive(HELP_ADDRESS, &mail("q3", "X-Form: new ORDER 12\r\n")).await;
    world.receive(HELP_ADDRESS, &mail("q4", "Subject: please unsubscribe me\r\n")).await;
    world.receive(HELP_ADDRESS, &mail("q5", "Subject: something else\r\n")).await;
    let expected = spread_of(&[("", 1), ("anna", 1), ("ben", 1), ("carla", 1)]);
    assert_eq!(spread(&world).await, expected);
    assert_eq!(count(&world, Folder::new("\\Done")).await, 1);
    assert!(world.store.turns(&inbox("Help")).is_empty(), "who alone is meant takes no turn");
}

#[tokio::test]
async fn colleagues_mail_to_an_inbox_is_routed_too() {
    let world = world("[[inbox.route]]\nusers = [\"carla\"]").await;
    let text = "From: anna@example.org\r\nTo: help@example.org\r\nMessage-ID: <i@x>\r\n\r\nHi\r\n";
    world.submit("anna", ("anna@example.org", HELP_ADDRESS), text).await.expect("accepted");
    assert_eq!(spread(&world).await, spread_of(&[("carla", 1)]));
}

const ACKNOWLEDGED: &str = "[inbox.acknowledgement]\nsubject = \"[{reference}] {subject}\"\n\
                            text = \"\"\"Danke für Ihre Mail an {inbox}.\nIhre Nummer: {reference}\
                            \"\"\"\n[[inbox.route]]\nusers = [\"ben\"]";

/// From the queue: to whom, and the message.
async fn acknowledgements(world: &World) -> Vec<(Address, String)> {
    let mut all = Vec::new();
    for queued in world.queue() {
        assert_eq!(queued.envelope.reverse_path, None);
        assert_eq!(queued.recipients[0].notify, Some(Notify::default()));
        all.push((queued.recipients[0].address.clone(), world.queued_text(&queued).await));
    }
    all
}

#[tokio::test]
async fn a_new_conversation_is_acknowledged_and_the_copy_lies_in_sent() {
    let world = world(ACKNOWLEDGED).await;
    world.receive(HELP_ADDRESS, &mail("q1", "Subject: Frage\r\nReferences: <q0@c>\r\n")).await;
    assert_eq!(spread(&world).await, spread_of(&[("ben", 1)]));
    let told = acknowledgements(&world).await;
    let [(to, text)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(to.to_string(), "kunde@customer.example");
    let subject = text.lines().find(|line| line.starts_with("Subject: [")).expect("a subject");
    let reference = &subject["Subject: [".len()..][..9];
    for expected in [
        "From: \"Help\" <help@example.org>\r\nTo: <kunde@customer.example>\r\n",
        &format!("Subject: [{reference}] Frage\r\n"),
        "In-Reply-To: <q1@c>\r\nReferences: <q0@c>\r\n\t<q1@c>\r\n",
        "Auto-Submitted: auto-replied\r\n",
        "Content-Transfer-Encoding: base64\r\n",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let filed = world.messages((&inbox("Help"), sent()), "carla").await;
    assert_eq!(filed.len(), 1);
    assert_eq!(filed[0].text, *text, "unsigned here");
    assert_eq!(format!("{:?}", filed[0].flags), "SystemFlags(1)".to_owned(), "read by everybody");
}

#[tokio::test]
async fn an_answer_to_the_acknowledgement_is_a_follow_up() {
    let world = world(ACKNOWLEDGED).await;
    world.receive(HELP_ADDRESS, &mail("q1", "")).await;
    let told = acknowledgements(&world).await;
    let id = told[0].1.split("Message-ID: <").nth(1).and_then(|rest| rest.split('>').next());
    let answer = format!("In-Reply-To: <{}>\r\n", id.expect("an id"));
    world.clock.set(Timestamp::from_seconds(world.store.now().seconds() + 8 * 86_400));
    world.receive(HELP_ADDRESS, &mail("q2", &answer)).await;
    assert_eq!(spread(&world).await, spread_of(&[("ben", 2)]));
    assert_eq!(acknowledgements(&world).await.len(), 1, "a follow-up is not acknowledged");
}

#[tokio::test]
async fn a_customer_is_told_once_a_week_by_each_inbox() {
    let world = world(ACKNOWLEDGED).await;
    let begin = world.store.now().seconds();
    for (after, from, told) in [
        (0, "kunde@customer.example", 1),
        (60, "Kunde@customer.example", 1),
        (60, "other@customer.example", 2),
        (6 * 86_400, "kunde@customer.example", 2),
        (7 * 86_400 - 1, "kunde@customer.example", 2),
        (7 * 86_400, "kunde@customer.example", 3),
    ] {
        world.clock.set(Timestamp::from_seconds(begin + after));
        let text = mail(&format!("q{after}{from}"), &format!("X: {after} {from}\r\n"));
        world.receive_from(from, HELP_ADDRESS, &text).await;
        assert_eq!(acknowledgements(&world).await.len(), told, "{after} {from}");
    }
    assert_eq!(spread(&world).await, spread_of(&[("ben", 6)]));
    assert_eq!(world.messages((&inbox("Help"), sent()), "anna").await.len(), 3);
}

#[tokio::test]
async fn programs_and_colleagues_are_not_told() {
    let world = world(ACKNOWLEDGED).await;
    for (n, (from, more)) in [
        ("", ""),
        ("anna@example.org", ""),
        ("no-reply@customer.example", ""),
        ("kunde@customer.example", "Auto-Submitted: auto-generated\r\n"),
        ("kunde@customer.example", "Precedence: bulk\r\n"),
        ("kunde@customer.example", "List-Id: x\r\n"),
    ]
    .into_iter()
    .enumerate()
    {
        world.receive_from(from, HELP_ADDRESS, &mail(&format!("q{n}"), more)).await;
    }
    let hidden = mail("q9", "").replace("To: help@example.org", "To: x@y.example");
    world.receive(HELP_ADDRESS, &hidden).await;
    assert_eq!(spread(&world).await, spread_of(&[("ben", 7)]));
    assert!(acknowledgements(&world).await.is_empty());
}

#[tokio::test]
async fn junk_is_not_acknowledged_and_a_customer_of_the_upstream_is_told_there() {
    let rules = ACKNOWLEDGED.replace("users = [\"ben\"]", "subject = [\"win\"]\nfolder = \"junk\"");
    let world = world(&rules).await;
    world.receive(HELP_ADDRESS, &mail("q1", "Subject: win now\r\n")).await;
    assert_eq!(count(&world, Folder::new("\\Junk")).await, 1);
    assert!(acknowledgements(&world).await.is_empty());
    let text = mail("q2", "").replace("kunde@customer.example", "old@split.example");
    world.receive_from("old@split.example", HELP_ADDRESS, &text).await;
    let queue = world.queue();
    assert_eq!(queue[0].recipients[0].upstream.as_deref(), Some("smtp://old.example:25"));
}

#[tokio::test]
async fn a_rule_names_its_people_by_the_directory() {
    let world = world("[[inbox.route]]\nusers = [\"Anna\"]\nteams = [\"Night\"]").await;
    let rules = &world.directory.inboxes[&Arc::from("Help")].policy.rules;
    let Action::Assign { users, teams, .. } = &rules[0].action else { panic!("{rules:?}") };
    assert_eq!((users.as_slice(), teams.as_slice()), (&[login("anna")][..], &["night".into()][..]));
}

/// A domain with a key.
struct Signing(Arc<[SigningKey]>);

impl Keys for Signing {
    fn of(&self, domain: &str) -> Option<Arc<[SigningKey]>> {
        (domain == "example.org").then(|| self.0.clone())
    }
}

#[tokio::test]
async fn an_acknowledgement_is_signed_by_the_inboxs_domain() {
    let world = world(ACKNOWLEDGED).await;
    let pair = KeyPair::generate(Algorithm::Ed25519Sha256).expect("made");
    let (domain, selector) = ("example.org".into(), "s".into());
    let keys = Signing([SigningKey { domain, selector, pair: Arc::new(pair) }].into());
    let site = Site { store: &world.store, directory: &world.directory, keys: &keys };
    let text = mail("q1", "");
    let message = new_message(&text);
    let content = Content { message: &message, head: text.as_bytes() };
    let envelope = world.envelope("kunde@customer.example", HELP_ADDRESS, Origin::Relay);
    delivery::deliver(&site, &envelope, content).await.expect("accepted");
    let told = acknowledgements(&world).await;
    assert!(told[0].1.starts_with("DKIM-Signature: v=1; a=ed25519-sha256;"), "{}", told[0].1);
    assert!(told[0].1.contains(" d=example.org;"), "{}", told[0].1);
    let filed = world.messages((&inbox("Help"), sent()), "carla").await;
    assert!(filed[0].text.starts_with("From: \"Help\""), "the copy needs none: {}", filed[0].text);
}

#[tokio::test]
async fn who_is_away_is_not_chosen() {
    let mut world = world("[[inbox.route]]\npick = \"round-robin\"").await;
    let now = world.store.now();
    world.directory.away.insert(login("ben"), Day::of(now));
    for n in 0..4 {
        world.receive(HELP_ADDRESS, &mail(&format!("q{n}"), "")).await;
    }
    assert_eq!(spread(&world).await, spread_of(&[("anna", 2), ("carla", 2)]));
    world.clock.set(Timestamp::from_seconds(now.seconds() + 86_400));
    world.receive(HELP_ADDRESS, &mail("q4", "")).await;
    assert_eq!(spread(&world).await, spread_of(&[("anna", 2), ("ben", 1), ("carla", 2)]));
}
