//! Which attempt is made when: every message waits for its time, and for its destination to have
//! room and to be reachable. In memory only; it is made anew from the store when the daemon starts.
//! Knows no clock, no task and no store.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use super::plan::Planned;
use super::routes::Route;
use super::schedule::{Moment, Policy};
use crate::mail::id::{QueueId, Timestamp};
use crate::smtp::client::Told;

/// Most attempts at a time, in all.
pub const CONNECTIONS_MAX: usize = 50;
/// Most attempts at a time to one destination.
pub const CONNECTIONS_PER_DESTINATION_MAX: usize = 5;
/// Attempts at a time to a destination that could not be reached, until one has got through.
const PROBES_MAX: usize = 1;

/// How many attempts are made at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// In all.
    pub total: usize,
    /// To one destination.
    pub per_destination: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { total: CONNECTIONS_MAX, per_destination: CONNECTIONS_PER_DESTINATION_MAX }
    }
}

/// One message on one way: what one attempt is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Job {
    /// The message.
    pub id: QueueId,
    lane: u64,
}

/// What is to be done now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Start {
    /// Try to deliver.
    Attempt(Job, Route),
    /// No attempt: the destination could not be reached, as told; but the sender is to hear of it.
    Overdue(Job, Route, Told),
}

/// Whether a destination was reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// A server of it answered, whatever it said.
    Reached,
    /// None did.
    Unreachable(Told),
    /// Nothing was found out.
    Unknown,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// In `waiting`, at this time.
    Waiting(Timestamp),
    /// Its time has come.
    Ready,
    Running,
    /// To be planned anew by `set`.
    Ended,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    deadline: Timestamp,
    state: State,
}

/// A destination's queue.
struct Lane {
    route: Route,
    ready: VecDeque<QueueId>,
    running: usize,
    jobs: usize,
    /// It is among those that may have something to start.
    is_listed: bool,
    failures: u32,
    /// Not to be tried before, and why.
    blocked: Option<(Timestamp, Told)>,
}

impl Lane {
    fn room(&self, per_destination: usize) -> usize {
        let limit = if self.failures > 0 { PROBES_MAX } else { per_destination };
        limit.saturating_sub(self.running)
    }

    fn blocked_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.blocked.as_ref().map(|(until, _)| *until).filter(|until| *until > now)
    }
}

/// All that is to be done, and when.
pub struct Agenda {
    limits: Limits,
    policy: Policy,
    jobs: BTreeMap<Job, Entry>,
    waiting: BTreeSet<(Timestamp, Job)>,
    lanes: HashMap<u64, Lane>,
    numbers: HashMap<Route, u64>,
    next_lane: u64,
    /// Lanes that may have something to start, in turn.
    listed: VecDeque<u64>,
    overdue: VecDeque<Job>,
    running: usize,
}

impl Agenda {
    /// Nothing to do.
    pub fn new(limits: Limits, policy: Policy) -> Agenda {
        Agenda {
            limits,
            policy,
            jobs: BTreeMap::new(),
            waiting: BTreeSet::new(),
            lanes: HashMap::new(),
            numbers: HashMap::new(),
            next_lane: 0,
            listed: VecDeque::new(),
            overdue: VecDeque::new(),
            running: 0,
        }
    }

    /// From now on by these rules. What was found of destinations is forgotten: the operator has
    /// changed the way to them.
    pub fn change(&mut self, limits: Limits, policy: Policy) {
        (self.limits, self.policy) = (limits, policy);
        let numbers: Vec<u64> = self.lanes.keys().copied().collect();
        for number in numbers {
            if let Some(lane) = self.lanes.get_mut(&number) {
                (lane.failures, lane.blocked) = (0, None);
            }
            self.list(number);
        }
    }

    /// Plans a message anew: what is planned of it is forgotten, but for what runs.
    pub fn set(&mut self, id: QueueId, planned: Vec<Planned>) {
        let runs = |entry: &Entry| entry.state == State::Running;
        let old: Vec<Job> =
            self.of(id).filter(|(_, entry)| !runs(entry)).map(|(job, _)| job).collect();
        old.iter().for_each(|job| self.forget(*job));
        for planned in planned {
            let job = Job { id, lane: self.lane(planned.route) };
            if self.jobs.contains_key(&job) {
                continue;
            }
            let state = State::Waiting(planned.due);
            self.jobs.insert(job, Entry { deadline: planned.deadline, state });
            self.waiting.insert((planned.due, job));
            if let Some(lane) = self.lanes.get_mut(&job.lane) {
                lane.jobs += 1;
            }
        }
        old.iter().for_each(|job| self.close_lane(job.lane));
    }

    /// What is planned is forgotten, but for what runs; and what was found of destinations.
    pub fn forget_all(&mut self) {
        let ids: BTreeSet<QueueId> = self.jobs.keys().map(|job| job.id).collect();
        ids.into_iter().for_each(|id| self.set(id, Vec::new()));
        self.change(self.limits, self.policy);
    }

    /// What is to be done now, one after the other, until there is no more. What is answered runs
    /// until `ended`.
    pub fn start(&mut self, now: Timestamp) -> Option<Start> {
        while let Some(&(due, job)) = self.waiting.first()
            && due <= now
        {
            self.waiting.pop_first();
            if let Some(entry) = self.jobs.get_mut(&job) {
                entry.state = State::Ready;
                self.line_up(job, now);
            }
        }
        if self.running >= self.limits.total {
            return None;
        }
        self.start_overdue().or_else(|| self.start_attempt(now))
    }

    /// When `start` will next have something to do, if nothing ends before.
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// How many run.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Whether this message is being tried on this way.
    pub fn is_running(&self, id: QueueId, route: &Route) -> bool {
        let job = self.numbers.get(route).map(|lane| Job { id, lane: *lane });
        let entry = job.and_then(|job| self.jobs.get(&job));
        entry.is_some_and(|entry| entry.state == State::Running)
    }

    /// Whether this message is being tried, on whatever way.
    pub fn is_busy(&self, id: QueueId) -> bool {
        self.of(id).any(|(_, entry)| entry.state == State::Running)
    }

    /// Something that `start` answered has ended; `set` is to be called next for its message.
    pub fn ended(&mut self, job: Job, reach: Reach, moment: Moment) {
        let Some(entry) = self.jobs.get_mut(&job).filter(|e| e.state == State::Running) else {
            return;
        };
        entry.state = State::Ended;
        self.running -= 1;
        let Some(lane) = self.lanes.get_mut(&job.lane) else { return };
        lane.running = lane.running.saturating_sub(1);
        match reach {
            Reach::Reached => (lane.failures, lane.blocked) = (0, None),
            Reach::Unreachable(told) => self.block(job.lane, told, moment),
            Reach::Unknown => {}
        }
        self.list(job.lane);
    }

    /// The operator wants this way tried again, whatever was found before.
    pub fn forgive(&mut self, route: &Route) {
        if let Some(lane) = self.numbers.get(route).and_then(|lane| self.lanes.get_mut(lane)) {
            lane.blocked = None;
        }
    }

    /// All attempts that run at the same time fail together: that counts once.
    fn block(&mut self, number: u64, told: Told, moment: Moment) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let until = match lane.blocked_until(moment.now) {
            Some(until) => until,
            None => {
                lane.failures = lane.failures.saturating_add(1);
                self.policy.next(lane.failures, moment)
            }
        };
        lane.blocked = Some((until, told));
        let ready = std::mem::take(&mut lane.ready);
        for id in ready {
            self.line_up(Job { id, lane: number }, moment.now);
        }
    }

    /// A job that is ready gets in line, or waits on while its destination is blocked.
    fn line_up(&mut self, job: Job, now: Timestamp) {
        let (Some(entry), Some(lane)) = (self.jobs.get_mut(&job), self.lanes.get_mut(&job.lane))
        else {
            return;
        };
        if entry.state != State::Ready {
            return;
        }
        match lane.blocked_until(now) {
            None => {
                lane.ready.push_back(job.id);
                self.list(job.lane);
            }
            Some(_) if entry.deadline <= now => self.overdue.push_back(job),
            Some(until) => {
                let at = until.min(entry.deadline);
                entry.state = State::Waiting(at);
                self.waiting.insert((at, job));
            }
        }
    }

    fn start_overdue(&mut self) -> Option<Start> {
        while let Some(job) = self.overdue.pop_front() {
            let (Some(entry), Some(lane)) =
                (self.jobs.get_mut(&job), self.lanes.get_mut(&job.lane))
            else {
                continue;
            };
            if entry.state != State::Ready {
                continue;
            }
            let Some((_, told)) = &lane.blocked else {
                lane.ready.push_back(job.id);
                self.list(job.lane);
                continue;
            };
            entry.state = State::Running;
            lane.running += 1;
            self.running += 1;
            return Some(Start::Overdue(job, lane.route.clone(), told.clone()));
        }
        None
    }

    fn start_attempt(&mut self, now: Timestamp) -> Option<Start> {
        while let Some(number) = self.listed.pop_front() {
            let Some(lane) = self.lanes.get_mut(&number) else { continue };
            lane.is_listed = false;
            if lane.blocked_until(now).is_some() {
                for id in std::mem::take(&mut lane.ready) {
                    self.line_up(Job { id, lane: number }, now);
                }
                continue;
            }
            if lane.room(self.limits.per_destination) == 0 {
                continue;
            }
            let Some(id) = lane.ready.pop_front() else { continue };
            let job = Job { id, lane: number };
            let entry = self.jobs.get_mut(&job).filter(|entry| entry.state == State::Ready);
            let started = entry.map(|entry| {
                entry.state = State::Running;
                lane.running += 1;
                self.running += 1;
                Start::Attempt(job, lane.route.clone())
            });
            self.list(number);
            if started.is_some() {
                return started;
            }
        }
        None
    }

    /// Puts a lane among those that may have something to start.
    fn list(&mut self, number: u64) {
        let Some(lane) = self.lanes.get_mut(&number) else { return };
        let may_start = !lane.ready.is_empty() && lane.room(self.limits.per_destination) > 0;
        if may_start && !lane.is_listed {
            lane.is_listed = true;
            self.listed.push_back(number);
        }
    }

    fn of(&self, id: QueueId) -> impl Iterator<Item = (Job, &Entry)> {
        let range = Job { id, lane: 0 }..=Job { id, lane: u64::MAX };
        self.jobs.range(range).map(|(job, entry)| (*job, entry))
    }

    fn lane(&mut self, route: Route) -> u64 {
        if let Some(number) = self.numbers.get(&route) {
            return *number;
        }
        let number = self.next_lane;
        self.next_lane += 1;
        self.numbers.insert(route.clone(), number);
        let lane = Lane {
            route,
            ready: VecDeque::new(),
            running: 0,
            jobs: 0,
            is_listed: false,
            failures: 0,
            blocked: None,
        };
        self.lanes.insert(number, lane);
        number
    }

    fn forget(&mut self, job: Job) {
        let Some(entry) = self.jobs.remove(&job) else { return };
        if let State::Waiting(at) = entry.state {
            self.waiting.remove(&(at, job));
        }
        if let Some(lane) = self.lanes.get_mut(&job.lane) {
            // Its place in line stays, and is passed over.
            lane.jobs -= 1;
        }
    }

    /// What is remembered of a destination goes with its last message.
    fn close_lane(&mut self, number: u64) {
        if let Some(lane) = self.lanes.get(&number)
            && lane.jobs == 0
        {
            self.numbers.remove(&lane.route);
            self.lanes.remove(&number);
        }
    }
}

#[cfg(test)]
#[path = "agenda_tests.rs"]
mod tests;
