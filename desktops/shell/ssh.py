"""The way into a machine over SSH as its owner's account, without a key or password of anybody. asyncio only.

For each connection a key is made and a certificate signed that opens one account for one command and some minutes. Both
live in this process's memory and end with the connection. Who answers must prove to be the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from instances import trust

ACCOUNT = "visa-owner"
"""The owner's account under its second name (guest/files/usr/lib/visa/second-name)."""

VALID = 300
"""Seconds after which a certificate opens nothing more; it is needed for the first of them."""

WINDOW = 128 * 1024
"""Bytes that the machine may send before we took what it sent earlier (RFC 4254, 5.2)."""

KEEPALIVE = 15
"""Seconds of silence after which the machine is asked whether it is there; at the third question it is not."""


SHELL_PATIENCE = 20.0
"""Seconds in which a machine's SSH server must have let us in; an emulated one takes some for the arithmetic."""


class ShellUnavailable(Exception):
    """Nobody answers there, or not in time, or it is not the machine, or it does not take our certificate."""


@dataclass(frozen=True)
class Shell:
    """Where a machine's SSH server is, and the secret behind `instances.trust`."""

    host: str
    port: int
    generation: int
    secret: str = field(repr=False)

    async def connect(self, who: str, command: str, timeout: float) -> asyncssh.SSHClientConnection:  # noqa: ASYNC109 - asyncssh bounds several waits by it
        """A connection that may run `command` and nothing else; the guest's log says that `who` came.

        Raises ShellUnavailable.
        """
        try:
            return await asyncssh.connect(self.host, self.port, **self.credentials(who, command), **_plain(timeout))
        except (asyncssh.Error, OSError) as cause:
            raise ShellUnavailable(f"No shell opens at {self.host}:{self.port}: {cause!r}") from cause

    async def ask(self, who: str, command: str, asked: bytes, most: int) -> bytes:
        """What `command` prints when `asked` is its input, or the first `most` bytes of it. Raises ShellUnavailable."""
        connection = await self.connect(who, command, SHELL_PATIENCE)
        try:
            async with asyncio.timeout(SHELL_PATIENCE):
                process = await connection.create_process(encoding=None)
                with contextlib.suppress(BrokenPipeError):  # it may end without reading what it was asked
                    process.stdin.write(asked)
                    process.stdin.write_eof()
                return await _first_of(process.stdout, most)
        except (asyncssh.Error, OSError) as cause:
            raise ShellUnavailable(f"{command} does not answer at {self.host}:{self.port}: {cause!r}") from cause
        finally:
            connection.abort()

    def credentials(self, who: str, command: str) -> dict[str, Any]:
        """What asyncssh is told of whom we are, and of who must answer."""
        authority = asyncssh.import_private_key(trust.private_text(trust.authority_key(self.secret, self.generation)))
        host = asyncssh.import_public_key(trust.public_line(trust.host_key(self.secret, self.generation)))
        key = asyncssh.generate_private_key("ssh-ed25519")
        # Valid from ever: the clock of a machine that slept is behind until it was set.
        certificate = authority.generate_user_certificate(
            key,
            key_id=who,
            principals=[ACCOUNT],
            valid_before=int(time.time()) + VALID,
            force_command=command,
            permit_x11_forwarding=False,
            permit_agent_forwarding=False,
            permit_port_forwarding=False,
            permit_user_rc=False,
        )
        return {
            "username": ACCOUNT,
            "client_keys": [(key, certificate)],
            "known_hosts": ([host], [], []),
            "server_host_key_algs": ["ssh-ed25519"],
        }


async def _first_of(reader: asyncssh.SSHReader[bytes], most: int) -> bytes:
    said = b""
    while len(said) < most and (data := await reader.read(most - len(said))):
        said += data
    return said


def _plain(timeout: float) -> dict[str, Any]:
    """Nothing of what asyncssh would take from the account that VISA runs under."""
    return {
        "config": None,
        "agent_path": None,
        "gss_host": None,
        "preferred_auth": "publickey",
        "compression_algs": None,
        "connect_timeout": timeout,
        "login_timeout": timeout,
        "keepalive_interval": KEEPALIVE,
    }
