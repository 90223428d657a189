"""The sign-ins of the demo facility: made at random, kept in one file that only its owner may read."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterable
from pathlib import Path

from experiments.models import User

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"


def new_password() -> str:
    """Four groups of four letters and digits that are hard to confuse: 79 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))


def read(file: Path) -> dict[str, str]:
    """User name to password; empty when there is no file, or none that can be read as one."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return {str(name): str(password) for name, password in kept.items()} if isinstance(kept, dict) else {}


def settle(names: Iterable[str], new: set[str], kept: dict[str, str]) -> dict[str, str]:
    """The sign-ins of `names`: those kept, and new ones where none is kept.

    Passwords are written into the database for accounts that are `new` and for those whose password was not kept.
    """
    signins = {name: kept.get(name) or new_password() for name in names}
    for user in User.objects.filter(username__in=[name for name in signins if name in new or name not in kept]):
        user.set_password(signins[user.username])
        user.save(update_fields=["password"])
    return signins


def write(file: Path, signins: dict[str, str]) -> None:
    """Put the sign-ins in place at once, readable by the owner alone from the first byte."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, fresh = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}-")  # mkstemp makes it 0600
    with os.fdopen(handle, "w", encoding="utf-8") as text:
        json.dump(signins, text, indent=2)
        text.write("\n")
    Path(fresh).replace(file)
