"""Which host takes a machine. Pure: rooms in, choice out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    vcpus: int
    memory_mib: int
    disk_gib: int


@dataclass(frozen=True)
class Room:
    """What a host may still promise. Counted from what is claimed, not from what happens to be idle."""

    host: int
    vcpus: float
    memory_mib: int
    disk_gib: float

    def fits(self, need: Need) -> bool:
        return self.vcpus >= need.vcpus and self.memory_mib >= need.memory_mib and self.disk_gib >= need.disk_gib


def choose(rooms: Iterable[Room], need: Need) -> Room | None:
    """The roomiest host that fits (by memory, then CPUs), so that machines spread; None when all are full."""
    fitting = [room for room in rooms if room.fits(need)]
    return max(fitting, key=lambda room: (room.memory_mib, room.vcpus, -room.host), default=None)
