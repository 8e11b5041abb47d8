"""Programs that come back: interimap (QRESYNC), neomutt with its QRESYNC, and SORT, THREAD and
ESEARCH as imaplib and IMAPClient ask for them."""

import os
import random
import re

import imapclient
import test_mutt
from harness import command, equal, until

CONFIG = """
database = {home}/state.db
list-mailbox = INBOX

[local]
type = imaps
host = localhost
port = {port}
username = dora
password = {dora}
SSL_CAfile = {ca}
null-stderr = NO

[remote]
type = imaps
host = localhost
port = {port}
username = carla
password = {carla}
SSL_CAfile = {ca}
null-stderr = NO
"""


def interimap(demo, home):
    path = os.path.join(home, "config")
    return command("interimap", f"--config={path}", "INBOX", seconds=40)


def inbox(demo, login):
    """Flags by subject."""
    with demo.imap(login) as client:
        client.select_folder("INBOX", readonly=True)
        found = client.fetch(client.search("ALL"), ["FLAGS", "ENVELOPE"])
        return {
            data[b"ENVELOPE"].subject.decode(): {f for f in data[b"FLAGS"] if f != b"\\Recent"}
            for data in found.values()
        }


def append(client, subject):
    text = f"From: x@example.net\r\nSubject: {subject}\r\nMessage-ID: <{subject}@x>\r\n\r\nHallo\r\n"
    client.append("INBOX", text.replace(" ", "-").replace(":-", ": ").encode())


def test_interimap_keeps_two_accounts_in_step(demo):
    home = os.path.join(demo.directory, "interimap")
    os.makedirs(home)
    with open(os.path.join(home, "config"), "w") as file:
        os.chmod(file.name, 0o600)
        words = {login: demo.password(login) for login in ("dora", "carla")}
        file.write(CONFIG.format(home=home, port=demo.ports["imaps"], ca=demo.ca_pem, **words))
    for login in ("dora", "carla"):
        with demo.imap(login) as client:
            client.select_folder("INBOX")
            client.delete_messages(client.search("ALL"))
            client.expunge()
    with demo.imap("dora") as client:
        for n in range(6):
            append(client, f"d{n}")
    with demo.imap("carla") as client:
        for n in range(3):
            append(client, f"c{n}")
    interimap(demo, home)
    both = {f"d{n}" for n in range(6)} | {f"c{n}" for n in range(3)}
    equal(set(inbox(demo, "dora")), both, "after the first run")
    equal(inbox(demo, "carla"), inbox(demo, "dora"), "after the first run")

    # flags and deletions on both sides, told by QRESYNC
    with demo.imap("dora") as client:
        client.select_folder("INBOX")
        client.add_flags(client.search(["SUBJECT", "c1"]), [imapclient.FLAGGED])
        client.delete_messages(client.search(["SUBJECT", "d2"]))
        client.expunge()
    with demo.imap("carla") as client:
        client.select_folder("INBOX")
        client.add_flags(client.search(["SUBJECT", "d4"]), [imapclient.SEEN, b"$Label1"])
        client.delete_messages(client.search(["SUBJECT", "c0"]))
        client.expunge()
        append(client, "c3")
    interimap(demo, home)
    expected = {subject: set() for subject in both - {"d2", "c0"} | {"c3"}}
    expected["c1"] = {b"\\Flagged"}
    expected["d4"] = {b"\\Seen", b"$Label1"}
    equal(inbox(demo, "dora"), expected, "dora's side")
    equal(inbox(demo, "carla"), expected, "carla's side")
    # nothing is left to do
    output = interimap(demo, home)
    assert "WARNING" not in output and "Updated" not in output, output
    equal(inbox(demo, "dora"), expected, "after a run without changes")


def test_neomutt_comes_back_by_qresync(demo):
    unique = f"qresync {random.getrandbits(40):x}"
    subjects = [f"{unique} {what}" for what in ("bleibt", "wird", "geht")]
    for subject in subjects:
        demo.mail(demo.address("Sales"), subject=subject)
    home = os.path.join(demo.directory, "neomutt-qresync")
    os.makedirs(home)
    with open(os.path.join(home, "rc"), "w") as file:
        settings = dict(login="ben", port=demo.ports["imaps"], password=demo.password("ben"))
        file.write(test_mutt.CONFIG.format(ca=demo.ca_pem, home=home, box="Shared/Sales", **settings))
        file.write(f'set header_cache="{home}/cache" imap_qresync=yes imap_condstore=yes\n')

    def opened(shown, gone):
        log = os.path.join(home, "log")
        terminal = test_mutt.Terminal(
            home, "neomutt", "-n", "-d", "3", "-l", log, "-F", os.path.join(home, "rc")
        )
        try:
            for line in shown:
                terminal.shows(line)
            for line in gone:
                assert line not in terminal.screen(), terminal.screen()
            terminal.keys("q")
            until(lambda: "no server" in terminal.screen() or "error" in terminal.screen(), "its end")
        finally:
            terminal.close()
        with open(log + "0", errors="replace") as file:
            return file.read()

    log = opened([f"[{subject}]" for subject in subjects], [])
    assert "ENABLE QRESYNC" in log or "QRESYNC" in log, log[-4000:]
    with demo.imap("ben") as client:
        client.select_folder("Shared/Sales")
        client.delete_messages(client.search(["SUBJECT", subjects[2]]))
        client.expunge()
        client.add_flags(client.search(["SUBJECT", subjects[1]]), [imapclient.FLAGGED])
    later = f"{unique} neu"
    demo.mail(demo.address("Sales"), subject=later)
    log = opened([f"[{subjects[0]}]", f"[{later}]"], [f"[{subjects[2]}]"])
    assert re.search(r"UID FETCH .* \(FLAGS\) \(CHANGEDSINCE \d+ VANISHED\)", log), "not by QRESYNC"
    assert "Handling VANISHED" in log, "it was not told what has gone"


def test_imaplib_sorts_and_threads(demo):
    unique = f"s{random.getrandbits(40):x}"
    client = demo.imaplib("anna")
    client.select("INBOX")
    for number, subject in enumerate(("b", "Re: a", "a", "c")):
        reference = f"In-Reply-To: <2{unique}@x>\r\n" if subject == "Re: a" else ""
        text = (
            f"From: x@example.net\r\nSubject: {subject} {unique}\r\n"
            f"Message-ID: <{number}{unique}@x>\r\n{reference}"
            f"Date: Mon, {10 - number} Nov 2025 10:00:00 +0000\r\n\r\nHallo\r\n"
        )
        client.append("INBOX", "", None, text.encode())
    _, (found,) = client.search(None, "SUBJECT", unique)
    b, reply, a, c = (int(number) for number in found.split())

    def numbers(answer):
        return [int(number) for number in answer[1][0].split()]

    what = ("UTF-8", "SUBJECT", unique)
    equal(numbers(client.sort("(SUBJECT)", *what)), [reply, a, b, c], "by subject")
    equal(numbers(client.sort("(SUBJECT DATE)", *what)), [a, reply, b, c], "and by date")
    equal(numbers(client.sort("(REVERSE SIZE)", *what))[0], reply, "the longest")
    threads = client.thread("REFERENCES", *what)[1][0].decode()
    assert f"({a} {reply})" in threads, threads
    client.logout()


def test_imapclient_sorts_threads_and_saves(demo):
    with demo.imap("anna") as client:
        client.select_folder("INBOX")
        equal(client.sort("REVERSE ARRIVAL"), client.sort(["REVERSE ARRIVAL"]), "SORT")
        everything = client.search("ALL")
        equal(sorted(client.sort("SUBJECT")), sorted(everything), "SORT has them all")
        threads = client.thread("REFERENCES")

        def members(tree):
            for part in tree:
                yield from members(part) if isinstance(part, tuple) else (part,)

        equal(sorted(members(threads)), sorted(everything), "THREAD has them all")
    raw = demo.imaplib("anna")
    raw.select("INBOX")
    tag = raw._new_tag().decode()
    raw.send(f"{tag} UID SEARCH RETURN (SAVE COUNT PARTIAL -1:-2) ALL\r\n".encode())
    line = raw.readline().decode()
    assert re.match(r'\* ESEARCH \(TAG "\w+"\) UID PARTIAL \(-1:-2 [\d:,]+\) COUNT \d+\r\n', line), line
    assert raw.readline().startswith(f"{tag} OK".encode())
    kind, data = raw.uid("FETCH", "$", "(UID)")
    equal((kind, len(data)), ("OK", len(everything)), "FETCH of what was saved")
    raw.logout()
