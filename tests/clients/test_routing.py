"""Rules for new conversations and acknowledgements, as customers, colleagues and the operator meet
them: swaks writes to an inbox, IMAP shows who has it, the world outside hears of it."""

import email
import email.policy
import os
import random
import re

from harness import Demo, command, equal, until

RULES = """
[[inbox]]
name = "Bestellung"
addresses = ["order@example.org"]
users = ["anna", "ben", "carla:read"]
[inbox.acknowledgement]
subject = "[{reference}] {subject}"
file = "eingang.txt"
[[inbox.route]]
sender_domain = ["big.example"]
users = ["ben"]
[[inbox.route]]
detail = ["storno"]
folder = "done"
[[inbox.route]]
subject = ["invoice*"]
users = ["anna"]
[[inbox.route]]
pick = "round-robin"
"""
TEXT = "Danke für Ihre Nachricht an {inbox}.\nIhre Nummer ist {reference}.\n"
ORDER = "order@example.org"


def with_rules(function):
    """Runs the test on a demo of its own, whose directory has the inbox with rules."""

    def test(demo):
        own = Demo(demo.binary, os.path.join(demo.directory, function.__name__))
        try:
            with open(os.path.join(own.home, "eingang.txt"), "w", encoding="utf-8") as file:
                file.write(TEXT)
            with open(own.directory_toml, "a", encoding="utf-8") as file:
                file.write(RULES)
            own.reload()
            with own.imap("anna") as client:
                until(lambda: client.folder_exists("Shared/Bestellung"), "the inbox is there")
            function(own)
        finally:
            own.stop()
            own.outside.stop()

    test.__name__ = function.__name__
    return test


def swaks(demo, subject, *more, sender=None, to=ORDER):
    command(
        "swaks", "--server", f"127.0.0.1:{demo.ports['smtp']}", "--timeout", "20",
        "--from", sender or f"kunde{random.getrandbits(32):x}@example.net", "--to", to,
        "--header", f"Subject: {subject}", "--suppress-data", *more,
    )  # fmt: skip


def holds(demo, folder):
    """The subjects in a folder of the inbox."""
    with demo.imap("anna") as client:
        client.select_folder(f"Shared/Bestellung{folder}", readonly=True)
        found = client.fetch(client.search(), ["ENVELOPE"])
        return sorted(m[b"ENVELOPE"].subject.decode() for m in found.values())


@with_rules
def test_rules_say_who_gets_what(demo):
    swaks(demo, "from big", sender="shop@mail.big.example")
    swaks(demo, "cancel", to="order+storno@example.org")
    swaks(demo, "your invoices")
    for n in range(4):
        swaks(demo, f"other {n}")
    anna, ben = holds(demo, "/Assigned/anna"), holds(demo, "/Assigned/ben")
    equal(anna, ["other 0", "other 2", "your invoices"], "anna's")
    equal(ben, ["from big", "other 1", "other 3"], "ben's")
    equal(holds(demo, "/Done"), ["cancel"], "done at once")
    equal(holds(demo, ""), [], "nobody's")


@with_rules
def test_turns_go_on_after_a_kill(demo):
    swaks(demo, "one")
    demo.process.kill()
    demo.process.wait()
    again = Demo(demo.binary, demo.directory)
    try:
        swaks(again, "two")
        swaks(again, "three")
        equal(holds(again, "/Assigned/anna"), ["one", "three"], "anna's")
        equal(holds(again, "/Assigned/ben"), ["two"], "ben's")
    finally:
        again.stop()
        again.outside.stop()


@with_rules
def test_a_customer_is_acknowledged_once_and_answers_into_the_conversation(demo):
    customer = "kundin@example.net"
    swaks(demo, "Frage", "--header", "Message-Id: <f1@example.net>", sender=customer)
    until(lambda: demo.outside.messages, "the acknowledgement leaves")
    sender, recipients, raw = demo.outside.messages[0]
    equal((sender, recipients), ("", [customer]), "envelope")
    told = email.message_from_bytes(raw, policy=email.policy.default)
    number = re.fullmatch(r"\[([2-9A-Z]{4}-[2-9A-Z]{4})\] Frage", told["Subject"]).group(1)
    equal(told["From"].addresses[0].addr_spec, ORDER, "From")
    equal(told["From"].addresses[0].display_name, "Bestellung", "its name")
    equal(told["Auto-Submitted"], "auto-replied", "Auto-Submitted")
    equal(told["In-Reply-To"], "<f1@example.net>", "In-Reply-To")
    text = told.get_content().replace("\r\n", "\n")
    equal(text, f"Danke für Ihre Nachricht an Bestellung.\nIhre Nummer ist {number}.\n", "text")
    with demo.imap("ben") as client:
        client.select_folder("Shared/Bestellung/Sent", readonly=True)
        equal(len(client.search(["SUBJECT", number])), 1, "found in Sent by its number")
        equal(client.search(["UNSEEN"]), [], "no news to anybody")
    answer = ["--header", f"In-Reply-To: {told['Message-ID']}"]
    swaks(demo, "Re: Frage", *answer, sender=customer)
    swaks(demo, "Noch eine", sender=customer)
    have = holds(demo, "/Assigned/anna"), holds(demo, "/Assigned/ben")
    equal(have, (["Frage", "Re: Frage"], ["Noch eine"]), "the answer went to anna")
    swaks(demo, "auto", "--header", "Auto-Submitted: auto-generated")
    swaks(demo, "list", "--header", "List-Id: <x.example>")
    swaks(demo, "robot", sender="no-reply@example.net")
    swaks(demo, "bounce", sender="<>")
    swaks(demo, "somebody else", sender="other@example.net")
    until(lambda: len(demo.outside.messages) > 1, "the other customer is told")
    equal([m[1] for m in demo.outside.messages], [[customer], ["other@example.net"]], "all told")


@with_rules
def test_route_test_explains(demo):
    path = os.path.join(demo.directory, "m.eml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"From: bob@c.example\nTo: {ORDER}\nSubject: hello\n\nHi\n")
    config = os.path.join(demo.home, "postfach.toml")
    ask = [demo.binary, "route-test", path, "--to", ORDER, "--config", config]
    said = command(*ask)
    for expected in (
        f"{ORDER} -> inbox Bestellung",
        "no: the sender's domain is c.example, not big.example",
        "no: the address has no detail",
        "no: the subject has not \"invoice*\"",
        "matches: round-robin of all who work there",
        "anna: 0 open, no turn yet",
        "anna gets it, who has waited longest for a turn",
        "bob@c.example is acknowledged it",
    ):
        assert expected in said, f"{expected}: {said}"
    swaks(demo, "one")
    assert "ben gets it, who has waited longest" in command(*ask), command(*ask)
    said = command(*ask, "--from", "bounces-1@c.example")
    assert "Not acknowledged: the sender's address is a program's." in said, said


@with_rules
def test_faults_in_rules_are_refused_with_their_place(demo):
    with open(demo.directory_toml, "a", encoding="utf-8") as file:
        file.write('[[inbox.route]]\nusers = ["nobody"]\n')
    config = os.path.join(demo.home, "postfach.toml")
    said = command(demo.binary, "check", "--config", config, check=1)
    assert re.search(r'directory\.toml:\d+:10: there is no user "nobody"', said), said
    demo.reload()
    until(lambda: "new directory refused, the old one stays" in demo.log(), "it is refused")
    swaks(demo, "still routed")
    equal(holds(demo, "/Assigned/anna"), ["still routed"], "the old rules")
