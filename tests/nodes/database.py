"""A private PostgreSQL in a temporary folder, and a TCP proxy before it that can be cut or stalled.

Knows no daemon. Also used by tests/clients.
"""

import contextlib
import glob
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import threading
import time

START_SECONDS = 30


def programs():
    """The folder of the newest initdb; None where PostgreSQL is not installed."""
    found = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    found.sort(key=lambda path: int(path.split("/")[4]))
    if found:
        return os.path.dirname(found[-1])
    at_hand = shutil.which("initdb")
    return os.path.dirname(os.path.realpath(at_hand)) if at_hand else None


def account_named(name):
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(name)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop_process(process):
    """By itself, or after a while by force."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Database:
    """A running server; everybody on this machine may log in. With a certificate, a path and that of
    its key, the user `mail` comes with TLS and a password alone."""

    def __init__(self, fsync="off", certificate=None):
        self.folder = tempfile.mkdtemp(prefix="postfach-database-")
        self.bin = programs()
        self.data = os.path.join(self.folder, "data")
        self.port = free_port()
        # It refuses to run as root.
        self.user = {}
        if os.getuid() == 0:
            account = next(u for u in map(account_named, ("postgres", "nobody")) if u)
            os.chown(self.folder, account.pw_uid, account.pw_gid)
            self.user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        self.run("initdb", "-D", self.data, "-A", "trust", "-U", "postfach", "--no-sync")
        with open(os.path.join(self.data, "postgresql.auto.conf"), "a") as config:
            config.write(
                f"port = {self.port}\nlisten_addresses = '127.0.0.1'\nfsync = {fsync}\n"
                f"unix_socket_directories = '{self.folder}'\nmax_connections = 200\n"
                "log_min_messages = warning\n"
            )
            if certificate:
                self.use(certificate, config)
        self.log = open(os.path.join(self.folder, "log"), "ab")
        self.start()
        self.create("postfach")

    def use(self, certificate, config):
        for name, path in zip(("server.crt", "server.key"), certificate):
            own = os.path.join(self.data, name)
            shutil.copyfile(path, own)
            os.chmod(own, 0o600)
            if self.user:
                os.chown(own, self.user["user"], self.user["group"])
        config.write("ssl = on\npassword_encryption = 'scram-sha-256'\n")
        with open(os.path.join(self.data, "pg_hba.conf"), "w") as rules:
            rules.write(
                "hostssl all mail 127.0.0.1/32 scram-sha-256\nhost all mail all reject\n"
                "host all all 127.0.0.1/32 trust\n"
            )

    def run(self, program, *arguments):
        subprocess.run(
            [os.path.join(self.bin, program), *arguments], check=True, cwd="/",
            stdout=subprocess.DEVNULL, **self.user,
        )  # fmt: skip

    def start(self):
        self.process = subprocess.Popen(
            [os.path.join(self.bin, "postgres"), "-D", self.data],
            stdout=self.log, stderr=self.log, cwd="/", start_new_session=True, **self.user,
        )  # fmt: skip
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(subprocess.CalledProcessError):
                return self.run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port))
            time.sleep(0.1)
        raise RuntimeError("PostgreSQL did not start: " + self.log.name)

    def create(self, name):
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postfach", name)

    def url(self, name="postfach", port=None):
        return f"postgres://postfach@127.0.0.1:{port or self.port}/{name}"

    def ask(self, statement, name="postfach"):
        """What psql prints for a statement, a row a line."""
        done = subprocess.run(
            [os.path.join(self.bin, "psql"), "-XAtqc", statement, self.url(name)],
            check=True, capture_output=True, text=True, cwd="/",
        )  # fmt: skip
        return done.stdout.strip()

    def stop(self):
        stop_process(self.process)
        self.log.close()
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.folder, ignore_errors=True)


class Proxy:
    """Passes TCP connections on to a port, until it is told to cut, to stall or to slow them."""

    def __init__(self, port):
        self.to = port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        self.pairs = []
        self.cut_off = False
        # on each connection, towards the server; None: as fast as it goes
        self.thin_bytes_a_second = None
        self.moves = threading.Event()
        self.moves.set()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                inner, _ = self.listener.accept()
            except OSError:
                return
            if self.cut_off:
                inner.close()
                continue
            threading.Thread(target=self.connect, args=(inner,), daemon=True).start()

    def connect(self, inner):
        self.moves.wait()
        try:
            outer = socket.create_connection(("127.0.0.1", self.to), 5)
        except OSError:
            inner.close()
            return
        outer.settimeout(None)
        with self.lock:
            self.pairs.append((inner, outer))
        for a, b in ((inner, outer), (outer, inner)):
            a.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.copy, args=(a, b), daemon=True).start()

    def copy(self, a, b):
        with contextlib.suppress(OSError):
            while data := a.recv(65536):
                self.moves.wait()
                if self.thin_bytes_a_second:
                    time.sleep(len(data) / self.thin_bytes_a_second)
                b.sendall(data)
        for end in (a, b):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        """All connections end, and new ones are not taken."""
        self.cut_off = True
        with self.lock:
            pairs, self.pairs = self.pairs, []
        for end in (end for pair in pairs for end in pair):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def stall(self):
        """Nothing comes through, and nobody is told."""
        self.moves.clear()

    def mend(self):
        self.cut_off = False
        self.moves.set()
