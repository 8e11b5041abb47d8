//! Turns: whom work was handed to last, account by account; and keys that are kept for longer.

use std::sync::Arc;

use super::{DUPLICATE_KEY_SECS, Draft, Outcome, StoreError};
use crate::mail::account::Account;
use crate::mail::id::{Login, Timestamp};

impl Draft<'_> {
    pub(super) fn turn_taken(
        &mut self,
        account: Account,
        (user, number): (Login, u64),
    ) -> Result<Outcome, StoreError> {
        let now = self.own.turns.get(&account).or(self.group.turns.get(&account)).cloned();
        let mut turns = now.unwrap_or_else(|| self.base.state.turns(&account));
        if turns.values().max().copied().unwrap_or(0).checked_add(1) != Some(number) {
            return Err(StoreError::Outrun);
        }
        self.own.rows.turns.insert((account.clone(), user.clone()), number);
        Arc::make_mut(&mut turns).insert(user, number);
        self.own.turns.insert(account, turns);
        Ok(Outcome::Done)
    }

    /// As though it were used when all of a day but its time had passed.
    pub(super) fn once(&mut self, key: [u8; 32], secs: i64) -> Outcome {
        if self.is_duplicate(Some(key)) {
            return Outcome::Duplicate;
        }
        let sooner = DUPLICATE_KEY_SECS.saturating_sub(secs).clamp(0, DUPLICATE_KEY_SECS);
        let used = self.base.now.0.saturating_sub(sooner.saturating_mul(1_000_000));
        self.own.rows.duplicate_keys.insert(key, Timestamp(used));
        Outcome::Done
    }

    /// As though it were used only when a day is left of its time.
    pub(super) fn key_kept(&mut self, key: [u8; 32], secs: i64) -> Outcome {
        if !self.is_duplicate(Some(key)) {
            let longer = secs.saturating_sub(DUPLICATE_KEY_SECS).max(0);
            let used = self.base.now.0.saturating_add(longer.saturating_mul(1_000_000));
            self.own.rows.duplicate_keys.insert(key, Timestamp(used));
        }
        Outcome::Done
    }
}
