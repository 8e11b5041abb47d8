"""CATENATE (RFC 4469) by Python's imaplib: what the server puts together is, byte for byte, what a client
would have put together of the parts that it fetched.
"""

import random
import threading
from urllib.parse import quote

from harness import equal

FOLDER = "Zusammen/50 Grün & blau;x"
RFC3501 = '"Zusammen/50 Gr&APw-n &- blau;x"'
BOUNDARY = "----=_Part"
ATTACHMENT = random.randbytes(1_500_000).hex().encode()


def quoted(text):
    return b'"' + text.replace("\\", "\\\\").replace('"', '\\"').encode() + b'"'


def catenate(client, mailbox, *parts, flags=b""):
    """APPEND … CATENATE with literals for bytes and URLs for text; the answer's status and text."""
    tag = client._new_tag()
    client.tagged_commands[tag] = None
    client.send(tag + b" APPEND " + mailbox.encode() + b" " + flags + b"CATENATE (")
    for n, part in enumerate(parts):
        client.send(b" " if n else b"")
        if isinstance(part, bytes):
            client.send(b"TEXT {%d+}\r\n" % len(part) + part)
        else:
            client.send(b"URL " + quoted(part))
    client.send(b")\r\n")
    status, data = client._command_complete("APPEND", tag)
    return status, data[-1].decode()


def fetched(client, number, section):
    return client.fetch(number, f"(BODY.PEEK[{section}])")[1][0][1]


def letter():
    lines = [
        "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=",
        "From: anna@example.org",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{BOUNDARY}"',
        "",
        f"--{BOUNDARY}",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Transfer-Encoding: 8bit",
        "",
        "Schöne Grüße",
        f"--{BOUNDARY}",
        'Content-Type: application/octet-stream; name="groß.bin"',
        "",
    ]
    return "\r\n".join(lines).encode() + b"\r\n" + ATTACHMENT + f"\r\n--{BOUNDARY}--\r\n".encode()


def filed(demo, folder=RFC3501):
    """A client that has selected a folder with the letter in it, which has UID 1."""
    client = demo.imaplib("anna")
    client.create(folder)
    equal(client.append(folder, None, None, letter())[0], "OK", "APPEND")
    equal(client.select(folder)[0], "OK", "SELECT")
    return client


def test_a_draft_is_changed_without_its_attachment_on_the_wire(demo):
    client = filed(demo)
    url = "/" + quote(FOLDER) + "/;UID=1"
    line = f"\r\n--{BOUNDARY}\r\n".encode()
    new = b"Content-Type: text/plain\r\n\r\nanother text"
    end = f"\r\n--{BOUNDARY}--\r\n".encode()
    header, mime, body = f"{url}/;SECTION=HEADER", f"{url}/;SECTION=2.MIME", ";UID=1/;SECTION=2"
    parts = (header, line[2:] + new + line, mime, body, end)
    status, text = catenate(client, RFC3501, *parts, flags=rb"(\Draft \Seen) ")
    equal(status, "OK", text)
    assert text.startswith("[APPENDUID "), text
    client.noop()
    by_hand = fetched(client, "1", "HEADER") + line[2:] + new + line
    by_hand += fetched(client, "1", "2.MIME") + fetched(client, "1", "2") + end
    equal(fetched(client, "2", ""), by_hand, "what was put together")
    equal(fetched(client, "2", "2"), ATTACHMENT, "the attachment of the new message")
    _, flags = client.fetch("1:2", "(FLAGS)")
    assert rb"\Seen" not in flags[0] and rb"\Draft" in flags[1], flags
    client.logout()


def test_every_part_is_as_fetch_shows_it(demo):
    client = filed(demo, "Teile")
    sections = ["", "HEADER", "TEXT", "1", "1.MIME", "2.MIME", "2"]
    sections += ["HEADER.FIELDS (Subject MIME-Version)", "HEADER.FIELDS.NOT (Subject)"]
    for section in sections:
        url = ";UID=1" + (f"/;SECTION={quote(section)}" if section else "")
        pieces = {"": slice(None), "/;PARTIAL=3.7": slice(3, 10), "/;PARTIAL=2": slice(2, None)}
        for partial, cut in pieces.items():
            status, text = catenate(client, "Teile", url + partial)
            equal(status, "OK", f"{url}{partial}: {text}")
            client.noop()
            equal(fetched(client, "*", ""), fetched(client, "1", section)[cut], url + partial)
    client.logout()


def test_what_cannot_be_had_is_told_and_nothing_is_stored(demo):
    client = filed(demo, "Fehlt")
    for url in ["/Fehlt/;UID=99", "/Nirgends/;UID=1", "/Fehlt;UIDVALIDITY=1/;UID=1", ";UID=1/;SECTION=9",
                "imap://anna@localhost/Fehlt/;UID=1", "/Fehlt", "no url ]\"\\"]:  # fmt: skip
        status, text = catenate(client, "Fehlt", b"Subject: x\r\n", url, b"y\r\n")
        equal(status, "NO", url)
        assert text.startswith('[BADURL "') and text.count("]") == 1, text
    size = int(client.capability()[1][-1].split(b"APPENDLIMIT=")[1].split()[0])
    urls = [";UID=1"] * (size // len(letter()) + 1)
    status, text = catenate(client, "Fehlt", *urls)
    equal((status, text.split()[0]), ("NO", "[TOOBIG]"), text)
    equal(client.status("Fehlt", "(MESSAGES)")[1], [b"Fehlt (MESSAGES 1)"], "nothing was stored")
    client.logout()


def test_what_is_forbidden_is_as_what_is_absent(demo):
    client = demo.imaplib("dora")
    answers = set()
    for name in ["Support", "Suppork"]:
        status, text = catenate(client, "INBOX", f"/Shared/{name}/;UID=1")
        answers.add((status, text.replace(name, "…")))
    equal(len(answers), 1, answers)
    assert "BADURL" in str(answers), answers
    client.logout()


def test_many_put_together_at_once(demo):
    filed(demo, "Viele").logout()
    failures = []

    def work():
        try:
            client = demo.imaplib("anna")
            client.select("Viele")
            for _ in range(5):
                parts = (";UID=1/;SECTION=HEADER", b"x" * 300_000, ";UID=1/;SECTION=1")
                status, text = catenate(client, "Viele", *parts)
                equal(status, "OK", text)
            client.logout()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    equal(failures, [], "failures")
    client = demo.imaplib("anna")
    client.select("Viele")
    _, sizes = client.search(None, "LARGER 300000 SMALLER 301000")
    equal(len(sizes[0].split()), 20, "messages put together")
    client.logout()
