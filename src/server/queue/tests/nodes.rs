//! Several nodes on one store: one of them moves the queue.

use super::*;
use crate::server::duty::Duties;
use crate::server::queue::fake::{FullableStore, Shelf};

/// Two nodes; the first has the duty.
async fn two(script: Script) -> [(World, Duties, Arc<FullableStore>); 2] {
    let world = World::new(script).await;
    let shelf = Arc::new(Shelf::default());
    let first = node(&world, (&shelf, 1)).await;
    let second = node(&world, (&shelf, 2)).await;
    world.stop().await;
    [first, second]
}

async fn node(
    world: &World,
    (shelf, number): (&Arc<Shelf>, i64),
) -> (World, Duties, Arc<FullableStore>) {
    let store = world.store.node(shelf, number);
    let shared: Arc<dyn Store> = store.clone();
    let duties = Duties::start(&shared);
    world.pass(1).await;
    (world.node(store.clone(), duties.queue.clone()), duties, store)
}

#[tokio::test(start_paused = true)]
async fn what_any_node_takes_is_sent_at_once_by_the_one_that_moves_the_queue() {
    let [(first, ..), (second, ..)] = two(delivered()).await;
    second.queue(&["bob@example.net"]).await;
    second.pass(1).await;
    assert_eq!(first.attempts().len(), 1);
    assert!(second.queued().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_queue_of_a_killed_node_is_moved_by_another_within_15_seconds() {
    let [(first, duties, _), (second, ..)] = two(deferred()).await;
    first.queue(&["bob@example.net"]).await;
    first.pass(1).await;
    duties.kill();
    first.kill().await;
    second.answer_with(delivered());
    let ask = second.handle.ask(Verb::Retry, Which::All);
    let began = tokio::time::Instant::now();
    let done = ask.await.expect("runs").expect("is answered");
    assert_eq!(done, Done { messages: 1, recipients: 1, busy: 0 });
    second.pass(1).await;
    assert!(second.queued().is_empty());
    assert!(began.elapsed().as_secs() < 17, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_of_any_node_is_done_by_the_one_that_moves_the_queue() {
    let [(first, ..), (second, ..)] = two(deferred()).await;
    *first.transport.takes.lock().expect("no panic") = Duration::from_secs(60);
    let id = first.queue(&["bob@example.net"]).await;
    first.pass(1).await;
    let done = second.handle.ask(Verb::Hold, Which::One(id)).await.expect("runs");
    assert_eq!(done, Ok(Done { messages: 1, recipients: 0, busy: 1 }));
    first.pass(120).await;
    assert!(first.queued()[0].recipients[0].progress.held, "as soon as the attempt had ended");
    let done = second.handle.ask(Verb::Drop, Which::All).await.expect("runs");
    assert_eq!(done, Ok(Done { messages: 1, recipients: 1, busy: 0 }));
    assert!(second.queued().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_begins_nothing_and_its_late_word_of_arrival_counts() {
    let [(first, _, store), (second, ..)] = two(delivered()).await;
    *first.transport.takes.lock().expect("no panic") = Duration::from_secs(60);
    second.queue(&["bob@example.net"]).await;
    first.pass(1).await;
    store.cut_off(true);
    first.pass(40).await;
    assert_eq!(first.attempts().len(), 2, "the other node has begun, too: nobody knows better");
    second.queue(&["carol@example.net"]).await;
    first.pass(21).await;
    assert_eq!(first.attempts().len(), 3);
    assert_eq!(second.queued().len(), 2, "the first word has not got through");
    store.cut_off(false);
    first.pass(9).await;
    assert_eq!(second.queued().len(), 1, "bob has it: he is not tried again");
    first.pass(60).await;
    assert!(second.queued().is_empty());
    assert_eq!(first.attempts().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_mail_under_way_at_a_takeover_goes_out_once_if_its_end_was_not_sent() {
    let [(first, duties, _), (second, ..)] = two(delivered()).await;
    *first.transport.content.lock().expect("no panic") = Duration::from_secs(14);
    first.queue(&["bob@example.net"]).await;
    first.pass(1).await;
    // as though it stood still: it renews nothing, and then goes on where it was
    duties.kill();
    first.pass(40).await;
    assert_eq!(first.attempts().len(), 2, "both have begun");
    assert_eq!(first.transport.ended.load(std::sync::atomic::Ordering::SeqCst), 1);
    assert!(second.queued().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_comes_shortly_before_a_lease_is_renewed_late_is_sent_when_it_is() {
    let [(first, _, store), (second, ..)] = two(delivered()).await;
    first.pass(1).await;
    store.cut_off(true);
    first.pass(5).await;
    second.queue(&["bob@example.net"]).await;
    first.pass(1).await;
    assert_eq!(first.attempts().len(), 0, "it may be another's soon");
    store.cut_off(false);
    first.pass(5).await;
    assert_eq!(first.attempts().len(), 1);
    assert!(second.queued().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_former_tenure_says_of_a_failure_is_not_reported() {
    let [(first, _, store), (second, ..)] = two(failed()).await;
    *first.transport.takes.lock().expect("no panic") = Duration::from_secs(30);
    second.queue(&["bob@example.net"]).await;
    first.pass(1).await;
    store.cut_off(true);
    first.pass(28).await;
    store.cut_off(false);
    first.pass(60).await;
    assert!(second.queued().is_empty());
    assert_eq!(second.inbox().await.len(), 1, "one report, by who has the queue");
}
