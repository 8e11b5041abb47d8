"""The daemon under test and the runner: starts `postfach demo`, runs test functions one after
another, each bounded in time, and says which failed.

Knows ports, passwords and the certificate of the demo; knows nothing of single clients.
"""

import contextlib
import imaplib
import os
import random
import re
import shutil
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import tomllib
import traceback
from email.message import EmailMessage

import imapclient
from sink import Sink

TEST_SECONDS = 60
ALL_SECONDS = 600
START_SECONDS = 20
START_ATTEMPTS = 5
STOP_SECONDS = 10


class Demo:
    """A running `postfach demo` and how to reach it."""

    def __init__(self, binary, directory, database=None):
        self.database = database
        store = ["--store", database.url()] if database else []
        self.directory = directory
        self.binary = binary
        self.log_path = os.path.join(directory, "demo.log")
        os.makedirs(directory, exist_ok=True)
        self.home = os.path.join(directory, "demo")
        self.outside = Sink()
        for attempt in range(START_ATTEMPTS):
            self.process = subprocess.Popen(
                [
                    binary, "demo", "--dir", self.home, "--port-base", str(free_port_base()),
                    "--via", f"smtp://127.0.0.1:{self.outside.port}", *store,
                ],  # fmt: skip
                stdout=open(self.log_path, "wb"),
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                self.await_ports()
                break
            except RuntimeError as error:  # somebody else may have taken a port meanwhile
                if "Address already in use" not in str(error) or attempt + 1 == START_ATTEMPTS:
                    raise
        self.tls = ssl.create_default_context(cafile=self.ca_pem)

    def await_ports(self):
        end = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError, KeyError, tomllib.TOMLDecodeError):
                self.config = load_toml(os.path.join(self.home, "postfach.toml"))
                listen = self.config["listen"]
                self.ports = {k: int(v[0].rsplit(":", 1)[1]) for k, v in listen.items()}
                for port in (self.ports["smtp"], self.ports["imap"], self.ports["imaps"]):
                    socket.create_connection(("127.0.0.1", port), 2).close()
                self.ca_pem = self.find("ca.pem")
                if "Ctrl-C ends it" in self.log():
                    return
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise RuntimeError(f"the demo did not start:\n{self.log()}")
            time.sleep(0.05)

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def find(self, name):
        for folder, _, files in os.walk(self.home):
            if name in files:
                return os.path.join(folder, name)
        raise FileNotFoundError(name)

    @property
    def data_dir(self):
        return os.path.join(self.home, self.config["data_dir"])

    @property
    def directory_toml(self):
        return os.path.join(self.home, "directory.toml")

    def password(self, login):
        """As the demo prints it: a line with the login, then the password."""
        found = re.search(rf"^\W*{login}\s+(\S+)", self.log(), re.MULTILINE)
        if not found:
            raise RuntimeError(f"the demo printed no password for {login}:\n{self.log()}")
        return found.group(1)

    def imaplib(self, login):
        """A logged-in imaplib connection over TLS."""
        client = imaplib.IMAP4_SSL("localhost", self.ports["imaps"], ssl_context=self.tls)
        client.login(login, self.password(login))
        return client

    @contextlib.contextmanager
    def imap(self, login):
        """A logged-in IMAPClient over TLS."""
        client = imapclient.IMAPClient(
            "localhost", self.ports["imaps"], ssl_context=self.tls, timeout=20
        )
        try:
            client.login(login, self.password(login))
            yield client
        finally:
            with contextlib.suppress(Exception):
                client.logout()

    def smtp(self):
        """An SMTP connection after STARTTLS."""
        client = smtplib.SMTP("localhost", self.ports["smtp"], timeout=20)
        client.starttls(context=self.tls)
        return client

    def mail(self, *recipients, subject, text="Guten Tag,\nbitte um Rückruf.\n"):
        """Delivers a message; gives the time of the final 250."""
        message = EmailMessage()
        message["From"] = "Kundin <kundin@example.net>"
        message["To"] = ", ".join(recipients)
        message["Subject"] = subject
        message["Message-ID"] = f"<{random.getrandbits(64):x}@example.net>"
        message.set_content(text)
        with self.smtp() as client:
            client.send_message(message, "kundin@example.net", recipients)
            accepted = time.monotonic()
        return accepted

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def stop(self):
        """Ends the daemon as systemd does; gives its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return "killed after SIGTERM was ignored"

    def address(self, inbox):
        """The first address of an inbox in the directory."""
        directory = load_toml(self.directory_toml)
        return next(i["addresses"][0] for i in directory["inbox"] if i["name"] == inbox)


def load_toml(path):
    with open(path, "rb") as file:
        return tomllib.load(file)


def free_port_base():
    """A base with no listener on the ports that a demo may use above it."""
    for _ in range(200):
        base = random.randrange(20000, 31000)
        if all(is_free(base + offset) for offset in (25, 587, 465, 143, 993, 80)):
            return base
    raise RuntimeError("no free ports")


def is_free(port):
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
            return True
        except OSError:
            return False


def command(*arguments, check=0, seconds=30, **options):
    """Runs a program; fails unless its exit code is `check`; gives its output, errors included."""
    result = subprocess.run(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, **options
    )
    output = result.stdout.decode(errors="replace")
    if result.returncode != check:
        raise AssertionError(f"{arguments[0]} ended with {result.returncode}:\n{output}")
    return output


def until(probe, what, seconds=5):
    """Repeats `probe` until it gives something true."""
    end = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what} (last: {value!r})")
        time.sleep(0.02)


def equal(found, expected, what):
    assert found == expected, f"{what}:\n  found    {found!r}\n  expected {expected!r}"


def tests_of(module):
    return [
        (f"{module.__name__.removeprefix('test_')}: {name.removeprefix('test_')}", function)
        for name, function in vars(module).items()
        if name.startswith("test_") and callable(function)
    ]


def run_one(name, function, demo):
    def expired(_number, _frame):
        raise TimeoutError(f"longer than {TEST_SECONDS} s")

    signal.signal(signal.SIGALRM, expired)
    signal.alarm(TEST_SECONDS)
    started = time.monotonic()
    try:
        note = function(demo) or ""
        signal.alarm(0)
    except BaseException as error:  # a client's own sys.exit is a failure of that test as well
        signal.alarm(0)
        if isinstance(error, KeyboardInterrupt):
            raise
        print(f"FAILED {name} ({time.monotonic() - started:.1f} s)")
        if not isinstance(error, AssertionError):
            traceback.print_exc(file=sys.stdout)
        else:
            where = traceback.extract_tb(error.__traceback__)[1]
            print(f"  {where.filename}:{where.lineno}: {where.line}")
        print("  " + str(error).replace("\n", "\n  "), flush=True)
        return False
    print(f"ok {name} ({time.monotonic() - started:.1f} s) {note}".rstrip(), flush=True)
    return True


def store_under_test():
    """The database that POSTFACH_TEST_STORE=postgres asks for; None for the folder of the demo."""
    if os.environ.get("POSTFACH_TEST_STORE") != "postgres":
        return None
    sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "nodes"))
    from database import Database

    return Database()


def run_all(modules, binary, only):
    chosen = [t for m in modules for t in tests_of(m) if only in t[0]]
    directory = tempfile.mkdtemp(prefix="postfach-clients-")
    passed, failed, end = 0, 0, time.monotonic() + ALL_SECONDS
    database = store_under_test()
    try:
        demo = Demo(binary, directory, database)
        try:
            for name, function in chosen:
                late = time.monotonic() > end
                if late:
                    print(f"FAILED {name}: not begun, all tests together took {ALL_SECONDS} s")
                good = not late and run_one(name, function, demo)
                passed, failed = passed + good, failed + (not good)
        finally:
            code = demo.stop()
            log = demo.log()
        good = code == 0 and "panicked" not in log
        print("ok" if good else f"FAILED (exit {code})", "daemon: ends cleanly and never panicked")
        passed, failed = passed + good, failed + (not good)
        if failed:
            print("last lines of the daemon:\n" + "\n".join(log.splitlines()[-25:]))
    finally:
        if database:
            database.stop()
        if os.environ.get("KEEP"):
            print(f"kept: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed and not failed else 1
