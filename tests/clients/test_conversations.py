"""Conversations in mail programs that know nothing of them: who has one is a folder, what belongs
to it follows, and two do not answer the same mail."""

import os
import random
import smtplib
from email.message import EmailMessage

from harness import equal, until
from test_mutt import CONFIG, Terminal
from test_sending import submission, unique

SUPPORT = "Shared/Support"
DONE = SUPPORT + "/Done"
CUSTOMER = "kunde@outside.example"


def assigned(login):
    return f"{SUPPORT}/Assigned/{login}"


def message(sender, to, subject, follows=()):
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = sender, to, subject
    mail["Message-ID"] = f"<{random.getrandbits(64):x}@client.example>"
    if follows:
        mail["In-Reply-To"] = follows[-1]
        mail["References"] = " ".join(follows)
    mail.set_content(f"{subject}\n")
    return mail


def customer(demo, subject, follows=()):
    mail = message(CUSTOMER, demo.address("Support"), subject, follows)
    with smtplib.SMTP("localhost", demo.ports["smtp"], timeout=20) as client:
        client.send_message(mail)
    return mail["Message-ID"]


def answer(demo, login, subject, follows):
    mail = message("support@example.org", CUSTOMER, subject, follows)
    with submission(demo, login) as client:
        client.send_message(mail)
    return mail["Message-ID"]


def found(demo, folder, subject):
    with demo.imap("anna") as client:
        client.select_folder(folder, readonly=True)
        return client.get_flags(client.search(["SUBJECT", subject], "UTF-8"))


def move(demo, login, source, subject, target):
    with demo.imap(login) as client:
        client.select_folder(source)
        client.move(client.search(["SUBJECT", subject], "UTF-8"), target)


def test_a_conversation_from_assignment_to_done_and_back(demo):
    word = unique("Faden")
    first = customer(demo, f"{word} eins")
    second = customer(demo, f"{word} zwei", [first])
    with demo.imap("ben") as ben:
        ben.select_folder(assigned("ben"))
        ben.idle()
        move(demo, "anna", SUPPORT, f"{word} eins", assigned("ben"))
        told = until(lambda: ben.idle_check(timeout=1), "ben is told")
        ben.idle_done()
        assert any(kind == b"EXISTS" for _, kind in told), told
    flags = found(demo, assigned("ben"), word)
    equal(len(flags), 2, "the rest came along")
    assert all(b"$assigned-ben" in f for f in flags.values()), flags
    equal(len(found(demo, SUPPORT, word)), 0, "nothing is left")

    customer(demo, f"{word} drei", [first, second])
    equal(len(found(demo, assigned("ben"), word)), 3, "the next mail lands with ben")

    reply = answer(demo, "ben", f"Re: {word}", [first, second])
    try:
        answer(demo, "anna", f"Re: {word} spät", [first, second])
    except smtplib.SMTPDataError as error:
        equal(error.smtp_code, 550, "code")
        assert b"5.7.1 Ben" in error.smtp_error and b"send again" in error.smtp_error, error
    else:
        raise AssertionError("anna's late answer left")
    equal(len(found(demo, SUPPORT + "/Sent", f"Re: {word}")), 1, "one answer")
    answer(demo, "anna", f"Re: {word} spät", [first, second])
    equal(len(found(demo, SUPPORT + "/Sent", f"Re: {word}")), 2, "sent on purpose")

    move(demo, "ben", assigned("ben"), f"{word} drei", DONE)
    equal(len(found(demo, DONE, word)), 3, "closed as a whole")
    customer(demo, f"{word} vier", [first, reply])
    equal(len(found(demo, DONE, word)), 0, "open again")
    equal(len(found(demo, assigned("ben"), word)), 4, "for who had it")


def test_answering_takes_what_nobody_has(demo):
    word = unique("Nehmen")
    first = customer(demo, word)
    answer(demo, "anna", f"Re: {word}", [first])
    flags = found(demo, assigned("anna"), word)
    equal([b"\\Answered" in f and b"$assigned-anna" in f for f in flags.values()], [True], "marks")
    equal(len(found(demo, SUPPORT, word)), 0, "taken")


def test_the_keyword_assigns(demo):
    word = unique("Marke")
    first = customer(demo, f"{word} eins")
    customer(demo, f"{word} zwei", [first])
    with demo.imap("anna") as client:
        client.select_folder(SUPPORT)
        client.add_flags(client.search(["SUBJECT", f"{word} eins"]), [b"$assigned-ben"])
    equal(len(found(demo, assigned("ben"), word)), 2, "the conversation is ben's")
    equal(len(found(demo, SUPPORT, word)), 0, "nothing is left")
    with demo.imap("ben") as client:
        client.select_folder(assigned("ben"))
        client.remove_flags(client.search(["SUBJECT", f"{word} zwei"]), [b"$assigned-ben"])
    flags = found(demo, SUPPORT, word)
    equal(len(flags), 2, "and nobody's again")
    assert not any(b"$assigned" in flag for f in flags.values() for flag in f), flags


def saves_into_done(demo, program):
    """They have no MOVE: COPY, a mark, EXPUNGE."""
    word = unique(program)
    first = customer(demo, f"{word} eins")
    customer(demo, f"{word} zwei", [first])
    home = os.path.join(demo.directory, f"{program}-saves")
    os.makedirs(home)
    settings = {"login": "anna", "port": demo.ports["imaps"], "password": demo.password("anna")}
    with open(os.path.join(home, "rc"), "w") as file:
        file.write(CONFIG.format(ca=demo.ca_pem, home=home, box=SUPPORT, **settings))
    terminal = Terminal(home, program, "-n", "-F", os.path.join(home, "rc"))
    try:
        terminal.shows(f"[{word} zwei]")
        terminal.keys("/", f"{word} eins", "Enter", "s", "C-u", f"={DONE}", "Enter")
        until(lambda: len(found(demo, DONE, word)) == 2, "both in Done")
        terminal.keys("$")
        until(lambda: word not in terminal.screen(), "its screen is empty")
    finally:
        terminal.close()
    equal(len(found(demo, SUPPORT, word)), 0, "left in the inbox")
    equal(len(found(demo, DONE, word)), 2, "one instance of each")
    equal(len(found(demo, SUPPORT + "/Trash", word)), 0, "in the Trash")


def test_what_mutt_saves_elsewhere_is_moved(demo):
    saves_into_done(demo, "mutt")


def test_what_neomutt_saves_elsewhere_is_moved(demo):
    saves_into_done(demo, "neomutt")


def test_a_note_stays_inside(demo):
    word = unique("Notiz")
    first = customer(demo, word)
    note = message("support@example.org", demo.address("Support"), f"Re: {word} intern", [first])
    with submission(demo, "anna") as client:
        client.send_message(note)
    with demo.imap("anna") as client:
        # as a mail program files its own copy
        client.append(SUPPORT + "/Sent", note.as_bytes(), ["\\Seen"])
        equal(len(found(demo, SUPPORT + "/Sent", word)), 0, "it was not sent to anybody")
    with demo.imap("ben") as client:
        client.select_folder(SUPPORT)
        ids = client.search(["KEYWORD", "$Note", "SUBJECT", word], "UTF-8")
        equal(len(ids), 1, "marked")
        client.remove_flags(ids, ["$Note"])
        client.add_flags(client.search(["SUBJECT", word], "UTF-8"), ["$Note"])
    flags = found(demo, SUPPORT, word)
    equal(sorted(b"$Note" in f for f in flags.values()), [False, True], "and stays so")
    try:
        answer(demo, "ben", f"Re: {word}", [first, note["Message-ID"]])
    except smtplib.SMTPDataError as error:
        assert b"5.7.1 This answers or forwards an internal note" in error.smtp_error, error
    else:
        raise AssertionError("the note was quoted outside")
    answer(demo, "ben", f"Re: {word}", [first])
    flags = found(demo, assigned("ben"), word)
    equal(len(flags), 2, "the note goes with its conversation")
