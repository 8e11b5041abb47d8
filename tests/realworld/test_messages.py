"""Messages at the edges, from a user's program through the queue to a server outside."""

import threading
import time

from rig import Daemon, mail, text, until
from sink import Sink
from test_postfix import equal

TO = "kunde@outside.example"


def started(folder, sink, outbound=""):
    return Daemon(folder / "daemon", f'via = "smtp://127.0.0.1:{sink.port}"\n{outbound}')


def crlf(message):
    return bytes(message).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def submit(client, sender, to, message, *options):
    """MAIL, RCPT, DATA; the first answer that is none of 250 and 354, or the last."""
    client.rset()
    answer = client.mail(sender, options)
    for recipient in [to] if isinstance(to, str) else to:
        if answer[0] == 250:
            answer = client.rcpt(recipient)
    return client.data(message) if answer[0] == 250 else answer


def test_fifty_megabytes_go_through_in_bounded_memory(folder):
    sink = Sink()
    daemon = started(folder, sink)
    peaks, done = [], threading.Event()

    def watch():
        while not done.is_set():
            with open(f"/proc/{daemon.process.pid}/status") as status:
                peaks.append(next(int(x.split()[1]) for x in status if x.startswith("RssAnon")))
            time.sleep(0.02)

    try:
        watcher = threading.Thread(target=watch)
        watcher.start()
        head = text(
            "From: support@example.org", f"To: {TO}", "Subject: gross", "Message-ID: <g@c>", body=""
        ).encode()
        line = b"x" * 76 + b"\r\n"
        body = head + line * ((52_000_000 - len(head)) // len(line))
        with daemon.submission() as client:
            equal(submit(client, "support@example.org", TO, body)[0], 250, "52 MB")
            too_large = client.mail("support@example.org", ["SIZE=60000000"])
            equal(too_large[0], 552, "60 MB, announced")
        until(lambda: sink.messages, "the mail", 60)
        got = sink.messages[0][2]
        assert got.endswith(body[len(head) :]), "another body arrived"
        done.set()
        watcher.join()
        note = f"anonymous memory: {peaks[0]} KiB at first, {max(peaks)} KiB at most"
        assert max(peaks) - peaks[0] < 100 * 1024, note
        return note
    finally:
        done.set()
        daemon.stop()
        sink.stop()


def test_a_thousand_recipients_get_one_each(folder):
    sink = Sink()
    daemon = started(folder, sink)
    try:
        recipients = [f"k{n}@d{n % 7}.example" for n in range(1000)]
        with daemon.submission() as client:
            client.mail("support@example.org")
            for recipient in recipients:
                equal(client.rcpt(recipient)[0], 250, recipient)
            equal(client.rcpt("k1000@outside.example")[0], 452, "one more")
            equal(client.data(crlf(mail("tausend")))[0], 250, "the content")

        def all_of_them():
            found = [recipient for _, some, _ in list(sink.messages) for recipient in some]
            return len(found) >= 1000 and found

        got = until(all_of_them, "all of them", 30)
        equal(sorted(got), sorted(recipients), "who got it")
        until(lambda: daemon.queue().startswith("the queue is empty"), "an empty queue")
        return f"in {len(sink.messages)} transactions"
    finally:
        daemon.stop()
        sink.stop()


def test_addresses_beyond_ascii_go_where_they_are_understood(folder):
    knows = Sink(offers=("8BITMIME", "SMTPUTF8", "SIZE 100000000"))
    ignorant = Sink()
    daemon = Daemon(
        folder / "daemon",
        f'via = "smtp://127.0.0.1:{knows.port}"\n[[outbound.destination]]\ndomain = "old.example"\n'
        f'via = "smtp://127.0.0.1:{ignorant.port}"\n',
    )
    try:
        with daemon.submission() as client:
            for number, domain in enumerate(("new.example", "old.example")):
                client.command_encoding = "utf-8"
                body = text(
                    "From: Jörg <jörg@example.org>", f"To: müller@{domain}", "Subject: Grüße",
                    f"Message-ID: <{number}@c>",
                ).encode()  # fmt: skip
                to, options = f"müller@{domain}", ("SMTPUTF8", "BODY=8BITMIME")
                answer = submit(client, "jörg@example.org", to, body, *options)
                equal(answer[0], 250, domain)
        until(lambda: knows.messages, "the mail")
        assert "jörg@example.org".encode() in knows.messages[0][2], knows.messages
        assert "SMTPUTF8" in knows.mail_lines[-1], knows.mail_lines
        report = until(
            lambda: [m for m in daemon.messages("anna", "INBOX") if b"multipart/report" in m],
            "a report",
            10,
        )[0]
        assert b"old.example" in report, report.decode()
        equal(ignorant.messages, [], "what a server got that does not understand it")
    finally:
        daemon.stop()


def test_eight_bits_are_not_sent_where_they_are_not_taken_and_the_sender_is_told(folder):
    sink = Sink(offers=("SIZE 100000000",))
    daemon = started(folder, sink)
    try:
        with daemon.submission() as client:
            body = text(
                "From: support@example.org", "Subject: acht", "Message-ID: <8@c>",
                "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
                "Content-Transfer-Encoding: 8bit", body="Grüße\r\n",
            )  # fmt: skip
            answer = submit(client, "support@example.org", TO, body.encode(), "BODY=8BITMIME")
            equal(answer[0], 250, "said")
            # programs that do not say so are common
            body = body.replace("<8@c>", "<9@c>").replace("acht", "neun")
            equal(submit(client, "support@example.org", TO, body.encode())[0], 250, "not said")

        def both():
            found = daemon.messages("anna", "Shared/Support")
            return len(found) == 2 and found

        reports = until(both, "reports", 10)
        equal(sink.messages, [], "what left")
        assert all(b"5.6.3" in r for r in reports), reports[0].decode()
    finally:
        daemon.stop()


def test_long_lines_arrive_as_they_are_or_come_back(folder):
    sink = Sink()
    daemon = started(folder, sink)
    try:
        with daemon.submission() as client:
            fields = "From: support@example.org", "Subject: lang", "Message-ID: <l@c>"
            body = text(*fields, body="x" * 5000 + "\r\n")
            equal(submit(client, "support@example.org", TO, body)[0], 250, "a line of 5000")
        until(lambda: sink.messages, "the mail")
        assert b"x" * 5000 + b"\r\n" in sink.messages[0][2]
    finally:
        daemon.stop()


def test_a_message_to_hidden_recipients_only(folder):
    sink = Sink()
    daemon = started(folder, sink)
    try:
        with daemon.submission() as client:
            body = text(
                "From: support@example.org", "Bcc: a@one.example,", "\tb@two.example",
                "Subject: blind", "Message-ID: <b@c>",
            )  # fmt: skip
            to = ["a@one.example", "b@two.example"]
            equal(submit(client, "support@example.org", to, body)[0], 250, "it")
        until(lambda: sum(len(m[1]) for m in list(sink.messages)) == 2, "both")
        for _, recipients, message in sink.messages:
            assert b"bcc" not in message.lower(), message.decode()
            for other in ("a@one.example", "b@two.example"):
                assert other.encode() not in message or recipients == [other], message.decode()
        copy = daemon.messages("anna", "Shared/Support/Sent")[0]
        assert b"Bcc: a@one.example" in copy and b"b@two.example" in copy, copy.decode()
    finally:
        daemon.stop()


def test_odd_headers_are_judged(folder):
    sink = Sink()
    daemon = started(folder, sink)
    rest = "To: k@o.example\r\nSubject: x\r\nMessage-ID: <{}@c>\r\n\r\nx\r\n"
    cases = [
        (554, "From: support@example.org\r\n" + ("X-Many: " + "z" * 900 + "\r\n") * 75),
        (250, "From: support@example.org\r\n" + ("X-Many: " + "z" * 900 + "\r\n") * 60),
        (550, "From: Team: support@example.org, fremd@elsewhere.example;\r\n"),
        (550, "From: A: B: support@example.org, fremd@elsewhere.example;;\r\n"),
        (550, "From: A: support@example.org;, B: ben@example.org;\r\n"),
        (550, "From: support@example.org\r\nfrom : ben@example.org\r\n"),
        (550, "From: support@example.org (\r\n\tben@example.org)\r\nFROM: ben@example.org\r\n"),
        (550, "From: =?utf-8?q?support=40example.org?= <ben@example.org>\r\n"),
        (550, "From: \"support@example.org\" <ben@example.org>\r\n"),
        (550, "From: support@example.org <ben@example.org>\r\n"),
        (550, "From: <support@example.org>, <ben@example.org>\r\n"),
        (550, "From: <support@example.org>\r\n <ben@example.org>\r\n"),
        (550, "From: ben@example.org, support@example.org\r\n"),
        (550, "From: support@example.org\r\nSender: ben@example.org\r\n"),
        (550, "From: <@relay.example:ben@example.org>\r\n"),
        (550, "From: support@example.org\0, ben@example.org\r\n"),
    ]  # fmt: skip
    try:
        with daemon.submission() as client:
            for number, (code, header) in enumerate(cases):
                message = (header + rest.format(number)).encode()
                answer = submit(client, "support@example.org", TO, message)
                equal(answer[0], code, f"{header[:90]!r} {answer}")
    finally:
        daemon.stop()


def asked(daemon, to, message_id):
    with daemon.smtp() as client:
        client.mail("kunde@outside.example")
        client.rcpt(to)
        question = text(
            "From: kunde@outside.example",
            f"To: {to}",
            "Subject: Frage",
            f"Message-ID: <{message_id}>",
        )
        equal(client.data(question)[0], 250, "a question")


def test_the_rewrite_guard_keeps_a_name_in_encoded_words(folder):
    sink = Sink()
    daemon = started(folder, sink)
    try:
        asked(daemon, "rewritten@example.org", "q@o")
        answer = text(
            "From: =?utf-8?b?SsO2cmc=?=", " =?utf-8?q?_M=C3=BCller?= <anna@example.org>", f"To: {TO}",
            "Subject: Re: Frage", "Message-ID: <a@c>", "In-Reply-To: <q@o>",
        )  # fmt: skip
        with daemon.submission() as client:
            equal(submit(client, "anna@example.org", TO, answer)[0], 250, "the answer")
        sender, _, message = until(lambda: sink.messages, "the mail")[0]
        equal(sender, "rewritten@example.org", "the reverse-path")
        author = b"From: =?utf-8?b?SsO2cmc=?= =?utf-8?q?_M=C3=BCller?= <rewritten@example.org>"
        assert author in message, message.decode()
        assert b"anna@" not in message, message.decode()
        equal(len(daemon.messages("anna", "Shared/Rewritten/Sent")), 1, "copies")
    finally:
        daemon.stop()


def test_an_answer_to_what_one_may_not_see_is_like_one_to_nothing(folder):
    sink = Sink()
    daemon = started(folder, sink)
    try:
        asked(daemon, "sales@example.org", "secret@o")
        answers = []
        with daemon.submission() as client:
            for parent in ("secret@o", "absent@o"):
                message = text(
                    "From: anna@example.org", f"To: {TO}", "Subject: Re: Frage",
                    f"Message-ID: <a{parent}>", f"In-Reply-To: <{parent}>",
                )  # fmt: skip
                answer = submit(client, "anna@example.org", TO, message)
                answers.append((answer[0], answer[1].split()[:2]))
        equal(answers[0], answers[1], "the answers")
        until(lambda: len(sink.messages) == 2, "both")
        equal(
            len(daemon.messages("ben", "Shared/Sales", "ANSWERED")), 0, "marked in the other team"
        )
        equal(len(daemon.messages("anna", "Sent")), 2, "filed as her own")
    finally:
        daemon.stop()


def test_the_same_mail_to_the_same_people_leaves_once_a_day(folder):
    sink = Sink()
    daemon = started(folder, sink)
    message = crlf(mail("einmal", Message_ID="<d@c>"))
    try:
        with daemon.submission() as client:
            for _ in range(3):
                equal(submit(client, "support@example.org", TO, message)[0], 250, "the same")
            to = "other@outside.example"
            equal(submit(client, "support@example.org", to, message)[0], 250, "to another")
            changed = message.replace(b"Gern", b"Sehr gern")
            equal(submit(client, "support@example.org", TO, changed)[0], 250, "with another text")
            again = message.replace(b"<d@c>", b"<e@c>")
            equal(submit(client, "support@example.org", TO, again)[0], 250, "edited as new")
        until(lambda: daemon.queue().startswith("the queue is empty"), "an empty queue")
        equal(len(sink.messages), 4, "mails")
        equal(
            len(daemon.messages("anna", "Shared/Support/Sent")),
            3,
            "copies of three different mails",
        )
    finally:
        daemon.stop()
