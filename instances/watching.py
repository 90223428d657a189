"""The observer's process: for each host a thread that hears its events, one that looks and one that measures.

One more asks the machines themselves. Only threads can hang in a call to a host: `HostWatch.check` tells when one does.
"""

from __future__ import annotations

import logging
import random
from collections import deque
from contextlib import closing
from threading import Event, Thread
from time import monotonic
from typing import TYPE_CHECKING, ParamSpec

from django.db import DatabaseError, close_old_connections, connection
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_noop

from instances import alive, observer, outages
from instances.drivers import open_host
from instances.drivers.base import Driver, DriverError, HostUnreachable
from instances.models import Host
from instances.specs import host_spec
from instances.states import WORKING
from instances.tasks import for_staff, write_capacity

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    from instances.drivers.base import DomainEvent, DomainStatus

P = ParamSpec("P")
HANGS = gettext_noop("The host took the question and does not answer.")
log = logging.getLogger(__name__)

LOOK_WHILE_WORKING = 1.0
LOOK_AT_REST = 15.0
"""Seconds between looks at machines on their way, and at all; an event is followed by a look at its machine at once."""

SLOW = 5.0
"""Seconds that a full look may take: a host that needs longer twice gets no new machines until it is quick again."""

SILENT = 15.0
"""Seconds after which a look that has not ended counts as silence, whatever the call to the host still waits for."""

APART = 0.5
"""Seconds between the beginnings of two looks at least: a burst of events is one look."""

CAPACITY_EVERY = 30.0
PROBE_EVERY = 0.3
HOSTS_EVERY = 2.0


class HostWatch:
    """Keeps one host in view until `stop`."""

    def __init__(self, host: Host) -> None:
        self.host_id = host.pk
        self.spec = host_spec(host)
        self.stopped = Event()
        self.wake = Event()
        self.misses = 0
        self.slow_looks = 0
        self.well = False
        self.busy = True
        self.full_at = 0.0
        self.working_at = 0.0
        self.heard: deque[UUID] = deque()
        self.unmeasured = Event()
        self.looking_since: float | None = None
        self.threads = [Thread(target=work, daemon=True) for work in (self._listen, self._look, self._measure_on)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.stopped.set()
        self.wake.set()
        self.unmeasured.set()

    @property
    def lives(self) -> bool:
        return all(thread.is_alive() for thread in self.threads)

    def _listen(self) -> None:
        """Hear the host's events; every trouble with it ends in a new try."""
        while not self.stopped.is_set():
            try:
                with closing(open_host(self.spec)) as driver:
                    driver.watch(self._heard, self.stopped)
            except DriverError as error:
                log.warning("host %s: no events: %s", self.host_id, error)
            self.stopped.wait(LOOK_WHILE_WORKING)

    def _heard(self, event: DomainEvent | None) -> None:
        if event is not None and event.what == "rebooted":
            _guarded(observer.rebooted, event.uuid, event.at)
        if event is None:
            self.full_at = 0.0
        else:
            self.heard.append(event.uuid)
        self.wake.set()

    def _look(self) -> None:
        """Look again and again with one open host, opening it anew after trouble."""
        while not self.stopped.is_set():
            self.looking_since = monotonic()
            try:
                with closing(open_host(self.spec)) as driver:
                    self._look_on(driver)
            except HostUnreachable as error:
                self._missed(str(error))
            except DriverError as error:
                log.warning("host %s: %s", self.host_id, error)
            self.looking_since = None
            self.stopped.wait(LOOK_WHILE_WORKING)
        connection.close()

    def _look_on(self, driver: Driver) -> None:
        while not self.stopped.is_set():
            self.wake.clear()
            heard = {self.heard.popleft() for _number in range(len(self.heard))}
            begun = monotonic()
            full, working = begun >= self.full_at, begun >= self.working_at
            if full:
                _guarded(self._settle, driver)
                self.full_at = begun + _about(LOOK_AT_REST)
            elif heard or (working and self.busy):
                _guarded(self._settle_some, driver, heard, working)
            if full or working:
                self.working_at = begun + LOOK_WHILE_WORKING
            if not self.too_slow(monotonic() - begun) and not self.well:
                self.well = True
                self.unmeasured.set()
            self.stopped.wait(max(0.0, begun + APART - monotonic()))
            again_at = min(self.working_at, self.full_at) if self.busy else self.full_at
            self.wake.wait(max(0.0, again_at - monotonic()))

    def too_slow(self, seconds: float) -> bool:
        """Whether this look and the one before took too long; then the host says so and takes no new machines."""
        self.slow_looks = self.slow_looks + 1 if seconds > SLOW else 0
        if self.slow_looks < 2:
            return False
        self.well = False
        _guarded(self._degraded)
        return True

    def check(self) -> None:
        """Called now and then from another thread: a look that hangs in its call to the host is silence, too."""
        since = self.looking_since
        if since is not None and monotonic() - since > SILENT:
            self._silent(HANGS)

    def _degraded(self) -> None:
        Host.objects.filter(pk=self.host_id).update(
            problem=gettext_noop("It answers slowly. It gets no new machines until it is quick again.")
        )

    def _measure_on(self) -> None:
        """Apart from the looks, whom a storage that hangs must not blind; a host that is not well is left in peace."""
        while not self.stopped.is_set():
            self.unmeasured.wait(_about(CAPACITY_EVERY))
            self.unmeasured.clear()
            if self.well and not self.stopped.is_set():
                self._measure()

    def _measure(self) -> None:
        try:
            with closing(open_host(self.spec)) as driver:
                _guarded(self.measure, driver)
        except DriverError as error:
            log.warning("host %s: not measured: %s", self.host_id, error)

    def measure(self, driver: Driver) -> None:
        """Write down what the host has.

        One that cannot be prepared or measured takes no new machines; the ones it has are looked after all the same.
        """
        try:
            write_capacity(Host.objects.get(pk=self.host_id), driver)
        except HostUnreachable:
            raise
        except DriverError as error:
            Host.objects.filter(pk=self.host_id).update(problem=for_staff(error))

    def _settle(self, driver: Driver) -> None:
        now = timezone.now()
        statuses = self._see(driver)
        self.busy = observer.settle(Host.objects.get(pk=self.host_id), statuses, now)

    def _settle_some(self, driver: Driver, heard: set[UUID], working: bool) -> None:
        now = timezone.now()
        which = Q(uuid__in=heard) | Q(state__in=WORKING) if working else Q(uuid__in=heard)
        on_its_way = observer.settle_some(self.host_id, lambda some: self._see(driver, some), now, which)
        self.busy = on_its_way or (self.busy and not working)

    def _see(self, driver: Driver, only: set[UUID] | None = None) -> list[DomainStatus]:
        self.looking_since = monotonic()
        statuses = driver.observe(only)
        self.looking_since = None
        self.misses = 0
        return statuses

    def _missed(self, problem: str) -> None:
        self.misses += 1
        if self.misses >= 2:
            self._silent(problem)

    def _silent(self, problem: str) -> None:
        self.well = False
        _guarded(self._write_silence, problem)

    def _write_silence(self, problem: str) -> None:
        outages.silent(Host.objects.get(pk=self.host_id), problem, timezone.now())


def _about(seconds: float) -> float:
    """Sooner or later by a fifth, lest all hosts are looked at in the same moment and what happens then has to wait."""
    return seconds * random.uniform(0.8, 1.2)  # noqa: S311 - no secret


def _guarded(write: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """A database that is away for a moment costs this look, not the process."""
    close_old_connections()
    try:
        write(*args, **kwargs)
    except (DatabaseError, Host.DoesNotExist) as error:
        log.warning("could not write what was observed: %r", error)
    finally:
        connection.close()  # a thread that waits would keep one of the pool's few connections


def run(stop: Event) -> None:
    """Watch every host that may carry machines until `stop` is set; hosts come and go with their rows.

    Raises RuntimeError when one of its threads died of something unforeseen: the process shall be started anew.
    """
    watches: dict[int, HostWatch] = {}
    prober = Thread(target=_probe_on, args=(stop,), daemon=True)
    prober.start()
    while not stop.is_set():
        _guarded(_follow, watches)
        for watch in watches.values():
            watch.check()
        if not (prober.is_alive() and all(watch.lives for watch in watches.values())):
            raise RuntimeError("A thread of the observer ended; the log says why.")
        alive.mark("observer")
        stop.wait(HOSTS_EVERY)
    for watch in watches.values():
        watch.stop()


def _follow(watches: dict[int, HostWatch]) -> None:
    hosts = {host.pk: host for host in Host.objects.all()}
    for pk in list(watches):
        if pk not in hosts or watches[pk].spec != host_spec(hosts[pk]):
            watches.pop(pk).stop()
    for pk, host in hosts.items():
        if pk not in watches:
            watches[pk] = HostWatch(host)
            watches[pk].start()


def _probe_on(stop: Event) -> None:
    while not stop.wait(PROBE_EVERY):
        _guarded(_probe)


def _probe() -> None:
    if owing := observer.candidates():
        observer.probe(owing)
