"""The world outside: a small SMTP server on loopback that keeps what it is given.

Recipients whose local part begins with `refused` get 550, with `later` 451 while `is_late`, those
with `laterrefused` 550 then. Knows nothing of Postfach.
"""

import contextlib
import email
import email.policy
import functools
import socket
import threading


class Sink:
    """Listens from its construction to `stop`; `messages` are (sender, recipients, bytes), and
    `mail_lines` how each was begun. `offers` are the extensions of EHLO. `before_content` is called
    with the recipients before a mail's content is asked for."""

    def __init__(self, port=0, offers=("8BITMIME", "SIZE 100000000")):
        self.listener = socket.create_server(("127.0.0.1", port))
        self.port = self.listener.getsockname()[1]
        self.messages = []
        self.mail_lines = []
        self.offers = offers
        self.is_late = True
        self.before_content = lambda recipients: None
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve_until_lost, args=(connection,), daemon=True).start()

    def serve_until_lost(self, connection):
        with contextlib.suppress(OSError):
            self.serve(connection)

    def serve(self, connection):
        with connection, connection.makefile("rwb") as stream:
            def say(text):
                stream.write(text.encode() + b"\r\n")
                stream.flush()

            say("220 outside.example ESMTP")
            sender, recipients = None, []
            for line in stream:
                verb = line.decode(errors="replace").strip()
                upper = verb.upper()
                if upper.startswith("EHLO"):
                    lines = ["outside.example", *self.offers]
                    marks = ["-"] * len(self.offers) + [" "]
                    say("\r\n".join(f"250{m}{text}" for m, text in zip(marks, lines)))
                elif upper.startswith("HELO"):
                    say("250 outside.example")
                elif upper.startswith("MAIL"):
                    sender, recipients = path(verb), []
                    self.mail_lines.append(verb)
                    say("250 2.1.0 OK")
                elif upper.startswith("RCPT"):
                    to = path(verb)
                    is_late = to.startswith("later") and self.is_late
                    if to.startswith("refused") or to.startswith("laterrefused") and not is_late:
                        say("550 5.1.1 There is nobody of that name")
                    elif is_late:
                        say("451 4.2.0 Not now")
                    else:
                        recipients.append(to)
                        say("250 2.1.5 OK")
                elif upper == "DATA":
                    self.before_content(recipients)
                    say("354 Go on")
                    content = []
                    for piece in stream:
                        if piece == b".\r\n":
                            break
                        content.append(piece[1:] if piece.startswith(b".") else piece)
                    else:
                        return  # lost before its end: that is no message
                    with self.lock:
                        self.messages.append((sender, recipients, b"".join(content)))
                    say("250 2.0.0 OK")
                elif upper == "QUIT":
                    say("221 2.0.0 Bye")
                    return
                else:
                    say("250 2.0.0 OK")

    def with_subject(self, subject):
        """The messages with this subject, as (sender, recipients, message)."""
        with self.lock:
            messages = list(self.messages)
        read = functools.partial(email.message_from_bytes, policy=email.policy.default)
        parsed = [(s, r, read(m)) for s, r, m in messages]
        return [(s, r, m) for s, r, m in parsed if m["Subject"] == subject]

    def stop(self):
        self.listener.close()


def path(line):
    return line.partition("<")[2].partition(">")[0]
