//! A PostgreSQL server of a test's own: in a temporary folder, on a unix socket, ended with the
//! test process whatever becomes of it. It is not skipped where PostgreSQL is not installed: that
//! fails, and says what to install.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use tokio_postgres::{Config, NoTls};

use super::super::{Options, Postgres, Target, open};
use crate::store::StoreError;
use crate::sys::{Clock, ManualClock};

/// Users as whom the server can run where the tests run as root, which it refuses.
const USERS: [&str; 2] = ["postgres", "nobody"];
/// Speed instead of safety against a crash of the machine: the tests kill the server only.
const SETTINGS: [&str; 6] = [
    "listen_addresses=",
    "fsync=off",
    "max_connections=900",
    "shared_buffers=64MB",
    "max_wal_size=256MB",
    "logging_collector=off",
];

/// One for all tests of this process that leave it alone.
pub(in crate::store) static SHARED: LazyLock<Server> = LazyLock::new(Server::start);

/// A server with its folder.
pub(in crate::store) struct Server {
    folder: PathBuf,
    user: Option<(u32, u32)>,
    pid: String,
    /// Ends the server and removes the folder when its input ends: with this process.
    keeper: Keeper,
}

struct Keeper {
    process: Child,
    input: Option<ChildStdin>,
}

impl Server {
    pub(in crate::store) fn start() -> Server {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("postfach-pg-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).expect("a temporary folder");
        let user = other_user();
        if let Some((uid, gid)) = user {
            chown(&folder, Some(uid), Some(gid)).expect("gives the folder away");
        }
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).expect("its own folder");
        let mut initdb = as_user(&program("initdb"), user);
        let data = folder.join("data");
        let done = initdb
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-U", "postgres"])
            .arg("-D")
            .arg(&data)
            .current_dir(&folder)
            .output()
            .expect("initdb runs");
        assert!(done.status.success(), "initdb: {}", String::from_utf8_lossy(&done.stderr));
        let keeper = Keeper::start(&folder, user);
        let mut server = Server { folder, user, pid: String::new(), keeper };
        server.wait();
        server
    }

    /// How to connect, into a schema of one's own.
    pub(in crate::store) fn config(&self, schema: &str) -> Config {
        let mut config = Config::new();
        config.host_path(&self.folder).user("postgres").dbname("postgres");
        config.options(format!("-c search_path={schema}"));
        config
    }

    /// An empty schema.
    pub(in crate::store) async fn schema(&self) -> String {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let schema = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.execute(&self.config("public"), &format!("CREATE SCHEMA {schema}")).await;
        schema
    }

    /// As somebody else with the database.
    pub(in crate::store) async fn execute(&self, config: &Config, statements: &str) {
        let (client, connection) = config.connect(NoTls).await.expect("the server is there");
        let driving = tokio::spawn(connection);
        client.batch_execute(statements).await.expect("is done");
        drop(client);
        let _ = driving.await;
    }

    /// Stops it as its administrator does.
    pub(in crate::store) fn shut_down(&self) {
        self.kill("INT", &[&self.pid]);
    }

    /// Sends a signal to the server and all its processes.
    pub(in crate::store) fn signal(&self, signal: &str) {
        let pid = &self.pid;
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        self.kill(signal, &[pid]);
        self.kill(signal, &children.split_whitespace().collect::<Vec<_>>());
    }

    /// One that has ended meanwhile does not matter.
    fn kill(&self, signal: &str, pids: &[&str]) {
        let sent = Command::new("kill").arg(format!("-{signal}")).args(pids).output();
        sent.expect("kill runs");
    }

    /// After a signal that ended it.
    pub(in crate::store) fn restart(&mut self) {
        let from = Instant::now();
        let lives = |stat: String| stat.rsplit(") ").next().is_some_and(|s| !s.starts_with('Z'));
        while fs::read_to_string(format!("/proc/{}/stat", self.pid)).is_ok_and(lives) {
            assert!(from.elapsed() < Duration::from_secs(20), "it ends");
            std::thread::sleep(Duration::from_millis(20));
        }
        // the folder stays
        self.keeper.abandon();
        self.keeper = Keeper::start(&self.folder, self.user);
        self.wait();
    }

    /// Until it takes connections.
    fn wait(&mut self) {
        let from = Instant::now();
        loop {
            let ready = as_user(&program("pg_isready"), self.user)
                .arg("-q")
                .arg("-h")
                .arg(&self.folder)
                .status();
            if ready.expect("pg_isready runs").success() {
                let file = fs::read_to_string(self.folder.join("data/postmaster.pid"));
                let file = file.expect("readable");
                self.pid = file.lines().next().expect("a number").to_owned();
                return;
            }
            assert!(from.elapsed() < Duration::from_secs(30), "the server does not start");
            std::thread::sleep(Duration::from_millis(30));
        }
    }
}

impl Keeper {
    /// A shell that outlives a test process that is killed.
    fn start(folder: &Path, user: Option<(u32, u32)>) -> Keeper {
        const KEEP: &str = r#"
            "$1" -D "$2/data" -k "$2" $3 >>"$2/log" 2>&1 </dev/null &
            server=$!
            echo started
            read -r keep
            [ "$keep" = keep ] && exit
            kill -QUIT "$server"
            wait "$server"
            cd / && rm -rf "$2"
        "#;
        let settings: Vec<String> = SETTINGS.iter().map(|one| format!("-c {one}")).collect();
        let mut process = as_user(Path::new("/bin/sh"), user)
            .args(["-c", KEEP, "sh"])
            .arg(program("postgres"))
            .arg(folder)
            .arg(settings.join(" "))
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell runs");
        let input = process.stdin.take();
        let mut output = BufReader::new(process.stdout.take().expect("piped"));
        output.read_line(&mut String::new()).expect("it starts");
        Keeper { process, input }
    }

    /// Leaves the folder as it is.
    fn abandon(&mut self) {
        use std::io::Write;
        if let Some(mut input) = self.input.take() {
            let _ = input.write_all(b"keep\n");
        }
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.keeper.input.take());
        let _ = self.keeper.process.wait();
    }
}

fn as_user(program: &Path, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
    command.env("LC_ALL", "C");
    command
}

/// Whoever the server is to run as, if we are root.
fn other_user() -> Option<(u32, u32)> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    if uid.and_then(|ids| ids.split_whitespace().nth(1)) != Some("0") {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    let ids = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(USERS.into_iter().find_map(ids).expect("a user postgres or nobody"))
}

/// Debian keeps them beside the path, a folder for each version.
fn program(name: &str) -> PathBuf {
    let path = std::env::var("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut versions: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    versions.sort();
    versions.reverse();
    folders.extend(versions);
    let found = folders.into_iter().map(|folder| folder.join(name)).find(|path| path.exists());
    found.unwrap_or_else(|| {
        panic!("there is no {name}: install PostgreSQL 15 or later (apt-get install postgresql)")
    })
}

/// A node on a database, with its tasks.
pub(in crate::store) struct Node {
    pub(in crate::store) store: Postgres,
    tasks: tokio::task::JoinHandle<Result<(), StoreError>>,
}

/// For tests that do not wait for a server to go away.
pub(in crate::store) fn patient() -> Options {
    Options { readers: 3, patience: Duration::from_secs(20), ..Options::default() }
}

impl Node {
    pub(in crate::store) async fn start(
        config: &Config,
        clock: &Arc<ManualClock>,
        options: Options,
    ) -> Node {
        Node::at(Target::of(config.clone(), None), clock, options).await
    }

    pub(in crate::store) async fn at(
        target: Target,
        clock: &Arc<ManualClock>,
        options: Options,
    ) -> Node {
        Node::by(target, clock.clone(), options).await
    }

    /// By any clock.
    pub(in crate::store) async fn by(
        target: Target,
        clock: Arc<dyn Clock>,
        options: Options,
    ) -> Node {
        let (store, tasks) = open(target, options, clock).await.expect("opens");
        Node { store, tasks: tokio::spawn(tasks.run()) }
    }

    /// As a node that is killed.
    pub(in crate::store) fn kill(self) {
        self.tasks.abort();
    }

    pub(in crate::store) async fn stop(self) {
        self.store.stop();
        assert_eq!(self.tasks.await.expect("no panic"), Ok(()));
    }
}
