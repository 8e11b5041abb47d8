//! What `quota_mib` and `quota_messages` mean, of users, inboxes and channels alike.

use toml::Spanned;

use crate::directory::findings::Findings;
use crate::directory::quota::Quota;

/// Largest `quota_mib`: 16 TiB.
const MIB_MAX: i64 = 16 * 1024 * 1024;
/// Largest `quota_messages`.
const MESSAGES_MAX: i64 = 1_000_000_000;

/// As they are written.
pub(super) type Written = (Option<Spanned<i64>>, Option<Spanned<i64>>);

/// Reads both.
pub(super) fn quota(found: &mut Findings, (mib, messages): Written) -> Quota {
    Quota {
        bytes: limit(found, mib, ("quota_mib", MIB_MAX)).map(|mib| mib * 1024 * 1024),
        messages: limit(found, messages, ("quota_messages", MESSAGES_MAX)),
    }
}

fn limit(
    found: &mut Findings,
    written: Option<Spanned<i64>>,
    (key, most): (&str, i64),
) -> Option<u64> {
    let written = written?;
    let number = *written.get_ref();
    if !(1..=most).contains(&number) {
        let remedy = format!("write a number from 1 to {most}, or leave it out for no limit");
        found.fault(written.span(), format!("{key} is out of range"), &remedy);
    }
    u64::try_from(number).ok()
}
