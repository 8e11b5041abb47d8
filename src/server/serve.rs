//! The daemon from its start to its end: opens the store, declares the directory, starts the
//! listeners, follows signals, and stops without losing what was acknowledged.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, timeout};

use super::Shared;
use super::auditor;
use super::connections::{Connections, Limits};
use super::control;
use super::database;
use super::declared::Declared;
use super::dkim::Signers;
use super::duty::Duties;
use super::inherited::SocketFault;
use super::listener::{self, Service};
use super::login::cache::Key;
use super::login::oauth::Tokens;
use super::login::{Authenticator, salts};
use super::object_secret;
use super::openings;
use super::outgoing::{self, Sending};
use super::ports::{self, Ports};
use super::published::Publisher;
use super::reserve;
use super::retention;
use super::services::{self, CannotListen, Sockets};
use super::signals::{self, Request, Signals};
use super::spool;
use super::store_thread::StoreThread;
use super::tls::{Certificates, Source, TlsFault};
use super::upstream::Upstreams;
use crate::config::{self, Config, Fault, StoreEngine, Tls};
use crate::directory::file;
use crate::store::postgres::DatabaseClock;
use crate::store::{Store, StoreError, embedded};
use crate::sys::{Clock, SystemClock};

/// How long sessions may take to end when the daemon stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the certificate files are read again, so that a renewed one is shown without a reload.
const CERTIFICATES_INTERVAL: Duration = Duration::from_secs(24 * 3600);
/// How long to wait before a published directory is taken again that could not be.
const PUBLISHED_RETRY: Duration = Duration::from_secs(1);
/// How often the loop wakes when no watchdog asks for it.
const IDLE_INTERVAL: Duration = Duration::from_secs(3600);

/// Mail is nobody else's on this machine.
const DATA_DIR_MODE: u32 = 0o700;
/// The data directory's lock, below `data_dir`.
const LOCK_FILE: &str = "lock";
/// Exit status when config or directory are at fault: `EX_CONFIG` of sysexits.h.
const EXIT_CONFIG: u8 = 78;

/// Why the daemon does not start, or ends by itself.
#[derive(Debug)]
pub enum Failure {
    /// The config or the directory is at fault.
    Declared(Vec<Fault>),
    /// There is no usable certificate.
    Tls(TlsFault),
    /// Another daemon works in the data directory.
    InUse(PathBuf),
    /// The store cannot be opened, or has stopped.
    Store(StoreError),
    /// A listener cannot be opened.
    Listen(&'static str, SocketAddr, io::Error),
    /// A socket that systemd hands over cannot be used.
    Socket(SocketFault),
    /// The data directory cannot be written to.
    DataDir(PathBuf, io::Error),
    /// Something else of the system.
    System(&'static str, io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Declared(faults) => {
                faults.iter().try_for_each(|fault| writeln!(f, "{fault}"))?;
                write!(f, "{} fault(s); `postfach check` shows the same", faults.len())
            }
            Failure::Tls(fault) => write!(f, "TLS: {fault}"),
            Failure::InUse(lock) => write!(
                f,
                "{}: another postfach works in this data directory; stop it, or give this one a \
                 data_dir of its own",
                lock.display()
            ),
            Failure::Store(error) => write!(f, "{error}"),
            Failure::Listen(name, address, error) => {
                let advice = ports::advice(error);
                write!(f, "cannot listen on {address} for [listen] {name}: {error}; {advice}")
            }
            Failure::Socket(fault) => write!(f, "{fault}"),
            Failure::DataDir(path, error) => write!(
                f,
                "cannot use {}: {error}; the user that runs postfach must be able to write there",
                path.display()
            ),
            Failure::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        Failure::Store(error)
    }
}

impl From<CannotListen> for Failure {
    fn from(why: CannotListen) -> Failure {
        match why {
            CannotListen::Bind(name, at, error) => Failure::Listen(name, at, error),
            CannotListen::Inherited(fault) => Failure::Socket(fault),
        }
    }
}

/// `postfach serve`: runs until a signal ends it.
pub fn run(config: &Path) -> ExitCode {
    exit_code(on_runtime(async { Daemon::open(config).await?.serve().await }))
}

/// What the process ends with; says why it failed.
pub fn exit_code(result: Result<(), Failure>) -> ExitCode {
    let Err(failure) = result else { return ExitCode::SUCCESS };
    // Not through the log: whoever starts it by hand must see it whatever RUST_LOG says.
    eprintln!("postfach: {failure}");
    match failure {
        Failure::Declared(_) | Failure::Tls(_) | Failure::Socket(_) => ExitCode::from(EXIT_CONFIG),
        _ => ExitCode::FAILURE,
    }
}

/// Runs `work` on a runtime with a thread for each processor.
pub fn on_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::System("cannot start the runtime", e))?
        .block_on(work)
}

/// A daemon that is ready: store open, directory in force, listeners bound, queued mail on its way,
/// nothing accepted yet.
pub struct Daemon {
    pub(super) config_path: PathBuf,
    pub(super) shared: Arc<Shared>,
    pub(super) declared: Declared,
    listeners: Vec<(TcpListener, Service)>,
    pub(super) ports: Ports,
    pub(super) sending: Sending,
    duties: Duties,
    pub(super) salts: Key,
    shutdown: watch::Sender<bool>,
    writer: StoreThread,
    /// Held until the end.
    _lock: File,
}

impl Daemon {
    /// Starts everything up to the point where connections may come in.
    pub async fn open(config_path: &Path) -> Result<Daemon, Failure> {
        let config = Arc::new(config::load(config_path).map_err(Failure::Declared)?);
        let own = file::load(&config.directory_path);
        if let (StoreEngine::Embedded { .. }, Err(faults)) = (&config.store, &own) {
            return Err(Failure::Declared(faults.clone()));
        }
        let clock = clock(&config);
        let tokens = config.oauth.as_ref().map(|oauth| Tokens::load(oauth, clock.clone()));
        let tokens = tokens.transpose().map_err(Failure::Declared)?;
        let source = tls_source(&config);
        let tls = source.as_ref().map(Certificates::load).transpose().map_err(Failure::Tls)?;
        let lock = lock(&config.data_dir)?;
        spool::clear(&config.data_dir).map_err(|e| Failure::System("cannot clear the spool", e))?;
        let (store, writer) = open_store(&config, clock.clone()).await?;
        let salts = salts::open(&config.data_dir);
        let salts = salts.map_err(|e| Failure::System("cannot use the key of the salts", e))?;
        let directory = match store.is_shared() {
            true => publisher(&*store, &config, &salts).begin().await?,
            false => own.map_err(Failure::Declared)?,
        };
        for warning in config.warnings.iter().chain(&directory.warnings) {
            tracing::warn!(%warning, "not as it should be");
        }
        let signers = Signers::load(&config.dkim, &directory).map_err(Failure::Declared)?;
        let duties = Duties::start(&store);
        let declared = Declared::new(store.clone(), directory, duties.upkeep.clone()).await?;
        object_secret::ensure(&*store).await?;
        let Sockets { listeners, ports } = services::sockets(&config)?;
        let (shutdown, stopped) = watch::channel(false);
        let salts = store.directory().map_or(salts, |published| Key(published.salts));
        tokens.iter().for_each(Tokens::warm);
        let login = Authenticator::new(declared.watch(), clock.clone()).with_salts(salts.clone());
        let login = login.with_tokens(tokens).with_store(&store);
        let smtp = ports.0.get("smtp").cloned().unwrap_or_default();
        let outside = outgoing::outside(&config, &smtp, (store.clone(), clock.clone()))?;
        let routes = config.outbound.routes.clone();
        let shared = Arc::new(Shared {
            desk: Arc::default(),
            auditor: Arc::default(),
            upstreams: Upstreams::new(outside.clone(), routes, clock.clone()),
            store,
            directory: declared.watch(),
            counts: Connections::new(limits(&config)),
            config: ArcSwap::new(config),
            tls: tls.map(Arc::new),
            dkim: Arc::new(signers),
            login: Arc::new(login),
            shutdown: stopped,
            clock,
        });
        let sending = Sending::start(&shared, outside, duties.queue.clone());
        tokio::spawn(auditor::run(shared.clone()));
        Ok(Daemon {
            config_path: config_path.to_owned(),
            shared,
            declared,
            listeners,
            ports,
            sending,
            duties,
            salts,
            shutdown,
            writer,
            _lock: lock,
        })
    }

    /// What the connections will share.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Accepts connections until a signal, or a failure of the store, ends it.
    pub async fn serve(mut self) -> Result<(), Failure> {
        let mut signals =
            Signals::new().map_err(|e| Failure::System("cannot handle signals", e))?;
        // who cannot find a port there still finds the daemon: a full disk must not keep it down
        if let Err(error) = self.ports.write(&self.shared.config.load().data_dir) {
            tracing::error!(%error, file = ports::FILE, "cannot be written");
        }
        for (listener, service) in std::mem::take(&mut self.listeners) {
            tokio::spawn(listener::run(listener, service, self.shared.clone()));
        }
        self.open_control();
        for (name, addresses) in &self.ports.0 {
            tracing::info!(name, ?addresses, "listening");
        }
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
        signals::ready("serving");
        let ended = self.follow(&mut signals).await;
        signals::stopping();
        self.stop().await;
        ended
    }

    /// Mail goes its way without it, too.
    fn open_control(&self) {
        match control::Socket::open(&self.shared.config.load().data_dir) {
            Ok(socket) => {
                let desk = control::Desk {
                    store: self.shared.store.clone(),
                    queue: self.sending.queue.clone(),
                    directory: self.shared.directory.clone(),
                    hostname: self.shared.config.load().hostname.clone(),
                    subjects: self.shared.config.load().audit_subjects,
                };
                tokio::spawn(socket.serve(desk, self.shared.shutdown.clone()));
            }
            Err(error) => tracing::error!(%error, "no control socket: `postfach queue` is deaf"),
        }
    }

    /// The life between start and stop.
    async fn follow(&mut self, signals: &mut Signals) -> Result<(), Failure> {
        let mut mailboxes = self.shared.store.watch_mailboxes();
        let access = |store: &dyn Store| (store.grants(), store.openings());
        let mut known = access(&*self.shared.store);
        let mut watchdog = ticks(signals::watchdog_interval().unwrap_or(IDLE_INTERVAL));
        let mut certificates = ticks(CERTIFICATES_INTERVAL);
        let mut upkeep = self.duties.upkeep.clone();
        let mut not_before = Instant::now();
        let mut retention = ticks(Duration::from_secs(retention::INTERVAL_SECS));
        loop {
            tokio::select! {
                request = signals.next() => match request {
                    Request::Reload => self.reload().await,
                    Request::Stop => return Ok(()),
                },
                () = upkeep.changed() => self.declared.take_duty().await,
                () = sleep(PUBLISHED_RETRY), if self.declared.is_outdated() => {
                    self.take_published().await;
                }
                Ok(()) = mailboxes.changed() => {
                    self.take_published().await;
                    let now = access(&*self.shared.store);
                    if Arc::ptr_eq(&known.0, &now.0) && Arc::ptr_eq(&known.1, &now.1) {
                        continue;
                    }
                    match self.declared.take_grants().await {
                        Ok(()) => known = now,
                        Err(error) => tracing::error!(%error, "grants are not in force"),
                    }
                }
                _ = watchdog.tick() => signals::alive(),
                _ = certificates.tick() => self.reload_certificates(&self.shared.config.load()),
                () = openings::ended(&*self.shared.store, not_before) => {
                    not_before = Instant::now() + self.close_openings().await;
                }
                _ = retention.tick() => self.empty_trash(),
                error = self.writer.failed() => return Err(Failure::Store(error)),
            }
        }
    }

    /// Ends what has come to its end; answers how long to wait before the next look. The access is
    /// over in any case.
    async fn close_openings(&mut self) -> Duration {
        let under = self.duties.upkeep.present();
        let closed = openings::close(&*self.shared.store, &under).await;
        if let Err(error) = self.declared.take_grants().await {
            tracing::error!(%error, "access is not as it should be");
        }
        match closed {
            Ok(()) => Duration::ZERO,
            // another node records it
            Err(StoreError::Outrun) => openings::ELSEWHERE,
            Err(error) => {
                tracing::error!(%error, "the end of a break-glass is not in the audit log yet");
                openings::RETRY
            }
        }
    }

    /// What another node has published, or this one, is in force on all.
    async fn take_published(&mut self) {
        if !self.declared.is_outdated() {
            return;
        }
        let config = self.shared.config.load_full();
        let store = self.shared.store.clone();
        let by = publisher(&*store, &config, &self.salts);
        match self.declared.take_published(by).await {
            Ok(()) => self.reload_signers(&config),
            Err(error) => tracing::error!(%error, "new directory not in force, the old one stays"),
        }
    }

    /// Beside everything else: a large Trash takes a while.
    fn empty_trash(&self) {
        let under = self.duties.upkeep.present();
        if !under.may_begin() {
            return;
        }
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let directory = shared.directory.borrow().clone();
            match retention::sweep(&*shared.store, &directory, &under).await {
                // the rest is another node's
                Ok(0) | Err(StoreError::Outrun) => {}
                Ok(messages) => tracing::info!(messages, "removed from Trash after retention"),
                Err(error) => tracing::error!(%error, "Trash is not emptied"),
            }
        });
    }

    /// No new connections and attempts; those there are told and may finish; then the store.
    async fn stop(self) {
        tracing::info!(open = self.shared.counts.counts().open, "stopping");
        self.shutdown.send_replace(true);
        let sessions = timeout(DRAIN_TIMEOUT, self.shared.counts.all_closed());
        if tokio::join!(sessions, self.sending.finish()).0.is_err() {
            tracing::warn!(open = self.shared.counts.counts().open, "sessions cut off");
        }
        self.shared.auditor.flush(&*self.shared.store).await;
        self.duties.finish().await;
        drop((self.shared, self.declared));
        self.writer.finish().await;
        tracing::info!("stopped");
    }
}

/// So that two daemons never write to the same packs. The system frees it however the process ends.
fn lock(data_dir: &Path) -> Result<File, Failure> {
    let path = data_dir.join(LOCK_FILE);
    let cannot = |error| Failure::DataDir(data_dir.to_owned(), error);
    let mut folder = std::fs::DirBuilder::new();
    folder.recursive(true).mode(DATA_DIR_MODE).create(data_dir).map_err(cannot)?;
    let mut options = File::options();
    let file = options.create(true).write(true).truncate(false).open(&path).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::InUse(path)),
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}

/// Does something with the store of a config on which no daemon runs.
pub async fn at_rest<T>(
    config: &Config,
    work: impl AsyncFnOnce(&dyn Store) -> Result<T, StoreError>,
) -> Result<T, Failure> {
    let _lock = lock(&config.data_dir)?;
    let (store, writer) = open_store(config, clock(config)).await?;
    let done = work(&*store).await;
    drop(store);
    writer.finish().await;
    Ok(done?)
}

/// The time that counts: on a database of several nodes it is one for all.
fn clock(config: &Config) -> Arc<dyn Clock> {
    match &config.store {
        StoreEngine::Embedded { .. } => Arc::new(SystemClock),
        StoreEngine::Postgres(_) => Arc::new(DatabaseClock::new(Arc::new(SystemClock))),
    }
}

async fn open_store(
    config: &Config,
    clock: Arc<dyn Clock>,
) -> Result<(Arc<dyn Store>, StoreThread), Failure> {
    let text_index = match &config.store {
        StoreEngine::Embedded { text_index } => *text_index,
        StoreEngine::Postgres(database) => {
            let opened = database::open(database, &config.data_dir, clock).await;
            let (store, tasks) = opened.map_err(Failure::Declared)?;
            let writer = StoreThread::start_tasks(store.clone(), tasks);
            return Ok((Arc::new(store), writer));
        }
    };
    let data_dir = config.data_dir.clone();
    let options = embedded::Options { text_index, ..embedded::Options::default() };
    let open = move |folder: &Path| embedded::open(folder, options, clock.clone());
    let opening = move || reserve::opening(&data_dir, || open(&data_dir));
    let opened = tokio::task::spawn_blocking(opening).await;
    let (store, writer) =
        opened.map_err(|e| Failure::System("opening the store", io::Error::other(e)))??;
    let writer = StoreThread::start(store.clone(), writer)
        .map_err(|e| Failure::System("cannot start the store's thread", e))?;
    Ok((Arc::new(store), writer))
}

/// This node, as one that publishes its directory.
pub(super) fn publisher<'a>(
    store: &'a dyn Store,
    config: &'a Config,
    salts: &'a Key,
) -> Publisher<'a> {
    Publisher { store, file: &config.directory_path, host: &config.hostname, salts }
}

pub(super) fn tls_source(config: &Config) -> Option<Source> {
    match &config.tls {
        Tls::Off => None,
        Tls::SelfSigned => Some(Source::SelfSigned {
            folder: config.data_dir.join("tls"),
            hostname: config.hostname.clone(),
        }),
        Tls::Files { certificate, key } => {
            Some(Source::Files { certificate: certificate.clone(), key: key.clone() })
        }
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        total: config.limits.connections_max,
        waiting_per_address: config.limits.waiting_per_address_max,
        smtp_per_address: config.limits.smtp_per_address_max,
    }
}

/// The first tick is one interval from now; after a long stall there is one, not many.
fn ticks(every: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
