//! THREAD: messages as trees, by their subjects or by what they refer to. Pure; knows no wire form
//! but that of the answer. No step recurses, for a thread may be as deep as a mailbox is long.
//! RFC 5256 §3

use std::collections::HashMap;

use crate::imap::wire::number;
use crate::mail::base_subject::Kind;

/// How far up the ancestors of a message are looked at before one of them is made its child. Who
/// writes References chooses how deep that is.
const ANCESTORS_MAX: usize = 1_000;

/// A message as threading sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Threadable {
    /// What the answer says: its sequence number or UID.
    pub name: u32,
    /// When it was sent, in seconds. RFC 5256 §2.2
    pub sent: i64,
    /// The collation key of its base subject.
    pub subject: String,
    /// What the subject says of it.
    pub kind: Kind,
    /// Its Message-ID.
    pub id: Option<String>,
    /// The Message-IDs of its ancestors, the first one first.
    pub references: Vec<String>,
}

/// A forest: the first nodes are the messages, those behind them stand for what is not there.
#[derive(Debug)]
pub struct Forest<'m> {
    messages: &'m [Threadable],
    nodes: Vec<Node>,
    roots: Vec<usize>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    parent: Option<usize>,
    children: Vec<usize>,
}

/// THREAD=ORDEREDSUBJECT; the messages stand in the order of the mailbox.
pub fn by_subject(messages: &[Threadable]) -> Forest<'_> {
    let mut forest = Forest::new(messages);
    let mut order: Vec<usize> = (0..messages.len()).collect();
    let key = |at: &usize| (&messages[*at].subject, messages[*at].sent);
    order.sort_by(|a, b| key(a).cmp(&key(b)));
    for thread in order.chunk_by(|a, b| messages[*a].subject == messages[*b].subject) {
        let Some((first, rest)) = thread.split_first() else { continue };
        forest.roots.push(*first);
        rest.iter().for_each(|message| forest.link(*first, *message));
    }
    forest.sort_roots();
    forest
}

/// THREAD=REFERENCES; the messages stand in the order of the mailbox.
pub fn by_references(messages: &[Threadable]) -> Forest<'_> {
    let mut forest = Forest::new(messages);
    forest.link_references();
    forest.prune();
    forest.sort_roots();
    forest.gather_subjects();
    forest.sort_all();
    forest
}

impl<'m> Forest<'m> {
    fn new(messages: &'m [Threadable]) -> Forest<'m> {
        let nodes = vec![Node::default(); messages.len()];
        Forest { messages, nodes, roots: Vec::new() }
    }

    fn is_dummy(&self, node: usize) -> bool {
        node >= self.messages.len()
    }

    fn add_dummy(&mut self) -> usize {
        self.nodes.push(Node::default());
        self.nodes.len() - 1
    }

    fn link(&mut self, parent: usize, child: usize) {
        self.nodes[child].parent = Some(parent);
        self.nodes[parent].children.push(child);
    }

    fn unlink(&mut self, child: usize) {
        if let Some(parent) = self.nodes[child].parent.take() {
            self.nodes[parent].children.retain(|other| *other != child);
        }
    }

    /// Whether `parent` is `child` or below it, or too deep to tell.
    fn would_loop(&self, parent: usize, child: usize) -> bool {
        if parent == child {
            return true;
        }
        if self.nodes[child].children.is_empty() {
            return false;
        }
        let mut next = self.nodes[parent].parent;
        for _ in 0..ANCESTORS_MAX {
            match next {
                None => return false,
                Some(ancestor) if ancestor == child => return true,
                Some(ancestor) => next = self.nodes[ancestor].parent,
            }
        }
        true
    }

    /// Steps 1 and 2.
    fn link_references(&mut self) {
        let messages = self.messages;
        let mut by_id: HashMap<&str, usize> = HashMap::new();
        for (node, message) in messages.iter().enumerate() {
            // the first message with an identifier has it
            if let Some(id) = &message.id {
                by_id.entry(id).or_insert(node);
            }
        }
        for (node, message) in messages.iter().enumerate() {
            let mut before = None;
            for id in &message.references {
                let known = by_id.get(id.as_str()).copied();
                let referred = known.unwrap_or_else(|| {
                    let dummy = self.add_dummy();
                    by_id.insert(id, dummy);
                    dummy
                });
                if let Some(parent) = before
                    && self.nodes[referred].parent.is_none()
                    && !self.would_loop(parent, referred)
                {
                    self.link(parent, referred);
                }
                before = Some(referred);
            }
            // what others said of its parent is less than what it says itself
            if before.is_none() || self.nodes[node].parent != before {
                self.unlink(node);
                if let Some(parent) = before.filter(|parent| !self.would_loop(*parent, node)) {
                    self.link(parent, node);
                }
            }
        }
        self.roots = (0..self.nodes.len()).filter(|n| self.nodes[*n].parent.is_none()).collect();
    }

    /// Step 3: what is not there goes; only at the top it may hold its children together.
    fn prune(&mut self) {
        let mut roots = Vec::with_capacity(self.roots.len());
        for node in self.bottom_up() {
            let children = std::mem::take(&mut self.nodes[node].children);
            let mut kept = Vec::with_capacity(children.len());
            for child in children {
                if self.is_dummy(child) {
                    kept.append(&mut self.nodes[child].children);
                } else {
                    kept.push(child);
                }
            }
            self.nodes[node].children = kept;
        }
        for root in std::mem::take(&mut self.roots) {
            match (self.is_dummy(root), &self.nodes[root].children[..]) {
                (true, []) => {}
                (true, [only]) => roots.push(*only),
                _ => roots.push(root),
            }
        }
        self.roots = roots;
    }

    /// All nodes, each behind its children.
    fn bottom_up(&self) -> Vec<usize> {
        let mut order = self.roots.clone();
        let mut next = 0;
        while let Some(node) = order.get(next) {
            order.extend_from_slice(&self.nodes[*node].children);
            next += 1;
        }
        order.reverse();
        order
    }

    /// The message that a root is compared by: itself, or its first child.
    fn leading(&self, root: usize) -> usize {
        match self.is_dummy(root) {
            true => self.nodes[root].children.first().copied().unwrap_or(root),
            false => root,
        }
    }

    fn sent(&self, root: usize) -> (i64, usize) {
        let leading = self.leading(root);
        (self.messages.get(leading).map_or(i64::MIN, |message| message.sent), leading)
    }

    fn sort_children(&mut self, node: usize) {
        let mut children = std::mem::take(&mut self.nodes[node].children);
        children.sort_by_key(|child| self.sent(*child));
        self.nodes[node].children = children;
    }

    /// Step 4, with the children of those roots that are no messages.
    fn sort_roots(&mut self) {
        for root in self.roots.clone() {
            if self.is_dummy(root) {
                self.sort_children(root);
            }
        }
        let mut roots = std::mem::take(&mut self.roots);
        roots.sort_by_key(|root| self.sent(*root));
        self.roots = roots;
    }

    /// Step 6.
    fn sort_all(&mut self) {
        for node in self.bottom_up() {
            self.sort_children(node);
        }
        self.sort_roots();
    }

    /// Step 5: threads with the same subject become one.
    fn gather_subjects(&mut self) {
        let table = self.subject_table();
        let mut merged = HashMap::new();
        let mut roots = Vec::with_capacity(self.roots.len());
        for root in self.roots.clone() {
            let subject = &self.messages[self.leading(root)].subject;
            match table.get(subject.as_str()) {
                Some(other) if *other != root => {
                    let with = merged.get(other).copied().unwrap_or(*other);
                    if let Some(dummy) = self.merge(with, root) {
                        merged.insert(*other, dummy);
                    }
                }
                _ => roots.push(root),
            }
        }
        // a new dummy stands where the thread stood
        self.roots = roots.iter().map(|root| *merged.get(root).unwrap_or(root)).collect();
    }

    /// Step 5.B
    fn subject_table(&self) -> HashMap<&'m str, usize> {
        let mut table: HashMap<&'m str, usize> = HashMap::new();
        for root in &self.roots {
            let subject = self.messages[self.leading(*root)].subject.as_str();
            if subject.is_empty() {
                continue;
            }
            let there = table.entry(subject).or_insert(*root);
            if !self.is_dummy(*there)
                && (self.is_dummy(*root) || self.answers(*there) && !self.answers(*root))
            {
                *there = *root;
            }
        }
        table
    }

    fn answers(&self, node: usize) -> bool {
        self.messages.get(node).is_some_and(|message| message.kind == Kind::ReplyOrForward)
    }

    /// Step 5.C: `root` goes to the thread with the same subject; answers what now holds both.
    fn merge(&mut self, with: usize, root: usize) -> Option<usize> {
        match (self.is_dummy(with), self.is_dummy(root)) {
            (true, true) => {
                for child in std::mem::take(&mut self.nodes[root].children) {
                    self.link(with, child);
                }
                None
            }
            (true, false) => {
                self.link(with, root);
                None
            }
            (false, false) if self.answers(root) && !self.answers(with) => {
                self.link(with, root);
                None
            }
            _ => {
                let dummy = self.add_dummy();
                self.link(dummy, with);
                self.link(dummy, root);
                Some(dummy)
            }
        }
    }

    /// `(2)(3 6 (4 23)(44 7 96))`: each thread in parentheses. RFC 5256 §4 `thread-list`
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut open: Vec<Step> = self.roots.iter().rev().map(|root| Step::Begin(*root)).collect();
        while let Some(step) = open.pop() {
            match step {
                Step::Begin(node) => {
                    out.push(b'(');
                    open.push(Step::End);
                    open.push(Step::Go(node));
                }
                Step::Go(node) => {
                    if let Some(message) = self.messages.get(node) {
                        number::write(out, u64::from(message.name));
                    }
                    let children = &self.nodes[node].children;
                    if !children.is_empty() && !self.is_dummy(node) {
                        out.push(b' ');
                    }
                    match children[..] {
                        [only] => open.push(Step::Go(only)),
                        _ => open.extend(children.iter().rev().map(|child| Step::Begin(*child))),
                    }
                }
                Step::End => out.push(b')'),
            }
        }
    }
}

/// What is still to be written.
enum Step {
    Begin(usize),
    Go(usize),
    End,
}

#[cfg(test)]
#[path = "threads_tests.rs"]
mod tests;
