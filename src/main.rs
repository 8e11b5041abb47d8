//! The daemon's binary: arguments, log, runtime. What each verb does is in `admin/` and `server/`.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::builder::RangedI64ValueParser;
use clap::{Parser, Subcommand, value_parser};
use postfach::admin::demo::{self, Options, PORT_BASE_MAX};
use postfach::admin::{audit, check, dkim_key, explain, hash_password, migrate_store};
use postfach::admin::{operate, queue, restored, route_test};
use postfach::config::DEFAULT_PATH;
use postfach::directory::{password, scram};
use postfach::mail::account::Account;
use postfach::mail::date::When;
use postfach::mail::id::Login;
use postfach::server::control::words::{Asked, BreakGlass, How, Request, Restore};
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
    /// Run the daemon; SIGHUP reads config, directory, certificates and keys again, SIGTERM ends it
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
        /// Keep the mail in this PostgreSQL database: postgres://USER@HOST/DATABASE
        #[arg(long, value_name = "URL")]
        store: Option<String>,
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
    /// Say which routing rule a message would meet, why the others do not match, and who would get
    /// it
    RouteTest {
        /// The message, as a mail program saves it
        file: PathBuf,
        /// The address that it comes for
        #[arg(long, value_name = "ADDRESS")]
        to: String,
        /// Its reverse-path, who is acknowledged it [default: the address in its From field]
        #[arg(long, value_name = "ADDRESS")]
        from: Option<String>,
    },
    /// Print what was done in inboxes and channels, by whom and when
    Audit {
        #[command(subcommand)]
        verb: Option<AuditVerb>,
        #[command(flatten)]
        asked: AuditAsked,
    },
    /// Say that a user is away or back, or list who is away
    Away {
        /// The login
        #[arg(requires = "change")]
        user: Option<String>,
        #[command(flatten)]
        change: AwayChange,
    },
    /// Bring deleted messages of an inbox or channel back to where they were
    Restore(RestoreAsked),
    /// Open a personal mailbox to a super-admin, to read only and for a while; its owner and all
    /// super-admins are told by mail
    BreakGlass {
        /// The super-admin
        #[arg(long, value_name = "LOGIN")]
        user: String,
        /// Whose mailbox
        #[arg(long, value_name = "LOGIN")]
        mailbox_of: String,
        /// Why: it is in the mail and in the audit log
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// For how long: 30m, 1h, 2d; at most 7d
        #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
        secs: i64,
    },
    /// After the store was brought back from a backup, before the daemon runs on it: all mailboxes
    /// get a new UIDVALIDITY, so that mail programs fetch them anew, and what is queued is held,
    /// for it may have left before. On PostgreSQL once for all nodes
    Restored,
    /// Move everything from one store to another, by their two config files: from files to
    /// PostgreSQL, back, or to another database. No daemon may run on either; the target must be
    /// empty. Interrupted, it goes on when it is run again. Ends with 1 if nothing was done, 3
    /// half-way, 4 if the comparison at the end fails
    MigrateStore {
        /// The config whose store is read
        #[arg(long, value_name = "CONFIG")]
        from: PathBuf,
        /// The config whose store is filled
        #[arg(long, value_name = "CONFIG")]
        to: PathBuf,
    },
    /// Show and change what waits to go out, in the running daemon
    Queue {
        #[command(subcommand)]
        verb: QueueVerb,
    },
}

#[derive(clap::Args)]
#[group(id = "change", multiple = false)]
struct AwayChange {
    /// Through this day, or until a moment: 2026-12-05, 2026-12-05T14:05 (UTC)
    #[arg(long, value_name = "WHEN", value_parser = when)]
    until: Option<When>,
    /// The user is back
    #[arg(long)]
    off: bool,
}

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("where").required(true).args(["inbox", "channel"]))]
struct RestoreAsked {
    /// Of this inbox
    #[arg(long, value_name = "NAME")]
    inbox: Option<String>,
    /// Of this private channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Deleted on this day or later, or from a moment on: 2026-11-26, 2026-11-26T14:05 (UTC)
    #[arg(long, value_name = "WHEN", value_parser = when)]
    since: Option<When>,
    /// Deleted by this user
    #[arg(long, value_name = "LOGIN")]
    deleted_by: Option<String>,
    /// The message with this Message-ID
    #[arg(long, value_name = "ID")]
    message_id: Option<String>,
    /// Tell what would be restored, and change nothing
    #[arg(long)]
    dry_run: bool,
}

impl RestoreAsked {
    fn run(self, config: &Path) -> ExitCode {
        let inbox = self.inbox.map(|name| Account::Inbox(name.into()));
        let channel = self.channel.map(|name| Account::Channel(name.into()));
        let Some(account) = inbox.or(channel) else { return ExitCode::FAILURE };
        let bare = |id: String| id.trim_matches(['<', '>']).to_owned();
        let asked = Asked::Restore(Restore {
            account,
            since: self.since.map(When::start),
            deleted_by: self.deleted_by.as_deref().map(Login::new),
            message_id: self.message_id.map(bare),
            how: if self.dry_run { How::Dry } else { How::ForReal },
        });
        operate::run(config, asked)
    }
}

fn away(config: &Path, user: Option<String>, change: AwayChange) -> ExitCode {
    let asked = match user {
        None => Asked::Absences,
        Some(user) => Asked::Away { user: Login::new(&user), until: change.until.map(When::end) },
    };
    operate::run(config, asked)
}

/// `90s`, `30m`, `1h`, `2d`
fn seconds(text: &str) -> Result<i64, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let unit = units.iter().find(|(unit, _)| text.ends_with(*unit));
    let number = text.get(..text.len().saturating_sub(1)).and_then(|n| n.parse::<i64>().ok());
    match (number, unit) {
        (Some(number), Some((_, secs))) if number > 0 => Ok(number.saturating_mul(*secs)),
        _ => Err("write 30m, 1h or 2d".into()),
    }
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
    /// About the message with this number, as entries have it
    #[arg(long, value_name = "N")]
    message: Option<i64>,
    /// About the conversation with this number
    #[arg(long, value_name = "N")]
    conversation: Option<i64>,
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
            message: self.message,
            conversation: self.conversation,
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
        Verb::Demo { dir, port_base, via, store } => {
            demo::run(&Options { folder: dir, port_base, via, store })
        }
        Verb::Check => check::run(&arguments.config),
        Verb::HashPassword { scram: false } => hash_password::run(password::hash),
        Verb::HashPassword { scram: true } => hash_password::run(scram::hash),
        Verb::DkimKey { domain, selector } => {
            dkim_key::run(&arguments.config, &dkim_key::Options { domain, selector })
        }
        Verb::Explain { user, mailbox } => {
            explain::run(&arguments.config, &user, mailbox.as_deref())
        }
        Verb::RouteTest { file, to, from } => {
            route_test::run(&arguments.config, &route_test::Options { file, to, from })
        }
        Verb::Restored => restored::run(&arguments.config),
        Verb::MigrateStore { from, to } => migrate_store::run(&from, &to),
        Verb::Queue { verb } => verb.run(&arguments.config),
        Verb::Audit { verb: Some(AuditVerb::Verify { noted }), .. } => {
            audit::run_verify(&arguments.config, noted.as_deref())
        }
        Verb::Away { user, change } => away(&arguments.config, user, change),
        Verb::Restore(asked) => asked.run(&arguments.config),
        Verb::BreakGlass { user, mailbox_of, reason, secs } => {
            let (user, of) = (Login::new(&user), Login::new(&mailbox_of));
            let asked = Asked::BreakGlass(BreakGlass { user, of, reason, secs });
            operate::run(&arguments.config, asked)
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
