//! Which duties are this node's. Where several nodes work on one store, each duty is one node's for
//! a while: it asks for it every few seconds, by the database's clock, and stops in time when it
//! cannot. On a store of its own a node has all duties for good.
//!
//! A tenure has a number. What a node does under it is fenced: the store refuses it once another
//! tenure has begun, however late it comes. What cannot be fenced, for it happens elsewhere, has
//! stopped by then: a node's own timer ends its tenure some seconds before another's may begin, it
//! begins nothing shortly before that end, and it looks once more before the last step.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::store::change::{Actor, Change, Transaction};
use crate::store::nodes::{Duty, LEASE};
use crate::store::{Store, StoreError};

/// How often a duty is asked for: by who has it, and by who would like to.
const RENEWAL: Duration = Duration::from_secs(3);
/// How long the store may take to answer.
const ASKING: Duration = Duration::from_secs(3);
/// A lease counts for so much less here than in the store: what was done at the last moment has
/// arrived before anybody else begins.
const MARGIN: Duration = Duration::from_secs(3);
/// With less time left nothing is begun. A lease that is renewed in time has more.
const BEGINNING: Duration = Duration::from_secs(2);
/// How long the store may take to hear that a duty is free.
const RELEASING: Duration = Duration::from_secs(1);

/// How a duty stands with this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tenure {
    /// It is nobody else's, ever.
    Always,
    /// It is another node's, or nobody's.
    Elsewhere,
    /// It is ours.
    Ours {
        /// Nobody else's number.
        number: i64,
        /// From then on it may be another node's.
        until: End,
    },
}

/// When a tenure ends: by the timer, which nobody sets, or by the clock, whichever says so first. A
/// machine that was asleep finds its timer where it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    timer: Instant,
    clock: SystemTime,
}

impl End {
    /// So long after now.
    fn after(time: Duration) -> End {
        End { timer: Instant::now() + time, clock: SystemTime::now() + time }
    }

    /// So long after this.
    fn later(self, time: Duration) -> End {
        End { timer: self.timer + time, clock: self.clock + time }
    }

    /// Whether it has not come yet, and will not so soon.
    fn is_beyond(self, time: Duration) -> bool {
        Instant::now() + time < self.timer && SystemTime::now() + time < self.clock
    }
}

impl Tenure {
    /// Whether it has begun and its time is not over.
    fn holds(self) -> bool {
        self.holds_for(Duration::ZERO)
    }

    /// Whether it has begun and its time will not be over so soon.
    fn holds_for(self, time: Duration) -> bool {
        match self {
            Tenure::Always => true,
            Tenure::Elsewhere => false,
            Tenure::Ours { until, .. } => until.is_beyond(time),
        }
    }

    /// Whether the store cannot have given the duty to anybody else yet: this node may not have
    /// worked any more, but nobody has begun.
    fn is_unbroken(self) -> bool {
        matches!(self, Tenure::Ours { until, .. } if until.later(MARGIN).is_beyond(Duration::ZERO))
    }

    /// Whether both are the same one, however long each lasts.
    pub(super) fn is(self, other: Tenure) -> bool {
        match (self, other) {
            (Tenure::Ours { number, .. }, Tenure::Ours { number: other, .. }) => number == other,
            _ => self == other,
        }
    }
}

/// A duty, and how it stands at this moment.
#[derive(Clone)]
pub struct Post {
    duty: Duty,
    tenure: watch::Receiver<Tenure>,
}

impl Post {
    /// One that is this node's for good.
    pub fn always(duty: Duty) -> Post {
        Post { duty, tenure: watch::channel(Tenure::Always).1 }
    }

    /// How it stands.
    pub fn tenure(&self) -> Tenure {
        *self.tenure.borrow()
    }

    /// Whether it is this node's now.
    pub fn holds(&self) -> bool {
        self.tenure().holds()
    }

    /// What is begun now is under the present tenure.
    pub fn present(&self) -> Under {
        Under { post: self.clone(), tenure: self.tenure() }
    }

    /// Comes back when another tenure has begun, one is known to be over, or one that seemed to be
    /// goes on.
    pub async fn changed(&mut self) {
        if self.tenure.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// A tenure under which something is done.
#[derive(Clone)]
pub struct Under {
    post: Post,
    tenure: Tenure,
}

impl Under {
    /// Whether it was none when it was looked at: the duty was another node's, or nobody's.
    pub fn is_none(&self) -> bool {
        self.tenure == Tenure::Elsewhere
    }

    /// Whether the post stands as it did then, however long it still will.
    pub fn is_present(&self) -> bool {
        self.post.tenure().is(self.tenure)
    }

    /// Whether what was begun may go on: this is the present tenure, and its time is not over.
    pub fn lasts(&self) -> bool {
        self.is_present() && self.post.tenure().holds()
    }

    /// Whether something may be begun: there is time left for it.
    pub fn may_begin(&self) -> bool {
        self.is_present() && self.post.tenure().holds_for(BEGINNING)
    }

    /// What a transaction begins with that is done under it; nothing, where no fence is needed.
    pub fn fence(&self) -> Option<Change> {
        let duty = self.post.duty;
        match self.tenure {
            Tenure::Always | Tenure::Elsewhere => None,
            Tenure::Ours { number, .. } => Some(Change::Fenced { duty, tenure: number }),
        }
    }
}

/// The duties of this node that the server does; what an engine does by itself it asks for itself.
pub(super) struct Duties {
    /// Mail out.
    pub(super) queue: Post,
    /// What is looked after now and then.
    pub(super) upkeep: Post,
    store: Arc<dyn Store>,
    keepers: Vec<JoinHandle<()>>,
}

impl Duties {
    /// Asks for them from now on.
    pub(super) fn start(store: &Arc<dyn Store>) -> Duties {
        let mut keepers = Vec::new();
        let mut post = |duty| {
            if !store.is_shared() {
                return Post::always(duty);
            }
            let (sender, tenure) = watch::channel(Tenure::Elsewhere);
            keepers.push(tokio::spawn(keep(store.clone(), duty, sender)));
            Post { duty, tenure }
        };
        let (queue, upkeep) = (post(Duty::Queue), post(Duty::Upkeep));
        Duties { queue, upkeep, store: store.clone(), keepers }
    }

    /// As though this node were killed.
    #[cfg(test)]
    pub(super) fn kill(&self) {
        self.keepers.iter().for_each(JoinHandle::abort);
    }

    /// Lets others have them at once. To be called when nothing is done any more.
    pub(super) async fn finish(self) {
        if self.keepers.is_empty() {
            return;
        }
        self.keepers.iter().for_each(JoinHandle::abort);
        for duty in [Duty::Queue, Duty::Upkeep] {
            match timeout(RELEASING, self.store.release(duty)).await {
                Ok(Ok(())) => {}
                _ => tracing::warn!(duty = duty.name(), "not released; it will be by itself"),
            }
        }
    }
}

async fn keep(store: Arc<dyn Store>, duty: Duty, sender: watch::Sender<Tenure>) {
    loop {
        let (before, began) = (*sender.borrow(), Instant::now());
        let next = ask(&*store, duty, before).await;
        if !next.is(before) {
            let ours = next != Tenure::Elsewhere;
            tracing::info!(duty = duty.name(), ours, "duty");
        }
        // A tenure that only lasts longer wakes nobody; who found it over waits for this.
        let stands = next.is(before) && before.holds() == next.holds();
        sender.send_if_modified(|tenure| {
            *tenure = next;
            !stands
        });
        sleep_until(began + RENEWAL).await;
    }
}

/// A lease that is renewed in time lasts until the next answer, and beginnings are not held up.
const _: () = assert!(RENEWAL.as_secs() + BEGINNING.as_secs() + MARGIN.as_secs() < LEASE.as_secs());
/// Nor does it end while answers are slow; and a beginning that was slow, too, leaves time for one
/// more before anybody else may have the duty.
const _: () = assert!(RENEWAL.as_secs() + ASKING.as_secs() + MARGIN.as_secs() < LEASE.as_secs());
const _: () = assert!(3 * ASKING.as_secs() < LEASE.as_secs());

/// Asks for a duty. Without an answer it stands as before: a tenure ends by itself.
async fn ask(store: &dyn Store, duty: Duty, before: Tenure) -> Tenure {
    let until = End::after(LEASE - MARGIN);
    match timeout(ASKING, store.lease(duty)).await {
        Ok(Ok(true)) => {}
        Ok(Ok(false)) => return Tenure::Elsewhere,
        Ok(Err(error)) => {
            tracing::debug!(%error, duty = duty.name(), "cannot be asked for");
            return before;
        }
        Err(_) => return before,
    }
    match before {
        // a database that was set back may have lost it
        Tenure::Ours { number, .. }
            if before.is_unbroken() && store.tenure(duty) == Some(number) =>
        {
            Tenure::Ours { number, until }
        }
        _ => match timeout(ASKING, begin(store, duty)).await {
            Ok(Ok(number)) => Tenure::Ours { number, until },
            _ => Tenure::Elsewhere,
        },
    }
}

/// Begins a tenure. When it answers, all that was done under former ones is to be seen here, and no
/// more of it will come.
async fn begin(store: &dyn Store, duty: Duty) -> Result<i64, StoreError> {
    let tenure = super::queue::entropy().cast_signed();
    // one that was begun long ago, and comes only now, is none
    let changes = vec![Change::DutyTaken { duty, after: store.tenure(duty), tenure }];
    store.commit(Transaction { actor: Actor::System, changes }).await?;
    Ok(tenure)
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;
    use crate::server::queue::fake::{FullableStore, Shelf};
    use crate::sys::ManualClock;

    fn nodes() -> (Arc<dyn Store>, Arc<FullableStore>, Arc<Shelf>) {
        let first = FullableStore::new(Arc::new(ManualClock::default()));
        let shelf = Arc::new(Shelf::default());
        let (one, two) = (first.node(&shelf, 1), first.node(&shelf, 2));
        (one, two, shelf)
    }

    async fn settled() {
        sleep(Duration::from_millis(10)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_node_has_a_duty_and_the_other_gets_it_within_15_seconds_of_its_death() {
        let (one, two, _) = nodes();
        let first = Duties::start(&one);
        settled().await;
        let two: Arc<dyn Store> = two;
        let second = Duties::start(&two);
        sleep(Duration::from_secs(60)).await;
        assert!(first.queue.holds() && !second.queue.holds());
        first.keepers.iter().for_each(JoinHandle::abort);
        let died = Instant::now();
        while !second.queue.holds() {
            let both = first.queue.holds() && second.queue.holds();
            assert!(!both);
            sleep(Duration::from_millis(100)).await;
        }
        assert!(!first.queue.holds(), "it knows by itself that its time is over");
        assert!(died.elapsed() < Duration::from_secs(15), "{:?}", died.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn a_duty_that_is_released_is_taken_at_once() {
        let (one, two, _) = nodes();
        let first = Duties::start(&one);
        settled().await;
        let two: Arc<dyn Store> = two;
        let second = Duties::start(&two);
        settled().await;
        first.finish().await;
        sleep(RENEWAL).await;
        assert!(second.queue.holds() && second.upkeep.holds());
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_cut_off_stops_in_time_and_what_it_did_too_late_is_refused() {
        let (one, two, _) = nodes();
        let shared: Arc<dyn Store> = two.clone();
        let first = Duties::start(&shared);
        settled().await;
        let under = first.queue.present();
        let fence = under.fence().expect("a fence");
        let second = Duties::start(&one);
        two.cut_off(true);
        let lost = Instant::now();
        while under.may_begin() {
            sleep(Duration::from_millis(50)).await;
        }
        assert!(under.lasts(), "what was begun may still end");
        while first.queue.holds() {
            sleep(Duration::from_millis(50)).await;
        }
        assert!(!under.lasts() && lost.elapsed() < LEASE);
        let stopped = Instant::now();
        while !second.queue.holds() {
            sleep(Duration::from_millis(50)).await;
        }
        assert!(stopped.elapsed() >= MARGIN, "{:?}", stopped.elapsed());
        sleep(LEASE).await;
        assert!(second.queue.holds() && !under.lasts());
        two.cut_off(false);
        let late = Transaction { actor: Actor::System, changes: vec![fence] };
        assert_eq!(two.commit(late).await, Err(StoreError::Outrun));
        sleep(RENEWAL).await;
        assert_eq!(first.queue.tenure(), Tenure::Elsewhere);
    }

    #[test]
    fn a_machine_that_was_asleep_has_lost_its_duties() {
        let long = Duration::from_secs(60);
        let asleep = |clock| End { timer: Instant::now() + long, clock };
        let of = |until| Tenure::Ours { number: 1, until };
        assert!(of(asleep(SystemTime::now() + long)).holds());
        assert!(!of(asleep(SystemTime::now() - long)).holds(), "by the clock");
        assert!(!of(End { timer: Instant::now(), clock: SystemTime::now() + long }).holds());
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_a_duty_for_long_may_always_begin() {
        let (one, _, _) = nodes();
        let first = Duties::start(&one);
        settled().await;
        let under = first.queue.present();
        for _ in 0..400 {
            assert!(under.may_begin());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// What is under way on a slow database does not begin anew at each renewal.
    #[tokio::test(start_paused = true)]
    async fn who_is_answered_slowly_keeps_its_tenure() {
        for slowness in [2000, 2900].map(Duration::from_millis) {
            let (one, two, _) = nodes();
            two.slow_down(slowness);
            let two: Arc<dyn Store> = two;
            let first = Duties::start(&two);
            sleep(2 * slowness + Duration::from_millis(10)).await;
            let under = first.queue.present();
            assert!(first.queue.holds() && under.is_present());
            let second = Duties::start(&one);
            // the first renewal comes late, for the beginning was slow, too
            sleep(2 * slowness).await;
            for _ in 0..1200 {
                assert!(under.lasts(), "{slowness:?}");
                assert_eq!(second.queue.tenure(), Tenure::Elsewhere);
                sleep(Duration::from_millis(100)).await;
            }
            assert!(slowness > Duration::from_millis(2500) || under.may_begin());
        }
    }

    /// One renewal is lost on the way, the next is heard before the lease is over.
    #[tokio::test(start_paused = true)]
    async fn a_tenure_that_nobody_else_can_have_got_goes_on_and_is_told_to_go_on() {
        let (_, two, _) = nodes();
        let shared: Arc<dyn Store> = two.clone();
        let first = Duties::start(&shared);
        settled().await;
        let under = first.queue.present();
        let (mut post, began) = (first.queue.clone(), Instant::now());
        post.changed().await;
        two.slow_down(ASKING + Duration::from_millis(1));
        sleep_until(began + RENEWAL + ASKING - Duration::from_secs(1)).await;
        two.slow_down(ASKING - Duration::from_millis(100));
        sleep_until(began + LEASE - MARGIN).await;
        assert!(!under.lasts());
        timeout(MARGIN, post.changed()).await.expect("told");
        assert!(under.lasts(), "the same one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenure_that_somebody_else_may_have_had_since_is_over() {
        let (_, two, _) = nodes();
        let shared: Arc<dyn Store> = two.clone();
        let first = Duties::start(&shared);
        settled().await;
        let under = first.queue.present();
        two.cut_off(true);
        sleep(LEASE).await;
        two.cut_off(false);
        sleep(RENEWAL).await;
        assert!(first.queue.holds() && !under.lasts());
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenure_that_the_store_has_lost_is_begun_anew() {
        let (one, _, _) = nodes();
        let first = Duties::start(&one);
        settled().await;
        let before = first.queue.tenure();
        // as another node's late word, or a database that was set back, would leave it
        let (duty, after) = (Duty::Queue, one.tenure(Duty::Queue));
        let stray = vec![Change::DutyTaken { duty, after, tenure: 7 }];
        one.commit(Transaction { actor: Actor::System, changes: stray }).await.expect("commits");
        sleep(2 * RENEWAL).await;
        let now = first.queue.tenure();
        assert!(first.queue.holds() && !now.is(before));
        let fence = first.queue.present().fence().expect("a fence");
        let fenced = Transaction { actor: Actor::System, changes: vec![fence] };
        assert!(one.commit(fenced).await.is_ok());
        let late = vec![Change::DutyTaken { duty, after, tenure: 8 }];
        let late = one.commit(Transaction { actor: Actor::System, changes: late }).await;
        assert_eq!(late, Err(StoreError::Outrun), "what comes too late begins nothing");
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_of_its_own_needs_no_lease() {
        let own: Arc<dyn Store> = FullableStore::new(Arc::new(ManualClock::default()));
        let duties = Duties::start(&own);
        assert!(duties.queue.holds() && duties.keepers.is_empty());
        assert!(duties.queue.present().fence().is_none());
        duties.finish().await;
    }
}
