"""Columns of our own: secrets at rest, and labels."""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    _Text = models.TextField[str, str]
    _Char = models.CharField[str, str]
else:
    _Text = models.TextField
    _Char = models.CharField

_LABEL = re.compile(r"[a-z0-9][a-z0-9-]{0,29}")


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


def labels_of(text: str) -> frozenset[str]:
    """The labels in a text, as a LabelsField holds it or as somebody typed it."""
    return frozenset(text.lower().replace(",", " ").split())


def validate_labels(value: str) -> None:
    """Each word must be a label: letters, digits and “-”, at most 30 of them."""
    for word in value.split():
        if not _LABEL.fullmatch(word):
            raise ValidationError(
                _("“%(word)s” is not a label: use letters, digits and “-”, at most 30."), params={"word": word}
            )


class LabelsField(_Char):
    """A few words such as "gpu ssd": lower case, each once, in the order of the alphabet, however they were typed."""

    default_validators = [validate_labels]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"max_length": 300, "blank": True, "default": "", **kwargs})

    def clean(self, value: Any, model_instance: models.Model | None) -> str:
        return str(super().clean(" ".join(sorted(labels_of(str(value or "")))), model_instance))
