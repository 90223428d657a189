"""Checking image files before they become the disks of machines.

A qcow2 file can name other files of the host as its backing or data file, so a file from elsewhere is read with
suspicion (OpenStack's OSSA-2023-002, OSSA-2024-001 and -002): we read its header first, let a fenced-in qemu-img judge
the rest with the format given, and accept only what stands by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

MAX_VIRTUAL_GIB = 2048
"""No image may announce a larger disk to its machines."""

_MAGIC = b"QFI\xfb"
_EXTERNAL_DATA, _CORRUPT = 1 << 2, 1 << 1
_SECONDS, _MEMORY = 10, 1 << 30


class ImageRefused(Exception):
    """The file cannot serve as an image. The message is a sentence for the person who adds it."""


class WrongChecksum(ImageRefused):
    """The file is an image, and not the one whose checksum was given."""


@dataclass(frozen=True)
class ImageFacts:
    """What is true of an accepted file. `virtual_size_gib` is rounded up to whole GiB."""

    path: str
    sha256: str
    size_bytes: int
    virtual_size_gib: int


def inspect_image(path: str, expected_sha256: str = "") -> ImageFacts:
    """The facts of a qcow2 file that stands by itself. Reads it once in whole: some seconds for each GiB.

    Raises ImageRefused when there is no such file, when it is no qcow2, when it leans on another file (backing or data
    file), is encrypted, damaged, or announces a disk of more than MAX_VIRTUAL_GIB; WrongChecksum when its bytes are
    not those that `expected_sha256` names.
    """
    size = _check_file(path)
    _check_header(path)
    virtual_bytes = _check_with_qemu(path)
    found = checksum(path)
    if expected_sha256 and expected_sha256.lower() != found:
        raise WrongChecksum(_("The SHA-256 of this file is %(found)s: it is not the file you mean.") % {"found": found})
    return ImageFacts(path, found, size, -(-virtual_bytes // 2**30))


def checksum(path: str) -> str:
    """The SHA-256 of the file's bytes, in lower-case hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_file(path: str) -> int:
    if not path.startswith("/"):
        raise ImageRefused(_("Give the whole path of the file, beginning with “/”."))
    try:
        found = Path(path).stat()
    except (OSError, ValueError) as error:
        raise ImageRefused(_("There is no file at this path on the machine of the workers.")) from error
    if not stat.S_ISREG(found.st_mode):
        raise ImageRefused(_("This is not a file."))
    if not os.access(path, os.R_OK):
        raise ImageRefused(_("VISA may not read this file. Change its owner or mode."))
    return found.st_size


def _check_header(path: str) -> None:
    """The fields of the header that name other files (QEMU, docs/interop/qcow2.txt), before qemu-img sees them."""
    with Path(path).open("rb") as file:
        header = file.read(80).ljust(80, b"\0")
    magic, version, backing = struct.unpack(">4sIQ", header[:16])
    if magic != _MAGIC or version not in (2, 3):
        raise ImageRefused(_("This is not a qcow2 image. Convert it first: qemu-img convert -O qcow2 OLD NEW"))
    features = struct.unpack(">Q", header[72:80])[0] if version == 3 else 0
    if backing:
        raise ImageRefused(_flatten())
    if features & _EXTERNAL_DATA:
        raise ImageRefused(_("This image keeps its data in another file. Convert it first: qemu-img convert -O qcow2"))
    if features & _CORRUPT:
        raise ImageRefused(_damaged())


def _check_with_qemu(path: str) -> int:
    """The size of the disk inside, in bytes, when qemu-img too finds nothing to object to."""
    facts = _ask_qemu(path)
    special = facts.get("format-specific", {}).get("data", {})
    if facts.get("format") != "qcow2" or "backing-filename" in facts or "data-file" in special:
        raise ImageRefused(_flatten())
    if facts.get("encrypted"):
        raise ImageRefused(_("This image is encrypted; machines could not read it."))
    if special.get("corrupt"):
        raise ImageRefused(_damaged())
    size = int(facts.get("virtual-size", 0))
    if not 0 < size <= MAX_VIRTUAL_GIB * 2**30:
        raise ImageRefused(
            _("The disk inside has %(size)d GiB; from 1 to %(most)d GiB are accepted.")
            % {"size": size // 2**30, "most": MAX_VIRTUAL_GIB}
        )
    return size


def _ask_qemu(path: str) -> dict[str, Any]:
    fence = ["prlimit", f"--cpu={_SECONDS}", f"--as={_MEMORY}", "--"]
    command = [*fence, "qemu-img", "info", "-U", "-f", "qcow2", "--output=json", path]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=True, stdin=subprocess.DEVNULL)
        facts: dict[str, Any] = json.loads(done.stdout)
    except FileNotFoundError as error:
        raise ImageRefused(_("qemu-img is missing on this machine. Install the package qemu-utils.")) from error
    except subprocess.TimeoutExpired as error:
        raise ImageRefused(_("qemu-img did not finish reading this file; it may be damaged.")) from error
    except (subprocess.CalledProcessError, ValueError) as error:
        raise ImageRefused(_damaged()) from error
    return facts


def _flatten() -> str:
    return _("This image builds on another file. Make it stand alone first: qemu-img convert -O qcow2 OLD NEW")


def _damaged() -> str:
    return _("qemu-img finds this image damaged. Look at it with: qemu-img check FILE")
