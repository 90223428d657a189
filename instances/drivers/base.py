"""The driver contract: what the workers and the observer may ask of a virtualisation host.

A driver knows no models, no Django settings and no Celery. It is given plain values and gives plain values back, so
that one suite of tests can hold every driver to the same promises.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from threading import Event
from typing import Protocol
from uuid import UUID


def gettext_noop(sentence: str) -> str:
    """Mark a sentence for translators, whose tools look for this name; it is translated where somebody reads it."""
    return sentence


class DriverError(Exception):
    """A host refused or failed. The message is a sentence that the machine's owner may read, marked for translation.

    Values would hide a sentence from its translation: they stand as `detail` on a line below it, as a further sentence
    may. `permanent` says that trying again cannot help (a broken image, a flavour larger than the host).
    """

    def __init__(self, sentence: str, detail: str = "", *, permanent: bool = False) -> None:
        super().__init__(f"{sentence}\n{detail}" if detail else sentence)
        self.permanent = permanent


class HostUnreachable(DriverError):
    """The host did not answer; the same call may succeed later."""


class Virtualisation(StrEnum):
    """How guests run on a host: AUTO takes KVM where it works, emulation elsewhere."""

    AUTO = "auto"
    KVM = "kvm"
    EMULATION = "qemu"


GUEST_PORTS = (22, 5901, 8888)
"""Where machines of our own images are reached: ssh, the desktop, JupyterLab."""


@dataclass(frozen=True)
class HostSpec:
    """How to reach a host, and the names of what is ours on it.

    `deployment` marks our domains among others' on a shared libvirt: a driver sees no domain of another deployment.
    `console_address` is where consoles listen, on another computer than ours with TLS (vnc_tls in its qemu.conf).
    `blocked_networks` are CIDR ranges that guests may not reach (the host's own addresses, the facility's inner nets);
    `guest_ports` are the TCP ports at which relays on the host reach a guest.
    """

    uri: str
    deployment: UUID
    pool_name: str = "visa"
    pool_path: str = "/var/lib/libvirt/images/visa"
    network_name: str = "visa"
    network_cidr: str = "10.213.0.0/20"
    virtualisation: Virtualisation = Virtualisation.AUTO
    blocked_networks: tuple[str, ...] = ()
    guest_ports: tuple[int, ...] = GUEST_PORTS
    console_address: str = "127.0.0.1"


@dataclass(frozen=True)
class BaseImage:
    """A bootable qcow2 file where the worker runs, and the SHA-256 of its bytes, which names it on every host."""

    path: str
    sha256: str
    virtual_size_gib: int


@dataclass(frozen=True)
class Persona:
    """Whose machine it is: the facts that guest/ turns into an account, a desktop and its services.

    It is handed to the guest as one JSON document (`seed.persona_document`). `vnc_password` has 8 characters at most
    (RFC 6143, 7.2.2). `keyboard` is an XKB layout such as `fr` or `ch(fr)`. `ssh_authority` is the public key whose
    certificates open the owner's account, `ssh_host_key` the private one that the machine proves itself with.
    """

    hostname: str
    account: str
    full_name: str
    uid: int
    gid: int
    screen_width: int
    screen_height: int
    keyboard: str
    timezone: str
    language: str
    vnc_password: str = field(repr=False)
    jupyter_token: str = field(repr=False)
    ssh_keys: tuple[str, ...] = ()
    boot_commands: str = ""
    ssh_authority: str = ""
    ssh_host_key: str = field(default="", repr=False)


@dataclass(frozen=True)
class InstanceSpec:
    """Everything a host needs to make one machine. `generation` rises when a machine is built anew."""

    uuid: UUID
    generation: int
    title: str
    base: BaseImage
    vcpus: int
    memory_mib: int
    disk_gib: int
    console_password: str = field(repr=False)
    persona: Persona


class Power(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"
    CRASHED = "crashed"


@dataclass(frozen=True)
class Console:
    """Where QEMU's own VNC server of a running domain listens, as seen from the host's side."""

    host: str
    port: int


@dataclass(frozen=True)
class DomainStatus:
    """What the host says of one of our domains at one moment."""

    uuid: UUID
    generation: int
    power: Power
    addresses: tuple[str, ...] = ()
    console: Console | None = None
    hibernated: bool = False
    cpu_seconds: float = 0.0


@dataclass(frozen=True)
class Activity:
    """What works in a guest, in the guest's own words, "" where there is none.

    `job` is what somebody declared (`visa-busy`) or left running in a terminal, `busiest` the program that used most of
    the processor since the last question.
    """

    job: str = ""
    busiest: str = ""


@dataclass(frozen=True)
class Capacity:
    """What a host has and what is free of it now. CPUs are counted in host threads, memory in MiB, disk in GiB."""

    cpus: int
    memory_mib: int
    memory_free_mib: int
    disk_gib: int
    disk_free_gib: int
    virtualisation: Virtualisation
    version: str


@dataclass(frozen=True)
class Leftover:
    """A volume in our pool that no domain uses, and what it takes of the host's disk."""

    name: str
    size_bytes: int


@dataclass(frozen=True)
class DomainEvent:
    """Something happened to one of our domains; look at it with `observe`."""

    uuid: UUID
    what: str
    at: datetime


class Driver(Protocol):
    """One open host. Verbs are idempotent: what is already so is success. All may raise DriverError.

    No call waits longer than its deadline for libvirt; `stop` without force only asks, and returns at once.
    """

    def prepare(self) -> None:
        """Pool, network and filters of ours exist and run afterwards."""

    def provide(self, base: BaseImage, progress: Callable[[int, int], None] | None = None) -> None:
        """The base image lies in the pool, read-only, checked by its hash. `progress(done_bytes, all_bytes)`."""

    def create(self, spec: InstanceSpec, step: Callable[[str], None] | None = None) -> None:
        """Disk, seed and domain exist afterwards. `step` is told "image", "disk", "seed", "domain" as each begins.

        When it fails, nothing half-made stays on the host.
        """

    def holds(self, uuid: UUID) -> bool:
        """Whether anything of this machine, a domain or a disk, is on the host."""

    def disk_bytes(self, uuid: UUID) -> int:
        """The size of the file that is the machine's disk."""

    def read_disk(self, uuid: UUID) -> Iterator[bytes]:
        """The bytes of that file, piece by piece. The machine must be off."""

    def receive(self, spec: InstanceSpec, size: int, disk: Iterable[bytes], progress: Callable[[int], None]) -> None:
        """The machine is here, off, with this disk of `size` bytes, which was read back and compared.

        What an earlier attempt left of the machine is removed first. The base image must be there. `progress(done)`.
        """

    def start(self, uuid: UUID) -> None:
        """The domain runs; a hibernated one resumes with its memory."""

    def stop(self, uuid: UUID, *, force: bool = False) -> None:
        """Ask the guest to power off, or with `force` take the power away."""

    def reboot(self, uuid: UUID, *, force: bool = False) -> None:
        """Ask the guest to restart, or with `force` press reset."""

    def hibernate(self, uuid: UUID) -> None:
        """Memory is on disk, CPU and memory are returned to the host."""

    def destroy(self, uuid: UUID) -> None:
        """No domain, disk, seed or saved memory of this machine is left; absent is success."""

    def observe(self, only: Collection[UUID] | None = None) -> list[DomainStatus]:
        """Every domain that carries this deployment's metadata; or those of `only` that there are."""

    def activity(self, uuid: UUID) -> Activity:
        """What works in the guest; nothing where no agent answers. One whose agent hangs costs two seconds."""

    def leftovers(self) -> list[Leftover]:
        """Volumes in our pool that belong to no domain and are no base image, by name."""

    def capacity(self) -> Capacity: ...

    def watch(self, callback: Callable[[DomainEvent | None], None], stop: Event) -> None:
        """Call back for each lifecycle event until `stop` is set; with None when a full look is due (at the start and

        after every reconnection). Blocks; reconnects by itself.
        """

    def close(self) -> None: ...
