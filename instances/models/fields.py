"""Secrets at rest."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.db import models

if TYPE_CHECKING:
    _Text = models.TextField[str, str]
else:
    _Text = models.TextField


@lru_cache(maxsize=8)
def box(keys: tuple[str, ...], purpose: bytes = b"visa secrets at rest") -> MultiFernet:
    """What seals with the first of these keys and opens with any; another purpose's box opens none of it."""

    def fernet(key: str) -> Fernet:
        derived = HKDF(SHA256(), 32, salt=None, info=purpose).derive(key.encode())
        return Fernet(base64.urlsafe_b64encode(derived))

    return MultiFernet([fernet(key) for key in keys])


class EncryptedTextField(_Text):
    """Text that the database holds only encrypted (Fernet, first of ENCRYPTION_KEYS; the others still decrypt).

    Reading raises `cryptography.fernet.InvalidToken` when no key fits. It cannot be searched.
    """

    def get_prep_value(self, value: str | None) -> str | None:
        return box(tuple(settings.ENCRYPTION_KEYS)).encrypt(value.encode()).decode() if value else value

    def from_db_value(self, value: str | None, *_: object) -> str | None:
        return box(tuple(settings.ENCRYPTION_KEYS)).decrypt(value.encode()).decode() if value else value
