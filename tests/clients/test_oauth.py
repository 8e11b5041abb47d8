"""Tokens of an identity provider in place of passwords, over IMAP and submission: by imaplib,
smtplib and curl. Each test has a daemon of its own beside the demo, since failures are counted.
"""

import contextlib
import imaplib
import json
import os
import signal
import smtplib
import ssl
import subprocess
import time

from harness import command, equal, until
from issuer import CLIENT, Issuer, Key

HASH = (
    "$6$postfach$TtMZCEcEYtMxys3f.6yZlwlrEsHJVliLVnrHaTTv8low9GIcg22PVsCx3ZAnBBspxeNxMADgQB.B1g"
    "Cu6nvxq/"
)
USER = """
[[user]]
login = "{0}"
name = "{0}"
password = "{1}"
addresses = ["{0}@example.org"]
"""


class Daemon:
    """`postfach serve` with the lines of an [auth.oauth]; all that is needed to reach it."""

    def __init__(self, demo, issuer, lines=""):
        self.issuer, self.binary = issuer, demo.binary
        self.folder = os.path.join(issuer.folder, "daemon")
        os.makedirs(self.folder)
        self.log_path = os.path.join(self.folder, "log")
        table = "" if lines is None else (
            f'[auth.oauth]\nissuer = "{issuer.url}"\naudience = "postfach"\n'
            f'ca = "{issuer.ca_pem}"\n{lines}\n'
        )  # fmt: skip
        here = '["127.0.0.1:0"]'
        self.config = self.write(
            "postfach.toml",
            f'hostname = "localhost"\ndata_dir = "data"\n[listen]\nimap = {here}\nimaps = {here}\n'
            f"submission = {here}\nsubmissions = {here}\n[tls]\nself_signed = true\n"
            f'[outbound]\nvia = "hold"\n{table}',
        )
        self.declare("anna", "ben")
        self.process = subprocess.Popen(
            [self.binary, "serve", "--config", self.config],
            stdout=open(self.log_path, "wb"),
            stderr=subprocess.STDOUT,
        )
        until(lambda: "ready" in self.log() or self.process.poll() is not None, "a start", 20)
        assert self.process.poll() is None, self.log()
        with open(os.path.join(self.folder, "data/run/ports.json")) as file:
            self.ports = {k: int(v[0].rsplit(":", 1)[1]) for k, v in json.load(file).items()}
        self.ca_pem = os.path.join(self.folder, "data/tls/ca.pem")
        self.tls = ssl.create_default_context(cafile=self.ca_pem)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def declare(self, *logins):
        users = "".join(USER.format(login, HASH) for login in logins)
        self.write("directory.toml", f'[[domain]]\nname = "example.org"\n{users}')

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def stop(self):
        self.process.terminate()
        code = self.process.wait(20)
        assert code == 0 and "panicked" not in self.log(), self.log()

    def imap(self):
        return imaplib.IMAP4_SSL("localhost", self.ports["imaps"], ssl_context=self.tls)

    def by_imap(self, mechanism, message):
        """`OK`, or what is answered; and what the client was shown before."""
        client, shown = self.imap(), []

        def respond(challenge):
            shown.append(bytes(challenge))
            if len(shown) == 1:
                return message
            return b"\x01" if mechanism == "OAUTHBEARER" else b""

        try:
            return client.authenticate(mechanism, respond)[0], shown
        except imaplib.IMAP4.error as error:
            return str(error), shown
        finally:
            client.shutdown()

    def by_smtp(self, mechanism, message):
        """The code, and what the client was shown before."""
        shown = []

        def respond(challenge=None):
            if challenge is None:
                return message
            shown.append(challenge)
            return "\x01" if mechanism == "OAUTHBEARER" else ""

        with smtplib.SMTP("localhost", self.ports["submission"], timeout=30) as client:
            client.starttls(context=self.tls)
            client.ehlo()
            try:
                return client.auth(mechanism, respond)[0], shown
            except smtplib.SMTPAuthenticationError as error:
                return error.smtp_code, shown


def message(mechanism, token, user=None):
    if mechanism == "XOAUTH2":
        return f"user={user or 'anna'}\1auth=Bearer {token}\1\1"
    header = f"n,a={user}," if user else "n,,"
    return f"{header}\1host=localhost\1port=993\1auth=Bearer {token}\1\1"


@contextlib.contextmanager
def running(demo, lines=""):
    issuer = Issuer(os.path.join(demo.directory, f"issuer-{time.monotonic_ns()}"))
    try:
        secret = os.path.join(issuer.folder, "oauth.secret")
        with open(secret, "w") as file:
            file.write(CLIENT[1] + "\n")
        with open(os.path.join(issuer.folder, "keys.json"), "w") as file:
            json.dump({"keys": [key.jwk for key in issuer.keys]}, file)
        if lines is not None:
            lines = lines.format(url=issuer.url, folder=issuer.folder, client=CLIENT[0])
        daemon = Daemon(demo, issuer, lines)
        try:
            yield daemon
        finally:
            daemon.stop()
    finally:
        issuer.stop()


INTROSPECTION = (
    'introspection = "{url}/introspect"\nclient_id = "{client}"\n'
    'client_secret = "file:{folder}/oauth.secret"'
)
SERVED, IN_FILE = 'jwks = "{url}/keys"', 'jwks = "file:{folder}/keys.json"'
ERRORS = {
    "OAUTHBEARER": b'{"status":"invalid_token"}',
    "XOAUTH2": b'{"status":"401","schemes":"bearer"}',
}


def accepted(daemon, token, user=None):
    """Over both protocols, by both mechanisms."""
    for mechanism in ERRORS:
        text = message(mechanism, token, user)
        equal(daemon.by_imap(mechanism, text.encode()), ("OK", [b""]), f"IMAP {mechanism}")
        equal(daemon.by_smtp(mechanism, text), (235, []), f"SMTP {mechanism}")


def refused(daemon, mechanism, token, what, user=None, code="AUTHENTICATIONFAILED"):
    """With the error, which is acknowledged, and then the end."""
    text = message(mechanism, token, user)
    answer, shown = daemon.by_imap(mechanism, text.encode())
    assert code in answer, f"{what}: {answer}"
    equal(shown, [b"", ERRORS[mechanism]], f"IMAP: {what}")
    equal(daemon.by_smtp(mechanism, text), (535, [ERRORS[mechanism]]), f"SMTP: {what}")


def test_keys_are_found_served_or_in_a_file(demo):
    for lines, paths in (
        ("", ["/.well-known/openid-configuration", "/keys"]),
        (SERVED, ["/keys"]),
        (IN_FILE, []),
    ):
        with running(demo, lines) as daemon:
            for key in daemon.issuer.keys:
                accepted(daemon, daemon.issuer.token("anna", key), "anna")
            token = daemon.issuer.token("anna@example.org")
            accepted(daemon, token, "Anna@example.org")
            equal(daemon.issuer.requests, paths, "fetched once")
            assert token not in daemon.log() and token[:40] not in daemon.log(), "a token is logged"


def test_other_tokens_are_refused(demo):
    now, none, wrong = int(time.time()), None, "AUTHENTICATIONFAILED"
    for cases in (
        (
            ("expired", lambda i: i.token("anna", exp=now - 90), none, wrong),
            ("audience", lambda i: i.token("anna", aud="other"), none, wrong),
            ("issuer", lambda i: i.token("anna", iss="https://evil"), none, wrong),
        ),
        (
            ("key", lambda i: i.token("anna", i.stranger()), none, wrong),
            ("none", lambda i: i.unsigned("anna"), none, wrong),
            ("early", lambda i: i.token("anna", nbf=now + 300), none, wrong),
        ),
        (
            ("unknown", lambda i: i.token("eve"), "eve", wrong),
            ("another", lambda i: i.token("anna"), "ben", "AUTHORIZATIONFAILED"),
            ("nobody", lambda i: i.token("anna", preferred_username=None), none, wrong),
        ),
    ):
        # each failure counts, and is answered later than the one before it
        with running(demo) as daemon:
            for what, token, user, code in cases:
                text = message("OAUTHBEARER", token(daemon.issuer), user)
                answer, shown = daemon.by_imap("OAUTHBEARER", text.encode())
                assert code in answer, f"{what}: {answer}"
                equal(shown, [b"", ERRORS["OAUTHBEARER"]], what)
            accepted(daemon, daemon.issuer.token("anna", daemon.issuer.keys[1]))


def test_refusals_over_smtp_have_an_error_and_an_end(demo):
    with running(demo) as daemon:
        refused(daemon, "XOAUTH2", daemon.issuer.token("anna"), "another", "ben", "AUTHORIZATION")
        refused(daemon, "OAUTHBEARER", daemon.issuer.unsigned("anna"), "none")
        accepted(daemon, daemon.issuer.token("anna"))


def test_replaced_keys_are_found_and_an_issuer_that_is_away_changes_nothing(demo):
    with running(demo) as daemon:
        issuer = daemon.issuer
        old, new = issuer.keys[0], Key(issuer.folder, "third", "ES256")
        accepted(daemon, issuer.token("anna", old))
        issuer.keys = [new]
        accepted(daemon, issuer.token("anna", new))
        answer, _ = daemon.by_imap(
            "OAUTHBEARER", message("OAUTHBEARER", issuer.token("anna", old)).encode()
        )
        assert "AUTHENTICATIONFAILED" in answer, answer
        issuer.broken = True
        accepted(daemon, issuer.token("anna", new))


def test_the_issuer_is_asked_each_time(demo):
    with running(demo, INTROSPECTION) as daemon:
        issuer = daemon.issuer
        token = issuer.opaque("anna")
        accepted(daemon, token, "anna")
        accepted(daemon, issuer.opaque("ben", exp=None, iss=None), "ben")
        equal(set(issuer.requests), {"/introspect"}, "requests")
        equal(len(issuer.requests), 8, "one for each login")
        del issuer.active[token]
        refused(daemon, "OAUTHBEARER", token, "revoked")
        text = message("OAUTHBEARER", issuer.opaque("anna", aud="other")).encode()
        assert "AUTHENTICATIONFAILED" in daemon.by_imap("OAUTHBEARER", text)[0]
        issuer.broken = True
        text = message("OAUTHBEARER", issuer.opaque("anna"))
        answer, shown = daemon.by_imap("OAUTHBEARER", text.encode())
        assert "UNAVAILABLE" in answer and shown == [b""], (answer, shown)
        equal(daemon.by_smtp("OAUTHBEARER", text), (454, []), "nobody can tell")


def test_curl_logs_in_with_a_token(demo):
    with running(demo) as daemon:
        token = daemon.issuer.token("anna")
        options = ["--cacert", daemon.ca_pem, "--user", "anna:", "-v"]
        urls = (
            (f"imaps://localhost:{daemon.ports['imaps']}/", "AUTHENTICATE OAUTHBEARER"),
            (f"smtps://localhost:{daemon.ports['submissions']}/", "AUTH OAUTHBEARER"),
        )
        for url, sent in urls:
            for more in ([], ["--sasl-ir"]):
                bearer = ["--oauth2-bearer", token, "--request", "NOOP"]
                said = command("curl", url, *options, *bearer, *more)
                assert sent in said, said
            wrong = ["--oauth2-bearer", daemon.issuer.unsigned("anna"), "--request", "NOOP"]
            command("curl", url, *options, *wrong, check=67)


def test_a_session_outlives_its_token_and_not_its_user(demo):
    with running(demo) as daemon:
        ends = int(time.time()) - 57
        client = daemon.imap()
        text = message("OAUTHBEARER", daemon.issuer.token("anna", exp=ends))
        equal(client.authenticate("OAUTHBEARER", lambda _: text.encode())[0], "OK", "in its leeway")
        time.sleep(max(0, ends + 61 - time.time()))
        answer, _ = daemon.by_imap("OAUTHBEARER", text.encode())
        assert "AUTHENTICATIONFAILED" in answer, "it has expired for others"
        equal(client.select("INBOX")[0], "OK", "the session goes on")
        daemon.declare("ben")
        time.sleep(0.3)
        daemon.process.send_signal(signal.SIGHUP)
        until(lambda: "directory in force" in daemon.log().split("ready")[-1], "the reload")
        with contextlib.suppress(imaplib.IMAP4.abort, OSError):
            equal(client.noop()[0], "never", "the user is gone")


def test_nothing_is_advertised_where_no_tokens_are_taken(demo):
    with running(demo, None) as daemon:
        client = daemon.imap()
        assert not [c for c in client.capabilities if "OAUTH" in c], client.capabilities
        answer, _ = daemon.by_imap("XOAUTH2", message("XOAUTH2", "t0ken").encode())
        assert "CANNOT" in answer, answer
        equal(daemon.by_smtp("OAUTHBEARER", message("OAUTHBEARER", "t0ken"))[0], 504, "AUTH")
        client.shutdown()
    with running(demo) as daemon:
        client = daemon.imap()
        assert {"AUTH=OAUTHBEARER", "AUTH=XOAUTH2"} <= set(client.capabilities), client.capabilities
        client.shutdown()
        plain = imaplib.IMAP4("localhost", daemon.ports["imap"])
        assert not [c for c in plain.capabilities if "AUTH=" in c], "a token is sent in clear"
        plain.shutdown()


def test_check_says_where_the_table_is_wrong(demo):
    with running(demo) as daemon:
        command(daemon.binary, "check", "--config", daemon.config)
        with open(daemon.config) as file:
            text = file.read()
        wrong = daemon.write("wrong.toml", text.replace("audience =", "audiences ="))
        said = command(daemon.binary, "check", "--config", wrong, check=1)
        line = text[: text.index("audience =")].count("\n") + 1
        assert f"wrong.toml:{line}:1: unknown key `audiences`" in said, said
        wrong = daemon.write("wrong.toml", text + 'jwks = "file:missing.json"\n')
        said = command(daemon.binary, "check", "--config", wrong, check=1)
        assert "wrong.toml:" in said and "missing.json" in said, said
