"""Puts the rig's results side by side: `ratios.py RESULTS.json... [SESSIONS.json]` prints, for each
measure that has a target, the median of both servers, their ratio, and whether the target is met.
"""

import json
import statistics
import sys

OURS = "postfach"
# measure of mailrig, what is better, target as (kind, bound)
TARGETS = [
    ("inbound 4 KB C=1 rate", "more", None),
    ("inbound 4 KB C=10 rate", "more", ("times", 5)),
    ("inbound 4 KB C=50 rate", "more", ("times", 5)),
    ("inbound mix C=10 rate", "more", ("times", 5)),
    ("inbound mix C=50 rate", "more", ("times", 5)),
    ("inbound 4 KB C=10 server CPU", "less", ("value", 0.6)),
    ("inbound 4 KB C=50 server CPU", "less", ("value", 0.6)),
    ("inbound mix C=10 server CPU", "less", ("value", 0.6)),
    ("inbound mix C=50 server CPU", "less", ("value", 0.6)),
    ("inbound missing after 250", "less", ("value", 0)),
    ("outsider can open shared mailbox", "less", ("value", 0)),
    ("idle K=1000 PSS per connection", "less", ("value", 19)),
    ("fan-out K=1000 p50", "less", None),
    ("fan-out K=1000 p99", "less", ("value", 50)),
    ("cold LOGIN+SELECT 100k", "less", None),
    ("warm UID FETCH 1:* (FLAGS)", "less", ("times", 2)),
    ("warm Thunderbird header listing", "less", ("times", 2)),
    ("warm FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)", "less", ("times", 2)),
    ("full BODY.PEEK[] throughput", "more", None),
    ("single BODY.PEEK[] p50", "less", None),
    ("SEARCH SUBJECT warm", "less", None),
    ("SEARCH BODY warm", "less", None),
    ("SEARCH TEXT warm", "less", None),
    ("flag propagation from OK p50", "less", None),
    ("flag propagation from OK p99", "less", ("value", 20)),
    ("flag propagation missing", "less", ("value", 0)),
    ("other user's \\Seen leaks", "less", ("value", 0)),
    ("STORE \\Flagged C=10 rate", "more", None),
    ("APPEND 4 KB private C=10 rate", "more", None),
    ("login plain C=10 rate", "more", None),
    ("login TLS C=10 rate", "more", None),
]
SESSION_TARGETS = {
    "plain: memory": 19,
    "TLS: memory": 40,
    "plain: told, p99": 50,
    "silent connections": 100,
}


def median_of(samples, server, name):
    values = [s["value"] for s in samples if s["server"] == server and s["metric"] == name]
    return statistics.median(values) if values else None


def verdict(target, ours, ratio):
    if target is None:
        return ""
    kind, bound = target
    if kind == "times":
        good = ratio is not None and ratio >= bound
        return f"{'met' if good else '**missed**'} (≥ {bound} times)"
    return f"{'met' if ours <= bound else '**missed**'} (≤ {bound})"


def row(name, unit, peer, ours, better, target):
    ratio = None
    if peer and ours:
        ratio = ours / peer if better == "more" else peer / ours
    shown = f"{ratio:.1f}" if ratio is not None else "–"
    values = ["–" if v is None else f"{v:,.2f}" if v < 10 else f"{v:,.0f}" for v in (peer, ours)]
    judged = verdict(target, ours, ratio)
    print(f"| {name} | {unit} | {values[0]} | {values[1]} | {shown} | {judged} |")


def main():
    files = [json.load(open(path)) for path in sys.argv[1:]]
    samples = [s for f in files if "samples" in f for s in f["samples"]]
    peer = next(s["server"] for s in samples if s["server"] != OURS)
    units = {s["metric"]: s["unit"] for s in samples}
    print(
        f"| measure | unit | {peer} | {OURS} | times better | target |\n|---|---|---|---|---|---|"
    )
    for name, better, target in TARGETS:
        ours = median_of(samples, OURS, name)
        if ours is not None:
            row(name, units[name], median_of(samples, peer, name), ours, better, target)
    for found in (f for f in files if "samples" not in f):
        for name, ours in found.get(OURS, {}).items():
            bound = next((b for part, b in SESSION_TARGETS.items() if part in name), None)
            target = bound and ("value", bound)
            theirs = found.get(peer, {}).get(name)
            row(
                name.rpartition(" (")[0],
                name.rpartition(" (")[2][:-1],
                theirs,
                ours,
                "less",
                target,
            )
    for failure in (x for f in files for x in f.get("failures", [])):
        print(f"\nfailed: {failure['server']} test {failure['test']}: {failure['error']}")


main()
