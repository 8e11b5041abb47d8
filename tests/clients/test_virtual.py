"""`Mine` and `All open`: one folder to watch for all inboxes, and what is done there is done."""

import contextlib
import os
import time

import imapclient
from harness import command, equal, until
from test_conversations import DONE, SUPPORT, assigned, customer, found, move
from test_idle import told_of_new_mail
from test_mbsync import CONFIG as MBSYNC
from test_mbsync import local
from test_mutt import CONFIG as MUTT
from test_mutt import Terminal
from test_revocation import directory_text, without, written
from test_sending import unique

ALL_OPEN = "All open"
RINGS_SECONDS = 1.0


@contextlib.contextmanager
def switched_on(demo):
    saved = directory_text(demo)
    try:
        written(demo, 'virtual = ["mine", "all-open"]\n' + saved)
        with demo.imap("ben") as client:
            until(lambda: client.folder_exists("Mine"), "the switch")
        yield saved
    finally:
        written(demo, saved)


def test_all_open_rings_for_every_inbox(demo):
    with switched_on(demo), demo.imap("ben") as ben:
        ben.select_folder(ALL_OPEN)
        ben.idle()
        delays = []
        for inbox in ("Support", "Sales") * 3:
            accepted = demo.mail(demo.address(inbox), subject=unique(inbox))
            delays.append(told_of_new_mail(ben, 5) - accepted)
        ben.idle_done()
        assert max(delays) < RINGS_SECONDS, delays
    return f"rings after {max(delays) * 1e3:.1f} ms at most"


def test_what_is_done_in_all_open_is_done(demo):
    word = unique("Offen")
    with switched_on(demo), demo.imap("ben") as ben, demo.imap("anna") as anna:
        first = customer(demo, f"{word} eins")
        customer(demo, f"{word} zwei", [first])
        ben.select_folder(ALL_OPEN)
        uids = ben.search(["SUBJECT", word], "UTF-8")
        equal(len(uids), 2, "both are open")
        ben.add_flags(uids[:1], [imapclient.SEEN, imapclient.FLAGGED])
        anna.select_folder(ALL_OPEN)
        flags = anna.get_flags(anna.search(["SUBJECT", f"{word} eins"], "UTF-8"))
        told = [(imapclient.SEEN in f, imapclient.FLAGGED in f) for f in flags.values()]
        equal(told, [(False, True)], "flagged for all, seen for ben")
        ben.move(uids[:1], assigned("anna"))
        anna.select_folder("Mine")
        equal(len(anna.search(["SUBJECT", word], "UTF-8")), 2, "the conversation is anna's")
        ben.noop()
        equal(len(ben.search(["SUBJECT", word], "UTF-8")), 2, "and still open")
        anna.move(anna.search(["SUBJECT", word], "UTF-8")[:1], DONE)
        ben.noop()
        equal(len(ben.search(["SUBJECT", word], "UTF-8")), 0, "it is done")
        equal(len(found(demo, DONE, word)), 2, "both in Done")


def test_a_revoked_inbox_vanishes_at_once(demo):
    word = unique("Weg")
    with switched_on(demo), demo.imap("anna") as anna:
        on = directory_text(demo)
        customer(demo, word)
        anna.select_folder(ALL_OPEN)
        equal(len(anna.search(["SUBJECT", word], "UTF-8")), 1, "it is there")
        anna.idle()
        changed = time.monotonic()
        written(demo, without("anna", "support")(on))
        told = []
        until(lambda: told.extend(anna.idle_check(timeout=0.2)) or told, "EXPUNGE")
        delay = time.monotonic() - changed
        assert any(kind == b"EXPUNGE" for _, kind in told), told
        anna.idle_done()
        equal(len(anna.search(["SUBJECT", word], "UTF-8")), 0, "it is gone")
        written(demo, on)
        until(lambda: anna.noop() and anna.search(["SUBJECT", word], "UTF-8"), "it is back")
    return f"gone after {delay * 1e3:.0f} ms"


def mbsync(home):
    command("mbsync", "--config", os.path.join(home, "mbsyncrc"), "all", seconds=50)


def test_mbsync_keeps_mine_in_step(demo):
    word = unique("Meine")
    home = os.path.join(demo.directory, "mbsync-mine")
    os.makedirs(os.path.join(home, "mail"))
    settings = {"port": demo.ports["imaps"], "password": demo.password("ben"), "ca": demo.ca_pem}
    text = MBSYNC.format(maildir=os.path.join(home, "mail"), **settings)
    patterns = "Patterns INBOX Shared/Support Shared/Support/Done"
    assert patterns in text
    with open(os.path.join(home, "mbsyncrc"), "w") as file:
        file.write(text.replace(patterns, "Patterns Mine"))
    with switched_on(demo):
        first = customer(demo, f"{word} eins")
        other = customer(demo, f"{word} anderes")
        move(demo, "anna", SUPPORT, f"{word} eins", assigned("ben"))
        move(demo, "anna", SUPPORT, f"{word} anderes", assigned("ben"))
        mbsync(home)
        here = {s: p for s, p in local(home, "Mine").items() if word in s}
        equal(set(here), {f"{word} eins", f"{word} anderes"}, "what is ben's")
        # read the one, throw the other away
        path = here[f"{word} eins"]
        folder = os.path.join(home, "mail", "Mine", "cur")
        name = os.path.basename(path).split(":")[0]
        os.rename(path, os.path.join(folder, name + ":2,FS"))
        os.remove(here[f"{word} anderes"])
        mbsync(home)
        with demo.imap("ben") as ben:
            ben.select_folder(assigned("ben"))
            flags = ben.get_flags(ben.search(["SUBJECT", word], "UTF-8"))
            equal(len(flags), 1, "where it lies")
            assert all({imapclient.SEEN, imapclient.FLAGGED} <= set(f) for f in flags.values())
        equal(len(found(demo, SUPPORT + "/Trash", f"{word} anderes")), 1, "in the team's Trash")
        customer(demo, f"{word} zwei", [first])
        move(demo, "anna", assigned("ben"), f"{word} eins", DONE)
        customer(demo, f"{word} drei", [first])
        mbsync(home)
        mbsync(home)
        here = {s for s in local(home, "Mine") if word in s}
        equal(here, {f"{word} {n}" for n in ("eins", "zwei", "drei")}, "open again")
        assert other


def test_mutt_watches_all_open(demo):
    word = unique("Wache")
    home = os.path.join(demo.directory, "mutt-open")
    os.makedirs(home)
    settings = {"login": "ben", "port": demo.ports["imaps"], "password": demo.password("ben")}
    with open(os.path.join(home, "rc"), "w") as file:
        text = MUTT.format(ca=demo.ca_pem, home=home, box=ALL_OPEN, **settings)
        file.write(text + "set imap_idle=yes sort=reverse-date-received\n")
    with switched_on(demo):
        demo.mail(demo.address("Support"), subject=f"{word} eins")
        terminal = Terminal(home, "mutt", "-n", "-F", os.path.join(home, "rc"))
        try:
            terminal.shows(f"[{word} eins]")
            demo.mail(demo.address("Sales"), subject=f"{word} zwei")
            terminal.shows(f"[{word} zwei]", 5)
            terminal.keys("/", f"{word} eins", "Enter", "s", "C-u", f"={DONE}", "Enter")
            until(lambda: len(found(demo, DONE, word)) == 1, "saved into Done")
            terminal.keys("$")
            until(lambda: f"{word} eins" not in terminal.screen(), "gone from the screen")
        finally:
            terminal.close()
        equal(len(found(demo, SUPPORT + "/Trash", word)), 0, "in the Trash")
