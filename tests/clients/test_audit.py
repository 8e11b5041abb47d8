"""Who did what, as an operator reads it; what is deleted and comes back; who is away; a mailbox that
is opened for a moment."""

import contextlib
import imaplib
import json
import os
import subprocess

from harness import command, equal, until
from imapclient.exceptions import IMAPClientError
from test_conversations import DONE, SUPPORT, answer, assigned, customer, found, move
from test_sending import unique

TRASH = SUPPORT + "/Trash"


def postfach(demo, *arguments, check=0):
    config = os.path.join(demo.home, "postfach.toml")
    return command(demo.binary, *arguments, "--config", config, check=check)


def log(demo, *arguments):
    """The entries, each with its number, time and hash."""
    lines = postfach(demo, "audit", "--json", *arguments).splitlines()
    return [json.loads(line) for line in lines]


def deeds(demo, message, *arguments):
    """What was done with a message, and by whom."""
    told = [line["entry"] for line in log(demo, "--inbox", "Support", *arguments)]
    told = [entry for entry in told if message in entry.get("messages", [])]

    def by(entry):
        return entry["by"]["user"]["login"] if isinstance(entry["by"], dict) else entry["by"]

    return [(entry["deed"], by(entry)) for entry in told]


def last_message(demo):
    return max(m for line in log(demo) for m in line["entry"].get("messages", [0]))


def expunge(demo, login, folder, subject):
    with demo.imap(login) as client:
        client.select_folder(folder)
        uids = client.search(["SUBJECT", subject], "UTF-8")
        client.add_flags(uids, [b"\\Deleted"])
        client.uid_expunge(uids)


def test_everything_that_is_done_with_a_mail_is_told(demo):
    word = unique("Akte")
    customer(demo, word)
    with demo.imap("anna") as anna:
        anna.id_({"name": "Reader", "version": "7"})
        anna.select_folder(SUPPORT)
        anna.move(anna.search(["SUBJECT", word], "UTF-8"), assigned("ben"))
    message = last_message(demo)
    expunge(demo, "ben", assigned("ben"), word)
    move(demo, "anna", TRASH, word, SUPPORT)
    move(demo, "ben", assigned("ben"), word, DONE)
    expected = [("assign", "anna"), ("delete", "ben"), ("restore", "anna"), ("close", "ben")]
    equal(deeds(demo, message), expected, "the way of one message")
    equal(deeds(demo, message, "--user", "anna"), [expected[0], expected[2]], "what anna did")
    entry = next(x["entry"] for x in log(demo, "--user", "anna") if x["entry"]["deed"] == "assign"
                 and message in x["entry"]["messages"])  # fmt: skip
    person = entry["by"]["user"]
    equal((person["client"], person["peer"]), ("Reader 7", "127.0.0.1"), "with what, from where")
    assert word not in postfach(demo, "audit"), "subjects are not in the log"
    until(lambda: any(x["entry"]["deed"] == "login" and x["entry"]["by"]["user"].get("session")
                      == person["session"] for x in log(demo)), "the login is told")  # fmt: skip
    equal(log(demo, "--since", "2030-01-01"), [], "of the future nothing")


def test_the_log_verifies_and_anybody_can_check_an_export(demo):
    first = postfach(demo, "audit", "verify")
    assert "all as they were written" in first, first
    noted = first.split("the hash ")[1].split()[0]
    assert "all as they were" in postfach(demo, "audit", "verify", "--noted", noted)
    postfach(demo, "audit", "verify", "--noted", "00" * 32, check=1)
    before = b"\0" * 32
    for line in postfach(demo, "audit", "--json").splitlines():
        text = line[line.index('"entry":') + len('"entry":') : -1]
        digest = subprocess.run(["sha256sum"], input=before + text.encode(), capture_output=True)
        equal(json.loads(line)["hash"], digest.stdout.split()[0].decode(), f"hash of {line}")
        before = bytes.fromhex(json.loads(line)["hash"])
        if json.loads(line)["id"] >= 40:  # by then the principle is clear
            break


def test_an_admin_who_reads_a_private_channel_is_told_once(demo):
    with demo.imap("carla") as carla:
        for _ in range(3):
            carla.select_folder("Other Users/anna/Anna Sales", readonly=True)
    with demo.imap("anna") as anna:
        anna.select_folder("Private/Anna Sales")
    told = log(demo, "--channel", "Anna Sales")
    told = [x["entry"] for x in told if x["entry"]["deed"] == "read"]
    carlas = [e for e in told if e["by"]["user"]["login"] == "carla"]
    # once for each session and folder; other tests have read here, too
    once = {(e["by"]["user"]["session"], e["from"]) for e in carlas}
    assert len(carlas) == len(once) >= 1, carlas
    logins = {e["by"]["user"]["login"] for e in told}
    assert "anna" not in logins, "its owner reads without a word"


def test_restore_brings_back_what_one_colleague_deleted(demo):
    word = unique("Versehen")
    customer(demo, f"{word} offen")
    kept = customer(demo, f"{word} vergeben")
    move(demo, "anna", SUPPORT, f"{word} vergeben", assigned("anna"))
    expunge(demo, "ben", SUPPORT, f"{word} offen")
    expunge(demo, "anna", assigned("anna"), f"{word} vergeben")
    equal(len(found(demo, TRASH, word)), 2, "both are in the Trash")
    dry = postfach(demo, "restore", "--inbox", "support", "--message-id", kept, "--dry-run")
    assert "by anna: → Assigned/anna" in dry and "nothing was changed" in dry, dry
    equal(len(found(demo, TRASH, word)), 2, "still")
    told = postfach(demo, "restore", "--inbox", "Support", "--message-id", kept)
    assert "1 message restored" in told, told
    flags = found(demo, assigned("anna"), word)
    assert [b"$assigned-anna" in f for f in flags.values()] == [True], flags
    postfach(demo, "restore", "--inbox", "Support", "--deleted-by", "ben", "--since", "2026-01-01")
    equal(len(found(demo, SUPPORT, word)), 1, "what was open is open")
    equal(len(found(demo, TRASH, word)), 0, "the Trash has neither")
    postfach(demo, "restore", "--inbox", "Nirgends", check=1)


def test_a_reply_to_a_colleague_who_is_away_goes_to_nobody(demo):
    word = unique("Urlaub")
    first = customer(demo, word)
    reply = answer(demo, "ben", f"Re: {word}", [first])
    equal(len(found(demo, assigned("ben"), word)), 1, "ben has it")
    try:
        assert "ben is away" in postfach(demo, "away", "ben", "--until", "2099-12-05")
        assert "ben until 2099-12-06" in postfach(demo, "away")
        customer(demo, f"{word} nochmals", [first, reply])
        equal(len(found(demo, assigned("ben"), word)), 0, "none of it with ben")
        equal(len(found(demo, SUPPORT, word)), 2, "all of it with everybody")
        told = [x["entry"] for x in log(demo, "--inbox", "Support")][-1]
        equal((told["deed"], told["by"], told["about"]), ("unassign", "delivery", "ben"), "told")
    finally:
        postfach(demo, "away", "ben", "--off")
    move(demo, "anna", SUPPORT, word, assigned("ben"))
    customer(demo, f"{word} wieder", [first, reply])
    equal(len(found(demo, assigned("ben"), word)), 3, "back, and it sticks")
    postfach(demo, "away", "niemand", "--off", check=1)
    postfach(demo, "away", "ben", check=2)


def test_a_mailbox_is_open_for_a_moment_and_to_one_only(demo):
    word = unique("Glas")
    demo.mail("ben@example.org", subject=word)
    inbox = "Other Users/ben/INBOX"
    arguments = ["break-glass", "--mailbox-of", "ben", "--reason", f"{word} fehlt", "--for", "6s"]
    postfach(demo, *arguments, "--user", "carla", check=1)
    with demo.imap("erik") as erik, demo.imap("carla") as carla:
        assert not any(name.startswith("Other Users/ben/INBOX") for *_, name in erik.list_folders())
        told = postfach(demo, *arguments, "--user", "erik")
        assert "Other Users/ben" in told, told
        names = until(lambda: [n for *_, n in erik.list_folders(pattern="Other Users/ben/*")
                               if n == inbox] and [x for x in erik.list_folders()], "it is shown")
        sent = next(flags for flags, _, name in names if name == "Other Users/ben/Sent")
        assert b"\\Sent" not in sent, "it is not erik's own Sent"
        assert not any("INBOX" in n for *_, n in carla.list_folders(pattern="Other Users/ben/*"))
        with contextlib.suppress(imaplib.IMAP4.readonly):
            erik.select_folder(inbox)
            raise AssertionError("SELECT says that it could be written to")
        erik.select_folder(inbox, readonly=True)
        uids = erik.search(["SUBJECT", word], "UTF-8")
        equal(len(uids), 1, "ben's mail is there")
        body = erik.fetch(uids, ["BODY[TEXT]"])[uids[0]][b"BODY[TEXT]"]
        assert b"bitte um" in body, body
        for change in (
            lambda: erik.add_flags(uids, [b"\\Seen"]),
            lambda: erik.move(uids, "INBOX"),
            lambda: erik.append(inbox, b"Subject: x\r\n\r\nx\r\n"),
        ):
            with contextlib.suppress(IMAPClientError):
                change()
                raise AssertionError("ben's mailbox was changed")
        with demo.imap("ben") as ben:
            ben.select_folder("INBOX", readonly=True)
            flags = ben.get_flags(ben.search(["SUBJECT", word], "UTF-8"))
            assert all(b"\\Seen" not in f for f in flags.values()), f"ben has not read it: {flags}"
            equal(len(ben.search(["SUBJECT", "mailbox was opened"])), 1, "ben is told")
        erik.idle()
        ended = until(lambda: [x for x in erik.idle_check(timeout=1) if b"CLOSED" in str(x).encode()],
                      "it ends by itself, in the open session", seconds=15)
        assert ended
        erik.idle_done()
        with contextlib.suppress(IMAPClientError):
            erik.select_folder(inbox, readonly=True)
            raise AssertionError("it is still open")
        erik.select_folder("INBOX", readonly=True)
        equal(len(erik.search(["SUBJECT", "mailbox was opened"])), 1, "all super-admins are told")
    told = [x["entry"] for x in log(demo) if x["entry"].get("account") == {"User": "ben"}]
    equal([e["deed"] for e in told], ["break-glass", "read", "break-glass-end"], "all is told")
    assert told[0]["by"] == "operator" and f"{word} fehlt" in told[0]["detail"], told[0]
    assert told[1]["by"]["user"]["login"] == "erik" and told[2]["by"] == "daemon", told


def test_only_a_manager_empties_the_teams_trash(demo):
    word = unique("Endgueltig")
    customer(demo, word)
    expunge(demo, "anna", SUPPORT, word)
    client = demo.imaplib("anna")
    client.select(f'"{TRASH}"')
    _, found_uids = client.uid("SEARCH", None, f'SUBJECT "{word}"')
    client.uid("STORE", found_uids[0].decode(), "+FLAGS.SILENT", "(\\Deleted)")
    equal(client.expunge()[0], "NO", "anna may not")
    client.logout()
    expunge(demo, "erik", TRASH, word)
    equal(len(found(demo, TRASH, word)), 0, "erik may")
    last = [x["entry"] for x in log(demo, "--inbox", "Support")][-1]
    equal((last["deed"], last["by"]["user"]["login"]), ("expunge", "erik"), "told")
