#!/usr/bin/env python3
"""Submission and queue beside Postfix: the same mail into each, out to a sink, on one machine.

    benches/submission.py [--count 3000] [--connections 10] [--runs 3]

Needs Debian's postfix (it brings smtp-sink too) and root; POSTFACH_BIN names a release build. Prints
a table: messages accepted a second, messages that have reached the sink a second (from the first
MAIL on), CPU of the server's processes for each.

What is not the same: users log in at Postfach (AUTH PLAIN) and are checked for who they are, a copy
goes into Sent; Postfix takes the mail from its network without a question and keeps nothing. Both
run with their defaults, both sync before 250, without TLS.
"""

import argparse
import asyncio
import base64
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

LINE = "The quick brown fox jumps over the lazy dog, again and again."
BODY = "".join(f"{n:04} {LINE}\r\n" for n in range(56))
HASH_LOGIN, HASH_PASSWORD = "anna", "anna-bench"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(port, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError(f"nothing listens on {port}")


class Sink:
    """smtp-sink, which counts what it gets."""

    def __init__(self, folder):
        self.port = free_port()
        self.log = folder / "sink.log"
        self.process = subprocess.Popen(
            ["smtp-sink", "-u", "nobody", "-c", f"127.0.0.1:{self.port}", "1000"],
            stdout=self.log.open("wb"), stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        await_port(self.port)

    def count(self):
        """Messages so far: `sess=… quit=… mesg=N`."""
        found = re.findall(rb"mesg=(\d+)", self.log.read_bytes())
        return int(found[-1]) if found else 0

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Postfix:
    name = "postfix"
    login = None

    def __init__(self, folder, sink):
        self.port = free_port()
        config, queue, data = (folder / part for part in ("etc", "spool", "data"))
        for part in (config, queue, data):
            part.mkdir()
        folder.chmod(0o755)
        shutil.chown(data, "postfix")
        master = pathlib.Path("/etc/postfix/master.cf").read_text()
        master = re.sub(r"^smtp\s+inet.*$", f"127.0.0.1:{self.port} inet n - n - - smtpd", master, 1, re.M)
        master = re.sub(r"^(\w\S*\s+(?:unix|inet)\s+\S+\s+\S+\s+)[y-]", r"\1n", master, flags=re.M)
        (config / "master.cf").write_text(master)
        (config / "main.cf").write_text(
            f"compatibility_level = 3.6\nqueue_directory = {queue}\ndata_directory = {data}\n"
            f"mail_owner = postfix\nsetgid_group = postdrop\ninet_interfaces = 127.0.0.1\n"
            f"myhostname = mail.example.org\nmydestination =\nmynetworks = 127.0.0.0/8\n"
            f"relayhost = [127.0.0.1]:{sink.port}\nmaillog_file = /dev/stdout\n"
            "smtpd_relay_restrictions = permit_mynetworks, reject\nsmtp_host_lookup = native\n"
            "alias_maps =\nalias_database =\nlocal_recipient_maps =\n"
        )  # fmt: skip
        self.command = ["postfix", "-c", str(config)]
        log = (folder / "postfix.log").open("wb")
        self.process = subprocess.Popen(
            [*self.command, "start-fg"], stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        await_port(self.port)

    def stop(self):
        subprocess.run([*self.command, "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.process.wait(30)


class Postfach:
    name = "postfach"
    login = (HASH_LOGIN, HASH_PASSWORD)

    def __init__(self, folder, sink):
        binary = os.environ.get("POSTFACH_BIN", "target/release/postfach")
        self.port = free_port()
        hashed = subprocess.run(
            [binary, "hash-password"], input=HASH_PASSWORD, capture_output=True, text=True, check=True
        )
        (folder / "directory.toml").write_text(
            '[[domain]]\nname = "example.org"\n[[user]]\nlogin = "anna"\nname = "Anna"\n'
            f'password = "{hashed.stdout.strip()}"\naddresses = ["anna@example.org"]\n'
        )
        (folder / "postfach.toml").write_text(
            f'hostname = "mail.example.org"\ndata_dir = "{folder}/data"\n'
            f'[listen]\nsubmission = ["127.0.0.1:{self.port}"]\n'
            '[auth]\nplaintext_without_tls = "loopback"\n'
            f'[limits]\nwaiting_per_address_max = 200\n'  # all connections come from one address
            f'[outbound]\nvia = "smtp://127.0.0.1:{sink.port}"\n'
        )
        self.process = subprocess.Popen(
            [binary, "serve", "--config", str(folder / "postfach.toml")],
            stdout=subprocess.DEVNULL, stderr=(folder / "postfach.log").open("wb"),
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        await_port(self.port)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def cpu_seconds(root):
    """Of a process and all below it, children that have ended included."""
    ticks, wanted = 0, {root}
    stats = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            stats[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])))
    grew = True
    while grew:
        below = {pid for pid, (parent, _) in stats.items() if parent in wanted} - wanted
        wanted |= below
        grew = bool(below)
    ticks = sum(stats[pid][1] for pid in wanted if pid in stats)
    return ticks / os.sysconf("SC_CLK_TCK")


async def connection(server, numbers):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)

    async def answer(code):
        while True:
            line = await reader.readline()
            assert line, "the server has closed the connection"
            if line[3:4] == b" ":
                assert line.startswith(code), line
                return

    async def say(text, *codes):
        writer.write(text.encode())
        for code in codes:
            await answer(code)

    await answer(b"220")
    await say("EHLO client.example\r\n", b"250")
    if server.login:
        secret = base64.b64encode("\0{}\0{}".format(*server.login).encode()).decode()
        await say(f"AUTH PLAIN {secret}\r\n", b"235")
    for number in numbers:
        await say(
            f"MAIL FROM:<anna@example.org>\r\nRCPT TO:<k{number}@outside.example>\r\nDATA\r\n",
            b"250", b"250", b"354",
        )  # fmt: skip
        await say(
            f"From: anna@example.org\r\nTo: k{number}@outside.example\r\nSubject: {number}\r\n"
            "Date: Sun, 22 Nov 2026 23:23:06 +0000\r\n"
            f"Message-ID: <{number}.{server.port}@client.example>\r\n\r\n{BODY}.\r\n",
            b"250",
        )
    writer.write(b"QUIT\r\n")
    writer.close()


async def load(server, numbers, connections):
    """Each connection sends 50 mails and is followed by another, `connections` at a time. A number
    is sent once: Postfach takes the same mail again for a retry, and does not send it twice."""
    batches = [numbers[n : n + 50] for n in range(0, len(numbers), 50)]

    async def lane():
        while batches:
            await connection(server, batches.pop())

    await asyncio.gather(*(lane() for _ in range(connections)))


def measure(kind, options):
    folder = pathlib.Path(tempfile.mkdtemp(prefix=f"bench-{kind.name}-", dir="/var/tmp"))
    sink = Sink(folder)
    server = kind(folder, sink)
    try:
        asyncio.run(load(server, range(100), 2))  # warm
        while sink.count() < 100:
            time.sleep(0.05)
        before, cpu = time.monotonic(), cpu_seconds(server.process.pid)
        asyncio.run(load(server, range(100, 100 + options.count), options.connections))
        accepted = time.monotonic()
        while sink.count() < options.count + 100:
            time.sleep(0.02)
            if time.monotonic() > before + 300:
                raise RuntimeError(f"only {sink.count()} of {options.count + 100} came out")
        done = time.monotonic()
        cpu = cpu_seconds(server.process.pid) - cpu
        return {
            "accepted": options.count / (accepted - before),
            "through": options.count / (done - before),
            "cpu": cpu * 1000 / options.count,
        }
    finally:
        server.stop()
        sink.stop()
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--connections", type=int, default=10)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    missing = [name for name in ("postfix", "smtp-sink") if not shutil.which(name)]
    if missing:
        sys.exit(f"missing: {' '.join(missing)}; apt-get install postfix")
    results = {Postfix: [], Postfach: []}
    for _ in range(options.runs):
        for kind, found in results.items():
            found.append(measure(kind, options))
            print(kind.name, found[-1], file=sys.stderr)
    rows = [
        ("accepted, C=%d" % options.connections, "msg/s", "accepted", 1),
        ("accepted and at the sink", "msg/s", "through", 1),
        ("server CPU", "ms/msg", "cpu", -1),
    ]
    print("| measure | unit | postfix | postfach | times better |\n|---|---|---|---|---|")
    for what, unit, key, sign in rows:
        theirs, ours = (statistics.median(r[key] for r in results[k]) for k in (Postfix, Postfach))
        print(f"| {what} | {unit} | {theirs:,.2f} | {ours:,.2f} | {(ours / theirs) ** sign:.1f} |")


if __name__ == "__main__":
    main()
