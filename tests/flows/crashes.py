"""A whole house in threads on a real libvirtd: observer, sweep and two workers. Whoever dies is killed from outside.

The guests have no system in them (a blank disk), so a start takes a second; a desktop counts as drawn once QEMU runs.
"""

from __future__ import annotations

import os
import queue
import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from threading import Event, Thread
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connections
from django.utils import timezone

from instances import actions, observer, tasks, watching
from instances.actions import Wish
from instances.drivers import open_host
from instances.drivers.base import Driver, DriverError, HostSpec, Power
from instances.drivers.domain import domain_name
from instances.models import Host, Instance, LifePolicy, Stray
from instances.specs import host_spec
from instances.states import WORKING, State
from tests.people import Facility
from tests.servers import wait_until

CONVERGED_WITHIN = 60.0
RUNNING = {State.ACTIVE}
RESTING = {State.STOPPED, State.HIBERNATED, State.ERROR}


def settled_in(house: Facility, spec: HostSpec, image: Any) -> None:
    """Let the house's one host be the cell's libvirtd, and its image the blank one."""
    house.image.path, house.image.sha256, house.image.virtual_size_gib = image.path, image.sha256, 1
    house.image.save()
    where = {"uri": spec.uri, "pool_name": spec.pool_name, "pool_path": spec.pool_path}
    where |= {"network_name": spec.network_name, "network_cidr": spec.network_cidr, "virtualisation": "qemu"}
    Host.objects.update(**where)
    house.small.memory_mib = 64
    house.small.save()
    house.machine.delete()
    house.alice.quota = 50
    house.alice.save()
    LifePolicy.objects.create(bin_days=0)


@dataclass
class Meeting:
    """The next call of `verb` that a worker makes meets `death` before, during or after it."""

    verb: str = ""
    moment: str = ""
    death: Callable[[], None] = lambda: None
    met: Event = field(default_factory=Event)
    over: Event = field(default_factory=Event)

    def call(self, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Meet the death; `over` is set once whoever died is back."""
        self.met.set()
        try:
            return self._call(verb, *args, **kwargs)
        finally:
            self.over.set()

    def _call(self, verb: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if self.moment == "after":
            answer = verb(*args, **kwargs)
            self.death()
            return answer
        dying = Thread(target=self.death)
        dying.start()
        if self.moment == "before":
            dying.join()
        try:
            return verb(*args, **kwargs)
        finally:
            dying.join()


class Watched:
    """A driver in which a worker's call may meet a death."""

    def __init__(self, driver: Driver, meeting: Meeting) -> None:
        self._driver, self._meeting = driver, meeting

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._driver, name)
        if name != self._meeting.verb or self._meeting.met.is_set():
            return verb
        return lambda *args, **kwargs: self._meeting.call(verb, *args, **kwargs)


class World:
    """The house at work. `meeting` is the death that comes next."""

    def __init__(self, house: Facility, monkeypatch: pytest.MonkeyPatch) -> None:
        self.house = house
        self.meeting = Meeting()
        self.stop = Event()
        self.rings: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self.threads = [Thread(target=self._alone, args=(watching.run, self.stop))]
        self.threads += [Thread(target=self._alone, args=(work,)) for work in (self._beat, self._work, self._work)]
        for task in (tasks.advance, tasks.carry, tasks.remove_deleted):
            monkeypatch.setattr(task, "delay", lambda *args, task=task: self.rings.put(lambda: task(*args)))
        monkeypatch.setattr(tasks, "open_host", lambda spec: Watched(open_host(spec), self.meeting))
        monkeypatch.setattr(tasks, "PATIENCE", timedelta(seconds=1))
        monkeypatch.setattr(tasks, "RING_AGAIN", timedelta(seconds=1))

    def _alone(self, work: Callable[..., None], *args: Any) -> None:
        try:
            work(*args)
        finally:
            connections.close_all()

    def _beat(self) -> None:
        while not self.stop.wait(0.3):
            tasks.sweep()
            for one in Instance.objects.filter(state=State.STARTING, power="running"):
                if is_there(one.uuid):  # its row may still tell of the life before
                    observer._write(one, observer.Found(desktop=True, drawn=True), timezone.now())

    def _work(self) -> None:
        while (ring := self.rings.get()) is not None:
            ring()

    def __enter__(self) -> World:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for _worker in range(2):
            self.rings.put(None)
        for thread in self.threads:
            thread.join(60)

    def new(self) -> Instance:
        return actions.create(
            self.house.alice, Wish("Peaks", self.house.plan, (self.house.experiment,), 1440, 900, "fr", uuid4())
        )

    @contextmanager
    def meets(self, verb: str, moment: str, death: Callable[[], None]) -> Iterator[None]:
        """Within, somebody asks for something; its worker meets that death."""
        self.meeting = Meeting(verb, moment, death)
        yield
        wait_until(self.meeting.over.is_set, f"the worker's call of {verb}", CONVERGED_WITHIN)

    def ends(self, instance: Instance, *states: State) -> State:
        """The state in which rows and host agree again."""
        wait_until(lambda: state_of(instance) in states and self.agrees(), f"{states}", CONVERGED_WITHIN, every=0.2)
        return state_of(instance)

    def ends_honestly(self, instance: Instance, wished: State) -> None:
        """As wished, or at rest with the truth in its row: then its owner starts it again, if that was the wish."""
        honest = {wished} if wished == State.DELETED else {wished, State.ERROR, State.STOPPED}
        if self.ends(instance, *honest) != wished == State.ACTIVE:
            actions.start(Instance.objects.get(pk=instance.pk), self.house.alice)
            self.ends(instance, State.ACTIVE)

    def agrees(self) -> bool:
        """Whether the host has what the rows say, and nothing else."""
        if Instance.objects.filter(state__in=WORKING).exists():
            return False
        try:
            with closing(open_host(host_spec(self.house.host))) as driver:
                return self._agrees(driver)
        except DriverError:
            return False

    def _agrees(self, driver: Driver) -> bool:
        there = {status.uuid: status.power for status in driver.observe()}
        rows = list(Instance.objects.exclude(state=State.DELETED))
        expected = {row.uuid: row.state in RUNNING for row in rows}
        runs = {uuid: power in {Power.RUNNING, Power.PAUSED} for uuid, power in there.items()}
        return runs == expected and not driver.leftovers() and not Stray.objects.exists()


def state_of(instance: Instance) -> State:
    return State(Instance.objects.get(pk=instance.pk).state)


def qemu_of(uuid: UUID) -> int:
    """The process of a machine that runs."""
    return int(Path(f"/run/libvirt/qemu/{domain_name(uuid)}.pid").read_text())


def is_there(uuid: UUID) -> bool:
    """Whether QEMU runs it, whatever the rows say."""
    try:
        return Path(f"/proc/{qemu_of(uuid)}").exists()
    except FileNotFoundError:
        return False


def kill_guest(uuid: UUID) -> None:
    """Its QEMU, if there is one at this moment."""
    try:
        os.kill(qemu_of(uuid), signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return
