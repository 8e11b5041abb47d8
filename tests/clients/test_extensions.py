"""Python's imaplib and IMAPClient with what the server offers beside the base protocol: compression,
several messages at once, decoded parts, previews, UTF-8, annotations, quota, fuzzy searches.
"""

import imaplib
import random
import threading
import zlib

import imapclient
from harness import equal

RAW = -zlib.MAX_WBITS
FOLDER = "Extensions"  # other tests count on theirs
BINARY = """Subject: binary\r
MIME-Version: 1.0\r
Content-Type: application/octet-stream\r
Content-Transfer-Encoding: base64\r
\r
AAECAwQ=\r
"""


class Compressed(imaplib.IMAP4_SSL):
    """imaplib, with zlib between it and TLS."""

    deflate = None

    def compress(self):
        status, data = self.xatom("COMPRESS", "DEFLATE")
        equal(status, "OK", f"COMPRESS: {data}")
        self.deflate = zlib.compressobj(6, zlib.DEFLATED, RAW)
        self.inflate = zlib.decompressobj(RAW)
        self.plain = b""

    def send(self, data):
        if self.deflate is None:
            return super().send(data)
        self.sock.sendall(self.deflate.compress(data) + self.deflate.flush(zlib.Z_SYNC_FLUSH))

    def more(self):
        received = self.sock.recv(16384)
        assert received, "the server has closed"
        self.plain += self.inflate.decompress(received)

    def readline(self):
        if self.deflate is None:
            return super().readline()
        while b"\n" not in self.plain:
            self.more()
        line, self.plain = self.plain.split(b"\n", 1)
        return line + b"\n"

    def read(self, size):
        if self.deflate is None:
            return super().read(size)
        while len(self.plain) < size:
            self.more()
        data, self.plain = self.plain[:size], self.plain[size:]
        return data


def compressed(demo, login="anna"):
    client = Compressed("localhost", demo.ports["imaps"], ssl_context=demo.tls)
    client.login(login, demo.password(login))
    client.compress()
    return client


def raw(client, command):
    """The untagged answers of a command that imaplib has no method for."""
    name = command.split(" ")[0]
    imaplib.Commands.setdefault(name, ("AUTH", "SELECTED"))
    status, data = client._simple_command(*command.split(" ", 1))
    equal(status, "OK", f"{command}: {data}")
    return b" ".join(part for _, parts in client.untagged_responses.items() for part in flat(parts))


def flat(parts):
    for part in parts:
        yield from flat(part) if isinstance(part, (list, tuple)) else [part or b""]


def test_everything_works_compressed(demo):
    client = compressed(demo)
    client.create(FOLDER)
    assert b"COMPRESS=DEFLATE" not in client.capability()[1][-1]
    body = b"Subject: gross\r\n\r\n" + random.randbytes(200_000).hex().encode() + b"\r\n"
    equal(client.append(FOLDER, None, None, body)[0], "OK", "APPEND")
    client.select(FOLDER)
    _, data = client.fetch("*", "(BODY.PEEK[])")
    equal(data[0][1], body, "the message, there and back")
    for _ in range(50):
        equal(client.noop()[0], "OK", "NOOP")
    client.logout()


def test_a_decompression_bomb_is_refused(demo):
    client = compressed(demo)
    client.deflate = None
    bomb = zlib.compressobj(9, zlib.DEFLATED, RAW)
    packed = bomb.compress(b"x" * 300_000_000) + bomb.flush(zlib.Z_SYNC_FLUSH)
    assert len(packed) < 400_000, len(packed)
    try:
        client.sock.sendall(packed)
        answer = b""
        while received := client.sock.recv(16384):
            answer += client.inflate.decompress(received)
    except OSError:
        pass
    assert b"BAD The line is too long" in answer and b"* BYE" in answer, answer[-200:]
    with demo.imap("anna") as other:
        other.noop()


def test_several_messages_are_appended_at_once(demo):
    with demo.imap("anna") as client:
        client.create_folder("Several")
        messages = [b"Subject: %d\r\n\r\n%d\r\n" % (n, n) for n in range(20)]
        answer = client.multiappend("Several", messages)
        assert "APPENDUID" in str(answer) and " 1:20]" in str(answer), answer
        client.select_folder("Several")
        data = client.fetch(range(1, 21), ["BODY.PEEK[]", "PREVIEW"])
        equal([data[n + 1][b"BODY[]"] for n in range(20)], messages, "in their order")
        equal(data[8][b"PREVIEW"], b"7", "preview")


def test_a_mistyped_word_is_found_and_the_best_comes_first(demo):
    with demo.imap("anna") as client:
        client.create_folder("Fuzzy")
        for subject, body in [("other", "the inovice"), ("Invoice 7", "hello"), ("other", "nothing")]:
            client.append("Fuzzy", f"Subject: {subject}\r\n\r\n{body}\r\n".encode())
        client.select_folder("Fuzzy")
        equal(client.search(["TEXT", "invoise"]), [], "exactly")
        equal(client.search(["FUZZY", "TEXT", "invoise"]), [2], "one slip, of seven letters")
        equal(client.search(["FUZZY", "TEXT", "invoice"]), [1, 2], "letters exchanged")
        equal(client.sort("RELEVANCY", ["FUZZY", "TEXT", "invoice"]), [2, 1], "by relevancy")
        equal(client.sort("REVERSE RELEVANCY", ["FUZZY", "TEXT", "invoice"]), [1, 2], "reverse")


def test_annotations_come_with_the_list(demo):
    client = demo.imaplib("anna")
    client.create("Coloured")
    equal(client.xatom("SETMETADATA", 'Coloured (/private/vendor/x/color "#b71c1c")')[0], "OK", "SETMETADATA")
    client.xatom("LIST", '"" Coloured RETURN (METADATA (/private/vendor/x/color))')
    told = client.response("METADATA")[1]
    equal(told, [b'Coloured (/private/vendor/x/color "#b71c1c")'], "METADATA")
    client.logout()


def test_a_part_is_decoded_by_the_server(demo):
    client = demo.imaplib("anna")
    client.create(FOLDER)
    client.append(FOLDER, None, None, BINARY.encode())
    client.select(FOLDER)
    _, data = client.fetch("*", "(BINARY.SIZE[1])")
    assert b"BINARY.SIZE[1] 5" in data[0], data
    client.logout()


def test_names_and_headers_in_utf8(demo):
    client = demo.imaplib("anna")
    equal(client.enable("UTF8=ACCEPT")[0], "OK", "ENABLE")
    name = f"Grüße & mehr {random.getrandbits(32):x}"
    equal(client.create(f'"{name}"')[0], "OK", "CREATE")
    listed = client.list('""', '"Gr*"')[1]
    assert any(name.encode() in line for line in listed), listed
    message = "Subject: Köln\r\n\r\nÄpfel\r\n".encode()
    # imaplib itself puts UTF8 ( ) into the literal, which is its mistake
    client.send(f'u1 APPEND "{name}" UTF8 (~{{{len(message)}+}}\r\n'.encode() + message + b")\r\n")
    answer = client.readline()
    assert answer.startswith(b"u1 OK [APPENDUID "), answer
    client.select(f'"{name}"')
    equal(client.fetch("1", "(BODY.PEEK[])")[1][0][1], message, "message")
    client.logout()
    with demo.imap("anna") as old:
        assert any(name == shown for _, _, shown in old.list_folders()), old.list_folders()
        old.select_folder(name)
        equal(old.fetch([1], ["ENVELOPE"])[1][b"ENVELOPE"].subject, b"=?utf-8?b?S8O2bG4=?=", "subject")
        try:
            old.append("INBOX", message)
        except imapclient.exceptions.IMAPClientError as error:
            assert "UTF8=ACCEPT" in str(error), error
        else:
            raise AssertionError("a header beyond ASCII was taken from who has not enabled it")


def test_annotations_quota_and_replace(demo):
    client = demo.imaplib("anna")
    told = raw(client, 'GETMETADATA Shared/Support /shared/comment')
    assert demo.address("Support").encode() in told, told
    raw(client, 'SETMETADATA INBOX (/private/comment "mein Eingang")')
    assert b"mein Eingang" in raw(client, "GETMETADATA INBOX /private/comment")
    status, data = client.getquotaroot("INBOX")
    equal((status, data[1]), ("OK", [None]), "no limits, no root")
    client.create(FOLDER)
    client.append(FOLDER, r"(\Draft)", None, b"Subject: v1\r\n\r\n1\r\n")
    client.select(FOLDER)
    count = int(client.untagged_responses["EXISTS"][0])
    imaplib.Commands.setdefault("REPLACE", ("SELECTED",))
    client.literal = b"Subject: v2\r\n\r\n2\r\n"
    equal(client._simple_command("REPLACE", "*", FOLDER, r"(\Draft)")[0], "OK", "REPLACE")
    equal(client.fetch("*", "(BODY.PEEK[TEXT])")[1][0][1], b"2\r\n", "the new one")
    equal(int(client.status(FOLDER, "(MESSAGES)")[1][0].split()[-1].rstrip(b")")), count, "count")
    client.logout()


def test_of_two_who_replace_at_once_one_wins(demo):
    folder = FOLDER + "/Race"
    imaplib.Commands.setdefault("REPLACE", ("SELECTED",))
    writer = demo.imaplib("anna")
    writer.create(folder)
    won = []
    for round in range(20):
        writer.append(folder, r"(\Draft)", None, b"Subject: %d\r\n\r\n0\r\n" % round)
        both = [demo.imaplib("anna"), demo.imaplib("anna")]
        start = threading.Barrier(2)

        def replace(client, number):
            client.select(folder)
            client.literal = b"Subject: %d\r\n\r\n%d\r\n" % (round, number)
            start.wait()
            won.append(client._simple_command("REPLACE", "1", folder)[0])

        threads = [threading.Thread(target=replace, args=pair) for pair in zip(both, (1, 2))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for client in both:
            client.logout()
        writer.select(folder)
        equal(writer.search(None, "ALL")[1], [b"1"], "one message took the place of the other")
        writer.store("1", "+FLAGS", r"(\Deleted)")
        writer.expunge()
    equal(sorted(won), ["NO"] * 20 + ["OK"] * 20, "one of two")
    writer.logout()
