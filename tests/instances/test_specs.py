"""What drivers are told of hosts."""

from __future__ import annotations

import pytest

from instances.models import ImageApp
from instances.specs import host_spec
from tests.people import Facility, facility

pytestmark = pytest.mark.django_db


@pytest.fixture
def house(db: None) -> Facility:
    return facility()


def test_a_host_lets_machines_answer_at_every_declared_port(house: Facility) -> None:
    house.image.protocols.filter(kind="vnc").update(port=5902)
    ImageApp.objects.create(image=house.image, name="Grafana", slug="grafana", port=3000)
    assert host_spec(house.host).guest_ports == (22, 3000, 5901, 5902, 8888)
