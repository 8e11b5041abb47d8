//! What the server says it can do. A row stands here only when all of it is done; each can be
//! switched off. Knows no command: rows of the command table name theirs.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// When a capability is advertised. RFC 3501 §6.1.1
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum When {
    /// In every state.
    Always,
    /// While TLS can still be begun.
    TlsOffered,
    /// While a password must not be sent.
    LoginRefused,
    /// While a user may log in.
    LoginAwaited,
    /// And the login can be bound to the connection.
    BindingAwaited,
    /// While somebody is logged in, and nothing is compressed.
    Uncompressed,
}

/// How far a connection is, as far as capabilities depend on it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// Nobody has logged in.
    BeforeLogin {
        /// Whether STARTTLS would work now.
        tls: StartTls,
        /// Whether a password may be sent now.
        login: Passwords,
        /// Whether it can be bound to the connection.
        binds: Binds,
    },
    /// Somebody has.
    AfterLogin,
    /// Somebody has, and what is sent is compressed.
    Compressed,
}

/// Whether STARTTLS would work now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartTls {
    /// It would.
    Offered,
    /// TLS is active, or switched off.
    Absent,
}

/// Whether a password may be sent now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Passwords {
    /// Under TLS, or on loopback where the configuration says so.
    Taken,
    /// Anybody could read it. RFC 3501 §6.2.3 `LOGINDISABLED`
    Refused,
}

/// Whether a login can be bound to the connection. RFC 5802 §6
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binds {
    /// Under TLS 1.3.
    Yes,
    /// There is nothing to bind to.
    No,
}

/// Offered where there is something to bind to, too.
pub(super) const SCRAM_PLUS: &str = "AUTH=SCRAM-SHA-256-PLUS";

/// Offered only where every user has the keys for it.
const SCRAM: &str = "AUTH=SCRAM-SHA-256";

/// Offered only where tokens can be verified.
const BEARER: [&str; 2] = ["AUTH=OAUTHBEARER", "AUTH=XOAUTH2"];

/// Literals that come uninvited: of any length, or short ones. Never both. RFC 7888 §5
const LITERALS: [&str; 2] = ["LITERAL+", "LITERAL-"];

/// Shown where all that it consists of is there. RFC 9051 Appendix E
const REV2: &str = "IMAP4rev2";
const PARTS_OF_REV2: [&str; 14] = [
    "ENABLE",
    "NAMESPACE",
    "UNSELECT",
    "UIDPLUS",
    "ESEARCH",
    "SEARCHRES",
    "IDLE",
    "SASL-IR",
    "LIST-EXTENDED",
    "LIST-STATUS",
    "MOVE",
    "BINARY",
    "SPECIAL-USE",
    "STATUS=SIZE",
];

/// Options of LIST that belong to something else, too. RFC 8440 §3, RFC 9590 §3
const IN_LIST: [&str; 2] = ["LIST-MYRIGHTS", "LIST-METADATA"];

/// Shown until it is in use. RFC 4978
const COMPRESS: &str = "COMPRESS=DEFLATE";

/// Shown with the limit, which is the same for all mailboxes. RFC 7889 §2
const APPEND_LIMIT: &str = "APPENDLIMIT";

/// Each capability, when it is advertised, and the one that it is a part of.
const TABLE: [(&str, When, Option<&str>); 62] = [
    ("IMAP4rev1", When::Always, None),
    (REV2, When::Always, None),
    ("STARTTLS", When::TlsOffered, None),
    ("LOGINDISABLED", When::LoginRefused, None),
    (SCRAM_PLUS, When::BindingAwaited, Some(SCRAM)),
    (SCRAM, When::LoginAwaited, None),
    ("AUTH=PLAIN", When::LoginAwaited, None),
    ("AUTH=LOGIN", When::LoginAwaited, None),
    (BEARER[0], When::LoginAwaited, None),
    (BEARER[1], When::LoginAwaited, None),
    ("SASL-IR", When::LoginAwaited, None),
    (LITERALS[0], When::Always, None),
    (LITERALS[1], When::Always, None),
    ("ID", When::Always, None),
    ("NAMESPACE", When::Always, None),
    ("ENABLE", When::Always, None),
    ("IDLE", When::Always, None),
    ("NOTIFY", When::Always, None),
    ("UIDPLUS", When::Always, None),
    ("MOVE", When::Always, None),
    ("UNSELECT", When::Always, None),
    ("CHILDREN", When::Always, None),
    ("LIST-EXTENDED", When::Always, None),
    ("LIST-STATUS", When::Always, Some("LIST-EXTENDED")),
    ("SPECIAL-USE", When::Always, None),
    ("CREATE-SPECIAL-USE", When::Always, Some("SPECIAL-USE")),
    ("CONDSTORE", When::Always, None),
    ("QRESYNC", When::Always, Some("CONDSTORE")),
    ("ESEARCH", When::Always, None),
    ("SEARCHRES", When::Always, Some("ESEARCH")),
    ("PARTIAL", When::Always, Some("ESEARCH")),
    ("CONTEXT=SEARCH", When::Always, Some("ESEARCH")),
    ("CONTEXT=SORT", When::Always, Some("ESORT")),
    ("MULTISEARCH", When::Always, Some("ESEARCH")),
    ("SEARCH=FUZZY", When::Always, None),
    ("SORT", When::Always, None),
    ("SORT=DISPLAY", When::Always, Some("SORT")),
    ("ESORT", When::Always, Some("SORT")),
    ("I18NLEVEL=1", When::Always, None),
    ("THREAD=ORDEREDSUBJECT", When::Always, None),
    ("THREAD=REFERENCES", When::Always, None),
    ("WITHIN", When::Always, None),
    ("SAVEDATE", When::Always, None),
    ("OBJECTID", When::Always, None),
    ("ACL", When::Always, None),
    ("RIGHTS=texk", When::Always, Some("ACL")),
    ("STATUS=SIZE", When::Always, None),
    ("LIST-MYRIGHTS", When::Always, Some("ACL")),
    (APPEND_LIMIT, When::Always, None),
    ("UTF8=ACCEPT", When::Always, Some("ENABLE")),
    ("MULTIAPPEND", When::Always, None),
    ("CATENATE", When::Always, None),
    ("REPLACE", When::Always, None),
    ("BINARY", When::Always, None),
    ("PREVIEW", When::Always, None),
    ("METADATA", When::Always, None),
    ("LIST-METADATA", When::Always, Some("METADATA")),
    ("QUOTA", When::Always, None),
    ("QUOTA=RES-STORAGE", When::Always, Some("QUOTA")),
    ("QUOTA=RES-MESSAGE", When::Always, Some("QUOTA")),
    // a layer's end cannot be found in what has been read together: it is not to end before the
    // connection. RFC 8437 §4.1
    ("UNAUTHENTICATE", When::Uncompressed, None),
    (COMPRESS, When::Uncompressed, None),
];

/// The capabilities of this installation: all but those that `[imap] disable` names.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    off: BTreeSet<String>,
    append_limit: u64,
    scram: Possible,
    bearer: Possible,
}

/// Whether a way to log in works at this installation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Possible {
    Yes,
    #[default]
    No,
}

impl Capabilities {
    /// All but `disabled`, in any case; see `is_known`.
    pub fn without(disabled: &[String]) -> Capabilities {
        let off = disabled.iter().map(|name| name.to_ascii_uppercase()).collect();
        Capabilities { off, ..Capabilities::default() }
    }

    /// With SCRAM: every user's password is stored so that it works. RFC 7677
    pub fn with_scram(self) -> Capabilities {
        Capabilities { scram: Possible::Yes, ..self }
    }

    /// With OAUTHBEARER and XOAUTH2: there is somebody who verifies tokens. RFC 7628
    pub fn with_bearer(self) -> Capabilities {
        Capabilities { bearer: Possible::Yes, ..self }
    }

    /// With the longest message that APPEND takes. RFC 7889
    pub fn with_append_limit(self, append_limit: u64) -> Capabilities {
        Capabilities { append_limit, ..self }
    }

    /// Whether `name` is a capability that can be switched off.
    pub fn is_known(name: &str) -> bool {
        let can_go = |row: &&str| !["IMAP4rev1", "LOGINDISABLED"].contains(row);
        TABLE.iter().map(|row| row.0).filter(can_go).any(|row| row.eq_ignore_ascii_case(name))
    }

    /// Whether `name` is on, and so is what it is a part of.
    pub fn has(&self, name: &str) -> bool {
        let is_impossible = (name == SCRAM && self.scram == Possible::No)
            || (BEARER.contains(&name) && self.bearer == Possible::No)
            || (name == LITERALS[1] && self.has(LITERALS[0]))
            || (name == REV2 && !self.has_parts_of_rev2());
        if is_impossible {
            return false;
        }
        // RFC 7162 §3.2.3
        if name == "QRESYNC" && !self.has("ENABLE") {
            return false;
        }
        // what LIST returns with them is said by RETURN
        if IN_LIST.contains(&name) && !self.has("LIST-EXTENDED") {
            return false;
        }
        let whole = TABLE.iter().find(|row| row.0 == name).and_then(|row| row.2);
        let is_off = !self.off.is_empty() && self.off.contains(&name.to_ascii_uppercase());
        !is_off && whole.is_none_or(|whole| self.has(whole))
    }

    fn has_parts_of_rev2(&self) -> bool {
        let is_there = |name: &&str| TABLE.iter().any(|row| row.0 == *name) && self.has(name);
        let has_literals = LITERALS.iter().any(|name| !self.off.contains(*name));
        has_literals && PARTS_OF_REV2.iter().all(is_there)
    }

    /// The capabilities at this stage, as they stand behind `CAPABILITY`.
    pub fn line(&self, stage: Stage) -> String {
        let is_shown = |when: When| match (when, stage) {
            (When::Always, _) | (When::Uncompressed, Stage::AfterLogin) => true,
            (_, Stage::AfterLogin | Stage::Compressed) | (When::Uncompressed, _) => false,
            (When::TlsOffered, Stage::BeforeLogin { tls, .. }) => tls == StartTls::Offered,
            (When::LoginRefused, Stage::BeforeLogin { login, .. }) => login == Passwords::Refused,
            (When::LoginAwaited, Stage::BeforeLogin { login, .. }) => login == Passwords::Taken,
            (When::BindingAwaited, Stage::BeforeLogin { login, binds, .. }) => {
                login == Passwords::Taken && binds == Binds::Yes
            }
        };
        let shown = TABLE.iter().filter(|row| is_shown(row.1) && self.has(row.0));
        shown.map(|row| self.written(row.0)).collect::<Vec<_>>().join(" ")
    }

    fn written(&self, name: &'static str) -> Cow<'static, str> {
        match name {
            APPEND_LIMIT => format!("{APPEND_LIMIT}={}", self.append_limit).into(),
            other => other.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_tls_no_way_to_send_a_password_is_advertised() {
        let stage = Stage::BeforeLogin {
            tls: StartTls::Offered,
            login: Passwords::Refused,
            binds: Binds::No,
        };
        let line = Capabilities::default().line(stage);
        assert!(line.starts_with("IMAP4rev1 IMAP4rev2 STARTTLS LOGINDISABLED LITERAL+ "), "{line}");
        assert!(!line.contains("AUTH=") && !line.contains("SASL-IR"), "{line}");
    }

    #[test]
    fn scram_is_advertised_first_where_it_is_offered_and_not_switched_off() {
        let stage =
            Stage::BeforeLogin { tls: StartTls::Absent, login: Passwords::Taken, binds: Binds::No };
        let offered = "IMAP4rev1 IMAP4rev2 AUTH=SCRAM-SHA-256 AUTH=PLAIN AUTH=LOGIN ";
        assert!(Capabilities::without(&[]).with_scram().line(stage).starts_with(offered));
        for absent in [
            Capabilities::without(&[]),
            Capabilities::without(&["auth=scram-sha-256".into()]).with_scram(),
        ] {
            assert!(absent.line(stage).starts_with("IMAP4rev1 IMAP4rev2 AUTH=PLAIN "));
            assert!(!absent.has(SCRAM));
        }
        assert!(Capabilities::is_known(SCRAM) && Capabilities::is_known(SCRAM_PLUS));
    }

    #[test]
    fn binding_is_advertised_where_there_is_something_to_bind_to() {
        let (tls, login) = (StartTls::Absent, Passwords::Taken);
        let bound = Stage::BeforeLogin { tls, login, binds: Binds::Yes };
        let offered = "IMAP4rev1 IMAP4rev2 AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN ";
        assert!(Capabilities::without(&[]).with_scram().line(bound).starts_with(offered));
        let unbound = Stage::BeforeLogin { tls, login, binds: Binds::No };
        for (off, stage) in
            [("", unbound), ("auth=scram-sha-256", bound), ("auth=scram-sha-256-plus", bound)]
        {
            let line = Capabilities::without(&[off.into()]).with_scram().line(stage);
            assert!(!line.contains("256-PLUS"), "{off}: {line}");
        }
        assert!(!Capabilities::without(&[]).line(bound).contains("SCRAM"));
    }

    #[test]
    fn tokens_are_advertised_last_where_they_can_be_verified_and_are_not_switched_off() {
        let stage =
            Stage::BeforeLogin { tls: StartTls::Absent, login: Passwords::Taken, binds: Binds::No };
        let line = Capabilities::without(&[]).with_bearer().line(stage);
        let offered = "IMAP4rev1 IMAP4rev2 AUTH=PLAIN AUTH=LOGIN AUTH=OAUTHBEARER \
            AUTH=XOAUTH2 SASL-IR ";
        assert!(line.starts_with(offered), "{line}");
        let off = Capabilities::without(&["auth=xoauth2".into()]).with_bearer();
        assert!(off.has("AUTH=OAUTHBEARER") && !off.has("AUTH=XOAUTH2"));
        assert!(!Capabilities::default().has("AUTH=OAUTHBEARER"));
        let in_clear = Stage::BeforeLogin {
            tls: StartTls::Offered,
            login: Passwords::Refused,
            binds: Binds::No,
        };
        assert!(!Capabilities::without(&[]).with_bearer().line(in_clear).contains("AUTH="));
        assert!(Capabilities::is_known("AUTH=OAUTHBEARER") && Capabilities::is_known(BEARER[1]));
    }

    #[test]
    fn after_login_the_whole_table_but_login_is_advertised() {
        let line = Capabilities::default().line(Stage::AfterLogin);
        assert_eq!(
            line,
            "IMAP4rev1 IMAP4rev2 LITERAL+ ID NAMESPACE ENABLE IDLE NOTIFY UIDPLUS MOVE UNSELECT \
             CHILDREN LIST-EXTENDED LIST-STATUS SPECIAL-USE CREATE-SPECIAL-USE CONDSTORE QRESYNC \
             ESEARCH SEARCHRES PARTIAL CONTEXT=SEARCH CONTEXT=SORT MULTISEARCH SEARCH=FUZZY SORT \
             SORT=DISPLAY ESORT I18NLEVEL=1 THREAD=ORDEREDSUBJECT THREAD=REFERENCES WITHIN \
             SAVEDATE OBJECTID ACL RIGHTS=texk STATUS=SIZE LIST-MYRIGHTS APPENDLIMIT=0 UTF8=ACCEPT \
             MULTIAPPEND CATENATE REPLACE BINARY PREVIEW METADATA LIST-METADATA QUOTA \
             QUOTA=RES-STORAGE QUOTA=RES-MESSAGE UNAUTHENTICATE COMPRESS=DEFLATE"
        );
        let compressed = Capabilities::default().line(Stage::Compressed);
        assert_eq!(compressed, line.replace(" UNAUTHENTICATE COMPRESS=DEFLATE", ""));
    }

    #[test]
    fn what_is_switched_off_takes_its_parts_along() {
        let capabilities = Capabilities::without(&["acl".into(), "List-Extended".into()]);
        let line = capabilities.line(Stage::AfterLogin);
        for gone in ["ACL", "RIGHTS=", "LIST-"] {
            assert!(!line.contains(gone), "{line}");
        }
        assert!(!capabilities.has("LIST-STATUS") && capabilities.has("MOVE"));
        let without_list = Capabilities::without(&["list-extended".into()]);
        assert!(!without_list.line(Stage::AfterLogin).contains("LIST-"));
        assert!(!Capabilities::without(&["metadata".into()]).has("LIST-METADATA"));
        for needed in ["condstore", "enable"] {
            assert!(!Capabilities::without(&[needed.into()]).has("QRESYNC"), "{needed}");
        }
    }

    #[test]
    fn literals_come_uninvited_in_one_of_two_ways() {
        let shown = |off: &[&str]| {
            let off: Vec<String> = off.iter().map(|name| (*name).to_owned()).collect();
            let line = Capabilities::without(&off).line(Stage::AfterLogin);
            line.split(' ').filter(|name| name.starts_with("LITERAL")).collect::<String>()
        };
        assert_eq!(shown(&[]), "LITERAL+");
        assert_eq!(shown(&["LITERAL-"]), "LITERAL+");
        assert_eq!(shown(&["LITERAL+"]), "LITERAL-");
        assert_eq!(shown(&["LITERAL+", "LITERAL-"]), "");
    }

    #[test]
    fn the_limit_of_append_is_shown_as_a_number() {
        let line = Capabilities::default().with_append_limit(257_890).line(Stage::AfterLogin);
        assert!(line.contains(" APPENDLIMIT=257890 "), "{line}");
        assert!(Capabilities::is_known("appendlimit"));
    }

    #[test]
    fn the_protocol_itself_cannot_be_switched_off() {
        assert!(Capabilities::is_known("condstore") && !Capabilities::is_known("IMAP4rev1"));
        assert!(!Capabilities::is_known("X-FROB"));
    }
}
