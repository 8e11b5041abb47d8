"""A private S3 server (moto's), in clear or with TLS, and what it holds. Knows no daemon."""

import contextlib
import http.client
import os
import shutil
import ssl
import subprocess
import time
import xml.etree.ElementTree

from database import free_port, stop_process

START_SECONDS = 60
# no signature, but it says to which service a request goes
WHO = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request"


def program():
    """None where moto is not installed."""
    beside = os.path.join(os.environ.get("CARGO_TARGET_DIR", "target"), "test-venv", "bin")
    return shutil.which("moto_server", path=os.environ["PATH"] + os.pathsep + beside)


class S3:
    """A running server. `certificate`: of a host's name, and the path of its key."""

    def __init__(self, certificate=None):
        self.port = free_port()
        self.with_tls = certificate is not None
        tls = ["-s", "-c", certificate[0], "-k", certificate[1]] if certificate else []
        self.process = subprocess.Popen(
            [program(), "-H", "127.0.0.1", "-p", str(self.port), *tls],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        end = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError):
                self.ask("GET", "/")
                return
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError("moto_server did not start")
            time.sleep(0.05)

    def ask(self, verb, path, body=None):
        """What the server answers to a request; fails unless it is a success."""
        if self.with_tls:
            anything = ssl._create_unverified_context()
            to = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=anything)
        else:
            to = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(to):
            to.request(verb, path, body, {"Authorization": WHO})
            answer = to.getresponse()
            content = answer.read()
        assert answer.status < 300, (verb, path, answer.status, content)
        return content

    def create(self, bucket):
        self.ask("PUT", f"/{bucket}")

    def names(self, bucket):
        """Of all objects that hold a message."""
        root = xml.etree.ElementTree.fromstring(self.ask("GET", f"/{bucket}?list-type=2"))
        keys = [element.text for element in root.iter() if element.tag.endswith("Key")]
        return [key for key in keys if not key.endswith("postfach-store")]

    def read(self, bucket, name):
        return self.ask("GET", f"/{bucket}/{name}")

    def write(self, bucket, name, body):
        self.ask("PUT", f"/{bucket}/{name}", body)

    def remove(self, bucket, name):
        self.ask("DELETE", f"/{bucket}/{name}")

    def holding(self, bucket, text):
        """The name of the one object with these bytes in it."""
        found = [n for n in self.names(bucket) if text.encode() in self.read(bucket, n)]
        assert len(found) == 1, found
        return found[0]

    def store_lines(self, bucket, port=None, scheme="http", host="127.0.0.1"):
        """Of [store] and [store.s3], for a daemon; its secret lies beside its config."""
        return (
            f'blobs = "s3://{bucket}/post"\n[store.s3]\n'
            f'endpoint = "{scheme}://{host}:{port or self.port}"\n'
            'region = "us-east-1"\naccess_key = "key"\nsecret_key = "file:s3.secret"\n'
        )

    def stop(self):
        stop_process(self.process)
