//! The built daemon sends what is in its queue: to servers that behave and to servers that do not,
//! by a DNS that the test controls; killed in between, asked and steered by `postfach queue`.

mod dns;
mod reload;
mod server;
mod world;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use dns::{failing, host, mx};
use server::{Behaviour, How, STEPS, Server, Step};
use world::{Mail, Outcome, World, anna, support};

fn mail<'a>(subject: &str, to: &'a [&'a str]) -> Mail<'a> {
    Mail { subject: subject.into(), to }
}

#[test]
fn a_message_goes_to_the_best_server_that_answers_and_arrives_byte_for_byte() -> Outcome {
    let server = Server::start("127.0.0.3:0", Behaviour::GOOD)?;
    let names = HashMap::from([
        ("good.example", mx(&[(10, "dead.example"), (20, "sink.example")])),
        ("dead.example", host([127, 0, 0, 2])),
        ("sink.example", host([127, 0, 0, 3])),
        ("implicit.example", host([127, 0, 0, 3])),
    ]);
    let mut world = World::new("mx", names, &format!("port = {}", server.address.port()))?;
    let both = ["bob@good.example", "carol@good.example", "dan@implicit.example"];
    world.queue(&anna(), &[mail("hello", &both)])?;
    world.start()?;
    world.until_empty()?;
    let mut taken = server.taken();
    taken.sort_by_key(|taken| taken.to.len());
    assert_eq!(taken.len(), 2, "{taken:?}");
    assert_eq!(taken[0].to, ["RCPT TO:<dan@implicit.example>"]);
    assert_eq!(taken[1].to, ["RCPT TO:<bob@good.example>", "RCPT TO:<carol@good.example>"]);
    assert!(taken[1].from.starts_with("MAIL FROM:<anna@example.org>"), "{:?}", taken[1].from);
    let expected = "Received: by mail.example.org; Sun, 22 Nov 2026 23:23:06 +0000\r\n\
                    From: anna@example.org\r\nSubject: hello\r\nMessage-ID: <hello@example.org>\
                    \r\n\r\nThe first line\r\n..the second begins with a dot\r\n";
    assert_eq!(taken[1].text, expected);
    Ok(())
}

#[test]
fn domains_without_servers_come_back_into_the_inbox_that_sent() -> Outcome {
    let names = HashMap::from([
        ("null.example", mx(&[(0, "")])),
        ("loop.example", mx(&[(10, "mail.example.org")])),
        ("empty.example", mx(&[(10, "gone.example")])),
        ("broken.example", failing()),
    ]);
    let mut world = World::new("nowhere", names, "")?;
    let to = [
        "a@null.example",
        "b@loop.example",
        "c@empty.example",
        "d@broken.example",
        "e@missing.example",
        "f@[192.0.2.1]",
    ];
    world.queue(&support(), &[mail("astray", &to)])?;
    world.start()?;
    let expected = [
        ("a@null.example", "5.1.10"),
        ("b@loop.example", "5.4.6"),
        ("c@empty.example", "5.4.4"),
        ("e@missing.example", "5.1.2"),
        ("f@[192.0.2.1]", "5.1.2"),
    ];
    let mut inbox = String::new();
    for (address, status) in expected {
        let group =
            format!("Final-Recipient: rfc822; {address}\r\nAction: failed\r\nStatus: {status}\r\n");
        world.until(&group, || {
            inbox = world.mailbox("Shared/Support")?;
            Ok(inbox.contains(&group))
        })?;
    }
    assert!(inbox.contains("In-Reply-To: <astray@example.org>"), "{inbox}");
    assert!(!inbox.contains("broken.example"), "{inbox}");
    world.until("it waits for DNS", || {
        Ok(world.ask(&["list"])?.1.contains("cannot be looked up"))
    })?;
    let (_, list) = world.ask(&["list"])?;
    assert!(list.contains("d@broken.example") && list.contains("1 message, 1 recipient"), "{list}");
    Ok(())
}

/// One server and one domain for each step, all with the same behaviour.
struct Faulty {
    world: World,
    servers: Vec<(Step, Server)>,
}

const DOMAINS: [&str; 7] = [
    "s0.example",
    "s1.example",
    "s2.example",
    "s3.example",
    "s4.example",
    "s5.example",
    "s6.example",
];
const RECIPIENTS: [&str; 7] = [
    "x@s0.example",
    "x@s1.example",
    "x@s2.example",
    "x@s3.example",
    "x@s4.example",
    "x@s5.example",
    "x@s6.example",
];

fn faulty(
    name: &str,
    (third, behaviour): (u8, fn(Step) -> Behaviour),
    outbound: &str,
) -> Result<Faulty, Box<dyn std::error::Error>> {
    let mut servers: Vec<(Step, Server)> = Vec::new();
    let mut names = HashMap::new();
    for (n, step) in STEPS.into_iter().enumerate() {
        let last = u8::try_from(n)? + 1;
        let port = servers.first().map_or(0, |(_, server)| server.address.port());
        let server = Server::start(&format!("127.0.{third}.{last}:{port}"), behaviour(step))?;
        servers.push((step, server));
        names.insert(DOMAINS[n], host([127, 0, third, last]));
    }
    let port = servers[0].1.address.port();
    let mut world = World::new(name, names, &format!("port = {port}\n{outbound}"))?;
    let mails: Vec<Mail<'_>> = RECIPIENTS
        .iter()
        .enumerate()
        .map(|(n, _)| mail(&format!("m{n}"), &RECIPIENTS[n..=n]))
        .collect();
    world.queue(&anna(), &mails)?;
    world.start()?;
    Ok(Faulty { world, servers })
}

#[test]
fn a_server_that_drops_the_connection_at_any_step_gets_the_message_in_the_end() -> Outcome {
    let Faulty { world, servers } =
        faulty("drop", (20, |step| Behaviour::once(step, How::Drop)), "")?;
    world.until_empty()?;
    for (step, server) in &servers {
        assert_eq!(server.taken().len(), 1, "{step:?}");
        // Only after the final dot can nobody know.
        assert_eq!(server.unanswered(), usize::from(*step == Step::End), "{step:?}");
    }
    assert!(!world.mailbox("INBOX")?.contains("Undeliverable"));
    Ok(())
}

#[test]
fn a_server_that_says_later_at_any_step_gets_the_message_in_the_end() -> Outcome {
    let later = |step| Behaviour::once(step, How::Reply("451 4.3.0 Later"));
    let Faulty { world, servers } = faulty("later", (21, later), "")?;
    world.until_empty()?;
    for (step, server) in &servers {
        assert_eq!((server.taken().len(), server.unanswered()), (1, 0), "{step:?}");
    }
    assert!(!world.mailbox("INBOX")?.contains("Undeliverable"));
    Ok(())
}

#[test]
fn a_server_that_refuses_at_any_step_of_the_mail_makes_one_report() -> Outcome {
    let never = |step| Behaviour::always(step, How::Reply("550 5.7.1 Never"));
    let Faulty { world, servers } = faulty("never", (22, never), "")?;
    for (n, step) in STEPS.into_iter().enumerate() {
        if matches!(step, Step::Mail | Step::Rcpt | Step::Data | Step::End) {
            let group = format!("Final-Recipient: rfc822; {}\r\nAction: failed\r\n", RECIPIENTS[n]);
            world.until(&group, || Ok(world.mailbox("INBOX")?.matches(&group).count() == 1))?;
        }
    }
    let inbox = world.mailbox("INBOX")?;
    assert!(inbox.contains("Diagnostic-Code: smtp; 550 5.7.1 Never\r\n"), "{inbox}");
    for (step, server) in &servers {
        // Who does not know EHLO is greeted with HELO. RFC 5321 §3.2
        assert_eq!(server.taken().len(), usize::from(*step == Step::Ehlo), "{step:?}");
    }
    Ok(())
}

#[test]
fn servers_that_hang_hold_up_nobody_else_and_not_the_end() -> Outcome {
    let hang = |step| match step {
        Step::End => Behaviour::GOOD,
        step => Behaviour::always(step, How::Hang),
    };
    let Faulty { mut world, servers } = faulty("hang", (23, hang), "")?;
    let good = &servers.last().ok_or("servers")?.1;
    world.until("the good one has its message", || Ok(good.taken().len() == 1))?;
    let began = Instant::now();
    assert!(world.signal("TERM")?.success());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    Ok(())
}

#[test]
fn kill_9_in_mid_queue_loses_nothing_and_repeats_only_what_was_under_way() -> Outcome {
    const MAILS: usize = 80;
    const KILLS: usize = 3;
    let pause = Duration::from_millis(30);
    let server = Server::start("127.0.0.4:0", Behaviour { pause, ..Behaviour::GOOD })?;
    let names = HashMap::from([("sink.example", host([127, 0, 0, 4]))]);
    let mut world = World::new("kill", names, &format!("port = {}", server.address.port()))?;
    let mails: Vec<Mail<'_>> =
        (0..MAILS).map(|n| mail(&format!("m{n:03}"), &["bob@sink.example"])).collect();
    world.queue(&anna(), &mails)?;
    for kill in 1..=KILLS {
        world.start()?;
        let enough = kill * MAILS / (KILLS + 1);
        world.until("some are there", || Ok(server.taken().len() >= enough))?;
        world.signal("KILL")?;
    }
    world.start()?;
    world.until_empty()?;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for taken in server.taken() {
        let subject = taken.text.lines().find_map(|line| line.strip_prefix("Subject: "));
        *times.entry(subject.ok_or("no subject")?.to_owned()).or_default() += 1;
    }
    assert_eq!(times.len(), MAILS, "all have arrived");
    let repeated = server.taken().len() - MAILS;
    assert!(repeated <= KILLS * 5, "{repeated} more than once, of 5 at a time");
    Ok(())
}

#[test]
fn a_message_that_takes_longer_is_told_of() -> Outcome {
    let later = Behaviour::always(Step::Rcpt, How::Reply("450 4.2.0 Greylisted"));
    let server = Server::start("127.0.0.5:0", later)?;
    let names = HashMap::from([("slow.example", host([127, 0, 0, 5]))]);
    let outbound = format!("port = {}\ndelay_notice_secs = 1", server.address.port());
    let mut world = World::new("delay", names, &outbound)?;
    world.queue(&anna(), &[mail("slow", &["bob@slow.example"])])?;
    world.start()?;
    world.until("a notice", || Ok(world.mailbox("INBOX")?.contains("Action: delayed\r\n")))?;
    std::thread::sleep(Duration::from_secs(4));
    let inbox = world.mailbox("INBOX")?;
    assert_eq!(inbox.matches("Subject: Delayed: slow\r\n").count(), 1, "{inbox}");
    assert!(inbox.contains("Diagnostic-Code: smtp; 450 4.2.0 Greylisted\r\n"), "{inbox}");
    Ok(())
}

#[test]
fn the_queue_is_shown_and_steered_from_the_command_line() -> Outcome {
    let later = Behaviour::always(Step::Rcpt, How::Reply("450 4.2.0 Later"));
    let server = Server::start("127.0.0.6:0", later)?;
    let names = HashMap::from([("slow.example", host([127, 0, 0, 6]))]);
    let outbound = format!("port = {}", server.address.port());
    let mut world = World::new("verbs", names, &outbound)?;
    let (done, said) = world.ask(&["list"])?;
    assert!(!done && said.starts_with("the daemon is not running: nobody answers at"), "{said}");
    world
        .queue(&anna(), &[mail("one", &["bob@slow.example"]), mail("two", &["c@slow.example"])])?;
    world.start()?;
    world.until("both are tried", || {
        Ok(world.ask(&["list"])?.1.matches("450 4.2.0 Later").count() == 2)
    })?;
    let (_, list) = world.ask(&["list"])?;
    assert!(
        list.contains("anna@example.org") && list.contains("2 messages, 2 recipients"),
        "{list}"
    );
    let (_, json) = world.ask(&["list", "--json"])?;
    assert_eq!(json.lines().count(), 2, "{json}");
    assert!(json.contains("\"address\":\"bob@slow.example\""), "{json}");
    let (done, shown) = world.ask(&["show", "one"])?;
    assert!(done && shown.contains("in log    one\n"), "{shown}");
    let id = shown.lines().next().and_then(|line| line.split_whitespace().nth(1)).ok_or("no id")?;
    let id = id.to_owned();
    assert_eq!(world.ask(&["show", &id])?.1.lines().next(), shown.lines().next());

    world.until("it is held", || {
        let _ = world.ask(&["hold", &id])?;
        Ok(world.ask(&["show", &id])?.1.contains(", held\n"))
    })?;
    let attempts = |world: &World| -> Result<String, Box<dyn std::error::Error>> {
        let (_, shown) = world.ask(&["show", "one"])?;
        Ok(shown.lines().find(|line| line.contains("attempt")).unwrap_or_default().to_owned())
    };
    let before = attempts(&world)?;
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(attempts(&world)?, before, "what is held is not tried");
    assert!(world.ask(&["release", &id])?.0);
    world.until("it is tried again", || Ok(attempts(&world)? != before))?;

    let (done, said) = world.ask(&["drop", &id])?;
    assert!(done && (said.contains("dropped; nobody is told") || said.contains("finished first")));
    world.until("it is gone", || Ok(!world.ask(&["show", &id])?.0))?;
    let (done, said) = world.ask(&["drop", &id])?;
    assert!(!done && said.contains("there is no message"), "{said}");
    assert!(world.ask(&["retry", "all"])?.0);
    assert!(!world.mailbox("INBOX")?.contains("Undeliverable"));
    Ok(())
}

#[test]
fn all_mail_goes_over_the_smarthost_after_a_login() -> Outcome {
    let server = Server::start("127.0.0.1:0", Behaviour::GOOD)?;
    let outbound = format!(
        "via = \"smtp://me@127.0.0.1:{}\"\npassword = \"file:secret\"",
        server.address.port()
    );
    let mut world = World::new("smarthost", HashMap::new(), &outbound)?;
    world.write("secret", "geheim\n")?;
    world.queue(&anna(), &[mail("hello", &["bob@a.example", "carol@b.example"])])?;
    world.start()?;
    world.until_empty()?;
    let taken = server.taken();
    assert_eq!((taken.len(), taken[0].to.len()), (1, 2), "{taken:?}");
    // base64 of NUL me NUL geheim
    assert_eq!(server.logins(), ["AUTH PLAIN AG1lAGdlaGVpbQ=="]);
    Ok(())
}

/// A child process that ends with the test.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_real_server_takes_five_hundred_messages() -> Outcome {
    const SINK: &str = "/usr/sbin/smtp-sink";
    const MAILS: usize = 500;
    if !std::path::Path::new(SINK).exists() {
        eprintln!("skipped: postfix's smtp-sink is not installed");
        return Ok(());
    }
    let free = std::net::TcpListener::bind("127.0.0.7:0")?.local_addr()?;
    let mut command = std::process::Command::new(SINK);
    command.args(["-u", "nobody", "-h", "sink.example", &free.to_string(), "100"]);
    let _sink = Running(command.spawn()?);
    let names = HashMap::from([("sink.example", host([127, 0, 0, 7]))]);
    let mut world = World::new("sink", names, &format!("port = {}", free.port()))?;
    let mails: Vec<Mail<'_>> =
        (0..MAILS).map(|n| mail(&format!("m{n:03}"), &["bob@sink.example"])).collect();
    world.queue(&anna(), &mails)?;
    let began = Instant::now();
    world.start()?;
    world.until_empty()?;
    eprintln!("{MAILS} messages to smtp-sink in {:?}, start included", began.elapsed());
    assert_eq!(world.log().matches(" delivered by=").count(), MAILS, "{}", world.log());
    Ok(())
}
