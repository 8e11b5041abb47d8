//! Moves queued messages out. The runner owns the agenda in memory, made from the store at start
//! and kept up by its watermark; each attempt is a task. What an attempt came to is in the store
//! before anything else is done with its recipients.
//!
//! | file | what it does |
//! |---|---|
//! | `attempt` | one message on one way: server after server, a fate for each recipient |
//! | `settle` | what came of it, and the reports, in one transaction |
//! | `relayed` | what an operator asks of a node that does not move the queue |
//! | `reports` | the report's text and the mailboxes it goes to |
//! | `verbs` | what an operator asks for |
//! | `transport` | the real DNS and SMTP client |
//!
//! # When the daemon dies
//!
//! Between a server's 250 and our commit nobody can know that the message arrived, and it is sent
//! again. RFC 1047. Nothing else is: a commit that fails is tried again for as long as the daemon
//! runs, and its recipients are not tried meanwhile.
//!
//! # Several nodes
//!
//! One of them has the duty, and its agenda; the others' is empty. Before each attempt it looks
//! whether the duty is still its own, and once more before a server gets the end of a mail: a node
//! that stood still meanwhile lets go, and the mail goes out once, by the other. What came of an
//! attempt is fenced: of what it learns after its tenure only that a mail has arrived still counts.

mod attempt;
#[cfg(test)]
pub(crate) mod fake;
mod relayed;
mod reports;
mod settle;
#[cfg(test)]
mod tests;
pub mod transport;
mod verbs;

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::timeout;
use tracing::Instrument;

use super::duty::{Post, Under};
use super::relay::Attempt;
use crate::directory::Directory;
use crate::mail::address::Address;
use crate::mail::id::{QueueId, Timestamp};
use crate::outbound::Hop;
use crate::outbound::agenda::{Agenda, Job, Limits, Reach, Start};
use crate::outbound::plan::plan;
use crate::outbound::routes::{Route, Routes};
use crate::outbound::schedule::{Moment, Policy};
use crate::smtp::client::{Fate, Mail, Verification};
use crate::store::Store;
use crate::store::nodes::Asks;
use crate::store::queue::Queued;
use crate::sys::Clock;
pub use verbs::{Asked, Command, Done, Verb, Which};

/// Messages that are read from the store at a time.
const LOADED_AT_ONCE: usize = 1_000;
/// Longest sleep while something waits for its time: the system's clock may be set meanwhile.
const SLEEP_MAX: Duration = Duration::from_secs(10 * 60);
/// How soon to look again whether the duty lasts longer, where it is about to end.
const RENEWAL_LOOK: Duration = Duration::from_millis(500);
/// How long attempts may take to end when the daemon stops.
const FINISH_TIMEOUT: Duration = Duration::from_secs(8);
/// Commands that wait for the runner.
const COMMANDS_MAX: usize = 16;

/// What is answered later.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The world outside: DNS and other servers.
pub trait Transport: Send + Sync {
    /// The servers of a way, in their order; or what it means that there is none.
    fn hops<'a>(&'a self, route: &'a Route, entropy: u64) -> Later<'a, Result<Vec<Hop>, Fate>>;

    /// Brings a message to a server: a fate for each recipient of `mail`, in their order. The
    /// server does not get the end of it when the tenure is over by then.
    fn attempt<'a>(
        &'a self,
        hop: &'a Hop,
        mail: &'a Mail,
        errand: Errand<'a>,
    ) -> Later<'a, Attempt>;

    /// Asks a server whether it would take mail from `reverse_path` for `to`.
    fn verify<'a>(
        &'a self,
        hop: &'a Hop,
        reverse_path: Option<&'a Address>,
        to: &'a Address,
    ) -> Later<'a, Verification>;
}

/// Whose content an attempt brings, and under which tenure.
#[derive(Clone, Copy)]
pub struct Errand<'a> {
    /// The message.
    pub queued: &'a Queued,
    /// As long as this lasts, the mail may be handed over.
    pub under: &'a Under,
}

/// How the queue is run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Our name.
    pub hostname: String,
    /// Which way mail goes.
    pub routes: Routes,
    /// When it is tried again.
    pub retry: Policy,
    /// How much at a time.
    pub limits: Limits,
}

/// Which way mail goes, as far as it can change while the daemon runs.
#[derive(Clone)]
pub struct Way {
    /// DNS and other servers.
    pub transport: Arc<dyn Transport>,
    /// How the queue is run.
    pub settings: Settings,
}

/// What all attempts share.
#[derive(Clone)]
pub struct Office {
    /// Where the queue is kept.
    pub store: Arc<dyn Store>,
    /// Whose address the reverse-path of a relayed message is.
    pub directory: watch::Receiver<Arc<Directory>>,
    /// DNS and other servers.
    pub transport: Arc<dyn Transport>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// True once the daemon stops.
    pub shutdown: watch::Receiver<bool>,
    /// Whether the queue is this node's to move.
    pub post: Post,
    /// Under which tenure attempts are begun.
    pub under: Under,
    /// How the queue is run.
    pub settings: Settings,
}

impl Office {
    /// Now, and a random number.
    fn moment(&self) -> Moment {
        Moment { now: self.clock.now(), entropy: entropy() }
    }
}

/// What only spreads load and tells boundaries apart may fall back on the clock.
pub(super) fn entropy() -> u64 {
    let mut bytes = [0; 8];
    if super::tls::provider().secure_random.fill(&mut bytes).is_err() {
        tracing::error!("the system gives no random numbers");
    }
    u64::from_le_bytes(bytes)
}

/// A running queue.
#[derive(Clone)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    ways: watch::Sender<Option<Way>>,
}

impl Handle {
    /// Has something done, and waits until it is. `None` when the queue is being closed.
    pub async fn ask(&self, verb: Verb, which: Which) -> Option<Asked> {
        let (answer, answered) = tokio::sync::oneshot::channel();
        self.commands.send(Command { verb, which, answer }).await.ok()?;
        answered.await.ok()
    }

    /// Mail goes this way from now on. What is being tried ends as it began.
    pub fn turn(&self, way: Way) {
        self.ways.send_replace(Some(way));
    }
}

/// The runner.
pub struct Queue {
    office: Arc<Office>,
    agenda: Agenda,
    /// The first message that has not been planned yet.
    next: QueueId,
    tasks: JoinSet<Reach>,
    jobs: HashMap<Id, Job>,
    commands: mpsc::Receiver<Command>,
    /// What is to be done with messages once their attempts have ended.
    wishes: HashMap<QueueId, Verb>,
    ways: watch::Receiver<Option<Way>>,
    /// Messages that are being tried on a way that is no longer the right one: planned again when
    /// nothing of them is tried any more, so that nobody gets one twice.
    turning: HashSet<QueueId>,
    asks: watch::Receiver<Asks>,
}

impl Queue {
    /// A queue that does nothing yet, and how to talk to it.
    pub fn new(office: Office) -> (Queue, Handle) {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let (way, ways) = watch::channel(None);
        let asks = office.store.watch_asks();
        let queue = Queue {
            agenda: Agenda::new(office.settings.limits, office.settings.retry),
            office: Arc::new(office),
            next: QueueId(i64::MIN),
            tasks: JoinSet::new(),
            jobs: HashMap::new(),
            commands,
            wishes: HashMap::new(),
            ways,
            turning: HashSet::new(),
            asks,
        };
        (queue, Handle { commands: sender, ways: way })
    }

    /// Runs until the daemon stops; then no attempt is begun, and those under way have some time to
    /// end.
    pub async fn run(mut self) {
        let mut queued = self.office.store.watch_queue();
        let mut shutdown = self.office.shutdown.clone();
        let mut post = self.office.post.clone();
        queued.borrow_and_update();
        self.load();
        loop {
            self.start();
            let sleep = self.sleep();
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => self.ended(ended).await,
                Ok(()) = queued.changed() => self.load(),
                Some(command) = self.commands.recv() => self.obey(command).await,
                Ok(()) = self.ways.changed() => self.turn(),
                () = post.changed() => self.look().await,
                Ok(()) = self.asks.changed() => self.answer_asks().await,
                () = sleep => {}
                () = stopped(&mut shutdown) => break,
            }
        }
        self.finish().await;
    }

    /// The duty has come or gone, or come back: what was planned is forgotten, and planned anew if
    /// it is ours. One that only seemed to be over goes on.
    async fn look(&mut self) {
        if self.office.under.is_present() {
            // what was asked while the lease was late has not been answered
            self.answer_asks().await;
            return;
        }
        let under = self.office.post.present();
        self.office = Arc::new(Office { under, ..(*self.office).clone() });
        self.agenda.forget_all();
        self.turning.clear();
        self.next = QueueId(i64::MIN);
        self.load();
        for id in self.wishes.keys().copied().collect::<Vec<_>>() {
            self.fulfil(id).await;
        }
        self.answer_asks().await;
    }

    /// Plans what has been queued since.
    fn load(&mut self) {
        // a database that was set back gives numbers anew
        if *self.office.store.watch_queue().borrow() < QueueId(self.next.0.saturating_sub(1)) {
            self.next = QueueId(i64::MIN);
        }
        loop {
            if self.office.under.is_none() {
                return;
            }
            let some = self.office.store.queued_from(self.next, LOADED_AT_ONCE);
            let Some(last) = some.last() else { return };
            self.next = QueueId(last.id.0.saturating_add(1));
            some.iter().for_each(|queued| self.plan(queued));
            if some.len() < LOADED_AT_ONCE {
                return;
            }
        }
    }

    /// Plans everything anew.
    fn turn(&mut self) {
        let Some(Way { transport, settings }) = self.ways.borrow_and_update().clone() else {
            return;
        };
        self.agenda.change(settings.limits, settings.retry);
        self.office = Arc::new(Office { transport, settings, ..(*self.office).clone() });
        self.turning.extend(self.jobs.values().map(|job| job.id));
        self.next = QueueId(i64::MIN);
        self.load();
    }

    fn plan(&mut self, queued: &Queued) {
        if self.turning.contains(&queued.id) {
            if self.agenda.is_busy(queued.id) {
                return self.agenda.set(queued.id, Vec::new());
            }
            self.turning.remove(&queued.id);
        }
        if self.office.under.is_none() {
            return self.agenda.set(queued.id, Vec::new());
        }
        let settings = &self.office.settings;
        self.agenda.set(queued.id, plan(queued, &settings.routes, &settings.retry));
    }

    /// Plans a message by what the store says of it now.
    fn plan_again(&mut self, id: QueueId) {
        match self.office.store.queued(id) {
            Some(queued) => self.plan(&queued),
            None => {
                self.turning.remove(&id);
                self.agenda.set(id, Vec::new());
            }
        }
    }

    /// Begins all that is due and has room.
    fn start(&mut self) {
        while self.office.under.may_begin()
            && let Some(start) = self.agenda.start(self.office.clock.now())
        {
            let office = self.office.clone();
            let (Start::Attempt(job, _) | Start::Overdue(job, ..)) = &start;
            let (job, id) = (*job, job.id);
            let span = tracing::info_span!("queued", id = id.0);
            let work = async move {
                match start {
                    Start::Attempt(_, route) => attempt::run(&office, id, &route).await,
                    Start::Overdue(_, route, told) => {
                        attempt::overdue(&office, id, (&route, told)).await
                    }
                }
            };
            let task = self.tasks.spawn(work.instrument(span));
            self.jobs.insert(task.id(), job);
        }
    }

    /// Until the agenda has something to do; for ever when it has nothing at all, or the duty is
    /// not ours.
    fn sleep(&self) -> impl Future<Output = ()> + use<> {
        let now = self.office.clock.now();
        let under = &self.office.under;
        let next = self.agenda.next_wake().filter(|_| under.lasts());
        let least = if under.may_begin() { Duration::ZERO } else { RENEWAL_LOOK };
        let wait = next.map(|due| until(due, now).clamp(least, SLEEP_MAX));
        async move {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        }
    }

    async fn ended(&mut self, ended: Result<(Id, Reach), JoinError>) {
        let (task, reach) = match ended {
            Ok((task, reach)) => (task, Some(reach)),
            Err(error) => {
                tracing::error!(%error, "an attempt broke off; it is made again after a restart");
                (error.id(), None)
            }
        };
        let Some(job) = self.jobs.remove(&task) else { return };
        let planned_again = reach.is_some();
        self.agenda.ended(job, reach.unwrap_or(Reach::Unknown), self.office.moment());
        // What made a task panic would do so again at once.
        if planned_again {
            self.plan_again(job.id);
            self.fulfil(job.id).await;
        }
    }

    async fn finish(&mut self) {
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(FINISH_TIMEOUT, all).await.is_err() {
            tracing::warn!(attempts = self.tasks.len(), "attempts broken off; they are made again");
            self.tasks.shutdown().await;
        }
    }
}

/// Comes back once the daemon stops.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error means that the daemon is gone already.
    let _ = shutdown.wait_for(|stop| *stop).await;
}

fn until(due: Timestamp, now: Timestamp) -> Duration {
    Duration::from_micros(u64::try_from(due.0.saturating_sub(now.0)).unwrap_or_default())
}
