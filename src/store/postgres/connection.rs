//! Connections to the server: how one is opened, what it is told first, and what an error of one
//! means. Knows no table.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Connect, Manager, ManagerConfig, Pool, RecyclingMethod};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, Error, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_rustls::rustls::ClientConfig;

use super::address::Address;
use crate::store::StoreError;
use crate::store::objects::Objects;

/// How long opening a connection may take, to each of the hosts.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long what was sent may remain without an acknowledgement of the network.
const UNHEARD_MAX: Duration = Duration::from_secs(6);
/// When a silent connection is probed.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// What the server is told of each connection. A node that is stopped in the middle of a group must
/// not keep the others from writing: the server ends its transaction. Who waits for the lock waits
/// longer than that. What is acknowledged is on the disk, whatever the database does otherwise.
/// Messages are compressed by lz4, where the server has it: to insert 3,000 of 4 KB takes 115 ms
/// instead of 354. (What a setting may be is a list in PostgreSQL, and text in CockroachDB.)
const SESSION: &str = "
SET idle_in_transaction_session_timeout = 10000;
SET lock_timeout = 20000;
SET statement_timeout = 60000;
SELECT set_config('synchronous_commit', 'on', false)
  WHERE current_setting('synchronous_commit') = 'off';
SELECT set_config('default_toast_compression', 'lz4', false)
  WHERE EXISTS (SELECT 1 FROM pg_settings
    WHERE name = 'default_toast_compression' AND CAST(enumvals AS TEXT) LIKE '%lz4%')";

/// Where the database is, how its server is known, and where the bytes of messages are.
#[derive(Clone)]
pub struct Target {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    objects: Option<Objects>,
}

impl Target {
    /// Without a TLS configuration there is none on the way to the server.
    pub fn new(address: &Address, tls: Option<ClientConfig>) -> Target {
        Target::of(address.config.clone(), tls)
    }

    pub(in crate::store) fn of(mut config: Config, tls: Option<ClientConfig>) -> Target {
        config.application_name("postfach").connect_timeout(CONNECT_TIMEOUT);
        config.tcp_user_timeout(UNHEARD_MAX).keepalives_idle(KEEPALIVE);
        config.keepalives_interval(KEEPALIVE).keepalives_retries(2);
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        // of several servers the one that takes writes; one that only follows another may be behind
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        Target { config, tls: tls.map(MakeRustlsConnect::new), objects: None }
    }

    /// New messages are kept there instead of in the database; those that are in the database are
    /// still read there.
    pub fn with_objects(mut self, objects: Option<Objects>) -> Target {
        self.objects = objects;
        self
    }

    /// The bucket, if there is one.
    pub(super) fn objects(&self) -> Option<&Objects> {
        self.objects.as_ref()
    }

    /// Opens a connection. Whoever listens is told of each notification, and of the end.
    pub(super) async fn open(
        &self,
        listener: Option<Listener>,
    ) -> Result<ClientWrapper, StoreError> {
        // the hosts are tried one after another
        let hosts = u32::try_from(self.config.get_hosts().len()).unwrap_or(1).max(1);
        match timeout(CONNECT_TIMEOUT * hosts * 2, self.connect(listener)).await {
            Ok(opened) => opened.map_err(|e| failure(&e)),
            Err(_) => Err(StoreError::Unavailable("database: no answer".into())),
        }
    }

    async fn connect(&self, listener: Option<Listener>) -> Result<ClientWrapper, Error> {
        let (client, task) = self.connected(listener).await?;
        // it ends with its client
        let client = ClientWrapper::new(client, task);
        client.batch_execute(SESSION).await?;
        Ok(client)
    }

    async fn connected(
        &self,
        listener: Option<Listener>,
    ) -> Result<(Client, JoinHandle<()>), Error> {
        match &self.tls {
            Some(tls) => {
                let (client, connection) = self.config.connect(tls.clone()).await?;
                Ok((client, tokio::spawn(drive(connection, listener))))
            }
            None => {
                let (client, connection) = self.config.connect(NoTls).await?;
                Ok((client, tokio::spawn(drive(connection, listener))))
            }
        }
    }

    /// Connections that are opened as they are needed, at most `size`.
    pub(super) fn pool(&self, size: usize) -> Result<Pool, StoreError> {
        let config = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(self.config.clone(), self.clone(), config);
        let pool = Pool::builder(manager).max_size(size).build();
        pool.map_err(|e| StoreError::Unavailable(format!("database: {e}")))
    }
}

impl Connect for Target {
    fn connect(&self, _: &Config) -> Connecting<'_> {
        Box::pin(async move {
            let (client, task) = self.connected(None).await?;
            client.batch_execute(SESSION).await?;
            Ok((client, task))
        })
    }
}

type Connecting<'a> =
    Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + 'a>>;

/// Who is told what the server says by itself.
pub(super) struct Listener {
    /// Wakes them.
    pub(super) look: Arc<Notify>,
    /// What this node says itself, which is no news to it.
    pub(super) own: String,
}

/// Moves bytes until the client is dropped or the connection ends.
async fn drive<S, T>(connection: Connection<S, T>, listener: Option<Listener>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = pin!(connection);
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        match (message, &listener) {
            (AsyncMessage::Notification(told), Some(listener))
                if told.payload() != listener.own =>
            {
                listener.look.notify_one();
            }
            _ => {}
        }
    }
    if let Some(listener) = listener {
        listener.look.notify_one();
    }
}

/// What an error means to a caller. Says nothing of the rows.
pub(super) fn failure(error: &Error) -> StoreError {
    let Some(said) = error.as_db_error() else {
        let cause = std::error::Error::source(error).map(|e| format!(": {e}"));
        let cause = cause.unwrap_or_default();
        return StoreError::Unavailable(format!("database: {error}{cause}"));
    };
    let why = format!("database: {} ({})", said.message(), said.code().code());
    match *said.code() {
        // an index takes less than a table
        SqlState::PROGRAM_LIMIT_EXCEEDED => StoreError::Limit("length of a name in the database"),
        SqlState::DISK_FULL => StoreError::NoSpace(why),
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => StoreError::Corrupt(why),
        _ => StoreError::Unavailable(why),
    }
}

/// Whether the server has no such function: it speaks like PostgreSQL, and has less.
pub(super) fn is_unknown(error: &Error) -> bool {
    error.code() == Some(&SqlState::UNDEFINED_FUNCTION)
}

/// Whether the same may go through when it is tried again: somebody else was in the way.
pub(super) fn is_passing(error: &Error) -> bool {
    let passing = [SqlState::T_R_SERIALIZATION_FAILURE, SqlState::T_R_DEADLOCK_DETECTED];
    error.code().is_some_and(|code| passing.contains(code))
}

/// Whether a value is at fault, and so one transaction of a group alone.
pub(super) fn is_about_values(error: &Error) -> bool {
    let Some(code) = error.code() else { return is_unsendable(error) };
    let class = &code.code()[..2];
    // data exception, integrity, and what the server has limits for
    ["22", "23", "54"].contains(&class)
}

/// Whether a value does not fit into a message to the server, which has not heard of it then. The
/// library does not say so but in words.
fn is_unsendable(error: &Error) -> bool {
    let said = error.to_string();
    ["error serializing parameter", "error encoding message"].iter().any(|it| said.starts_with(it))
}
