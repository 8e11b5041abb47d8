//! Connections that wait a little for the next mail to the same hop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::{IDLE_MAX, IDLE_PER_HOP_MAX};
use crate::outbound::Hop;

/// How often the old ones are looked for while there are any: this part of the idle time.
const SWEEPS_PER_TIMEOUT: u32 = 4;

/// All idle connections.
pub(super) struct Pool {
    idle_timeout: Duration,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    hops: HashMap<Hop, Vec<Waiting>>,
    count: usize,
    /// A task looks for the old ones.
    is_swept: bool,
}

struct Waiting {
    connection: Connection,
    since: Instant,
}

impl Pool {
    pub(super) fn new(idle_timeout: Duration) -> Pool {
        Pool { idle_timeout, idle: Mutex::new(Idle::default()) }
    }

    /// The connection to this hop that was used last, if one is there whose server has not spoken
    /// or gone meanwhile.
    pub(super) async fn take(&self, hop: &Hop) -> Option<Connection> {
        loop {
            let Waiting { mut connection, since } = self.lock().pop(hop)?;
            if since.elapsed() < self.idle_timeout && connection.is_quiet().await {
                return Some(connection);
            }
            connection.depart();
        }
    }

    /// Keeps a connection, or closes it if it is of no more use or there are enough.
    pub(super) fn put(self: &Arc<Self>, hop: &Hop, connection: Connection) {
        if self.idle_timeout.is_zero() || !connection.is_reusable() {
            return connection.depart();
        }
        let mut idle = self.lock();
        if let Some(surplus) = idle.push(hop, Waiting { connection, since: Instant::now() }) {
            surplus.connection.depart();
        }
        if !std::mem::replace(&mut idle.is_swept, true) {
            tokio::spawn(sweep(self.clone()));
        }
    }

    /// Takes leave of all.
    pub(super) async fn close(&self) {
        let idle = {
            let mut idle = self.lock();
            idle.count = 0;
            std::mem::take(&mut idle.hops)
        };
        let leaving: Vec<_> = idle
            .into_values()
            .flatten()
            .map(|waiting| tokio::spawn(waiting.connection.farewell()))
            .collect();
        for farewell in leaving {
            // One that fails has nobody to tell.
            let _ = farewell.await;
        }
    }

    /// Closes what has waited for too long; says whether any are left.
    fn expire(&self) -> bool {
        let mut idle = self.lock();
        let mut old = Vec::new();
        for waiting in idle.hops.values_mut() {
            old.extend(waiting.extract_if(.., |one| one.since.elapsed() >= self.idle_timeout));
        }
        idle.hops.retain(|_, waiting| !waiting.is_empty());
        idle.count = idle.hops.values().map(Vec::len).sum();
        idle.is_swept = idle.count > 0;
        old.into_iter().for_each(|waiting| waiting.connection.depart());
        idle.is_swept
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Idle {
    fn pop(&mut self, hop: &Hop) -> Option<Waiting> {
        let waiting = self.hops.get_mut(hop)?;
        let last = waiting.pop();
        if waiting.is_empty() {
            self.hops.remove(hop);
        }
        self.count -= usize::from(last.is_some());
        last
    }

    /// Gives back what has no room: the hop's oldest, or this one.
    fn push(&mut self, hop: &Hop, new: Waiting) -> Option<Waiting> {
        if self.count >= IDLE_MAX {
            return Some(new);
        }
        let waiting = self.hops.entry(hop.clone()).or_default();
        waiting.push(new);
        if waiting.len() > IDLE_PER_HOP_MAX {
            return Some(waiting.remove(0));
        }
        self.count += 1;
        None
    }
}

/// Runs while connections wait.
async fn sweep(pool: Arc<Pool>) {
    loop {
        tokio::time::sleep(pool.idle_timeout / SWEEPS_PER_TIMEOUT).await;
        if !pool.expire() {
            return;
        }
    }
}
