"""Certificates for tests of TLS, made by the program `openssl`."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path


def make_certificate(folder: Path, host: str) -> Path:
    """Make a self-signed certificate of a host and its key, `NAME.crt` and `NAME.key`."""
    folder.mkdir(exist_ok=True)
    certificate, key = folder / "server.crt", folder / "server.key"
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    names = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}"]
    files = ["-nodes", "-days", "2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *words, *names, *files], check=True, capture_output=True)
    key.chmod(0o600)
    if os.geteuid() == 0:  # the server, which is not root, reads it
        shutil.chown(key, "postgres", "postgres")
    certificate.chmod(0o644)
    folder.chmod(0o755)
    return certificate
