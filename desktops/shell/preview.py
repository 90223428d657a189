"""Pure: what of a file is shown before it is downloaded. Files of a guest are hostile: what comes out is text, or bytes
of a picture under the type that they begin with; never markup.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

HEAD = 256 * 1024
"""Bytes of a text that are shown."""

LARGEST_NOTEBOOK = 8 * 1024 * 1024
LARGEST_PICTURE = 32 * 1024 * 1024

PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"BM", "image/bmp"),
)
HDF5 = b"\x89HDF\r\n\x1a\n"
MOST_CELLS = 500
MOST_OUTPUTS = 300
MOST_TEXT = 512 * 1024
"""Letters of a notebook's sources and outputs that are shown; its pictures are as large as the notebook may be."""

MOST_VALUES = 500_000
"""Of a notebook's JSON, at most: what is taken apart holds up all others meanwhile."""

MOST_LINES, LONGEST_LINE = 2000, 64 * 1024
"""Of what is told of an HDF5 file's structure, and bytes of each."""

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@dataclass(frozen=True)
class Output:
    """Text, or a picture as a `data:` address."""

    text: str = ""
    picture: str = ""
    hidden: bool = False


@dataclass(frozen=True)
class Cell:
    kind: str
    source: str
    outputs: tuple[Output, ...] = ()


def picture_type(head: bytes) -> str | None:
    """The media type of a picture that browsers draw, by its first bytes."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for magic, kind in PICTURES if head.startswith(magic)), None)


def text_of(head: bytes) -> str | None:
    """The text that a file begins with; None where it is none. A letter that the end cuts through is left out."""
    if b"\0" in head:
        return None
    try:
        return head.decode()
    except UnicodeDecodeError as wrong:
        if wrong.start >= len(head) - 3:
            return head[: wrong.start].decode()
    printable = sum(byte >= 32 or byte in b"\t\n\r" for byte in head)
    return head.decode("latin-1") if printable > 0.95 * len(head) else None


def values_in(data: bytes) -> int:
    """At most so many does a JSON text hold: an empty list takes two letters there, and 64 bytes in memory."""
    return sum(map(data.count, (b",", b"[", b"{")))


def notebook_of(data: bytes) -> list[Cell] | None:
    """The cells of a Jupyter notebook (nbformat 4), as many as are shown; None where it is none, or too large."""
    if values_in(data) > MOST_VALUES:
        return None
    try:
        cells = json.loads(data)["cells"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(cells, list):
        return None
    return list(_as_many_as_are_shown(_cell(cell) for cell in cells[:MOST_CELLS] if isinstance(cell, dict)))


def _as_many_as_are_shown(cells: Iterable[Cell]) -> Iterator[Cell]:
    outputs = letters = 0
    for cell in cells:
        outputs += len(cell.outputs)
        letters += len(cell.source) + sum(len(output.text) for output in cell.outputs)
        if outputs > MOST_OUTPUTS or letters > MOST_TEXT:
            yield Cell(cell.kind, cell.source[:HEAD], (Output(hidden=True),))
            return
        yield cell


def structure_of(said: bytes) -> list[dict[str, Any]]:
    """What the machine tells of an HDF5 file, a JSON object a line: whatever it is, in a form that can be shown."""
    lines = [line for line in said.splitlines() if line.startswith(b"{") and line.endswith(b"}")]
    shown = [_structure_line(line) for line in lines[:MOST_LINES]]
    return [*shown, {"kind": "more"}] if len(lines) > MOST_LINES else shown


def _structure_line(line: bytes) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line) if len(line) <= LONGEST_LINE else {}
    except (ValueError, RecursionError):
        found = {}
    if not found:
        return {"kind": "unreadable"}
    depth, attributes = found.get("depth"), found.get("attributes")
    indent = range(min(depth, 32) if isinstance(depth, int) else 0)
    pairs = list(attributes.items()) if isinstance(attributes, dict) else []
    return found | {"indent": indent, "attributes": pairs}


def _cell(cell: dict[str, Any]) -> Cell:
    kind = cell.get("cell_type")
    outputs = cell.get("outputs")
    shown = islice(_outputs(outputs), MOST_OUTPUTS + 1) if kind == "code" and isinstance(outputs, list) else ()
    return Cell(kind if kind in {"code", "markdown"} else "raw", _joined(cell.get("source")), tuple(shown))


def _outputs(outputs: list[Any]) -> Iterator[Output]:
    for output in outputs:
        if not isinstance(output, dict):
            continue
        if "text" in output:
            yield Output(text=_plain(output["text"]))
        elif "traceback" in output:
            yield Output(text=_plain(output["traceback"], "\n"))
        elif isinstance(output.get("data"), dict):
            yield _rich(output["data"])


def _rich(data: dict[str, Any]) -> Output:
    """A picture if there is one, else the text that Jupyter keeps beside everything."""
    for kind in ("image/png", "image/jpeg"):
        picture = _picture(_joined(data.get(kind)))
        if picture:
            return Output(picture=picture)
    if "text/plain" in data:
        return Output(text=_plain(data["text/plain"]), hidden="text/html" in data)
    return Output(hidden=True)


def _picture(encoded: str) -> str:
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except (binascii.Error, ValueError):
        return ""
    kind = picture_type(data)
    return f"data:{kind};base64,{base64.b64encode(data).decode()}" if kind else ""


def _plain(text: Any, between: str = "") -> str:
    return _ESCAPES.sub("", _joined(text, between))


def _joined(text: Any, between: str = "") -> str:
    """Notebooks keep text whole or line by line."""
    if isinstance(text, list):
        return between.join(part for part in text if isinstance(part, str))
    return text if isinstance(text, str) else ""
