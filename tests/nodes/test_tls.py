"""TLS on the way to the database and to the bucket: real servers with certificates of an authority
of the test's own, and what the daemon says when something is not right."""

import contextlib
import shutil
import subprocess
import tempfile

import bucket
import database
import node as nodes
from authority import Authority
from node import SUPPORT, until

STOPPED_SECONDS = 20
CONFIG_FAULT = 78
# the machine, by a name that the daemon does not take for this machine's
ELSEWHERE = "LOCALHOST"


class Place:
    """Two authorities, and a node that is started by and by with one thing or another wrong."""

    def __init__(self, world):
        self.folder = tempfile.mkdtemp(prefix="postfach-tls-")
        self.right, self.wrong = (Authority(self.folder, name) for name in ("right", "wrong"))
        self.set = nodes.Set(self.folder, world.database, world.sink.port, 1)
        (self.node,) = self.set.nodes
        for name, text in (
            ("db.secret", nodes.PASSWORD),
            ("bad.secret", "geheimer"),
            ("s3.secret", "secret"),
        ):
            (self.node.folder / name).write_text(text + "\n")

    def write(self, url, lines=""):
        self.node.url, self.node.store_lines = url, lines
        self.node.write_config()

    def works(self, token):
        """It starts, takes a mail, and shows it."""
        self.node.spawn()
        self.node.await_start()
        self.node.deliver(token, "support@example.org")
        client = self.node.imap("anna", SUPPORT)
        (uid,) = until(lambda: client.noop() and client.search(["SUBJECT", token]), "the mail")
        read = client.fetch([uid], ["BODY.PEEK[]"])[uid][b"BODY[]"]
        assert token.encode() in read
        client.logout()
        assert self.node.stop() == 0

    def refused(self, *words):
        """It does not start, and says why."""
        already = len(self.node.log())
        self.node.spawn()
        try:
            self.node.process.wait(STOPPED_SECONDS)
        except subprocess.TimeoutExpired:
            self.node.kill()
            raise AssertionError(f"it runs: {self.node.log()[already:]}") from None
        said = self.node.log()[already:]
        assert self.node.process.returncode == CONFIG_FAULT, (self.node.process.returncode, said)
        for word in words:
            assert word in said, f"{word!r} is not in\n{said}"
        assert nodes.PASSWORD not in said and "secret\n" not in said, said


@contextlib.contextmanager
def a_place(world):
    it = Place(world)
    try:
        yield it
    finally:
        shutil.rmtree(it.folder, ignore_errors=True)


@contextlib.contextmanager
def secure_database(place, host="localhost"):
    """Takes `mail` with TLS and a password only."""
    db = database.Database(certificate=place.right.sign(host))
    try:
        db.ask(f"CREATE ROLE mail LOGIN PASSWORD '{nodes.PASSWORD}'")
        db.ask("CREATE DATABASE secure OWNER mail")
        yield db
    finally:
        db.stop()


def url(db, host, more=""):
    return f"postgres://mail@{host}:{db.port}/secure{more}"


def lines(password="db", ca=None):
    return f'password = "file:{password}.secret"\n' + (f'ca = "{ca.pem}"\n' if ca else "")


def test_a_database_is_reached_with_tls_and_only_if_its_certificate_is_right(world):
    with a_place(world) as place, secure_database(place) as db:
        right = lines(ca=place.right)
        place.write(url(db, ELSEWHERE), right)
        place.works("without a word in the url")
        place.write(url(db, "localhost", "?sslmode=require"), right)
        place.works("as the url says")
        place.write(url(db, "localhost", "?sslmode=require"), lines())
        place.refused("the store cannot be opened", "UnknownIssuer")
        place.write(url(db, "localhost", "?sslmode=verify-full"), lines(ca=place.wrong))
        place.refused("the store cannot be opened", "certificate")
        place.write(url(db, "127.0.0.1", "?sslmode=require"), right)
        place.refused("the store cannot be opened", "not valid for name")
        place.write(url(db, "localhost", "?sslmode=require"), lines("bad", place.right))
        place.refused("password authentication failed")
        place.write(url(db, "localhost"), lines())
        place.refused("the store cannot be opened", "pg_hba.conf")


def test_a_database_is_told_the_password_bound_to_its_certificate(world):
    with a_place(world) as place, secure_database(place) as db:
        right = lines(ca=place.right)
        place.write(url(db, "localhost", "?sslmode=require&channel_binding=require"), right)
        place.works("bound")
        place.write(url(db, "localhost", "?sslmode=disable&channel_binding=require"), right)
        place.refused("the store cannot be opened")


def test_a_database_elsewhere_without_tls_is_refused(world):
    with a_place(world) as place:
        elsewhere = f"postgres://postfach@{ELSEWHERE}:{world.database.port}/postfach"
        place.write(elsewhere)
        place.refused("the store cannot be opened", "TLS")
        place.write(elsewhere + "?sslmode=prefer")
        place.refused("sslmode is neither require nor disable")


def test_a_bucket_is_reached_with_tls_and_only_if_its_certificate_is_right(world):
    with a_place(world) as place, contextlib.ExitStack() as ends:
        world.database.create("tls_bucket")
        here = world.database.url("tls_bucket")
        s3 = bucket.S3(certificate=place.right.sign("localhost"))
        ends.callback(s3.stop)
        in_clear = bucket.S3()
        ends.callback(in_clear.stop)
        s3.create("mail")
        in_clear.create("mail")

        def at(scheme, host, ca=None, port=s3.port):
            ca = f'ca = "{ca.pem}"\n' if ca else ""
            return s3.store_lines("mail", port, scheme, host) + ca

        place.write(here, at("https", "localhost", place.right))
        place.works("in a bucket")
        assert len(s3.names("mail")) == 1
        for words, wrong in (
            (["s3://mail/post", "UnknownIssuer"], at("https", "localhost")),
            (["s3://mail/post", "certificate"], at("https", "localhost", place.wrong)),
            (["s3://mail/post", "not valid for name"], at("https", "127.0.0.1", place.right)),
            (["s3://mail/post"], at("http", "localhost", place.right)),
            (["s3://mail/post"], at("https", "localhost", place.right, in_clear.port)),
            (["would travel in clear"], at("http", ELSEWHERE, place.right, in_clear.port)),
        ):
            place.write(here, wrong)
            place.refused(*words)
