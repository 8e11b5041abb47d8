"""Answering as the inbox with mutt, neomutt, s-nail, and mbsync with msmtp: whatever a program does
with its own copy, and whenever, the team has one in its Sent."""

import email
import os
import random

from harness import command, equal, until
from test_mutt import CONFIG, Terminal
from test_sending import ANSWERED, SEEN, asked, flags, unique

SENDING = """
set from="support@example.org" realname="Support" use_envelope_from=yes
set envelope_from_address="support@example.org"
set smtp_url="smtp://{login}@localhost:{submission}" smtp_pass="{password}"
set smtp_authenticators="plain" ssl_starttls=yes
set record="+{record}" {before}
set editor="{home}/editor" autoedit=yes edit_headers=no fast_reply=yes include=no
set abort_unmodified=no copy=yes sort=reverse-date-received
"""
EDITOR = "#!/bin/sh\necho 'Gern geschehen.' >> \"$1\"\n"

NAIL = """
set v15-compat tls-ca-file={ca} tls-ca-no-defaults tls-verify=strict
set from=support@example.org sendcharsets=utf-8 sendwait
set mta=submission://{login}:{password}@localhost:{submission} smtp-auth=plain
set smtp-use-starttls
set record=imaps://{login}:{password}@localhost:{imaps}/{record}
"""

MBSYNC = """
IMAPAccount demo
Host localhost
Port {imaps}
User anna
Pass {password}
SSLType IMAPS
CertificateFile {ca}

IMAPStore far
Account demo

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns Sent Shared/Support/Sent
Create Near
Expunge Both
Sync All
SyncState *
"""


def home_of(demo, name):
    home = os.path.join(demo.directory, f"{name}-{random.getrandbits(32):x}")
    os.makedirs(home)
    return home


def answers_with(demo, program, record, before=""):
    question = unique(f"Frage {program}")
    asked(demo, question)
    home = home_of(demo, program)
    values = {
        "login": "anna", "port": demo.ports["imaps"], "password": demo.password("anna"),
        "ca": demo.ca_pem, "home": home, "box": "Shared/Support", "record": record,
        "before": before, "submission": demo.ports["submission"],
    }  # fmt: skip
    with open(os.path.join(home, "rc"), "w") as file:
        file.write((CONFIG + SENDING).format(**values))
    editor = os.path.join(home, "editor")
    with open(editor, "w") as file:
        file.write(EDITOR)
    os.chmod(editor, 0o755)
    terminal = Terminal(home, program, "-n", "-F", os.path.join(home, "rc"))
    try:
        terminal.shows(f"[{question}]")
        terminal.keys("/", question, "Enter", "r")
        terminal.shows("y:Send")
        terminal.keys("y")
        answer = f"Re: {question}"
        outside = until(lambda: demo.outside.with_subject(answer), "the answer outside", 15)
        until(lambda: flags(demo, "anna", record, answer), "the copy that the program files")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{terminal.screen()}") from None
    finally:
        terminal.close()
    equal((len(outside), outside[0][0]), (1, "support@example.org"), "what left")
    is_one_for_the_team(demo, question, answer)
    if record == "Sent":
        equal(len(flags(demo, "anna", "Sent", answer)), 1, "her own copy")


def is_one_for_the_team(demo, question, answer):
    for login in ("anna", "ben"):
        found = flags(demo, login, "Shared/Support/Sent", answer)
        equal(len(found), 1, f"copies in the team's Sent for {login}")
        assert SEEN in found[0], f"unread for {login}: {found}"
        assert ANSWERED in flags(demo, login, "Shared/Support/Assigned/anna", question)[0], login


def test_mutt_answers_and_files_into_the_users_sent(demo):
    answers_with(demo, "mutt", "Sent")


def test_mutt_answers_and_files_into_the_teams_sent(demo):
    answers_with(demo, "mutt", "Shared/Support/Sent")


def test_mutt_files_into_the_teams_sent_before_it_sends(demo):
    answers_with(demo, "mutt", "Shared/Support/Sent", "fcc_before_send=yes")


def test_mutt_files_into_the_users_sent_before_it_sends(demo):
    answers_with(demo, "mutt", "Sent", "fcc_before_send=yes")


def test_neomutt_answers_and_files_into_the_teams_sent(demo):
    answers_with(demo, "neomutt", "Shared/Support/Sent")


def nail(demo, record):
    question = unique("Frage s-nail")
    asked(demo, question)
    home = home_of(demo, "s-nail")
    rc = os.path.join(home, "rc")
    with open(rc, "w") as file:
        file.write(
            NAIL.format(
                login="anna", password=demo.password("anna"), ca=demo.ca_pem,
                submission=demo.ports["submission"], imaps=demo.ports["imaps"], record=record,
            )  # fmt: skip
        )
    box = f"imaps://anna:{demo.password('anna')}@localhost:{demo.ports['imaps']}/Shared/Support"
    with demo.imap("anna") as client:
        number = client.select_folder("Shared/Support", readonly=True)[b"EXISTS"]
    script = f"reply {number}\nGern geschehen.\n~.\nxit\n"
    environment = dict(os.environ, HOME=home, MAILRC=rc, LC_ALL="C.UTF-8")
    output = command(
        "s-nail", "-:u", "-~", "-#", "-R", "-f", box, input=script.encode(), env=environment
    )  # fmt: skip
    answer = f"Re: {question}"
    try:
        until(lambda: demo.outside.with_subject(answer), "the answer outside", 10)
        is_one_for_the_team(demo, question, answer)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{output}") from None


def test_s_nail_answers_and_files_into_the_users_sent(demo):
    nail(demo, "Sent")


def test_s_nail_answers_and_files_into_the_teams_sent(demo):
    nail(demo, "Shared/Support/Sent")


class Maildir:
    """mbsync's files for two folders of anna's, and msmtp beside it."""

    def __init__(self, demo):
        self.demo, self.home = demo, home_of(demo, "mbsync-sent")
        self.mail = os.path.join(self.home, "mail")
        os.makedirs(os.path.join(self.mail, "Shared", "Support"))
        self.rc = os.path.join(self.home, "mbsyncrc")
        with open(self.rc, "w") as file:
            file.write(
                MBSYNC.format(
                    imaps=demo.ports["imaps"], password=demo.password("anna"), ca=demo.ca_pem,
                    maildir=self.mail,
                )  # fmt: skip
            )

    def sync(self):
        output = command("mbsync", "--config", self.rc, "all", seconds=50)
        for word in ("rror", "arning", "ost track"):
            assert word not in output, output
        return output

    def file(self, box, message):
        folder = os.path.join(self.mail, box, "cur")
        os.makedirs(folder, exist_ok=True)
        for other in ("new", "tmp"):
            os.makedirs(os.path.join(self.mail, box, other), exist_ok=True)
        name = f"{random.getrandbits(40):x}.host:2,S"
        with open(os.path.join(folder, name), "wb") as file:
            file.write(bytes(message))

    def send(self, message):
        demo = self.demo
        command(
            "msmtp", "--host=localhost", f"--port={demo.ports['submission']}", "--tls=on",
            "--tls-starttls=on", f"--tls-trust-file={demo.ca_pem}", "--auth=on", "--user=anna",
            f"--passwordeval=echo {demo.password('anna')}", "--from=support@example.org", "-t",
            input=bytes(message),
        )  # fmt: skip

    def ids(self, box):
        """The Message-IDs of a local folder, sorted."""
        found = []
        for part in ("cur", "new"):
            folder = os.path.join(self.mail, box, part)
            for name in os.listdir(folder) if os.path.isdir(folder) else ():
                with open(os.path.join(folder, name), "rb") as file:
                    found.append(str(email.message_from_binary_file(file)["Message-ID"]))
        return sorted(found)

    def remote(self, box):
        with self.demo.imap("anna") as client:
            client.select_folder(box, readonly=True)
            uids = client.search("ALL")
            envelopes = client.fetch(uids, ["ENVELOPE"]) if uids else {}
        return sorted(
            str((e[b"ENVELOPE"].message_id or b"None").decode()) for e in envelopes.values()
        )

    def agrees(self, box, message_id, copies):
        here, there = self.ids(box), self.remote(box)
        equal(here.count(message_id), copies, f"copies in the Maildir's {box}")
        equal(there.count(message_id), copies, f"copies in the server's {box}")
        equal(here, there, f"{box}, here and there")


def sent_through_a_maildir(demo, box, filed_first):
    from test_sending import reply

    maildir = Maildir(demo)
    maildir.sync()
    message = reply(demo, unique("mbsync"), parent=asked(demo, unique("Frage")))
    message_id = message["Message-ID"]
    if filed_first:
        maildir.file(box, message)
        maildir.sync()
        maildir.send(message)
    else:
        maildir.send(message)
        maildir.file(box, message)
    for _ in range(3):
        maildir.sync()
    maildir.agrees("Shared/Support/Sent", message_id, 1)
    maildir.agrees("Sent", message_id, int(box == "Sent"))
    before = mails(maildir.mail)
    maildir.sync()
    equal(mails(maildir.mail), before, "a run without changes changed something")


def mails(folder):
    """Each file with its size, but for what mbsync notes for itself."""
    return sorted(
        (path, name, os.path.getsize(os.path.join(path, name)))
        for path, _, names in os.walk(folder)
        for name in names
        if ".mbsyncstate" not in name
    )


def test_mbsync_brings_up_a_copy_that_was_filed_by_the_user(demo):
    sent_through_a_maildir(demo, "Sent", filed_first=False)


def test_mbsync_brings_up_a_copy_that_the_team_has_already(demo):
    sent_through_a_maildir(demo, "Shared/Support/Sent", filed_first=False)


def test_mbsync_brings_up_the_teams_copy_before_it_is_sent(demo):
    sent_through_a_maildir(demo, "Shared/Support/Sent", filed_first=True)
