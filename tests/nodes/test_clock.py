"""A node whose clock is wrong by hours: what ends at a time ends there when it does on all others."""

import contextlib
import glob
import os
import time

import imapclient
from node import SUPPORT, USERS, until

SKEWS = {"-2h": -7200, "+2h": 7200}
OPENED = "Other Users/ben/INBOX"
OPEN_SECONDS = 5
# A session or a delivery may come just before the end.
NOISE_SECONDS = 2


def library():
    """What Debian's package `faketime` has; without it there is no wrong clock."""
    found = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    return found[0] if found else None


@contextlib.contextmanager
def wrong(node, skew):
    """The node's clock is wrong from its next start on; its timers run as they should."""
    node.environment = {
        "LD_PRELOAD": library(), "FAKETIME": skew, "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    try:
        again(node)
        yield
    finally:
        node.environment = {}
        again(node)


def again(node):
    node.stop()
    node.spawn()
    node.await_start()


def sees(node, user, folder):
    client = node.imap(user)
    with contextlib.suppress(imapclient.exceptions.IMAPClientError, OSError):
        found = client.folder_exists(folder)
        client.logout()
        return found


def seen_ends(node, opened):
    """How long after it was opened the mailbox of ben was closed for erik at a node."""
    until(lambda: not sees(node, "erik", OPENED), "it is closed", 4 * OPEN_SECONDS)
    return time.monotonic() - opened


@contextlib.contextmanager
def super_admin(world, user):
    """The user is one meanwhile, on all nodes."""
    node, usual = world.set.nodes[0], world.set.directory(USERS)
    login = f'login = "{user}"\n'
    for text in (usual.replace(login, login + 'role = "super-admin"\n'), usual):
        time.sleep(1.1)
        node.declare(text)
        node.reload()
        until(lambda t=text: published(world) == t.strip(), "the directory is published", 5)
        if text is not usual:
            yield


def test_break_glass_ends_on_a_node_whose_clock_is_wrong(world):
    with super_admin(world, "erik"):
        return break_glass(world)


def break_glass(world):
    right, other = world.set.nodes[:2]
    ends = []
    for skew in SKEWS:
        with wrong(other, skew):
            right.run(
                "break-glass", "--user", "erik", "--mailbox-of", "ben", "--reason", "x",
                "--for", f"{OPEN_SECONDS}s",
            )  # fmt: skip
            opened = time.monotonic()
            until(lambda: sees(other, "erik", OPENED), "it is open", 3)
            assert sees(right, "erik", OPENED)
            ends.append(seen_ends(other, opened))
            assert not sees(right, "erik", OPENED), "on both at once"
            assert "this machine's clock is not the database's" in other.log()
    assert all(OPEN_SECONDS - 1 <= end <= OPEN_SECONDS + NOISE_SECONDS for end in ends), ends
    return "closed after " + ", ".join(f"{end:.1f} s" for end in ends)


def test_what_is_taken_away_is_taken_also_by_a_node_whose_clock_is_wrong(world):
    right, other = world.set.nodes[:2]
    without = [user for user in USERS if user != "dora"]
    for skew in SKEWS:
        with wrong(other, skew):
            # one that is fast publishes, and what it published is replaced later
            time.sleep(1.1)
            mark = f"by the wrong clock {skew}"
            other.declare(world.set.directory(USERS) + f"# {mark}\n")
            # as that machine's clock has it
            at = time.time() + SKEWS[skew]
            os.utime(other.folder / "directory.toml", (at, at))
            other.reload()
            if SKEWS[skew] > 0:
                until(lambda m=mark: m in published(world), "it is published", 5)
            else:
                # it looks old, and what is old must not bring anything back
                until(lambda: "not in force" in other.log(), "it is told", 5)
            time.sleep(1.1)
            right.declare(world.set.directory(without) + f"# {skew}\n")
            right.reload()
            for node in (right, other):
                gone = lambda n=node: not sees(n, "dora", SUPPORT)  # noqa: E731
                until(gone, f"dora loses it at {node.name}", 3)
            time.sleep(1.1)
            right.declare(world.set.directory(USERS) + f"# back {skew}\n")
            right.reload()
            until(lambda: sees(other, "dora", SUPPORT), "dora is back", 5)


def test_mail_bears_the_databases_time_wherever_it_comes_in(world):
    right, other = world.set.nodes[:2]
    for skew in SKEWS:
        with wrong(other, skew):
            other.deliver(f"clock-{skew}", "support@example.org")
            client = right.imap("anna", SUPPORT)
            found = until(
                lambda c=client, s=skew: c.noop() and c.search(["SUBJECT", f"clock-{s}"]), "a mail"
            )
            at = client.fetch(found, ["INTERNALDATE"])[found[0]][b"INTERNALDATE"]
            away = abs(time.mktime(at.timetuple()) - time.time())
            assert away < 60, (skew, at)


def published(world):
    return world.database.ask("SELECT convert_from(text, 'UTF8') FROM directory")
