"""mbsync keeps a Maildir and the server in step, both ways and without duplicates."""

import email
import os
import random
import subprocess

import imapclient
from harness import command, equal

BOXES = ("INBOX", "Shared/Support", "Shared/Support/Done")
CONFIG = """
IMAPAccount demo
Host localhost
Port {port}
User ben
Pass {password}
SSLType IMAPS
CertificateFile {ca}
PipelineDepth 50

IMAPStore far
Account demo

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns INBOX Shared/Support Shared/Support/Done
Create Near
Expunge Both
Sync All
CopyArrivalDate yes
SyncState *
"""


def mbsync(home):
    command("mbsync", "--config", os.path.join(home, "mbsyncrc"), "all", seconds=50)


def local(home, box):
    """Path by subject, for one folder of the Maildir."""
    found, ids = {}, set()
    for part in ("cur", "new"):
        folder = os.path.join(home, "mail", box, part)
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                header = email.message_from_binary_file(file)
            message_id, subject = header["Message-ID"], str(header["Subject"])
            assert not message_id or message_id not in ids, f"{subject} is there twice: {path}"
            ids.add(message_id)
            found[subject] = path
    return found


def remote(client, box):
    """Flags by subject, for one folder of the server."""
    client.select_folder(box, readonly=True)
    found, ids = {}, set()
    for data in client.fetch(client.search("ALL"), ["FLAGS", "ENVELOPE"]).values():
        subject, message_id = data[b"ENVELOPE"].subject.decode(), data[b"ENVELOPE"].message_id
        assert not message_id or message_id not in ids, f"{subject} is there twice in {box}"
        ids.add(message_id)
        found[subject] = {f for f in data[b"FLAGS"] if f != b"\\Recent"}
    return found


def set_up(demo):
    home = os.path.join(demo.directory, "mbsync")
    os.makedirs(os.path.join(home, "mail", "Shared"))
    with open(os.path.join(home, "mbsyncrc"), "w") as file:
        file.write(
            CONFIG.format(
                port=demo.ports["imaps"],
                password=demo.password("ben"),
                ca=demo.ca_pem,
                maildir=os.path.join(home, "mail"),
            )  # fmt: skip
        )
    return home


def test_two_way_synchronisation_without_duplicates(demo):
    unique = f"{random.getrandbits(40):x}"
    one, two, three = (f"mbsync {n} {unique}" for n in ("eins", "zwei", "drei"))
    for subject in (one, two):
        demo.mail(demo.address("Support"), subject=subject)
    home = set_up(demo)

    # down
    mbsync(home)
    mail = local(home, "Shared/Support")
    assert one in mail and two in mail, mail

    # a local flag goes up, a local message goes up, a remote flag comes down
    os.rename(mail[one], mail[one].replace("/new/", "/cur/").partition(":")[0] + ":2,FS")
    with open(os.path.join(home, "mail/Shared/Support/Done/new", f"1.{unique}.host"), "w") as f:
        f.write(f"From: ben@demo.test\nSubject: {three}\nMessage-ID: <{unique}@x>\n\nDrei\n")
    with demo.imap("ben") as client:
        client.select_folder("Shared/Support")
        client.add_flags(client.search(["SUBJECT", two]), [imapclient.ANSWERED])
        mbsync(home)
        flags = remote(client, "Shared/Support")
        equal(flags[one], {b"\\Flagged", b"\\Seen"}, "flags set in the Maildir")
        assert three in remote(client, "Shared/Support/Done"), "the local message is not there"
        assert local(home, "Shared/Support")[two].rpartition(":2,")[2].count("R") == 1

    # a local deletion goes up, a remote deletion comes down
    path = local(home, "Shared/Support")[one]
    os.rename(path, path.partition(":")[0] + ":2,FST")
    with demo.imap("ben") as client:
        client.select_folder("Shared/Support")
        client.delete_messages(client.search(["SUBJECT", two]))
        client.expunge()
    mbsync(home)
    with demo.imap("ben") as client:
        assert one not in remote(client, "Shared/Support"), "the local deletion did not go up"
    assert two not in local(home, "Shared/Support"), "the remote deletion did not come down"

    # a further run finds nothing to do
    def everything():
        output = subprocess.check_output(["find", os.path.join(home, "mail"), "-type", "f"])
        names = sorted(n for n in output.decode().split("\n") if "/.mbsyncstate" not in n)
        with demo.imap("ben") as client:
            return names, [remote(client, box) for box in BOXES]

    before = everything()
    mbsync(home)
    equal(everything(), before, "a run without changes changed something")


def test_first_synchronisation_of_two_replicas_agrees(demo):
    home = os.path.join(demo.directory, "mbsync")
    assert os.path.isdir(home), "needs the test before this one"
    second = os.path.join(demo.directory, "mbsync2")
    os.makedirs(os.path.join(second, "mail", "Shared"))
    with open(os.path.join(home, "mbsyncrc")) as file:
        config = file.read().replace(f"{home}/mail", f"{second}/mail")
    with open(os.path.join(second, "mbsyncrc"), "w") as file:
        file.write(config)
    mbsync(second)
    mbsync(home)
    for box in BOXES:
        equal(sorted(local(second, box)), sorted(local(home, box)), f"replicas of {box}")
