//! Stories of messages that wait for their time, for room and for a destination.

use proptest::prelude::*;

use super::*;
use crate::outbound::Security;

fn route(domain: &str) -> Route {
    Route::Mx { domain: domain.into(), port: 25, security: Security::Opportunistic }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn moment(seconds: i64) -> Moment {
    Moment { now: at(seconds), entropy: u64::MAX / 2 }
}

fn planned(domain: &str, due: i64) -> Planned {
    Planned { route: route(domain), due: at(due), deadline: at(1_000_000) }
}

fn agenda(total: usize, per_destination: usize) -> Agenda {
    Agenda::new(Limits { total, per_destination }, Policy::default())
}

/// Starts all that can be started; answers the messages.
fn started(agenda: &mut Agenda, seconds: i64) -> Vec<(Job, i64)> {
    std::iter::from_fn(|| agenda.start(at(seconds)))
        .map(|start| match start {
            Start::Attempt(job, _) => (job, job.id.0),
            Start::Overdue(job, ..) => (job, -job.id.0),
        })
        .collect()
}

fn ids(started: &[(Job, i64)]) -> Vec<i64> {
    started.iter().map(|(_, id)| *id).collect()
}

fn unreachable() -> Reach {
    Reach::Unreachable(Route::told("4.4.1", "connection refused"))
}

#[test]
fn nothing_starts_before_its_time_and_nothing_wakes_for_nothing() {
    let mut agenda = agenda(50, 5);
    assert_eq!(agenda.next_wake(), None);
    agenda.set(QueueId(1), vec![planned("a", 100)]);
    assert_eq!(started(&mut agenda, 99), []);
    assert_eq!(agenda.next_wake(), Some(at(100)));
    assert_eq!(ids(&started(&mut agenda, 100)), [1]);
    assert_eq!(agenda.next_wake(), None);
}

#[test]
fn a_destination_takes_its_number_of_attempts_and_not_one_more() {
    let mut agenda = agenda(50, 5);
    (1..=7).for_each(|id| agenda.set(QueueId(id), vec![planned("a", 0)]));
    agenda.set(QueueId(8), vec![planned("b", 0)]);
    let running = started(&mut agenda, 0);
    let mut sorted = ids(&running);
    sorted.sort_unstable();
    assert_eq!(sorted, [1, 2, 3, 4, 5, 8]);
    let first = running.iter().find(|(_, id)| *id == 1).expect("it runs").0;
    agenda.ended(first, Reach::Reached, moment(1));
    agenda.set(first.id, Vec::new());
    assert_eq!(ids(&started(&mut agenda, 1)), [6]);
}

#[test]
fn all_together_take_their_number_and_destinations_take_turns() {
    let mut agenda = agenda(4, 5);
    (1..=5).for_each(|id| agenda.set(QueueId(id), vec![planned("a", 0)]));
    (6..=9).for_each(|id| agenda.set(QueueId(id), vec![planned("b", 0)]));
    let running = started(&mut agenda, 0);
    assert_eq!(ids(&running), [1, 6, 2, 7]);
    assert_eq!(agenda.running(), 4);
    agenda.ended(running[0].0, Reach::Reached, moment(1));
    agenda.set(QueueId(1), Vec::new());
    assert_eq!(started(&mut agenda, 1).len(), 1);
}

#[test]
fn a_destination_that_cannot_be_reached_is_left_alone_by_all_until_its_time() {
    let mut agenda = agenda(50, 1);
    agenda.set(QueueId(1), vec![planned("a", 0)]);
    agenda.set(QueueId(2), vec![planned("a", 0)]);
    let running = started(&mut agenda, 0);
    assert_eq!(ids(&running), [1]);
    agenda.ended(running[0].0, unreachable(), moment(0));
    agenda.set(QueueId(1), vec![planned("a", 10_000)]);
    agenda.set(QueueId(3), vec![planned("a", 1)]);
    assert_eq!(started(&mut agenda, 1), []);
    let wake = agenda.next_wake().expect("it is tried again").seconds();
    assert!((240..=360).contains(&wake), "{wake}");
    assert_eq!(started(&mut agenda, wake), []);
    assert_eq!(ids(&started(&mut agenda, wake + 1)), [2], "one of them probes");
}

#[test]
fn a_destination_is_forgotten_with_its_last_message() {
    let mut agenda = agenda(50, 5);
    agenda.set(QueueId(1), vec![planned("a", 0)]);
    let running = started(&mut agenda, 0);
    agenda.ended(running[0].0, unreachable(), moment(0));
    agenda.set(QueueId(1), Vec::new());
    (2..=4).for_each(|id| agenda.set(QueueId(id), vec![planned("a", 0)]));
    assert_eq!(ids(&started(&mut agenda, 1)), [2, 3, 4]);
}

#[test]
fn a_probe_that_gets_through_lets_the_others_follow() {
    let mut agenda = agenda(50, 5);
    (1..=4).for_each(|id| agenda.set(QueueId(id), vec![planned("a", 0)]));
    for (job, _) in started(&mut agenda, 0) {
        agenda.ended(job, unreachable(), moment(0));
        agenda.set(job.id, vec![planned("a", 1)]);
    }
    assert_eq!(started(&mut agenda, 100), []);
    let probe = started(&mut agenda, 400);
    assert_eq!(probe.len(), 1, "failures of one moment count once");
    agenda.ended(probe[0].0, Reach::Reached, moment(401));
    agenda.set(probe[0].0.id, Vec::new());
    assert_eq!(started(&mut agenda, 401).len(), 3);
}

#[test]
fn the_sender_hears_in_time_of_what_waits_for_a_destination() {
    let mut agenda = agenda(50, 1);
    agenda.set(QueueId(1), vec![planned("a", 0)]);
    agenda.set(QueueId(2), vec![Planned { deadline: at(50), ..planned("a", 0) }]);
    let running = started(&mut agenda, 0);
    agenda.ended(running[0].0, unreachable(), moment(0));
    agenda.set(QueueId(1), vec![planned("a", 300)]);
    assert_eq!(started(&mut agenda, 49), []);
    let overdue = started(&mut agenda, 50);
    assert_eq!(ids(&overdue), [-2]);
    agenda.ended(overdue[0].0, Reach::Unknown, moment(50));
    agenda.set(QueueId(2), vec![planned("a", 0)]);
    assert_eq!(started(&mut agenda, 51), []);
}

#[test]
fn an_operator_can_have_a_destination_tried_at_once() {
    let mut agenda = agenda(50, 5);
    agenda.set(QueueId(1), vec![planned("a", 0)]);
    let running = started(&mut agenda, 0);
    agenda.ended(running[0].0, unreachable(), moment(0));
    agenda.forgive(&route("a"));
    agenda.set(QueueId(1), vec![planned("a", 1)]);
    assert_eq!(ids(&started(&mut agenda, 1)), [1]);
}

#[test]
fn what_is_taken_back_is_not_started() {
    let mut agenda = agenda(50, 1);
    (1..=3).for_each(|id| agenda.set(QueueId(id), vec![planned("a", 0)]));
    let running = started(&mut agenda, 0);
    agenda.set(QueueId(2), Vec::new());
    agenda.ended(running[0].0, Reach::Reached, moment(1));
    agenda.set(QueueId(1), Vec::new());
    assert_eq!(ids(&started(&mut agenda, 1)), [3]);
}

#[test]
fn a_message_with_two_ways_is_two_jobs_and_what_runs_is_not_planned_again() {
    let mut agenda = agenda(50, 5);
    agenda.set(QueueId(1), vec![planned("a", 0), planned("b", 5)]);
    let running = started(&mut agenda, 0);
    assert_eq!(ids(&running), [1]);
    assert!(agenda.is_running(QueueId(1), &route("a")));
    assert!(!agenda.is_running(QueueId(1), &route("b")));
    agenda.set(QueueId(1), vec![planned("a", 0), planned("b", 0)]);
    assert_eq!(started(&mut agenda, 0).len(), 1, "only b");
    assert_eq!(agenda.running(), 2);
}

#[test]
fn nothing_is_remembered_of_what_is_gone() {
    let mut agenda = agenda(50, 5);
    for id in 1..=100 {
        agenda.set(QueueId(id), vec![planned(&format!("d{id}"), 0)]);
        for (job, _) in started(&mut agenda, 0) {
            agenda.ended(job, unreachable(), moment(0));
            agenda.set(job.id, Vec::new());
        }
    }
    assert!(agenda.lanes.is_empty() && agenda.numbers.is_empty() && agenda.jobs.is_empty());
    assert!(agenda.waiting.is_empty() && agenda.next_wake().is_none());
}

/// What may happen to an agenda.
#[derive(Clone, Debug)]
enum Event {
    /// A message is planned for these destinations, so many seconds from now.
    Set(i64, Vec<u8>, i64),
    /// Time passes.
    Pass(i64),
    /// The n-th of those that run ends, the destination reached or not.
    End(usize, bool),
    /// An operator forgives a destination.
    Forgive(u8),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0i64..12, proptest::collection::vec(0u8..4, 0..3), 0i64..2_000)
            .prop_map(|(id, lanes, due)| Event::Set(id, lanes, due)),
        2 => (1i64..3_000).prop_map(Event::Pass),
        4 => (0usize..8, any::<bool>()).prop_map(|(n, reached)| Event::End(n, reached)),
        1 => (0u8..4).prop_map(Event::Forgive),
    ];
    proptest::collection::vec(event, 0..80)
}

/// An agenda and what must be true of it.
struct Checked {
    agenda: Agenda,
    now: i64,
    due: HashMap<(i64, String), i64>,
    running: Vec<(Job, String)>,
}

impl Checked {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Set(id, lanes, wait) => {
                let due = self.now + wait;
                let lanes: BTreeSet<String> = lanes.iter().map(|n| format!("d{n}")).collect();
                let runs = |lane: &String| {
                    self.running.iter().any(|(job, name)| job.id.0 == id && name == lane)
                };
                self.due.retain(|(of, lane), _| *of != id || runs(lane));
                for lane in lanes.iter().filter(|lane| !runs(lane)) {
                    self.due.insert((id, lane.clone()), due);
                }
                let all = lanes.iter().map(|lane| planned(lane, due)).collect();
                self.agenda.set(QueueId(id), all);
            }
            Event::Pass(seconds) => self.now += seconds,
            Event::End(n, reached) if n < self.running.len() => {
                let reach = if reached { Reach::Reached } else { unreachable() };
                self.end(n, reach);
            }
            Event::End(..) => {}
            Event::Forgive(n) => self.agenda.forgive(&route(&format!("d{n}"))),
        }
        self.start();
    }

    /// It is delivered, or waits a little more.
    fn end(&mut self, n: usize, reach: Reach) {
        let (job, lane) = self.running.swap_remove(n);
        let is_done = reach == Reach::Reached;
        self.agenda.ended(job, reach, moment(self.now));
        self.due.remove(&(job.id.0, lane.clone()));
        if !is_done {
            self.due.insert((job.id.0, lane), self.now + 60);
        }
        let left = self.due.iter().filter(|((id, lane), _)| {
            *id == job.id.0 && !self.running.iter().any(|(j, l)| j.id.0 == *id && l == lane)
        });
        let left = left.map(|((_, lane), due)| planned(lane, *due)).collect();
        self.agenda.set(job.id, left);
    }

    fn start(&mut self) {
        while let Some(start) = self.agenda.start(at(self.now)) {
            let (Start::Attempt(job, route) | Start::Overdue(job, route, _)) = start;
            let lane = route.name();
            assert!(self.due[&(job.id.0, lane.clone())] <= self.now, "before its time");
            assert!(!self.running.contains(&(job, lane.clone())), "twice at once");
            self.running.push((job, lane.clone()));
            let beside = self.running.iter().filter(|(_, other)| *other == lane).count();
            assert!(beside <= 2 && self.running.len() <= 5, "more than allowed");
        }
        assert_eq!(self.agenda.running(), self.running.len());
        let wake = self.agenda.next_wake();
        assert!(wake.is_none_or(|wake| wake > at(self.now)), "it would wake at once, for nothing");
    }
}

proptest! {
    #[test]
    fn whatever_happens_limits_hold_and_everything_is_tried_in_the_end(events in events()) {
        let (agenda, due, running) = (agenda(5, 2), HashMap::new(), Vec::new());
        let mut checked = Checked { agenda, now: 0, due, running };
        events.into_iter().for_each(|event| checked.apply(event));
        for _ in 0..200 {
            checked.now += 6 * 3600;
            checked.start();
            while !checked.running.is_empty() {
                checked.end(0, Reach::Reached);
                checked.start();
            }
        }
        prop_assert!(checked.due.is_empty(), "never tried: {:?}", checked.due);
        prop_assert!(checked.agenda.jobs.is_empty() && checked.agenda.lanes.is_empty());
        prop_assert!(checked.agenda.waiting.is_empty() && checked.agenda.numbers.is_empty());
    }
}
