//! `[outbound]` is changed while the daemon runs: SIGHUP, as `systemctl reload` sends it.

use std::collections::HashMap;
use std::time::Duration;

use crate::mail;
use crate::server::{Behaviour, How, Server, Step};
use crate::world::{Outcome, World, anna};

fn over(server: &Server) -> String {
    format!("via = \"smtp://127.0.0.1:{}\"", server.address.port())
}

#[test]
fn mail_that_was_held_leaves_when_a_reload_opens_a_way() -> Outcome {
    let (first, second) = (
        Server::start("127.0.0.1:0", Behaviour::GOOD)?,
        Server::start("127.0.0.1:0", Behaviour::GOOD)?,
    );
    let mut world = World::new("opens", HashMap::new(), "via = \"hold\"")?;
    world.queue(&anna(), &[mail("held", &["bob@a.example"])])?;
    world.start()?;
    world.until("it is held", || Ok(world.ask(&["list"])?.1.contains("1 message")))?;
    world.outbound(&over(&first))?;
    world.reload()?;
    world.until_empty()?;
    assert_eq!((first.taken().len(), second.taken().len()), (1, 0));
    let password = "\npassword = \"file:secret\"";
    let login = over(&second).replace("smtp://", "smtp://me@") + password;
    world.write("secret", "geheim\n")?;
    world.outbound(&login)?;
    world.reload()?;
    world.until_logged("config in force", 2)?;
    world.submit_report_for("bob@b.example")?;
    world.until("it takes the new way", || Ok(second.taken().len() == 1))?;
    assert_eq!(second.logins(), ["AUTH PLAIN AG1lAGdlaGVpbQ=="]);
    Ok(())
}

#[test]
fn a_delivery_under_way_ends_as_it_began_and_happens_once() -> Outcome {
    let pause = Duration::from_secs(3);
    let slow = Server::start("127.0.0.1:0", Behaviour { pause, ..Behaviour::GOOD })?;
    let other = Server::start("127.0.0.1:0", Behaviour::GOOD)?;
    let mut world = World::new("ends", HashMap::new(), &over(&slow))?;
    world.queue(&anna(), &[mail("slow", &["bob@a.example"])])?;
    world.start()?;
    std::thread::sleep(Duration::from_secs(1));
    world.outbound(&over(&other))?;
    world.reload()?;
    world.until_logged("config in force", 1)?;
    world.until_empty()?;
    assert_eq!((slow.taken().len(), other.taken().len()), (1, 0));
    Ok(())
}

#[test]
fn a_faulty_config_is_refused_whole_with_its_place_and_the_old_one_stays() -> Outcome {
    let later = Behaviour::always(Step::Rcpt, How::Reply("450 4.2.0 Later"));
    let (old, new) =
        (Server::start("127.0.0.1:0", later)?, Server::start("127.0.0.1:0", Behaviour::GOOD)?);
    let mut world = World::new("refused", HashMap::new(), &over(&old))?;
    world.queue(&anna(), &[mail("waits", &["bob@a.example"])])?;
    world.start()?;
    let faults = [
        ("\ndane = true\nresolver_of = 1", "postfach.toml:15:1: "),
        ("\nconnections_max = 0", "postfach.toml:14:19: "),
        ("\nca = \"missing.pem\"", "missing.pem"),
    ];
    for (fault, place) in faults {
        world.outbound(&format!("{}{fault}", over(&new)))?;
        world.reload()?;
        world.until(place, || {
            let log = world.log();
            let mut refused = log.lines().filter(|l| l.contains("new config refused"));
            Ok(refused.any(|line| line.contains(place)))
        })?;
    }
    std::thread::sleep(Duration::from_secs(3));
    assert!(new.taken().is_empty(), "nothing of it is in force");
    assert!(world.ask(&["list"])?.1.contains("450 4.2.0 Later"), "the old way is");
    assert!(!world.log().contains("config in force"));
    Ok(())
}

#[test]
fn what_takes_a_restart_is_said() -> Outcome {
    let server = Server::start("127.0.0.1:0", Behaviour::GOOD)?;
    let mut world = World::new("restart", HashMap::new(), "via = \"hold\"")?;
    world.queue(&anna(), &[mail("held", &["bob@a.example"])])?;
    world.start()?;
    world.outbound(&over(&server))?;
    world.replace("hostname = \"mail.example.org\"", "hostname = \"new.example.org\"")?;
    world.reload()?;
    world.until_empty()?;
    let log = world.log();
    let line = log.lines().find(|line| line.contains("takes a restart")).unwrap_or_default();
    assert!(line.contains("hostname"), "{log}");
    assert!(server.hellos().iter().all(|hello| hello == "EHLO mail.example.org"), "the old name");
    Ok(())
}
