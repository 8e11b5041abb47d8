"""The directory changes while clients are connected: grants appear, revocations close."""

import os
import re
import time

from harness import equal, until
from imapclient.exceptions import IMAPClientError

WITHIN_SECONDS = 1.0


def written(demo, text):
    """Replaces directory.toml in one step: the daemon may be reading it for an earlier signal."""
    with open(demo.directory_toml + ".new", "w") as file:
        file.write(text)
    os.replace(demo.directory_toml + ".new", demo.directory_toml)
    demo.reload()


def directory_text(demo):
    with open(demo.directory_toml) as file:
        return file.read()


def without(login, team):
    """Takes a login out of the members of a team."""

    def change(text):
        blocks = re.split(r"(?m)^(?=\[\[)", text)
        for i, block in enumerate(blocks):
            if block.startswith("[[team]]") and f'name = "{team}"' in block:
                blocks[i] = re.sub(rf'"{login}",\s*|,?\s*"{login}"', "", block)
        return "".join(blocks)

    return change


def sees(client, name):
    return any(found == name for _, _, found in client.list_folders(pattern=name))


def test_revoked_right_ends_in_an_open_session_within_a_second(demo):
    saved = directory_text(demo)
    changed_text = without("anna", "support")(saved)
    assert changed_text != saved, "anna is not a member of support"
    try:
        with demo.imap("anna") as anna, demo.imap("anna") as idle, demo.imap("ben") as ben:
            anna.select_folder("Shared/Support")
            ben.select_folder("Shared/Support")
            idle.select_folder("Shared/Support")
            idle.idle()
            changed = time.monotonic()
            written(demo, changed_text)
            told = idle.idle_check(timeout=5)
            idle_delay = time.monotonic() - changed
            idle.idle_done()
            assert "CLOSED" in str(told), f"told in IDLE: {told}"
            until(lambda: not sees(anna, "Shared/Support"), "the inbox is gone from LIST")
            delay = time.monotonic() - changed
            try:
                anna.fetch("1:*", ["FLAGS"])
            except IMAPClientError:
                pass
            else:
                raise AssertionError("FETCH still works after the revocation")
            try:
                anna.select_folder("Shared/Support")
            except IMAPClientError:
                pass
            else:
                raise AssertionError("SELECT still works after the revocation")
            assert max(delay, idle_delay) < WITHIN_SECONDS, (delay, idle_delay)
            assert ben.search("ALL"), "ben's session was hit as well"
            changed = time.monotonic()
            written(demo, saved)
            until(lambda: sees(anna, "Shared/Support"), "the inbox is back in LIST")
            granted = time.monotonic() - changed
            anna.select_folder("Shared/Support")
            assert granted < WITHIN_SECONDS, granted
        revoked = max(delay, idle_delay)
        return f"revoked after {revoked * 1e3:.0f} ms, granted after {granted * 1e3:.0f} ms"
    finally:
        written(demo, saved)


def test_faulty_directory_is_refused_and_the_old_one_stays(demo):
    saved = directory_text(demo)
    seen = len(demo.log())
    try:
        written(demo, saved + "\n[[inbox]]\nname = 7\n")
        line = saved.count("\n") + 3
        until(lambda: re.search(rf"\b{line}\b", demo.log()[seen:]), f"line {line} in the log")
        with demo.imap("anna") as anna:
            anna.select_folder("Shared/Support")
    finally:
        written(demo, saved)
        time.sleep(0.5)
    equal(demo.process.poll(), None, "the daemon's exit code")
