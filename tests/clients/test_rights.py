"""ACL commands and what they promise: each level of rights, and what it lets a client change."""

import random

from harness import equal
from imapclient.exceptions import IMAPClientError

READ, WORK, MANAGE = set("lrs"), set("lrswitep"), set("lrswitepkxa")


def my_rights(client, name):
    answer = client.myrights(name)[1][0]
    return set(answer.rpartition(b" ")[2].decode())


def outcome(client, command, *arguments):
    """Type and text of a raw command's answer; the server's words, not Python's."""
    try:
        kind, data = getattr(client, command)(*arguments)
        return kind, data[0]
    except Exception as error:  # imaplib raises on BAD
        return type(error).__name__, str(error)


def test_my_rights_at_each_level(demo):
    expected = {
        "anna": {"INBOX": MANAGE, "Shared/Support": WORK, "Shared/Info": WORK},
        "ben": {"Shared/Support": WORK, "Shared/Sales": WORK, "Shared/Sales/Done": WORK},
        "carla": {"Shared/Support": READ, "Shared/Sales": READ, "Shared/Info": WORK},
        "dora": {"INBOX": MANAGE, "Shared/Info": WORK},
    }
    for login, mailboxes in expected.items():
        client = demo.imaplib(login)
        for name, rights in mailboxes.items():
            found = my_rights(client, name) - set("cd")  # the obsolete letters of RFC 2086
            equal(found, rights, f"MYRIGHTS of {login} on {name}")
        client.logout()


def test_forbidden_answers_as_absent(demo):
    client = demo.imaplib("dora")
    client.select("INBOX")
    message = b"Subject: x\r\n\r\nx\r\n"
    for command, before, after in (
        ("select", (), ()), ("status", (), ("(MESSAGES)",)), ("myrights", (), ()),
        ("getacl", (), ()), ("setacl", (), ("dora", "lrs")), ("deleteacl", (), ("dora",)),
        ("delete", (), ()), ("rename", (), ("X",)), ("list", ('""',), ()),
        ("append", (), (None, None, message)), ("copy", ("1:*",), ()),
        ("lsub", ('""',), ()), ("unsubscribe", (), ()),
    ):  # fmt: skip
        forbidden = outcome(client, command, *before, "Shared/Support", *after)
        absent = outcome(client, command, *before, "Shared/Absents", *after)
        as_absent = str(forbidden).replace("Shared/Support", "Shared/Absents")
        equal(as_absent, str(absent), f"{command} on a forbidden mailbox")
        if command not in ("list", "lsub", "unsubscribe"):
            assert forbidden[0] != "OK", f"{command} was allowed: {forbidden}"
    client.logout()


def test_reader_may_set_seen_only(demo):
    text = f"Leser {random.getrandbits(40):x}"
    demo.mail(demo.address("Support"), subject=text)
    with demo.imap("carla") as carla, demo.imap("ben") as ben:
        # IMAPClient and imaplib refuse a SELECT that is answered by READ-ONLY
        raw = carla._imap
        kind, done = raw.xatom("SELECT", '"Shared/Support"')
        equal(kind, "OK", "SELECT by a reader")
        raw.state, raw.is_readonly = "SELECTED", True
        assert b"READ-ONLY" in done[0], done
        permanent = str(raw.untagged_responses["PERMANENTFLAGS"])
        assert "Seen" in permanent and "Flagged" not in permanent, permanent
        uids = carla.search(["SUBJECT", text])
        carla.add_flags(uids, ["\\Seen", "\\Flagged"])
        equal(set(carla.get_flags(uids)[uids[0]]) - {b"\\Recent"}, {b"\\Seen"}, "carla's flags")
        ben.select_folder("Shared/Support")
        equal(set(ben.get_flags(uids)[uids[0]]) - {b"\\Recent"}, set(), "ben's flags")
        for call, arguments in (
            (carla.expunge, ()), (carla.move, (uids, "INBOX")),
            (carla.append, ("Shared/Support", b"Subject: x\r\n\r\nx")),
            (carla.create_folder, ("Shared/Support/Neu",)),
        ):  # fmt: skip
            try:
                call(*arguments)
            except IMAPClientError:
                pass
            ben.noop()
            equal(len(ben.search(["SUBJECT", text])), 1, f"after {call.__name__} by a reader")
        assert not [n for _, _, n in ben.list_folders(pattern="Shared/Support/Neu")]


def test_acl_lists_the_team(demo):
    client = demo.imaplib("ben")
    kind, data = client.getacl("Shared/Support")
    if kind == "OK":
        words = data[0].decode().split()
        assert "anna" in words and "ben" in words, words
    else:  # GETACL wants the right `a`, which the level work has not. RFC 4314 §4
        assert b"NOPERM" in data[0], data
    equal(client.setacl("Shared/Support", "dora", "lrs")[0], "NO", "SETACL by a member")
    client.logout()
    client = demo.imaplib("dora")
    equal(client.select("Shared/Support")[0], "NO", "SELECT after a refused SETACL")
    client.logout()
