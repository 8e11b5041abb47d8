"""Nodes: daemons of the test's own on one database.

Knows files, ports and processes; knows nothing of single tests.
"""

import contextlib
import email.policy
import os
import pathlib
import re
import signal
import smtplib
import subprocess
import sys
import time
from email.message import EmailMessage

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients"))
import imapclient  # noqa: E402
from database import free_port  # noqa: E402
from harness import until  # noqa: E402, F401

BINARY = os.environ.get("POSTFACH_BIN", os.path.join(
    os.environ.get("CARGO_TARGET_DIR", "target"), "debug", "postfach"
))  # fmt: skip
PASSWORD = "geheim"
START_SECONDS = 30
STOP_SECONDS = 15
SUPPORT = "Shared/Support"

USERS = ["anna", "ben", "carla", "dora", "erik"]


def hashed():
    done = subprocess.run(
        [BINARY, "hash-password"], input=PASSWORD, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class Set:
    """Nodes on one database, each with its own folder, ports and copy of the directory."""

    def __init__(self, folder, database, sink, count=3, name="postfach"):
        self.hash = hashed()
        self.nodes = [
            Node(os.path.join(folder, f"node{n}"), n, (database.url(name), sink))
            for n in range(1, count + 1)
        ]
        for node in self.nodes:
            node.declare(self.directory(USERS))

    def directory(self, members):
        users = "".join(
            f'[[user]]\nlogin = "{user}"\nname = "{user}"\npassword = "{self.hash}"\n'
            f'addresses = ["{user}@example.org"]\n'
            for user in USERS
        )
        quoted = ", ".join(f'"{member}"' for member in members)
        return (
            f'[[domain]]\nname = "example.org"\n{users}[[inbox]]\nname = "Support"\n'
            f'addresses = ["support@example.org", "postmaster@example.org"]\nusers = [{quoted}]\n'
            'collision = "reject"\n'
        )

    def start(self):
        """All at once, on a store that is empty or not."""
        for node in self.nodes:
            node.spawn()
        for node in self.nodes:
            node.await_start()

    def stop(self):
        for node in self.nodes:
            node.stop()

    def holder(self, duty, seconds=20):
        """The node that has a duty, by what all of them have logged."""

        def found():
            for node in self.nodes:
                if node.is_running() and node.last_said(duty) == "true":
                    return node

        return until(found, f"a node that has the duty {duty}", seconds)


class Node:
    def __init__(self, folder, number, place):
        (self.url, sink) = place
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True)
        self.number = number
        self.name = f"node{number}"
        self.ports = {name: free_port() for name in ("smtp", "submission", "imap")}
        self.config = self.folder / "postfach.toml"
        self.sink = sink
        self.log_path = self.folder / "log"
        self.log_path.touch()
        self.process = None
        self.environment = {}
        # what stands in [store], and what else there, with tables behind it
        self.store = None
        self.store_lines = ""
        self.write_config()

    def write_config(self):
        listen = "".join(f'{name} = ["127.0.0.1:{port}"]\n' for name, port in self.ports.items())
        store = self.store or f'engine = "postgres"\nurl = "{self.url}"\n'
        self.config.write_text(
            f'hostname = "{self.name}.example.org"\ndata_dir = "data"\n[listen]\n{listen}'
            "[tls]\nself_signed = true\n"
            '[auth]\nplaintext_without_tls = "loopback"\n'
            "[limits]\nwaiting_per_address_max = 500\nsmtp_per_address_max = 500\n"
            f"[store]\n{store}{self.store_lines}"
            f'[outbound]\nvia = "smtp://127.0.0.1:{self.sink}"\nretry_first_secs = 60\n'
            "mta_sts = false\n"
        )

    def declare(self, text):
        (self.folder / "directory.toml").write_text(text)

    def spawn(self):
        with open(self.log_path, "ab") as log:
            log.write(b"-- start\n")
            self.process = subprocess.Popen(
                [BINARY, "serve", "--config", str(self.config)],
                stdout=log, stderr=log, start_new_session=True,
                env={
                    **os.environ, "RUST_LOG": os.environ.get("RUST_LOG", "info"),
                    **self.environment,
                },
            )  # fmt: skip

    def await_start(self):
        end = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError, smtplib.SMTPException):
                with smtplib.SMTP("127.0.0.1", self.ports["smtp"], timeout=5):
                    return
            if not self.is_running() or time.monotonic() > end:
                raise RuntimeError(f"{self.name} did not start:\n{self.log()[-3000:]}")
            time.sleep(0.05)

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def log(self):
        return self.log_path.read_text(errors="replace")

    def last_said(self, duty):
        of_this_start = self.log().rsplit("-- start\n", 1)[-1]
        said = re.findall(rf'duty=.*?{duty}.*?ours=(true|false)', of_this_start)
        return said[-1] if said else None

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if not self.is_running():
            return 0
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return "killed after SIGTERM was ignored"

    def reload(self):
        self.process.send_signal(signal.SIGHUP)

    def run(self, *arguments, check=0):
        """A verb of the command line, with this node's config."""
        done = subprocess.run(
            [BINARY, *arguments, "--config", str(self.config)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == check, f"{arguments}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def smtp(self):
        return smtplib.SMTP("127.0.0.1", self.ports["smtp"], timeout=20)

    def deliver(self, token, *recipients, smtp=None):
        """Sends a message; comes back once it is acknowledged."""
        if smtp is None:
            with self.smtp() as smtp:
                return self.deliver(token, *recipients, smtp=smtp)
        smtp.sendmail("kundin@example.net", recipients, message(token, recipients))

    def submit(self, user, token, *recipients):
        with smtplib.SMTP("127.0.0.1", self.ports["submission"], timeout=20) as smtp:
            smtp.login(user, PASSWORD)
            smtp.sendmail(
                f"{user}@example.org", recipients,
                message(token, recipients, f"{user}@example.org"),
            )  # fmt: skip

    def answer(self, user, token, answered):
        """Answers a customer as the inbox; gives the code of the server's reply."""
        sender = "support@example.org"
        content = message(token, ["kundin@example.net"], sender).decode()
        content = f"In-Reply-To: <{answered}@example.net>\r\n{content}"
        with smtplib.SMTP("127.0.0.1", self.ports["submission"], timeout=20) as smtp:
            smtp.login(user, PASSWORD)
            try:
                smtp.sendmail(sender, ["kundin@example.net"], content.encode())
                return 250
            except smtplib.SMTPResponseException as error:
                return error.smtp_code

    def imap(self, user, select=None):
        """A logged-in session."""
        client = imapclient.IMAPClient("127.0.0.1", self.ports["imap"], ssl=False, timeout=20)
        client.login(user, PASSWORD)
        if select:
            client.select_folder(select)
        return client


def message(token, recipients, sender="kundin@example.net"):
    """Always the same for the same token, so that a repetition is one."""
    mail = EmailMessage()
    mail["From"] = sender
    mail["To"] = ", ".join(recipients)
    mail["Subject"] = token
    mail["Message-ID"] = f"<{token}@example.net>"
    mail.set_content(f"Guten Tag,\n{token}\n" + "x" * 60 * (len(token) % 40))
    return mail.as_bytes(policy=email.policy.SMTP)
