"""Specs of machines for the drivers' tests, and a second pair of eyes on a host."""

import dataclasses
import hashlib
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import libvirt

from instances.drivers.base import BaseImage, HostSpec, InstanceSpec, Persona

PERSONA = Persona(
    hostname="lyrebird",
    account="alice",
    full_name="Alice Martin",
    uid=12001,
    gid=12001,
    screen_width=1280,
    screen_height=800,
    keyboard="fr",
    timezone="Europe/Paris",
    language="fr_FR.UTF-8",
    vnc_password="vnc-pass",
    jupyter_token="jupyter-token",
    ssh_keys=("ssh-ed25519 AAAAC3Nz alice@desk",),
    boot_commands="echo hello\n",
    ssh_authority="ssh-ed25519 AAAAC3Authority",
    ssh_host_key="the machine's private key",
)


def blank_image(path: Path, size_gib: int = 1) -> BaseImage:
    """A sound qcow2 file with nothing on it: a machine made of it stops at its firmware."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), f"{size_gib}G"], check=True)
    return BaseImage(str(path), sha256_of(path), size_gib)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def a_spec(base: BaseImage, uuid: UUID | None = None, **changed: Any) -> InstanceSpec:
    spec = InstanceSpec(
        uuid=uuid or uuid4(),
        generation=1,
        title="Alice's lyrebird",
        base=base,
        vcpus=1,
        memory_mib=64,
        disk_gib=2,
        console_password="console!",
        persona=PERSONA,
    )
    return dataclasses.replace(spec, **changed)


class Eyes:
    """What anybody with libvirt's own tools would see on a host."""

    def __init__(self, spec: HostSpec) -> None:
        self.spec = spec
        self.connection = libvirt.open(spec.uri)

    def close(self) -> None:
        self.connection.close()

    def domains(self) -> set[str]:
        return {domain.name() for domain in self.connection.listAllDomains()}

    def volumes(self) -> set[str]:
        pool = self.connection.storagePoolLookupByName(self.spec.pool_name)
        return {volume.name() for volume in pool.listAllVolumes()}

    def volume(self, name: str) -> libvirt.virStorageVol:
        return self.connection.storagePoolLookupByName(self.spec.pool_name).storageVolLookupByName(name)

    def volume_path(self, name: str) -> Path:
        return Path(self.volume(name).path())

    def network(self) -> str:
        return str(self.connection.networkLookupByName(self.spec.network_name).XMLDesc())

    def xml(self, uuid: UUID) -> str:
        return str(self.connection.lookupByUUIDString(str(uuid)).XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE))

    def of(self, uuid: UUID) -> set[str]:
        """Every trace of one machine."""
        return {name for name in self.domains() | self.volumes() if str(uuid) in name}

    def define_foreign(self, name: str) -> UUID:
        """Somebody else's domain."""
        uuid = uuid4()
        kind = "test" if self.spec.uri.startswith("test") else "qemu"
        self.connection.defineXML(
            f"<domain type='{kind}'><name>{name}</name><uuid>{uuid}</uuid><memory>65536</memory>"
            "<os><type>hvm</type></os></domain>"
        )
        return uuid

    def undefine(self, uuid: UUID) -> None:
        self.connection.lookupByUUIDString(str(uuid)).undefine()
