"""Quotas and what comes twice: three nodes, and one answer."""

import contextlib
import shutil
import smtplib
import tempfile
import threading

import node as nodes
from imapclient.exceptions import IMAPClientError
from node import SUPPORT, USERS, until

QUOTA = 7
ROUNDS = 25


@contextlib.contextmanager
def three(world):
    """On a database of their own; erik may have a few messages only."""
    folder = tempfile.mkdtemp(prefix="postfach-agreement-")
    world.database.create("agreement")
    them = nodes.Set(folder, world.database, world.sink.port, 3, "agreement")
    erik = 'login = "erik"\n'
    text = them.directory(USERS).replace(erik, f"{erik}quota_messages = {QUOTA}\n")
    for node in them.nodes:
        node.declare(text)
    try:
        them.start()
        yield them
    finally:
        them.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_quotas_and_what_comes_twice_are_the_same_on_every_node(world):
    with three(world) as them:
        comes_twice(them)
        is_full(them)


def comes_twice(them):
    """The same mail at all nodes at the same moment, as a sender's retry may come."""
    ready = threading.Barrier(len(them.nodes))
    failed = []

    def deliver(node):
        for n in range(ROUNDS):
            ready.wait()
            try:
                node.deliver(f"twice-{n}", "support@example.org")
            except smtplib.SMTPException as error:
                failed.append(error)

    threads = [threading.Thread(target=deliver, args=(node,)) for node in them.nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, failed
    for node in them.nodes:
        client = node.imap("anna", SUPPORT)
        until(lambda: client.noop() and len(client.search()) >= ROUNDS, "all of them")
        subjects = client.fetch(client.search(), ["ENVELOPE"]).values()
        subjects = sorted(data[b"ENVELOPE"].subject.decode() for data in subjects)
        assert subjects == sorted(f"twice-{n}" for n in range(ROUNDS)), subjects
        client.logout()


def is_full(them):
    """Each node counts what the others have taken, and what was removed elsewhere is room again."""
    clients = [node.imap("erik", "INBOX") for node in them.nodes]
    for n in range(QUOTA):
        them.nodes[n % 3].deliver(f"fits-{n}", "erik@example.org")
        for client in clients:
            until(lambda: client.noop() and len(client.search()) == n + 1, "it is on each node")
    for node, client in zip(them.nodes, clients):
        is_refused(node, "too much")
        try:
            client.append("INBOX", nodes.message("too much, appended", ["erik@example.org"]))
            raise AssertionError("APPEND goes over the quota")
        except IMAPClientError as error:
            assert "OVERQUOTA" in str(error), error
    clients[0].delete_messages(clients[0].search()[:1])
    clients[0].expunge()
    for client in clients:
        until(lambda: client.noop() and len(client.search()) == QUOTA - 1, "it is gone everywhere")
    them.nodes[2].deliver("fits again", "erik@example.org")
    until(lambda: clients[1].noop() and len(clients[1].search()) == QUOTA, "it is there")
    is_refused(them.nodes[1], "too much again")
    for client in clients:
        client.logout()


def is_refused(node, token):
    try:
        node.deliver(token, "erik@example.org")
    except smtplib.SMTPRecipientsRefused as error:
        ((code, _),) = error.recipients.values()
    except smtplib.SMTPResponseException as error:
        code = error.smtp_code
    else:
        raise AssertionError(f"{node.name} takes more than erik may have")
    assert code == 452, code
