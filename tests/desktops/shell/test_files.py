"""A machine's files through the whole site and a real SSH server: who sees, who changes, and names of every kind."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import asyncssh
import pytest
from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from desktops import filing
from desktops.models import Connection, Which
from desktops.shell import files as files_module
from desktops.shell.paths import key_of
from desktops.views import files as views
from desktops.visit import Visit
from experiments.models import User
from instances.models import Member
from tests.desktops.conftest import House, in_database, sign_in
from tests.desktops.shell.guest import Guest
from tests.desktops.shell.test_paths import HOSTILE
from tests.desktops.test_endpoint import heard_by_control_line, until_async, within_a_second_of

TOKEN = "a" * 32
UID = 43210


class Visitor:
    """A browser's side of the files."""

    def __init__(self, session: aiohttp.ClientSession, house: House) -> None:
        self.session = session
        self.base = f"http://127.0.0.1:{house.port}/machines/{house.uuid}/files/"

    async def get(self, name: str, /, headers: dict[str, str] | None = None, **query: Any) -> aiohttp.ClientResponse:
        return await self.session.get(f"{self.base}{name}/", params=query, headers=headers)

    async def listing(self, **query: Any) -> Any:
        answer = await self.get("list", **query)
        assert answer.status == 200, await answer.text()
        return await answer.json()

    async def change(self, **said: str) -> int:
        return (await self.session.post(f"{self.base}change/", data=said)).status

    async def put(self, data: bytes, **query: Any) -> aiohttp.ClientResponse:
        return await self.session.put(f"{self.base}upload/", params=query, data=data)


@asynccontextmanager
async def at_files(house: House, user: User) -> AsyncIterator[Visitor]:
    _, headers = await sign_in(user)
    cookie = f"{headers['Cookie']}; visa-csrf={TOKEN}"
    ours = {"Cookie": cookie, "X-CSRFToken": TOKEN, "Host": "localhost:8000"}
    async with aiohttp.ClientSession(headers=ours, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield Visitor(session, house)


@pytest.fixture
async def at_home(wired: House) -> AsyncIterator[House]:
    yield wired
    await filing.end_all()


@pytest.fixture
def home(guest: Guest) -> Path:
    return guest.machine.folder / "home/mcurie"


def owned(path: Path, content: bytes | None = b"") -> Path:
    """A file of the owner's, or a folder where there is no content."""
    if content is None:
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    os.chown(path, UID, 43211)
    return path


def key(name: str | bytes) -> str:
    return key_of(b"/home/mcurie/" + (name.encode() if isinstance(name, str) else name))


async def test_the_owner_sees_the_home_and_reads_a_file_whole_and_in_part(at_home: House, home: Path) -> None:
    owned(home / "data.txt", b"0123456789")
    async with at_files(at_home, at_home.people.alice) as alice:
        said = await alice.listing()
        assert (said["path"], said["writes"]) == ("/home/mcurie", True)
        (found,) = [one for one in said["entries"] if one["key"] == "data.txt"]
        assert (found["name"], found["kind"], found["size"]) == ("data.txt", "file", 10)
        whole = await alice.get("get", path=key("data.txt"))
        assert await whole.read() == b"0123456789"
        assert whole.headers["Content-Disposition"] == 'attachment; filename="data.txt"'
        assert whole.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in whole.headers["Content-Security-Policy"]
        for asked, status, content in (
            ("bytes=2-4", 206, b"234"),
            ("bytes=7-", 206, b"789"),
            ("bytes=-3", 206, b"789"),
            ("bytes=10-", 416, b""),
            ("bytes=0-1,3-4", 200, b"0123456789"),
        ):
            part = await alice.get("get", headers={"Range": asked}, path=key("data.txt"))
            assert (part.status, await part.read()) == (status, content), asked


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_name_of_any_kind_is_listed_read_renamed_and_deleted(at_home: House, home: Path, name: bytes) -> None:
    place = Path(os.fsdecode(os.fsencode(home / "odd") + b"/" + name))
    owned(home / "odd", None)
    owned(place, b"content")
    async with at_files(at_home, at_home.people.alice) as alice:
        said = await alice.listing(path=key("odd"))
        (entry,) = said["entries"]
        assert entry["key"] == key_of(name)
        assert entry["name"].isprintable()
        path = f"{key('odd')}/{entry['key']}"
        answer = await alice.get("get", path=path)
        assert await answer.read() == b"content"
        packed = await (await alice.get("zip", path=key("odd"))).read()
        assert len(zipfile.ZipFile(io.BytesIO(packed)).namelist()) == 1
        assert await alice.change(act="rename", path=path, name="plain") == 200
        assert await alice.change(act="rename", path=f"{key('odd')}/plain", name=entry["key"]) == 200
        assert await (await alice.get("get", path=path)).read() == b"content"
        assert await alice.change(act="delete", path=path) == 200
        assert not list((home / "odd").iterdir())


async def test_what_is_uploaded_in_pieces_goes_on_where_it_broke_off(at_home: House, home: Path) -> None:
    content = os.urandom(300_000)
    facts: dict[str, Any] = {"path": key(""), "name": "big.bin", "size": len(content), "modified": 1_700_000_000}
    async with at_files(at_home, at_home.people.alice) as alice:
        assert (await alice.put(content[:100_000], offset=0, **facts)).status == 200
        assert not (home / "big.bin").exists()
        assert "part" not in str((await alice.listing())["entries"])
        assert (await alice.put(content[50_000:], offset=50_000, **facts)).status == 409
    async with at_files(at_home, at_home.people.alice) as alice:
        assert (await (await alice.get("upload", **facts)).json())["offset"] == 100_000
        answer = await alice.put(content[100_000:], offset=100_000, **facts)
        assert (await answer.json())["done"]
        assert (home / "big.bin").read_bytes() == content
        assert (home / "big.bin").stat().st_uid == UID
        again = facts | {"size": 3}
        assert (await (await alice.put(b"new", offset=0, **again)).json())["what"] == "exists"
        assert (home / "big.bin").read_bytes() == content
        await alice.session.delete(f"{alice.base}upload/", params=again)


async def sent(visitor: Visitor, content: bytes, facts: dict[str, Any], piece: int) -> None:
    """As the page sends a file: from where the machine says that it is, until that says that it is whole."""
    said = await (await visitor.get("upload", **facts)).json()
    while not said["done"]:
        begin = said["offset"]
        answer = await visitor.put(content[begin : begin + piece], offset=begin, **facts)
        said = await answer.json()
        if answer.status != 200:
            assert said["what"] == "offset", said
            said = await (await visitor.get("upload", **facts)).json()


async def test_two_who_send_one_file_at_once_have_it_whole(at_home: House, home: Path) -> None:
    content = os.urandom(3_000_000)
    facts: dict[str, Any] = {"path": key(""), "name": "both.bin", "size": len(content), "modified": 1_700_000_000}
    people = at_home.people
    async with at_files(at_home, people.alice) as alice, at_files(at_home, people.bob) as bob, asyncio.timeout(60):
        await asyncio.gather(*(sent(one, content, facts, 100_000) for one in (alice, bob, alice, bob)))
        assert (home / "both.bin").read_bytes() == content
        assert await (await alice.get("upload", **facts)).json() == {"offset": len(content), "done": True}
    assert not parts(home)


def parts(home: Path) -> list[Path]:
    return list(home.glob(".visa-*"))


async def test_what_is_given_up_leaves_nothing_and_what_is_forgotten_is_seen(at_home: House, home: Path) -> None:
    facts: dict[str, Any] = {"path": key(""), "name": "half.bin", "size": 10, "modified": 1}
    async with at_files(at_home, at_home.people.alice) as alice:
        await alice.put(b"half", offset=0, **facts)
        (part,) = parts(home)
        assert part.name not in str((await alice.listing())["entries"])
        os.utime(part, (1, 1))
        assert part.name in str((await alice.listing())["entries"])
        for _again in range(2):
            assert (await alice.session.delete(f"{alice.base}upload/", params=facts)).status == 200
        assert not part.exists()


async def test_a_zip_names_what_may_not_be_read_and_is_none_of_what_is_no_folder(at_home: House, home: Path) -> None:
    owned(home / "mixed" / "mine.txt", b"mine")
    for name in ("roots.txt", "closed/inner.txt"):
        owned(home / "mixed" / name, b"not mine")
        os.chown(home / "mixed" / name, 0, 0)
        (home / "mixed" / name).chmod(0o600)
    os.chown(home / "mixed/closed", 0, 0)
    (home / "mixed/closed").chmod(0o700)
    async with at_files(at_home, at_home.people.alice) as alice:
        packed = zipfile.ZipFile(io.BytesIO(await (await alice.get("zip", path=key("mixed"))).read()))
        assert sorted(packed.namelist()) == ["Left out.txt", "closed/", "mine.txt"]
        assert sorted(packed.read("Left out.txt").decode().split()) == ["closed", "roots.txt"]
        assert (await alice.get("zip", path=key("mixed/closed"))).status == 409
        assert (await alice.get("zip", path=key("mixed/mine.txt"))).status in {404, 409}
        assert (await alice.get("zip", path=key("nowhere"))).status == 404
        deleted = await alice.session.post(f"{alice.base}change/", data={"act": "delete", "path": key("mixed/closed")})
        assert (await deleted.json())["what"] == "denied"


async def test_a_zip_whose_machine_goes_away_does_not_look_whole(at_home: House, home: Path) -> None:
    for number in range(50):
        owned(home / "many" / f"{number}.bin", os.urandom(200_000))
    async with at_files(at_home, at_home.people.alice) as alice:
        answer = await alice.get("zip", path=key("many"))
        await answer.content.readexactly(100_000)
        await filing.end_all()
        with pytest.raises(aiohttp.ClientPayloadError):
            await drained(answer)


def servers_of_files() -> list[int]:
    """The processes of the owner's account that a process of theirs has started: what sshd starts for SFTP."""
    own = {}
    for one in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if one.stat().st_uid == UID:
                own[int(one.name)] = int((one / "stat").read_text().rpartition(")")[2].split()[1])
    return [pid for pid, parent in own.items() if parent in own]


@contextmanager
def hanging() -> Iterator[None]:
    """As where a folder's server is away: what serves the files hangs in the middle of what it was asked."""
    stopped = servers_of_files()
    assert stopped
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("asked", ["list", "get", "preview"])
async def test_what_a_machine_does_not_answer_is_told_and_asked_anew(
    at_home: House, home: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    owned(home / "data.txt", b"x")
    async with at_files(at_home, at_home.people.alice) as alice, asyncio.timeout(20):
        await alice.listing()
        with hanging():
            with monkeypatch.context() as hurried:
                hurried.setattr(files_module, "PATIENCE", 0.5)
                answer = await alice.get(asked, path=key("" if asked == "list" else "data.txt"))
                assert (answer.status, (await answer.json())["what"]) == (502, "lost")
            await alice.listing()


async def test_a_read_that_hangs_in_the_middle_ends(
    at_home: House, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with owned(home / "huge.bin").open("wb") as file:
        file.truncate(1024**3)
    async with at_files(at_home, at_home.people.alice) as alice, asyncio.timeout(20):
        monkeypatch.setattr(files_module, "PATIENCE", 2)
        answer = await alice.get("get", path=key("huge.bin"))
        await answer.content.readexactly(1000)
        with hanging(), pytest.raises(aiohttp.ClientPayloadError):
            await drained(answer)
    (home / "huge.bin").unlink()


async def test_files_that_do_not_open_leave_no_connection(at_home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    connections: list[asyncssh.SSHClientConnection] = []

    async def fails(connection: asyncssh.SSHClientConnection, _folders: object) -> None:
        connections.append(connection)
        raise asyncssh.SFTPFailure("no more processes")

    monkeypatch.setattr(files_module.Files, "open", fails)
    async with at_files(at_home, at_home.people.alice) as alice, asyncio.timeout(10):
        assert (await alice.get("list")).status == 409
        await connections[0].wait_closed()


async def test_nobody_is_at_the_files_unwatched(at_home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_visit: Visit) -> int:
        raise DatabaseError("away")

    async def forgotten() -> bool:
        return not filing._lines

    async with at_files(at_home, at_home.people.alice) as alice:
        with monkeypatch.context() as broken:
            broken.setattr(Visit, "_begin", fails)
            await alice.get("list")
            await until_async(forgotten)
        await alice.listing()


def test_however_a_machine_writes_a_folder_the_way_to_it_has_an_end() -> None:
    assert views._steps(b"/home/u", b"/home/u/x") == [b"/home/u", b"/home/u/x"]
    assert views._steps(b"/home/u/", b"/home/u//x")[-1] == b"/home/u//x"


async def test_a_folder_is_downloaded_as_a_zip_without_what_links_lead_to(at_home: House, home: Path) -> None:
    owned(home / "run" / "a.txt", b"a" * 100_000)
    owned(home / "run" / "inner", None)
    owned(home / "run" / "inner" / "b.txt", b"b")
    (home / "run" / "out").symlink_to("/etc")
    async with at_files(at_home, at_home.people.alice) as alice:
        answer = await alice.get("zip", path=key("run"))
        packed = zipfile.ZipFile(io.BytesIO(await answer.read()))
        assert sorted(packed.namelist()) == ["Left out.txt", "a.txt", "inner/", "inner/b.txt"]
        assert packed.read("Left out.txt") == b"out\n"
        assert packed.read("a.txt") == b"a" * 100_000


async def test_nothing_outside_of_the_home_is_seen_or_changed(at_home: House, home: Path) -> None:
    (home / "etc").symlink_to("/etc")
    (home / "secret").symlink_to("/etc/hostname")
    async with at_files(at_home, at_home.people.alice) as alice:
        for path in ("/etc", "/", key("../../etc"), key("etc"), key("etc/passwd")):
            assert (await alice.get("list", path=path)).status == 404, path
        for path in (key("secret"), "/etc/hostname"):
            assert (await alice.get("get", path=path)).status == 404
        assert await alice.change(act="delete", path=key("etc/hostname")) == 404
        assert await alice.change(act="move", path=key("secret"), to="/var") == 404
        assert await alice.change(act="delete", path=key("etc")) == 200  # the link alone
        assert await alice.change(act="delete", path="/home/mcurie") == 404
    (home / "secret").unlink()


async def test_a_folder_is_made_filled_moved_and_deleted(at_home: House, home: Path) -> None:
    async with at_files(at_home, at_home.people.alice) as alice:
        assert await alice.change(act="folder", path=key(""), name="new") == 200
        assert await alice.change(act="folder", path=key(""), name="new") == 409
        assert await alice.change(act="folder", path=key(""), name="a%2Fb") == 400
        owned(home / "moving.txt", b"x")
        assert await alice.change(act="move", path=key("moving.txt"), to=key("new")) == 200
        assert (home / "new/moving.txt").exists()
        within = {"act": "move", "path": key("new"), "to": key("new")}
        answer = await alice.session.post(f"{alice.base}change/", data=within)
        assert (await answer.json())["what"] == "unmovable"
        assert await alice.change(act="delete", path=key("new")) == 200
        assert not (home / "new").exists()


async def test_a_guest_reads_and_changes_nothing(at_home: House, home: Path) -> None:
    """SEC-04"""
    owned(home / "seen.txt", b"seen")
    facts = {"path": key(""), "name": "by-gwen", "size": 1, "modified": 1}
    async with at_files(at_home, at_home.gwen) as gwen:
        assert (await gwen.listing())["writes"] is False
        assert await (await gwen.get("get", path=key("seen.txt"))).read() == b"seen"
        assert await gwen.change(act="delete", path=key("seen.txt")) == 403
        assert (await gwen.put(b"x", offset=0, **facts)).status == 403
    assert (home / "seen.txt").exists()
    assert not (home / "by-gwen").exists()


async def test_the_machine_itself_lets_a_guests_connection_change_nothing(guest: Guest, home: Path) -> None:
    owned(home / "kept.txt", b"kept")
    async with await guest.shell.connect("gwen", "internal-sftp -R", 20) as connection:
        sftp = await connection.start_sftp_client()
        with pytest.raises(asyncssh.SFTPError):
            await sftp.remove("kept.txt")
    assert (home / "kept.txt").exists()


async def test_a_stranger_finds_nothing(at_home: House) -> None:
    async with at_files(at_home, at_home.people.charlie) as charlie:
        for name in ("list", "get", "zip", "preview", "upload"):
            assert (await charlie.get(name, path="/home/mcurie")).status == 404


async def drained(answer: aiohttp.ClientResponse) -> None:
    while await answer.content.read(1_000_000):
        pass


async def test_a_download_ends_with_the_right_to_it(at_home: House, home: Path) -> None:
    """SEC-05"""
    with owned(home / "huge.bin").open("wb") as file:
        file.truncate(4 * 1024**3)
    async with at_files(at_home, at_home.people.bob) as bob:
        answer = await bob.get("get", path=key("huge.bin"))
        await answer.content.readexactly(100_000)
        await heard_by_control_line(at_home)
        await in_database(lambda: Member.objects.get(user=at_home.people.bob, instance__uuid=at_home.uuid).delete())
        begin = asyncio.get_running_loop().time()
        with pytest.raises(aiohttp.ClientPayloadError):
            await drained(answer)
        assert within_a_second_of(begin)
        assert (await bob.get("list")).status == 404
    (home / "huge.bin").unlink()


async def test_a_download_holds_no_connection_to_the_database(at_home: House, home: Path) -> None:
    """A pool has few, and a download may take hours."""
    with owned(home / "huge.bin").open("wb") as file:
        file.truncate(4 * 1024**3)
    async with at_files(at_home, at_home.people.alice) as alice:
        await alice.listing()
        before = in_use()
        answers = [await alice.get("get", path=key("huge.bin")) for _ in range(6)]
        try:
            for answer in answers:
                await answer.content.readexactly(1000)
            assert in_use() <= before + 1
        finally:
            for answer in answers:
                answer.close()
    (home / "huge.bin").unlink()


def in_use() -> int:
    """Connections that are open, of whatever thread."""
    wrappers = [one for one in gc.get_objects() if issubclass(type(one), BaseDatabaseWrapper)]
    return sum(one.connection is not None for one in wrappers)


async def test_looking_is_use_and_written_down_at_its_end(at_home: House) -> None:
    async with at_files(at_home, at_home.people.alice) as alice:
        await alice.listing()
    await filing.end_all()

    async def left() -> bool:
        return bool(await in_database(Connection.objects.filter(which=Which.FILES).exclude(closed_at=None).count))

    await until_async(left)
    assert (await at_home.machine()).last_used_at is not None


@pytest.mark.parametrize(
    ("name", "content", "shown"),
    [
        ("page.html", b"<script>alert(1)</script>", b"&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("nb.ipynb", b'{"cells": [{"cell_type": "markdown", "source": "<b>x</b>"}]}', b"&lt;b&gt;x&lt;/b&gt;"),
        ("raw.bin", bytes(range(256)), b"Nothing of this kind of file"),
        ("pic.html", b"\x89PNG\r\n\x1a\n", b'<img class="shown"'),
    ],
)
async def test_a_preview_holds_no_markup_of_the_file(
    at_home: House, home: Path, name: str, content: bytes, shown: bytes
) -> None:
    owned(home / name, content)
    async with at_files(at_home, at_home.people.alice) as alice:
        answer = await alice.get("preview", path=key(name))
        body = await answer.read()
        assert shown in body
        assert b"<script" not in body
        looked = await alice.get("get", path=key(name), look="1")
        assert looked.headers["Content-Type"] in {"application/octet-stream", "image/png"}
        assert "sandbox" in looked.headers["Content-Security-Policy"]


async def test_the_structure_that_the_machine_tells_of_an_hdf5_file_is_text(
    at_home: House, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever answers in the guest is no more trusted than the file."""
    told = '{"name": "<b>entry</b>", "depth": 1e9, "kind": "dataset", "shape": [10, "<i>"], "type": "f4"}'
    attributes = '{"name": "x", "kind": "group", "attributes": {"items": "<u>", "keys": 1}}'
    odd = '{"kind": 7, "depth": [], "attributes": "x"}'
    reader = f"""cat > asked; printf '%s\\n' '{told}' '{attributes}' '{odd}' '{{' nonsense"""
    monkeypatch.setattr(views, "HDF5_READER", reader)
    owned(home / "odd ' name.h5", b"\x89HDF\r\n\x1a\n")
    async with at_files(at_home, at_home.people.alice) as alice:
        answer = await alice.get("preview", path=key("odd ' name.h5"))
        body = await answer.text()
    assert "&lt;b&gt;entry&lt;/b&gt;" in body
    assert "10 × &lt;i&gt;" in body
    assert "items: &lt;u&gt;" in body
    assert (home / "asked").read_text() == "/home/mcurie/odd ' name.h5"


async def test_a_pipe_is_not_read(at_home: House, home: Path) -> None:
    os.mkfifo(home / "pipe")
    async with at_files(at_home, at_home.people.alice) as alice:
        assert (await alice.get("get", path=key("pipe"))).status == 409
    (home / "pipe").unlink()
