"""curl over IMAP and SMTP, both with verified TLS."""

import os

from harness import command, equal

SELECT_FAILED = 67  # curl has one exit code for a refused LOGIN and a refused SELECT


def curl(demo, *arguments, check=0, login="anna"):
    return command(
        "curl", "--silent", "--show-error", "--max-time", "20", "--cacert", demo.ca_pem,
        "--user", f"{login}:{demo.password(login)}", *arguments, check=check,
    )  # fmt: skip


def url(demo, path=""):
    return f"imaps://localhost:{demo.ports['imaps']}/{path}"


def test_folders_are_listed(demo):
    listed = curl(demo, url(demo))
    for name in ('"/" INBOX', '"/" Shared', '"/" Drafts'):
        assert name in listed, listed
    below = curl(demo, url(demo), "--request", 'LIST "" "Shared/*"')
    assert "Shared/Support/Assigned/ben" in below, below


def test_message_is_uploaded_found_and_fetched(demo):
    path = os.path.join(demo.directory, "curl.eml")
    text = "From: anna@demo.test\r\nSubject: hochgeladen mit curl\r\n\r\nÜber die Brücke.\r\n"
    with open(path, "wb") as file:
        file.write(text.encode())
    curl(demo, "--upload-file", path, url(demo, "Drafts"))
    found = curl(demo, url(demo, "Drafts?SUBJECT%20hochgeladen"))
    assert found.startswith("* SEARCH "), found
    uid = found.split()[2]
    equal(curl(demo, url(demo, f"Drafts;UID={uid}")), text, "the message as fetched by curl")
    part = curl(demo, url(demo, f"Drafts;UID={uid};SECTION=TEXT"))
    equal(part, "Über die Brücke.\r\n", "its text")


def test_mail_is_sent_with_starttls(demo):
    path = os.path.join(demo.directory, "curl-out.eml")
    with open(path, "w", newline="\r\n") as file:
        file.write("From: c@example.net\nTo: support@demo\nSubject: gesendet mit curl\n\nHallo\n")
    command(
        "curl", "--silent", "--show-error", "--max-time", "20", "--cacert", demo.ca_pem,
        "--ssl-reqd", f"smtp://localhost:{demo.ports['smtp']}/client.example.net",
        "--mail-from", "c@example.net", "--mail-rcpt", demo.address("Support"),
        "--upload-file", path,
    )  # fmt: skip
    found = curl(demo, url(demo, "Shared/Support?SUBJECT%20%22gesendet%20mit%20curl%22"))
    equal(len(found.split()), 3, f"hits for the mail sent by curl ({found!r})")


def test_wrong_password_is_refused(demo):
    command(
        "curl", "--silent", "--max-time", "20", "--cacert", demo.ca_pem,
        "--user", "anna:wrong", url(demo), check=67,
    )  # fmt: skip


def test_absent_and_forbidden_folder_give_the_same_error(demo):
    absent = curl(demo, url(demo, "Shared/Absent;UID=1"), check=SELECT_FAILED, login="dora")
    forbidden = curl(demo, url(demo, "Shared/Support;UID=1"), check=SELECT_FAILED, login="dora")
    equal(forbidden, absent, "curl's words")
