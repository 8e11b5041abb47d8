#!/usr/bin/env python3
"""Deliveries and the way of a wake-up on PostgreSQL beside the embedded engine, in one run.

    cargo build --release && benches/nodes.py [--rounds 3] [--messages 4500]

Postfix's smtp-source sends mails of 4 KB with 50 connections, 90 mails each (100 are the limit): to one node on the
embedded store, to one node on a private PostgreSQL (fsync on), and to three nodes on it at once.
Then a session that idles on one node is told of mail that another takes. Prints a table.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
os.environ.setdefault("POSTFACH_BIN", str(HERE.parent / "target/release/postfach"))
sys.path[:0] = [str(HERE.parent / "tests/nodes")]
from database import Database  # noqa: E402
from node import SUPPORT, Set  # noqa: E402

CONNECTIONS = 50
BYTES = 4096
# below what one connection may send: 100 mails
WAKES = 90


def embedded(node):
    """The same node, on its own store."""
    text = node.config.read_text()
    at = text.index("[store]")
    node.config.write_text(text[:at] + text[text.index("[outbound]"):])


def deliver(nodes, messages):
    """Messages a second, over all nodes."""
    share = CONNECTIONS // len(nodes)
    each = messages // len(nodes) // share * share
    start = time.monotonic()
    sending = [
        subprocess.Popen(
            ["smtp-source", "-d", "-s", str(share), "-m", str(each), "-l", str(BYTES),
             "-f", "kundin@example.net", "-t", "support@example.org",
             f"127.0.0.1:{node.ports['smtp']}"],
            stdout=subprocess.DEVNULL,
        )
        for node in nodes
    ]  # fmt: skip
    assert all(one.wait() == 0 for one in sending), "smtp-source failed"
    return each * len(nodes) / (time.monotonic() - start)


def cpu_ms(processes):
    """User and system time of processes and what they have forked, so far."""
    ticks = 0
    for process in processes:
        for pid in [process.pid, *children(process.pid)]:
            try:
                fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
            except FileNotFoundError:
                continue
            ticks += sum(int(field) for field in fields[11:15])
    return ticks * 1000 / os.sysconf("SC_CLK_TCK")


def children(pid):
    done = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True)
    return [int(line) for line in done.stdout.split()]


def stored(node):
    with node.imap("anna") as client:
        return client.folder_status(SUPPORT, ["MESSAGES"])[b"MESSAGES"]


def measure(name, nodes, processes, arguments):
    """Rates of each round; the middle one counts."""
    deliver(nodes, 500)  # warm
    before, count, rates = cpu_ms(processes), stored(nodes[0]), []
    for _ in range(arguments.rounds):
        rates.append(deliver(nodes, arguments.messages))
    came = stored(nodes[-1]) - count
    spent = (cpu_ms(processes) - before) / came
    share = CONNECTIONS // len(nodes) * len(nodes)
    expected = arguments.messages // len(nodes) // (share // len(nodes)) * share
    assert came == expected * arguments.rounds, f"{name}: {came} came, {expected} a round were sent"
    return name, statistics.median(rates), spent


def wakes(sender, reader):
    """Seconds from the 250 to EXISTS, ascending."""
    waits = []
    with reader.imap("ben", SUPPORT) as client, sender.smtp() as smtp:
        client.idle()
        for number in range(WAKES):
            sender.deliver(f"wake-{number}-{time.time()}", "support@example.org", smtp=smtp)
            start = time.monotonic()
            while not any(b"EXISTS" in part for told in client.idle_check(5) for part in told
                          if isinstance(part, bytes)):
                pass
            waits.append(time.monotonic() - start)
        client.idle_done()
    return sorted(waits)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=4500)
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="postfach-bench-nodes-", dir="/var/tmp")
    rows = []
    database = Database(fsync="on")
    try:
        alone = Set(os.path.join(folder, "embedded"), database, 9, count=1)
        embedded(alone.nodes[0])
        alone.start()
        rows.append(measure("embedded", alone.nodes, [alone.nodes[0].process], arguments))
        own = wakes(alone.nodes[0], alone.nodes[0])
        alone.stop()
        for count in (1, 3):
            database.create(f"n{count}")
            nodes = Set(os.path.join(folder, f"n{count}"), database, 9, count, f"n{count}")
            nodes.start()
            processes = [node.process for node in nodes.nodes] + [database.process]
            name = f"PostgreSQL, {count} node" + ("s" if count > 1 else "")
            rows.append(measure(name, nodes.nodes, processes, arguments))
            if count > 1:
                across = wakes(nodes.nodes[0], nodes.nodes[1])
            nodes.stop()
    finally:
        database.stop()
        shutil.rmtree(folder, ignore_errors=True)
    base = rows[0][1]
    print(f"| 4 KB, C={CONNECTIONS} | msg/s | of embedded | CPU, ms/msg |\n|---|---|---|---|")
    for name, rate, spent in rows:
        print(f"| {name} | {rate:,.0f} | {100 * rate / base:.0f} % | {spent:.2f} |")
    for name, waits in (("embedded, same node", own), ("PostgreSQL, from node to node", across)):
        p50, p99 = waits[len(waits) // 2] * 1000, waits[int(len(waits) * 0.99)] * 1000
        print(f"told, {name}: median {p50:.1f} ms, p99 {p99:.1f} ms, most {waits[-1] * 1000:.1f} ms")


if __name__ == "__main__":
    main()
