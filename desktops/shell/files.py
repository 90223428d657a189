"""A machine's files over SFTP, as its owner's account. asyncio only.

The guest's kernel decides what may be read and written. Beyond that everything stays in the home and in the folders of
the experiments: links are resolved in the guest before a path is compared with these.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import posixpath
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import asyncssh
from asyncssh import (
    FILEXFER_TYPE_DIRECTORY,
    FILEXFER_TYPE_REGULAR,
    FILEXFER_TYPE_SYMLINK,
    FXF_CREAT,
    FXF_WRITE,
    SFTPClient,
    SFTPFailure,
    SFTPNoSuchFile,
    SFTPPermissionDenied,
)

from desktops.shell.paths import split, within

log = logging.getLogger(__name__)

READ, WRITE = "internal-sftp -R", "internal-sftp"
"""What a certificate lets run: sshd itself keeps who may only look from changing anything."""

MOST, MOST_NAMES = 5000, 2 * 1024 * 1024
"""Entries of a folder that are shown, and bytes of their names."""

PATIENCE, FOLDER_PATIENCE = 30.0, 5.0
"""Seconds that one answer may take, and the first one of a folder of data, whose server may be away."""

ABANDONED = 24 * 3600.0
"""Seconds after which what an upload left lies in sight, so that somebody may delete it."""

CHUNK = 255 * 1024
"""Bytes that are asked for at a time: what OpenSSH's server gives in one answer."""

DEEPEST = 64
"""Folders within folders that are packed or deleted with one."""


class Problem(Exception):
    """Something that the person can understand. `what` names it."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


@dataclass(frozen=True)
class Entry:
    """`kind` is folder, file, or other (a device, a pipe, a link to nothing). Size in bytes, time in seconds (Unix)."""

    name: bytes
    kind: str
    size: int = 0
    modified: int = 0
    link: bool = False


@dataclass(frozen=True)
class Upload:
    """A file on its way into a folder: what is there of it lies beside its place until it is whole."""

    folder: bytes
    name: bytes
    size: int
    modified: int

    @property
    def place(self) -> bytes:
        return posixpath.join(self.folder, self.name)

    @property
    def part(self) -> bytes:
        said = f"{self.size} {self.modified} ".encode() + self.name
        return posixpath.join(self.folder, b".visa-" + hashlib.sha256(said).hexdigest()[:24].encode() + b".part")


class Files:
    """The open files of a machine. All raise Problem; asyncssh's errors of a lost connection pass through.

    An answer that takes longer than PATIENCE ends the connection: a server of OpenSSH's does one thing after the other,
    and would answer nothing else either.
    """

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection
        self._sftp: SFTPClient
        self.roots: list[bytes] = []

    @classmethod
    async def open(cls, connection: asyncssh.SSHClientConnection, folders: Sequence[str]) -> Files:
        """With the home, and those of these folders that are there."""
        opened = cls(connection)
        opened._sftp = await opened._told(connection.start_sftp_client(path_encoding=None))
        opened.roots.append(await opened._told(opened._sftp.realpath(b".")))
        if folders:
            await opened._find(folders)
        return opened

    async def _find(self, folders: Sequence[str]) -> None:
        """Over a server of its own, which may be left hanging."""
        sftp = await self._told(self._connection.start_sftp_client(path_encoding=None))
        try:
            for folder in folders:
                async with asyncio.timeout(FOLDER_PATIENCE):
                    await self._find_one(sftp, folder.encode())
        except TimeoutError:
            log.warning("a folder of data does not answer; the others after it are not looked for")
        finally:
            sftp.exit()

    async def _find_one(self, sftp: SFTPClient, folder: bytes) -> None:
        try:
            real = await sftp.realpath(folder)
            there = await sftp.isdir(real)
        except asyncssh.SFTPError:
            return
        if there and real not in self.roots:
            self.roots.append(real)

    async def resolve(self, path: bytes) -> bytes:
        """The path without links and dots."""
        real: bytes = await self._told(self._sftp.realpath(path))
        if not within(real, self.roots):
            raise Problem("outside")
        return real

    async def place(self, path: bytes) -> bytes:
        """The path of an entry itself, which may be a link or not be there yet. Its folder is resolved."""
        folder, name = split(path)
        return posixpath.join(await self.resolve(folder), name)

    async def entry(self, path: bytes) -> Entry:
        """What the path leads to."""
        attrs = await self._told(self._sftp.stat(path))
        return _entry(posixpath.basename(path), attrs)

    async def listing(self, folder: bytes) -> tuple[list[Entry], bool]:
        """Folders first, by name; and whether there are more than `MOST`."""
        found: list[Entry] = []
        names = 0
        async for name, attrs in self._scan(folder):
            names += len(name)
            if len(found) == MOST or names > MOST_NAMES:
                return _sorted(found), True
            if not _is_part(name) or (attrs.mtime or 0) < time.time() - ABANDONED:
                found.append(await self._seen(folder, name, attrs))
        return _sorted(found), False

    async def look_into(self, folder: bytes) -> None:
        """Raises Problem where it is no folder, or one that may not be listed."""
        async for _one in self._scan(folder):
            return

    async def _scan(self, folder: bytes) -> AsyncIterator[tuple[bytes, asyncssh.SFTPAttrs]]:
        """What a folder holds, by name, as the machine tells it."""
        entries = self._sftp.scandir(folder)
        while (one := await self._told(anext(entries, None))) is not None:
            name = one.filename if isinstance(one.filename, bytes) else one.filename.encode()
            if name not in (b".", b".."):
                yield name, one.attrs

    async def _seen(self, folder: bytes, name: bytes, attrs: asyncssh.SFTPAttrs) -> Entry:
        if attrs.type != FILEXFER_TYPE_SYMLINK:
            return _entry(name, attrs)
        try:
            target = await self._told(self._sftp.stat(posixpath.join(folder, name)))
        except Problem:
            return Entry(name, "other", link=True)
        return _entry(name, target, link=True)

    async def read(self, path: bytes, start: int, stop: int) -> AsyncIterator[bytes]:
        """The file's bytes from `start` to before `stop`, or to its end."""
        async for piece in await self.opened(path, start, stop):
            yield piece

    async def opened(self, path: bytes, start: int, stop: int) -> AsyncIterator[bytes]:
        """The same of a file that is open already: what keeps it from being read is known now."""
        return self._pieces(await self._told(self._sftp.open(path, "rb", encoding=None)), start, stop)

    async def _pieces(self, opened: Any, start: int, stop: int) -> AsyncIterator[bytes]:
        async with opened as file:
            while start < stop:
                data: bytes = await self._told(file.read(min(CHUNK, stop - start), start))
                if not data:
                    return
                yield data
                start += len(data)

    async def make_folder(self, path: bytes) -> None:
        await self._must_be_free(path)
        await self._told(self._sftp.mkdir(path))

    async def move(self, path: bytes, to: bytes) -> None:
        """Nothing that lies at `to` is overwritten. Problem("unmovable"): it is on another disk, or within itself."""
        await self._must_be_free(to)
        try:
            await self._told(self._sftp.rename(path, to))
        except Problem as problem:
            elsewhere = posixpath.dirname(path) != posixpath.dirname(to)
            raise (Problem("unmovable") if problem.what == "failed" and elsewhere else problem) from problem

    async def _must_be_free(self, path: bytes) -> None:
        if await self._lstat(path) is not None:
            raise Problem("exists")

    async def delete(self, path: bytes, depth: int = 0) -> None:
        """With everything in it; of a link, the link alone."""
        attrs = await self._told(self._sftp.lstat(path))
        if attrs.type != FILEXFER_TYPE_DIRECTORY:
            await self._told(self._sftp.remove(path))
            return
        if depth == DEEPEST:
            raise Problem("deep")
        for name in [name async for name, _attrs in self._scan(path)]:
            await self.delete(posixpath.join(path, name), depth + 1)
        await self._told(self._sftp.rmdir(path))

    async def arrived(self, upload: Upload) -> dict[str, Any]:
        """`offset`: bytes of it that are there. `done`: it lies in its place already."""
        part = await self._lstat(upload.part)
        if part is not None:
            return {"offset": part.size or 0, "done": False}
        whole = await self._lstat(upload.place)
        done = whole is not None and (whole.size, whole.mtime) == (upload.size, upload.modified)
        return {"offset": upload.size if done else 0, "done": done}

    async def _lstat(self, path: bytes) -> asyncssh.SFTPAttrs | None:
        try:
            attrs: asyncssh.SFTPAttrs = await self._told(self._sftp.lstat(path))
        except Problem as problem:
            if problem.what == "missing":
                return None
            raise
        return attrs

    async def add(self, upload: Upload, offset: int, data: bytes) -> int:
        """Put what follows at `offset`; how much is there now. Problem("offset") when something else is expected.

        Twice the same, as when two send one file, is as good as once.
        """
        part = await self._lstat(upload.part)
        there = part.size or 0 if part else 0
        if there != offset or offset + len(data) > upload.size:
            raise Problem("offset")
        async with await self._part(upload, begins=offset == 0) as file:
            await self._told(file.write(data, offset))
        return offset + len(data)

    async def _part(self, upload: Upload, *, begins: bool) -> asyncssh.SFTPClientFile:
        """Never emptied, and only made where it begins: somebody else who sends it may just have finished."""
        how = FXF_WRITE | FXF_CREAT if begins else FXF_WRITE
        try:
            part: asyncssh.SFTPClientFile = await self._told(self._sftp.open(upload.part, how, encoding=None))
        except Problem as problem:
            raise (Problem("offset") if problem.what == "missing" and not begins else problem) from problem
        return part

    async def finish(self, upload: Upload, *, replace: bool) -> None:
        """Put it in its place, whole."""
        part = await self._lstat(upload.part)
        if part is None or part.size != upload.size:
            raise Problem("offset")
        if not replace:
            await self._must_be_free(upload.place)
        await self._told(self._sftp.posix_rename(upload.part, upload.place))
        await self._told(self._sftp.utime(upload.place, (upload.modified, upload.modified)))

    async def give_up(self, upload: Upload) -> None:
        """Nothing of it stays."""
        if await self._lstat(upload.part) is not None:
            await self._told(self._sftp.remove(upload.part))

    async def walk(self, folder: bytes, inside: bytes = b"", depth: int = 0) -> AsyncIterator[tuple[bytes, Entry]]:
        """Everything below a folder, by its path from there; links are not followed. A folder comes before its own, and
        once more, of the kind "denied", "deep" or the like, where what is in it is not told.
        """
        if depth > DEEPEST:
            yield inside, Entry(posixpath.basename(inside), "deep")
            return
        async for name, attrs in self._scan(posixpath.join(folder, inside)):
            if _is_part(name):
                continue
            path, entry = posixpath.join(inside, name), _entry(name, attrs)
            yield path, entry
            if entry.kind == "folder":
                try:
                    async for below in self.walk(folder, path, depth + 1):
                        yield below
                except Problem as problem:
                    yield path, Entry(name, problem.what)

    async def _told(self, work: Any) -> Any:
        timer = asyncio.get_running_loop().call_later(PATIENCE, self._connection.abort)
        try:
            return await work
        except asyncssh.SFTPError as error:
            raise _problem(error) from error
        finally:
            timer.cancel()


def _entry(name: bytes, attrs: asyncssh.SFTPAttrs, *, link: bool = False) -> Entry:
    kinds = {FILEXFER_TYPE_DIRECTORY: "folder", FILEXFER_TYPE_REGULAR: "file"}
    return Entry(name, kinds.get(attrs.type, "other"), attrs.size or 0, int(attrs.mtime or 0), link)


def _is_part(name: bytes) -> bool:
    return name.startswith(b".visa-") and name.endswith(b".part")


def _sorted(found: list[Entry]) -> list[Entry]:
    return sorted(found, key=lambda one: (one.kind != "folder", one.name.lower(), one.name))


def _problem(error: asyncssh.SFTPError) -> Exception:
    """Servers of version 3 know few reasons; the rest is "failed"."""
    if isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection):
        return error
    kinds = {SFTPNoSuchFile: "missing", SFTPPermissionDenied: "denied", SFTPFailure: "failed"}
    return Problem(next((what for kind, what in kinds.items() if isinstance(error, kind)), "failed"))
