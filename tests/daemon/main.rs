//! The built daemon as an operator meets it: started, reloaded, killed, stopped.

mod async_imap;
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
fn access_that_setacl_changes_is_in_force_when_it_answers() -> Outcome {
    let daemon = Daemon::start("setacl", &Directory::default())?;
    let mut eve = Imap::login(&daemon, "eve")?;
    let mut dora = Imap::login(&daemon, "dora")?;
    for _ in 0..20 {
        eve.command("SETACL Shared/Support dora lrswit")?;
        let answer = dora.command("SELECT Shared/Support")?;
        assert!(answer.contains(" OK "), "{answer}");
        eve.command("SETACL Shared/Support dora -t")?;
        let answer = eve.command("GETACL Shared/Support")?;
        assert!(answer.contains("dora lrswi "), "{answer}");
        eve.command("SETACL Shared/Support dora \"\"")?;
        let answer = dora.command("SELECT Shared/Support")?;
        assert!(answer.contains(" NO [NONEXISTENT]"), "{answer}");
    }
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
fn a_directory_without_users_logs_nobody_out() -> Outcome {
    let daemon = Daemon::start("empty", &Directory::default())?;
    let mut anna = Imap::login(&daemon, "anna")?;
    daemon.declare_text("")?;
    daemon.signal("HUP")?;
    let line = daemon.logged("has no users")?;
    assert!(line.contains("directory.toml"), "{line}");
    let answer = anna.command("SELECT Shared/Support")?;
    assert!(answer.contains(" OK "), "{answer}");
    Ok(())
}

#[test]
fn a_reload_waits_for_a_directory_that_is_being_written() -> Outcome {
    let daemon = Daemon::start("halfway", &Directory::default())?;
    let mut anna = Imap::login(&daemon, "anna")?;
    // cut off behind Dora, the second user: valid as it stands, but without team and inbox
    let whole = Directory { support_team: "\"anna\", \"dora\"" }.text();
    let half = whole.find("[[team]]").ok_or("no team")?;
    daemon.declare_text(&whole[..half])?;
    daemon.signal("HUP")?;
    std::thread::sleep(Duration::from_millis(50));
    daemon.declare_text(&whole)?;
    let mut dora = Imap::login(&daemon, "dora")?;
    dora.until("SELECT Shared/Support", " OK ", RELOAD_WITHIN)?;
    let answer = anna.command("SELECT Shared/Support")?;
    assert!(answer.contains(" OK ") && !answer.contains("[CLOSED]"), "{answer}");
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
    assert!(line.contains("postfach.toml:15:7: ") && line.contains("BEGIN PRIVATE"), "{line}");
    daemon.signal("TERM")?;
    assert!(daemon.wait_for_end()?.success());
    let refused = daemon.second()?;
    assert_eq!(refused.status.code(), Some(78));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("postfach.toml:15:7: the DKIM key "), "{said}");
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
fn sockets_of_systemd_replace_those_of_the_config() -> Outcome {
    let handed = rig::Handed::new("imap:smtp")?;
    let daemon = Daemon::start_with_sockets("handed", &handed)?;
    assert_eq!(daemon.address("imap")?, handed.first.to_string());
    assert_eq!(daemon.address("smtp")?, handed.second.to_string());
    Smtp::connect(&daemon)?.deliver("support@example.org", "Hello")?;
    let answer = Imap::login(&daemon, "anna")?.command("STATUS Shared/Support (MESSAGES)")?;
    assert!(answer.contains("MESSAGES 1"), "{answer}");
    Ok(())
}

#[test]
fn a_connection_from_before_the_start_is_served() -> Outcome {
    let handed = rig::Handed::new("imap:smtp")?;
    let early = handed.connect_to_first()?;
    let _daemon = Daemon::start_with_sockets("early", &handed)?;
    let greeting = rig::first_line(early)?;
    assert!(greeting.starts_with("* OK "), "{greeting}");
    Ok(())
}

#[test]
fn a_ports_file_that_cannot_be_written_keeps_nobody_out() -> Outcome {
    let handed = rig::Handed::new("imap:smtp")?;
    let client = handed.connect_to_first()?;
    let daemon = Daemon::start_without_ports_file("ports", &handed)?;
    let greeting = rig::first_line(client)?;
    assert!(greeting.starts_with("* OK "), "{greeting}");
    daemon.logged("run/ports.json")?;
    Ok(())
}

#[test]
fn sockets_of_systemd_with_another_name_are_a_fault() -> Outcome {
    let handed = rig::Handed::new("imap:pop3")?;
    let fault = Daemon::start_with_sockets("pop3", &handed).err().ok_or("it started")?;
    let said = fault.to_string();
    assert!(said.contains("\"pop3\"") && said.contains("FileDescriptorName="), "{said}");
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
