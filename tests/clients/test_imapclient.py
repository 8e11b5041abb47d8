"""IMAPClient: what a program does with its own folders, and with the team's."""

import datetime
import random

import imapclient
from harness import equal
from imapclient.exceptions import IMAPClientError, LoginError

MESSAGE = """From: =?utf-8?q?J=C3=B6rg_M=C3=BCller?= <joerg@example.net>\r
To: anna@demo.test\r
Cc: =?utf-8?q?B=C3=A4cker?= <b@example.net>\r
Subject: =?utf-8?q?Bestellung_f=C3=BCr_K=C3=B6ln_{unique}?=\r
Date: Tue, 03 Nov 2026 10:11:12 +0100\r
Message-ID: <{unique}@example.net>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary="b"\r
\r
--b\r
Content-Type: text/plain; charset=iso-8859-1\r
Content-Transfer-Encoding: quoted-printable\r
\r
Stra=DFe und =C4pfel\r
--b\r
Content-Type: application/pdf; name="a.pdf"\r
Content-Transfer-Encoding: base64\r
Content-Disposition: attachment; filename="a.pdf"\r
\r
JVBERi0xLjQK\r
--b--\r
"""


def message():
    unique = f"{random.getrandbits(40):x}"
    return unique, MESSAGE.format(unique=unique).encode()


def appended(client, folder="INBOX", flags=()):
    unique, octets = message()
    client.append(folder, octets, flags, datetime.datetime(2026, 11, 3, 9, 11, 12))
    client.select_folder(folder)
    (uid,) = client.search(["SUBJECT", unique])
    return unique, octets, uid


def refused(call, *arguments):
    try:
        call(*arguments)
    except IMAPClientError as error:
        return str(error)
    raise AssertionError(f"{call.__name__}{arguments} was allowed")


def test_wrong_password_is_refused(demo):
    with demo.imap("anna") as client:
        client.noop()
    client = imapclient.IMAPClient("localhost", demo.ports["imaps"], ssl_context=demo.tls)
    try:
        client.login("anna", "wrong")
    except LoginError as error:
        assert "AUTHENTICATIONFAILED" in str(error), error
    else:
        raise AssertionError("a wrong password was accepted")
    finally:
        client.shutdown()


def test_starttls_hides_login_before_it(demo):
    client = imapclient.IMAPClient("localhost", demo.ports["imap"], ssl=False, timeout=20)
    client.starttls(demo.tls)
    client.login("anna", demo.password("anna"))
    assert not client.has_capability("STARTTLS"), client.capabilities()
    client.logout()


def test_promised_capabilities(demo):
    with demo.imap("anna") as client:
        offered = {c.decode().upper() for c in client.capabilities()}
        wanted = """IMAP4REV1 LITERAL+ ID NAMESPACE ENABLE IDLE UIDPLUS MOVE UNSELECT CHILDREN
            LIST-EXTENDED LIST-STATUS SPECIAL-USE CONDSTORE ESEARCH ACL RIGHTS=TEXK STATUS=SIZE"""
        missing = set(wanted.split()) - offered
        assert not missing, f"missing {sorted(missing)}"
        assert client.id_({"name": "test"}), "ID gives nothing"


def test_appended_message_comes_back_octet_by_octet(demo):
    with demo.imap("anna") as client:
        _, octets, uid = appended(client, flags=[imapclient.SEEN, "$Forwarded"])
        data = client.fetch(
            [uid], ["BODY.PEEK[]", "FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE",
                    "BODYSTRUCTURE", "BODY.PEEK[1]", "BODY.PEEK[2.MIME]", "BODY.PEEK[]<0.10>"],
        )[uid]  # fmt: skip
        equal(data[b"BODY[]"], octets, "octets")
        equal(data[b"RFC822.SIZE"], len(octets), "size")
        equal(data[b"BODY[]<0>"], octets[:10], "the first ten")
        equal(data[b"BODY[1]"].strip(), b"Stra=DFe und =C4pfel", "part 1")
        assert b"attachment" in data[b"BODY[2.MIME]"], data[b"BODY[2.MIME]"]
        flags = set(data[b"FLAGS"]) - {b"\\Recent"}
        equal(flags, {b"\\Seen", b"$Forwarded"}, "flags")
        envelope = data[b"ENVELOPE"]
        equal(envelope.message_id, octets.partition(b"Message-ID: ")[2].split(b"\r")[0], "id")
        equal(envelope.cc[0].host, b"example.net", "Cc")
        structure = data[b"BODYSTRUCTURE"]
        assert structure.is_multipart, structure
        equal([part[1].lower() for part in structure[0]], [b"plain", b"pdf"], "parts")


def test_search_finds_umlauts_dates_flags_and_sizes(demo):
    with demo.imap("anna") as client:
        unique, octets, uid = appended(client, flags=[imapclient.FLAGGED])

        def hits(*keys, charset="UTF-8"):
            return uid in client.search([*keys], charset)

        for keys in (
            ["SUBJECT", "für köln"], ["SUBJECT", "FÜR KÖLN"], ["BODY", "straße"],
            ["BODY", "Äpfel"], ["TEXT", "äPFEL"], ["FROM", "jörg müller"], ["CC", "bäcker"],
            ["FLAGGED"], ["UNSEEN"], ["NOT", "KEYWORD", "x"],
            ["LARGER", len(octets) - 1], ["SMALLER", len(octets) + 1],
            ["SINCE", datetime.date(2026, 11, 3)], ["SENTON", datetime.date(2026, 11, 3)],
            ["OR", "SUBJECT", "nirgends", "SUBJECT", unique], ["HEADER", "Message-ID", unique],
            ["UID", f"{uid}:*"], ["UNDELETED", "BODY", "Äpfel", "SUBJECT", "KÖLN"],
        ):  # fmt: skip
            assert hits(*keys), f"not found by {keys}"
        for keys in (
            ["SUBJECT", "Kölle"], ["SEEN", "SUBJECT", unique], ["LARGER", len(octets)],
            ["BEFORE", datetime.date(2026, 11, 3)], ["BODY", "JVBERi0"],
        ):  # fmt: skip
            assert not hits(*keys), f"found by {keys}"


def test_flags_are_added_removed_and_replaced(demo):
    with demo.imap("anna") as client:
        _, _, uid = appended(client)
        client.add_flags([uid], [imapclient.ANSWERED, "$label3"])
        client.add_flags([uid], [imapclient.DRAFT], silent=True)
        client.remove_flags([uid], [imapclient.ANSWERED])
        found = set(client.get_flags([uid])[uid]) - {b"\\Recent"}
        equal(found, {b"$label3", b"\\Draft"}, "after + and -")
        client.set_flags([uid], ["Wichtig"])
        found = set(client.get_flags([uid])[uid]) - {b"\\Recent"}
        equal(found, {b"Wichtig"}, "after replacing")


def test_copy_and_move_tell_the_new_uids(demo):
    with demo.imap("anna") as client:
        unique, octets, uid = appended(client, flags=[imapclient.FLAGGED])
        client.copy([uid], "Archive")
        client.move([uid], "Drafts")
        equal(client.search(["SUBJECT", unique]), [], "what is left in INBOX")
        for folder in ("Archive", "Drafts"):
            client.select_folder(folder)
            (there,) = client.search(["SUBJECT", unique])
            data = client.fetch([there], ["BODY.PEEK[]", "FLAGS", "INTERNALDATE"])[there]
            equal(data[b"BODY[]"], octets, f"octets in {folder}")
            assert imapclient.FLAGGED in data[b"FLAGS"], f"flags in {folder}"
        assert "TRYCREATE" in refused(client.copy, "1:*", "Gibt es nicht")


def test_expunge_removes_the_deleted_only(demo):
    with demo.imap("anna") as client:
        first, _, one = appended(client, "Junk")
        second, _, two = appended(client, "Junk")
        third, _, three = appended(client, "Junk")
        client.delete_messages([one, two])
        client.uid_expunge([two])
        equal(client.search(["UID", f"{one}:{three}"]), [one, three], "after UID EXPUNGE")
        client.expunge()
        equal(client.search(["UID", f"{one}:{three}"]), [three], "after EXPUNGE")
        client.delete_messages([three])
        client.close_folder()
        client.select_folder("Junk")
        equal(client.search(["SUBJECT", third]), [], "after CLOSE")


def test_own_folders_with_umlauts_are_made_renamed_and_deleted(demo):
    with demo.imap("anna") as client:
        client.create_folder("Entwürfe & Ideen/Köln")
        appended(client, "Entwürfe & Ideen/Köln")
        client.unselect_folder()
        client.rename_folder("Entwürfe & Ideen/Köln", "Entwürfe & Ideen/Zürich")
        names = [name for _, _, name in client.list_folders(pattern="Entw*")]
        assert "Entwürfe & Ideen/Zürich" in names, names
        equal(client.folder_status("Entwürfe & Ideen/Zürich")[b"MESSAGES"], 1, "messages")
        client.delete_folder("Entwürfe & Ideen/Zürich")
        client.delete_folder("Entwürfe & Ideen")
        equal(client.list_folders(pattern="Entw*"), [], "what is left")
        refused(client.delete_folder, "INBOX")


def test_idle_uid_validity_and_uidnext_are_told_at_select(demo):
    with demo.imap("anna") as client:
        told = client.select_folder("Drafts")
        status = client.folder_status("Drafts", ["UIDNEXT", "UIDVALIDITY", "MESSAGES"])
        equal(told[b"UIDVALIDITY"], status[b"UIDVALIDITY"], "UIDVALIDITY")
        equal(told[b"UIDNEXT"], status[b"UIDNEXT"], "UIDNEXT")
        equal(told[b"EXISTS"], status[b"MESSAGES"], "EXISTS")
        assert b"HIGHESTMODSEQ" in told, told


def test_what_a_member_deletes_stays_in_the_teams_trash(demo):
    ways = {}
    for way in ("expunge", "move", "close"):
        ways[way] = f"{way} {random.getrandbits(40):x}"
        demo.mail(demo.address("Support"), subject=ways[way])
    with demo.imap("anna") as anna, demo.imap("ben") as ben:
        anna.select_folder("Shared/Support")
        found = {way: anna.search(["SUBJECT", text]) for way, text in ways.items()}
        anna.delete_messages(found["expunge"])
        anna.expunge()
        anna.move(found["move"], "Trash")
        anna.delete_messages(found["close"])
        anna.close_folder()
        ben.select_folder("Shared/Support", readonly=True)
        for way, text in ways.items():
            equal(ben.search(["SUBJECT", text]), [], f"left in the inbox after {way}")
        ben.select_folder("Shared/Support/Trash")
        for way, text in ways.items():
            equal(len(ben.search(["SUBJECT", text])), 1, f"in the team's Trash after {way}")
        ben.move(ben.search(["SUBJECT", ways["move"]]), "Shared/Support")
        ben.select_folder("Shared/Support")
        equal(len(ben.search(["SUBJECT", ways["move"]])), 1, "moved back")
