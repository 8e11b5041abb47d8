"""Reads each report beside this file with Python's email package and checks what it understood."""
import email
import email.policy
import pathlib

HERE = pathlib.Path(__file__).parent

EXPECTED = {
    "failed.eml": [("failed", "5.1.1", "bob@example.net"), ("failed", "5.1.10", "carol@null.example")],
    "expired.eml": [("failed", "4.4.7", "bob@example.net")],
    "delayed.eml": [("delayed", "4.4.1", "bob@example.net")],
    "relayed.eml": [("relayed", "2.0.0", "bob@example.net")],
    "delivered.eml": [("delivered", "2.0.0", "bob@example.org")],
    "utf8.eml": [("failed", "5.1.1", "bøb@bücher.example")],
}


def groups(part):
    """The field groups of the machine part; Python parses message/delivery-status by itself."""
    if part.get_content_type() == "message/delivery-status":
        return part.get_payload()
    text = part.as_bytes(policy=email.policy.SMTPUTF8).decode("utf-8")
    blocks = text.replace("\r\n", "\n").strip("\n").split("\n\n")[1:]
    return [email.message_from_string(block, policy=email.policy.SMTPUTF8) for block in blocks]


for name, expected in EXPECTED.items():
    raw = (HERE / name).read_bytes()
    assert b"\n" not in raw.replace(b"\r\n", b""), f"{name}: a bare LF"
    assert max(map(len, raw.split(b"\r\n"))) <= 998, name
    message = email.message_from_bytes(raw, policy=email.policy.SMTPUTF8)
    assert not message.defects, (name, message.defects)
    assert message.get_content_type() == "multipart/report", name
    assert message.get_param("report-type") == "delivery-status", name
    assert message["Auto-Submitted"] == "auto-replied", name
    assert "MAILER-DAEMON@mail.example.org" in message["From"], name
    assert message["Date"].datetime is not None, name
    if name != "utf8.eml":
        assert message["In-Reply-To"] == "<m1@example.org>", name
        assert message["References"].split()[-1] == "<m1@example.org>", name
        assert "Grüße from the office" in message["Subject"], (name, message["Subject"])
    human, machine, returned = message.get_payload()
    for part in (human, machine, returned):
        assert not part.defects, (name, part.defects)
    assert human.get_content_type() == "text/plain", name
    for _, _, address in expected:
        assert f"<{address}>" in human.get_content(), (name, address)
    kind = machine.get_content_type()
    if name == "utf8.eml":
        assert kind == "message/global-delivery-status", kind
        assert returned.get_content_type() == "message/global-headers"
    else:
        assert kind == "message/delivery-status", kind
        whole = name == "expired.eml"
        wanted = "message/rfc822" if whole else "text/rfc822-headers"
        assert returned.get_content_type() == wanted, (name, returned.get_content_type())
    first, *rest = groups(machine)
    assert first["Reporting-MTA"] == "dns; mail.example.org", name
    assert first["Original-Envelope-Id"] == "QQ+314159", name
    assert first["Arrival-Date"], name
    found = [(g["Action"], g["Status"], str(g["Final-Recipient"]).split("; ", 1)[1]) for g in rest]
    assert found == expected, (name, found)
    assert (rest[0]["Will-Retry-Until"] is not None) == (name == "delayed.eml"), name
