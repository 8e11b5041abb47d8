"""Answering as the inbox: submission by several programs, the shared Sent, marks, the world
outside, and what comes back from it."""

import os
import random
import smtplib
import ssl
from email.message import EmailMessage

import imapclient
from harness import command, equal, until

ANSWERED, SEEN = imapclient.ANSWERED, imapclient.SEEN


def unique(word):
    return f"{word} {random.getrandbits(48):x}"


def submission(demo, login, implicit=False):
    """A logged-in smtplib connection: STARTTLS on 587's port, or TLS on 465's."""
    if implicit:
        client = smtplib.SMTP_SSL(
            "localhost", demo.ports["submissions"], timeout=20, context=demo.tls
        )
    else:
        client = smtplib.SMTP("localhost", demo.ports["submission"], timeout=20)
        client.starttls(context=demo.tls)
    client.login(login, demo.password(login))
    return client


def reply(demo, subject, sender="support@example.org", to="kunde@outside.example", parent=None):
    message = EmailMessage()
    message["From"] = sender
    message["To"] = to
    message["Subject"] = subject
    message["Message-ID"] = f"<{random.getrandbits(64):x}@client.example>"
    if parent:
        message["In-Reply-To"] = parent
    message.set_content("Gern geschehen.\n")
    return message


def flags(demo, login, folder, subject):
    with demo.imap(login) as client:
        client.select_folder(folder, readonly=True)
        found = client.get_flags(client.search(["SUBJECT", subject], "UTF-8"))
        return [set(f) - {b"\\Recent"} for f in found.values()]


def asked(demo, subject):
    """A customer's mail to support@; gives its Message-ID."""
    demo.mail(demo.address("Support"), subject=subject)
    with demo.imap("anna") as client:
        client.select_folder("Shared/Support", readonly=True)
        uid = client.search(["SUBJECT", subject], "UTF-8")[0]
        envelope = client.fetch([uid], ["ENVELOPE"])[uid][b"ENVELOPE"]
        return envelope.message_id.decode()


def test_a_reply_leaves_as_the_inbox_and_the_team_sees_it(demo):
    question, answer = unique("Frage"), unique("Antwort")
    parent = asked(demo, question)
    for implicit, subject in ((False, answer), (True, answer + " TLS")):
        with submission(demo, "anna", implicit) as client:
            client.send_message(reply(demo, subject, parent=parent))
        outside = until(lambda: demo.outside.with_subject(subject), "the mail outside")
        sender, recipients, message = outside[0]
        equal((len(outside), sender), (1, "support@example.org"), "what left")
        equal(recipients, ["kunde@outside.example"], "recipients")
        assert "client.example" not in str(message["Received"]), message["Received"]
        for login in ("anna", "ben"):
            equal(flags(demo, login, "Shared/Support/Sent", subject), [{SEEN}], f"Sent of {login}")
    assert ANSWERED in flags(demo, "ben", "Shared/Support/Assigned/anna", question)[0]


def test_bcc_does_not_leave_and_ben_gets_his_copy_at_once(demo):
    subject = unique("Blind")
    message = reply(demo, subject)
    message["Bcc"] = "ben@example.org"
    with submission(demo, "anna") as client:
        client.sendmail(
            "support@example.org", ["kunde@outside.example", "ben@example.org"], bytes(message)
        )
    equal(len(flags(demo, "ben", "INBOX", subject)), 1, "ben's copy, when the 250 is there")
    outside = until(lambda: demo.outside.with_subject(subject), "the mail outside")
    assert outside[0][2]["Bcc"] is None, outside[0][2]


def test_somebody_elses_address_is_refused_with_the_addresses_allowed(demo):
    with submission(demo, "anna") as client:
        try:
            client.sendmail("sales@example.org", ["kunde@outside.example"], "Subject: x\r\n\r\n")
        except smtplib.SMTPSenderRefused as error:
            equal(error.smtp_code, 550, "code")
            assert b"support@example.org" in error.smtp_error, error.smtp_error
        else:
            raise AssertionError("anna sent as sales@")
        message = reply(demo, unique("Falsch"), sender="sales@example.org")
        try:
            client.sendmail("anna@example.org", ["kunde@outside.example"], bytes(message))
        except smtplib.SMTPDataError as error:
            equal(error.smtp_code, 550, "code")
        else:
            raise AssertionError("anna wrote sales@ into From")


def test_an_answer_from_a_personal_address_is_refused_with_the_inboxs(demo):
    parent = asked(demo, unique("Frage"))
    message = reply(demo, unique("Re"), sender="anna@example.org", parent=parent)
    with submission(demo, "anna") as client:
        try:
            client.send_message(message)
        except smtplib.SMTPDataError as error:
            assert b"support@example.org" in error.smtp_error, error.smtp_error
        else:
            raise AssertionError("it left as anna")


def test_without_login_nothing_can_be_submitted(demo):
    with smtplib.SMTP("localhost", demo.ports["submission"], timeout=20) as client:
        client.starttls(context=demo.tls)
        client.ehlo()
        equal(client.mail("anna@example.org")[0], 530, "MAIL before AUTH")
        try:
            client.login("anna", "wrong")
        except smtplib.SMTPAuthenticationError as error:
            equal(error.smtp_code, 535, "wrong password")
        else:
            raise AssertionError("logged in with a wrong password")


def test_the_copy_that_a_program_files_itself_is_recognised(demo):
    subject = unique("Kopie")
    message = reply(demo, subject)
    with submission(demo, "anna") as client:
        client.send_message(message)
    message["X-Own"] = "a field of the program's own"
    copy = bytes(message).replace(b"\n", b"\r\n")
    with demo.imap("anna") as client:
        client.select_folder("Shared/Support/Sent", readonly=True)
        uid = client.search(["SUBJECT", subject])[0]
        told = client.append("Shared/Support/Sent", copy, [SEEN])
        assert f" {uid}]".encode() in told, (uid, told)
        told = client.append("Sent", copy, [SEEN])
        assert b"APPENDUID" in told, told
        client.select_folder("Sent", readonly=True)
        equal(len(client.search(["SUBJECT", subject])), 1, "her own copy")
    equal(len(flags(demo, "ben", "Shared/Support/Sent", subject)), 1, "copies for the team")


def test_a_refusal_outside_comes_back_to_the_inbox_that_sent(demo):
    subject = unique("Unzustellbar")
    with submission(demo, "ben") as client:
        client.send_message(reply(demo, subject, to="refused@outside.example"))

    def report():
        with demo.imap("anna") as client:
            client.select_folder("Shared/Support", readonly=True)
            found = client.search(["FROM", "MAILER-DAEMON", "TEXT", subject])
            return found and client.fetch(found, ["BODY[]"])[found[0]][b"BODY[]"]

    text = until(report, "a report in Shared/Support", 10)
    for wanted in (b"multipart/report", b"There is nobody of that name", b"Action: failed"):
        assert wanted in text, text.decode(errors="replace")


def test_swaks_submits(demo):
    subject = unique("swaks")
    for port, tls in (("submission", "--tls"), ("submissions", "--tlsc")):
        command(
            "swaks", "--server", f"127.0.0.1:{demo.ports[port]}", tls, "--auth", "PLAIN",
            "--auth-user", "ben", "--auth-password", demo.password("ben"),
            "--from", "sales@example.org", "--to", "kunde@outside.example",
            "--header", f"Subject: {subject} {port}", "--suppress-data",
        )  # fmt: skip
        until(lambda: demo.outside.with_subject(f"{subject} {port}"), "swaks' mail outside")


def test_msmtp_submits(demo):
    subject = unique("msmtp")
    message = reply(demo, subject)
    del message["Message-ID"]
    command(
        "msmtp", "--host=127.0.0.1", f"--port={demo.ports['submission']}", "--tls=on",
        "--tls-starttls=on", f"--tls-trust-file={demo.ca_pem}", "--auth=on", "--user=anna",
        f"--passwordeval=echo {demo.password('anna')}", "--from=support@example.org",
        "--tls-host-override=localhost", "-t", input=bytes(message),
    )  # fmt: skip
    outside = until(lambda: demo.outside.with_subject(subject), "msmtp's mail outside")
    assert outside[0][2]["Message-ID"] and outside[0][2]["Date"], outside[0][2]


def test_curl_submits_a_large_message(demo):
    subject = unique("curl")
    message = reply(demo, subject)
    message.add_attachment(
        random.Random(7).randbytes(1_500_000), maintype="application", subtype="octet-stream"
    )
    path = os.path.join(demo.directory, "large.eml")
    with open(path, "wb") as file:
        file.write(bytes(message).replace(b"\n", b"\r\n"))
    command(
        "curl", "-sS", "--cacert", demo.ca_pem, f"smtps://localhost:{demo.ports['submissions']}",
        "--user", f"anna:{demo.password('anna')}", "--mail-from", "support@example.org",
        "--mail-rcpt", "kunde@outside.example", "--upload-file", path,
    )  # fmt: skip
    outside = until(lambda: demo.outside.with_subject(subject), "curl's mail outside", 10)
    attachment = next(p for p in outside[0][2].walk() if p.get_content_maintype() == "application")
    equal(attachment.get_payload(decode=True), random.Random(7).randbytes(1_500_000), "bytes")


def test_tls_is_verified(demo):
    context = ssl.create_default_context(cafile=demo.ca_pem)
    with smtplib.SMTP_SSL("localhost", demo.ports["submissions"], context=context) as client:
        equal(client.noop()[0], 250, "NOOP")
