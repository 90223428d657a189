"""Volumes of ours: their names, their XML (https://libvirt.org/formatstorage.html), and what a base image must be."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from lxml import etree
from lxml.builder import E

from instances.drivers.base import BaseImage, DriverError
from instances.drivers.base import gettext_noop as _

GIB = 1024**3
# The first bytes of a qcow2 file (QEMU, docs/interop/qcow2.txt).
MAGIC = b"QFI\xfb"
_MACHINE_VOLUME = re.compile(r"visa-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.qcow2|-seed\.iso)")
_BASE_VOLUME = re.compile(r"base-[0-9a-f]{16}\.qcow2")
_HEAD = 1 << 16  # the first cluster, in which the path of the base stands
_LONGEST_BASE_PATH = 1023  # of the format
_QEMU_IMG_DEADLINE_S = 30
# An image's header decides how much qemu-img reads and keeps, so a crafted one is given little of both.
_QEMU_IMG = ("prlimit", "--as=1073741824", "--cpu=20", "qemu-img", "info", "-U", "-f", "qcow2", "--output=json", "--")


def base_name(base: BaseImage) -> str:
    """Named by its bytes: a base that overlays use is never overwritten by another."""
    return f"base-{base.sha256[:16]}.qcow2"


def disk_name(uuid: UUID) -> str:
    return f"visa-{uuid}.qcow2"


def seed_name(uuid: UUID) -> str:
    return f"visa-{uuid}-seed.iso"


def is_base(name: str) -> bool:
    return _BASE_VOLUME.fullmatch(name) is not None


def machine_of(name: str) -> UUID | None:
    """Whose disk or seed a volume is, by its name."""
    match = _MACHINE_VOLUME.fullmatch(name)
    return UUID(match.group(1)) if match else None


def pool_xml(name: str, path: str) -> str:
    root = E.pool(E.name(name), E.target(E.path(path)), type="dir")
    return etree.tostring(root, pretty_print=True, encoding="unicode")


def raw_volume_xml(name: str, size: int, mode: str) -> str:
    """A volume of `size` bytes that will be filled by an upload; `mode` is its octal permissions."""
    root = E.volume(
        E.name(name),
        E.capacity(str(size), unit="bytes"),
        E.allocation("0", unit="bytes"),
        E.target(E.format(type="raw"), E.permissions(E.mode(mode))),
    )
    return etree.tostring(root, pretty_print=True, encoding="unicode")


def overlay_xml(name: str, size_gib: int, base_path: str) -> str:
    """A disk that keeps only what differs from its base. libvirt would otherwise choose qcow2's old format 0.10."""
    root = E.volume(
        E.name(name),
        E.capacity(str(size_gib), unit="GiB"),
        E.target(E.format(type="qcow2"), E.compat("1.1"), E.permissions(E.mode("0600"))),
        E.backingStore(E.path(base_path), E.format(type="qcow2")),
    )
    return etree.tostring(root, pretty_print=True, encoding="unicode")


def backing_path(volume_xml: str) -> str | None:
    parser = etree.XMLParser(resolve_entities=False, no_network=True)
    return etree.fromstring(volume_xml, parser).findtext("backingStore/path")


def rebased(head: bytes, base_path: str) -> bytes:
    """The beginning of an overlay's qcow2 file, with another path of its base in it (QEMU, docs/interop/qcow2.txt).

    Raises a permanent DriverError where `head` does not hold the whole path, or the path is too long for its place.
    """
    name = base_path.encode()
    magic, offset = head[: len(MAGIC)], int.from_bytes(head[8:16])
    end, cluster = offset + len(name), 1 << int.from_bytes(head[20:24])
    if magic != MAGIC or not offset or len(name) > _LONGEST_BASE_PATH or end > min(len(head), cluster):
        raise DriverError(_("The machine's disk does not stand on an image as it should."), permanent=True)
    return head[:16] + len(name).to_bytes(4) + head[20:offset] + name + head[end:]


def body(disk: Iterable[bytes], base_path: str) -> Iterator[bytes]:
    """An overlay's bytes without their magic, on a base at another path."""
    pieces, head = iter(disk), b""
    while len(head) < _HEAD and (piece := next(pieces, b"")):
        head += piece
    yield rebased(head, base_path)[len(MAGIC) :]
    yield from pieces


def check_image(base: BaseImage) -> None:
    """Refuse a base image that is not the one registered, or that would make the host open other files than itself.

    Raises a permanent DriverError with a sentence that names the fault.
    """
    path = Path(base.path)
    try:
        with path.open("rb") as image:
            magic = image.read(len(MAGIC))
    except OSError as error:
        raise DriverError(_("The image's file cannot be read where VISA runs."), path.name, permanent=True) from error
    if magic != MAGIC:
        raise DriverError(_("The image is not a qcow2 file."), path.name, permanent=True)
    _refuse_dangerous(path.name, _describe(path), base.virtual_size_gib)
    with path.open("rb") as image:
        if hashlib.file_digest(image, "sha256").hexdigest() != base.sha256:
            sentence = _("The image is not the file that was registered: its checksum differs.")
            raise DriverError(sentence, path.name, permanent=True)


def _describe(path: Path) -> dict[str, Any]:
    try:
        answer = subprocess.run(
            [*_QEMU_IMG, str(path.absolute())], capture_output=True, check=True, timeout=_QEMU_IMG_DEADLINE_S
        )
        described: dict[str, Any] = json.loads(answer.stdout)
    except FileNotFoundError as error:
        raise DriverError(_("qemu-img is missing where VISA's workers run: install qemu-utils.")) from error
    except (subprocess.SubprocessError, ValueError) as error:
        raise DriverError(_("The image is not a sound qcow2 file."), path.name, permanent=True) from error
    return described


def _refuse_dangerous(name: str, described: dict[str, Any], virtual_size_gib: int) -> None:
    extra = described.get("format-specific", {}).get("data", {})
    faults = {
        _("The image is built on another file (a backing file), so it is not used."): "backing-filename" in described,
        _("The image keeps its data in another file, so it is not used."): "data-file" in extra,
        _("The image is encrypted, so it is not used."): bool(described.get("encrypted")),
        _("The image is larger than it was registered, so it is not used."): described["virtual-size"]
        > virtual_size_gib * GIB,
    }
    for fault, present in faults.items():
        if present:
            raise DriverError(fault, name, permanent=True)
