"""OfflineIMAP keeps a Maildir and the server in step, both ways."""

import os
import random

from harness import command, equal

CONFIG = """
[general]
accounts = demo
metadata = {home}/metadata
maxsyncaccounts = 1
ui = quiet

[Account demo]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {home}/mail
sep = .

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {port}
remoteuser = anna
remotepass = {password}
ssl = yes
sslcacertfile = {ca}
folderfilter = lambda name: name in ('INBOX', 'Shared/Support')
nametrans = lambda name: name.replace('/', '.')
"""


def set_up(demo):
    home = os.path.join(demo.directory, "offlineimap")
    os.makedirs(home, exist_ok=True)
    rc = os.path.join(home, "rc")
    with open(rc, "w") as file:
        ports, password = demo.ports, demo.password("anna")
        file.write(
            CONFIG.format(home=home, port=ports["imaps"], password=password, ca=demo.ca_pem)
        )
    return home, rc


def sync(rc):
    command("offlineimap", "-c", rc, "-o", seconds=50)


def local(home, folder):
    """Paths by what stands in the message's first lines."""
    found = {}
    for part in ("cur", "new"):
        place = os.path.join(home, "mail", folder, part)
        for name in os.listdir(place) if os.path.isdir(place) else ():
            path = os.path.join(place, name)
            with open(path, "rb") as file:
                found[path] = file.read()
    return found


def paths_with(home, folder, text):
    return [path for path, octets in local(home, folder).items() if text.encode() in octets]


def test_mail_flags_and_drafts_go_both_ways(demo):
    subject = f"offlineimap {random.getrandbits(48):x}"
    demo.mail(demo.address("Support"), subject=subject)
    home, rc = set_up(demo)
    sync(rc)
    (path,) = paths_with(home, "Shared.Support", subject)
    # read here, seen there
    folder, name = os.path.split(path)
    read = os.path.join(os.path.dirname(folder), "cur", name.split(":")[0] + ":2,FS")
    os.rename(path, read)
    # written here, there afterwards
    own = f"own {random.getrandbits(48):x}"
    new = os.path.join(home, "mail", "INBOX", "new", f"1.{random.getrandbits(40)}.here")
    with open(new, "w") as file:
        file.write(f"From: anna@demo.test\nSubject: {own}\nMessage-ID: <{own[4:]}@x>\n\nHello\n")
    sync(rc)
    with demo.imap("anna") as client:
        client.select_folder("Shared/Support")
        (uid,) = client.search(["SUBJECT", subject])
        flags = set(client.get_flags([uid])[uid])
        assert {b"\\Flagged", b"\\Seen"} <= flags, flags
        client.select_folder("INBOX")
        (uid,) = client.search(["SUBJECT", own])
        client.add_flags([uid], [b"\\Answered"])
    sync(rc)
    equal(len(paths_with(home, "INBOX", own)), 1, "copies of what was written here")
    (path,) = paths_with(home, "INBOX", own)
    assert "R" in path.rsplit(",", 1)[-1], path
