//! `postfach demo`: a daemon with users, inboxes and sample mail in a folder of its own, on
//! loopback, with passwords that it prints. Writes the files that an operator writes and starts the
//! same daemon; nothing in the daemon knows that it is a demo.

mod samples;

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::delivery::{self, Content, Envelope, Origin, Protection, Site};
use crate::directory::password;
use crate::mail::account::Account;
use crate::mail::id::Timestamp;
use crate::server::Shared;
use crate::server::self_signed::AUTHORITY;
use crate::server::serve::{self, Daemon, Failure};
use crate::server::spool::{self, Spool};
use crate::smtp::Client;
use samples::{SAMPLES, Sample};

/// Everybody and their inboxes; `@LOGIN@` stands for the hash of the password of LOGIN.
const DIRECTORY: &str = include_str!("directory.toml");
/// What is printed at the start; `@NAME@` stands for a value.
const WELCOME: &str = include_str!("welcome.txt");
/// Who logs in, as what, and what they see beside their own folders.
const PEOPLE: [(&str, &str, &str); 5] = [
    ("anna", "team support", "Private/Anna Sales, Shared/Info, Shared/Support"),
    ("ben", "teams support, sales", "Private/Ben Sales, Shared/Info, …/Sales, …/Support"),
    ("carla", "admin", "everything shared, reads it; Other Users/…"),
    ("dora", "no team", "Shared/Info"),
    ("erik", "super-admin", "everything shared, works in it and manages it"),
];
/// Mail to the outside waits in the queue: nothing leaves a demo by itself.
const HELD: &str = "hold";
/// Says that the sample mail was delivered, so that a second start does not do it again.
const DELIVERED: &str = "samples-delivered";
/// The largest base of ports: the highest port is 993 above it.
pub const PORT_BASE_MAX: u16 = u16::MAX - 993;

/// What `postfach demo` may be told.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `outbound.via`; where this is missing, nothing leaves the demo.
    pub via: Option<String>,
    /// Where everything is kept; a temporary folder, removed at the end, where this is missing.
    pub folder: Option<PathBuf>,
    /// What is added to the usual ports, instead of listening on 2525, 2587, 2465, 2143 and 2993.
    pub port_base: Option<u16>,
    /// `store.url` of a PostgreSQL database; in the folder where this is missing.
    pub store: Option<String>,
}

/// The ports that this version opens.
struct Ports {
    smtp: u16,
    submission: u16,
    submissions: u16,
    imap: u16,
    imaps: u16,
}

impl Ports {
    fn new(base: Option<u16>) -> Ports {
        let above = |offset| base.unwrap_or(2000) + offset;
        Ports {
            smtp: base.map_or(2525, |n| n + 25),
            submission: above(587),
            submissions: above(465),
            imap: above(143),
            imaps: above(993),
        }
    }
}

/// Runs the demo until a signal ends it.
pub fn run(options: &Options) -> ExitCode {
    let (folder, lasts) = match &options.folder {
        Some(dir) => (std::path::absolute(dir).unwrap_or_else(|_| dir.clone()), true),
        None => {
            let name = format!("postfach-demo-{}", std::process::id());
            (std::env::temp_dir().join(name), false)
        }
    };
    let ports = Ports::new(options.port_base);
    let via = options.via.as_deref().unwrap_or(HELD);
    let written = config_text(&ports, via, options.store.as_deref());
    let result = serve::on_runtime(demonstrate(&folder, &ports, &written));
    if !lasts {
        let _ = std::fs::remove_dir_all(&folder);
    }
    serve::exit_code(result)
}

async fn demonstrate(folder: &Path, ports: &Ports, written: &str) -> Result<(), Failure> {
    let cannot = |e| Failure::System("cannot write the demo's folder", e);
    let config = write_files(folder, written).map_err(cannot)?;
    let daemon = Daemon::open(&config).await?;
    if !folder.join(DELIVERED).exists() && !has_mail(daemon.shared()) {
        deliver_all(daemon.shared()).await?;
        std::fs::write(folder.join(DELIVERED), "").map_err(cannot)?;
    }
    println!("{}", welcome(folder, ports));
    daemon.serve().await
}

/// A database may have come from another folder's demo.
fn has_mail(shared: &Shared) -> bool {
    shared.store.usage(&Account::Inbox("Support".into())).messages > 0
}

/// The config is written at each start, since the ports may be others; the directory once, so that
/// one may edit it and see what `kill -HUP` does.
fn write_files(folder: &Path, written: &str) -> std::io::Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let config = folder.join("postfach.toml");
    std::fs::write(&config, written)?;
    let directory = folder.join("directory.toml");
    if !directory.exists() {
        std::fs::write(directory, directory_text()?)?;
    }
    Ok(config)
}

fn config_text(ports: &Ports, via: &str, store: Option<&str>) -> String {
    let store = store.map(|url| format!("[store]\nengine = \"postgres\"\nurl = \"{url}\"\n"));
    let store = store.unwrap_or_default();
    let Ports { smtp, submission, submissions, imap, imaps } = ports;
    format!(
        "# Written by `postfach demo` at each start.\n\
         hostname = \"localhost\"\n\
         data_dir = \"data\"\n\
         directory = \"directory.toml\"\n\
         [listen]\n\
         smtp = [\"127.0.0.1:{smtp}\"]\n\
         submission = [\"127.0.0.1:{submission}\"]\n\
         submissions = [\"127.0.0.1:{submissions}\"]\n\
         imap = [\"127.0.0.1:{imap}\"]\n\
         imaps = [\"127.0.0.1:{imaps}\"]\n\
         [tls]\n\
         self_signed = true\n\
         [auth]\n\
         plaintext_without_tls = \"loopback\"\n\
         [outbound]\n\
         via = \"{via}\"\n{store}"
    )
}

fn directory_text() -> std::io::Result<String> {
    let mut text = DIRECTORY.to_owned();
    for (login, ..) in PEOPLE {
        let hash = password::hash(password_of(login).as_bytes()).map_err(std::io::Error::other)?;
        text = text.replace(&format!("@{login}@"), &hash.0);
    }
    Ok(text)
}

fn password_of(login: &str) -> String {
    format!("{login}-demo")
}

/// Puts the sample mail where mail from outside goes: routed, traced and stored as any other.
async fn deliver_all(shared: &Shared) -> Result<(), Failure> {
    let now = shared.clock.now().seconds();
    for sample in SAMPLES {
        let failed = |why: String| {
            let error = std::io::Error::other(format!("{}: {why}", sample.subject));
            Failure::System("cannot deliver a sample", error)
        };
        deliver(shared, sample, now).await.map_err(failed)?;
    }
    Ok(())
}

async fn deliver(shared: &Shared, sample: &Sample, now: i64) -> Result<(), String> {
    let message = sample.message(now).map_err(|e| e.to_string())?;
    let folder = spool::folder(&shared.config.load().data_dir);
    let mut spool = Spool::new(folder, shared.config.load().limits.message_bytes_max);
    spool.write(&message).await.map_err(|e| format!("{e:?}"))?;
    let spooled = spool.finish().await.map_err(|e| format!("{e:?}"))?;
    let envelope = Envelope {
        transaction: sample.transaction().ok_or("an address is malformed")?,
        client: Client { name: "postfach.example".into(), extended: true },
        client_address: Ipv4Addr::LOCALHOST.into(),
        protection: Protection::None,
        hostname: shared.config.load().hostname.clone(),
        received_at: Timestamp::from_seconds(now - sample.hours_ago * 3600),
        id: sample.id.into(),
        origin: Origin::Relay,
        upstream: Vec::new(),
        lifetime_secs: 0,
    };
    let directory = shared.directory.borrow().clone();
    let content = Content { message: spooled.message(), head: spooled.head() };
    let site = Site { store: &*shared.store, directory: &directory, keys: &*shared.dkim };
    let delivered = delivery::deliver(&site, &envelope, content).await;
    delivered.map(|_| ()).map_err(|e| format!("{e:?}"))
}

/// What to know and what to type.
fn welcome(folder: &Path, ports: &Ports) -> String {
    let mut people = String::new();
    for (login, who, sees) in PEOPLE {
        let password = password_of(login);
        // Writing to a String cannot fail.
        let _ = writeln!(people, "  {login:<7} {password:<11} {who:<21} {sees}");
    }
    let authority = folder.join("data/tls").join(AUTHORITY);
    let values = [
        ("@folder@", folder.display().to_string()),
        ("@people@", people),
        ("@authority@", authority.display().to_string()),
        ("@smtp@", ports.smtp.to_string()),
        ("@submission@", ports.submission.to_string()),
        ("@submissions@", ports.submissions.to_string()),
        ("@imap@", ports.imap.to_string()),
        ("@imaps@", ports.imaps.to_string()),
        ("@pid@", std::process::id().to_string()),
    ];
    values.iter().fold(WELCOME.to_owned(), |text, (name, value)| text.replace(name, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Routing;
    use crate::mail::address::Address;

    #[test]
    fn the_files_are_what_an_operator_may_write() -> Result<(), Box<dyn std::error::Error>> {
        let path = Path::new("/demo/postfach.toml");
        let config =
            crate::config::parse(&config_text(&Ports::new(Some(30_000)), HELD, None), path);
        let config = config.map_err(|faults| format!("{faults:?}"))?;
        assert_eq!(config.listen.smtp, ["127.0.0.1:30025".parse()?]);
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        let directory = crate::directory::file::parse(&directory_text()?, path);
        let directory = directory.map_err(|faults| format!("{faults:?}"))?;
        assert!(directory.warnings.is_empty(), "{:?}", directory.warnings);
        for (login, ..) in PEOPLE {
            let user = directory.users.get(&crate::mail::id::Login::new(login)).ok_or(login)?;
            assert!(password::verify(password_of(login).as_bytes(), &user.password), "{login}");
        }
        Ok(())
    }

    #[test]
    fn each_sample_has_recipients_that_the_directory_knows()
    -> Result<(), Box<dyn std::error::Error>> {
        let directory = crate::directory::file::parse(&directory_text()?, Path::new("d.toml"));
        let directory = directory.map_err(|faults| format!("{faults:?}"))?;
        for sample in SAMPLES {
            let transaction = sample.transaction().ok_or(sample.subject)?;
            assert!(!transaction.recipients.is_empty(), "{}", sample.subject);
            let message = String::from_utf8(sample.message(1_790_000_000)?)?;
            assert!(message.contains(&format!("To: <{}>", sample.to[0])), "{message}");
            for address in sample.to.iter().filter_map(|to| Address::parse(to)) {
                let routing = directory.route(&address);
                assert!(matches!(routing, Routing::Local(_)), "{address}: {routing:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn the_default_ports_are_those_of_the_manual_and_a_base_moves_all_of_them() {
        let of = |base| {
            let ports = Ports::new(base);
            (ports.smtp, ports.submission, ports.submissions, ports.imap, ports.imaps)
        };
        assert_eq!(of(None), (2525, 2587, 2465, 2143, 2993));
        assert_eq!(of(Some(PORT_BASE_MAX)), (64_567, 65_129, 65_007, 64_685, 65_535));
    }

    #[test]
    fn the_welcome_leaves_no_place_open() {
        let text = welcome(Path::new("/tmp/demo"), &Ports::new(None));
        assert!(!text.lines().any(|line| {
            ["@folder", "@imap", "@submission"].iter().any(|name| line.contains(name))
        }));
        assert!(text.contains("\n  anna    anna-demo "), "{text}");
    }
}
