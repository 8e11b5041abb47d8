"""Reports of a success that a sender asks for (DSN, NOTIFY=SUCCESS), by smtplib and msmtp: for mail
to mailboxes that are here, by port 25 and by submission."""

import email
import email.policy
import random

from harness import command, equal, until
from test_submission import submission

CUSTOMER = "dsn@example.net"


def subject():
    return f"receipt {random.getrandbits(48):x}"


def message(sender, text):
    return (
        f"From: {sender}\r\nTo: support@example.org\r\nSubject: {text}\r\n"
        f"Message-ID: <{random.getrandbits(64):x}@example.net>\r\n\r\nGuten Tag\r\n"
    )


def fields(report):
    """What a report says of each recipient."""
    machine = report.get_payload()[1]
    equal(machine.get_content_type(), "message/delivery-status", "the part for programs")
    return [dict(group.items()) for group in machine.get_payload()]


def in_mailbox(demo, login, folder, text):
    with demo.imap(login) as client:
        client.select_folder(folder, readonly=True)
        found = client.search(["SUBJECT", text])
        fetched = client.fetch(found, ["BODY.PEEK[]"])
        policy = email.policy.default
        return [email.message_from_bytes(fetched[u][b"BODY[]"], policy=policy) for u in found]


def test_a_customer_is_told_that_mail_to_an_inbox_has_arrived(demo):
    text = subject()
    with demo.smtp() as client:
        refused = client.sendmail(
            CUSTOMER, [demo.address("Support"), demo.address("Sales")], message(CUSTOMER, text),
            mail_options=["RET=FULL", "ENVID=case+2B1"],
            rcpt_options=["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;help@example.net"],
        )  # fmt: skip
    equal(refused, {}, "refused recipients")
    told = f"Delivered: {text}"
    until(lambda: demo.outside.with_subject(told), "the report leaves")
    sent = demo.outside.with_subject(told)
    equal([(s, r) for s, r, _ in sent], [("", [CUSTOMER])], "one report, from nobody")
    report = sent[0][2]
    whole, *recipients = fields(report)
    equal(whole["Original-Envelope-Id"], "case+1", "ENVID")
    equal([r["Action"] for r in recipients], ["delivered"] * 2, "actions")
    equal(recipients[0]["Original-Recipient"], "rfc822; help@example.net", "ORCPT")
    equal(report["Auto-Submitted"], "auto-replied", "Auto-Submitted")
    equal(report.get_payload()[2].get_content_type(), "text/rfc822-headers", "RET=FULL")
    equal(len(in_mailbox(demo, "ben", "Shared/Support", text)), 1, "the message itself")


def msmtp(demo, notify, text):
    command(
        "msmtp", "--host=127.0.0.1", f"--port={demo.ports['smtp']}", "--auth=off", "--tls=off",
        f"--from={CUSTOMER}", f"--dsn-notify={notify}", "--dsn-return=full",
        demo.address("Support"), input=message(CUSTOMER, text).encode(),
    )  # fmt: skip


def test_msmtp_is_told_what_it_asks_for(demo):
    wanted, silent = subject(), [subject(), subject()]
    for notify, text in (("never", silent[0]), ("failure,delay", silent[1]), ("success", wanted)):
        msmtp(demo, notify, text)
        equal(len(in_mailbox(demo, "ben", "Shared/Support", text)), 1, "messages")
    until(lambda: demo.outside.with_subject(f"Delivered: {wanted}"), "the report leaves")
    for text in silent:
        equal(demo.outside.with_subject(f"Delivered: {text}"), [], "reports")


def test_a_user_is_told_in_the_inbox_that_sent(demo):
    for sender, folder in (("anna@example.org", "INBOX"), ("support@example.org", "Shared/Support")):
        text = subject()
        with submission(demo) as client:
            client.login("anna", demo.password("anna"))
            refused = client.sendmail(
                sender, ["ben@example.org"], message(sender, text), rcpt_options=["NOTIFY=SUCCESS"],
            )  # fmt: skip
        equal(refused, {}, "refused recipients")
        reports = in_mailbox(demo, "anna", folder, f"Delivered: {text}")
        equal(len(reports), 1, f"reports in {folder}, at once")
        equal(fields(reports[0])[1]["Final-Recipient"], "rfc822; ben@example.org", "who")
        equal(len(in_mailbox(demo, "ben", "INBOX", text)), 1, "the message itself")


def test_a_retry_is_told_once(demo):
    text = subject()
    whole = message(CUSTOMER, text)
    for _ in range(2):
        with demo.smtp() as client:
            client.sendmail(CUSTOMER, [demo.address("Support")], whole, rcpt_options=["NOTIFY=SUCCESS"])
    until(lambda: demo.outside.with_subject(f"Delivered: {text}"), "the report leaves")
    equal(len(in_mailbox(demo, "ben", "Shared/Support", text)), 1, "instances")
    equal(len(demo.outside.with_subject(f"Delivered: {text}")), 1, "reports")
