"""A database that was restored from a backup: while a node runs, and while all nodes are down."""

import subprocess
import time

from node import SUPPORT, until


def backup(world):
    command = [f"{world.database.bin}/pg_dump", "-Fc", world.database.url()]
    return subprocess.run(command, capture_output=True, check=True).stdout


def bring_back(world, dump):
    command = [
        f"{world.database.bin}/pg_restore", "--clean", "--if-exists", "--single-transaction",
        "-d", world.database.url(),
    ]  # fmt: skip
    subprocess.run(command, input=dump, capture_output=True, check=True)


def epochs(node):
    client = node.imap("anna")
    folders = [name for flags, _, name in client.list_folders() if b"\\Noselect" not in flags]
    found = {n: client.folder_status(n, ["UIDVALIDITY"])[b"UIDVALIDITY"] for n in folders}
    client.logout()
    return found


def restored(node):
    """The backup says that a node was at work: that counts for some seconds more."""
    try:
        return node.run("restored")
    except AssertionError as refused:
        assert "stop all nodes first" in str(refused), refused
        return None


def test_a_database_that_was_restored_while_all_nodes_were_down(world):
    nodes = world.set.nodes
    world.sink.is_late = True
    nodes[0].deliver("restored-before", "support@example.org")
    nodes[0].submit("anna", "restored-out", "later@example.com")
    until(lambda: "451" in nodes[1].run("queue", "list"), "an attempt at it", 10)
    before, dump = epochs(nodes[0]), backup(world)
    nodes[0].deliver("restored-lost", "support@example.org")
    world.set.stop()
    bring_back(world, dump)
    told = until(lambda: restored(nodes[2]), "no node counts as being at work", 15)
    assert "new UIDVALIDITY" in told and "1 queued messages are held" in told, told
    world.sink.is_late = False
    world.set.start()
    after = [epochs(node) for node in nodes]
    assert after[0] == after[1] == after[2], after
    assert set(after[0]) == set(before)
    assert all(after[0][name] > before[name] for name in before), (before, after)
    nodes[1].deliver("restored-after", "support@example.org")
    client = nodes[0].imap("anna", SUPPORT)
    until(lambda: client.noop() and client.search(["SUBJECT", "restored-after"]), "a mail")
    assert client.search(["SUBJECT", "restored-before"])
    assert not client.search(["SUBJECT", "restored-lost"])
    assert not world.sink.with_subject("restored-out"), "it is held"
    nodes[0].run("queue", "release", "all")
    until(lambda: world.sink.with_subject("restored-out"), "it leaves", 15)


def test_a_database_that_was_restored_while_nodes_run(world):
    nodes = world.set.nodes
    before, dump = epochs(nodes[0]), backup(world)
    for number in range(3):
        nodes[0].deliver(f"gone-{number}", "support@example.org")
    time.sleep(0.5)
    terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name='postfach'"
    world.database.ask(terminate)
    bring_back(world, dump)
    until(lambda: epochs(nodes[0])[SUPPORT] > before[SUPPORT], "a new epoch", 15)
    after = [epochs(node) for node in nodes]
    assert after[0] == after[1] == after[2], after
    untouched = [name for name in before if after[0][name] == before[name]]
    assert "INBOX" in untouched, "nothing has happened to it"
