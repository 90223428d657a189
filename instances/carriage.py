"""Images on their way to hosts: a worker carries, and the machines that wait for it are told how far it is."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from time import monotonic

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from instances.drivers import open_host
from instances.drivers.base import DriverError
from instances.leases import lease
from instances.models import Carriage, Instance
from instances.models.instance import DEADLINES
from instances.specs import base_image, host_spec
from instances.states import State

log = logging.getLogger(__name__)

Say = Callable[[int, int], None]

TELL_EVERY = 1.5
"""Seconds between two writes of how far a copy is, however fast it goes."""


def ask(carried: Carriage) -> None:
    """Have the image carried again where it is not on its way: it failed, has other bytes, or shall be checked."""
    if not carried.is_moving:
        carried.become(Carriage.State.WAITING, done_bytes=0)


def waiting_for(carried: Carriage) -> QuerySet[Instance]:
    """The machines that cannot be made before this image is on this host."""
    unmade = Instance.objects.filter(state__in=[State.BUILDING, State.STARTING], built_at=None)
    return unmade.filter(host=carried.host_id, plan__image=carried.image_id)


def carry(pk: int, say: Say | None = None) -> list[int]:
    """Carry one image, unless another worker is at it. Gives the row numbers of the machines that may go on now.

    `say(done_bytes, all_bytes)` is called as often as the driver has news.
    """
    with lease(pk, Carriage) as mine:
        carried = Carriage.objects.select_related("host", "image").get(pk=pk)
        if not (mine and carried.is_moving):
            return []
        _carry(carried, say)
        waiting = waiting_for(carried)
        waiting.update(progress=None)
        return [] if carried.is_moving else list(waiting.values_list("pk", flat=True))


def _carry(carried: Carriage, say: Say | None) -> None:
    carried.become(Carriage.State.COPYING, done_bytes=0)
    try:
        with closing(open_host(host_spec(carried.host))) as driver:
            driver.prepare()
            driver.provide(base_image(carried.image), Progress(carried, say).note)
    except DriverError as error:
        log.warning("%s: %s", carried, error)
        to = Carriage.State.FAILED if error.permanent else Carriage.State.WAITING
        carried.become(to, problem=str(error))
    except Exception:  # else it would be tried for ever, and nobody told
        log.exception("%s: unexpected fault", carried)
        carried.become(Carriage.State.FAILED, problem=_("Something unexpected happened. The worker's log says more."))
    else:
        carried.become(Carriage.State.THERE, done_bytes=carried.all_bytes)


class Progress:
    """How far one copy is: written every TELL_EVERY seconds at most, and only where the percentage changed."""

    def __init__(self, carried: Carriage, say: Say | None = None) -> None:
        self.carried = carried
        self.say = say
        self.told_at = 0.0
        self.told: int | None = None

    def note(self, done: int, size: int) -> None:
        self.carried.done_bytes, self.carried.all_bytes = done, size
        if self.say:
            self.say(done, size)
        if monotonic() - self.told_at < TELL_EVERY or self.carried.percent == self.told:
            return
        self.told_at, self.told = monotonic(), self.carried.percent
        Carriage.objects.filter(pk=self.carried.pk).update(done_bytes=done, all_bytes=size)
        self._tell(self.told)

    def _tell(self, percent: int) -> None:
        """While the copy goes on, nobody who waits for it is overdue."""
        waiting = waiting_for(self.carried)
        waiting.update(progress=percent, problem="", deadline_at=timezone.now() + DEADLINES[State.BUILDING])
        for instance in waiting.only("uuid", "owner", "state"):
            instance.tell("copy")
