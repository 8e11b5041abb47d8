//! `directory.toml` as it is written: every key may be missing, none may be unknown. Knows no
//! meaning.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;

/// Text and where it stands.
pub(super) type Text = Spanned<String>;

/// The file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    pub(super) domain: Vec<Spanned<Domain>>,
    pub(super) user: Vec<Spanned<User>>,
    pub(super) team: Vec<Spanned<Team>>,
    pub(super) inbox: Vec<Spanned<Inbox>>,
    pub(super) channel: Vec<Spanned<Channel>>,
}

/// `[[domain]]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Domain {
    pub(super) name: Option<Text>,
    pub(super) upstream: Option<Text>,
    pub(super) catch_all: Option<Text>,
}

/// `[[user]]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct User {
    pub(super) login: Option<Text>,
    pub(super) name: Option<Text>,
    pub(super) password: Option<Text>,
    pub(super) role: Option<Text>,
    pub(super) addresses: Vec<Text>,
    pub(super) away: Option<Text>,
    pub(super) quota_mib: Option<Spanned<i64>>,
    pub(super) quota_messages: Option<Spanned<i64>>,
}

/// `[[team]]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Team {
    pub(super) name: Option<Text>,
    pub(super) members: Vec<Text>,
}

/// `[[inbox]]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Inbox {
    pub(super) name: Option<Text>,
    pub(super) addresses: Vec<Text>,
    pub(super) teams: Option<Vec<Text>>,
    pub(super) users: Option<Vec<Text>>,
    pub(super) seen: Option<Text>,
    pub(super) collision: Option<Text>,
    pub(super) identity: Option<Text>,
    pub(super) answering_assigns: Option<Spanned<bool>>,
    pub(super) conversation: Option<Text>,
    pub(super) retention_days: Option<Spanned<i64>>,
    pub(super) quota_mib: Option<Spanned<i64>>,
    pub(super) quota_messages: Option<Spanned<i64>>,
}

/// `[[channel]]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Channel {
    pub(super) name: Option<Text>,
    pub(super) owner: Option<Text>,
    pub(super) addresses: Vec<Text>,
    pub(super) routed_to: Vec<Text>,
    pub(super) access: Option<Spanned<Access>>,
    pub(super) personal: bool,
    pub(super) seen: Option<Text>,
    pub(super) collision: Option<Text>,
    pub(super) identity: Option<Text>,
    pub(super) answering_assigns: Option<Spanned<bool>>,
    pub(super) conversation: Option<Text>,
    pub(super) retention_days: Option<Spanned<i64>>,
    pub(super) quota_mib: Option<Spanned<i64>>,
    pub(super) quota_messages: Option<Spanned<i64>>,
}

/// `access` of a channel.
pub(super) enum Access {
    /// `"owner"`, `"everyone"`
    Word(String),
    /// `{ teams = […], users = […] }`
    Lists(Lists),
}

/// Who may access a mailbox.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Lists {
    pub(super) teams: Option<Vec<Text>>,
    pub(super) users: Option<Vec<Text>>,
}

/// By hand, because serde's untagged enums lose the places of what is in them.
impl<'de> Deserialize<'de> for Access {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Access, D::Error> {
        deserializer.deserialize_any(AccessVisitor)
    }
}

struct AccessVisitor;

impl<'de> Visitor<'de> for AccessVisitor {
    type Value = Access;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"owner\", \"everyone\" or { teams = […], users = […] }")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Access, E> {
        Ok(Access::Word(word.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Access, A::Error> {
        Lists::deserialize(MapAccessDeserializer::new(map)).map(Access::Lists)
    }
}
