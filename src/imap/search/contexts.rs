//! Searches whose client wants to know what becomes of their results. Looks only at messages that
//! have come, changed or gone. RFC 5267 §4.3

use std::sync::Arc;

use super::answer::write_set;
use super::evaluate::find_among;
use super::key::Key;
use super::sort::{Criterion, comes_before};
use crate::imap::fetch::item::Request;
use crate::imap::fetch::write::Beyond;
use crate::imap::output::Output;
use crate::imap::view::View;
use crate::imap::wire::utf7;
use crate::imap::{Numbering, Refusal};
use crate::mail::id::Uid;
use crate::mail::uid_set::UidSet;
use crate::store::{Store, StoreError};

/// Most of them in one session. RFC 5267 §4.3.1
pub const CONTEXTS_MAX: usize = 16;
/// Most results of a SORT that is kept up to date: their order is in memory.
pub const ORDERED_MAX: usize = 20_000;

/// One search.
#[derive(Clone, Debug)]
pub struct Context {
    /// The tag of its command.
    pub tag: String,
    /// What its answers begin with.
    pub correlator: String,
    /// How its results are named.
    pub by: Numbering,
    /// What it looks for, without sequence numbers.
    pub key: Key,
    /// What the client knows of its results.
    pub found: UidSet,
    /// Of a SORT, their order.
    pub order: Option<Order>,
    /// What is shown of messages that become results by coming in. RFC 5465 §7
    pub shows: Option<Arc<Request>>,
    /// How UTF-8 is shown there.
    pub beyond: Beyond,
}

/// The results of a SORT as the client has them.
#[derive(Clone, Debug)]
pub struct Order {
    /// What they are sorted by.
    pub criteria: Arc<[Criterion]>,
    /// In that order.
    pub uids: Vec<Uid>,
}

/// What has become of results.
#[derive(Clone, Debug)]
pub struct Difference {
    /// They are none any more.
    pub gone: UidSet,
    /// These are some now.
    pub new: UidSet,
}

/// Results that are about to be expunged: told before, as long as their numbers hold.
pub fn tell_gone(view: &mut View, expunged: &UidSet, out: &mut Output<'_>) {
    let mut contexts = view.take_contexts();
    for context in &mut contexts {
        let gone = context.found.intersection(expunged);
        context.remove(view, &gone, out);
    }
    view.put_contexts(contexts);
}

/// `TAG "B01"`. RFC 4466 §2.6.2 `search-correlator`
pub fn tag_correlator(tag: &str) -> String {
    format!("TAG {}", utf7::quoted(tag))
}

impl Context {
    /// What has become of messages that have come or changed.
    pub async fn difference(
        &self,
        store: &dyn Store,
        view: &View,
        touched: &UidSet,
    ) -> Result<Difference, StoreError> {
        let among = view.with_uids(touched);
        let hits = find_among(store, view, &self.key, &among).await?;
        let now: UidSet = hits.iter().map(|hit| Uid(hit.uid)).collect();
        let before = self.found.intersection(touched);
        Ok(Difference { gone: before.without(&now), new: now.without(&before) })
    }

    /// Tells it.
    pub async fn advance(
        &mut self,
        store: &dyn Store,
        view: &View,
        (difference, out): (Difference, &mut Output<'_>),
    ) -> Result<(), Refusal> {
        self.remove(view, &difference.gone, out);
        let new = difference.new;
        if new.is_empty() {
            return Ok(());
        }
        self.found = self.found.union(&new);
        let Some(order) = &mut self.order else {
            self.tell("ADDTO", &[(0, view.named(&new, self.by).iter().collect())], out);
            return Ok(());
        };
        let mut added = Vec::new();
        for uid in new.iter() {
            let at = order.place(store, view, uid).await?;
            order.uids.insert(at, uid);
            added.push((at + 1, named(view, self.by, &[uid])));
        }
        self.tell("ADDTO", &added, out);
        Ok(())
    }

    /// Whether its order is longer than is kept: the client is told, and it ends. RFC 5267 §4.3.1
    pub fn is_too_long(&self, out: &mut Output<'_>) -> bool {
        let is_too_long = self.order.as_ref().is_some_and(|o| o.uids.len() > ORDERED_MAX);
        if is_too_long {
            let tag = utf7::quoted(&self.tag);
            out.line(format_args!("* NO [NOUPDATE {tag}] Too many results to be kept in order"));
        }
        is_too_long
    }

    fn remove(&mut self, view: &View, gone: &UidSet, out: &mut Output<'_>) {
        if gone.is_empty() {
            return;
        }
        self.found = self.found.without(gone);
        let removed = match &mut self.order {
            Some(order) => {
                let runs = order.take(gone);
                runs.into_iter().map(|(at, uids)| (at, named(view, self.by, &uids))).collect()
            }
            None => vec![(0, view.named(gone, self.by).iter().collect())],
        };
        self.tell("REMOVEFROM", &removed, out);
    }

    /// `* ESEARCH (TAG "B01") UID ADDTO (0 32768:32769)`; 0: wherever they belong.
    fn tell(&self, what: &str, changes: &[(usize, Vec<Uid>)], out: &mut Output<'_>) {
        let uid = if self.by == Numbering::Uid { " UID" } else { "" };
        out.push(format!("* ESEARCH ({}){uid} {what} (", self.correlator).as_bytes());
        for (n, (at, uids)) in changes.iter().enumerate() {
            let separator = if n > 0 { " " } else { "" };
            out.push(format!("{separator}{at} ").as_bytes());
            write_set(uids.iter().map(|uid| uid.0), out.buffer());
        }
        out.push(b")\r\n");
    }
}

impl Order {
    /// Where a result belongs, counted from 0. What is compared never changes, so that only some of
    /// those that are there have to be looked at.
    async fn place(&self, store: &dyn Store, view: &View, uid: Uid) -> Result<usize, StoreError> {
        let (mut low, mut high) = (0, self.uids.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let pair = (uid, self.uids[middle]);
            match comes_before(store, view, pair, &self.criteria).await? {
                true => high = middle,
                false => low = middle + 1,
            }
        }
        Ok(low)
    }

    /// Takes results out: runs of neighbours with the place of the first, from 1. The last run is
    /// first, so that the places of the others hold when it is gone.
    fn take(&mut self, gone: &UidSet) -> Vec<(usize, Vec<Uid>)> {
        let mut runs: Vec<(usize, Vec<Uid>)> = Vec::new();
        for (at, uid) in self.uids.iter().enumerate().filter(|(_, uid)| gone.contains(**uid)) {
            match runs.last_mut() {
                Some((first, run)) if *first + run.len() == at + 1 => run.push(*uid),
                _ => runs.push((at + 1, vec![*uid])),
            }
        }
        self.uids.retain(|uid| !gone.contains(*uid));
        runs.reverse();
        runs
    }
}

/// The numbers or UIDs of some, in their order.
fn named(view: &View, by: Numbering, uids: &[Uid]) -> Vec<Uid> {
    let one = |uid: &Uid| view.named(&[*uid].into_iter().collect(), by).iter().collect::<Vec<_>>();
    uids.iter().flat_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_leave_an_order_together_and_the_last_ones_first() {
        let uids = [7, 3, 9, 4, 5, 1].map(Uid).to_vec();
        let mut order = Order { criteria: Arc::new([]), uids };
        let gone: UidSet = [3, 9, 1].map(Uid).into_iter().collect();
        let runs = order.take(&gone);
        assert_eq!(runs, [(6, vec![Uid(1)]), (2, vec![Uid(3), Uid(9)])]);
        assert_eq!(order.uids, [7, 4, 5].map(Uid));
    }
}
