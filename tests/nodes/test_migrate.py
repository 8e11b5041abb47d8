"""`postfach migrate-store`, killed with -9 again and again: from files to PostgreSQL with a bucket
and back, to PostgreSQL alone and back. After each way a daemon shows the same as before."""

import contextlib
import hashlib
import itertools
import os
import random
import re
import shutil
import subprocess
import tempfile
import time

import bucket
import imapclient
import node as nodes
from node import BINARY, SUPPORT, USERS

# a member, another one, and one who may only read
READERS = ["anna", "ben", "dora"]
MAILS = 300
MAILS_PER_CONNECTION = 50
KILLS = 8
# a line for each table that it copies, and for each that it compares
LINES = 60
# a database that a daemon has left a moment ago, or a migration that was killed
BUSY_SECONDS = 30
DIFFERS = 4


class Home:
    """A store of one kind or another, and the daemon that runs on it."""

    def __init__(self, folder, name, world, store, lines=""):
        self.node = nodes.Node(os.path.join(folder, name), 1, ("", 9))
        self.node.name, self.node.store = name, store
        self.node.store_lines = lines
        (self.node.folder / "s3.secret").write_text("secret\n")
        self.node.write_config()

    @contextlib.contextmanager
    def running(self):
        self.node.spawn()
        try:
            self.node.await_start()
            yield self.node
        finally:
            assert self.node.stop() == 0, self.node.log()[-3000:]
            assert "panicked" not in self.node.log(), self.node.log()[-3000:]


class Places:
    numbers = itertools.count(1)

    def __init__(self, world):
        self.folder = tempfile.mkdtemp(prefix="postfach-migrate-")
        self.world, self.s3 = world, bucket.S3()
        self.directory = nodes.Set(self.folder + "/set", world.database, 9, 1).directory(USERS)
        erik = 'login = "erik"\n'
        self.directory = self.directory.replace(erik, erik + 'role = "super-admin"\n')
        self.count = 0

    def files(self):
        return self.home('engine = "embedded"\n')

    def postgres(self, with_bucket=False):
        name = f"moved_{next(Places.numbers)}"
        self.world.database.create(name)
        lines = ""
        if with_bucket:
            self.s3.create(name.replace("_", "-"))
            lines = self.s3.store_lines(name.replace("_", "-"))
        home = self.home(f'engine = "postgres"\nurl = "{self.world.database.url(name)}"\n', lines)
        home.database, home.bucket = name, name.replace("_", "-")
        return home

    def home(self, store, lines=""):
        self.count += 1
        home = Home(self.folder, f"home{self.count}", self.world, store, lines)
        home.node.declare(self.directory)
        return home


@contextlib.contextmanager
def places(world):
    it = Places(world)
    try:
        yield it
    finally:
        it.s3.stop()
        shutil.rmtree(it.folder, ignore_errors=True)


def raw(client, command):
    """A command that imapclient does not have; its untagged answers, sorted."""
    imap = client._imap
    tag = imap._new_tag()
    imap.send(tag + b" " + command.encode() + b"\r\n")
    lines = []
    while True:
        line = imap.readline()
        if line.startswith(tag):
            assert b" OK " in line, (command, line)
            return lines
        lines.append(line)


def fill(node):
    """Something of every kind that a store holds."""
    for first in range(0, MAILS, MAILS_PER_CONNECTION):
        with node.smtp() as smtp:
            for n in range(first, first + MAILS_PER_CONNECTION):
                node.deliver(f"mail-{n}", "support@example.org", smtp=smtp)
    with node.smtp() as smtp:
        node.deliver("for anna", "anna@example.org", "ben@example.org", smtp=smtp)
        large = (
            nodes.message("large", ["support@example.org"])
            + random.randbytes(4_000_000).hex(" ", 36).encode()
        )
        smtp.sendmail("kundin@example.net", ["support@example.org"], large)
    anna, ben = node.imap("anna", SUPPORT), node.imap("ben", SUPPORT)
    anna.add_flags(range(1, 41), ["\\Seen"])
    ben.add_flags(range(30, 61), ["\\Seen"])
    anna.add_flags(range(20, 26), ["\\Flagged", "Wichtig", "$Label1"])
    anna.remove_flags([22], ["\\Flagged"])
    anna.delete_messages(range(100, 111))
    anna.expunge(range(100, 111))
    anna.move(range(120, 126), "Trash")
    anna.move([130], f"{SUPPORT}/Done")
    ben.move([131], f"{SUPPORT}/Assigned/ben")
    anna.copy(range(140, 151), "Archive")
    anna.append("Drafts", nodes.message("a draft", ["x@example.net"]), ["\\Draft", "\\Seen"])
    for folder in ("Projekte", "Projekte/Größe", "Weg"):
        anna.create_folder(folder)
    anna.delete_folder("Weg")
    anna.subscribe_folder("Projekte")
    anna.unsubscribe_folder(f"{SUPPORT}/Done")
    raw(anna, 'SETMETADATA Projekte (/shared/comment "unsere" /private/comment "meine")')
    raw(anna, f'SETMETADATA {SUPPORT} (/private/comment "meine Notiz")')
    assert node.answer("ben", "the answer", "mail-150") == 250
    node.submit("anna", "out it goes", "kunde@example.net", "kundin@example.net")
    erik = node.imap("erik")
    raw(erik, f"SETACL {SUPPORT} dora lrs")
    erik.logout()
    anna.logout()
    ben.logout()


def shown(node):
    """All that each user is shown, and what the tools say."""
    said = {}
    for user in READERS:
        client = node.imap(user)
        listed = client.list_folders()
        said[user, "LIST"] = sorted(listed, key=str)
        said[user, "LSUB"] = sorted(client.list_sub_folders(), key=str)
        for name in (SUPPORT, "Projekte") if user == "anna" else (SUPPORT,):
            wanted = f"GETMETADATA {name} (/shared/comment /private/comment)"
            said[user, "notes", name] = raw(client, wanted)
        client._imap.enable("QRESYNC")
        for flags, _, folder in listed:
            if b"\\Noselect" not in flags and b"\\NonExistent" not in flags:
                said[user, folder] = mailbox(client, folder)
        client.logout()
    said["queue"] = [re.sub(r"\s+\d+ (s|min|sec\w*)\b", "", line) for line in queue(node)]
    said["audit"] = node.run("audit", "--json").splitlines()
    return said


def queue(node):
    """Without what time changes: ages and attempts."""
    rows = node.run("queue", "list").splitlines()
    return sorted(" ".join(re.findall(r"\S+@\S+", row)) for row in rows if "@" in row)


def mailbox(client, folder):
    wanted = ["MESSAGES", "UIDNEXT", "UIDVALIDITY", "UNSEEN", "HIGHESTMODSEQ", "MAILBOXID"]
    status = client.folder_status(folder, wanted)
    client.select_folder(folder, readonly=True)
    fields = [
        "FLAGS",
        "MODSEQ",
        "INTERNALDATE",
        "RFC822.SIZE",
        "EMAILID",
        "THREADID",
        "BODYSTRUCTURE",
    ]
    uids, found = client.search(), {}
    assert len(uids) == status[b"MESSAGES"], (folder, len(uids), status)
    for uid, data in client.fetch(uids, fields + ["BODY.PEEK[]"]).items() if uids else ():
        body = hashlib.sha256(data.pop(b"BODY[]")).hexdigest()
        flags = sorted(flag for flag in data.pop(b"FLAGS") if flag != b"\\Recent")
        found[uid] = (body, flags, sorted((k, str(v)) for k, v in data.items()))
    quoted = imapclient.imap_utf7.encode(folder).decode()
    gone = raw(client, f'EXAMINE "{quoted}" (QRESYNC ({status[b"UIDVALIDITY"]} 1))')
    vanished = [line for line in gone if b"VANISHED" in line]
    return status, found, vanished


def arguments(source, target):
    return [
        BINARY,
        "migrate-store",
        "--from",
        str(source.node.config),
        "--to",
        str(target.node.config),
    ]


def whole(source, target, code=0, last=""):
    """To the end; a database may be held a little longer by who was killed. `last`: what that was
    at. None: it was killed between its last step and its last word."""
    end = time.monotonic() + BUSY_SECONDS
    while True:
        done = subprocess.run(
            arguments(source, target), capture_output=True, text=True, timeout=120
        )
        busy = done.returncode == 1 and "works on the database" in done.stdout
        busy = busy or "has the duty" in done.stdout
        if last.startswith(("comparing", "done")) and "the target is not empty" in done.stdout:
            return None
        if not busy or time.monotonic() > end:
            assert done.returncode == code, (done.returncode, done.stdout, done.stderr)
            return done.stdout
        time.sleep(0.2)


def killed(source, target, lines):
    """Starts it, and kills it a moment after it has said so many lines; says what it was at, None
    if it was done."""
    process = subprocess.Popen(arguments(source, target), stdout=subprocess.PIPE, text=True)
    said = [line for _, line in zip(range(lines), process.stdout)]
    time.sleep(random.uniform(0, 0.05))
    process.kill()
    said += process.communicate()[0].splitlines()
    if process.returncode == 0:
        return None
    return said[-1].split(" (")[0] if said else "nothing yet"


def moved(source, target):
    """Moved, with kills further and further on; where they hit."""
    hit = []
    for n in range(KILLS):
        at = killed(source, target, random.randint(0, LINES * (n + 1) // KILLS))
        if at is None:
            return hit
        hit.append(at)
        if at.startswith("copying") and not any("comparing" in before for before in hit):
            is_refused(target)
    said = whole(source, target, last=hit[-1])
    # all is there even so, as the caller sees
    assert said is None or "every row and every message was compared" in said, said
    return hit


def is_refused(target):
    """No daemon opens a store that is not complete."""
    done = subprocess.run(
        [BINARY, "serve", "--config", str(target.node.config)],
        capture_output=True,
        text=True,
        timeout=30,
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "not complete" in said, (done.returncode, said)


def compare(before, after):
    """What is shown is the same; the audit log has gone on, as it does when mail is read."""
    assert before.keys() == after.keys(), before.keys() ^ after.keys()
    for what, value in before.items():
        if what == "audit":
            assert after[what][: len(value)] == value, "the audit log has another beginning"
        else:
            assert after[what] == value, (what, differences(value, after[what]))


def differences(before, after):
    if isinstance(before, tuple) and isinstance(before[1], dict):
        uids = [
            u for u in before[1].keys() | after[1].keys() if before[1].get(u) != after[1].get(u)
        ]
        return (
            before[0],
            after[0],
            [(u, before[1].get(u), after[1].get(u)) for u in uids[:3]],
            before[2],
            after[2],
        )
    return before, after


def test_a_migration_that_is_killed_goes_on_and_everything_is_the_same_afterwards(world):
    with places(world) as it:
        home = it.files()
        with home.running() as node:
            fill(node)
            before = shown(node)
        hits = []
        for make in (lambda: it.postgres(with_bucket=True), it.files, it.postgres, it.files):
            target = make()
            began = time.monotonic()
            hits += moved(home, target)
            took = time.monotonic() - began
            with target.running() as node:
                after = shown(node)
                compare(before, after)
                node.run("audit", "verify")
                node.deliver(f"after-{target.node.name}", "erik@example.org")
                client = node.imap("erik", "INBOX")
                assert client.search(["SUBJECT", f"after-{target.node.name}"])
                client.logout()
                before = shown(node)
            home = target
        kinds = sorted(set(hits))
        return f"killed {len(hits)} times, in {', '.join(kinds)}; the last way took {took:.1f} s"


def test_a_target_that_was_changed_behind_its_back_is_told(world):
    with places(world) as it:
        source, target = it.files(), it.postgres(with_bucket=True)
        with source.running() as node:
            for n in range(20):
                node.deliver(f"mail-{n}", "support@example.org")
        db, s3, name = world.database, it.s3, target.database
        stopped_before_the_end(source, target)
        for table, row, right, wrong in (
            ("instance", "uid = 7", "flags = flags - 4", "flags = flags + 4"),
            ("body_text", "id = 3", "data = substr(data, 2)", "data = '\\x00' || data"),
            ("counter", "name = name", "value = value - 1", "value = value + 1"),
        ):
            harm, mend = (f"UPDATE {table} SET {to} WHERE {row}" for to in (wrong, right))
            db.ask(harm, name)
            said = whole(source, target, DIFFERS)
            assert "not the same as the source" in said, said
            db.ask(mend, name)
        damaged = s3.holding(target.bucket, "<mail-5@example.net>")
        right = s3.read(target.bucket, damaged)
        for wrong in (right.replace(b"mail-5", b"mail-6"), right[:-1], None):
            if wrong is None:
                s3.remove(target.bucket, damaged)
            else:
                s3.write(target.bucket, damaged, wrong)
            whole(source, target, DIFFERS)
        s3.write(target.bucket, damaged, right)
        whole(source, target)
        with target.running() as node:
            client = node.imap("anna", SUPPORT)
            assert len(client.search()) == 20
            client.logout()


def stopped_before_the_end(source, target):
    """Everything is copied, but not yet looked at: killed there."""
    for _ in range(50):
        process = subprocess.Popen(arguments(source, target), stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            if line.startswith("comparing"):
                break
        process.kill()
        process.communicate()
        if process.returncode == -9:
            return
        raise AssertionError(f"it has ended: {process.returncode}")
