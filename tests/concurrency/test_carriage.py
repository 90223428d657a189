"""Many workers and one image, on PostgreSQL with real threads: it is copied once."""

from __future__ import annotations

from threading import Lock
from typing import Any

import pytest

from instances import tasks
from instances.drivers.libvirt import LibvirtDriver
from instances.models import Carriage
from tests.concurrency.test_races import CROWD, all_at_once
from tests.instances.conftest import house, tiny_image  # noqa: F401 - fixtures
from tests.people import Facility

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


def test_a_crowd_of_workers_copies_an_image_once_at_a_time(
    house: Facility,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Carriage.objects.update(state=Carriage.State.WAITING)
    carried, provide, at_it, most, counting = Carriage.objects.get(), LibvirtDriver.provide, 0, 0, Lock()

    def counted(self: LibvirtDriver, *args: Any) -> None:
        nonlocal at_it, most
        with counting:
            at_it += 1
            most = max(most, at_it)
        provide(self, *args)
        with counting:
            at_it -= 1

    monkeypatch.setattr(LibvirtDriver, "provide", counted)
    all_at_once(lambda _number: tasks.carry(carried.pk))
    assert (most, Carriage.objects.get().state) == (1, "there")
    assert CROWD > 1
