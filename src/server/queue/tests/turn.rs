//! The way mail goes is changed while the queue runs.

use super::*;
use crate::outbound::routes::{Server, Via};

/// By the smarthost of this name.
fn by(smarthost: &str) -> Settings {
    let (server, _) = Server::parse(&format!("smtp://{smarthost}:25")).expect("a server");
    Settings {
        hostname: "mail.example.org".into(),
        routes: Routes {
            via: Via::Server(server, crate::outbound::Login::None),
            ..Routes::default()
        },
        retry: Policy::default(),
        limits: Limits::default(),
    }
}

fn servers(world: &World) -> Vec<String> {
    world.attempts().into_iter().map(|(_, hop, _)| hop).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_queued_goes_the_new_way_and_what_is_under_way_ends_by_the_old_one() {
    let world = World::new(delivered()).await;
    *world.transport.takes.lock().expect("no panic") = Duration::from_secs(60);
    world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    let other = world.another_transport("smarthost", delivered());
    world.handle.turn(Way { transport: other.clone(), settings: by("smarthost.example.org") });
    world.pass(30).await;
    world.queue(&["carol@example.net"]).await;
    world.pass(120).await;
    assert!(world.queued().is_empty());
    assert_eq!(servers(&world), ["mx.example.net"], "bob's was not begun again");
    let taken = other.attempts.lock().expect("no panic").clone();
    assert_eq!(taken.len(), 1, "{taken:?}");
    assert_eq!(
        (taken[0].1.as_str(), &taken[0].2[..]),
        ("smarthost", &["carol@example.net".to_owned()][..])
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_of_which_a_part_is_under_way_is_planned_anew_when_that_has_ended() {
    let world = World::new(deferred()).await;
    *world.transport.takes.lock().expect("no panic") = Duration::from_secs(60);
    // Two ways now, and one and the same afterwards.
    world.queue(&["bob@example.net", "carol@example.com"]).await;
    world.pass(1).await;
    assert_eq!(world.attempts().len(), 2);
    let other = world.another_transport("smarthost", delivered());
    world.handle.turn(Way { transport: other.clone(), settings: by("smarthost.example.org") });
    world.pass(50).await;
    assert!(other.attempts.lock().expect("no panic").is_empty(), "both are still being tried");
    let id = world.queued()[0].id;
    let done = world.handle.ask(Verb::Retry, Which::One(id)).await.expect("it runs").expect("done");
    assert_eq!((done.recipients, done.busy), (0, 2), "on whatever way");
    world.pass(HOUR).await;
    assert!(world.queued().is_empty());
    let taken = other.attempts.lock().expect("no panic").clone();
    let to: usize = taken.iter().map(|(_, _, to)| to.len()).sum();
    assert_eq!(to, 2, "each once: {taken:?}");
    assert_eq!(world.attempts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_way_that_was_blocked_is_tried_again_when_the_operator_has_changed_it() {
    let world = World::new(unreachable()).await;
    world.queue(&["bob@example.net"]).await;
    world.pass(1).await;
    world.queue(&["carol@example.net"]).await;
    world.pass(1).await;
    assert_eq!(world.attempts().len(), 1, "the destination is left alone");
    let settings = Settings { routes: Routes::default(), ..by("unused.example.org") };
    let other = world.another_transport("mx.example.net", delivered());
    world.handle.turn(Way { transport: other.clone(), settings });
    world.pass(1).await;
    assert_eq!(other.attempts.lock().expect("no panic").len(), 1, "carol was due");
}

#[tokio::test(start_paused = true)]
async fn mail_that_was_held_goes_out_once_a_way_is_opened() {
    let world = World::new(delivered()).await;
    let held = Settings {
        routes: Routes { via: Via::Hold, ..Routes::default() },
        ..by("unused.example.org")
    };
    world.handle.turn(Way { transport: world.transport.clone(), settings: held });
    world.pass(1).await;
    world.queue(&["bob@example.net"]).await;
    world.pass(24 * HOUR).await;
    assert_eq!((world.attempts().len(), world.queued().len()), (0, 1));
    let open = by("smarthost.example.org");
    world.handle.turn(Way { transport: world.transport.clone(), settings: open });
    world.pass(1).await;
    assert!(world.queued().is_empty());
}
