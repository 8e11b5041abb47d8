//! What a session has to know of its surroundings, and what follows from it.

use crate::sasl::Mechanism;
use crate::smtp::content::LineEnds;
use crate::smtp::framing::Framer;
use crate::smtp::{AUTH_BYTES_MAX, LINE_BYTES_MAX};

/// What a session has to know of its surroundings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Our name.
    pub hostname: String,
    /// Largest message.
    pub message_bytes_max: u64,
    /// Whether the bytes are protected at the start.
    pub tls: Tls,
    /// Whom this is for.
    pub role: Role,
}

/// Whether the bytes are protected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tls {
    /// They are not, and cannot be.
    Unavailable,
    /// They are not; STARTTLS is offered.
    Available,
    /// They are.
    Active,
}

/// Whom a session is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// Servers that bring mail for us; nobody logs in. RFC 5321
    Relay,
    /// Users who log in and send mail to anybody. RFC 6409
    Submission(LoginOffer),
}

/// How users log in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginOffer {
    /// In the order in which they are offered.
    pub mechanisms: Vec<Mechanism>,
    /// Whether it may be done without TLS.
    pub in_clear: InClear,
}

/// Whether a password may travel without TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InClear {
    /// On loopback, where the configuration says so.
    Taken,
    /// Anybody could read it. RFC 8314 §3.3
    Refused,
}

impl Settings {
    /// Whether a password may be sent now.
    pub fn takes_passwords(&self) -> bool {
        match &self.role {
            Role::Relay => false,
            Role::Submission(offer) => self.tls == Tls::Active || offer.in_clear == InClear::Taken,
        }
    }

    pub(super) fn line_ends(&self) -> LineEnds {
        match self.role {
            Role::Relay => LineEnds::Strict,
            Role::Submission(_) => LineEnds::Normalised,
        }
    }

    pub(super) fn framer(&self) -> Framer {
        Framer::new(match &self.role {
            Role::Relay => LINE_BYTES_MAX,
            Role::Submission(offer) => {
                let longest = offer.mechanisms.iter().map(|m| m.line_bytes_max()).max();
                LINE_BYTES_MAX.max(longest.unwrap_or_default() + AUTH_BYTES_MAX)
            }
        })
    }
}
