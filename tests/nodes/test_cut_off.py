"""A node that is cut off from the database, by a proxy between the two."""

import contextlib
import smtplib
import time

from imapclient.exceptions import IMAPClientError
from node import SUPPORT, until

DISCOVERY_SECONDS = 5
AT_ONCE_SECONDS = 1


def refusal(node, token):
    """The code of a refused delivery, and how long it took; None when it was taken."""
    began = time.monotonic()
    try:
        node.deliver(token, "support@example.org")
        code = None
    except smtplib.SMTPDataError as error:
        code = error.smtp_code
    except smtplib.SMTPRecipientsRefused as error:
        code = next(iter(error.recipients.values()))[0]
    except smtplib.SMTPResponseException as error:
        code = error.smtp_code
    return code, time.monotonic() - began


def store(client, uid):
    """What STORE answers, and how long it took."""
    began = time.monotonic()
    try:
        client.add_flags([uid], ["\\Flagged"])
        said = "OK"
    except IMAPClientError as error:
        said = str(error)
    return said, time.monotonic() - began


def cut_off(world, how):
    node, other = world.behind_proxy, world.set.nodes[0]
    other.deliver(f"before-{how}", "support@example.org")
    client = node.imap("anna", SUPPORT)
    uid = until(lambda: client.noop() and client.search(["SUBJECT", f"before-{how}"]), "a mail")[0]
    getattr(world.proxy, how)()
    try:
        code, took = refusal(node, f"first-{how}")
        assert code == 451 and took < DISCOVERY_SECONDS, (code, took)
        for _ in range(3):
            code, took = refusal(node, f"during-{how}")
            assert code == 451 and took < AT_ONCE_SECONDS, (code, took)
            said, took_store = store(client, uid)
            assert "UNAVAILABLE" in said and took_store < AT_ONCE_SECONDS, (said, took_store)
        other.deliver(f"elsewhere-{how}", "support@example.org")
        client.noop()
        # what this node has in memory may be old: who comes new goes to another one
        for attempt in (lambda: node.imap("ben"), lambda: client.folder_status(SUPPORT)):
            try:
                attempt()
            except IMAPClientError as error:
                assert "UNAVAILABLE" in str(error), error
            else:
                raise AssertionError("a node that is cut off shows what it remembers")
    finally:
        world.proxy.mend()
    began = time.monotonic()
    until(lambda: store(client, uid)[0] == "OK", "the same session can store again", 6)
    until(
        lambda: client.noop() and client.search(["SUBJECT", f"elsewhere-{how}"]),
        "what came elsewhere meanwhile",
    )
    recovered = time.monotonic() - began
    node.deliver(f"after-{how}", "support@example.org")
    assert len(client.search(["SUBJECT", f"first-{how}"])) <= 1
    with contextlib.suppress(Exception):
        client.logout()
    return f"refused at once after {took * 1000:.0f} ms, recovered after {recovered:.1f} s"


def test_a_node_whose_connections_are_cut_refuses_at_once_and_recovers(world):
    return cut_off(world, "cut")


def test_a_node_whose_connections_stall_refuses_at_once_and_recovers(world):
    return cut_off(world, "stall")
