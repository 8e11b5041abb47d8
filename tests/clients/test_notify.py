"""One connection hears of all inboxes: NOTIFY with IMAPClient's connection, IDLE with aioimaplib."""

import asyncio
import contextlib
import imaplib
import random
import time

from harness import equal, until

imaplib.Commands.setdefault("NOTIFY", ("AUTH", "SELECTED"))
TOLD_SECONDS = 0.1


def unique(word):
    return f"{word} {random.getrandbits(48):x}"


def lines(client, seconds):
    """Untagged lines that come without a command."""
    end = time.monotonic() + seconds
    client.sock.settimeout(seconds)
    while time.monotonic() < end:
        with contextlib.suppress(TimeoutError):
            yield client.readline().decode().rstrip()


def told(client, beginning, seconds=5):
    for line in lines(client, seconds):
        if line.startswith(beginning):
            return time.monotonic()
    raise AssertionError(f"no {beginning!r} within {seconds} s")


def asked(client, *arguments):
    kind, text = client._simple_command("NOTIFY", *arguments)
    equal(kind, "OK", f"NOTIFY: {text}")


def test_one_connection_hears_of_every_inbox_without_a_command(demo):
    client = demo.imaplib("anna")
    asked(client, "SET", "(subtree Shared (MessageNew MessageExpunge))")
    delays = []
    for inbox in ("Support", "Info", "Support"):
        accepted = demo.mail(demo.address(inbox), subject=unique("NOTIFY"))
        delays.append(told(client, f"* STATUS Shared/{inbox} (MESSAGES ") - accepted)
    client.select("Shared/Support")
    asked(client, "SET", "(selected (MessageNew (UID ENVELOPE) MessageExpunge FlagChange))")
    subject = unique("shown")
    demo.mail(demo.address("Support"), subject=subject)
    for line in lines(client, 5):
        if " FETCH (UID " in line and subject in line:
            break
    else:
        raise AssertionError("the new message was not shown")
    client.logout()
    assert max(delays) < TOLD_SECONDS, f"told after {[round(d * 1e3) for d in delays]} ms"
    return f"told after {max(delays) * 1e3:.1f} ms (worst)"


def test_aioimaplib_reads_waits_and_moves(demo):
    import aioimaplib

    async def run():
        client = aioimaplib.IMAP4_SSL("localhost", demo.ports["imaps"], ssl_context=demo.tls)
        await client.wait_hello_from_server()
        answer = await client.login("ben", demo.password("ben"))
        equal(answer.result, "OK", "LOGIN")
        await client.select("Shared/Support")
        waiting = await client.idle_start(timeout=20)
        subject = unique("aioimaplib")
        loop = asyncio.get_running_loop()
        sent = loop.run_in_executor(
            None, lambda: demo.mail(demo.address("Support"), subject=subject)
        )
        while not any(b"EXISTS" in line for line in await client.wait_server_push()):
            pass
        await sent
        client.idle_done()
        await asyncio.wait_for(waiting, 5)
        found = await client.uid_search(f'SUBJECT "{subject}"')
        uid = found.lines[0].decode().split()[-1]
        fetched = await client.uid("fetch", uid, "(UID FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        assert any(subject.encode() in bytes(line) for line in fetched.lines), fetched
        moved = await client.uid("move", uid, "Shared/Support/Done")
        equal(moved.result, "OK", "MOVE")
        await client.logout()
        return subject

    subject = asyncio.run(run())
    with demo.imap("anna") as anna:
        anna.select_folder("Shared/Support/Done")
        until(lambda: anna.search(["SUBJECT", subject]), "the message in Done")
