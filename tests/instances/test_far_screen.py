"""The console of a far host: QEMU's own VNC server with TLS, and who is let through to it by its certificate."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from instances.screen import ScreenRefused, ScreenUnavailable, Tls, open_screen
from tests.flows.installation import free_port
from tests.servers import wait_until

NAME, PASSWORD, PATIENCE = "hyper-9.example.org", "secret12", 20.0


def write_certificates(folder: Path) -> None:
    """An authority, and a server's certificate for NAME, as QEMU looks for them."""
    folder.mkdir()
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Authority in {folder.name}")])
    usual = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    own = _signed(root, root, authority, authority, x509.BasicConstraints(True, None), usual)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    names = x509.SubjectAlternativeName([x509.DNSName(NAME), x509.IPAddress(ipaddress.ip_address("192.0.2.9"))])
    purpose = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    theirs = _signed(subject, root, server, authority, names, purpose)
    pem = serialization.Encoding.PEM
    (folder / "ca-cert.pem").write_bytes(own.public_bytes(pem))
    (folder / "server-cert.pem").write_bytes(theirs.public_bytes(pem))
    key = server.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server-key.pem").write_bytes(key)


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    *extensions: x509.ExtensionType,
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    made = made.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=1))
    for extension in extensions:
        made = made.add_extension(extension, critical=False)
    return made.sign(by, hashes.SHA256())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the right authority in `right`, of another in `other`."""
    folder = tmp_path_factory.mktemp("certificates")
    write_certificates(folder / "right")
    write_certificates(folder / "other")
    return folder


def qemu(port: int, options: str, *words: str) -> subprocess.Popen[bytes]:
    machine = ["qemu-system-x86_64", "-machine", "pc,accel=tcg", "-m", "16", "-nodefaults", "-vga", "std", "-S"]
    screen = f"127.0.0.1:{port - 5900},password-secret=pw{options}"
    secret = ["-object", f"secret,id=pw,data={PASSWORD}"]
    return subprocess.Popen([*machine, "-display", "none", *secret, *words, "-vnc", screen])


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def console(certificates: Path) -> Iterator[int]:
    """The port of a machine's console as libvirt has QEMU serve it where qemu.conf says vnc_tls."""
    port = free_port()
    tls = f"tls-creds-x509,id=tls,dir={certificates / 'right'},endpoint=server,verify-peer=no"
    running = qemu(port, ",tls-creds=tls", "-object", tls)
    wait_until(lambda: answers(port), "the console")
    yield port
    running.kill()
    running.wait()


def authority(certificates: Path, whose: str = "right") -> str:
    return str(certificates / whose / "ca-cert.pem")


async def test_a_console_with_the_right_certificate_opens(console: int, certificates: Path) -> None:
    screen = await open_screen("127.0.0.1", console, PASSWORD, PATIENCE, Tls(authority(certificates), NAME))
    assert screen.width > 0
    assert screen.writer.get_extra_info("peercert")
    screen.abort()


@pytest.mark.parametrize(("whose", "name"), [("right", "elsewhere.example.org"), ("other", NAME), ("missing", NAME)])
async def test_another_name_or_authority_gets_no_password(
    console: int, certificates: Path, whose: str, name: str
) -> None:
    with pytest.raises(ScreenUnavailable):
        await open_screen("127.0.0.1", console, PASSWORD, PATIENCE, Tls(authority(certificates, whose), name))


async def test_a_wrong_password_is_refused_behind_the_certificate(console: int, certificates: Path) -> None:
    with pytest.raises(ScreenRefused, match="password"):
        await open_screen("127.0.0.1", console, "wrong", PATIENCE, Tls(authority(certificates), NAME))


async def test_a_console_with_certificate_is_not_opened_without_looking_at_it(console: int) -> None:
    with pytest.raises(ScreenRefused, match="security types"):
        await open_screen("127.0.0.1", console, PASSWORD, PATIENCE)


async def test_what_offers_no_encryption_gets_nothing(certificates: Path) -> None:
    port = free_port()
    running = qemu(port, "")
    try:
        wait_until(lambda: answers(port), "the console")
        with pytest.raises(ScreenRefused, match="security types"):
            await open_screen("127.0.0.1", port, PASSWORD, PATIENCE, Tls(authority(certificates), NAME))
    finally:
        running.kill()
        running.wait()
