"""Remote control of a running Thunderbird over Mozilla's Marionette protocol.

Frames are `LENGTH:JSON` on a loopback TCP connection. This module knows nothing of mail: it runs
privileged JavaScript in the main window and hands back what it returns.
"""

import json
import socket
import time


class MarionetteError(Exception):
    """Thunderbird refused a command or a script threw."""


class Marionette:
    def __init__(self, port, timeout):
        self.socket = connect(port, timeout)
        self.buffer = b""
        self.number = 0
        self.frame()  # the greeting
        self.command("WebDriver:NewSession", {"capabilities": {}})
        self.command("Marionette:SetContext", {"value": "chrome"})

    def frame(self):
        while b":" not in self.buffer:
            self.more()
        length, _, rest = self.buffer.partition(b":")
        self.buffer = rest
        while len(self.buffer) < int(length):
            self.more()
        frame, self.buffer = self.buffer[: int(length)], self.buffer[int(length) :]
        return json.loads(frame)

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise MarionetteError("Thunderbird closed the connection")
        self.buffer += data

    def command(self, name, parameters):
        self.number += 1
        text = json.dumps([0, self.number, name, parameters])
        self.socket.sendall(f"{len(text.encode())}:{text}".encode())
        while True:
            kind, number, error, result = self.frame()
            if kind == 1 and number == self.number:
                break
        if error:
            raise MarionetteError(f"{name}: {error.get('error')}: {error.get('message')}")
        return result

    def run(self, body, *arguments):
        """The value of an async function with this body; `arguments` are `args` inside it."""
        script = "const args = arguments; return (async () => {" + body + "})();"
        result = self.command(
            "WebDriver:ExecuteScript",
            {"script": script, "args": list(arguments), "sandbox": "system", "newSandbox": False},
        )
        return result["value"]

    def until(self, body, *arguments, seconds=20):
        """Repeats a script until it gives something true."""
        end = time.monotonic() + seconds
        while True:
            value = self.run(body, *arguments)
            if value:
                return value
            if time.monotonic() > end:
                raise MarionetteError(f"still {value!r} after {seconds} s: {body.strip()}")
            time.sleep(0.05)

    def close(self):
        self.socket.close()


def connect(port, timeout):
    end = time.monotonic() + timeout
    while True:
        try:
            link = socket.create_connection(("127.0.0.1", port), 2)
            link.settimeout(timeout)
            return link
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
