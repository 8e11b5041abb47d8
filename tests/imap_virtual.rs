//! Random commands of several users, and of an administrator, against what `Mine` and `All open`
//! should show each of them: every message that lies open in an inbox that they may read, and none
//! that they may not; with \Seen as it is where it lies.

mod imap_support;

use std::collections::{BTreeMap, BTreeSet};

use imap_support::{Client, World, account};
use postfach::directory::{Place, view};
use postfach::mail::account::{Account, FolderNames};
use postfach::mail::flag::SystemFlags;
use postfach::mail::id::Login;
use postfach::store::Store;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

const USERS: [&str; 3] = ["anna", "ben", "carla"];
const BOXES: [&str; 2] = ["Mine", "\"All open\""];
const TARGETS: [&str; 6] = [
    "Shared/Support/Assigned/anna",
    "Shared/Support/Assigned/ben",
    "Shared/Support/Done",
    "Shared/Info",
    "Shared/Info/Assigned/ben",
    "INBOX",
];

#[derive(Clone, Debug)]
enum Op {
    Deliver(usize),
    /// A command of a user in one of the two, on the nth message.
    Command {
        client: usize,
        command: usize,
        nth: usize,
        target: usize,
        by_uid: bool,
    },
    /// From Support, as everybody else does it.
    Inbox {
        user: usize,
        command: usize,
        target: usize,
    },
    Fire(usize),
    Hire(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0..3usize).prop_map(Op::Deliver),
        6 => (0..6usize, 0..8usize, 0..4usize, 0..TARGETS.len(), any::<bool>()).prop_map(
            |(client, command, nth, target, by_uid)| Op::Command {
                client, command, nth, target, by_uid
            }
        ),
        3 => (0..2usize, 0..4usize, 0..TARGETS.len())
            .prop_map(|(user, command, target)| Op::Inbox { user, command, target }),
        1 => (0..2usize).prop_map(Op::Fire),
        1 => (0..2usize).prop_map(Op::Hire),
    ]
}

/// Subject, whether it is seen, and flagged; sorted.
type Shown = Vec<(String, bool, bool)>;

struct Play {
    world: World,
    /// Of each user one in each of the two.
    clients: Vec<Client>,
    delivered: usize,
    /// What each UID meant to each client.
    meant: Vec<BTreeMap<u32, String>>,
}

impl Play {
    async fn new() -> Play {
        let directory = format!("virtual = [\"mine\", \"all-open\"]\n{}", imap_support::DIRECTORY);
        let world = World::of(&directory, FolderNames::default(), &[]).await;
        let mut clients = Vec::new();
        for user in USERS {
            for name in BOXES {
                let mut client = world.client(user).await;
                client.send(&world, format!("s SELECT {name}\r\n").as_bytes()).await;
                assert!(client.take().contains("s OK"));
                clients.push(client);
            }
        }
        let meant = vec![BTreeMap::new(); clients.len()];
        Play { world, clients, delivered: 0, meant }
    }

    async fn perform(&mut self, op: &Op) {
        match *op {
            Op::Deliver(inbox) => {
                self.delivered += 1;
                let to = ["inbox Support", "inbox Info", "inbox Sales"][inbox];
                let text = format!("Subject: m{}\r\n\r\n.\r\n", self.delivered);
                self.world.deliver(&account(to), &text).await;
            }
            Op::Command { client, command, nth, target, by_uid } => {
                let line = line((command, nth + 1), (TARGETS[target], by_uid));
                self.clients[client].send(&self.world, format!("c {line}\r\n").as_bytes()).await;
                let answer = self.clients[client].take();
                assert!(!answer.contains("SERVERBUG"), "{answer}");
                self.forbidden(client, &answer).await;
            }
            Op::Inbox { user, command, target } => {
                let mut client = self.world.client(USERS[user]).await;
                let line = line((command, 1), (TARGETS[target], false));
                let lines = format!("s SELECT Shared/Support\r\nc {line}\r\n");
                client.send(&self.world, lines.as_bytes()).await;
            }
            Op::Fire(user) => self.world.declare(|directory| {
                let team = directory.teams.get_mut("support").expect("a team");
                team.retain(|member| member.as_str() != USERS[user]);
            }),
            Op::Hire(user) => self.world.declare(|directory| {
                let team = directory.teams.get_mut("support").expect("a team");
                team.retain(|member| member.as_str() != USERS[user]);
                team.push(Login::new(USERS[user]));
            }),
        }
        for client in &mut self.clients {
            client.wake(&self.world).await;
        }
    }

    /// Nothing in an answer is of an inbox that the user may not read.
    async fn forbidden(&self, client: usize, answer: &str) {
        let allowed = self.readable(USERS[client / 2]).await;
        for subject in answer.split("Subject: ").skip(1) {
            let subject = subject.split("\r\n").next().unwrap_or_default();
            assert!(allowed.contains(subject), "{} was shown {subject}", USERS[client / 2]);
        }
    }

    /// The subjects of all that lies where a user may read.
    async fn readable(&self, user: &str) -> BTreeSet<String> {
        let mut subjects = BTreeSet::new();
        for visible in view(&self.world.directory, &Login::new(user)) {
            for mailbox in self.world.store.mailboxes(&visible.account) {
                let is_virtual = mailbox.virtual_role().is_some();
                let snapshot = self.world.store.snapshot(mailbox.id).await.expect("there");
                for entry in snapshot.iter().filter(|_| !is_virtual) {
                    subjects.insert(self.subject(entry.blob).await);
                }
            }
        }
        subjects
    }

    async fn subject(&self, blob: postfach::mail::id::BlobId) -> String {
        let bytes = self.world.store.body(blob, 0..100).await.expect("there");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        text.split("\r\n").next().unwrap_or_default().trim_start_matches("Subject: ").to_owned()
    }

    /// The slow way.
    async fn expected(&self, client: usize) -> Shown {
        let user = Login::new(USERS[client / 2]);
        let mut shown = Shown::new();
        for visible in view(&self.world.directory, &user) {
            let is_team = !matches!(visible.account, Account::User(_));
            if !is_team || matches!(visible.place, Place::OtherUsers(_)) {
                continue;
            }
            for mailbox in self.world.store.mailboxes(&visible.account) {
                let folder = &mailbox.folder;
                let is_shown = match client % 2 {
                    0 => folder.assignee() == Some(user.as_str()),
                    _ => folder.is_root() || folder.assignee().is_some(),
                };
                if !is_shown {
                    continue;
                }
                let snapshot = self.world.store.snapshot(mailbox.id).await.expect("there");
                let overlay = self.world.store.overlay(mailbox.id, &user).await.expect("there");
                for entry in snapshot.iter() {
                    let flagged = entry.flags.contains(SystemFlags::FLAGGED);
                    let subject = self.subject(entry.blob).await;
                    shown.push((subject, overlay.seen(entry.uid), flagged));
                }
            }
        }
        shown.sort();
        shown
    }

    async fn check(&mut self) {
        for at in 0..self.clients.len() {
            let expected = self.expected(at).await;
            let client = &mut self.clients[at];
            let command =
                "n NOOP\r\nf UID FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])\r\n";
            client.send(&self.world, command.as_bytes()).await;
            let answer = client.take();
            let answer = answer.split("n OK").nth(1).unwrap_or_default();
            let mut shown = Shown::new();
            for part in answer.split(" FETCH (UID ").skip(1) {
                let uid: u32 = part.split(' ').next().expect("a UID").parse().expect("a number");
                let subject = part.split("Subject: ").nth(1).expect("a subject");
                let subject = subject.split("\r\n").next().expect("a line").to_owned();
                let before = self.meant[at].entry(uid).or_insert_with(|| subject.clone());
                assert_eq!(*before, subject, "UID {uid} is used twice");
                shown.push((subject, part.contains("\\Seen"), part.contains("\\Flagged")));
            }
            shown.sort();
            assert_eq!(shown, expected, "{} in {}", USERS[at / 2], BOXES[at % 2]);
        }
    }
}

fn line((command, nth): (usize, usize), (target, by_uid): (&str, bool)) -> String {
    let uid = if by_uid { "UID " } else { "" };
    match command {
        0 => format!("{uid}STORE {nth} +FLAGS.SILENT (\\Seen)"),
        1 => format!("{uid}MOVE {nth} {target}"),
        2 => format!("{uid}COPY {nth} {target}"),
        3 => format!("{uid}STORE {nth} +FLAGS ($assigned-anna)"),
        4 => format!("{uid}FETCH {nth} (BODY[])"),
        5 => format!("{uid}STORE {nth} -FLAGS (\\Seen \\Flagged)"),
        6 => format!("{uid}STORE {nth} +FLAGS (\\Deleted \\Flagged)"),
        _ => "EXPUNGE".to_owned(),
    }
}

#[test]
fn each_user_is_shown_what_is_open_where_they_may_read_and_nothing_else() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let ops = proptest::collection::vec(op(), 1..30);
    let played = TestRunner::new(config).run(&ops, |ops| {
        runtime.block_on(async {
            let mut play = Play::new().await;
            for op in &ops {
                play.perform(op).await;
                play.check().await;
            }
        });
        Ok(())
    });
    played.expect("all of them hold");
}
