"""A daemon with a config of the test's own, and a private Postfix beside it.

Knows files, ports and processes; knows nothing of single tests.
"""

import contextlib
import os
import pathlib
import re
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import time
from email.message import EmailMessage

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients"))
import imapclient  # noqa: E402
from harness import until  # noqa: E402, F401

BINARY = os.environ.get("POSTFACH_BIN", os.path.join(
    os.environ.get("CARGO_TARGET_DIR", "target"), "debug", "postfach"
))  # fmt: skip
PASSWORD = "realworld"

DIRECTORY = """
[[domain]]
name = "example.org"
[[user]]
login = "anna"
name = "Anna"
password = "{hash}"
addresses = ["anna@example.org", "jörg@example.org"]
[[user]]
login = "ben"
name = "Ben"
password = "{hash}"
addresses = ["ben@example.org"]
[[inbox]]
name = "Support"
addresses = ["support@example.org"]
users = ["anna"]
[[inbox]]
name = "Sales"
addresses = ["sales@example.org"]
users = ["ben"]
[[inbox]]
name = "Rewritten"
addresses = ["rewritten@example.org"]
users = ["anna"]
identity = "rewrite"
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(port, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on {port}")


def hashed():
    done = subprocess.run(
        [BINARY, "hash-password"], input=PASSWORD, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class Daemon:
    """`outbound` are the lines of that section, `directory` is added to the organisation."""

    def __init__(self, folder, outbound, directory="", more="", data=None):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.hash = hashed()
        self.declare(DIRECTORY + directory)
        self.ports = {name: free_port() for name in ("smtp", "submission", "imap")}
        listen = "".join(f'{n} = ["127.0.0.1:{p}"]\n' for n, p in self.ports.items())
        self.data = pathlib.Path(data or self.folder / "data")
        self.config = self.folder / "postfach.toml"
        self.config.write_text(
            f'hostname = "mail.example.org"\ndata_dir = "{self.data}"\n'
            f'directory = "{self.folder}/directory.toml"\n[listen]\n{listen}'
            '[tls]\nself_signed = true\n[auth]\nplaintext_without_tls = "loopback"\n'
            f"[outbound]\n{outbound}\n{more}"
        )
        self.start()

    def declare(self, text):
        (self.folder / "directory.toml").write_text(text.format(hash=self.hash))

    def reload(self):
        self.process.send_signal(1)

    def start(self):
        before = self.log().count(" ready ") if (self.folder / "log").exists() else 0
        self.process = subprocess.Popen(
            [BINARY, "serve", "--config", str(self.config)], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=(self.folder / "log").open("ab"),
        )  # fmt: skip
        for port in self.ports.values():
            try:
                await_port(port)
            except RuntimeError:
                raise RuntimeError(self.log()[-3000:]) from None
        until(lambda: self.log().count(" ready ") > before, "a daemon that is ready", 20)

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(20)
        log = self.log()
        assert code == 0 and "panicked" not in log, f"exit {code}:\n{log[-3000:]}"

    def resident_kib(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return {k: int(re.search(rf"{k}:\s+(\d+)", status)[1]) for k in ("VmRSS", "VmHWM")}

    def queue(self):
        """What `postfach queue list` says."""
        done = subprocess.run(
            [BINARY, "queue", "--config", str(self.config), "list"], capture_output=True, text=True
        )
        return done.stdout + done.stderr

    @contextlib.contextmanager
    def submission(self, login="anna"):
        client = smtplib.SMTP("127.0.0.1", self.ports["submission"], timeout=60)
        try:
            client.ehlo()
            client.login(login, PASSWORD)
            yield client
        finally:
            client.close()

    @contextlib.contextmanager
    def smtp(self):
        client = smtplib.SMTP("127.0.0.1", self.ports["smtp"], timeout=60)
        try:
            client.ehlo()
            yield client
        finally:
            client.close()

    @contextlib.contextmanager
    def imap(self, login):
        client = imapclient.IMAPClient("127.0.0.1", self.ports["imap"], ssl=False, timeout=20)
        try:
            client.login(login, PASSWORD)
            yield client
        finally:
            with contextlib.suppress(Exception):
                client.logout()

    def messages(self, login, folder, *criteria):
        """The messages that match, as bytes."""
        with self.imap(login) as client:
            client.select_folder(folder, readonly=True)
            found = client.search(list(criteria) or "ALL")
            return [d[b"BODY[]"] for d in client.fetch(found, ["BODY.PEEK[]"]).values()]


def mail(subject, sender="support@example.org", to="kunde@outside.example", **fields):
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    for name, value in fields.items():
        message[name.replace("_", "-")] = value
    if "Message_ID" not in fields:
        message["Message-ID"] = f"<{time.time_ns():x}@client.example>"
    message.set_content("Gern geschehen.\n")
    return message


def text(*fields, body="Hallo\r\n"):
    """A message as it stands on the wire."""
    return "\r\n".join([*fields, "", body])


def certificate(folder, name="mx.outside.example"):
    """An authority and a certificate of its own for `name`: paths of (ca, certificate, key)."""
    folder = pathlib.Path(folder)

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem",
            "-days", "9000", "-subj", "/CN=Test CA",
            "-addext", "basicConstraints=critical,CA:TRUE")  # fmt: skip
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", "mx.key", "-out", "mx.csr",
            "-subj", f"/CN={name}")  # fmt: skip
    (folder / "ext").write_text(f"subjectAltName=DNS:{name},DNS:localhost\n")
    openssl("x509", "-req", "-in", "mx.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", "9000", "-out", "mx.pem", "-extfile", "ext")  # fmt: skip
    return folder / "ca.pem", folder / "mx.pem", folder / "mx.key"


class Postfix:
    """An instance with files of its own, which keeps what it gets in mailboxes below `mail`."""

    def __init__(self, folder, settings, recipients=()):
        self.folder = folder = pathlib.Path(folder)
        folder.mkdir(parents=True)
        folder.chmod(0o755)
        self.port = free_port()
        config, queue, data, boxes = (folder / p for p in ("etc", "spool", "data", "mail"))
        for part in (config, queue, data, boxes):
            part.mkdir()
        shutil.chown(data, "postfix")
        shutil.chown(boxes, "nobody", "nogroup")
        uid, gid = boxes.stat().st_uid, boxes.stat().st_gid
        master = pathlib.Path("/etc/postfix/master.cf").read_text()
        smtpd = f"127.0.0.1:{self.port} inet n - n - - smtpd"
        master = re.sub(r"^smtp\s+inet.*$", smtpd, master, count=1, flags=re.M)
        master = re.sub(r"^(\w\S*\s+(?:unix|inet)\s+\S+\s+\S+\s+)[y-]", r"\1n", master, flags=re.M)
        (config / "master.cf").write_text(master)
        (config / "boxes").write_text("".join(f"{r} {r}/\n" for r in recipients))
        defaults = {
            "compatibility_level": "3.6", "queue_directory": queue, "data_directory": data,
            "mail_owner": "postfix", "setgid_group": "postdrop", "inet_interfaces": "127.0.0.1",
            "myhostname": "mx.outside.example", "mydestination": "", "alias_maps": "",
            "alias_database": "", "smtp_host_lookup": "native", "mynetworks": "127.0.0.0/8",
            "maillog_file": "/dev/stdout", "smtpd_relay_restrictions": "reject_unauth_destination",
            "virtual_mailbox_domains": "outside.example, split.example",
            "virtual_mailbox_base": boxes, "virtual_mailbox_maps": f"texthash:{config}/boxes",
            "virtual_uid_maps": f"static:{uid}", "virtual_gid_maps": f"static:{gid}",
            "virtual_minimum_uid": "1", "smtputf8_enable": "yes",
            "smtpd_tls_received_header": "yes", "virtual_mailbox_limit": "0",
            "message_size_limit": "100000000", "mailbox_size_limit": "0",
        }  # fmt: skip
        main = "".join(f"{k} = {v}\n" for k, v in {**defaults, **settings}.items())
        (config / "main.cf").write_text(main)
        self.command = ["postfix", "-c", str(config)]
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [*self.command, "start-fg"], stdout=(self.folder / "log").open("ab"),
            stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            await_port(self.port)
        except RuntimeError:
            raise RuntimeError(self.log()) from None

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def messages(self, recipient):
        new = self.folder / "mail" / recipient / "new"
        return [p.read_bytes() for p in new.iterdir()] if new.is_dir() else []

    def stop(self):
        subprocess.run([*self.command, "stop"], capture_output=True)
        self.process.wait(30)
