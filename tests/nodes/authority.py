"""An authority of a test's own, which signs certificates for names of hosts. Knows no server."""

import os
import subprocess


def openssl(*arguments):
    subprocess.run(("openssl",) + arguments, check=True, capture_output=True)


class Authority:
    def __init__(self, folder, name):
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder)
        self.pem, self.key = self.path("ca.pem"), self.path("ca.key")
        openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", self.key, "-out", self.pem, "-days", "2", "-subj", f"/CN={name}",
            "-addext", "basicConstraints=critical,CA:true",
        )  # fmt: skip

    def path(self, name):
        return os.path.join(self.folder, name)

    def sign(self, host):
        """The paths of a certificate for a host, and of its key."""
        certificate, key, request = (self.path(f"{host}.{end}") for end in ("pem", "key", "csr"))
        openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", key, "-out", request, "-subj", f"/CN={host}",
        )  # fmt: skip
        extensions = self.path("extensions")
        with open(extensions, "w") as file:
            file.write(f"subjectAltName = DNS:{host}\nbasicConstraints = CA:false\n")
        openssl(
            "x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key, "-out",
            certificate, "-days", "2", "-extfile", extensions, "-set_serial",
            str(int.from_bytes(os.urandom(8), "big")),
        )  # fmt: skip
        return certificate, key
