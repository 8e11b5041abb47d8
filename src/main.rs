//! The daemon's binary: arguments, log, runtime. What each verb does is in `admin/` and `server/`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::RangedI64ValueParser;
use clap::{Parser, Subcommand, value_parser};
use postfach::admin::demo::{self, Options, PORT_BASE_MAX};
use postfach::admin::{audit, check, dkim_key, explain, hash_password, queue};
use postfach::config::DEFAULT_PATH;
use postfach::directory::{password, scram};
use postfach::mail::account::Account;
use postfach::mail::date::When;
use postfach::mail::id::Login;
use postfach::server::control::words::Request;
use postfach::server::queue::Verb as QueueChange;
use postfach::server::serve;
use postfach::store::audit::Filter;
use tracing_subscriber::EnvFilter;

/// A mail daemon for teams: shared inboxes by SMTP in and IMAP out, each user with a view of their
/// own.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// The config file
    #[arg(long, value_name = "F", global = true, default_value = DEFAULT_PATH)]
    config: PathBuf,
    /// Write the log as JSON, an object a line (RUST_LOG chooses what is logged)
    #[arg(long, global = true)]
    log_json: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the daemon; SIGHUP reads directory, certificates and DKIM keys again, SIGTERM ends it
    Serve,
    /// Print the faults of config and directory, and who sees which inbox and channel
    Check,
    /// Run a daemon in a temporary folder, with users, inboxes and sample mail
    Demo {
        /// Keep everything in this folder; a later start finds it again
        #[arg(long, value_name = "D")]
        dir: Option<PathBuf>,
        /// Listen on N+25 (smtp), N+587 (submission), N+465 (submissions), N+143 (imap), N+993
        /// (imaps) instead of 2525, 2587, 2465, 2143, 2993
        #[arg(long, value_name = "N", value_parser = port_base())]
        port_base: Option<u16>,
        /// Where mail to the outside goes: smtp://HOST:PORT, or mx for the real world; without this
        /// it stays in the queue
        #[arg(long, value_name = "URL")]
        via: Option<String>,
    },
    /// Read a password and print its hash for directory.toml
    HashPassword {
        /// As keys of SCRAM-SHA-256: mail programs may log in without sending the password, once
        /// every user's password is stored so
        #[arg(long)]
        scram: bool,
    },
    /// Make a domain's DKIM keys, and print the DNS records and config lines for them
    DkimKey {
        /// The domain
        #[arg(long, value_name = "D")]
        domain: String,
        /// What the selectors of both keys begin with [default: the year]
        #[arg(long, value_name = "S")]
        selector: Option<String>,
    },
    /// Print what a user sees and why
    Explain {
        /// The login
        user: String,
        /// One mailbox, as a mail program shows it: Shared/Support
        mailbox: Option<String>,
    },
    /// Print what was done in inboxes and channels, by whom and when
    Audit {
        #[command(subcommand)]
        verb: Option<AuditVerb>,
        #[command(flatten)]
        asked: AuditAsked,
    },
    /// Show and change what waits to go out, in the running daemon
    Queue {
        #[command(subcommand)]
        verb: QueueVerb,
    },
}

#[derive(clap::Args)]
struct AuditAsked {
    /// In this inbox
    #[arg(long, value_name = "NAME", conflicts_with = "channel")]
    inbox: Option<String>,
    /// In this private channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// By this user, or about them
    #[arg(long, value_name = "LOGIN")]
    user: Option<String>,
    /// From this day on, or from a moment: 2026-11-26, 2026-11-26T14:05 (UTC)
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: Option<When>,
    /// Up to the end of this day, or before a moment
    #[arg(long, value_name = "WHEN", value_parser = when)]
    until: Option<When>,
    /// A JSON object an entry, each on its line
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum AuditVerb {
    /// Check that no entry was changed, removed or put in between
    Verify {
        /// A hash that `verify` has shown before: it must be there still
        #[arg(long, value_name = "HASH")]
        noted: Option<String>,
    },
}

impl AuditAsked {
    fn run(self, config: &Path) -> ExitCode {
        let inbox = self.inbox.map(|name| Account::Inbox(name.into()));
        let channel = self.channel.map(|name| Account::Channel(name.into()));
        let filter = Filter {
            account: inbox.or(channel),
            user: self.user.as_deref().map(Login::new),
            since: self.since.map(When::start),
            until: self.until.map(When::end),
        };
        audit::run(config, filter, if self.json { queue::Form::Json } else { queue::Form::Text })
    }
}

fn when(text: &str) -> Result<When, String> {
    When::parse(text).ok_or_else(|| "write 2026-11-26 or 2026-11-26T14:05 (UTC)".into())
}

#[derive(Subcommand)]
enum QueueVerb {
    /// List all messages: id, age, size, sender, recipients, attempts, last reply
    List {
        /// A JSON object a message, each on its line
        #[arg(long)]
        json: bool,
    },
    /// Show one message; ID is the number in the list, or the name in the log
    Show {
        id: String,
        /// As a JSON object
        #[arg(long)]
        json: bool,
    },
    /// Try a message (or `all`) at once
    Retry { id: String },
    /// Hold a message (or `all`) back; it does not expire meanwhile
    Hold { id: String },
    /// Release a message (or `all`) that is held, and try it at once
    Release { id: String },
    /// Drop a message for good; nobody is told
    Drop { id: String },
}

impl QueueVerb {
    fn run(self, config: &Path) -> ExitCode {
        let (request, json) = match self {
            QueueVerb::List { json } => (Request::List, json),
            QueueVerb::Show { id, json } => (Request::Show(id), json),
            QueueVerb::Retry { id } => (change(QueueChange::Retry, id), false),
            QueueVerb::Hold { id } => (change(QueueChange::Hold, id), false),
            QueueVerb::Release { id } => (change(QueueChange::Release, id), false),
            QueueVerb::Drop { id } => (Request::One(QueueChange::Drop, id), false),
        };
        let form = if json { queue::Form::Json } else { queue::Form::Text };
        queue::run(config, &request, form)
    }
}

fn change(verb: QueueChange, id: String) -> Request {
    if id == "all" { Request::All(verb) } else { Request::One(verb, id) }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    start_log(&arguments);
    match arguments.verb {
        Verb::Serve => serve::run(&arguments.config),
        Verb::Demo { dir, port_base, via } => demo::run(&Options { folder: dir, port_base, via }),
        Verb::Check => check::run(&arguments.config),
        Verb::HashPassword { scram: false } => hash_password::run(password::hash),
        Verb::HashPassword { scram: true } => hash_password::run(scram::hash),
        Verb::DkimKey { domain, selector } => {
            dkim_key::run(&arguments.config, &dkim_key::Options { domain, selector })
        }
        Verb::Explain { user, mailbox } => {
            explain::run(&arguments.config, &user, mailbox.as_deref())
        }
        Verb::Queue { verb } => verb.run(&arguments.config),
        Verb::Audit { verb: Some(AuditVerb::Verify { noted }), .. } => {
            audit::run_verify(&arguments.config, noted.as_deref())
        }
        Verb::Audit { verb: None, asked } => asked.run(&arguments.config),
    }
}

fn port_base() -> RangedI64ValueParser<u16> {
    value_parser!(u16).range(1..=i64::from(PORT_BASE_MAX))
}

/// To stderr, so that what a verb prints can be piped. The journal has its own time stamps.
fn start_log(arguments: &Arguments) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(!journal && std::io::stderr().is_terminal());
    match (arguments.log_json, journal) {
        (true, _) => log.json().init(),
        (false, true) => log.without_time().init(),
        (false, false) => log.init(),
    }
}
