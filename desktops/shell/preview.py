"""Pure: what of a file is shown before it is downloaded. Files of a guest are hostile: what comes out is text, or bytes
of a picture under the type that they begin with; never markup.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
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


def notebook_of(data: bytes) -> list[Cell] | None:
    """The cells of a Jupyter notebook (nbformat 4), at most `MOST_CELLS`; None where it is none."""
    try:
        cells = json.loads(data)["cells"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not isinstance(cells, list):
        return None
    return [_cell(cell) for cell in cells[:MOST_CELLS] if isinstance(cell, dict)]


def _cell(cell: dict[str, Any]) -> Cell:
    kind = cell.get("cell_type")
    outputs = cell.get("outputs")
    shown = _outputs(outputs) if kind == "code" and isinstance(outputs, list) else ()
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
