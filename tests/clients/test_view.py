"""Each user of the demo sees exactly the mailboxes that the product promises: plain imaplib."""

import re

from harness import equal

PERSONAL = ["INBOX", "Drafts", "Sent", "Junk", "Trash", "Archive"]
ROLES = {
    "Drafts": "\\Drafts", "Sent": "\\Sent", "Junk": "\\Junk", "Trash": "\\Trash",
    "Archive": "\\Archive",
}  # fmt: skip
SPECIAL_USE = set(ROLES.values()) | {"\\All", "\\Flagged"}
EVERYBODY = ["anna", "ben", "carla", "dora", "erik"]


def inbox(name, workers):
    at = f"Shared/{name}"
    assigned = [f"{at}/Assigned/{login}" for login in workers]
    return [at, *assigned, *(f"{at}/{x}" for x in ("Done", "Sent", "Junk", "Trash"))]


def channel(at):
    return [at, *(f"{at}/{x}" for x in ("Done", "Sent", "Trash"))]


INFO = inbox("Info", EVERYBODY)
SUPPORT = inbox("Support", ["anna", "ben"])
SALES = inbox("Sales", ["ben"])
VIEWS = {
    "anna": PERSONAL + channel("Private/Anna Sales") + INFO + SUPPORT,
    "ben": PERSONAL + channel("Private/Ben Sales") + INFO + SUPPORT + SALES,
    "carla": PERSONAL + INFO + SUPPORT + SALES
    + channel("Other Users/anna/Anna Sales") + channel("Other Users/ben/Ben Sales"),
    "dora": PERSONAL + INFO,
    "erik": PERSONAL + INFO + SUPPORT + SALES
    + channel("Other Users/anna/Anna Sales") + channel("Other Users/ben/Ben Sales"),
}  # fmt: skip
LINE = re.compile(rb'\((?P<attributes>[^)]*)\) "/" (?:"(?P<quoted>[^"]*)"|(?P<atom>\S+))')


def listed(client, command="list", pattern="*"):
    """Attributes by name, in the order of the answer."""
    kind, lines = getattr(client, command)('""', pattern)
    equal(kind, "OK", command)
    found = {}
    for line in lines:
        if line is None:
            continue
        match = LINE.match(line)
        assert match, f"unexpected {command} line {line!r}"
        name = (match["quoted"] or match["atom"]).decode()
        assert name not in found, f"{name} is listed twice"
        found[name] = {a.lower() for a in match["attributes"].decode().split()}
    return found


def selectable(found):
    return [n for n, a in found.items() if not a & {"\\noselect", "\\nonexistent"}]


def test_list_gives_exactly_the_view(demo):
    for login, view in VIEWS.items():
        client = demo.imaplib(login)
        found = listed(client)
        equal(sorted(selectable(found)), sorted(view), f"what LIST gives {login}")
        for name in set(found) - set(view):
            below = [n for n in view if n.startswith(name + "/")]
            assert below, f"{login} is shown {name}, which leads nowhere"
        client.logout()


def test_personal_folders_come_first_and_alone_carry_special_uses(demo):
    for login in VIEWS:
        client = demo.imaplib(login)
        found = listed(client)
        equal(set(list(found)[: len(PERSONAL)]), set(PERSONAL), f"{login}'s first folders")
        for name, attributes in found.items():
            uses = {u for u in SPECIAL_USE if u.lower() in attributes}
            equal(uses, {ROLES[name]} if name in ROLES else set(), f"special uses of {name}")
        client.logout()


def test_whole_view_is_subscribed_from_the_start(demo):
    for login, view in VIEWS.items():
        client = demo.imaplib(login)
        equal(sorted(selectable(listed(client, "lsub"))), sorted(view), f"LSUB of {login}")
        client.logout()


def test_unsubscribing_hides_for_that_user_alone(demo):
    anna, ben = demo.imaplib("anna"), demo.imaplib("ben")
    name = "Shared/Support/Junk"
    equal(anna.unsubscribe(name)[0], "OK", "UNSUBSCRIBE")
    anna.logout()
    anna = demo.imaplib("anna")
    assert name not in listed(anna, "lsub"), "still subscribed after UNSUBSCRIBE"
    assert name in listed(anna), "UNSUBSCRIBE took it out of LIST"
    assert name in listed(ben, "lsub"), "anna's UNSUBSCRIBE hides it for ben"
    equal(anna.subscribe(name)[0], "OK", "SUBSCRIBE")
    assert name in listed(anna, "lsub"), "not subscribed again"
    anna.logout()
    ben.logout()


def test_status_select_and_search_work_on_each_listed_mailbox(demo):
    for login, view in VIEWS.items():
        client = demo.imaplib(login)
        for name in view:
            kind, data = client.status(f'"{name}"', "(MESSAGES UNSEEN UIDNEXT UIDVALIDITY)")
            equal(kind, "OK", f"STATUS {name} of {login}: {data}")
            messages = int(re.search(rb"MESSAGES (\d+)", data[0])[1])
            unseen = int(re.search(rb"UNSEEN (\d+)", data[0])[1])
            kind, data = client.select(f'"{name}"', readonly=True)
            equal((kind, int(data[0])), ("OK", messages), f"EXAMINE {name} of {login}")
            found = client.search(None, "ALL")[1][0].split()
            equal(len(found), messages, f"SEARCH ALL in {name} of {login}")
            found = client.search(None, "UNSEEN")[1][0].split()
            equal(len(found), unseen, f"SEARCH UNSEEN in {name} of {login}")
        client.logout()


def test_mailboxes_outside_the_view_do_not_exist(demo):
    everything = {name for view in VIEWS.values() for name in view}
    for login, view in VIEWS.items():
        client = demo.imaplib(login)
        absent = client.select('"Shared/Nothing Like This"')
        equal(absent[0], "NO", "SELECT of an absent name")
        for name in sorted(everything - set(view)) + ["Other Users/ben/INBOX", "Private/Absent"]:
            equal(client.select(f'"{name}"'), absent, f"SELECT {name} of {login}")
            equal(client.status(f'"{name}"', "(MESSAGES)")[0], "NO", f"STATUS {name} of {login}")
            equal(listed(client, pattern=f'"{name}"'), {}, f"LIST {name} of {login}")
        client.logout()


def test_namespaces(demo):
    client = demo.imaplib("carla")
    equal(
        client.namespace()[1][0].decode(),
        '(("" "/")) (("Other Users/" "/")) (("Shared/" "/"))',
        "NAMESPACE",
    )
    client.logout()


def test_sample_mail_is_where_it_was_sent(demo):
    where = {
        ("ben", "Shared/Info"): "Opening hours over the holidays?",
        ("anna", "Shared/Support"): "Import läuft nicht durch",
        ("ben", "Shared/Sales"): "Offer for 40 seats",
        ("anna", "Private/Anna Sales"): "Following up on our call",
        ("dora", "INBOX"): "Two books are due on Monday",
    }
    for (login, name), subject in where.items():
        with demo.imap(login) as client:
            client.select_folder(name, readonly=True)
            assert client.search(["SUBJECT", subject], "UTF-8"), f"{subject} is not in {name}"
