//! Clients that are told unasked, and what they make of it: one has the mailbox selected and says
//! now and then how much of it is to be told, another watches it from outside.

use std::collections::{BTreeMap, BTreeSet};

use super::{FLAGS, Oracle, USERS, fetched, number};
use crate::imap::rig::{Client, Rig};

/// What is to be told of the selected mailbox.
const SCOPES: [&str; 4] = [
    "NOTIFY NONE",
    "NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge))",
    "NOTIFY SET (selected-delayed (MessageNew (UID FLAGS) MessageExpunge FlagChange))",
    EVERYTHING,
];
const EVERYTHING: &str = "NOTIFY SET (selected (MessageNew (UID FLAGS) MessageExpunge FlagChange))";
const OUTSIDE: &str = "NOTIFY SET STATUS (subtree Shared (MessageNew MessageExpunge FlagChange))";

pub(super) struct Watcher {
    inside: Client,
    /// What it believes: a message by its number.
    messages: Vec<(u32, BTreeSet<&'static str>)>,
    outside: Client,
    /// The last STATUS of each count.
    counts: BTreeMap<String, u64>,
    /// The step up to which it was told.
    step: usize,
}

impl Watcher {
    fn new(rig: &Rig, user: &str, [inside, outside]: [usize; 2]) -> Watcher {
        let (inside, outside) = (rig.client_on(inside, user), rig.client_on(outside, user));
        let mut watcher =
            Watcher { inside, outside, messages: Vec::new(), counts: BTreeMap::new(), step: 0 };
        let told = rig.send(&mut watcher.inside, "EXAMINE Shared/Support");
        let there = told.lines().find_map(|line| line.strip_suffix(" EXISTS")).expect("a count");
        watcher.messages.resize(number(&there["* ".len()..]) as usize, (0, BTreeSet::new()));
        let told = rig.send(&mut watcher.inside, EVERYTHING);
        watcher.hear(&told);
        let told = rig.send(&mut watcher.inside, "UID FETCH 1:* (FLAGS)");
        watcher.hear(&told);
        rig.send(&mut watcher.outside, "ENABLE CONDSTORE");
        let told = rig.send(&mut watcher.outside, OUTSIDE);
        watcher.hear_status(&told);
        watcher
    }

    /// Whether one of its sessions is on this node.
    pub(super) fn is_on(&self, node: usize) -> bool {
        self.inside.node() == node || self.outside.node() == node
    }

    /// EXISTS, EXPUNGE and FETCH, in their order.
    fn hear(&mut self, answer: &str) {
        for line in answer.lines().filter_map(|line| line.strip_prefix("* ")) {
            let (n, what) = line.split_once(' ').expect("two words");
            let Ok(n) = n.parse::<usize>() else { continue };
            match what {
                "EXISTS" => {
                    assert!(n > self.messages.len(), "{answer}");
                    self.messages.resize(n, (0, BTreeSet::new()));
                }
                "EXPUNGE" => drop(self.messages.remove(n - 1)),
                fetch if fetch.starts_with("FETCH") => {
                    let (uid, flags) = fetched(line).pop_first().expect("a message");
                    assert!([0, uid].contains(&self.messages[n - 1].0), "{answer}");
                    self.messages[n - 1] = (uid, flags);
                }
                _ => {}
            }
        }
    }

    /// `* STATUS Shared/Support (MESSAGES 1 UIDNEXT 2)`; answers whether there was one.
    fn hear_status(&mut self, answer: &str) -> bool {
        let lines =
            answer.lines().filter_map(|line| line.strip_prefix("* STATUS Shared/Support ("));
        let mut heard = false;
        for line in lines {
            let words: Vec<&str> = line.trim_end_matches(')').split(' ').collect();
            for pair in words.chunks(2) {
                self.counts.insert(pair[0].to_owned(), number(pair[1]));
            }
            heard = true;
        }
        heard
    }
}

impl Oracle {
    pub(super) fn watcher(&mut self, user: usize) -> Watcher {
        let nodes = [self.node(), self.node()];
        let step = self.model.step;
        Watcher { step, ..Watcher::new(&self.rig, USERS[user], nodes) }
    }

    pub(super) fn check_watcher(&mut self, user: usize) {
        match self.random.below(3) {
            0 => self.check_inside(user),
            1 => {
                let scope = *self.random.one(&SCOPES);
                let watcher = &mut self.watchers[user];
                let told = self.rig.send(&mut watcher.inside, scope);
                watcher.hear(&told);
                let told = self.rig.notified(&mut watcher.inside);
                watcher.hear(&told);
            }
            _ => self.check_outside(user),
        }
    }

    /// Whatever was not told before, behind this the client knows everything.
    fn check_inside(&mut self, user: usize) {
        let watcher = &mut self.watchers[user];
        let told = self.rig.notified(&mut watcher.inside);
        watcher.hear(&told);
        let told = self.rig.send(&mut watcher.inside, EVERYTHING);
        watcher.hear(&told);
        let rows = self.model.rows.iter();
        let expected: Vec<_> = rows.map(|(uid, row)| (*uid, row[user].flags.clone())).collect();
        assert_eq!(watcher.messages, expected, "{}: {told}", USERS[user]);
    }

    /// The counts are told when something has changed for this user, and only then.
    fn check_outside(&mut self, user: usize) {
        let watcher = &mut self.watchers[user];
        let told = self.rig.notified(&mut watcher.outside);
        let heard = watcher.hear_status(&told);
        let rows = &self.model.rows;
        let unseen = rows.values().filter(|row| !row[user].flags.contains(FLAGS[0])).count();
        let count = |name: &str| watcher.counts.get(name).copied();
        assert_eq!(count("MESSAGES"), Some(rows.len() as u64), "{told}");
        assert_eq!(count("UIDNEXT"), Some(u64::from(self.model.uid_next)), "{told}");
        assert_eq!(count("UNSEEN"), Some(unseen as u64), "{told}");
        let changed = rows.values().any(|row| row[user].changed > watcher.step)
            || self.model.expunged.iter().any(|(_, at)| *at > watcher.step);
        if changed {
            assert_eq!(count("HIGHESTMODSEQ"), self.model.modseqs.last().copied(), "{told}");
        }
        let is_rest = self.model.step == watcher.step;
        assert!(heard == changed || heard && !is_rest, "{}: {told}", USERS[user]);
        watcher.step = self.model.step;
    }

    pub(super) fn check_list_status(&mut self, user: usize) {
        let command = "LIST \"\" Shared/Support RETURN (STATUS (MESSAGES UIDNEXT UNSEEN))";
        let node = self.node();
        let mut client = self.rig.client_on(node, USERS[user]);
        let answer = self.rig.send(&mut client, command);
        let rows = &self.model.rows;
        let unseen = rows.values().filter(|row| !row[user].flags.contains(FLAGS[0])).count();
        let (messages, next) = (rows.len(), self.model.uid_next);
        let line = format!(
            "* STATUS Shared/Support (MESSAGES {messages} UIDNEXT {next} UNSEEN {unseen})\r\n"
        );
        assert!(answer.contains(&line), "{line}{answer}");
    }
}
