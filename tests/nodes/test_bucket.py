"""Message bytes in a bucket that is cut off, does not answer, or lost something: a real daemon, and
a proxy between it and a real S3 server."""

import contextlib
import shutil
import smtplib
import tempfile
import threading
import time

import bucket
import database
import node as nodes
from imapclient.exceptions import IMAPClientError
from node import SUPPORT, until
from sink import Sink

# a bucket that hangs up is asked again some times before somebody is told
CUT_SECONDS = 8
# one that says nothing is waited for
STALL_SECONDS = 15
AT_ONCE_SECONDS = 1
SENDERS = 12
# more than goes in one part of an upload
LARGE_BYTES = 6 << 20
# what one part takes on the thin line of the test, and more than a request without bytes may
THIN_SECONDS = 30


class Place:
    """A daemon on a database and a bucket of its own."""

    def __init__(self, world, name):
        self.folder = tempfile.mkdtemp(prefix="postfach-bucket-")
        self.bucket = name
        self.s3 = bucket.S3()
        self.s3.create(name)
        self.proxy = database.Proxy(self.s3.port)
        world.database.create(name)
        self.set = nodes.Set(self.folder, world.database, world.sink.port, 1, name)
        (self.node,) = self.set.nodes
        self.node.store_lines = self.s3.store_lines(name, self.proxy.port)
        (self.node.folder / "s3.secret").write_text("secret\n")
        self.node.write_config()
        self.set.start()

    def stop(self):
        self.proxy.mend()
        self.set.stop()
        self.s3.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def place(world, name):
    it = Place(world, name)
    try:
        yield it
        assert "panicked" not in it.node.log(), "a daemon has panicked"
    except BaseException:
        print("\n".join(it.node.log().splitlines()[-15:]))
        raise
    finally:
        it.stop()


def timed(work, *arguments):
    """What it gives, or the text of its refusal; and how long it took."""
    began = time.monotonic()
    try:
        said = work(*arguments)
    except IMAPClientError as error:
        said = str(error)
    except smtplib.SMTPResponseException as error:
        said = f"{error.smtp_code} {error.smtp_error.decode()}"
    return said, time.monotonic() - began


def uid_of(client, subject):
    client.noop()
    (uid,) = client.search(["SUBJECT", subject])
    return uid


def body(client, subject):
    return client.fetch([uid_of(client, subject)], ["BODY.PEEK[]"])


def append(client, token):
    return client.append(SUPPORT, nodes.message(token, ["support@example.org"]))


def deliver_large(node, token):
    """So large that it lies in a file until it is stored."""
    content = nodes.message(token, ["support@example.org"]) + b"0123456789abcdef" * 40_000
    with node.smtp() as smtp:
        smtp.sendmail("kundin@example.net", ["support@example.org"], content)


def deliver_very_large(node, token):
    content = nodes.message(token, ["support@example.org"])
    content += (b"0123456789abcdef" * 60 + b"\r\n") * (LARGE_BYTES // 962 + 1)
    with node.smtp() as smtp:
        smtp.sock.settimeout(120)
        smtp.sendmail("kundin@example.net", ["support@example.org"], content)


def away(world, how, seconds):
    with place(world, f"away-{how}") as it:
        node = it.node
        node.deliver("small-before", "support@example.org")
        deliver_large(node, "large-before")
        client, other = node.imap("anna", SUPPORT), node.imap("ben", SUPPORT)
        assert body(client, "small-before")
        getattr(it.proxy, how)()
        told = {}
        for what, refused, work in (
            ("DATA", "451", lambda: node.deliver("small-during", "support@example.org")),
            ("DATA, large", "451", lambda: deliver_large(node, "large-during")),
            ("FETCH", "UNAVAILABLE", lambda: body(client, "small-before")),
            ("FETCH, large", "UNAVAILABLE", lambda: body(client, "large-before")),
            ("APPEND", "UNAVAILABLE", lambda: append(client, "appended-during")),
        ):
            said, took = timed(work)
            assert refused in str(said) and took < seconds, (what, said, took)
            told[what] = took
        without_bytes(node, client, other)
        many_at_once(node, other, seconds)
        it.proxy.mend()
        began = time.monotonic()
        until(
            lambda: isinstance(timed(body, client, "small-before")[0], dict), "it is read again", 15
        )
        back = time.monotonic() - began
        for token in ("small-during", "large-during", "appended-during"):
            assert not client.search(["SUBJECT", token]), f"{token} was refused"
        node.deliver("small-during", "support@example.org")
        deliver_large(node, "large-during")
        append(client, "appended-during")
        for token in ("large-before", "large-during", "appended-during"):
            read = next(iter(body(client, token).values()))[b"BODY[]"]
            assert token.encode() in read, token
        subjects = client.fetch(client.search(), ["ENVELOPE"])
        subjects = [data[b"ENVELOPE"].subject.decode() for data in subjects.values()]
        assert sorted(subjects) == [
            "appended-during", "large-before", "large-during", "small-before", "small-during"
        ], subjects  # fmt: skip
        for session in (client, other):
            session.logout()
    slowest = max(told, key=told.get)
    return f"{slowest} was refused after {told[slowest]:.1f} s, and all goes on {back:.1f} s after"


def without_bytes(node, client, other):
    """What needs no bytes of messages goes on as ever."""
    uid = uid_of(client, "small-before")
    for work in (
        lambda: client.fetch([uid], ["ENVELOPE", "BODYSTRUCTURE", "FLAGS", "RFC822.SIZE"]),
        lambda: client.search(["BODY", "Guten Tag"]),
        lambda: client.add_flags([uid], ["\\Flagged"]),
        lambda: client.copy([uid], "Drafts"),
        lambda: other.folder_status(SUPPORT),
        lambda: node.imap("carla", SUPPORT).logout(),
    ):
        said, took = timed(work)
        assert took < AT_ONCE_SECONDS and "UNAVAILABLE" not in str(said), (said, took)


def many_at_once(node, other, seconds):
    """Whoever waits for the bucket keeps nobody else from anything."""
    waits = []

    def deliver(n):
        waits.append(timed(lambda: node.deliver(f"many-{n}", "support@example.org")))

    threads = [threading.Thread(target=deliver, args=(n,)) for n in range(SENDERS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        said, took = timed(other.folder_status, SUPPORT)
        assert took < AT_ONCE_SECONDS and isinstance(said, dict), (said, took)
        time.sleep(0.2)
    assert len(waits) == SENDERS
    for said, took in waits:
        assert "451" in str(said) and took < 2 * seconds, (said, took)


def test_a_bucket_that_is_cut_off_refuses_what_needs_it_and_comes_back(world):
    return away(world, "cut", CUT_SECONDS)


def test_a_bucket_that_says_nothing_refuses_what_needs_it_and_comes_back(world):
    return away(world, "stall", STALL_SECONDS)


def test_a_large_mail_on_a_thin_line_arrives_and_holds_nobody_up(world):
    with place(world, "thin") as it:
        node = it.node
        node.deliver("before", "support@example.org")
        client = node.imap("anna", SUPPORT)
        it.proxy.thin_bytes_a_second = 150 * 1024
        told = []
        large = threading.Thread(target=lambda: told.append(timed(deliver_very_large, node, "huge")))
        large.start()
        slowest, count = 0, 0
        while large.is_alive():
            for work in (
                lambda: node.deliver(f"small-{count}", "support@example.org"),
                lambda: body(client, "before"),
            ):
                said, took = timed(work)
                assert "451" not in str(said) and "UNAVAILABLE" not in str(said), said
                slowest = max(slowest, took)
            count += 1
            time.sleep(0.5)
        ((said, took),) = told
        assert "451" not in str(said) and took > THIN_SECONDS, (said, took)
        it.proxy.thin_bytes_a_second = None
        read = next(iter(body(client, "huge").values()))[b"BODY[]"]
        assert len(read) > LARGE_BYTES
        client.logout()
    return f"it took {took:.0f} s, {count} small ones beside it {slowest:.1f} s at most"


def test_mail_on_its_way_out_waits_for_its_bucket(world):
    with place(world, "outward") as it:
        node, sink = it.node, Sink()
        try:
            node.sink = sink.port
            node.write_config()
            assert node.stop() == 0
            node.spawn()
            node.await_start()
            node.submit("anna", "patient", "later@example.net")
            waits = lambda: node.run("queue", "list")
            until(lambda: "451" in waits(), "it is put off once", 15)
            it.proxy.cut()
            sink.is_late = False
            node.run("queue", "retry", "all")
            until(lambda: "cannot be read" in waits() or "unavailable" in waits(), "again", 20)
            assert not sink.with_subject("patient") and "later@example.net" in waits()
            it.proxy.mend()
            node.run("queue", "retry", "all")
            until(lambda: sink.with_subject("patient"), "it went out whole", 15)
            ((_, _, message),) = sink.with_subject("patient")
            assert "patient" in message.get_content()
            client = node.imap("anna", "INBOX")
            assert not client.search(), "nobody is told of a failure"
            client.logout()
        finally:
            sink.stop()


def test_an_object_that_is_lost_or_damaged_harms_its_message_alone(world):
    with place(world, "damaged") as it:
        node, s3 = it.node, it.s3
        for token in ("whole", "lost", "shortened", "changed"):
            node.deliver(token, "support@example.org")
        names = {
            t: s3.holding(it.bucket, f"<{t}@example.net>") for t in ("lost", "shortened", "changed")
        }
        s3.remove(it.bucket, names["lost"])
        right = s3.read(it.bucket, names["shortened"])
        s3.write(it.bucket, names["shortened"], right[:-1])
        right = s3.read(it.bucket, names["changed"])
        s3.write(it.bucket, names["changed"], right.replace(b"Guten", b"gUTEN"))
        client = node.imap("anna", SUPPORT)
        for token in names:
            said, took = timed(body, client, token)
            assert "CORRUPTION" in str(said) and took < AT_ONCE_SECONDS, (token, said, took)
            assert client.fetch([uid_of(client, token)], ["ENVELOPE", "FLAGS"])
        assert body(client, "whole")
        log = node.log()
        assert "missing" in log and "differs from its hash" in log, "the log tells the operator"
        node.deliver("another", "support@example.org")
        assert body(client, "another")
        # the same mail once more makes whole what there is of it
        for token in names:
            node.deliver(token, "support@example.org")
            client.noop()
            for data in client.fetch(client.search(["SUBJECT", token]), ["BODY.PEEK[]"]).values():
                assert b"Guten" in data[b"BODY[]"], (token, data)
        client.logout()


def test_a_bucket_with_more_than_we_know_is_left_alone(world):
    with place(world, "strange") as it:
        it.s3.write(it.bucket, "post/somebody-elses", b"x")
        it.s3.write(it.bucket, "elsewhere", b"y")
        it.node.deliver("mine", "support@example.org")
        assert it.node.stop() == 0
        it.node.spawn()
        it.node.await_start()
        client = it.node.imap("anna", SUPPORT)
        assert body(client, "mine")
        client.logout()
        assert it.s3.read(it.bucket, "post/somebody-elses") == b"x"
        assert it.s3.read(it.bucket, "elsewhere") == b"y"
