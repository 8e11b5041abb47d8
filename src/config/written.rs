//! `postfach.toml` as it is written: every key may be missing, none may be unknown. Knows no
//! meaning.

use serde::Deserialize;
use toml::Spanned;

/// Text and where it stands.
pub(super) type Text = Spanned<String>;

/// The file.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    pub(super) hostname: Option<Text>,
    pub(super) data_dir: Option<Text>,
    pub(super) directory: Option<Text>,
    pub(super) listen: Listen,
    pub(super) tls: Option<Spanned<Tls>>,
    pub(super) auth: Auth,
    pub(super) limits: Limits,
    pub(super) store: Store,
    pub(super) outbound: Outbound,
    pub(super) folders: Folders,
    pub(super) imap: Imap,
    pub(super) submission: Submission,
    pub(super) dkim: Vec<Spanned<Dkim>>,
    pub(super) audit: Audit,
}

/// `[audit]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Audit {
    pub(super) subjects: bool,
}

/// `[listen]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Listen {
    pub(super) smtp: Vec<Text>,
    pub(super) submission: Vec<Text>,
    pub(super) submissions: Vec<Text>,
    pub(super) imap: Vec<Text>,
    pub(super) imaps: Vec<Text>,
    pub(super) http: Vec<Text>,
}

/// `[tls]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    pub(super) certificate: Option<Text>,
    pub(super) key: Option<Text>,
    pub(super) self_signed: Option<Spanned<bool>>,
}

/// `[auth]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Auth {
    pub(super) plaintext_without_tls: Option<Text>,
    pub(super) oauth: Option<Spanned<Oauth>>,
}

/// `[auth.oauth]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Oauth {
    pub(super) issuer: Option<Text>,
    pub(super) audience: Option<Text>,
    pub(super) login_claim: Option<Text>,
    pub(super) jwks: Option<Text>,
    pub(super) introspection: Option<Text>,
    pub(super) client_id: Option<Text>,
    pub(super) client_secret: Option<Text>,
    pub(super) ca: Option<Text>,
}

/// `[limits]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    pub(super) message_bytes_max: Option<Spanned<i64>>,
    pub(super) connections_max: Option<Spanned<i64>>,
    pub(super) waiting_per_address_max: Option<Spanned<i64>>,
    pub(super) smtp_per_address_max: Option<Spanned<i64>>,
}

/// `[store]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Store {
    pub(super) engine: Option<Text>,
    pub(super) url: Option<Text>,
    pub(super) blobs: Option<Text>,
    pub(super) password: Option<Text>,
    pub(super) ca: Option<Text>,
    pub(super) listen: Option<bool>,
    pub(super) text_index: Option<bool>,
    pub(super) s3: Option<Spanned<S3>>,
}

/// `[store.s3]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct S3 {
    pub(super) endpoint: Option<Text>,
    pub(super) region: Option<Text>,
    pub(super) access_key: Option<Text>,
    pub(super) secret_key: Option<Text>,
    pub(super) ca: Option<Text>,
    pub(super) allow_http: Option<Spanned<bool>>,
}

/// `[outbound]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Outbound {
    pub(super) via: Option<Text>,
    pub(super) password: Option<Text>,
    pub(super) tls: Option<Text>,
    pub(super) mta_sts: Option<bool>,
    pub(super) dane: Option<Spanned<bool>>,
    pub(super) ca: Option<Text>,
    pub(super) resolver: Vec<Text>,
    pub(super) port: Option<Spanned<i64>>,
    pub(super) retry_first_secs: Option<Spanned<i64>>,
    pub(super) retry_max_secs: Option<Spanned<i64>>,
    pub(super) delay_notice_secs: Option<Spanned<i64>>,
    pub(super) expire_hours: Option<Spanned<i64>>,
    pub(super) connections_max: Option<Spanned<i64>>,
    pub(super) connections_per_destination_max: Option<Spanned<i64>>,
    pub(super) destination: Vec<Spanned<Destination>>,
}

/// `[[outbound.destination]]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Destination {
    pub(super) domain: Option<Text>,
    pub(super) tls: Option<Text>,
    pub(super) via: Option<Text>,
}

/// `[folders]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Folders {
    pub(super) drafts: Option<Text>,
    pub(super) sent: Option<Text>,
    pub(super) junk: Option<Text>,
    pub(super) trash: Option<Text>,
    pub(super) archive: Option<Text>,
    pub(super) done: Option<Text>,
    pub(super) assigned: Option<Text>,
    pub(super) mine: Option<Text>,
    pub(super) all_open: Option<Text>,
}

/// `[submission]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Submission {
    pub(super) own_copies: Option<Text>,
}

/// `[imap]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Imap {
    pub(super) disable: Vec<Text>,
    pub(super) admin: Option<Text>,
}

/// `[[dkim]]`
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Dkim {
    pub(super) domain: Option<Text>,
    pub(super) selector: Option<Text>,
    pub(super) key: Option<Text>,
}
