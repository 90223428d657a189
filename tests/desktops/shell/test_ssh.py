"""What a certificate opens, against OpenSSH's own server."""

from __future__ import annotations

from dataclasses import replace

import asyncssh
import pytest

from desktops.shell import ssh
from desktops.shell.ssh import ShellUnavailable
from tests.desktops.shell.guest import Guest

pytestmark = pytest.mark.asyncio
PATIENCE = 20.0


async def test_it_runs_what_the_certificate_says_as_the_owner(guest: Guest) -> None:
    connection = await guest.shell.connect("pierre", "id -un; pwd", PATIENCE)
    async with connection:
        done = await connection.run("touch asked-for")
    assert done.stdout == "mcurie\n/home/mcurie\n"
    assert not (guest.machine.folder / "home/mcurie/asked-for").exists()


async def test_the_guests_log_says_who_came(guest: Guest) -> None:
    async with await guest.shell.connect("irène", "true", PATIENCE):
        pass
    assert "for visa-owner from 127.0.0.1" in guest.machine.read("log")
    assert "ir" in guest.machine.read("log").split("ID ")[-1][:20]


async def test_nothing_is_forwarded(guest: Guest) -> None:
    async with await guest.shell.connect("pierre", "true", PATIENCE) as connection:
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.0.1", guest.port)


@pytest.mark.parametrize("account", ["mcurie", "root"])
async def test_no_other_account_is_opened(guest: Guest, account: str) -> None:
    shell = guest.shell
    asked = shell.credentials("pierre", "true") | {"username": account}
    with pytest.raises(asyncssh.PermissionDenied):
        await asyncssh.connect(shell.host, shell.port, **asked, config=None, agent_path=None)


async def test_a_certificate_opens_nothing_once_its_minutes_are_over(
    guest: Guest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh, "VALID", -1)
    with pytest.raises(ShellUnavailable):
        await guest.shell.connect("pierre", "true", PATIENCE)


async def test_who_is_not_the_machine_is_not_spoken_to(guest: Guest) -> None:
    """Another build's keys, and another machine's: the host's key is not the one that we gave it."""
    for other in (replace(guest.shell, generation=2), replace(guest.shell, secret="of another machine")):
        with pytest.raises(ShellUnavailable, match="HostKeyNotVerifiable"):
            await other.connect("pierre", "true", PATIENCE)


async def test_where_nobody_answers_it_says_so(guest: Guest) -> None:
    with pytest.raises(ShellUnavailable):
        await replace(guest.shell, port=1).connect("pierre", "true", PATIENCE)


async def test_a_command_that_takes_no_input_is_heard_all_the_same(guest: Guest) -> None:
    assert await guest.shell.ask("pierre", "exec <&-; echo done", b"x" * 10**6, 10) == b"done\n"


async def test_no_secret_is_in_what_is_printed_of_it(guest: Guest) -> None:
    assert guest.shell.secret not in repr(guest.shell)
