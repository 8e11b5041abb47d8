"""The way out by submission: who may log in and how, by smtplib, curl, swaks and msmtp. What is
sent on is tested where it is sent."""

import base64
import contextlib
import hashlib
import hmac
import os
import secrets
import smtplib
import socket
import ssl
import subprocess
import time

from harness import command, equal, until


@contextlib.contextmanager
def submission(demo, service="submission", tls=True, context=None):
    """An smtplib connection, under TLS and greeted."""
    port = demo.ports[service]
    if service == "submissions":
        client = smtplib.SMTP_SSL("localhost", port, timeout=30, context=demo.tls)
    else:
        client = smtplib.SMTP("localhost", port, timeout=30)
        if tls:
            client.starttls(context=context or demo.tls)
    client.ehlo("client.example")
    try:
        yield client
    finally:
        client.close()


def test_login_on_both_ports_by_both_mechanisms(demo):
    for service in ("submission", "submissions"):
        for mechanism in ("PLAIN", "LOGIN"):
            with submission(demo, service) as client:
                equal(client.esmtp_features["auth"].split(), ["PLAIN", "LOGIN"], "mechanisms")
                client.user, client.password = "anna", demo.password("anna")
                method = getattr(client, f"auth_{mechanism.lower()}")
                code, _ = client.auth(mechanism, method)
                equal(code, 235, f"{mechanism} on {service}")
                equal(client.mail("anna@example.org")[0], 250, "MAIL")


def test_nothing_is_sent_without_a_login(demo):
    with submission(demo) as client:
        equal(client.mail("anna@example.org")[0], 530, "MAIL before login")
        equal(client.rcpt("kunde@example.net")[0], 503, "RCPT before login")
        equal(client.docmd("AUTH", "DIGEST-MD5")[0], 504, "an unknown mechanism")
        equal(client.login("anna", demo.password("anna"))[0], 235, "login")
        equal(client.mail("anna@example.org")[0], 250, "MAIL after login")
        equal(client.rcpt("kunde@example.net")[0], 250, "somebody elsewhere")
        equal(client.rcpt("nobody-here@example.org")[0], 550, "nobody here")


def test_port_25_has_no_login(demo):
    with demo.smtp() as client:
        client.ehlo("client.example")
        assert "auth" not in client.esmtp_features, client.esmtp_features
        equal(client.docmd("AUTH", "PLAIN")[0], 502, "AUTH on port 25")


def test_curl_logs_in_and_is_refused_with_a_wrong_password(demo):
    for scheme, service in (("smtp", "submission"), ("smtps", "submissions")):
        url = f"{scheme}://localhost:{demo.ports[service]}/client.example"
        options = ["--ssl-reqd", "--cacert", demo.ca_pem, "-v", "--request", "NOOP"]
        said = command("curl", url, *options, "--user", f"ben:{demo.password('ben')}")
        assert "< 235 2.7.0" in said, said
        said = command("curl", url, *options, "--user", "ben:wrong", check=67)
        assert "< 535 5.7.8" in said, said


def test_swaks_logs_in_by_each_mechanism(demo):
    for mechanism in ("PLAIN", "LOGIN"):
        for service, tls in (("submission", "--tls"), ("submissions", "--tls-on-connect")):
            said = command(
                "swaks", "--server", f"localhost:{demo.ports[service]}", tls, "--timeout", "20",
                "--tls-verify", "--tls-ca-path", demo.ca_pem, "--auth", mechanism,
                "--auth-user", "anna", "--auth-password", demo.password("anna"),
                "--from", "anna@example.org", "--to", "kunde@example.net", "--quit-after", "RCPT",
            )  # fmt: skip
            assert "<~  235 2.7.0" in said and "<~  250 2.1.5" in said, said


def test_a_user_who_is_gone_sends_nothing_more(demo):
    with submission(demo) as client:
        client.login("dora", demo.password("dora"))
        equal(client.mail("dora@example.org")[0], 250, "MAIL before")
        equal(client.rcpt("kunde@example.net")[0], 250, "RCPT before")
        with changed_directory(demo, without_user("dora")):

            def is_gone():
                return client.rset()[0] == 250 and client.mail("dora@example.org")[0] == 530

            until(is_gone, "MAIL refused")


def without_user(login):
    def change(text):
        tables = text.split("[[")
        kept = [t for t in tables if f'login = "{login}"' not in t]
        return "[[".join(kept).replace(f'"{login}", ', "").replace(f', "{login}"', "")

    return change


@contextlib.contextmanager
def changed_directory(demo, change):
    """Another directory for a while."""
    with open(demo.directory_toml) as file:
        before = file.read()
    try:
        write(demo.directory_toml, change(before))
        demo.reload()
        yield
    finally:
        write(demo.directory_toml, before)
        demo.reload()


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def scram_hashes(demo):
    """A change of the directory: each password is stored for SCRAM."""

    def change(text):
        lines, login = [], None
        for line in text.split("\n"):
            if line.startswith("login = "):
                login = line.split('"')[1]
            if line.startswith("password = "):
                made = subprocess.run(
                    [demo.binary, "hash-password", "--scram"],
                    input=demo.password(login).encode(), capture_output=True, check=True,
                )  # fmt: skip
                line = f'password = "{made.stdout.decode().strip()}"'
            lines.append(line)
        return "\n".join(lines)

    return change


class Scram:
    """The client's side of RFC 5802; `binding` is what stands behind the flag `p=…`."""

    def __init__(self, user, password, flag="n", binding=b""):
        self.header, self.password, self.binding = f"{flag},,", password.encode(), binding
        self.name = "SCRAM-SHA-256-PLUS" if flag.startswith("p=") else "SCRAM-SHA-256"
        self.nonce = secrets.token_hex(12)
        self.bare = f"n={user},r={self.nonce}"

    def first(self):
        return encoded(self.header + self.bare)

    def final(self, challenge):
        server_first = base64.b64decode(challenge).decode()
        attributes = dict(part.split("=", 1) for part in server_first.split(","))
        assert attributes["r"].startswith(self.nonce) and attributes["r"] != self.nonce
        salted = hashlib.pbkdf2_hmac(
            "sha256", self.password, base64.b64decode(attributes["s"]), int(attributes["i"])
        )
        client_key = signed(salted, "Client Key")
        header = base64.b64encode(self.header.encode() + self.binding).decode()
        without_proof = f"c={header},r={attributes['r']}"
        message = f"{self.bare},{server_first},{without_proof}"
        mask = signed(hashlib.sha256(client_key).digest(), message)
        proof = bytes(one ^ other for one, other in zip(client_key, mask))
        self.server = base64.b64encode(signed(signed(salted, "Server Key"), message)).decode()
        return encoded(f"{without_proof},p={base64.b64encode(proof).decode()}")

    def knows(self, challenge):
        """Whether the server has proven that it has the keys."""
        return base64.b64decode(challenge).decode() == f"v={self.server}"


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def signed(key, text):
    return hmac.new(key, text.encode(), "sha256").digest()


def scram_by_smtp(client, scram):
    """The code of the last reply."""
    code, text = client.docmd("AUTH", f"{scram.name} {scram.first()}")
    if code == 334:
        code, text = client.docmd(scram.final(text))
    if code == 334:
        assert scram.knows(text), text
        code, _ = client.docmd("")
    return code


def test_scram_is_offered_once_everybody_has_keys_and_works_in_smtp_and_imap(demo):
    with changed_directory(demo, scram_hashes(demo)):
        until(lambda: "SCRAM-SHA-256" in mechanisms(demo), "SCRAM offered")
        password = demo.password("anna")
        with submission(demo) as client:
            equal(client.sock.version(), "TLSv1.3", "the version of TLS")
            assert mechanisms(demo)[0] == "SCRAM-SHA-256-PLUS", mechanisms(demo)
            hidden = scram_by_smtp(client, Scram("anna", password, "y"))
            equal(hidden, 535, "a client that was not shown that it can be bound")
            other = Scram("anna", password, "p=tls-server-end-point", b"x" * 32)
            equal(scram_by_smtp(client, other), 535, "bound to another server")
            equal(scram_by_smtp(client, Scram("anna", password)), 235, "by SCRAM")
            equal(client.mail("anna@example.org")[0], 250, "MAIL")
        with submission(demo) as client:
            scram = Scram("anna", password, "p=tls-server-end-point", end_point(client.sock))
            equal(scram_by_smtp(client, scram), 235, "by SCRAM, bound")
            equal(client.mail("anna@example.org")[0], 250, "MAIL")
        older = ssl.create_default_context(cafile=demo.ca_pem)
        older.maximum_version = ssl.TLSVersion.TLSv1_2
        with submission(demo, context=older) as client:
            assert "SCRAM-SHA-256-PLUS" not in client.esmtp_features["auth"], "nothing to bind to"
            equal(scram_by_smtp(client, Scram("anna", password, "y")), 235, "by SCRAM, TLS 1.2")
        with submission(demo) as client:
            equal(scram_by_smtp(client, Scram("anna", "wrong")), 535, "a wrong password")
            equal(client.login("anna", demo.password("anna"))[0], 235, "PLAIN still works")
        salts = {salt(demo, login) for login in ("nobody-here", "nobody-here", "anna")}
        equal(len(salts), 2, "salts: one each, and always the same")
        scram_by_imap(demo, lambda tls: Scram("anna", password))
        bound = "p=tls-server-end-point"
        scram_by_imap(demo, lambda tls: Scram("anna", password, bound, end_point(tls)))
        msmtp(demo)
        gsasl(demo)
    until(lambda: "SCRAM-SHA-256" not in mechanisms(demo), "SCRAM offered no longer")


def mechanisms(demo):
    with submission(demo) as client:
        return client.esmtp_features["auth"].split()


def salt(demo, login):
    with submission(demo) as client:
        _, text = client.docmd("AUTH", f"SCRAM-SHA-256 {Scram(login, 'x').first()}")
        return base64.b64decode(text).decode().split(",")[1]


def end_point(tls):
    """What RFC 5929 §4 calls tls-server-end-point; the demo's certificate is signed with SHA-256."""
    return hashlib.sha256(tls.getpeercert(binary_form=True)).digest()


def scram_by_imap(demo, made):
    raw = socket.create_connection(("localhost", demo.ports["imaps"]), 20)
    with demo.tls.wrap_socket(raw, server_hostname="localhost") as tls, tls.makefile("rwb") as io:
        assert b" AUTH=SCRAM-SHA-256-PLUS AUTH=SCRAM-SHA-256 AUTH=PLAIN" in io.readline()

        def say(line):
            io.write(f"{line}\r\n".encode())
            io.flush()
            return io.readline().decode().strip()

        scram = made(tls)
        challenge = say(f"a AUTHENTICATE {scram.name} {scram.first()}")
        verifier = say(scram.final(challenge.removeprefix("+ ")))
        assert scram.knows(verifier.removeprefix("+ ")), verifier
        assert say("").startswith("a OK "), "IMAP login"


def msmtp(demo):
    """By GNU SASL, which others wrote: with the right password the message is taken so far."""
    config = os.path.join(demo.directory, "msmtprc")
    for password, words in ((demo.password("anna"), "235"), ("wrong", "535")):
        write(
            config,
            f"account default\nhost localhost\nport {demo.ports['submission']}\ntls on\n"
            f"tls_starttls on\ntls_trust_file {demo.ca_pem}\nauth scram-sha-256\nuser anna\n"
            f"password {password}\nfrom anna@example.org\n",
        )
        os.chmod(config, 0o600)
        said = subprocess.run(
            ["msmtp", "-C", config, "--debug", "kunde@example.net"],
            input=b"Subject: x\n\ntext\n", capture_output=True, timeout=60,
        )  # fmt: skip
        said = (said.stdout + said.stderr).decode(errors="replace")
        assert "--> AUTH SCRAM-SHA-256" in said and f"<-- {words} " in said, said


def gsasl(demo):
    """GNU SASL's own program binds to the exporter of TLS 1.3. RFC 9266"""
    for protocol, port in (("imap", "imap"), ("smtp", "submission")):
        command = ["gsasl", f"--{protocol}", "--starttls", f"--x509-ca-file={demo.ca_pem}"]
        command += ["--mechanism=SCRAM-SHA-256-PLUS", "--authentication-id=anna", "--verbose"]
        ran = subprocess.run(
            [*command, f"--password={demo.password('anna')}", "localhost", str(demo.ports[port])],
            input=b"", capture_output=True, timeout=60,
        )  # fmt: skip
        said = (ran.stdout + ran.stderr).decode(errors="replace")
        equal(ran.returncode, 0, f"{protocol}: {said}")
        exporter = base64.b64encode(b"p=tls-exporter").decode()[:18]
        assert "SCRAM-SHA-256-PLUS" in said and exporter in said, said


def test_wrong_passwords_are_answered_later_and_later(demo):
    """The failures of the tests before count, for they came from the same address."""
    with submission(demo) as client:
        attempt(client, "erik", "wrong")
        started = time.monotonic()
        equal(attempt(client, "erik", "wrong"), 535, "a wrong password")
        held_back = time.monotonic() - started
        assert held_back >= 0.9, f"{held_back:.2f} s"
        equal(attempt(client, "erik", demo.password("erik")), 235, "the right one")


def attempt(client, login, password):
    return client.docmd("AUTH", f"PLAIN {encoded(chr(0) + login + chr(0) + password)}")[0]
