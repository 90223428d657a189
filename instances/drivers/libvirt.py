"""The libvirt driver: the one file that imports libvirt.

No handle of a domain is kept between calls. Every verb looks its domain up by UUID and acts on what it finds, so that
a verb may be repeated after any failure, by any worker.
"""

from __future__ import annotations

import hashlib
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from io import BytesIO
from ipaddress import ip_address
from pathlib import Path
from threading import Event
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import libvirt
import libvirt_qemu

from instances.drivers import agent, storage, streams
from instances.drivers import domain as domains
from instances.drivers import network as networks
from instances.drivers.base import (
    Activity,
    BaseImage,
    Capacity,
    Console,
    DomainEvent,
    DomainStatus,
    DriverError,
    HostSpec,
    HostUnreachable,
    InstanceSpec,
    Leftover,
    Power,
    Virtualisation,
)
from instances.drivers.base import gettext_noop as _
from instances.drivers.patience import Patient
from instances.drivers.seed import seed_iso

log = logging.getLogger(__name__)

_OPEN_S = 15.0
_KEEPALIVE_S, _KEEPALIVE_MISSES = 5, 4
_FIRST_RETRY_S, _LAST_RETRY_S = 0.25, 10.0
_CHECK_ALIVE_S = 2.0
_READ_ANEW_S = 60.0
_AGENT_S, _AGENT_LOOK_S = 2, 0.2
_Looked = tuple[libvirt.virDomain, dict[str, Any]]
_STATS = libvirt.VIR_DOMAIN_STATS_STATE | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL

_POWER: Final[dict[int, Power]] = {
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: Power.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Power.PAUSED,
    libvirt.VIR_DOMAIN_CRASHED: Power.CRASHED,
}
_EVENTS: Final[dict[int, str]] = {
    libvirt.VIR_DOMAIN_EVENT_DEFINED: "defined",
    libvirt.VIR_DOMAIN_EVENT_UNDEFINED: "undefined",
    libvirt.VIR_DOMAIN_EVENT_STARTED: "started",
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_RESUMED: "resumed",
    libvirt.VIR_DOMAIN_EVENT_STOPPED: "stopped",
    libvirt.VIR_DOMAIN_EVENT_SHUTDOWN: "shutdown",
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: "suspended",
    libvirt.VIR_DOMAIN_EVENT_CRASHED: "crashed",
}

# Codes that speak of the way to the host, whatever was asked of it.
_UNREACHABLE = {
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_AUTH_FAILED,
    libvirt.VIR_ERR_AUTH_CANCELLED,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_GNUTLS_ERROR,
    libvirt.VIR_ERR_LIBSSH,
}
_WAYS = {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}
_BROKEN_WAY = {libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_OPERATION_FAILED}

# What libvirt's text tells about a cause that an owner can understand.
_CAUSES = {
    "No space left on device": _("The host's disk is full."),
    "Cannot allocate memory": _("The host has no memory left."),
    "cannot set up guest memory": _("The host has no memory left."),
    "is already in use by interface": _("The range chosen for machines' addresses is already in use there."),
}


_SILENT = _("The host that runs this machine does not answer at the moment.")


class _Loop:
    """libvirt's own event loop, in one thread of this process; events, keepalives and closures need it running."""

    lock = threading.Lock()
    process: int | None = None

    @classmethod
    def ensure(cls) -> None:
        """Must come before the first connection of the process."""
        with cls.lock:
            if cls.process == os.getpid():
                return
            if cls.process is not None:
                raise RuntimeError("libvirt was opened before this process was forked; open it only in the child")
            libvirt.registerErrorHandler(lambda _context, _error: None, None)
            libvirt.virEventRegisterDefaultImpl()
            threading.Thread(target=cls._run, name="libvirt-events", daemon=True).start()
            cls.process = os.getpid()

    @staticmethod
    def _run() -> None:
        while True:
            try:
                libvirt.virEventRunDefaultImpl()
            except libvirt.libvirtError as error:
                log.error("libvirt's event loop stumbled: %s", error)


def _is_unreachable(error: libvirt.libvirtError) -> bool:
    code, source = error.get_error_code(), error.get_error_domain()
    return code in _UNREACHABLE or (source in _WAYS and code in _BROKEN_WAY)


def _translated(error: libvirt.libvirtError, sentence: str) -> DriverError:
    log.warning("%s (libvirt %s/%s: %s)", sentence, error.get_error_domain(), error.get_error_code(), error)
    if _is_unreachable(error):
        return HostUnreachable(_SILENT)
    text = str(error)
    cause = next((cause for part, cause in _CAUSES.items() if part in text), "")
    return DriverError(sentence, cause)


@contextmanager
def _explained(sentence: str) -> Iterator[None]:
    """What libvirt raises within goes to the log; the caller gets a DriverError with this sentence."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise _translated(error, sentence) from error


def _unless(codes: int | set[int], call: Callable[..., Any], *arguments: Any) -> Any:
    """The call's answer, or None where it failed with one of these codes."""
    expected = {codes} if isinstance(codes, int) else codes
    try:
        return call(*arguments)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in expected:
            raise
        return None


def _if_supported(call: Callable[..., Any], *arguments: Any) -> Any:
    """The call's answer, or None on hosts whose libvirt driver has no such call."""
    return _unless(libvirt.VIR_ERR_NO_SUPPORT, call, *arguments)


def _connect(uri: str) -> libvirt.virConnect:
    connection = libvirt.open(uri)
    _if_supported(connection.setKeepAlive, _KEEPALIVE_S, _KEEPALIVE_MISSES)
    return connection


_opening = Patient(_connect)


def _open(uri: str) -> libvirt.virConnect:
    """Keepalives end a call to a host that fell silent; opening one that is silent already has no end of its own."""
    _Loop.ensure()
    try:
        connection = _opening(uri, _OPEN_S)
    except (libvirt.libvirtError, TimeoutError) as error:
        log.warning("%r does not open: %r", uri, error)
        raise HostUnreachable(_SILENT) from error
    if not connection.isAlive():  # it came too late for somebody else, and has ended since
        raise HostUnreachable(_SILENT)
    return connection


def _close(connection: libvirt.virConnect | None) -> None:
    with suppress(libvirt.libvirtError):
        if connection is not None:
            connection.close()


class LibvirtDriver:
    """One libvirt host (instances.drivers.base.Driver). Safe to share between threads, never across a fork."""

    def __init__(self, spec: HostSpec) -> None:
        self.spec = spec
        self._lock = threading.Lock()
        self._connection: libvirt.virConnect | None = None
        self._read: dict[tuple[bytes, int], domains.DomainFacts | None] = {}
        self._read_since = 0.0
        self._host()

    def _host(self) -> libvirt.virConnect:
        """The open connection, opened anew when the last one died."""
        with self._lock:
            if self._connection is not None and not self._connection.isAlive():
                _close(self._connection)
                self._connection = None
            if self._connection is None:
                self._connection = _open(self.spec.uri)
            return self._connection

    def close(self) -> None:
        with self._lock:
            _close(self._connection)
            self._connection = None

    # What is ours on the host

    def prepare(self) -> None:
        with _explained(_("The host could not be prepared for machines.")):
            try:
                self._prepare_all()
            except libvirt.libvirtError as error:
                log.info("Another may have prepared %r at the same moment, so once more: %s", self.spec.uri, error)
                self._prepare_all()

    def _prepare_all(self) -> None:
        self._prepare_pool()
        self._prepare_filter(self._prepare_network())

    def _prepare_pool(self) -> libvirt.virStoragePool:
        host = self._host()
        pool = _unless(libvirt.VIR_ERR_NO_STORAGE_POOL, host.storagePoolLookupByName, self.spec.pool_name)
        if pool is None:
            pool = host.storagePoolDefineXML(storage.pool_xml(self.spec.pool_name, self.spec.pool_path), 0)
        if not pool.isActive():
            pool.build(0)
            pool.create(0)
        if not pool.autostart():
            pool.setAutostart(1)
        return pool

    def _prepare_network(self) -> networks.NetworkFacts:
        host, spec = self._host(), self.spec
        network = _unless(libvirt.VIR_ERR_NO_NETWORK, host.networkLookupByName, spec.network_name)
        if network is None:
            xml = networks.network_xml(spec.network_name, spec.network_cidr, spec.deployment)
            network = host.networkDefineXML(xml)
        if not network.isActive():
            network.create()
        if not network.autostart():
            network.setAutostart(1)
        return self._network_facts(network)

    def _network_facts(self, network: libvirt.virNetwork) -> networks.NetworkFacts:
        facts = networks.read_network(network.XMLDesc())
        if facts is None:
            raise DriverError(_("The network on the host gives no IPv4 addresses."), network.name(), permanent=True)
        return facts

    def _prepare_filter(self, network: networks.NetworkFacts) -> None:
        host, name = self._host(), networks.filter_name(self.spec.network_name)
        missing = {libvirt.VIR_ERR_NO_NWFILTER, libvirt.VIR_ERR_NO_SUPPORT}
        existing = _unless(missing, host.nwfilterLookupByName, name)
        uuid = existing.UUIDString() if existing else None
        try:
            wanted = networks.filter_xml(name, network, self.spec.blocked_networks, self.spec.guest_ports, uuid)
        except ValueError as error:
            blocked = ", ".join(self.spec.blocked_networks)
            raise DriverError(_("The blocked networks are not all networks."), blocked, permanent=True) from error
        if existing is None or not networks.same_filter(existing.XMLDesc(), wanted):
            _if_supported(host.nwfilterDefineXML, wanted)

    def _pool(self) -> libvirt.virStoragePool:
        pool = self._host().storagePoolLookupByName(self.spec.pool_name)
        if not pool.isActive():
            pool.create(0)
        return pool

    def _network(self) -> libvirt.virNetwork:
        network = self._host().networkLookupByName(self.spec.network_name)
        if not network.isActive():
            network.create()
        return network

    def _volume(self, name: str) -> libvirt.virStorageVol | None:
        return _unless(libvirt.VIR_ERR_NO_STORAGE_VOL, self._pool().storageVolLookupByName, name)

    # The base image

    def provide(self, base: BaseImage, progress: Callable[[int, int], None] | None = None) -> None:
        """The bytes that make the file a qcow2 are sent last, once all others are there and their hash is right.

        So a copy that was broken off is not a qcow2 file, is never taken for whole, and is simply sent again.
        """
        with _explained(_("The image could not be copied to the host.")):
            volume = self._volume(storage.base_name(base))
            if volume is not None and self._is_whole(volume):
                return
            storage.check_image(base)
            if volume is None:
                xml = storage.raw_volume_xml(storage.base_name(base), Path(base.path).stat().st_size, "0444")
                volume = self._pool().createXML(xml, 0)
            try:
                self._send_image(volume, base, progress or (lambda _done, _all: None))
            except BaseException:  # also when the worker's time is up
                self._discard(volume)
                raise

    def _is_whole(self, volume: libvirt.virStorageVol) -> bool:
        stream = self._host().newStream(0)
        if _if_supported(volume.download, stream, 0, len(storage.MAGIC), 0) is None:
            return True
        received = bytearray()
        stream.recvAll(lambda _stream, data, _opaque: received.extend(data), None)
        stream.finish()
        return bytes(received) == storage.MAGIC

    def _send_image(self, volume: libvirt.virStorageVol, base: BaseImage, progress: Callable[[int, int], None]) -> None:
        size = Path(base.path).stat().st_size
        with Path(base.path).open("rb") as image:
            digest = hashlib.sha256(image.read(len(storage.MAGIC)))

            def read(wanted: int) -> bytes:
                chunk = image.read(wanted)
                digest.update(chunk)
                progress(image.tell(), size)
                return chunk

            self._upload(volume, read, len(storage.MAGIC), size - len(storage.MAGIC))
            while read(1 << 20):  # what a host without uploads did not ask for
                continue
        if digest.hexdigest() != base.sha256:
            raise DriverError(_("The image changed while it was being copied to the host."), permanent=True)
        self._upload(volume, lambda _wanted: storage.MAGIC, 0, len(storage.MAGIC))

    def _upload(self, volume: libvirt.virStorageVol, read: Callable[[int], bytes], offset: int, length: int) -> None:
        """Fill `length` bytes of a volume; `read` gives at most as many bytes as it is asked for."""
        stream = self._host().newStream(0)
        if _if_supported(volume.upload, stream, offset, length, 0) is None:
            return
        left = length

        def give(_stream: object, wanted: int, _opaque: object) -> bytes:
            nonlocal left
            chunk = read(min(wanted, left)) if left else b""
            left -= len(chunk)
            return chunk

        stream.sendAll(give, None)
        stream.finish()

    def _discard(self, volume: libvirt.virStorageVol) -> None:
        """Unless another worker, who sent the same bytes to the same place, has completed it meanwhile."""
        try:
            if not self._is_whole(volume):
                volume.delete(0)
        except libvirt.libvirtError as error:
            log.warning("A volume stays behind on %r: %s", self.spec.uri, error)

    # One machine

    def _find(self, uuid: UUID) -> libvirt.virDomain | None:
        """Our domain of that UUID. Raises a permanent DriverError when it is another deployment's, or nobody's."""
        domain = _unless(libvirt.VIR_ERR_NO_DOMAIN, self._host().lookupByUUID, uuid.bytes)
        if domain is not None and not self._is_ours(domain):
            raise DriverError(_("The host has a machine of this number that is not VISA's own."), permanent=True)
        return domain

    def _owned(self, domain: libvirt.virDomain) -> domains.Owned | None:
        nothing = {libvirt.VIR_ERR_NO_DOMAIN_METADATA, libvirt.VIR_ERR_NO_DOMAIN}
        kind = libvirt.VIR_DOMAIN_METADATA_ELEMENT
        metadata = _unless(nothing, domain.metadata, kind, domains.NAMESPACE, 0)
        return domains.read_owned(metadata) if metadata else None

    def _is_ours(self, domain: libvirt.virDomain) -> bool:
        owned = self._owned(domain)
        return owned is not None and owned.deployment == self.spec.deployment

    def _require(self, uuid: UUID) -> libvirt.virDomain:
        domain = self._find(uuid)
        if domain is None:
            raise DriverError(_("The machine no longer exists on its host."), permanent=True)
        return domain

    def create(self, spec: InstanceSpec, step: Callable[[str], None] | None = None) -> None:
        if spec.base.virtual_size_gib > spec.disk_gib:
            sentence = _("The image needs a larger disk than this size of machine has.")
            raise DriverError(sentence, f"{spec.base.virtual_size_gib} GiB", permanent=True)
        with _explained(_("The machine could not be built on its host.")):
            if self._is_built(spec):
                return
            try:
                self._build(spec, step or (lambda _name: None))
            except BaseException:  # also when the worker's time is up
                self._clean_up(spec.uuid)
                raise

    def _is_built(self, spec: InstanceSpec) -> bool:
        """A domain is defined last, so its presence says that all is. One of an older generation makes way."""
        domain = self._find(spec.uuid)
        if domain is None:
            return False
        owned = self._owned(domain)
        if owned is not None and owned.generation >= spec.generation:
            return True
        self.destroy(spec.uuid)
        return False

    def _build(self, spec: InstanceSpec, step: Callable[[str], None]) -> None:
        step("image")
        self.prepare()
        self.provide(spec.base)
        step("disk")
        disk = self._build_disk(spec)
        step("seed")
        self._build_seed(spec)
        step("domain")
        self._define(spec, disk.path())

    def _define(self, spec: InstanceSpec, disk_path: str) -> None:
        seed = self._pool().storageVolLookupByName(storage.seed_name(spec.uuid))
        wiring = domains.Wiring(
            disk_path=disk_path,
            seed_path=seed.path(),
            network=self.spec.network_name,
            network_filter=networks.filter_name(self.spec.network_name),
            address=self._reserve(spec.uuid),
            console_address=self.spec.console_address,
        )
        self._host().defineXML(domains.domain_xml(spec, self.spec.deployment, self._platform(), wiring))

    def _build_disk(self, spec: InstanceSpec) -> libvirt.virStorageVol:
        """No domain means that a disk found here never ran; it serves if it is what would be made now."""
        base = self._pool().storageVolLookupByName(storage.base_name(spec.base)).path()
        name = storage.disk_name(spec.uuid)
        disk = self._volume(name)
        if disk is not None and (
            storage.backing_path(disk.XMLDesc()) != base or disk.info()[1] != spec.disk_gib * storage.GIB
        ):
            disk.delete(0)
            disk = None
        return disk or self._pool().createXML(storage.overlay_xml(name, spec.disk_gib, base), 0)

    def _build_seed(self, spec: InstanceSpec) -> None:
        content, name = seed_iso(spec), storage.seed_name(spec.uuid)
        found = self._volume(name)
        if found is not None:
            found.delete(0)
        seed = self._pool().createXML(storage.raw_volume_xml(name, len(content), "0600"), 0)
        self._upload(seed, BytesIO(content).read, 0, len(content))

    def _reserve(self, uuid: UUID, wanted: str | None = None) -> str:
        """The machine's address, kept for it by our network's DHCP, which lets the filter name it.

        `wanted` is the one its domain was defined with, should the network have been made anew since.
        """
        mac, network = domains.mac_address(uuid), self._network()
        for _attempt in range(5):
            facts = self._network_facts(network)
            if mac in facts.reserved:
                return facts.reserved[mac]
            address = wanted or networks.free_address(facts, mac)
            if address is None:
                raise DriverError(_("The host's network has no address left for another machine."))
            # Refused where another worker took the address, or made this very reservation, a moment ago.
            self._update_network(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, mac, address)
        raise DriverError(_("The machine's address on the host's network is taken by another."))

    def _update_network(self, network: libvirt.virNetwork, command: int, mac: str, address: str) -> None:
        flags = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE | libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG
        section = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
        refused = libvirt.VIR_ERR_OPERATION_INVALID
        _unless(refused, network.update, command, section, -1, networks.reservation_xml(mac, address), flags)

    def _release(self, uuid: UUID) -> None:
        mac = domains.mac_address(uuid)
        network = _unless(libvirt.VIR_ERR_NO_NETWORK, self._network)
        if network is None:
            return
        address = self._network_facts(network).reserved.get(mac)
        if address is not None:
            self._update_network(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, mac, address)

    def _platform(self) -> domains.Platform:
        works = self._kvm_works()
        platform = domains.platform_of(self._host().getCapabilities(), self.spec.virtualisation, kvm_works=works)
        if platform is None:
            sentence = _("The host cannot run machines with the virtualisation that was chosen for it.")
            raise DriverError(sentence, self.spec.virtualisation.value, permanent=True)
        return platform

    def _kvm_works(self) -> bool:
        """Whether AUTO may take KVM: the host's libvirt can pass its CPU through, and here the CPU's own module is in.

        A /dev/kvm without kvm_intel or kvm_amd (a paravirtualised one) opens and then fails to boot stock kernels.
        It can be seen on this computer only; for a host far away libvirt's word is taken, and the operator's choice
        of KVM or EMULATION settles the matter.
        """
        if not urlsplit(self.spec.uri).hostname and not _own_cpu_module():
            return False
        unable = {libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_CONFIG_UNSUPPORTED}
        answer = _unless(unable, self._host().getDomainCapabilities, None, "x86_64", None, "kvm", 0)
        return answer is not None and "<mode name='host-passthrough' supported='yes'>" in answer

    # From one host to another

    def holds(self, uuid: UUID) -> bool:
        with _explained(_("The host could not be looked at.")):
            return self._find(uuid) is not None or self._volume(storage.disk_name(uuid)) is not None

    def disk_bytes(self, uuid: UUID) -> int:
        with _explained(_("The machine's disk could not be read.")):
            disk = self._pool().storageVolLookupByName(storage.disk_name(uuid))
            return int(disk.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])

    def read_disk(self, uuid: UUID) -> Iterator[bytes]:
        with _explained(_("The machine's disk could not be read.")):
            yield from streams.download(self._host(), self._pool().storageVolLookupByName(storage.disk_name(uuid)))

    def receive(self, spec: InstanceSpec, size: int, disk: Iterable[bytes], progress: Callable[[int], None]) -> None:
        self.destroy(spec.uuid)
        with _explained(_("The machine could not be copied to its new host.")):
            try:
                self.prepare()
                volume = self._receive_disk(spec, size, disk, progress)
                self._build_seed(spec)
                self._define(spec, volume.path())
            except BaseException:  # also when the worker's time is up
                self._clean_up(spec.uuid)
                raise

    def _receive_disk(
        self, spec: InstanceSpec, size: int, disk: Iterable[bytes], progress: Callable[[int], None]
    ) -> libvirt.virStorageVol:
        base = self._pool().storageVolLookupByName(storage.base_name(spec.base)).path()
        volume = self._pool().createXML(storage.raw_volume_xml(storage.disk_name(spec.uuid), size, "0600"), 0)
        streams.store(self._host(), volume, size, storage.body(disk, base), progress)
        return volume

    def _clean_up(self, uuid: UUID) -> None:
        """After a failed creation; the failure itself is what the caller hears of."""
        try:
            self.destroy(uuid)
        except DriverError as error:
            log.warning("Parts of machine %s may stay behind on %r: %s", uuid, self.spec.uri, error)

    def start(self, uuid: UUID) -> None:
        with _explained(_("The machine could not be started.")):
            domain = self._require(uuid)
            if domain.isActive():
                if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                    domain.resume()
                return
            facts = domains.read_domain(domain.XMLDesc())
            self._reserve(uuid, facts.address if facts else None)
            self._unless_already(True, domain, domain.create)

    def _unless_already(self, active: bool, domain: libvirt.virDomain, call: Callable[..., Any], *args: Any) -> None:
        """What another made so a moment ago is success."""
        try:
            call(*args)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_OPERATION_INVALID or bool(domain.isActive()) is not active:
                raise

    def stop(self, uuid: UUID, *, force: bool = False) -> None:
        with _explained(_("The machine could not be stopped.")):
            domain = self._require(uuid)
            if not domain.isActive():
                return
            if force:
                self._unless_already(False, domain, domain.destroy)
            else:
                self._unless_already(False, domain, self._ask, domain.shutdownFlags, domain.shutdown)

    def _ask(self, by_button: Callable[[int], Any], plainly: Callable[[], Any]) -> None:
        """By the power button: an agent that hangs would keep the call for a minute. Some drivers know no button."""
        if _unless(libvirt.VIR_ERR_INVALID_ARG, by_button, libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) is None:
            plainly()

    def reboot(self, uuid: UUID, *, force: bool = False) -> None:
        with _explained(_("The machine could not be restarted.")):
            domain = self._require(uuid)
            if not domain.isActive():
                self.start(uuid)
            elif force:
                domain.reset(0)
                if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED:
                    domain.resume()
            else:
                domain.reboot(libvirt.VIR_DOMAIN_REBOOT_ACPI_POWER_BTN)

    def hibernate(self, uuid: UUID) -> None:
        with _explained(_("The machine's memory could not be saved.")):
            domain = self._require(uuid)
            if domain.isActive():
                self._unless_already(False, domain, domain.managedSave, 0)
            elif not domain.hasManagedSaveImage(0):
                raise DriverError(_("The machine is switched off, so there is nothing to save."), permanent=True)

    def destroy(self, uuid: UUID) -> None:
        with _explained(_("The machine could not be removed from its host.")):
            domain = self._find(uuid)
            if domain is not None:
                self._undefine(domain)
            if _unless(libvirt.VIR_ERR_NO_STORAGE_POOL, self._pool) is not None:
                for name in (storage.disk_name(uuid), storage.seed_name(uuid)):
                    volume = self._volume(name)
                    if volume is not None:
                        _unless(libvirt.VIR_ERR_NO_STORAGE_VOL, volume.delete, 0)
            self._release(uuid)

    def _undefine(self, domain: libvirt.virDomain) -> None:
        gone = libvirt.VIR_ERR_NO_DOMAIN
        flags = libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        if "<nvram" in domain.XMLDesc():
            flags |= libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        if domain.isActive():
            self._unless_already(False, domain, domain.destroy)
        _unless(gone, domain.undefineFlags, flags)

    # Looking

    def observe(self, only: Collection[UUID] | None = None) -> list[DomainStatus]:
        if time.monotonic() - self._read_since > _READ_ANEW_S:
            self._read, self._read_since = {}, time.monotonic()
        with _explained(_("The host could not be looked at.")):
            hibernated, looked = self._look_at_all() if only is None else self._look_at(only)
            leases = self._leases() if looked else {}
            found = [self._status(domain, stats, domain.UUID() in hibernated, leases) for domain, stats in looked]
            return [status for status in found if status is not None]

    def _look_at_all(self) -> tuple[set[bytes], list[_Looked]]:
        asleep = self._host().listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)
        looked = self._host().getAllDomainStats(_STATS, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT)
        return {domain.UUID() for domain in asleep}, looked

    def _look_at(self, only: Collection[UUID]) -> tuple[set[bytes], list[_Looked]]:
        absent = libvirt.VIR_ERR_NO_DOMAIN
        there = [_unless(absent, self._host().lookupByUUID, uuid.bytes) for uuid in only]
        found = [domain for domain in there if domain is not None]
        if not found:
            return set(), []  # an empty list would mean all of them
        asleep = {domain.UUID() for domain in found if _unless(absent, domain.hasManagedSaveImage, 0)}
        nowait = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        return asleep, self._host().domainListGetStats(found, _STATS, nowait)

    def _status(
        self, domain: libvirt.virDomain, stats: dict[str, Any], hibernated: bool, leases: dict[str, list[str]]
    ) -> DomainStatus | None:
        power = _power(stats)
        facts = self._facts(domain, power)
        if facts is None or facts.owned.deployment != self.spec.deployment:
            return None
        up = power in {Power.RUNNING, Power.PAUSED}
        return DomainStatus(
            uuid=facts.owned.uuid,
            generation=facts.owned.generation,
            power=power,
            addresses=tuple(leases.get(facts.mac, ())) if up else (),
            console=facts.console if up and self._can_be_watched(facts.console) else None,
            hibernated=hibernated,
            cpu_seconds=stats.get("cpu.time", 0) / 1e9 if up else 0.0,
        )

    def _can_be_watched(self, console: Console | None) -> bool:
        """The loopback of another computer is not ours."""
        far = bool(urlsplit(self.spec.uri).hostname)
        return console is not None and not (far and ip_address(console.host).is_loopback)

    def _facts(self, domain: libvirt.virDomain, power: Power) -> domains.DomainFacts | None:
        """What its definition says: of one run of a domain, or one time at rest, read once in a while.

        While it comes up it is paused, and its ports may not be known yet.
        """
        run = (domain.UUID(), domain.ID())
        if run in self._read:
            return self._read[run]
        xml = _unless(libvirt.VIR_ERR_NO_DOMAIN, domain.XMLDesc, 0)
        facts = domains.read_domain(xml) if xml else None
        if power is not Power.PAUSED:
            self._read[run] = facts
        return facts

    def _leases(self) -> dict[str, list[str]]:
        """Addresses by MAC, the newest lease first."""
        network = _unless(libvirt.VIR_ERR_NO_NETWORK, self._host().networkLookupByName, self.spec.network_name)
        leases = (network and _if_supported(network.DHCPLeases)) or []
        found: dict[str, list[str]] = {}
        for lease in sorted(leases, key=lambda lease: lease["expirytime"], reverse=True):
            addresses = found.setdefault(lease["mac"].lower(), [])
            if lease["ipaddr"] not in addresses:
                addresses.append(lease["ipaddr"])
        return found

    def activity(self, uuid: UUID) -> Activity:
        silent = {
            *(libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED, libvirt.VIR_ERR_INTERNAL_ERROR),
            *(libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_INVALID_ARG),
        }
        with _explained(_("The machine could not be asked for its jobs.")):
            domain = self._find(uuid)
            if domain is None or not domain.isActive():
                return Activity()
            return agent.activity(
                lambda command: _unless(silent, libvirt_qemu.qemuAgentCommand, domain, command, _AGENT_S, 0),
                lambda: time.sleep(_AGENT_LOOK_S),
            )

    def leftovers(self) -> list[Leftover]:
        with _explained(_("The host's disks could not be listed.")):
            machines = {UUID(bytes=domain.UUID()) for domain in self._host().listAllDomains()}
            found = {
                name: _unless(libvirt.VIR_ERR_NO_STORAGE_VOL, volume.info)
                for volume in self._pool().listAllVolumes()
                if not storage.is_base(name := volume.name()) and storage.machine_of(name) not in machines
            }
            return [Leftover(name, info[2]) for name, info in sorted(found.items()) if info]

    def capacity(self) -> Capacity:
        with _explained(_("The host could not be measured.")):
            host = self._host()
            pool = self._prepare_pool()
            # A refresh is refused while a copy to the pool is under way; the figures are then a little old.
            _unless({libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_OPERATION_INVALID}, pool.refresh, 0)
            _state, size, _allocated, free = pool.info()
            memory_mib, memory_free_mib = self._memory_mib()
            is_kvm = self._platform().domain_type == "kvm"
            return Capacity(
                cpus=host.getInfo()[2],
                memory_mib=memory_mib,
                memory_free_mib=memory_free_mib,
                disk_gib=size // storage.GIB,
                disk_free_gib=free // storage.GIB,
                virtualisation=Virtualisation.KVM if is_kvm else Virtualisation.EMULATION,
                version=_version(host),
            )

    def _memory_mib(self) -> tuple[int, int]:
        """All of the host's memory, and what can be had of it at once: unused, or given back by the page cache."""
        host = self._host()
        stats = _if_supported(host.getMemoryStats, libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        if stats is None:
            total = int(host.getInfo()[1])
            return total, total
        free = sum(stats.get(part, 0) for part in ("free", "buffers", "cached"))
        return stats["total"] >> 10, free >> 10

    # Watching

    def watch(self, callback: Callable[[DomainEvent | None], None], stop: Event) -> None:
        wait = _FIRST_RETRY_S
        while not stop.is_set():
            try:
                with _explained(_("The host's events were lost.")), _Watch(self) as watch:
                    wait = _FIRST_RETRY_S
                    callback(None)
                    watch.run(callback, stop)
            except DriverError as error:
                log.warning("Watching %r is interrupted: %s", self.spec.uri, error)
            stop.wait(wait)
            wait = min(wait * 2, _LAST_RETRY_S)


class _Watch:
    """One connection's worth of events. Callbacks of libvirt only fill a queue; the watching thread does the rest."""

    def __init__(self, driver: LibvirtDriver) -> None:
        self._driver = driver
        self._news: queue.SimpleQueue[tuple[libvirt.virDomain, str, datetime] | None] = queue.SimpleQueue()
        self._callbacks: list[int] = []
        self._ours: set[bytes] = set()

    def __enter__(self) -> _Watch:
        self._connection = _open(self._driver.spec.uri)
        try:
            self._listen()
        except libvirt.libvirtError:
            self.__exit__()
            raise
        return self

    def _listen(self) -> None:
        _if_supported(self._connection.registerCloseCallback, lambda *_: self._news.put(None), None)
        for kind, hear in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._hear_lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._hear_reboot),
        ):
            self._callbacks.append(self._connection.domainEventRegisterAny(None, kind, hear, None))
        self._ours = {domain.UUID() for domain in self._connection.listAllDomains() if self._driver._is_ours(domain)}

    def __exit__(self, *_: object) -> None:
        # In this order: a connection closed with callbacks on it is never freed.
        with suppress(libvirt.libvirtError):
            for number in self._callbacks:
                self._connection.domainEventDeregisterAny(number)
            self._connection.unregisterCloseCallback()
        _close(self._connection)

    def _hear_lifecycle(self, _host: object, domain: libvirt.virDomain, event: int, *_: object) -> None:
        self._news.put((domain, _EVENTS.get(event, "changed"), datetime.now(UTC)))

    def _hear_reboot(self, _host: object, domain: libvirt.virDomain, *_: object) -> None:
        self._news.put((domain, "rebooted", datetime.now(UTC)))

    def run(self, callback: Callable[[DomainEvent | None], None], stop: Event) -> None:
        """Until told to stop, or until the connection is lost."""
        while not stop.is_set():
            try:
                news = self._news.get(timeout=_CHECK_ALIVE_S)
            except queue.Empty:
                if not self._connection.isAlive():
                    return
                continue
            if news is None:
                return
            domain, what, at = news
            if self._concerns_us(domain):
                callback(DomainEvent(UUID(bytes=domain.UUID()), what, at))

    def _concerns_us(self, domain: libvirt.virDomain) -> bool:
        """A domain that is already gone cannot be asked whose it was; its name then says whether it may be ours."""
        if domain.UUID() in self._ours:
            return True
        owned = self._driver._owned(domain)
        if owned is None:
            return bool(domain.name() == domains.domain_name(UUID(bytes=domain.UUID())))
        if owned.deployment == self._driver.spec.deployment:
            self._ours.add(domain.UUID())
        return domain.UUID() in self._ours


def _own_cpu_module() -> bool:
    return any(Path("/sys/module", module).exists() for module in ("kvm_intel", "kvm_amd"))


def _power(stats: dict[str, Any]) -> Power:
    state, reason = stats.get("state.state"), stats.get("state.reason")
    if state == libvirt.VIR_DOMAIN_SHUTOFF and reason == libvirt.VIR_DOMAIN_SHUTOFF_CRASHED:
        return Power.CRASHED
    return _POWER.get(int(state or 0), Power.OFF)


def _version(host: libvirt.virConnect) -> str:
    def dotted(number: int) -> str:
        return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"

    return f"libvirt {dotted(host.getLibVersion())}, {host.getType()} {dotted(host.getVersion())}"
