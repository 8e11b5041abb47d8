"""What happens when the daemon dies, the disk is full, or the directory changes under way: nothing
that was acknowledged is lost, and nothing is sent twice that was known to have arrived."""

import collections
import contextlib
import re
import shutil
import smtplib
import subprocess
import threading
import time

from rig import DIRECTORY, Daemon, mail, until
from sink import Sink
from test_messages import TO, crlf, submit
from test_postfix import equal

MAILS = 500
LANES = 10


def number_of(message):
    found = re.search(rb"^Subject: mail (\d+)", message, re.M)
    return int(found[1]) if found else None


def submit_all(daemon, acknowledged, stop):
    """Ten connections until all mails are acknowledged; those that break off go on elsewhere."""
    waiting, lock = list(range(MAILS)), threading.Lock()

    def lane():
        while not stop.is_set():
            try:
                with daemon.submission() as client:
                    while not stop.is_set():
                        with lock:
                            if not waiting:
                                return
                            number = waiting.pop()
                        try:
                            message = crlf(mail(f"mail {number}", Message_ID=f"<{number}@c>"))
                            answer = submit(client, "support@example.org", TO, message)
                            assert answer[0] == 250, answer
                            acknowledged.append(number)
                        except BaseException:
                            with lock:
                                waiting.append(number)
                            raise
            except (OSError, smtplib.SMTPException, AssertionError):
                time.sleep(0.05)

    lanes = [threading.Thread(target=lane) for _ in range(LANES)]
    for thread in lanes:
        thread.start()
    return lanes


def test_kill_9_while_mail_is_submitted_and_relayed(folder):
    sink = Sink()
    daemon = Daemon(
        folder / "daemon",
        f'via = "smtp://127.0.0.1:{sink.port}"\nretry_first_secs = 1\nretry_max_secs = 1\n',
    )
    acknowledged, stop, kills = [], threading.Event(), 0
    try:
        lanes = submit_all(daemon, acknowledged, stop)
        for share in (0.1, 0.3, 0.5, 0.7, 0.9):
            until(lambda: len(acknowledged) >= share * MAILS, f"{share} of the mails", 60)
            daemon.kill()
            kills += 1
            daemon.start()
        for thread in lanes:
            thread.join(60)
        equal(len(set(acknowledged)), MAILS, "acknowledged")
        until(lambda: daemon.queue().startswith("the queue is empty"), "an empty queue", 60)
        times = collections.Counter(number_of(m) for _, _, m in list(sink.messages))
        missing = [n for n in set(acknowledged) if not times[n]]
        twice = {n: count for n, count in times.items() if count > 1}
        equal(missing, [], "acknowledged and never sent")
        # At most what was being sent at each kill: the connections to one destination.
        assert len(twice) <= 20 * kills and max(times.values()) <= kills + 1, twice
        copies = len(daemon.messages("anna", "Shared/Support/Sent"))
        equal(copies, MAILS, "copies in the team's Sent")
        return f"{kills} kills, {MAILS} mails, {len(twice)} twice at the sink"
    finally:
        stop.set()
        daemon.stop()
        sink.stop()


@contextlib.contextmanager
def small_disk(folder, megabytes):
    path = folder / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    subprocess.run(mount, check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_a_full_disk_takes_nothing_loses_nothing_and_sends_nothing_twice(folder):
    sink = Sink()
    with small_disk(folder, 48) as disk:
        daemon = Daemon(
            folder / "daemon",
            f'via = "smtp://127.0.0.1:{sink.port}"\nretry_first_secs = 1\nretry_max_secs = 1\n',
            data=disk / "data",
        )
        try:
            taken, refused = set(), collections.Counter()
            filler = disk / "filler"

            def send(number, size=2000):
                message = (
                    crlf(mail(f"mail {number}", Message_ID=f"<{number}@c>")) + b"x" * 70 + b"\r\n"
                )
                message += (b"y" * 70 + b"\r\n") * (size // 72)
                try:
                    with daemon.submission() as client:
                        code = submit(client, "support@example.org", TO, message)[0]
                except (OSError, smtplib.SMTPException) as error:
                    code = type(error).__name__
                if code == 250:
                    taken.add(number)
                else:
                    refused[code] += 1
                return code

            equal(send(0), 250, "the first")
            with filler.open("wb") as file:  # all but half a megabyte
                file.write(b"\0" * max(0, shutil.disk_usage(disk).free - 500_000))
            for number in range(1, 60):
                send(number, 40_000)
            assert refused, "the disk was never full"
            with contextlib.suppress(OSError), filler.open("ab", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
            for number in range(60, 70):
                send(number)
            filler.unlink()
            time.sleep(2)
            until(lambda: send(70) == 250, "a mail once there is space", 30)
            until(lambda: daemon.queue().startswith("the queue is empty"), daemon.queue, 40)
            times = collections.Counter(number_of(m) for _, _, m in list(sink.messages))
            lost = [n for n in taken if not times[n]]
            equal(lost, [], "acknowledged and never sent")
            twice = {n: c for n, c in times.items() if c > 1}
            equal(twice, {}, "sent twice")
            strangers = [n for n in times if n not in taken]
            equal(strangers, [], "refused and sent")
            daemon.stop()
            daemon.start()
            time.sleep(1)
            again = collections.Counter(number_of(m) for _, _, m in list(sink.messages))
            equal(again, times, "sent again after a restart")
            return f"{len(taken)} taken, refused {dict(refused)}"
        finally:
            daemon.stop()


def test_what_arrived_while_the_disk_is_full_is_not_sent_again_and_reports_are_not_lost(folder):
    sink = Sink()
    with small_disk(folder, 48) as disk:
        daemon = Daemon(
            folder / "daemon",
            f'via = "smtp://127.0.0.1:{sink.port}"\nretry_first_secs = 5\nretry_max_secs = 5\n',
            data=disk / "data",
        )
        filler = disk / "filler"
        try:
            with daemon.submission() as client:
                for number in range(20):
                    message = crlf(mail(f"mail {number}", Message_ID=f"<{number}@c>"))
                    to = [f"{how}{number}@outside.example" for how in ("later", "laterrefused")]
                    equal(submit(client, "support@example.org", to, message)[0], 250, to)
            time.sleep(1)  # what the first attempt came to is settled
            with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
            sink.is_late = False
            until(lambda: sink.messages, "some of them", 30)
            time.sleep(4)
            arrived = len(sink.messages)
            filler.unlink()
            until(lambda: daemon.queue().startswith("the queue is empty"), daemon.queue, 40)
            daemon.stop()
            daemon.start()
            time.sleep(1)
            times = collections.Counter(number_of(m) for _, _, m in list(sink.messages))
            equal(sorted(times.values()), [1] * 20, "how often each was sent")
            reports = daemon.messages("anna", "Shared/Support", "FROM", "MAILER-DAEMON")
            equal(len(reports), 20, "reports on those that were refused")
            return f"{arrived} arrived while the disk was full"
        finally:
            daemon.stop()


def without(*blocks):
    """The directory without the tables that have one of these lines."""
    tables = DIRECTORY.split("\n[[")
    kept = [t for t in tables if not any(block in t for block in blocks)]
    return "\n[[".join(kept)


def test_a_sender_who_is_removed_sends_nothing_more_and_what_waits_still_leaves(folder):
    sink = Sink()
    daemon = Daemon(folder / "daemon", 'via = "hold"\n')
    try:
        with daemon.submission("ben") as client:
            message = crlf(mail("1", "sales@example.org"))
            equal(submit(client, "sales@example.org", TO, message)[0], 250, "one")
            daemon.declare(without('login = "ben"').replace('users = ["ben"]', 'users = ["anna"]'))
            daemon.reload()
            time.sleep(1)
            equal(client.mail("sales@example.org")[0], 530, "MAIL once ben is gone")
        daemon.stop()
        text = daemon.config.read_text()
        via = f'via = "smtp://127.0.0.1:{sink.port}"'
        daemon.config.write_text(text.replace('via = "hold"', via))
        daemon.start()
        until(lambda: sink.messages, "what ben had sent", 15)
        equal(sink.messages[0][0], "sales@example.org", "who it is from")
    finally:
        daemon.stop()


def test_rights_that_are_taken_away_in_mid_session_count_at_the_next_message(folder):
    sink = Sink()
    daemon = Daemon(folder / "daemon", f'via = "smtp://127.0.0.1:{sink.port}"\n')
    try:
        with daemon.submission("anna") as client:
            client.mail("support@example.org")
            client.rcpt(TO)
            behind = '\n[[inbox]]\nname = "Sales"'
            daemon.declare(
                DIRECTORY.replace('users = ["anna"]' + behind, 'users = ["ben"]' + behind)
            )
            daemon.reload()
            time.sleep(1)
            equal(client.data(crlf(mail("zu spät")))[0], 550, "the content")
            equal(client.mail("support@example.org")[0], 550, "the next one")
        equal(sink.messages, [], "what left")
    finally:
        daemon.stop()


def test_a_report_for_an_inbox_that_is_gone_is_not_sent_in_circles(folder):
    sink = Sink()
    daemon = Daemon(folder / "daemon", 'via = "hold"\n')
    try:
        with daemon.submission() as client:
            message = crlf(mail("weg", to="refused@outside.example"))
            to = "refused@outside.example"
            equal(submit(client, "support@example.org", to, message)[0], 250, "it")
        daemon.stop()
        text = daemon.config.read_text()
        via = f'via = "smtp://127.0.0.1:{sink.port}"'
        daemon.config.write_text(text.replace('via = "hold"', via))
        daemon.declare(without('name = "Support"'))
        daemon.start()
        until(lambda: daemon.queue().startswith("the queue is empty"), daemon.queue, 15)
        time.sleep(1)
        equal(sink.messages, [], "what left")
        assert "nobody to report to" in daemon.log(), daemon.log()
    finally:
        daemon.stop()
