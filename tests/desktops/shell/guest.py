"""A machine's SSH server and terminal, started as the image would start them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from desktops.shell.ssh import Shell
from instances import trust
from instances.models import ImageProtocol, Instance, Protocol
from tests.flows.installation import free_port
from tests.guest.machine import Machine, new_machine
from tests.guest.test_personalise import MARIE

SECRET = "the secret of Alice's machine"


@dataclass(frozen=True)
class Guest:
    machine: Machine
    port: int

    @property
    def shell(self) -> Shell:
        return Shell("127.0.0.1", self.port, 1, SECRET)


@contextmanager
def a_guest(folder: Path) -> Iterator[Guest]:
    """A machine whose account is `mcurie`, in a new folder."""
    if os.geteuid() != 0:
        pytest.skip("makes accounts in namespaces, which only root may")
    machine, port = new_machine(folder), free_port()
    authority, host = trust.authority_key(SECRET, 1), trust.host_key(SECRET, 1)
    keys = {"ssh_authority": trust.public_line(authority), "ssh_host_key": trust.private_text(host)}
    with machine.serving(MARIE | keys, port):
        yield Guest(machine, port)


def put_behind(machine: Instance, guest: Guest) -> None:
    """Let the row say that this is what answers at the machine."""
    ImageProtocol.objects.filter(image=machine.plan.image, kind=Protocol.SSH).update(port=guest.port)
    Instance.objects.filter(pk=machine.pk).update(address="127.0.0.1", ssh_secret=SECRET)
