//! How much an account may hold: `quota_mib` and `quota_messages`. Knows no store: what it holds is
//! said to it.

use std::collections::BTreeMap;

use crate::mail::account::Account;

/// Limits of an account; `None`: there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// Most bytes in all of its messages.
    pub bytes: Option<u64>,
    /// Most messages.
    pub messages: Option<u64>,
}

/// The accounts that have limits.
pub type Quotas = BTreeMap<Account, Quota>;

impl Quota {
    /// Whether nothing is limited.
    pub fn is_none(self) -> bool {
        self == Quota::default()
    }

    /// Whether an account that will hold so many messages and bytes is within it.
    pub fn allows(self, (messages, bytes): (u64, u64)) -> bool {
        self.messages.is_none_or(|most| messages <= most)
            && self.bytes.is_none_or(|most| bytes <= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_holds_by_itself() {
        let quota = Quota { bytes: Some(100), messages: Some(3) };
        assert!(quota.allows((3, 100)) && !quota.allows((4, 100)) && !quota.allows((3, 101)));
        assert!(Quota { bytes: None, messages: Some(3) }.allows((3, u64::MAX)));
        assert!(Quota::default().is_none() && Quota::default().allows((u64::MAX, u64::MAX)));
    }
}
