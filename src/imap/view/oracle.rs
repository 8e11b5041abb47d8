//! Views beside a slow model that keeps a row for each user and message: what users do at random is
//! done in both, and SELECT, STATUS, LIST-STATUS, SEARCH, FETCH, CHANGEDSINCE, QRESYNC and NOTIFY
//! must say the same. On each engine, which is closed and opened again now and then; where it is of
//! several nodes, each session is on one of them, and is asked when the nodes agree.
//! `POSTFACH_SEED` repeats a run; the seed stands in the output of one that fails.

mod watchers;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::imap::rig::{Client, Rig};
use crate::mail::flag::SeenMode;
use crate::store::contract::stand::Engine;
use watchers::Watcher;

const STEPS: usize = 10_000;
/// Where each step waits for a server, and a machine is shared with other tests.
const STEPS_ON_A_SERVER: usize = 2_000;
/// In so many steps a node is started again once.
const STEPS_BETWEEN_RESTARTS: usize = 250;
/// The last one may only read.
const USERS: [&str; 4] = ["anna", "ben", "sam", "dora"];
const FLAGS: [&str; 6] = ["\\Seen", "\\Flagged", "\\Answered", "\\Deleted", "Later", "$Label1"];
/// More messages than this are made fewer.
const MESSAGES_MAX: usize = 40;

/// Numbers that look random, from one seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }

    fn one<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// What each user sees of a message, told in full for each.
#[derive(Clone, Default)]
struct Row {
    flags: BTreeSet<&'static str>,
    /// The step at which the user's flags were changed last, or might have been.
    changed: usize,
}

#[derive(Default)]
struct Model {
    /// By UID, then by user.
    rows: BTreeMap<u32, [Row; USERS.len()]>,
    expunged: Vec<(u32, usize)>,
    uid_next: u32,
    step: usize,
    /// HIGHESTMODSEQ after each step.
    modseqs: Vec<u64>,
}

struct Oracle {
    rig: Rig,
    random: Random,
    model: Model,
    shared: bool,
    clients: Vec<Client>,
    /// Of each user one: they are told unasked.
    watchers: Vec<Watcher>,
}

impl Oracle {
    fn new((engine, seen): (Engine, SeenMode), seed: u64) -> Oracle {
        let rig = Rig::on(engine, seen);
        let model = Model { uid_next: 1, modseqs: vec![1], ..Model::default() };
        let shared = seen == SeenMode::Shared;
        let random = Random(seed | 1);
        let (clients, watchers) = (Vec::new(), Vec::new());
        let mut oracle = Oracle { rig, random, model, shared, clients, watchers };
        for user in 0..USERS.len() {
            let (client, watcher) = (oracle.reader(user), oracle.watcher(user));
            oracle.clients.push(client);
            oracle.watchers.push(watcher);
        }
        oracle
    }

    fn node(&mut self) -> usize {
        self.random.below(self.rig.nodes())
    }

    fn reader(&mut self, user: usize) -> Client {
        let node = self.node();
        let mut client = self.rig.client_on(node, USERS[user]);
        self.rig.send(&mut client, "SELECT Shared/Support");
        client
    }

    /// A node goes, and with it its sessions; they come again, on whichever node.
    fn restart(&mut self) {
        let node = self.node();
        self.rig.restart(node);
        for user in 0..USERS.len() {
            if self.clients[user].node() == node {
                self.clients[user] = self.reader(user);
            }
            if self.watchers[user].is_on(node) {
                self.watchers[user] = self.watcher(user);
            }
        }
    }

    /// By a client that has just been told everything.
    fn send(&mut self, user: usize, command: &str) -> String {
        self.rig.send(&mut self.clients[user], "NOOP");
        self.rig.send(&mut self.clients[user], command)
    }

    /// Some UIDs, among them some that are not there.
    fn some_uids(&mut self) -> (u32, u32) {
        let a = 1 + self.random.below(self.model.uid_next as usize + 2) as u32;
        (a, a + self.random.below(6) as u32)
    }

    fn change(&mut self) {
        self.model.step += 1;
        let user = self.random.below(USERS.len());
        let crowded = self.model.rows.len() > MESSAGES_MAX;
        match self.random.below(12) {
            0..=2 if !crowded => self.deliver(),
            3 => self.read(user),
            4 => self.expunge(user),
            5 => self.remove(user),
            _ if crowded => self.remove(0),
            _ => self.store(user),
        }
        let status = self.send_status(0);
        self.model.modseqs.push(status.highest_modseq.0);
    }

    fn deliver(&mut self) {
        let delivery = self.rig.delivery("Subject: new\r\n\r\nbody\r\n");
        let node = self.node();
        self.rig.commit_on(node, vec![delivery]);
        let (uid, changed) = (self.model.uid_next, self.model.step);
        let row = Row { flags: BTreeSet::new(), changed };
        self.model.rows.insert(uid, std::array::from_fn(|_| row.clone()));
        self.model.uid_next += 1;
    }

    fn store(&mut self, user: usize) {
        let (first, last) = self.some_uids();
        let flag = *self.random.one(&FLAGS);
        let sign = *self.random.one(&["+", "-", ""]);
        let silent = *self.random.one(&["", ".SILENT"]);
        self.send(user, &format!("UID STORE {first}:{last} {sign}FLAGS{silent} ({flag})"));
        for uid in first..=last {
            for named in FLAGS {
                let on = match sign {
                    "+" if named == flag => true,
                    "-" if named == flag => false,
                    "" => named == flag,
                    _ => continue,
                };
                if USERS[user] != "dora" || named == "\\Seen" {
                    self.model.set((uid, user), (named, on), self.shared);
                }
            }
        }
    }

    fn read(&mut self, user: usize) {
        let (first, last) = self.some_uids();
        self.send(user, &format!("UID FETCH {first}:{last} BODY[]"));
        for uid in first..=last {
            self.model.set((uid, user), ("\\Seen", true), self.shared);
        }
    }

    fn expunge(&mut self, user: usize) {
        let (first, last) = self.some_uids();
        self.send(user, &format!("UID EXPUNGE {first}:{last}"));
        if USERS[user] != "dora" {
            let deleted = |rows: &[Row; USERS.len()]| rows[0].flags.contains("\\Deleted");
            self.model.forget((first, last), deleted);
        }
    }

    fn remove(&mut self, user: usize) {
        let (first, last) = self.some_uids();
        self.send(user, &format!("UID MOVE {first}:{last} Shared/Support/Done"));
        if USERS[user] != "dora" {
            self.model.forget((first, last), |_| true);
        }
    }

    fn check(&mut self) {
        let user = self.random.below(USERS.len());
        match self.random.below(8) {
            6 => self.check_watcher(user),
            7 => self.check_list_status(user),
            0 => self.check_select(user),
            1 => self.check_status(user),
            2 => self.check_search(user),
            3 => self.check_told(user),
            4 => self.check_changed(user),
            _ => self.check_resynchronised(user),
        }
    }

    fn opened(&mut self, user: usize) -> (Client, String) {
        let node = self.node();
        let mut client = self.rig.client_on(node, USERS[user]);
        let answer = self.rig.send(&mut client, "EXAMINE Shared/Support");
        (client, answer)
    }

    fn check_select(&mut self, user: usize) {
        let (_, answer) = self.opened(user);
        let rows = &self.model.rows;
        assert!(answer.contains(&format!("* {} EXISTS", rows.len())), "{answer}");
        let unseen = rows.values().position(|row| !row[user].flags.contains("\\Seen"));
        let told = answer.split("[UNSEEN ").nth(1).map(|rest| number(rest) as usize);
        assert_eq!(told, unseen.map(|at| at + 1), "{answer}");
        assert!(answer.contains(&format!("[UIDNEXT {}]", self.model.uid_next)), "{answer}");
    }

    fn send_status(&mut self, user: usize) -> crate::store::Status {
        let node = self.node();
        self.rig.status_on(node, USERS[user])
    }

    fn check_status(&mut self, user: usize) {
        let status = self.send_status(user);
        let count = |flag: &str| {
            self.model.rows.values().filter(|row| row[user].flags.contains(flag)).count() as u32
        };
        let messages = self.model.rows.len() as u32;
        assert_eq!((status.messages, status.uid_next.0), (messages, self.model.uid_next));
        assert_eq!(
            (status.unseen, status.deleted),
            (messages - count("\\Seen"), count("\\Deleted"))
        );
        assert_eq!(Some(&status.highest_modseq.0), self.model.modseqs.last());
    }

    fn check_search(&mut self, user: usize) {
        let (keys, expected) = self.search_program(user, 2);
        let (mut client, _) = self.opened(user);
        let answer = self.rig.send(&mut client, &format!("UID SEARCH {keys}"));
        let line = answer.lines().find_map(|line| line.strip_prefix("* SEARCH")).expect("a line");
        let found: BTreeSet<u32> = line.split_whitespace().map(|n| number(n) as u32).collect();
        assert_eq!(found, expected, "{keys}");
    }

    /// Keys, and what meets them.
    fn search_program(&mut self, user: usize, depth: usize) -> (String, BTreeSet<u32>) {
        let all: BTreeSet<u32> = self.model.rows.keys().copied().collect();
        if depth > 0 && self.random.below(2) == 0 {
            let (one, first) = self.search_program(user, depth - 1);
            let (two, second) = self.search_program(user, depth - 1);
            return match self.random.below(3) {
                0 => (format!("OR ({one}) ({two})"), &first | &second),
                1 => (format!("({one} {two})"), &first & &second),
                _ => (format!("NOT ({one})"), &all - &first),
            };
        }
        if self.random.below(4) == 0 {
            let (first, last) = self.some_uids();
            let uids = all.range(first..=last).copied().collect();
            return (format!("UID {first}:{last}"), uids);
        }
        let flag = *self.random.one(&FLAGS);
        let key = match flag.strip_prefix('\\') {
            Some(name) => name.to_uppercase(),
            None => format!("KEYWORD {flag}"),
        };
        let has = |(_, row): &(&u32, &[Row; USERS.len()])| row[user].flags.contains(flag);
        (key, self.model.rows.iter().filter(has).map(|(uid, _)| *uid).collect())
    }

    /// A session that was there all the time, by what its own untagged responses have said.
    fn check_told(&mut self, user: usize) {
        let answer = self.send(user, "UID FETCH 1:* (FLAGS)");
        let all = self.model.rows.iter().map(|(uid, row)| (*uid, row[user].flags.clone()));
        assert_eq!(fetched(&answer), all.collect(), "{answer}");
    }

    /// What has changed since an earlier step, for this user.
    fn expected_since(&self, user: usize, step: usize) -> BTreeMap<u32, BTreeSet<&'static str>> {
        let changed = self.model.rows.iter().filter(|(_, row)| row[user].changed > step);
        changed.map(|(uid, row)| (*uid, row[user].flags.clone())).collect()
    }

    fn check_changed(&mut self, user: usize) {
        let step = self.random.below(self.model.step + 1);
        let since = self.model.modseqs[step];
        let (mut client, _) = self.opened(user);
        let command = format!("UID FETCH 1:* (FLAGS) (CHANGEDSINCE {since})");
        let answer = self.rig.send(&mut client, &command);
        assert_eq!(fetched(&answer), self.expected_since(user, step), "since {since}: {answer}");
    }

    fn check_resynchronised(&mut self, user: usize) {
        let step = self.random.below(self.model.step + 1);
        let since = self.model.modseqs[step];
        let epoch = self.rig.support().uid_validity.0;
        let node = self.node();
        let mut client = self.rig.client_on(node, USERS[user]);
        self.rig.send(&mut client, "ENABLE QRESYNC");
        let command = format!("EXAMINE Shared/Support (QRESYNC ({epoch} {since}))");
        let answer = self.rig.send(&mut client, &command);
        let gone = answer.lines().filter_map(|line| line.strip_prefix("* VANISHED (EARLIER) "));
        let gone: BTreeSet<u32> = gone.flat_map(super::tests::members).collect();
        let expunged = self.model.expunged.iter().filter(|(_, at)| *at > step);
        assert_eq!(gone, expunged.map(|(uid, _)| *uid).collect(), "since {since}: {answer}");
        assert_eq!(fetched(&answer), self.expected_since(user, step), "since {since}: {answer}");
    }
}

impl Model {
    /// Sets or clears a flag, for all users or, where \Seen is each user's own, for one.
    fn set(&mut self, (uid, user): (u32, usize), (flag, on): (&'static str, bool), shared: bool) {
        let step = self.step;
        let Some(rows) = self.rows.get_mut(&uid) else { return };
        let own = flag == "\\Seen" && !shared;
        for (_, row) in rows.iter_mut().enumerate().filter(|(n, _)| !own || *n == user) {
            let was = if on { !row.flags.insert(flag) } else { row.flags.remove(flag) };
            if was != on {
                row.changed = step;
            }
        }
    }

    fn forget(&mut self, (first, last): (u32, u32), which: impl Fn(&[Row; USERS.len()]) -> bool) {
        let gone = self.rows.range(first..=last).filter(|(_, rows)| which(rows));
        let gone: Vec<u32> = gone.map(|(uid, _)| *uid).collect();
        for uid in gone {
            self.rows.remove(&uid);
            self.expunged.push((uid, self.step));
        }
    }
}

/// Flags by UID, of all FETCH responses.
fn fetched(answer: &str) -> BTreeMap<u32, BTreeSet<&'static str>> {
    let mut fetched = BTreeMap::new();
    for line in answer.lines().filter(|line| line.contains(" FETCH (")) {
        let uid = number(line.split("UID ").nth(1).expect("a UID")) as u32;
        let flags = line.split("FLAGS (").nth(1).and_then(|rest| rest.split(')').next());
        let flags = flags.expect("flags").split_whitespace().filter(|flag| *flag != "\\Recent");
        let known = |flag: &str| *FLAGS.iter().find(|known| **known == flag).expect("a flag");
        fetched.insert(uid, flags.map(known).collect());
    }
    fetched
}

fn number(text: &str) -> u64 {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..end].parse().expect("a number")
}

fn run((engine, seen): (Engine, SeenMode), steps: usize) {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos());
    let given = std::env::var("POSTFACH_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(clock as u64);
    println!("POSTFACH_SEED={seed}");
    let mut oracle = Oracle::new((engine, seen), seed);
    for _ in 0..steps {
        oracle.change();
        oracle.check();
        if oracle.random.below(STEPS_BETWEEN_RESTARTS) == 0 {
            oracle.restart();
        }
    }
}

macro_rules! oracle {
    ($($module:ident: $engine:expr, $steps:expr;)*) => {
        $(mod $module {
            use super::*;

            #[test]
            fn with_private_seen_everybody_is_told_what_the_model_says() {
                run(($engine, SeenMode::PerUser), $steps);
            }

            #[test]
            fn with_shared_seen_everybody_is_told_what_the_model_says() {
                run(($engine, SeenMode::Shared), $steps);
            }
        })*
    };
}

oracle! {
    memory: Engine::Memory, STEPS;
    embedded: Engine::Embedded, STEPS;
    one_node: Engine::Nodes(1), STEPS_ON_A_SERVER;
    two_nodes: Engine::Nodes(2), STEPS_ON_A_SERVER;
}
