#!/usr/bin/env python3
"""What the issue of the IMAP extensions wants to be fast, over the mailbox of 100,000 that mailrig has
filled, and LIST with STATUS and MYRIGHTS of 200 shared inboxes on a server of its own:

    imap.py SERVER.toml [SERVER.toml ...] [--postfach BINARY] [--runs 7] [--out FILE.json]

Each figure is the median; the first run of each is left out. Times are from the command's last byte
to the tagged OK, at the client; CPU is that of all the server's processes."""

import argparse
import crypt  # as rig/directory.py has it
import json
import os
import pathlib
import signal
import socket
import statistics
import subprocess
import tempfile
import time
import tomllib

from sessions import process_tree

LISTING = (
    "UID FETCH 1:* (UID RFC822.SIZE FLAGS BODY.PEEK[HEADER.FIELDS (From To Cc Bcc Subject Date "
    "Message-ID Priority X-Priority References Newsgroups In-Reply-To Content-Type Reply-To)])"
)
INBOXES = 200
CHANGES = 10
APART = 9973
BIG_BYTES = 24 * 1024 * 1024
BIG_COUNT = 8
TAIL_BYTES = 8192
TIMEOUT_SECONDS = 120
START_SECONDS = 30


class Session:
    """One IMAP connection that counts what it reads instead of looking at it."""

    def __init__(self, port, user, password):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.buffer = bytearray(4 << 20)
        self.socket.recv(1000)
        self.command(f"LOGIN {user} {password}")

    def command(self, text, literal=b""):
        """Gives seconds, bytes and the end of the answer; raises unless it is OK."""
        begun = time.perf_counter()
        self.socket.sendall(b"t " + text.encode() + b"\r\n" + literal)
        total, tail = 0, b""
        while True:
            count = self.socket.recv_into(self.buffer)
            if count == 0:
                raise SystemExit(f"the server has hung up at {text[:60]}")
            total += count
            tail = (tail + bytes(self.buffer[max(0, count - TAIL_BYTES) : count]))[-TAIL_BYTES:]
            last = tail.rstrip().rpartition(b"\n")[2]
            if tail.endswith(b"\r\n") and last.startswith(b"t "):
                if not last.startswith(b"t OK"):
                    raise SystemExit(f"{text[:60]}: {last.decode()}")
                return time.perf_counter() - begun, total, tail


def cpu_seconds(pid):
    ticks = 0
    for process in process_tree(pid):
        with open(f"/proc/{process}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def median(runs, measure):
    return statistics.median([measure() for _ in range(runs + 1)][1:])


def milliseconds(session, text):
    return lambda: session.command(text)[0] * 1000


def bulk(session, server, runs):
    """The mailbox of 100,000."""
    with open(server["pid_file"]) as file:
        pid = int(file.read())
    session.command(f"SELECT {server['bulk_mailbox']}")
    yield "header listing of Thunderbird", "ms", median(runs, milliseconds(session, LISTING))
    before, count = cpu_seconds(pid), 10 * runs
    for _ in range(count):
        session.command("FETCH 1:* (FLAGS)")
    yield "FETCH 1:* (FLAGS), server CPU", "ms", (cpu_seconds(pid) - before) / count * 1000

    def throughput():
        seconds, total, _ = session.command("UID FETCH 1:* (BODY.PEEK[])")
        return total / seconds / 1e6

    yield "BODY.PEEK[] of 100,000 small", "MB/s", median(min(runs, 3), throughput)


def searches(session, words, runs):
    for name, word in words:
        for key in ("BODY", "TEXT"):
            command = f"UID SEARCH RETURN (COUNT) {key} {word}"
            _, _, tail = session.command(command)
            found = int(tail.partition(b"COUNT ")[2].split()[0])
            label = f"SEARCH {key}, {name} word ({found:,} hits)"
            yield label, "ms", median(runs, milliseconds(session, command))


def big(session, runs):
    """Large messages, in a private mailbox."""
    name = f"Big{int(time.time())}"
    session.command(f"CREATE {name}")
    session.command(f"SELECT {name}")
    for number in range(BIG_COUNT):
        head = f"From: a@example.test\r\nSubject: {number} {time.time()}\r\n\r\n".encode()
        message = head + (b"x" * 74 + b"\r\n") * (BIG_BYTES // 76)
        session.command(f"APPEND {name} {{{len(message)}+}}", message + b"\r\n")

    def throughput():
        seconds, total, _ = session.command("UID FETCH 1:* (BODY.PEEK[])")
        return total / seconds / 1e6

    yield "BODY.PEEK[] of 25 MB each", "MB/s", median(runs, throughput)
    session.command("UID STORE 1:* +FLAGS.SILENT (\\Deleted)")
    session.command("CLOSE")
    session.command(f"DELETE {name}")


def resync(port, server, runs):
    """SELECT with QRESYNC after ten changes in 100,000."""
    user = [template.format(1) for template in (server["user_pattern"], server["password_pattern"])]
    changer, syncer = Session(port, *user), Session(port, *user)
    mailbox = server["bulk_mailbox"]
    changer.command("ENABLE CONDSTORE")
    syncer.command("ENABLE QRESYNC")

    def number(text, label):
        return int(text.partition(label)[2].split(b"]")[0])

    def measure():
        _, _, opened = changer.command(f"SELECT {mailbox}")
        validity, modseq = number(opened, b"[UIDVALIDITY "), number(opened, b"[HIGHESTMODSEQ ")
        for message in range(1, CHANGES * APART, APART):
            for sign in "+-":  # so that one of them changes something
                changer.command(f"STORE {message} {sign}FLAGS.SILENT (\\Flagged)")
        seconds, _, _ = syncer.command(f"SELECT {mailbox} (QRESYNC ({validity} {modseq}))")
        syncer.command("UNSELECT")
        return seconds * 1000

    yield f"QRESYNC of {CHANGES} changes", "ms", median(runs, measure)


def directory(folder):
    """200 inboxes of one team."""
    hashed = crypt.crypt("pw1", "$6$rigsalt01")
    lines = ['[[domain]]\nname = "example.test"', '[[user]]\nlogin = "u1"\nname = "U"\nrole = "member"']
    lines += [f'password = "{hashed}"\naddresses = ["u1@example.test"]']
    lines += ['[[team]]\nname = "all"\nmembers = ["u1"]']
    for number in range(INBOXES):
        lines += [f'[[inbox]]\nname = "Box {number:03}"\naddresses = ["b{number}@example.test"]']
        lines += ['teams = ["all"]']
    (folder / "directory.toml").write_text("\n".join(lines) + "\n")


def listing(binary, runs):
    """LIST with STATUS and MYRIGHTS of 200 shared inboxes in one command."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        directory(folder)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (folder / "postfach.toml").write_text(
            f'hostname = "localhost"\ndata_dir = "{folder}/data"\ndirectory = "directory.toml"\n'
            f'[listen]\nsmtp = []\nimap = ["127.0.0.1:{port}"]\nimaps = []\n'
            '[tls]\nself_signed = true\n[auth]\nplaintext_without_tls = "loopback"\n'
        )
        command = [binary, "serve", "--config", f"{folder}/postfach.toml"]
        with open(folder / "log", "w") as log:
            server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            session = connected(port, folder / "log")
            text = 'LIST "" "Shared/%" RETURN (STATUS (MESSAGES UNSEEN UIDNEXT UIDVALIDITY) MYRIGHTS)'
            took = median(10 * runs, milliseconds(session, text))
            answer = session.command(text)[2]
            assert b"Box 199" in answer and b"MYRIGHTS" in answer, answer[-200:]
            yield f"LIST, STATUS, MYRIGHTS of {INBOXES} inboxes", "ms", took
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


def connected(port, log):
    for _ in range(START_SECONDS * 50):
        try:
            return Session(port, "u1", "pw1")
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise SystemExit(f"the server did not come up:\n{log.read_text()}")


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("servers", nargs="+")
    arguments.add_argument("--postfach")
    arguments.add_argument("--runs", type=int, default=7)
    arguments.add_argument("--common", default="bitte")
    arguments.add_argument("--rare", default="Zebrafink")
    arguments.add_argument("--out")
    chosen = arguments.parse_args()
    results = {}

    def tell(server, figures):
        for label, unit, value in figures:
            results.setdefault(server, {})[label] = [unit, value]
            print(f"{server:30} {label:50} {value:10.2f} {unit}", flush=True)

    for path in chosen.servers:
        with open(path, "rb") as file:
            server = tomllib.load(file)
        port = server["imap_port"]
        user = [server[pattern].format(1) for pattern in ("user_pattern", "password_pattern")]
        session = Session(port, *user)
        tell(server["name"], bulk(session, server, chosen.runs))
        words = [("common", chosen.common), ("rare", chosen.rare)]
        tell(server["name"], searches(session, words, chosen.runs))
        tell(server["name"], big(Session(port, *user), chosen.runs))
        tell(server["name"], resync(port, server, chosen.runs))
    if chosen.postfach:
        tell("postfach", listing(chosen.postfach, chosen.runs))
    if chosen.out:
        pathlib.Path(chosen.out).write_text(json.dumps(results, indent=1))


main()
