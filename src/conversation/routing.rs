//! Who gets a new conversation: which rule of the inbox matches a message, and whom it chooses.
//! Pure: facts in, decision out. What the facts are is found out in `turn`.

use crate::directory::rule::{Condition, Pick, Rule, Words};
use crate::mail::address::Address;
use crate::mail::fold::fold;
use crate::mail::id::Login;
use crate::mail::message::{Parsed, own_fields};

/// What of a message rules look at.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Its author's domain, lower case.
    pub sender_domain: Option<String>,
    /// What was added to the address that it came for, folded.
    pub detail: Option<String>,
    /// Its header fields, decoded and folded: a line `NAME: VALUE` each.
    pub header: &'a str,
}

impl<'a> Facts<'a> {
    /// Of a message that came from `reverse_path` for an address with this detail. The author
    /// counts, where there is one.
    pub fn new(
        parsed: &'a Parsed,
        reverse_path: Option<&Address>,
        detail: Option<&str>,
    ) -> Facts<'a> {
        let author = parsed.envelope.from.iter().find_map(|from| from.address());
        let sender = author.as_ref().or(reverse_path);
        Facts {
            sender_domain: sender.map(|sender| sender.domain().to_lowercase()),
            detail: detail.map(fold),
            header: own_fields(&parsed.text.header),
        }
    }

    fn fields<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        let name = fold(name);
        self.header.lines().filter_map(move |line| {
            let (field, value) = line.split_once(':')?;
            (field == name).then(|| value.trim())
        })
    }
}

/// The first rule that matches, and its number from 0.
pub fn matching<'r>(rules: &'r [Rule], facts: &Facts<'_>) -> Option<(usize, &'r Rule)> {
    rules.iter().enumerate().find(|(_, rule)| unmet(rule, facts).is_none())
}

/// The first condition of a rule that does not hold.
pub fn unmet<'r>(rule: &'r Rule, facts: &Facts<'_>) -> Option<&'r Condition> {
    rule.conditions.iter().find(|condition| !holds(condition, facts))
}

fn holds(condition: &Condition, facts: &Facts<'_>) -> bool {
    match condition {
        Condition::SenderDomain(domains) => {
            let is_in = |sender: &str, domain: &str| {
                let rest = sender.strip_suffix(domain);
                rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
            };
            let sender = facts.sender_domain.as_deref();
            sender.is_some_and(|sender| domains.iter().any(|domain| is_in(sender, domain)))
        }
        Condition::Detail(details) => {
            facts.detail.as_ref().is_some_and(|detail| details.contains(detail))
        }
        Condition::Contains(Words { field, folded, .. }) => {
            facts.fields(field).any(|value| value.contains(folded.as_str()))
        }
        Condition::Equals(Words { field, folded, .. }) => {
            facts.fields(field).any(|value| value == folded)
        }
        Condition::Subject(all) => {
            let stands = |words: &Words| facts.fields("subject").any(|s| has_words(s, words));
            all.iter().any(stands)
        }
    }
}

/// Whether these words stand in a text as whole words; a star at their end takes any ending.
fn has_words(text: &str, words: &Words) -> bool {
    let (wanted, is_open) = match words.folded.strip_suffix('*') {
        Some(start) if !start.is_empty() => (start, true),
        _ => (words.folded.as_str(), false),
    };
    text.match_indices(wanted).any(|(at, _)| {
        let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        let before = text[..at].chars().next_back();
        let after = text[at + wanted.len()..].chars().next();
        !is_part(before) && (is_open || !is_part(after))
    })
}

/// Somebody who can be chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// Who.
    pub login: Login,
    /// The number of their last turn; 0 if they had none.
    pub turn: u64,
    /// Their open conversations; 0 where nobody counts them.
    pub open: usize,
}

/// Who is chosen: the one who has waited longest for a turn, of those with the fewest open
/// conversations where that counts. Nobody if there is none.
pub fn choose(pick: Pick, candidates: &[Candidate]) -> Option<&Candidate> {
    candidates.iter().min_by_key(|candidate| {
        let open = match pick {
            Pick::RoundRobin => 0,
            Pick::LeastOpen => candidate.open,
        };
        (open, candidate.turn, &candidate.login)
    })
}

#[cfg(test)]
#[path = "routing_tests.rs"]
mod tests;
