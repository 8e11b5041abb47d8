"""ImapFlow, the IMAP library of many Node programs: a mail is given to a colleague who watches."""

import json
import os
import shutil

import test_sending
from harness import command, equal

HERE = os.path.dirname(os.path.abspath(__file__))


def test_imapflow_gives_a_mail_to_a_colleague_who_watches(demo):
    folder = os.environ.get("NODE_FOLDER") or os.path.abspath("target/test-node")
    assert os.path.isdir(os.path.join(folder, "node_modules", "imapflow")), (
        f"ImapFlow is missing: npm install --prefix {folder} imapflow@1"
    )
    subject = test_sending.unique("Übergabe")
    demo.mail(demo.address("Support"), subject=subject)
    output = command(
        shutil.which("node"), os.path.join(HERE, "imapflow.mjs"), str(demo.ports["imaps"]),
        demo.ca_pem, demo.password("anna"), demo.password("ben"), subject,
        env=dict(os.environ, NODE_FOLDER=folder),
    )  # fmt: skip
    told = {}
    for line in output.splitlines():
        told.update(json.loads(line))
    assert {"INBOX", "Shared/Support", "Shared/Support/Assigned/ben"} <= set(told["folders"]), told
    assert not any("/" in path for path, _ in told["special"]), told["special"]
    equal(told["envelope"][0], subject, "subject")
    equal(told["moved"], 1, "COPYUID")
    assert told["told"] is not None and told["told"] < 1000, f"told after {told['told']} ms"
    assert "\\Answered" in told["flags"], told["flags"]
    return f"told after {told['told']} ms"
