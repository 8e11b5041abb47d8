//! A session of a user, as far as the audit log tells of it. One for each login, shared by all that
//! the session does.

use std::net::IpAddr;
use std::sync::OnceLock;

use super::{By, Person};
use crate::mail::id::Login;

/// Longest name of a mail program that is kept; the rest is cut.
pub const CLIENT_BYTES_MAX: usize = 80;

/// Who is there.
#[derive(Debug)]
pub struct Presence {
    /// The user.
    pub login: Login,
    session: Option<String>,
    peer: Option<IpAddr>,
    client: OnceLock<String>,
}

impl Presence {
    /// A user who has logged in; `session` names it in the log.
    pub fn new(login: Login, session: String, peer: IpAddr) -> Presence {
        let peer = Some(peer.to_canonical());
        Presence { login, session: Some(session), peer, client: OnceLock::new() }
    }

    /// A user of whom no more is known.
    pub fn of(login: Login) -> Presence {
        Presence { login, session: None, peer: None, client: OnceLock::new() }
    }

    /// What the mail program calls itself; the first word on it counts. What would break a line
    /// that shows it, is left out.
    pub fn call_client(&self, name: &str) {
        let mut name: String = name.chars().filter(|c| !c.is_control()).collect();
        name.truncate(name.floor_char_boundary(CLIENT_BYTES_MAX));
        if !name.is_empty() {
            let _ = self.client.set(name);
        }
    }

    /// As an entry has it.
    pub fn by(&self) -> By {
        By::User(Person {
            login: self.login.clone(),
            session: self.session.clone(),
            peer: self.peer,
            client: self.client.get().cloned(),
        })
    }
}

/// Two are the same session, or none.
impl PartialEq for Presence {
    fn eq(&self, other: &Presence) -> bool {
        (&self.login, &self.session) == (&other.login, &other.session)
    }
}

impl Eq for Presence {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_once_and_in_one_line() {
        let presence = Presence::new(Login::new("anna"), "s".into(), IpAddr::from([127, 0, 0, 1]));
        let name = || match presence.by() {
            By::User(person) => person.client,
            _ => None,
        };
        presence.call_client("\r\n");
        assert_eq!(name(), None);
        presence.call_client("mutt\r\n 2");
        presence.call_client("other");
        assert_eq!(name().as_deref(), Some("mutt 2"));
    }

    #[test]
    fn a_long_name_is_cut() {
        let kept = |name: String| {
            let presence = Presence::of(Login::new("anna"));
            presence.call_client(&name);
            presence.client.get().map(String::len)
        };
        assert_eq!(kept("x".repeat(CLIENT_BYTES_MAX)), Some(CLIENT_BYTES_MAX));
        assert_eq!(kept("x".repeat(CLIENT_BYTES_MAX + 1)), Some(CLIENT_BYTES_MAX));
        assert_eq!(kept("ü".repeat(CLIENT_BYTES_MAX)), Some(CLIENT_BYTES_MAX));
    }
}
