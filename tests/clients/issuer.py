"""An identity provider on loopback: makes tokens, serves its keys and says which tokens are active,
over HTTPS with an authority of its own. Signs with openssl. Knows nothing of Postfach.
"""

import base64
import contextlib
import http.server
import json
import os
import ssl
import subprocess
import threading
import time
import urllib.parse

CLIENT = ("mail server", "very:secret")


def openssl(*arguments, **options):
    return subprocess.run(
        ("openssl",) + arguments, check=True, capture_output=True, **options
    ).stdout


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """A key pair; `kind` is "RS256" or "ES256"."""

    def __init__(self, folder, kid, kind):
        self.kid, self.kind = kid, kind
        self.path = os.path.join(folder, f"{kid}.pem")
        if kind == "RS256":
            openssl("genrsa", "-out", self.path, "2048")
        else:
            openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", self.path)
        self.jwk = self.public()

    def public(self):
        common = {"kid": self.kid, "use": "sig", "alg": self.kind}
        if self.kind == "RS256":
            text = openssl("rsa", "-in", self.path, "-noout", "-modulus").decode()
            modulus = bytes.fromhex(text.strip().split("=")[1])
            return common | {"kty": "RSA", "n": base64url(modulus), "e": "AQAB"}
        point = openssl("ec", "-in", self.path, "-pubout", "-outform", "DER")[-64:]
        x, y = base64url(point[:32]), base64url(point[32:])
        return common | {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    def sign(self, data):
        signature = openssl("dgst", "-sha256", "-sign", self.path, input=data)
        return signature if self.kind == "RS256" else raw(signature)


def raw(signature):
    """Both numbers of an ECDSA signature, without their DER."""
    at, numbers = 2, b""
    for _ in range(2):
        length = signature[at + 1]
        number = signature[at + 2 : at + 2 + length].lstrip(b"\0")
        numbers += number.rjust(32, b"\0")
        at += 2 + length
    return numbers


class Issuer:
    """Serves from its construction to `stop`; `keys` are those that it publishes."""

    def __init__(self, folder):
        self.folder = folder
        os.makedirs(folder, exist_ok=True)
        self.ca_pem, context = self.certificate()
        self.keys = [Key(folder, "first", "RS256"), Key(folder, "second", "ES256")]
        self.active, self.requests, self.broken = {}, [], False
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        # who goes away in the middle of an answer is no fault here
        self.server.handle_error = lambda *_: None
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = f"https://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def certificate(self):
        ca, ca_key, pem, key = (os.path.join(self.folder, n) for n in ("ca", "ck", "c", "k"))
        new = ("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
        basic = "basicConstraints=critical,CA:"
        openssl(*new, "-keyout", ca_key, "-out", ca, "-subj", "/CN=CA", "-addext", f"{basic}TRUE")
        openssl(
            *new, "-keyout", key, "-out", pem, "-subj", "/CN=localhost", "-CA", ca,
            "-CAkey", ca_key, "-addext", "subjectAltName=DNS:localhost", "-addext", f"{basic}FALSE",
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        return ca, context

    def claims(self, login, **changes):
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": ["account", "postfach"], "sub": f"id-of-{login}",
            "iat": now, "exp": now + 300, "preferred_username": login,
        }  # fmt: skip
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def token(self, login, key=None, **changes):
        key = key or self.keys[0]
        head = {"alg": key.kind, "typ": "at+jwt", "kid": key.kid}
        parts = (base64url(json.dumps(p).encode()) for p in (head, self.claims(login, **changes)))
        text = ".".join(parts)
        return f"{text}.{base64url(key.sign(text.encode()))}"

    def stranger(self):
        """A key with the name of one of ours."""
        folder = os.path.join(self.folder, "stranger")
        os.makedirs(folder)
        return Key(folder, self.keys[0].kid, self.keys[0].kind)

    def unsigned(self, login):
        parts = ({"alg": "none", "typ": "JWT"}, self.claims(login))
        return ".".join(base64url(json.dumps(p).encode()) for p in parts) + "."

    def opaque(self, login, **changes):
        """A token that only we can read."""
        token = base64url(os.urandom(24))
        self.active[token] = self.claims(login, **changes)
        return token

    def stop(self):
        with contextlib.suppress(OSError):
            self.server.shutdown()
            self.server.server_close()

    def handler(issuer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.requests.append(self.path)
                documents = {
                    "/.well-known/openid-configuration": {
                        "issuer": issuer.url, "jwks_uri": issuer.url + "/keys",
                    },
                    "/keys": {"keys": [key.jwk for key in issuer.keys]},
                }  # fmt: skip
                self.answer(documents.get(self.path))

            def do_POST(self):
                issuer.requests.append(self.path)
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                token = dict(urllib.parse.parse_qsl(body)).get("token")
                scheme, _, credentials = self.headers.get("Authorization", "").partition(" ")
                name, _, secret = base64.b64decode(credentials).decode().partition(":")
                who = (urllib.parse.unquote_plus(name), urllib.parse.unquote_plus(secret))
                if scheme != "Basic" or who != CLIENT or self.path != "/introspect":
                    return self.answer(None, 401)
                claims = issuer.active.get(token)
                self.answer({"active": False} if claims is None else {"active": True} | claims)

            def answer(self, document, status=404):
                found = document is not None and not issuer.broken
                body = json.dumps(document).encode() if found else b""
                self.send_response(200 if found else status if not issuer.broken else 503)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler
