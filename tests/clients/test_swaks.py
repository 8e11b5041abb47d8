"""swaks: the way in by SMTP, in every manner that a sending server may use."""

import email
import os
import random

from harness import command, equal


def swaks(demo, *arguments, to=None, check=0):
    return command(
        "swaks", "--server", f"127.0.0.1:{demo.ports['smtp']}", "--timeout", "20",
        "--ehlo", "client.example.net", "--from", "kunde@example.net",
        "--to", to or demo.address("Support"), "--suppress-data", *arguments, check=check,
    )  # fmt: skip


def subject():
    return f"swaks {random.getrandbits(48):x}"


def arrived(demo, login, folder, text):
    with demo.imap(login) as client:
        client.select_folder(folder, readonly=True)
        return len(client.search(["SUBJECT", text]))


def test_plain_delivery_to_each_inbox(demo):
    for inbox in ("Info", "Support", "Sales"):
        text = subject()
        swaks(demo, "--header", f"Subject: {text}", to=demo.address(inbox))
        equal(arrived(demo, "ben", f"Shared/{inbox}", text), 1, f"instances in {inbox}")


def test_tls_is_verified_and_used(demo):
    text = subject()
    said = swaks(
        demo, "--tls", "--tls-verify", "--tls-ca-path", demo.ca_pem,
        "--header", f"Subject: {text}",
    )  # fmt: skip
    assert "TLS started with cipher" in said, said
    equal(arrived(demo, "ben", "Shared/Support", text), 1, "instances")


def test_pipelining(demo):
    text = subject()
    swaks(demo, "--pipeline", "--header", f"Subject: {text}")
    swaks(demo, "--pipeline", "--tls", "--header", f"Subject: {text} TLS")
    equal(arrived(demo, "ben", "Shared/Support", text), 2, "instances")


def test_several_recipients_get_an_instance_each(demo):
    text = subject()
    to = ",".join([demo.address("Info"), demo.address("Support"), demo.address("Sales")])
    swaks(demo, "--header", f"Subject: {text}", to=to)
    for inbox in ("Info", "Support", "Sales"):
        equal(arrived(demo, "ben", f"Shared/{inbox}", text), 1, f"instances in {inbox}")


def test_unknown_recipient_is_refused_at_rcpt(demo):
    domain = demo.address("Support").partition("@")[2]
    said = swaks(demo, to=f"nobody-here@{domain}", check=24)
    assert "<** 550 5.1.1" in said, said


def test_one_unknown_recipient_among_known_ones(demo):
    text = subject()
    domain = demo.address("Support").partition("@")[2]
    said = swaks(
        demo, "--header", f"Subject: {text}", to=f"nobody@{domain},{demo.address('Support')}"
    )
    assert "<** 550 5.1.1" in said, said
    equal(arrived(demo, "ben", "Shared/Support", text), 1, "instances")


def test_relay_is_refused_in_every_spelling(demo):
    domain = demo.address("Support").partition("@")[2]
    for to in (
        "victim@example.com",
        f"victim%example.com@{domain}",
        f'"victim@example.com"@{domain}',
        f"@{domain}:victim@example.com",
        "victim@[127.0.0.1]",
        f"victim@{domain}.example.com",
    ):
        said = swaks(demo, to=to, check=24)
        assert "<** 550 5.7.1" in said or "<** 550 5.1.1" in said, f"{to}: {said}"
    assert "<** 550 5.7.1" in swaks(demo, to="victim@example.com", check=24)


def test_null_reverse_path_is_accepted(demo):
    text = subject()
    swaks(demo, "--from", "<>", "--header", f"Subject: {text}")
    equal(arrived(demo, "ben", "Shared/Support", text), 1, "instances")


def test_attachment_and_large_message_arrive_whole(demo):
    text = subject()
    path = os.path.join(demo.directory, "attachment.bin")
    data = random.Random(1).randbytes(3_000_000)
    with open(path, "wb") as file:
        file.write(data)
    swaks(demo, "--header", f"Subject: {text}", "--attach", f"@{path}")
    with demo.imap("ben") as client:
        client.select_folder("Shared/Support", readonly=True)
        (uid,) = client.search(["SUBJECT", text])
        whole = client.fetch([uid], ["BODY.PEEK[]"])[uid][b"BODY[]"]
        parts = [p.get_payload(decode=True) for p in email.message_from_bytes(whole).walk()]
        assert data in parts, "the attachment differs"


def test_size_beyond_the_limit_is_refused_before_data(demo):
    said = swaks(demo, "--from", "<k@example.net> SIZE=999999999999", check=23)
    assert "<** 552" in said or "<** 501" in said or "<** 452" in said, said


def test_dots_and_long_lines_survive(demo):
    text = subject()
    path = os.path.join(demo.directory, "dots.eml")
    body = ".\r\n..\r\n.x\r\n" + "z" * 990 + "\r\nEnde\r\n"
    with open(path, "w", newline="") as file:
        file.write(f"Subject: {text}\r\nFrom: k@example.net\r\n\r\n{body}")
    swaks(demo, "--data", f"@{path}")
    with demo.imap("ben") as client:
        client.select_folder("Shared/Support", readonly=True)
        (uid,) = client.search(["SUBJECT", text])
        found = client.fetch([uid], ["BODY.PEEK[TEXT]"])[uid][b"BODY[TEXT]"].decode()
        equal(found.rstrip("\r\n"), body.rstrip("\r\n"), "the text")
