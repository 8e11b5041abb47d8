"""Postfix as the next hop, as a smarthost with a login, and as the upstream of a split domain."""

import os
import re
import subprocess
import time

from rig import Daemon, Postfix, certificate, free_port, mail, text, until


def tls_settings(folder):
    ca, cert, key = certificate(folder)
    return ca, {
        "smtpd_tls_security_level": "may", "smtpd_tls_cert_file": cert, "smtpd_tls_key_file": key,
    }  # fmt: skip


def equal(found, expected, what):
    assert found == expected, f"{what}: found {found!r}, expected {expected!r}"


def judged(folder, records, message):
    """What opendkim says of the first signature, with the keys in a file in place of DNS."""
    lines = []
    for record in records:
        name, _, text = record.partition(" ")
        lines.append(f"{name} {text}\n")
    (folder / "dns").write_text("".join(lines))
    (folder / "judge.conf").write_text(
        f"Mode v\nTestDNSData file:{folder}/dns\nAlwaysAddARHeader yes\nAuthservID judge\n"
    )
    (folder / "judged.eml").write_bytes(message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
    done = subprocess.run(
        ["opendkim", "-x", str(folder / "judge.conf"), "-vv", "-t", str(folder / "judged.eml")],
        capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_mail_reaches_postfix_over_tls_and_its_signature_holds(folder):
    ca, settings = tls_settings(folder)
    postfix = Postfix(folder / "postfix", settings, ["kunde@outside.example"])
    daemon = Daemon(
        folder / "daemon",
        f'via = "smtp://localhost:{postfix.port}"\ntls = "verified"\nca = "{ca}"\n',
    )
    try:
        binary = os.environ["POSTFACH_BIN"]
        made = subprocess.run(
            [binary, "dkim-key", "--domain", "example.org", "--config", str(daemon.config)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        lines = made.stdout.splitlines()
        start = next(n for n, line in enumerate(lines) if line.strip().startswith("[[dkim]]"))
        section = "\n".join(lines[start:])
        records = dns_records(lines[:start])
        daemon.config.write_text(daemon.config.read_text() + "\n" + section + "\n")
        daemon.reload()
        time.sleep(0.5)
        message = mail("Grüße", text="x")
        message.set_content("Grüße aus Köln.\n.\n..\n\nFrom here\n" + "x" * 900 + "\n", cte="8bit")
        with daemon.submission() as client:
            client.send_message(message)
        got = until(lambda: postfix.messages("kunde@outside.example"), "the mail", 15)[0]
        received = [line for line in got.split(b"\n") if b"using TLS" in line]
        assert received, got.decode()
        assert b"Return-Path: <support@example.org>" in got, got.decode()
        # Postfix puts its own fields in front; the signature covers what stands behind.
        verdict = judged(folder, records, got)
        assert "pass" in verdict and "fail" not in verdict, f"{verdict}\n{records}\n{got.decode()}"
        assert got.count(b"DKIM-Signature:") >= 1
        return f"signatures: {got.count(b'DKIM-Signature:')}"
    finally:
        daemon.stop()
        postfix.stop()


def dns_records(lines):
    """`name value` of each TXT record that was printed, its strings joined."""
    text = "\n".join(lines)
    records = []
    for entry in text.split("_domainkey")[1:]:
        strings = entry.split("\n\n")[0].split('"')[1::2]
        records.append("".join(strings))
    names = [w.rstrip(".") for w in text.split() if "_domainkey" in w]
    return [f"{name} {record}" for name, record in zip(names, records)]


def test_a_certificate_of_another_name_is_waited_for_where_verification_is_wanted(folder):
    ca, settings = tls_settings(folder)
    postfix = Postfix(folder / "postfix", settings, ["kunde@outside.example"])
    via = f'via = "smtp://127.0.0.1:{postfix.port}"\nretry_first_secs = 1\nretry_max_secs = 1\n'
    strict = Daemon(folder / "strict", f'{via}tls = "verified"\nca = "{ca}"\n')
    foreign = Daemon(
        folder / "foreign",
        f'via = "smtp://localhost:{postfix.port}"\ntls = "verified"\nretry_first_secs = 1\n',
    )
    loose = Daemon(folder / "loose", via)
    try:
        for daemon, name in ((strict, "127.0.0.1"), (foreign, "unknown authority")):
            with daemon.submission() as client:
                client.send_message(mail(name))
        time.sleep(3)
        for daemon in (strict, foreign):
            assert "kunde@outside.example" in daemon.queue(), daemon.queue() + daemon.log()
        equal(postfix.messages("kunde@outside.example"), [], "what got through")
        with loose.submission() as client:
            client.send_message(mail("opportunistic"))
        got = until(lambda: postfix.messages("kunde@outside.example"), "the mail", 15)[0]
        assert b"using TLS" in got, got.decode()
    finally:
        for daemon in (strict, foreign, loose):
            daemon.stop()
        postfix.stop()


DOVECOT = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols =
ssl = no
default_internal_user = nobody
default_internal_group = nogroup
default_login_user = nobody
auth_mechanisms = plain login
passdb {{
  driver = static
  args = password=geheim
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home=/tmp
}}
service auth {{
  unix_listener {folder}/auth {{
    mode = 0666
  }}
}}
"""


def test_a_smarthost_wants_a_login(folder):
    ca, settings = tls_settings(folder)
    conf = folder / "dovecot.conf"
    folder.chmod(0o755)
    conf.write_text(DOVECOT.format(folder=folder))
    dovecot = subprocess.Popen(["dovecot", "-F", "-c", str(conf)])
    settings |= {
        "smtpd_sasl_auth_enable": "yes", "smtpd_sasl_type": "dovecot",
        "smtpd_sasl_path": folder / "auth", "smtpd_tls_auth_only": "yes",
        "smtpd_relay_restrictions": "permit_sasl_authenticated, reject", "mynetworks": "",
    }  # fmt: skip
    postfix = Postfix(folder / "postfix", settings, ["kunde@outside.example"])
    secret = folder / "secret"
    secret.write_text("geheim\n")
    daemon = Daemon(
        folder / "daemon",
        f'via = "smtp://haus@localhost:{postfix.port}"\npassword = "file:{secret}"\n'
        f'tls = "verified"\nca = "{ca}"\n',
    )
    try:
        until(lambda: (folder / "auth").exists(), "dovecot's auth", 10)
        with daemon.submission() as client:
            client.send_message(mail("mit Anmeldung"))
        until(lambda: postfix.messages("kunde@outside.example"), daemon.log, 15)
        assert "sasl_username=haus" in postfix.log(), postfix.log()
    finally:
        daemon.stop()
        postfix.stop()
        dovecot.terminate()
        dovecot.wait(10)


SPLIT = """
[[domain]]
name = "split.example"
upstream = "smtp://127.0.0.1:{port}"
[[channel]]
name = "Ben Split"
owner = "ben"
addresses = ["ben@split.example"]
personal = true
"""


def code(answer):
    return answer[0], answer[1].decode()


def asked(postfix, recipient):
    """How often Postfix was asked for the address. Its log is written behind its answers, in their
    order: what was asked before an address is in the log when that address is."""
    return len(re.findall(rf"< \S+: RCPT TO:<{re.escape(recipient)}>", postfix.log()))


def test_postfix_keeps_the_rest_of_a_split_domain(folder):
    boxes = ["alt@split.example", "ben@split.example"]
    settings = {"debug_peer_list": "127.0.0.1", "debug_peer_level": "1"}
    postfix = Postfix(folder / "postfix", settings, boxes)
    daemon = Daemon(
        folder / "daemon", 'via = "hold"\nretry_first_secs = 1\nretry_max_secs = 1\n',
        SPLIT.replace("{port}", str(postfix.port)),
    )  # fmt: skip
    try:
        with daemon.smtp() as client:
            client.mail("kunde@outside.example")
            answer = code(client.rcpt("niemand@split.example"))
            equal(answer[0], 550, "an address that nobody has")
            assert "User unknown in virtual mailbox table" in answer[1], answer
            equal(code(client.rcpt("niemand@split.example")), answer, "the second time")
            equal(client.rcpt("alt@split.example")[0], 250, "an address of the upstream's")
            equal(client.rcpt("alt@split.example")[0], 250, "again")
            equal(client.rcpt("auch-niemand@split.example")[0], 550, "another that nobody has")
            last = "auch-niemand@split.example"
            until(lambda: asked(postfix, last) == 1, "the log of what was asked", 10)
            for address in ["niemand@split.example", "alt@split.example"]:
                equal(asked(postfix, address), 1, f"how often Postfix was asked for {address}")
            equal(client.rcpt("ben@split.example")[0], 250, "a channel's address")
            message = text("From: k@outside.example", "Subject: an zwei", "Message-ID: <1@o>")
            equal(client.data(message)[0], 250, "the content")
        for box in boxes:
            got = until(lambda: postfix.messages(box), f"{box} {daemon.log()}", 15)
            equal(len(got), 1, f"copies for {box}")
            assert b"Return-Path: <kunde@outside.example>" in got[0], got[0].decode()
            assert b"by mail.example.org" in got[0], got[0].decode()
        equal(len(daemon.messages("ben", "Private/Ben Split")), 1, "copies in the channel")

        # The upstream is down: others come again, our users' mail waits, the channel gets its own.
        postfix.stop()
        with daemon.smtp() as client:
            client.mail("kunde@outside.example")
            equal(client.rcpt("neu@split.example")[0], 451, "an address that nobody can ask for")
        with daemon.submission() as client:
            client.send_message(mail("wartet", to="neu@split.example"))
        assert "neu@split.example" in daemon.queue(), daemon.queue()
        with daemon.smtp() as client:
            client.mail("kunde@outside.example")
            equal(client.rcpt("ben@split.example")[0], 250, "remembered")
        daemon.stop()
        daemon.start()
        with daemon.smtp() as client:
            client.mail("kunde@outside.example")
            equal(client.rcpt("ben@split.example")[0], 250, "a channel's address")
            equal(client.data(message.replace("<1@o>", "<2@o>"))[0], 250, "the content")
        equal(len(daemon.messages("ben", "Private/Ben Split")), 2, "copies in the channel")
        postfix.start()
        until(lambda: len(postfix.messages("ben@split.example")) == 2, "its copy, later", 15)
        # the upstream refuses what it could not be asked for: the sender, a user, is told
        until(
            lambda: any(b"neu@split.example" in m for m in daemon.messages("anna", "Shared/Support")),
            "a report", 15,
        )  # fmt: skip
    finally:
        daemon.stop()
        postfix.stop()


def test_a_retry_after_a_lost_answer_reaches_the_upstream_once(folder):
    boxes = ["alt@split.example", "ben@split.example"]
    postfix = Postfix(folder / "postfix", {}, boxes)
    directory = SPLIT.replace("{port}", str(postfix.port))
    daemon = Daemon(folder / "daemon", 'via = "hold"\n', directory)
    message = text("From: k@outside.example", "Subject: zweimal", "Message-ID: <2@o>")
    try:
        for _ in range(2):
            with daemon.smtp() as client:
                client.mail("kunde@outside.example")
                for box in boxes:
                    equal(client.rcpt(box)[0], 250, box)
                equal(client.data(message)[0], 250, "the content")
        until(lambda: all(postfix.messages(box) for box in boxes), "both", 15)
        time.sleep(2)
        equal([len(postfix.messages(box)) for box in boxes], [1, 1], "copies at the upstream")
        equal(len(daemon.messages("ben", "Private/Ben Split")), 1, "copies in the channel")
    finally:
        daemon.stop()
        postfix.stop()


def test_two_servers_that_take_each_other_for_the_upstream_do_not_go_round_for_ever(folder):
    port = free_port()
    postfix = Postfix(
        folder / "postfix",
        {
            "virtual_mailbox_domains": "", "relay_domains": "split.example",
            "relay_transport": f"smtp:[127.0.0.1]:{port}", "hopcount_limit": "90",
        },
    )  # fmt: skip
    daemon = Daemon(
        folder / "daemon",
        'via = "hold"\nretry_first_secs = 1\n',
        SPLIT.replace("{port}", str(postfix.port)),
    )
    daemon.stop()
    daemon.config.write_text(
        daemon.config.read_text().replace(f":{daemon.ports['smtp']}", f":{port}")
    )
    daemon.ports["smtp"] = port
    daemon.start()
    try:
        with daemon.smtp() as client:
            client.mail("kunde@outside.example")
            equal(client.rcpt("kreis@split.example")[0], 250, "each believes the other")
            message = text("From: k@o.example", "Subject: Kreis", "Message-ID: <k@o>")
            equal(client.data(message)[0], 250, "the content")
        until(lambda: "5.4.6" in postfix.log(), "the end of the loop", 30)
        until(lambda: daemon.queue().startswith("the queue is empty"), "an empty queue", 10)
    finally:
        daemon.stop()
        postfix.stop()
