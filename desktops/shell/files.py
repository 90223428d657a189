"""A machine's files over SFTP, as its owner's account. asyncio only.

The guest's kernel decides what may be read and written. Beyond that everything stays in the home and in the folders of
the experiments: links are resolved in the guest before a path is compared with these.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from typing import Any

import asyncssh
from asyncssh import (
    FILEXFER_TYPE_DIRECTORY,
    FILEXFER_TYPE_REGULAR,
    FILEXFER_TYPE_SYMLINK,
    SFTPClient,
    SFTPFailure,
    SFTPNoSuchFile,
    SFTPPermissionDenied,
)

from desktops.shell.paths import split, within

READ, WRITE = "internal-sftp -R", "internal-sftp"
"""What a certificate lets run: sshd itself keeps who may only look from changing anything."""

MOST = 5000
"""Entries of a folder that are shown."""

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
    """The open files of a machine. All raise Problem; asyncssh's errors of a lost connection pass through."""

    def __init__(self, sftp: SFTPClient, roots: list[bytes]) -> None:
        self._sftp = sftp
        self.roots = roots

    @classmethod
    async def open(cls, connection: asyncssh.SSHClientConnection, folders: Iterable[str]) -> Files:
        """With the home, and those of these folders that are there."""
        sftp = await connection.start_sftp_client(path_encoding=None)
        roots = [await sftp.realpath(b".")]
        for folder in folders:
            try:
                real = await sftp.realpath(folder.encode())
                there = await sftp.isdir(real)
            except asyncssh.SFTPError:
                continue
            if there and real not in roots:
                roots.append(real)
        return cls(sftp, roots)

    async def resolve(self, path: bytes) -> bytes:
        """The path without links and dots."""
        real: bytes = await _told(self._sftp.realpath(path))
        if not within(real, self.roots):
            raise Problem("outside")
        return real

    async def place(self, path: bytes) -> bytes:
        """The path of an entry itself, which may be a link or not be there yet. Its folder is resolved."""
        folder, name = split(path)
        return posixpath.join(await self.resolve(folder), name)

    async def entry(self, path: bytes) -> Entry:
        """What the path leads to."""
        attrs = await _told(self._sftp.stat(path))
        return _entry(posixpath.basename(path), attrs)

    async def listing(self, folder: bytes) -> tuple[list[Entry], bool]:
        """Folders first, by name; and whether there are more than `MOST`."""
        found: list[Entry] = []
        try:
            async for one in self._sftp.scandir(folder):
                name = one.filename if isinstance(one.filename, bytes) else one.filename.encode()
                if name in (b".", b"..") or _is_part(name):
                    continue
                if len(found) == MOST:
                    return _sorted(found), True
                found.append(await self._seen(folder, name, one.attrs))
        except asyncssh.SFTPError as error:
            raise _problem(error) from error
        return _sorted(found), False

    async def _seen(self, folder: bytes, name: bytes, attrs: asyncssh.SFTPAttrs) -> Entry:
        if attrs.type != FILEXFER_TYPE_SYMLINK:
            return _entry(name, attrs)
        try:
            target = await self._sftp.stat(posixpath.join(folder, name))
        except asyncssh.SFTPError:
            return Entry(name, "other", link=True)
        return _entry(name, target, link=True)

    async def read(self, path: bytes, start: int, stop: int) -> AsyncIterator[bytes]:
        """The file's bytes from `start` to before `stop`, or to its end."""
        async with await _told(self._sftp.open(path, "rb", encoding=None)) as file:
            while start < stop:
                data: bytes = await file.read(min(CHUNK, stop - start), start)
                if not data:
                    return
                yield data
                start += len(data)

    async def make_folder(self, path: bytes) -> None:
        if await self._sftp.lexists(path):
            raise Problem("exists")
        await _told(self._sftp.mkdir(path))

    async def move(self, path: bytes, to: bytes) -> None:
        """Nothing that lies at `to` is overwritten."""
        if await self._sftp.lexists(to):
            raise Problem("exists")
        await _told(self._sftp.rename(path, to))

    async def delete(self, path: bytes, depth: int = 0) -> None:
        """With everything in it; of a link, the link alone."""
        attrs = await _told(self._sftp.lstat(path))
        if attrs.type != FILEXFER_TYPE_DIRECTORY:
            await _told(self._sftp.remove(path))
            return
        if depth == DEEPEST:
            raise Problem("deep")
        for name in [one.filename async for one in self._sftp.scandir(path)]:
            if name not in (b".", b".."):
                await self.delete(posixpath.join(path, _as_bytes(name)), depth + 1)
        await _told(self._sftp.rmdir(path))

    async def arrived(self, upload: Upload) -> int:
        """Bytes of it that are there."""
        try:
            return (await self._sftp.lstat(upload.part)).size or 0
        except SFTPNoSuchFile:
            return 0
        except asyncssh.SFTPError as error:
            raise _problem(error) from error

    async def add(self, upload: Upload, offset: int, data: bytes) -> int:
        """Put what follows at `offset`; how much is there now. Problem("offset") when something else is expected."""
        if await self.arrived(upload) != offset or offset + len(data) > upload.size:
            raise Problem("offset")
        async with await _told(self._sftp.open(upload.part, "ab" if offset else "wb", encoding=None)) as file:
            await _told(file.write(data, offset))
        return offset + len(data)

    async def finish(self, upload: Upload, *, replace: bool) -> None:
        """Put it in its place, whole."""
        if not replace and await self._sftp.lexists(upload.place):
            raise Problem("exists")
        await _told(self._sftp.posix_rename(upload.part, upload.place))
        await _told(self._sftp.utime(upload.place, (upload.modified, upload.modified)))

    async def walk(self, folder: bytes, inside: bytes = b"", depth: int = 0) -> AsyncIterator[tuple[bytes, Entry]]:
        """Everything below a folder, by its path from there. Links are not followed; a folder comes before its own."""
        try:
            found = [one async for one in self._sftp.scandir(posixpath.join(folder, inside))]
        except asyncssh.SFTPError:
            return
        for one in sorted(found, key=lambda one: _as_bytes(one.filename)):
            name = _as_bytes(one.filename)
            entry = _entry(name, one.attrs)
            if name in (b".", b"..") or _is_part(name) or entry.kind == "other":
                continue
            path = posixpath.join(inside, name)
            yield path, entry
            if entry.kind == "folder" and depth < DEEPEST:
                async for below in self.walk(folder, path, depth + 1):
                    yield below


def _as_bytes(name: bytes | str) -> bytes:
    return name if isinstance(name, bytes) else name.encode()


def _entry(name: bytes, attrs: asyncssh.SFTPAttrs, *, link: bool = False) -> Entry:
    kinds = {FILEXFER_TYPE_DIRECTORY: "folder", FILEXFER_TYPE_REGULAR: "file"}
    return Entry(name, kinds.get(attrs.type, "other"), attrs.size or 0, int(attrs.mtime or 0), link)


def _is_part(name: bytes) -> bool:
    return name.startswith(b".visa-") and name.endswith(b".part")


def _sorted(found: list[Entry]) -> list[Entry]:
    return sorted(found, key=lambda one: (one.kind != "folder", one.name.lower(), one.name))


async def _told(work: Any) -> Any:
    try:
        return await work
    except asyncssh.SFTPError as error:
        raise _problem(error) from error


def _problem(error: asyncssh.SFTPError) -> Exception:
    """Servers of version 3 know few reasons; the rest is "failed"."""
    if isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection):
        return error
    kinds = {SFTPNoSuchFile: "missing", SFTPPermissionDenied: "denied", SFTPFailure: "failed"}
    return Problem(next((what for kind, what in kinds.items() if isinstance(error, kind)), "failed"))
