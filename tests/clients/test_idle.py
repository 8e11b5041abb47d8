"""A new mail reaches idle clients at once, is stored once, and is each reader's own to read."""

import os
import random
import statistics
import threading
import time

import imapclient
from harness import equal, until

ROUNDS = 7
TOLD_SECONDS = 0.1


def unique(word):
    return f"{word} {random.getrandbits(48):x}"


def told_of_new_mail(client, seconds):
    """Waits in IDLE for EXISTS; gives the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for response in client.idle_check(timeout=max(0.01, end - time.monotonic())):
            if len(response) > 1 and response[1] == b"EXISTS":
                return time.monotonic()
    raise AssertionError(f"no EXISTS within {seconds} s")


def test_mail_reaches_anna_and_ben_within_100_ms(demo):
    delays = []
    with demo.imap("anna") as anna, demo.imap("ben") as ben:
        for client in (anna, ben):
            client.select_folder("Shared/Support")
            client.idle()
        for _ in range(ROUNDS):
            times = {}

            def wait(login, client, times=times):
                times[login] = told_of_new_mail(client, 5)

            waiting = [
                threading.Thread(target=wait, args=pair) for pair in (("anna", anna), ("ben", ben))
            ]
            for thread in waiting:
                thread.start()
            accepted = demo.mail(demo.address("Support"), subject=unique("IDLE"))
            for thread in waiting:
                thread.join(6)
            equal(sorted(times), ["anna", "ben"], "who was told")
            delays.append(max(times.values()) - accepted)
            time.sleep(0.2)
        for client in (anna, ben):
            client.idle_done()
    median = statistics.median(delays)
    assert median < TOLD_SECONDS, f"told after {[round(d * 1e3) for d in delays]} ms"
    return f"told after {median * 1e3:.1f} ms (median), {max(delays) * 1e3:.1f} ms (worst)"


def test_flag_of_one_reaches_the_other_in_idle(demo):
    text = unique("Flagge")
    demo.mail(demo.address("Support"), subject=text)
    with demo.imap("anna") as anna, demo.imap("ben") as ben:
        anna.select_folder("Shared/Support")
        ben.select_folder("Shared/Support")
        uids = anna.search(["SUBJECT", text])
        ben.idle()
        anna.add_flags(uids, [imapclient.FLAGGED, "$label1"])
        done = time.monotonic()
        told = ben.idle_check(timeout=5)
        delay = time.monotonic() - done
        ben.idle_done()
        assert any(r[1] == b"FETCH" and b"\\Flagged" in str(r[2]).encode() for r in told), told
        assert delay < TOLD_SECONDS, f"after {delay * 1e3:.0f} ms"
    return f"after {delay * 1e3:.1f} ms"


def test_expunge_of_one_reaches_the_other_in_idle(demo):
    text = unique("weg")
    demo.mail(demo.address("Support"), subject=text)
    with demo.imap("anna") as anna, demo.imap("ben") as ben:
        anna.select_folder("Shared/Support")
        ben.select_folder("Shared/Support")
        (number,) = sequence_numbers(ben, text)
        ben.idle()
        anna.delete_messages(anna.search(["SUBJECT", text]))
        anna.expunge()
        seen = []
        until(lambda: seen.extend(ben.idle_check(timeout=1)) or (number, b"EXPUNGE") in seen,
              "EXPUNGE for ben")  # fmt: skip
        ben.idle_done()
        ben.noop()
        equal(ben.search(["SUBJECT", text]), [], "what ben still finds")


def sequence_numbers(client, text):
    """Message sequence numbers, which IMAPClient hides unless told."""
    client.use_uid = False
    try:
        return client.search(["SUBJECT", text])
    finally:
        client.use_uid = True


def test_reading_is_ones_own_and_flags_are_everybodys(demo):
    text = unique("gelesen")
    demo.mail(demo.address("Support"), subject=text)
    with demo.imap("anna") as anna, demo.imap("ben") as ben:
        anna.select_folder("Shared/Support")
        ben.select_folder("Shared/Support")
        (uid,) = anna.search(["SUBJECT", text])
        unseen_before = ben.folder_status("Shared/Support/Done", ["UNSEEN"])
        anna.fetch([uid], ["BODY[]"])
        anna.add_flags([uid], ["$label2"])
        assert imapclient.SEEN in anna.get_flags([uid])[uid]
        ben.noop()
        flags = ben.get_flags([uid])[uid]
        assert imapclient.SEEN not in flags, f"anna's reading shows for ben: {flags}"
        assert b"$label2" in flags, flags
        equal(ben.search(["UNSEEN", "SUBJECT", text]), [uid], "unseen for ben")
        equal(anna.search(["UNSEEN", "SUBJECT", text]), [], "unseen for anna")
        equal(ben.folder_status("Shared/Support/Done", ["UNSEEN"]), unseen_before, "Done")
    with demo.imap("anna") as anna, demo.imap("ben") as ben:
        key = ["UNSEEN"]
        assert (
            anna.folder_status("Shared/Support", key)[b"UNSEEN"]
            < ben.folder_status("Shared/Support", key)[b"UNSEEN"]
        ), "STATUS counts the same for both"


def test_mail_for_three_inboxes_is_stored_once(demo):
    def stored():
        if demo.database:
            return int(demo.database.ask("SELECT pg_database_size(current_database())"))
        total = 0
        for folder, _, files in os.walk(demo.data_dir):
            for name in files:
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
        return total

    text = unique("einmal")
    noise = "\n".join(f"{random.getrandbits(280):070x}" for _ in range(30_000))
    size = len(noise)
    before = stored()
    demo.mail(*(demo.address(i) for i in ("Info", "Support", "Sales")), subject=text, text=noise)
    with demo.imap("ben") as ben:
        emails = set()
        for inbox in ("Info", "Support", "Sales"):
            ben.select_folder(f"Shared/{inbox}", readonly=True)
            (uid,) = ben.search(["SUBJECT", text])
            data = ben.fetch([uid], ["RFC822.SIZE", "BODY.PEEK[]"])[uid]
            equal(len(data[b"BODY[]"]), data[b"RFC822.SIZE"], f"octets in {inbox}")
            emails.add(data[b"BODY[]"].partition(b"\r\n\r\n")[2])
        equal(len(emails), 1, "different texts")
    grown = stored() - before
    # the text is kept a second time, folded, for SEARCH, and passes through the journal
    assert grown < 2.9 * size, f"{grown} bytes on disk for one message of {size}"
    return f"{grown / size:.2f} times its size on disk"
