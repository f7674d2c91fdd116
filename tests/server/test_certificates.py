"""A server with a certificate of its own: the same gate over TLS."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from graphorch.server.listening import Reachability
from tests.server.serving import running


def make_certificate(folder: Path) -> tuple[str, str]:
    """Make a certificate for this machine and its key; return the names of their files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    address = x509.IPAddress(ip_address("127.0.0.1"))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(secret)
    return str(folder / "certificate.pem"), str(folder / "key.pem")


def test_certificate_encrypts_server(tmp_path: Path) -> None:
    """Over TLS the token opens the API, plain HTTP gets nothing, and the origin is https."""
    certificate, key = make_certificate(tmp_path)

    async def main() -> None:
        reach = Reachability(port=0, certificate=certificate, key=key)
        async with running(tmp_path, reach=reach) as server:
            assert server.url == f"https://127.0.0.1:{server.port}/"
            trusted = ssl.create_default_context(cafile=certificate)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusted)
            origin = server.url.rstrip("/")
            writer.write(server.write_request("GET", "/api/about", origin=origin))
            assert b"200 OK" in await reader.read()
            writer.close()
            assert await server.send(server.write_request("GET", "/api/about")) == b""

    asyncio.run(main())
