"""Which host takes a machine. Pure: rooms in, choice out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Strategy(StrEnum):
    SPREAD = "spread"
    PACK = "pack"


@dataclass(frozen=True)
class Need:
    """What a machine asks of its host; a disk of 0 GiB asks for none, as it has one already."""

    vcpus: int
    memory_mib: int
    disk_gib: int
    labels: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Room:
    """What a host may still promise. Counted from what is claimed, not from what happens to be idle."""

    host: int
    vcpus: float
    memory_mib: int
    disk_gib: float
    labels: frozenset[str] = frozenset()

    def fits(self, need: Need) -> bool:
        powered = self.vcpus >= need.vcpus and self.memory_mib >= need.memory_mib
        stored = not need.disk_gib or self.disk_gib >= need.disk_gib
        return powered and stored and need.labels <= self.labels


def choose(rooms: Iterable[Room], need: Need, strategy: Strategy = Strategy.SPREAD) -> Room | None:
    """Of the hosts that fit, the roomiest (SPREAD) or the fullest (PACK), by memory, then CPUs; None when none fits.

    A host with labels that the machine does not need comes after those without: it is kept for machines that do.
    """
    sign = -1 if strategy is Strategy.SPREAD else 1
    return min(
        (room for room in rooms if room.fits(need)),
        key=lambda room: (len(room.labels - need.labels), sign * room.memory_mib, sign * room.vcpus, room.host),
        default=None,
    )
