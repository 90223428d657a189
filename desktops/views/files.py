"""A machine's files: the page, and the addresses that it asks. Paths travel as keys (desktops.shell.paths)."""

from __future__ import annotations

import asyncio
import posixpath
import re
import stat
from collections.abc import AsyncIterable, AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlencode
from uuid import UUID

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import content_disposition_header
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST, require_safe
from stream_zip import ZIP_64, async_stream_zip

from desktops import filing
from desktops.access import Ticket
from desktops.rfb import Role
from desktops.shell import preview as previews
from desktops.shell.files import Entry, Problem, Upload
from desktops.shell.line import FileLine
from desktops.shell.paths import Unfit, key_of, name_of, path_of, shown
from desktops.shell.ssh import ShellUnavailable
from desktops.views.serving import find, sorry, with_files
from desktops.words import file_words
from experiments.models import User

HDF5_READER = "/usr/lib/visa/hdf5"
MOST_STRUCTURE = 1024 * 1024
PIECE = 8 * 1024 * 1024
"""Bytes of an upload that are taken at once; the proxy in front must let so much through."""

SANDBOX = "default-src 'none'; sandbox"
"""What a guest's file may do on our origin, should it be opened by itself: be looked at."""


@login_required
@require_GET
@never_cache
def page(request: HttpRequest, uuid: UUID) -> HttpResponse:
    """For those who may see the machine, if its image has a shell."""
    instance = find(cast(User, request.user), uuid)
    names = ("list", "get", "zip", "preview", "change", "upload")
    facts = {
        "at": {name: reverse(f"files-{name}", args=[uuid]) for name in names},
        "signIn": f"{reverse('account_login')}?next={request.path}",
        "closed": not instance.ssh_secret,
        "words": file_words(),
    }
    return render(request, "desktops/files.html", {"instance": instance, "facts": facts})


@require_safe
@with_files()
async def listing(request: HttpRequest, line: FileLine) -> HttpResponseBase:
    """A folder; without a path the home."""
    key = request.GET.get("path")
    folder = await line.files.resolve(path_of(key)) if key else line.files.roots[0]
    entries, more = await line.files.listing(folder)
    root = max((root for root in line.files.roots if folder == root or folder.startswith(root + b"/")), key=len)
    return JsonResponse(
        {
            "path": key_of(folder),
            "roots": [_step(one) for one in line.files.roots],
            "steps": [_step(one) for one in _steps(root, folder)],
            "entries": [_told(one) for one in entries],
            "more": more,
            "writes": line.role is Role.CONTROL,
        }
    )


def _steps(root: bytes, folder: bytes) -> list[bytes]:
    """The folders from the root to this one, however a machine writes them."""
    steps = [folder]
    while steps[-1] != root and len(steps[-1]) > 1:
        steps.append(posixpath.dirname(steps[-1]))
    return steps[::-1]


def _step(path: bytes) -> dict[str, str]:
    return {"key": key_of(path), "name": shown(posixpath.basename(path) or path)}


def _told(entry: Entry) -> dict[str, Any]:
    facts = {"kind": entry.kind, "size": entry.size, "modified": entry.modified, "link": entry.link}
    return {"key": key_of(entry.name), "name": shown(entry.name)} | facts


@require_safe
@with_files()
async def get(request: HttpRequest, line: FileLine) -> HttpResponseBase:
    """A file's bytes, or one range of them (RFC 9110, 14.2); to be saved, or with `look` a picture to be shown."""
    path, entry = await _file(request, line)
    tag = f'"{entry.modified:x}-{entry.size:x}"'
    start, stop, status = 0, entry.size, 200
    asked = request.headers.get("range", "")
    if asked and request.headers.get("if-range", tag) == tag and (found := range_of(asked, entry.size)) is not None:
        start, stop = found
        status = 206
    if start >= stop and status == 206:
        return HttpResponse(status=416, headers={"Content-Range": f"bytes */{entry.size}"})
    kind = await _picture_type(line, path) if "look" in request.GET else None
    headers = _headers(entry, kind) | {"Accept-Ranges": "bytes", "ETag": tag, "Content-Length": str(stop - start)}
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{entry.size}"
    return StreamingHttpResponse(_sent(line, line.files.read(path, start, stop)), status=status, headers=headers)


def range_of(asked: str, size: int) -> tuple[int, int] | None:
    """From and to before which byte; None for several ranges and what is none, which are answered with everything."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", asked.strip())
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        return max(0, size - int(found[2])), size
    start, stop = int(found[1]), int(found[2]) + 1 if found[2] else size
    return (start, min(stop, size)) if start < stop or not found[2] else None


async def _picture_type(line: FileLine, path: bytes) -> str | None:
    head = b"".join([piece async for piece in line.files.read(path, 0, 16)])
    return previews.picture_type(head)


def _headers(entry: Entry, picture: str | None) -> dict[str, str]:
    disposition = content_disposition_header(picture is None, shown(entry.name)) or "attachment"
    return {
        "Content-Type": picture or "application/octet-stream",
        "Content-Disposition": disposition,
        "Content-Security-Policy": SANDBOX,
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


async def _sent(line: FileLine, pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    with line.busy():
        async for piece in pieces:
            line.traffic.down += len(piece)
            yield piece


@require_safe
@with_files()
async def pack(request: HttpRequest, line: FileLine) -> HttpResponseBase:
    """A folder with everything in it as a ZIP file, made while it is sent."""
    folder = await line.files.resolve(path_of(request.GET.get("path", "")))
    await line.files.look_into(folder)
    name = Entry((posixpath.basename(folder) or b"files") + b".zip", "file")
    packed = async_stream_zip(_members(line, folder, _("Left out.txt")))
    headers = _headers(name, None) | {"Content-Type": "application/zip"}
    return StreamingHttpResponse(_sent(line, packed), headers=headers)


async def _members(line: FileLine, folder: bytes, note: str) -> AsyncIterator[Any]:
    """What goes into the ZIP file. What may not be read does not, and is named in one more file, `note`."""
    left_out: list[str] = []
    async for path, entry in line.files.walk(folder):
        name = "/".join(shown(part).replace("\\", "_") for part in path.split(b"/"))
        when = datetime.fromtimestamp(max(entry.modified, 315_532_800), UTC)
        if entry.kind == "folder":
            yield f"{name}/", when, stat.S_IFDIR | 0o755, ZIP_64, _said(b"")
            continue
        content = await _opened(line, posixpath.join(folder, path), entry)
        if content is None:
            left_out.append(name)
        else:
            yield name, when, stat.S_IFREG | 0o644, ZIP_64, content
    if left_out:
        yield note, datetime.now(UTC), stat.S_IFREG | 0o644, ZIP_64, _said("\n".join(left_out).encode() + b"\n")


async def _opened(line: FileLine, path: bytes, entry: Entry) -> AsyncIterator[bytes] | None:
    if entry.kind != "file":
        return None
    try:
        return await line.files.opened(path, 0, entry.size)
    except Problem:
        return None


async def _said(content: bytes) -> AsyncIterator[bytes]:
    yield content


@require_safe
@with_files()
async def preview(request: HttpRequest, line: FileLine) -> HttpResponseBase:
    """What a file holds, as a piece of our page in which nothing of the file is markup."""
    path, entry = await _file(request, line)
    head = b"".join([piece async for piece in line.files.read(path, 0, previews.HEAD)])
    facts: dict[str, Any] = {"entry": entry, "name": shown(entry.name)}
    if previews.picture_type(head) and entry.size <= previews.LARGEST_PICTURE:
        query = urlencode({"path": key_of(path), "look": 1})
        facts["picture"] = f"{reverse('files-get', args=[_uuid(request)])}?{query}"
    elif head.startswith(previews.HDF5):
        facts["structure"] = await _structure(request, path)
    elif entry.name.endswith(b".ipynb") and entry.size <= previews.LARGEST_NOTEBOOK:
        whole = b"".join([piece async for piece in line.files.read(path, 0, entry.size)])
        facts["cells"] = await asyncio.to_thread(previews.notebook_of, whole)
    if "picture" not in facts and "structure" not in facts and facts.get("cells") is None:
        facts["text"] = previews.text_of(head)
        facts["cut"] = entry.size > len(head)
    return render(request, "desktops/_preview.html", facts)


def _uuid(request: HttpRequest) -> UUID:
    assert request.resolver_match  # noqa: S101 - a view is only reached by its address
    found: UUID = request.resolver_match.kwargs["uuid"]
    return found


async def _structure(request: HttpRequest, path: bytes) -> list[dict[str, Any]] | None:
    """What an HDF5 file holds, read in the machine by its owner's account; None where the machine has no reader."""
    ticket = await filing.admit(request.session.session_key or "", _uuid(request))
    if not isinstance(ticket, Ticket):
        return None
    try:
        said = await filing.shell_of(ticket).ask(ticket.username, HDF5_READER, path, MOST_STRUCTURE)
    except ShellUnavailable:
        return None
    return previews.structure_of(said) or None


async def _file(request: HttpRequest, line: FileLine) -> tuple[bytes, Entry]:
    """The file that is asked for, its links resolved. A pipe or device is none: reading one may never end."""
    path = await line.files.resolve(path_of(request.GET.get("path", "")))
    entry = await line.files.entry(path)
    if entry.kind != "file":
        raise Problem("kind")
    return path, entry


@require_POST
@with_files(writes=True)
async def change(request: HttpRequest, line: FileLine) -> HttpResponseBase:
    """`act` is folder (make `name` in `path`), rename (to `name`), move (into `to`), or delete."""
    said, files = request.POST, line.files
    act = said.get("act")
    if act == "folder":
        folder = await files.resolve(path_of(said.get("path", "")))
        await files.make_folder(posixpath.join(folder, name_of(said.get("name", ""))))
        return JsonResponse({})
    place = await files.place(path_of(said.get("path", "")))
    if act == "rename":
        await files.move(place, posixpath.join(posixpath.dirname(place), name_of(said.get("name", ""))))
    elif act == "move":
        folder = await files.resolve(path_of(said.get("to", "")))
        await files.move(place, posixpath.join(folder, posixpath.basename(place)))
    elif act == "delete":
        await files.delete(place)
    else:
        raise Unfit(act)
    return JsonResponse({})


@require_http_methods(["GET", "PUT", "DELETE"])
@with_files(writes=True)
async def upload(request: HttpRequest, line: FileLine) -> HttpResponseBase:
    """GET: how much of this file has arrived. PUT: the next piece of it, at `offset`; the last puts it in its place.
    DELETE: nothing of it is kept.
    """
    wanted = await _upload(request, line)
    if request.method == "DELETE":
        await line.files.give_up(wanted)
        return JsonResponse({})
    if request.method == "GET":
        return JsonResponse(await line.files.arrived(wanted))
    if int(request.headers.get("content-length") or 0) > PIECE:
        return sorry("large", 413)
    data = request.read(PIECE)
    offset = await line.files.add(wanted, _number(request, "offset"), data)
    line.traffic.up += len(data)
    if offset == wanted.size:
        await line.files.finish(wanted, replace="replace" in request.GET)
    return JsonResponse({"offset": offset, "done": offset == wanted.size})


async def _upload(request: HttpRequest, line: FileLine) -> Upload:
    folder = await line.files.resolve(path_of(request.GET.get("path", "")))
    name = name_of(request.GET.get("name", ""))
    return Upload(folder, name, _number(request, "size"), _number(request, "modified"))


def _number(request: HttpRequest, name: str) -> int:
    value = request.GET.get(name, "")
    if not re.fullmatch(r"\d{1,18}", value):
        raise Unfit(name)
    return int(value)
