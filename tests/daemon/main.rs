//! The built daemon as an operator meets it: started, reloaded, killed, stopped.

mod rig;

use std::time::{Duration, Instant};

use rig::{Daemon, Directory, Imap, Outcome, Smtp};

/// How soon a reload must be seen in an open session.
const RELOAD_WITHIN: Duration = Duration::from_secs(1);

#[test]
fn mail_comes_in_by_smtp_and_is_read_by_imap() -> Outcome {
    let daemon = Daemon::start("reads", &Directory::default())?;
    Smtp::connect(&daemon)?.deliver("support@example.org", "Hello from a test")?;
    let mut anna = Imap::login(&daemon, "anna")?;
    let answer = anna.command("SELECT Shared/Support")?;
    assert!(answer.contains("* 1 EXISTS"), "{answer}");
    let answer = anna.command("FETCH 1 BODY.PEEK[HEADER.FIELDS (SUBJECT)]")?;
    assert!(answer.contains("Subject: Hello from a test"), "{answer}");
    Ok(())
}

#[test]
fn kill_9_loses_no_acknowledged_mail() -> Outcome {
    let mut daemon = Daemon::start("killed", &Directory::default())?;
    let mut smtp = Smtp::connect(&daemon)?;
    for n in 0..20 {
        smtp.deliver("support@example.org", &format!("number {n}"))?;
    }
    daemon.signal("KILL")?;
    daemon.wait_for_end()?;
    daemon.restart()?;
    let answer = Imap::login(&daemon, "anna")?.command("STATUS Shared/Support (MESSAGES)")?;
    assert!(answer.contains("MESSAGES 20"), "{answer}");
    Ok(())
}

#[test]
fn a_reload_grants_and_revokes_in_open_sessions() -> Outcome {
    let daemon = Daemon::start("reload", &Directory::default())?;
    let mut dora = Imap::login(&daemon, "dora")?;
    let absent = dora.command("SELECT Shared/Support")?;
    assert!(absent.contains(" NO "), "{absent}");

    daemon.declare(&Directory { support_team: "\"anna\", \"dora\"" })?;
    daemon.signal("HUP")?;
    dora.until("SELECT Shared/Support", " OK ", RELOAD_WITHIN)?;

    daemon.declare(&Directory::default())?;
    daemon.signal("HUP")?;
    let closed = dora.until("NOOP", "[CLOSED]", RELOAD_WITHIN)?;
    assert!(closed.contains("* OK [CLOSED]"), "{closed}");
    let after = dora.command("SELECT Shared/Support")?;
    assert_eq!(rig::without_tag(&after), rig::without_tag(&absent));
    Ok(())
}

#[test]
fn a_faulty_directory_is_refused_with_its_place_and_the_old_one_stays() -> Outcome {
    let daemon = Daemon::start("faulty", &Directory::default())?;
    let mut anna = Imap::login(&daemon, "anna")?;
    daemon.declare(&Directory { support_team: "\"nobody\"" })?;
    daemon.signal("HUP")?;
    let line = daemon.logged("directory.toml:")?;
    assert!(line.contains("nobody"), "{line}");
    let place = line.split("directory.toml:").nth(1).unwrap_or_default();
    let numbers: Vec<&str> = place.split(':').take(2).collect();
    assert!(numbers.iter().all(|n| n.trim().parse::<u32>().is_ok()), "no line:column in {line}");
    let answer = anna.command("SELECT Shared/Support")?;
    assert!(answer.contains(" OK "), "{answer}");
    Ok(())
}

#[test]
fn dkim_keys_are_read_on_reload_and_at_start() -> Outcome {
    let mut daemon = Daemon::start("dkim", &Directory::default())?;
    daemon.make_dkim_keys()?;
    daemon.signal("HUP")?;
    daemon.logged("DKIM keys read keys=2")?;
    daemon.damage_dkim_key()?;
    daemon.signal("HUP")?;
    let line = daemon.logged("new DKIM keys refused, the old ones stay")?;
    assert!(line.contains("postfach.toml:14:7: ") && line.contains("BEGIN PRIVATE"), "{line}");
    daemon.signal("TERM")?;
    assert!(daemon.wait_for_end()?.success());
    let refused = daemon.second()?;
    assert_eq!(refused.status.code(), Some(78));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("postfach.toml:14:7: the DKIM key "), "{said}");
    Ok(())
}

#[test]
fn sigterm_says_bye_and_ends_with_success() -> Outcome {
    let mut daemon = Daemon::start("term", &Directory::default())?;
    let mut anna = Imap::login(&daemon, "anna")?;
    daemon.signal("TERM")?;
    let goodbye = anna.read_to_end()?;
    assert!(goodbye.contains("* BYE"), "{goodbye}");
    assert!(daemon.wait_for_end()?.success());
    Ok(())
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused() -> Outcome {
    let daemon = Daemon::start("twice", &Directory::default())?;
    let output = daemon.second()?;
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("another postfach works in this data directory"), "{said}");
    Ok(())
}

#[test]
fn a_login_goes_through_beside_200_silent_connections() -> Outcome {
    let daemon = Daemon::start("silent", &Directory::default())?;
    let silent = daemon.silent_imap_connections(200)?;
    let began = Instant::now();
    let answer = Imap::login(&daemon, "anna")?.command("NOOP")?;
    assert!(answer.contains(" OK "), "{answer}");
    let took = began.elapsed();
    assert!(took < Duration::from_secs(2), "login took {took:?}");
    drop(silent);
    Ok(())
}

#[test]
fn a_port_in_use_is_named_with_what_to_do() -> Outcome {
    let daemon = Daemon::start("port", &Directory::default())?;
    let output = daemon.another_on_the_same_port()?;
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("[listen] imap") && said.contains("ss -ltnp"), "{said}");
    Ok(())
}
