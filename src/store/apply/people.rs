//! Changes about people: who is away, and whose mailbox is open to whom.

use std::sync::Arc;

use super::{Draft, Outcome, StoreError};
use crate::mail::id::{Login, Timestamp};
use crate::store::change::{Absences, Opening};

/// Most users who are away at a time, and most mailboxes that are open.
pub(super) const PEOPLE_MAX: usize = 10_000;

impl Draft<'_> {
    pub(super) fn away_set(
        &mut self,
        user: Login,
        until: Option<Timestamp>,
    ) -> Result<Outcome, StoreError> {
        let mut absences: Absences = (**self.absences()).clone();
        let before = match until {
            Some(until) => absences.insert(user.clone(), until),
            None => absences.remove(&user),
        };
        if absences.len() > PEOPLE_MAX {
            return Err(StoreError::Limit("users who are away"));
        }
        if before == until {
            return Ok(Outcome::Done);
        }
        self.tell_away(&user, until);
        self.own.rows.absences.insert(user, until);
        self.own.absences = Some(Arc::new(absences));
        Ok(Outcome::Done)
    }

    pub(super) fn glass_broken(
        &mut self,
        opening: Opening,
        reason: String,
    ) -> Result<Outcome, StoreError> {
        let mut openings = self.openings_but(&opening.user, &opening.of);
        if openings.len() >= PEOPLE_MAX {
            return Err(StoreError::Limit("open mailboxes"));
        }
        self.tell_opening(&opening, reason);
        let key = (opening.user.clone(), opening.of.clone());
        self.own.rows.openings.insert(key, Some(opening.until));
        openings.push(opening);
        self.own.openings = Some(Arc::new(openings));
        Ok(Outcome::Done)
    }

    pub(super) fn glass_mended(&mut self, user: &Login, of: &Login) -> Result<Outcome, StoreError> {
        let openings = self.openings_but(user, of);
        if openings.len() < self.openings().len() {
            self.tell_closing(user, of);
            self.own.rows.openings.insert((user.clone(), of.clone()), None);
            self.own.openings = Some(Arc::new(openings));
        }
        Ok(Outcome::Done)
    }

    fn absences(&self) -> &Arc<Absences> {
        let group = self.group.absences.as_ref();
        self.own.absences.as_ref().or(group).unwrap_or(self.base.state.absences())
    }

    fn openings(&self) -> &Arc<Vec<Opening>> {
        let group = self.group.openings.as_ref();
        self.own.openings.as_ref().or(group).unwrap_or(self.base.state.openings())
    }

    fn openings_but(&self, user: &Login, of: &Login) -> Vec<Opening> {
        let others = self.openings().iter().filter(|o| (&o.user, &o.of) != (user, of));
        others.cloned().collect()
    }
}
