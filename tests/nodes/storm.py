"""Deliveries and IMAP sessions while nodes are killed, and what each of them was told.

Knows what is promised: an acknowledged message is there once, numbers ascend, what was seen stays
true. Whoever is told otherwise notes a breach.
"""

import contextlib
import random
import smtplib
import threading
import time

import imapclient
from imapclient.exceptions import IMAPClientError
from node import SUPPORT

DELIVERERS = 6
READERS = 6
MAILBOXES = {"support@example.org": ("anna", SUPPORT), "ben@example.org": ("ben", "INBOX")}
BROKEN = (OSError, EOFError, smtplib.SMTPException, IMAPClientError)


class Storm:
    def __init__(self, nodes, seconds):
        self.nodes = nodes
        self.end = time.monotonic() + seconds
        self.lock = threading.Lock()
        self.breaches = []
        # token: mailbox, when its first attempt began, when it was acknowledged, attempts
        self.sent = {}
        # mailbox, UID: token; what any session was told at any time
        self.uids = {}
        self.validity = {}
        # mailbox, UID: keywords that were acknowledged
        self.flagged = {}
        # mailbox, UID: the highest MODSEQ that anybody was told
        self.modseqs = {}
        self.kills = 0
        self.sessions = 0
        self.refused = 0

    def run(self):
        work = [self.deliverer] * DELIVERERS + [self.reader] * READERS + [self.killer]
        threads = [
            threading.Thread(target=self.guarded, args=(what, n), daemon=True)
            for n, what in enumerate(work)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(self.end - time.monotonic() + 90)
            if thread.is_alive():
                self.breach(f"a thread hangs: {thread}")

    def guarded(self, what, number):
        try:
            what(number)
        except Exception as error:  # a fault of the test is a failure, too
            self.breach(f"{what.__name__}: {error!r}")

    def breach(self, text):
        with self.lock:
            if len(self.breaches) < 50:
                self.breaches.append(text)

    def is_over(self):
        return time.monotonic() > self.end

    # Killing.

    def killer(self, _):
        while not self.is_over():
            time.sleep(random.uniform(1.5, 4))
            victims = random.sample(self.nodes, random.choice([1, 1, 1, 2]))
            for node in victims:
                node.kill()
                self.kills += 1
            time.sleep(random.uniform(0.1, 1.5))
            for node in victims:
                node.spawn()
            for node in victims:
                node.await_start()

    # Delivering.

    def deliverer(self, number):
        count = 0
        while not self.is_over():
            address = random.choice(list(MAILBOXES))
            count += 1
            token = f"t{number}-{count}"
            with self.lock:
                self.sent[token] = [address, time.monotonic(), None, 0]
            self.until_acknowledged(token, address)

    def until_acknowledged(self, token, address):
        """As a mail server does: the same again, anywhere, until somebody takes it."""
        give_up = self.end + 60
        while time.monotonic() < give_up:
            node = random.choice(self.nodes)
            self.sent[token][3] += 1
            try:
                with contextlib.closing(node.smtp()) as smtp:
                    node.deliver(token, address, smtp=smtp)
                self.sent[token][2] = time.monotonic()
                return
            except smtplib.SMTPResponseException as error:
                self.refused += 1
                if error.smtp_code >= 500:
                    self.breach(f"{token} was refused for good: {error}")
                    return
            except BROKEN:
                pass
            time.sleep(random.uniform(0.01, 0.2))
        self.breach(f"{token} was not taken within a minute after the end")

    # Reading.

    def reader(self, number):
        address = list(MAILBOXES)[number % len(MAILBOXES)]
        believed = Believed(self, address, f"k{number}")
        while not self.is_over():
            node = random.choice(self.nodes)
            try:
                user, folder = MAILBOXES[address]
                client = node.imap(user)
                try:
                    self.sessions += 1
                    believed.session(client, folder)
                finally:
                    with contextlib.suppress(Exception):
                        client.shutdown()
            except BROKEN:
                time.sleep(random.uniform(0.05, 0.3))


class Believed:
    """What one mail program believes of a mailbox, over all its sessions."""

    def __init__(self, storm, address, keyword):
        self.storm = storm
        self.address = address
        self.keyword = keyword
        self.modseq = 0
        self.next = 0
        self.count = 0

    def session(self, client, folder):
        client.enable("CONDSTORE")
        self.selected(client.select_folder(folder))
        ends = time.monotonic() + random.uniform(1, 8)
        self.fetch(client)
        while time.monotonic() < ends and not self.storm.is_over():
            action = random.choice([self.idle, self.idle, self.fetch, self.store, self.noop])
            action(client)

    def selected(self, told):
        storm, address = self.storm, self.address
        validity = storm.validity.setdefault(address, told[b"UIDVALIDITY"])
        self.expect(validity == told[b"UIDVALIDITY"], f"UIDVALIDITY changed: {told}")
        self.expect(told[b"HIGHESTMODSEQ"] >= self.modseq, f"fell below {self.modseq}: {told}")
        self.expect(told[b"UIDNEXT"] >= self.next, f"UIDNEXT fell below {self.next}: {told}")
        self.expect(told[b"EXISTS"] >= self.count, f"fewer than {self.count}: {told}")
        self.modseq = max(self.modseq, told[b"HIGHESTMODSEQ"])
        self.next = max(self.next, told[b"UIDNEXT"])
        self.count = max(self.count, told[b"EXISTS"])

    def expect(self, is_so, what):
        if not is_so:
            self.storm.breach(f"{self.address}, reader {self.keyword}: {what}")

    def idle(self, client):
        client.idle()
        told = client.idle_check(random.uniform(0.1, 1.5))
        client.idle_done()
        self.untagged(told)

    def noop(self, client):
        _, told = client.noop()
        self.untagged(told)

    def untagged(self, told):
        for line in told:
            if len(line) > 1 and line[1] == b"EXISTS":
                self.expect(line[0] >= self.count, f"EXISTS {line[0]} after {self.count}")
                self.count = max(self.count, line[0])
            self.expect(line[1:2] != (b"EXPUNGE",), f"nobody expunges: {line}")

    def fetch(self, client):
        first = max(1, self.next - random.choice([5, 20, 100000]))
        uids = client.search(["UID", f"{first}:*"])
        if not uids:
            return
        told = client.fetch(uids, ["ENVELOPE", "FLAGS", "MODSEQ"])
        order = sorted(told.items(), key=lambda item: item[1][b"SEQ"])
        ascending = [uid for uid, _ in order]
        self.expect(ascending == sorted(ascending), f"UIDs do not ascend: {ascending}")
        for uid, item in told.items():
            self.told_of(uid, item)
            self.next = max(self.next, uid + 1)

    def told_of(self, uid, item):
        storm, key = self.storm, (self.address, uid)
        token = item[b"ENVELOPE"].subject.decode()
        with storm.lock:
            known = storm.uids.setdefault(key, token)
            owed = set(storm.flagged.get(key, ()))
        modseq = item[b"MODSEQ"][0]
        self.expect(known == token, f"UID {uid} was {known} and is {token}")
        own = {self.keyword.encode()} & owed
        self.expect(own <= set(item[b"FLAGS"]), f"UID {uid} lost {own - set(item[b'FLAGS'])}")
        with storm.lock:
            storm.modseqs[key] = max(storm.modseqs.get(key, 0), modseq)
        self.modseq = max(self.modseq, modseq)

    def store(self, client):
        with self.storm.lock:
            here = [uid for address, uid in self.storm.uids if address == self.address]
        if not here:
            return
        uids = random.sample(here, min(len(here), 3))
        told = client.add_flags(uids, [self.keyword])
        for uid in uids:
            # what it does not tell of, this session has not been told of yet
            if uid in told:
                with self.storm.lock:
                    flags = self.storm.flagged.setdefault((self.address, uid), set())
                    flags.add(self.keyword.encode())


def settled(storm, nodes):
    """Compares all nodes with each other and with what was acknowledged; gives the breaches."""
    for address, (user, folder) in MAILBOXES.items():
        states = []
        for node in nodes:
            client = node.imap(user)
            client.enable("CONDSTORE")
            selected = client.select_folder(folder)
            told = client.fetch(client.search(), ["ENVELOPE", "FLAGS", "MODSEQ"])
            client.logout()
            states.append((selected[b"UIDVALIDITY"], selected[b"HIGHESTMODSEQ"], {
                uid: (
                    item[b"ENVELOPE"].subject.decode(),
                    tuple(sorted(flag for flag in item[b"FLAGS"] if flag != b"\\Recent")),
                    item[b"MODSEQ"],
                )
                for uid, item in told.items()
            }))  # fmt: skip
        for node, state in zip(nodes, states):
            if state != states[0]:
                storm.breach(f"{address}: {node.name} has another state than {nodes[0].name}")
        compare(storm, address, states[0])
    return storm.breaches


def compare(storm, address, state):
    _, highest, messages = state
    by_token = {}
    for uid, (token, _, _) in messages.items():
        if token in by_token:
            storm.breach(f"{address}: {token} is there twice: {by_token[token]} and {uid}")
        by_token[token] = uid
    sent = {token: sent for token, sent in storm.sent.items() if sent[0] == address}
    for token, (_, _, acknowledged, _) in sent.items():
        if acknowledged and token not in by_token:
            storm.breach(f"{address}: {token} was acknowledged and is not there")
    latest_begin = 0
    for uid, (token, _, _) in sorted(messages.items()):
        if token in sent:
            _, began, acknowledged, _ = sent[token]
            if acknowledged and acknowledged < latest_begin:
                storm.breach(f"{address}: {token} (UID {uid}) stands behind a later one")
            latest_begin = max(latest_begin, began)
    for (of, uid), token in storm.uids.items():
        if of == address and (uid not in messages or messages[uid][0] != token):
            storm.breach(f"{address}: UID {uid} was {token}, and is {messages.get(uid)}")
    for (of, uid), keywords in storm.flagged.items():
        lost = keywords - set(messages.get(uid, ("", (), (0,)))[1])
        if of == address and lost:
            storm.breach(f"{address}: UID {uid} lost {lost}")
    for (of, uid), modseq in storm.modseqs.items():
        now = messages.get(uid, ("", (), (0,)))[2][0]
        if of == address and now < modseq:
            storm.breach(f"{address}: UID {uid} had MODSEQ {modseq}, has {now}")
    if any(modseq[0] > highest for _, _, modseq in messages.values()):
        storm.breach(f"{address}: a MODSEQ above HIGHESTMODSEQ {highest}")
