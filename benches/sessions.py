"""What mailrig does not measure: idle sessions in the mailbox of 100,000, plain and over TLS, and a
login beside 200 silent connections. One server at a time, described by a mailrig server file:

    sessions.py SERVER.toml [SERVER.toml ...] [--sessions 1000] [--out FILE.json]
"""

import argparse
import asyncio
import json
import os
import random
import smtplib
import ssl
import statistics
import subprocess
import time
import tomllib

AT_ONCE = 16
SILENT = 200
LOGINS = 5
DELIVERIES = 5
SETTLE_SECONDS = 3
TOLD_SECONDS = 40


def process_tree(root):
    children = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/stat") as file:
                parent = int(file.read().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(entry))
    found, queue = [], [root]
    while queue:
        process = queue.pop()
        found.append(process)
        queue += children.get(process, [])
    return found


def pss_kib(root):
    total = 0
    for process in process_tree(root):
        try:
            with open(f"/proc/{process}/smaps_rollup") as file:
                total += next(int(x.split()[1]) for x in file if x.startswith("Pss:"))
        except (OSError, StopIteration):
            pass
    return total


def no_verification():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Session:
    """One IMAP client, as little as IDLE needs."""

    async def open(self, server, number, tls):
        port = server["imaps_port"] if tls else server["imap_port"]
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=no_verification() if tls else None, limit=1 << 16
        )
        await self.reader.readline()
        user = 1 + number % server["user_count"]
        await self.command(f"LOGIN u{user} pw{user}")

    async def command(self, text):
        """Gives the last EXISTS before the tagged OK."""
        exists = None
        self.writer.write(f"t {text}\r\n".encode())
        while True:
            line = await self.reader.readline()
            if not line or line.startswith((b"t NO", b"t BAD")):
                raise RuntimeError(f"{text}: {line!r}")
            if line.endswith(b" EXISTS\r\n"):
                exists = int(line.split()[1])
            if line.startswith((b"t OK", b"+")):
                return exists

    async def told(self):
        while True:
            line = await self.reader.readline()
            if not line:
                raise RuntimeError("closed")
            if b" EXISTS" in line:
                return time.monotonic()


def start(server, verb):
    environment = dict(os.environ)
    subprocess.run(server[verb], shell=True, check=True, env=environment, stdout=subprocess.DEVNULL)


def root_pid(server):
    with open(server["pid_file"]) as file:
        return int(file.read())


def deliver(server):
    kind = smtplib.LMTP if server["inbound"] == "lmtp" else smtplib.SMTP
    with kind("127.0.0.1", server["inbound_port"]) as client:
        client.ehlo_or_helo_if_needed()
        unique = f"{random.getrandbits(64):x}"
        header = f"From: k@example.net\r\nSubject: {unique}\r\nMessage-ID: <{unique}@x>\r\n"
        client.sendmail("k@example.net", [server["bulk_recipient"]], f"{header}\r\nHallo\r\n")
        return time.monotonic()


async def remove_newest(server, count):
    """Leaves the bulk mailbox as it was found."""
    session = Session()
    await session.open(server, 0, tls=False)
    exists = await session.command(f'SELECT "{server["bulk_mailbox"]}"')
    await session.command(f"STORE {exists - count + 1}:{exists} +FLAGS.SILENT (\\Deleted)")
    await session.command("EXPUNGE")
    await session.command("LOGOUT")


async def idle(server, count, tls):
    """Memory per session and the time until the last of all is told of a delivery."""
    start(server, "stop_cmd")
    start(server, "start_cmd")
    first = Session()
    await first.open(server, 0, tls)  # so that the mailbox itself is in memory before
    await first.command(f'SELECT "{server["bulk_mailbox"]}"')
    await first.command("IDLE")
    await asyncio.sleep(SETTLE_SECONDS)
    before = pss_kib(root_pid(server))
    gate, sessions = asyncio.Semaphore(AT_ONCE), [Session() for _ in range(count)]

    async def bring(number, session):
        async with gate:
            await session.open(server, number, tls)
            await session.command(f'SELECT "{server["bulk_mailbox"]}"')
            await session.command("IDLE")

    await asyncio.gather(*(bring(n, s) for n, s in enumerate(sessions)))
    await asyncio.sleep(SETTLE_SECONDS)
    per_session = (pss_kib(root_pid(server)) - before) / count
    delays = []
    for _ in range(DELIVERIES):
        telling = [asyncio.create_task(s.told()) for s in sessions]
        await asyncio.sleep(1)
        accepted = await asyncio.to_thread(deliver, server)
        done, late = await asyncio.wait(telling, timeout=TOLD_SECONDS)
        delays += [max(0, t.result() - accepted) for t in done] + [TOLD_SECONDS] * len(late)
        for task in late:
            task.cancel()
    for session in [first, *sessions]:
        session.writer.transport.abort()
    await remove_newest(server, DELIVERIES)
    delays.sort()
    kind = "TLS" if tls else "plain"
    name = f"{count} idle sessions in the bulk mailbox, {kind}"
    return {
        f"{name}: memory each (KiB)": per_session,
        f"{name}: told, median (ms)": statistics.median(delays) * 1e3,
        f"{name}: told, p99 (ms)": delays[int(len(delays) * 0.99)] * 1e3,
    }


async def silent(server):
    """How long logins take while others of the same address are connected and say nothing."""
    start(server, "stop_cmd")
    start(server, "start_cmd")
    mute = [await asyncio.open_connection("127.0.0.1", server["imap_port"]) for _ in range(SILENT)]
    await asyncio.sleep(1)
    times = []
    for _ in range(LOGINS):
        began = time.monotonic()
        session = Session()
        await session.open(server, 1, False)
        times.append(time.monotonic() - began)
        session.writer.transport.abort()
    for _, writer in mute:
        writer.transport.abort()
    return {f"login beside {SILENT} silent connections, worst (ms)": max(times) * 1e3}


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("servers", nargs="+")
    arguments.add_argument("--sessions", type=int, default=1000)
    arguments.add_argument("--out")
    chosen = arguments.parse_args()
    results = {}
    for path in chosen.servers:
        with open(path, "rb") as file:
            server = tomllib.load(file)
        found = results[server["name"]] = {}
        for step in (
            silent(server),
            idle(server, chosen.sessions, tls=False),
            idle(server, chosen.sessions, tls=True),
        ):
            try:
                found.update(await step)
            except Exception as error:
                found[f"failed: {error}"] = float("nan")
        for name, value in found.items():
            print(f"{server['name']:<28} {name:<66} {value:10.1f}", flush=True)
    if chosen.out:
        with open(chosen.out, "w") as file:
            json.dump(results, file, indent=1)


if __name__ == "__main__":
    asyncio.run(main())
