"""A machine's terminal through the whole site: who types, who watches, what goes on without them, and how it ends."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from desktops import news, visit
from desktops.models import Connection, Room, Which
from desktops.rfb import Role
from desktops.shell.terminal import (
    AHEAD,
    ENDED,
    READ_LIMIT,
    Nonsense,
    Terminal,
    by_hand,
    drawn_of,
    size_of,
    understood,
)
from instances.models import Instance, Member, MemberRole
from instances.states import State
from tests.desktops.conftest import House, in_database, sign_in
from tests.desktops.shell.conftest import SIZE, at_terminal
from tests.desktops.shell.guest import Guest
from tests.desktops.test_endpoint import heard_by_control_line, until_async, within_a_second_of
from tests.desktops.viewers import until, viewing


async def test_the_owner_types_and_sees_what_comes_of_it(wired: House) -> None:
    async with at_terminal(wired, wired.people.alice) as alice:
        assert alice.told == [{"types": True}]
        await alice.does("echo $(id -un) has $((6 * 7))", "mcurie has 42")


async def test_the_shell_goes_on_without_anybody_and_shows_what_was(wired: House) -> None:
    async with at_terminal(wired, wired.people.alice) as alice:
        await alice.does("kept=here; echo $((40 + 1)) of them", "41 of them")
        await alice.does("seq 200; echo $kept is the end", "here is the end")
    async with at_terminal(wired, wired.people.alice) as alice:
        await alice.sees("here is the end")
        assert "\r\n77\r\n" in alice.shown  # scrolled off long ago: the browser can scroll back to it
        await alice.does("echo still $kept", "still here")


async def test_all_see_the_same_terminal_and_a_guest_types_nothing(wired: House, guest: Guest) -> None:
    """SEC-04"""
    async with at_terminal(wired, wired.people.alice) as alice, at_terminal(wired, wired.gwen) as gwen:
        assert gwen.told == [{"types": False}]
        await gwen.type("touch ~/gwen\r\x02d\x03")
        await gwen.say(SIZE | {"rows": 10})
        await alice.does("echo $((50 + 1)) for all", "51 for all")
        await gwen.sees("51 for all")
        async with at_terminal(wired, wired.people.bob) as bob:
            await bob.does("echo $((60 + 1)) from Bob", "61 from Bob")
        await alice.sees("61 from Bob")
        assert "gwen" not in alice.shown
        assert not (guest.machine.folder / "home/mcurie/gwen").exists()


async def test_the_machine_itself_takes_no_keys_of_who_watches(wired: House, guest: Guest) -> None:
    """SEC-04: were the site to pass a watcher's keys on, nothing would come of it."""
    async with at_terminal(wired, wired.people.alice) as alice:
        await alice.does("echo $((70 + 1)) before", "71 before")
        connection = await guest.shell.connect("gwen", "/usr/lib/visa/terminal watch", 20)
        process = await connection.create_process(term_type="xterm-256color", term_size=(100, 30), encoding=None)
        await process.stdout.readuntil(b"71 before")
        process.stdin.write(b"touch ~/gwen\r\x02:kill-server\r")
        await process.stdin.drain()
        await alice.does("echo $((70 + 2)) after", "72 after")
        connection.abort()
        assert not (guest.machine.folder / "home/mcurie/gwen").exists()


async def test_who_waits_for_the_owners_control_types_nothing(wired: House) -> None:
    def freeze(frozen: bool) -> None:
        Room.objects.update_or_create(instance=wired.people.machine, defaults={"frozen": frozen})
        news.tell_room(wired.people.machine)

    async with at_terminal(wired, wired.people.bob) as bob:
        await bob.does("echo $((80 + 1)) free", "81 free")
        await heard_by_control_line(wired)
        await in_database(freeze, True)
        await bob.until(lambda me: me.told[-1] == {"types": False})
        await bob.type("echo $((80 + 2)) frozen\r")
        await in_database(freeze, False)
        await bob.until(lambda me: me.told[-1] == {"types": True})
        await bob.does("echo $((80 + 3)) thawed", "83 thawed")
        assert "frozen" not in bob.shown


@pytest.mark.parametrize(("change", "code"), [("remove", 4403), ("guest", 4408), ("stop", 4410)])
async def test_it_ends_at_once_with_the_right_to_it(
    wired: House, monkeypatch: pytest.MonkeyPatch, change: str, code: int
) -> None:
    """SEC-05"""
    monkeypatch.setattr(visit, "SEEN_EVERY", timedelta(hours=1))
    bob = Member.objects.filter(instance=wired.people.machine, user=wired.people.bob)

    def act() -> None:
        if change == "remove":
            bob.delete()
        elif change == "guest":
            member = bob.get()
            member.role = MemberRole.GUEST
            member.save()
        else:
            Instance.objects.get(uuid=wired.uuid).transition(State.STOPPING)

    async with at_terminal(wired, wired.people.bob) as typist:
        await heard_by_control_line(wired)
        await in_database(act)
        begin = asyncio.get_running_loop().time()
        assert await typist.ended() == code
        assert within_a_second_of(begin)


async def test_the_end_of_the_shell_is_said_and_the_next_is_a_new_one(wired: House) -> None:
    async with at_terminal(wired, wired.people.alice) as alice:
        await alice.does("old=yes; echo $((90 + 1)) one", "91 one")
        await alice.type("exit\r")
        assert await alice.ended() == 4411
    async with at_terminal(wired, wired.people.alice) as alice:
        await alice.does("echo [$old] $((90 + 2))", "[] 92")


async def everybody_left() -> bool:
    return not await in_database(Connection.objects.filter(closed_at=None).count)


async def test_typing_is_use_and_watching_is_not(wired: House) -> None:
    async def row() -> Connection:
        return await in_database(Connection.objects.filter(which=Which.TERMINAL).latest, "opened_at")

    async with at_terminal(wired, wired.gwen) as gwen:
        await gwen.type("x")
    await until_async(everybody_left)
    assert (await row()).last_input_at is None
    assert (await wired.machine()).last_used_at is None
    async with at_terminal(wired, wired.people.alice) as alice:
        await alice.does("echo $((1 + 1)) typed", "2 typed")
    await until_async(everybody_left)
    assert (await row()).last_input_at is not None
    assert (await wired.machine()).last_used_at is not None


async def test_a_machine_from_before_terminals_is_not_tried(wired: House) -> None:
    await in_database(Instance.objects.update, ssh_secret="")
    _, headers = await sign_in(wired.people.alice)
    async with viewing(wired.port, f"/desktops/{wired.uuid}/terminal/", additional_headers=headers) as viewer:
        assert (await viewer.ended())[0] == 4410


class Undrawn:
    """An ASGI viewer that draws nothing until it is told to, and remembers how much was ever on its way."""

    def __init__(self) -> None:
        self.sent = self.undrawn = self.most = 0
        self.said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.note(SIZE)

    def note(self, note: dict[str, int]) -> None:
        self.said.put_nowait({"type": "websocket.receive", "text": json.dumps(note)})

    def draw(self) -> None:
        self.note({"drawn": self.undrawn})
        self.undrawn = 0

    async def send(self, message: Any) -> None:
        size = len(message.get("bytes") or b"")
        self.sent += size
        self.undrawn += size
        self.most = max(self.most, self.undrawn)


async def test_a_flood_waits_in_the_machine_while_nothing_is_drawn(guest: Guest) -> None:
    viewer, flood = Undrawn(), 8 * 1024 * 1024
    command = f"stty -opost; yes 0123456789 | head -c {flood}; touch ~/flooded"
    connection = await guest.shell.connect("pierre", command, 20)
    running = asyncio.create_task(Terminal(connection, viewer.said.get, viewer.send, Role.CONTROL).run())
    await until(lambda: viewer.undrawn > AHEAD)
    assert not (guest.machine.folder / "home/mcurie/flooded").exists()
    while not running.done():
        viewer.draw()
        await asyncio.sleep(0)
    assert running.result() == ENDED
    assert viewer.sent == flood
    assert viewer.most <= AHEAD + READ_LIMIT


@pytest.mark.parametrize(
    ("said", "typed"),
    [
        (b"\x1b[>0;276;0c\x1b[?1;2c", False),
        (b"\x1bP>|xterm.js(6.0.0)\x1b\\", False),
        (b"\x1b[I", False),
        (b"\x1b[12;40R", False),
        (b"l", True),
        (b"\x1b[A", True),
        (b"\x1b[Ils", True),
    ],
)
def test_what_the_browser_answers_by_itself_is_no_use(said: bytes, typed: bool) -> None:
    assert by_hand(said) == typed


@pytest.mark.parametrize(
    "said",
    ["", "[]", "{", '{"cols": 80}', '{"cols": 0, "rows": 1}', '{"cols": true, "rows": 2}', '{"cols": 1e9, "rows": 2}'],
)
def test_what_is_no_size_is_nonsense(said: str) -> None:
    with pytest.raises(Nonsense):
        size_of(understood(said))


@pytest.mark.parametrize("drawn", [-1, True, "9", None])
def test_what_is_no_number_of_bytes_is_nonsense(drawn: Any) -> None:
    with pytest.raises(Nonsense):
        drawn_of({"drawn": drawn})


async def test_nonsense_ends_it(wired: House) -> None:
    async with at_terminal(wired, wired.people.alice) as alice:
        await alice.socket.send("nonsense")
        assert await alice.ended() == 1003
