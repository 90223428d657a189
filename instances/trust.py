"""Pure: the SSH keys by which VISA and a machine trust each other, made from one secret of the machine.

Two Ed25519 keys (RFC 8709) come of it by HKDF (RFC 5869). The authority's private half stays on our side and signs
certificates; the guest has its public half. The host's private half goes to the guest, by which we know that it is this
machine which answers. Neither key tells anything of the other, nor of those of another build of the machine.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def authority_key(secret: str, generation: int) -> Ed25519PrivateKey:
    """What signs the certificates that this build of the machine takes."""
    return _key(secret, generation, "authority")


def host_key(secret: str, generation: int) -> Ed25519PrivateKey:
    """What this build of the machine proves itself with."""
    return _key(secret, generation, "host")


def _key(secret: str, generation: int, purpose: str) -> Ed25519PrivateKey:
    info = f"visa ssh {purpose} {generation}".encode()
    return Ed25519PrivateKey.from_private_bytes(HKDF(SHA256(), 32, salt=None, info=info).derive(secret.encode()))


def private_text(key: Ed25519PrivateKey) -> str:
    """As OpenSSH keeps private keys in files."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def public_line(key: Ed25519PrivateKey) -> str:
    """The public half as one line: `ssh-ed25519 AAAA…`."""
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
