"""Thunderbird, the real program: log in, list, show, mark, be told of new mail, delete."""

import os
import random
import time

import imapclient
from harness import equal, is_free, until
from test_view import VIEWS
from thunderbird import Thunderbird

SHOWN = set(VIEWS["anna"])


def artifact(name):
    folder = os.environ.get("ARTIFACTS", os.path.join("target", "artifacts"))
    os.makedirs(folder, exist_ok=True)
    return os.path.abspath(os.path.join(folder, name))


def free_display():
    return next(n for n in range(90, 200) if not os.path.exists(f"/tmp/.X11-unix/X{n}"))


def flags_for(demo, login, folder, subject):
    with demo.imap(login) as client:
        client.select_folder(folder, readonly=True)
        found = client.get_flags(client.search(["SUBJECT", subject], "UTF-8"))
        return set(next(iter(found.values()))) if found else None


def count(demo, login, folder, subject):
    with demo.imap(login) as client:
        client.select_folder(folder, readonly=True)
        return len(client.search(["SUBJECT", subject], "UTF-8"))


def test_thunderbird_works_as_its_user_expects(demo):
    unique = f"{random.getrandbits(40):x}"
    ask, late, own = (f"{word} {unique}" for word in ("Rückfrage", "Nachtrag", "Privat"))
    demo.mail(demo.address("Support"), subject=ask, text="Wo bleibt das Päckchen?\n")
    with demo.imap("anna") as anna:
        anna.append("INBOX", f"Subject: {own}\r\n\r\nfür mich\r\n".encode())
    port = next(p for p in range(25480, 25500) if is_free(p))
    bird = Thunderbird(
        os.path.join(demo.directory, "bird"), "anna", demo.ports, port, free_display()
    )
    try:
        bird.trust(demo.ca_pem)
        bird.log_in("anna", demo.password("anna"))
        steps(demo, bird, ask, late, own)
    finally:
        picture = artifact("thunderbird.png")
        bird.screenshot(picture)
        bird.stop()
    return f"screenshot {picture}"


def steps(demo, bird, ask, late, own):
    # log in and list the folders
    bird.open_folder("INBOX")
    try:
        until(lambda: SHOWN <= set(bird.folders()), "the view of anna", 20)
    except AssertionError:
        raise AssertionError(f"not shown: {SHOWN - set(bird.folders())}") from None
    for forbidden in ("Shared/Sales", "Shared/Sales/Done"):
        assert forbidden not in bird.folders(), f"anna is shown {forbidden}"

    # show a message and mark it
    bird.open_folder("Shared/Support")
    text = bird.show("Shared/Support", ask)
    assert "Wo bleibt das Päckchen?" in text, text
    bird.command("cmd_markAsFlagged")
    wanted = {imapclient.FLAGGED, imapclient.SEEN}
    until(lambda: wanted <= flags_for(demo, "anna", "Shared/Support", ask), "flag and \\Seen")
    ben = flags_for(demo, "ben", "Shared/Support", ask)
    assert imapclient.FLAGGED in ben and imapclient.SEEN not in ben, ben

    # get a new one by IDLE: nothing polls here, checking for new mail is off
    time.sleep(3)  # Thunderbird goes back into IDLE two seconds after the last activity
    accepted = demo.mail(demo.address("Support"), subject=late)
    bird.await_message("Shared/Support", late, 10)
    delay = time.monotonic() - accepted
    assert delay < 5, f"shown after {delay:.1f} s"

    # someone else's flag appears
    with demo.imap("ben") as client:
        client.select_folder("Shared/Support")
        client.add_flags(client.search(["SUBJECT", late], "UTF-8"), [imapclient.FLAGGED])
    until(lambda: bird.flags("Shared/Support", late)["flagged"], "ben's flag", 10)

    # drag a mail to a colleague, who is told at once
    given = ask.replace("Rückfrage", "Übergabe")
    demo.mail(demo.address("Support"), subject=given)
    bird.await_message("Shared/Support", given, 10)
    bens = "Shared/Support/Assigned/ben"
    until(lambda: bens in bird.folders(), "ben's folder")
    with demo.imap("ben") as ben:
        ben.select_folder(bens)
        ben.idle()
        bird.move("Shared/Support", given, bens)
        until(lambda: count(demo, "anna", bens, given) == 1, "the assignment", 10)
        moved = time.monotonic()
        told = until(lambda: ben.idle_check(timeout=1), "ben is told", 5)
        assert any(kind == b"EXISTS" for _, kind in told), told
        assert time.monotonic() - moved < 1, f"told after {time.monotonic() - moved:.1f} s"
        ben.idle_done()

    # move to Trash: the team keeps an instance
    bird.show("Shared/Support", late)
    bird.command("cmd_delete")
    until(lambda: count(demo, "ben", "Shared/Support", late) == 0, "the deletion", 10)
    until(lambda: count(demo, "ben", "Shared/Support/Trash", late) == 1, "the team's Trash", 10)
    # and what is dragged out of it is back for everybody
    bird.open_folder("Shared/Support/Trash")
    bird.move("Shared/Support/Trash", late, "Shared/Support")
    until(lambda: count(demo, "ben", "Shared/Support", late) == 1, "back from Trash", 10)
    equal(count(demo, "ben", "Shared/Support/Trash", late), 0, "left in Trash")
    bird.open_folder("INBOX")
    bird.show("INBOX", own)
    bird.command("cmd_delete")
    until(lambda: count(demo, "anna", "Trash", own) == 1, "anna's Trash", 10)
    equal(count(demo, "anna", "INBOX", own), 0, "what is left in INBOX")
    # answer as the inbox: the identity by Delivered-To, one copy in the team's Sent
    bird.open_folder("Shared/Support")
    equal(bird.reply("Shared/Support", ask, "Es kommt morgen."), "support@example.org", "From")
    answer = f"Re: {ask}"
    outside = until(lambda: demo.outside.with_subject(answer), "the answer outside", 10)
    equal((len(outside), outside[0][0]), (1, "support@example.org"), "what left")
    equal(count(demo, "ben", "Shared/Support/Sent", answer), 1, "copies in the team's Sent")
    until(lambda: count(demo, "anna", "Sent", answer) == 1, "Thunderbird's own copy", 10)
    answered = flags_for(demo, "ben", "Shared/Support/Assigned/anna", ask)
    assert imapclient.ANSWERED in answered, answered

    bird.open_folder("Shared/Support/Assigned/anna")
    bird.show("Shared/Support/Assigned/anna", ask)
