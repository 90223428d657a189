"""Pure: a machine's facts to libvirt's domain XML, and back. Imports nothing but an XML builder.

The elements are libvirt's (https://libvirt.org/formatdomain.html). What a person typed reaches them only through the
builder, which escapes it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from uuid import UUID

from lxml import etree
from lxml.builder import E, ElementMaker

from instances.drivers.base import Console, InstanceSpec, Virtualisation

NAMESPACE = "urn:x-visa:domain:1"
_OURS = ElementMaker(namespace=NAMESPACE, nsmap={"visa": NAMESPACE})
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True)

# `max` makes memory copies four times slower under emulation. An old Opteron is one that Linux does not protect against
# Meltdown, which would cost every system call; with these features it is the x86-64-v2 that Debian's NumPy wants.
EMULATED_CPU = "Opteron_G3"
EMULATED_FEATURES = ("ssse3", "sse4.1", "sse4.2")
# QEMU's translation cache otherwise takes up to 1 GiB beyond the guest's memory.
TRANSLATION_CACHE_MIB = 128
# SeaBIOS and Linux walk fewer bridges than on q35, which emulation feels.
MACHINE = "pc"


@dataclass(frozen=True)
class Platform:
    """How a host runs guests: libvirt's domain type ("kvm", "qemu"; its own test driver says "test") and machine."""

    domain_type: str
    arch: str = "x86_64"


@dataclass(frozen=True)
class Owned:
    """What our metadata element says of a domain."""

    uuid: UUID
    generation: int
    deployment: UUID


@dataclass(frozen=True)
class DomainFacts:
    """What is read back from the XML of one of our domains. `address` is the one its filter lets it use."""

    owned: Owned
    mac: str
    address: str
    console: Console | None


def domain_name(uuid: UUID) -> str:
    return f"visa-{uuid}"


def mac_address(uuid: UUID) -> str:
    """A locally administered unicast address (IEEE 802, 8.2.2) that follows from the machine's UUID: 40 bits of it."""
    return ":".join(["52", *(f"{byte:02x}" for byte in hashlib.sha256(uuid.bytes).digest()[:5])])


def platform_of(capabilities: str, wanted: Virtualisation, *, kvm_works: bool) -> Platform | None:
    """Choose from a host's capabilities XML; None where it does not offer what is wanted.

    AUTO takes KVM only where it is offered and `kvm_works`.
    """
    offers = [
        (str(arch.get("name")), str(domain.get("type")))
        for arch in etree.fromstring(capabilities, _PARSER).iterfind("guest/arch")
        for domain in arch.iterfind("domain")
    ]
    ours = [kind for arch, kind in offers if arch == "x86_64"]
    if not ours:
        return Platform(offers[0][1], offers[0][0]) if offers else None
    use_kvm = wanted is Virtualisation.KVM or (wanted is Virtualisation.AUTO and kvm_works and "kvm" in ours)
    kind = "kvm" if use_kvm else "qemu"
    return Platform(kind) if kind in ours else None


@dataclass(frozen=True)
class Wiring:
    """The names that a machine's parts have on its host."""

    disk_path: str
    seed_path: str
    network: str
    network_filter: str
    address: str
    console_address: str = "127.0.0.1"


def domain_xml(spec: InstanceSpec, deployment: UUID, platform: Platform, wiring: Wiring) -> str:
    """The persistent definition of one machine, with the console's password in it: treat the text as a secret."""
    root = E.domain(
        E.name(domain_name(spec.uuid)),
        E.uuid(str(spec.uuid)),
        E.title(printable(spec.title)),
        E.metadata(
            _OURS.instance(uuid=str(spec.uuid), generation=str(spec.generation), deployment=str(deployment)),
        ),
        E.memory(str(spec.memory_mib), unit="MiB"),
        E.vcpu(str(spec.vcpus)),
        E.os(E.type("hvm", arch=platform.arch, machine=MACHINE), E.boot(dev="hd")),
        _features(platform),
        _cpu(platform),
        E.clock(E.timer(name="rtc", tickpolicy="catchup"), E.timer(name="hpet", present="no"), offset="utc"),
        E.on_poweroff("destroy"),
        E.on_reboot("restart"),
        E.on_crash("destroy"),
        _devices(spec, wiring),
        type=platform.domain_type,
    )
    return etree.tostring(root, pretty_print=True, encoding="unicode")


def printable(text: str) -> str:
    """One line that XML 1.0 can hold: libvirt refuses titles with line breaks, XML refuses control characters."""
    kept = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(kept.split()) or "-"


def _features(platform: Platform) -> etree._Element:
    features = E.features(E.acpi(), E.apic())
    if platform.domain_type == "qemu":
        features.append(E.tcg(E("tb-cache", str(TRANSLATION_CACHE_MIB), unit="MiB")))
    return features


def _cpu(platform: Platform) -> etree._Element:
    if platform.domain_type == "kvm":
        return E.cpu(mode="host-passthrough", check="none", migratable="on")
    features = [E.feature(policy="require", name=name) for name in EMULATED_FEATURES]
    return E.cpu(E.model(EMULATED_CPU, fallback="forbid"), *features, mode="custom", match="exact", check="none")


def _devices(spec: InstanceSpec, wiring: Wiring) -> etree._Element:
    return E.devices(
        _disk(wiring.disk_path),
        _seed(wiring.seed_path),
        _interface(spec, wiring),
        E.controller(type="usb", model="qemu-xhci"),
        E.input(type="tablet", bus="usb"),
        E.input(type="keyboard", bus="usb"),
        _graphics(spec, wiring),
        E.video(E.model(type="vga", vram="16384")),
        E.serial(E.target(port="0"), type="pty"),
        E.console(E.target(type="serial", port="0"), type="pty"),
        E.channel(E.target(type="virtio", name="org.qemu.guest_agent.0"), type="unix"),
        E.rng(E.backend("/dev/urandom", model="random"), model="virtio"),
        E.memballoon(model="virtio", freePageReporting="on"),
    )


def _disk(path: str) -> etree._Element:
    # The format is always named: a probed one would let a guest that owns the bytes choose a backing file.
    # Write-back honours the guest's flushes, and lets all machines share the base image in the host's page cache.
    return E.disk(
        E.driver(name="qemu", type="qcow2", cache="writeback", discard="unmap", detect_zeroes="unmap"),
        E.source(file=path),
        E.target(dev="vda", bus="virtio"),
        type="file",
        device="disk",
    )


def _seed(path: str) -> etree._Element:
    return E.disk(
        E.driver(name="qemu", type="raw"),
        E.source(file=path),
        E.target(dev="hda", bus="ide"),
        E.readonly(),
        type="file",
        device="cdrom",
    )


def _interface(spec: InstanceSpec, wiring: Wiring) -> etree._Element:
    return E.interface(
        E.mac(address=mac_address(spec.uuid)),
        E.source(network=wiring.network),
        E.model(type="virtio"),
        E.port(isolated="yes"),
        E.filterref(E.parameter(name="IP", value=wiring.address), filter=wiring.network_filter),
        type="network",
    )


def _graphics(spec: InstanceSpec, wiring: Wiring) -> etree._Element:
    # No keymap: with one, QEMU would guess at keys that the guest's own layout already explains.
    return E.graphics(
        E.listen(type="address", address=wiring.console_address),
        type="vnc",
        port="-1",
        autoport="yes",
        passwd=spec.console_password,
        sharePolicy="ignore",
    )


def read_owned(metadata: str) -> Owned | None:
    """From our metadata element as XML; None where it is not well-formed or not ours."""
    return _owned(etree.fromstring(metadata, _PARSER))


def _owned(element: etree._Element) -> Owned | None:
    try:
        return Owned(UUID(element.get("uuid")), int(element.get("generation", "")), UUID(element.get("deployment")))
    except (ValueError, TypeError):
        return None


def read_domain(xml: str) -> DomainFacts | None:
    """From a domain's XML; None for a domain that does not carry our metadata."""
    root = etree.fromstring(xml, _PARSER)
    element = root.find(f"metadata/{{{NAMESPACE}}}instance")
    owned = None if element is None else _owned(element)
    if owned is None:
        return None
    return DomainFacts(owned, _attribute(root, "devices/interface/mac", "address"), _address(root), _console(root))


def _attribute(root: etree._Element, path: str, name: str) -> str:
    element = root.find(path)
    return "" if element is None else element.get(name, "")


def _address(root: etree._Element) -> str:
    return _attribute(root, "devices/interface/filterref/parameter[@name='IP']", "value")


def _console(root: etree._Element) -> Console | None:
    graphics = root.find("devices/graphics[@type='vnc']")
    if graphics is None or not graphics.get("port", "-1").isdigit():
        return None
    return Console(graphics.get("listen", "127.0.0.1"), int(graphics.get("port", "")))
