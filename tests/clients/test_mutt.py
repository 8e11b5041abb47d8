"""mutt and neomutt in a terminal: open, read, flag, delete; the screen is what is asserted."""

import os
import random
import subprocess

import imapclient
from harness import equal, until

CONFIG = """
set folder="imaps://{login}@localhost:{port}/"
set spoolfile="+{box}"
set imap_user="{login}"
set imap_pass="{password}"
set ssl_ca_certificates_file="{ca}"
set certificate_file="{home}/accepted"
set ssl_force_tls=yes
set imap_check_subscribed=no
set sleep_time=0 timeout=2 mail_check=1
set delete=yes move=no confirmappend=no
set header_cache="" record="" postponed="{home}/postponed"
set sort=date-received charset=utf-8 quit=yes wait_key=no
set index_format="%4C %Z [%s]"
set from="{login}@demo.test" hostname=localhost
"""


class Terminal:
    """One program in a tmux of its own."""

    def __init__(self, home, *program):
        self.socket = os.path.join(home, "tmux")
        environment = dict(os.environ, HOME=home, LC_ALL="C.UTF-8", TERM="xterm")
        environment.pop("TMUX", None)
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "40",
                  " ".join(program), environment=environment)  # fmt: skip

    def tmux(self, *arguments, environment=None):
        return subprocess.run(
            ["tmux", "-S", self.socket, *arguments], env=environment, timeout=10,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        ).stdout.decode(errors="replace")  # fmt: skip

    def screen(self):
        return self.tmux("capture-pane", "-p")

    def line(self, text):
        """The line of the screen that has this text."""
        return next((x for x in self.screen().splitlines() if text in x), "")

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def shows(self, text, seconds=15):
        try:
            until(lambda: text in self.screen(), text, seconds)
        except AssertionError:
            raise AssertionError(f"{text!r} is not on the screen:\n{self.screen()}") from None

    def close(self):
        self.tmux("kill-server")


def opened(demo, program, box, *options):
    """The program with a mailbox of ben's."""
    home = os.path.join(demo.directory, f"{program}-{random.getrandbits(40):x}")
    os.makedirs(home)
    with open(os.path.join(home, "rc"), "w") as file:
        file.write(
            CONFIG.format(
                login="ben",
                port=demo.ports["imaps"],
                password=demo.password("ben"),
                ca=demo.ca_pem,
                home=home,
                box=box,
            )  # fmt: skip
        )
    return Terminal(home, program, "-n", "-F", os.path.join(home, "rc"), *options)


def reads_flags_and_deletes(demo, program):
    unique = f"{program} {random.getrandbits(40):x}"
    demo.mail(demo.address("Sales"), subject=f"{unique} bleibt", text="Grüße aus Köln\n")
    demo.mail(demo.address("Sales"), subject=f"{unique} geht")
    terminal = opened(demo, program, "Shared/Sales")
    try:
        terminal.shows(f"[{unique} geht]")
        terminal.keys("/", f"{unique} bleibt", "Enter", "Enter")
        terminal.shows("Grüße aus Köln")
        terminal.keys("q", "F")
        until(lambda: "!" in terminal.line(f"[{unique} bleibt]"), "the flag on the screen")
        terminal.keys("/", f"{unique} geht", "Enter", "d", "$")
        until(lambda: f"[{unique} geht]" not in terminal.screen(), "the deletion on the screen")
        new = f"{unique} neu"
        demo.mail(demo.address("Sales"), subject=new)
        terminal.shows(f"[{new}]", 20)
        terminal.keys("c", "=INBOX", "Enter")
        terminal.shows("INBOX")
        terminal.keys("q")
        until(lambda: "no server" in terminal.screen() or "error" in terminal.screen(), "its end")
    finally:
        screen = terminal.screen()
        terminal.close()
    with demo.imap("ben") as client:
        client.select_folder("Shared/Sales", readonly=True)
        found = client.fetch(client.search(["SUBJECT", unique]), ["FLAGS", "ENVELOPE"])
        flags = {d[b"ENVELOPE"].subject.decode(): d[b"FLAGS"] for d in found.values()}
        equal(set(flags), {f"{unique} bleibt", f"{unique} neu"}, f"what {program} left\n{screen}")
        kept = flags[f"{unique} bleibt"]
        assert imapclient.FLAGGED in kept and imapclient.SEEN in kept, kept
        client.select_folder("Shared/Sales/Trash", readonly=True)
        equal(len(client.search(["SUBJECT", f"{unique} geht"])), 1, "instances in the team's Trash")


def test_mutt_reads_flags_and_deletes(demo):
    reads_flags_and_deletes(demo, "mutt")


def test_neomutt_reads_flags_and_deletes(demo):
    reads_flags_and_deletes(demo, "neomutt")


def test_neomutt_reads_names_and_headers_in_utf_8(demo):
    """It enables UTF8=ACCEPT by itself: names and headers come as they are."""
    box, subject = "Größe & Höhe", f"Übergröße {random.getrandbits(40):x}"
    message = f"From: Jörg <joerg@demo.test>\r\nSubject: {subject}\r\n\r\nGrüße\r\n".encode()
    client = demo.imaplib("ben")
    equal(client.enable("UTF8=ACCEPT")[0], "OK", "ENABLE")
    equal(client.create(f'"{box}"')[0], "OK", "CREATE")
    # imaplib itself puts UTF8 ( ) into the literal, which is its mistake
    client.send(f'u APPEND "{box}" UTF8 (~{{{len(message)}+}}\r\n'.encode() + message + b")\r\n")
    answer = client.readline()
    assert answer.startswith(b"u OK [APPENDUID "), answer
    client.logout()
    log = os.path.join(demo.directory, "neomutt.log")
    terminal = opened(demo, "neomutt", box, "-d", "3", "-l", log)
    try:
        terminal.shows(f"[{subject}]")
        terminal.keys("Enter")
        terminal.shows("Jörg")
        terminal.shows("Grüße")
        terminal.keys("q", "F")
        until(lambda: "!" in terminal.line(f"[{subject}]"), "the flag on the screen")
        terminal.keys("q")
        until(lambda: "no server" in terminal.screen() or "error" in terminal.screen(), "its end")
    finally:
        terminal.close()
    with open(f"{log}0", errors="replace") as file:
        said = file.read()
    assert "ENABLE UTF8=ACCEPT" in said and "Handling ENABLED" in said, said[-2000:]
    assert f'SELECT "{box}"' in said, "the name as it is, not in UTF-7"
    with demo.imap("ben") as client:
        client.select_folder(box, readonly=True)
        (flags,) = (d[b"FLAGS"] for d in client.fetch(client.search(), ["FLAGS"]).values())
        assert imapclient.FLAGGED in flags and imapclient.SEEN in flags, flags
