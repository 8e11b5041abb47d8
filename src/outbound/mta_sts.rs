//! MTA-STS: what a domain says about TLS on the way to it, read from its TXT record and its policy.
//! Pure: `server/mta_sts` asks, fetches and keeps. RFC 8461

use std::fmt;
use std::sync::Arc;

use crate::directory::name;
use crate::mail::id::Timestamp;

/// Most MX patterns of a policy.
pub const PATTERNS_MAX: usize = 100;
/// Longest life of a policy; a longer one is taken as this. RFC 8461 §3.2
pub const MAX_AGE_SECS_MAX: i64 = 31_557_600;
/// Longest `id` in bytes. RFC 8461 §3.1
pub const ID_BYTES_MAX: usize = 32;
/// How old a policy may become before it is fetched again, whatever its life. RFC 8461 §3.3
pub const REFRESH_SECS: i64 = 24 * 3600;
/// Most digits of `max_age`. RFC 8461 §3.2
const MAX_AGE_DIGITS_MAX: usize = 10;

/// What a delivery has to obey.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Applied {
    /// Only to MX hosts that the policy allows, with a verified certificate (`Security::Verified`);
    /// while none is left, the message waits. RFC 8461 §5
    Enforce(Arc<Policy>),
    /// Deliver as though there were no policy; failures are only of interest to reports.
    Testing,
    /// There is no policy.
    None,
}

impl Applied {
    /// Whether mail may go to this MX host.
    pub fn allows(&self, host: &str) -> bool {
        match self {
            Applied::Enforce(policy) => policy.allows(host),
            Applied::Testing | Applied::None => true,
        }
    }
}

/// What the domain asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// No delivery to hosts that fail.
    Enforce,
    /// Delivery, and a report.
    Testing,
    /// As without a policy.
    None,
}

impl Mode {
    const WORDS: [(&str, Mode); 3] =
        [("enforce", Mode::Enforce), ("testing", Mode::Testing), ("none", Mode::None)];

    /// As a policy writes it.
    pub fn word(self) -> &'static str {
        Mode::WORDS.iter().find(|(_, mode)| *mode == self).map_or("none", |(word, _)| word)
    }

    fn read(word: &str) -> Option<Mode> {
        Mode::WORDS.iter().find(|(known, _)| *known == word).map(|(_, mode)| *mode)
    }
}

/// A policy as it was fetched. RFC 8461 §3.2
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Policy {
    /// What the domain asks for.
    pub mode: Mode,
    /// `mx`: names in lower case, `*.` before some.
    pub patterns: Vec<String>,
    /// `max_age`
    pub max_age_secs: i64,
}

/// What is wrong with a policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PolicyFault(&'static str);

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the policy {}", self.0)
    }
}

impl std::error::Error for PolicyFault {}

/// The `id` of a domain's record, out of all TXT records at `_mta-sts`, each with its strings put
/// together; `None` when there is not exactly one that is well-formed. RFC 8461 §3.1
pub fn record_id(records: &[String]) -> Option<String> {
    let mut ours = records.iter().filter_map(|record| record.strip_prefix("v=STSv1;"));
    let (Some(record), None) = (ours.next(), ours.next()) else { return None };
    let blank = [' ', '\t'];
    let id = record.split(';').find_map(|field| field.trim_matches(blank).strip_prefix("id="))?;
    let well_formed = (1..=ID_BYTES_MAX).contains(&id.len());
    (well_formed && id.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| id.to_owned())
}

impl Policy {
    /// Reads a policy file. Unknown fields are passed over; of fields that stand there twice the
    /// first counts, except `mx`. RFC 8461 §3.2
    pub fn parse(text: &[u8]) -> Result<Policy, PolicyFault> {
        let text = std::str::from_utf8(text).map_err(|_| PolicyFault("is not UTF-8"))?;
        let (mut version, mut mode, mut max_age) = (None, None, None);
        let mut patterns = Vec::new();
        let lines = text.lines().map(|line| line.trim_end_matches([' ', '\t']));
        for line in lines.filter(|line| !line.is_empty()) {
            let (field, value) =
                line.split_once(':').ok_or(PolicyFault("has a line without a colon"))?;
            let value = value.trim_start_matches([' ', '\t']);
            match field {
                "version" => version = version.or(Some(value)),
                "mode" => mode = mode.or(Some(value)),
                "max_age" => max_age = max_age.or(Some(value)),
                "mx" => {
                    patterns.push(pattern(value).ok_or(PolicyFault("has an mx that is no name"))?)
                }
                _ => {}
            }
        }
        if version != Some("STSv1") {
            return Err(PolicyFault("has another version than STSv1, or none"));
        }
        let mode = mode.and_then(Mode::read).ok_or(PolicyFault("has no mode that is known"))?;
        let max_age_secs = max_age.and_then(seconds).ok_or(PolicyFault("has no max_age"))?;
        if patterns.len() > PATTERNS_MAX {
            return Err(PolicyFault("has too many mx"));
        }
        if patterns.is_empty() && mode != Mode::None {
            return Err(PolicyFault("has no mx"));
        }
        Ok(Policy { mode, patterns, max_age_secs })
    }

    /// Whether an MX host's name matches; `*` stands for exactly one label. RFC 8461 §4.1
    pub fn allows(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let below = host.split_once('.').filter(|(label, _)| !label.is_empty());
        self.patterns.iter().any(|pattern| match pattern.strip_prefix("*.") {
            Some(domain) => below.is_some_and(|(_, rest)| rest == domain),
            None => *pattern == host,
        })
    }
}

fn pattern(text: &str) -> Option<String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    (text.is_ascii() && name::is_domain(name)).then(|| text.to_ascii_lowercase())
}

fn seconds(text: &str) -> Option<i64> {
    let digits = (1..=MAX_AGE_DIGITS_MAX).contains(&text.len());
    let number = (digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<i64>());
    number?.ok().map(|seconds| seconds.min(MAX_AGE_SECS_MAX))
}

/// A policy that was fetched, with what is needed to know whether it still holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// The record's `id` at that time.
    pub id: String,
    /// When it was fetched.
    pub fetched_at: Timestamp,
    /// The policy.
    pub policy: Arc<Policy>,
}

impl Kept {
    /// Whether it has not outlived its `max_age`.
    pub fn holds(&self, now: Timestamp) -> bool {
        now.seconds() - self.fetched_at.seconds() < self.policy.max_age_secs
    }

    /// Whether there is no need to fetch it again: it holds, the record still says the same, and a
    /// day has not passed. RFC 8461 §5.1, RFC 8461 §3.3
    pub fn suffices(&self, id: &str, now: Timestamp) -> bool {
        let age_secs = now.seconds() - self.fetched_at.seconds();
        self.holds(now) && self.id == id && age_secs < REFRESH_SECS
    }

    /// What a delivery has to obey.
    pub fn applied(&self) -> Applied {
        match self.policy.mode {
            Mode::Enforce => Applied::Enforce(self.policy.clone()),
            Mode::Testing => Applied::Testing,
            Mode::None => Applied::None,
        }
    }

    /// As a line of the file in which policies survive a restart.
    pub fn line(&self, domain: &str) -> String {
        let Policy { mode, patterns, max_age_secs } = &*self.policy;
        let (id, at) = (&self.id, self.fetched_at.seconds());
        format!("{domain} {id} {at} {} {max_age_secs} {}\n", mode.word(), patterns.join(","))
    }

    /// Reads such a line; `None` when it is none.
    pub fn read(line: &str) -> Option<(String, Kept)> {
        let mut words = line.split(' ');
        let domain = words.next().filter(|domain| name::is_domain(domain))?.to_owned();
        let id = words.next().filter(|id| !id.is_empty())?.to_owned();
        let fetched_at = Timestamp::from_seconds(words.next()?.parse().ok()?);
        let mode = Mode::read(words.next()?)?;
        let max_age_secs = seconds(words.next()?)?;
        let listed = words.next()?.split(',').filter(|text| !text.is_empty());
        let patterns: Vec<String> = listed.map(pattern).collect::<Option<_>>()?;
        if words.next().is_some() || (patterns.is_empty() && mode != Mode::None) {
            return None;
        }
        let policy = Arc::new(Policy { mode, patterns, max_age_secs });
        Some((domain, Kept { id, fetched_at, policy }))
    }
}

#[cfg(test)]
#[path = "mta_sts_tests.rs"]
mod tests;
