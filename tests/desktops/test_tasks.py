"""What beat rings: the tasks exist by the names that the schedule has, and may run twice."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from desktops import support
from desktops.models import AccessRequest
from desktops.tasks import attend
from tests.people import facility

pytestmark = pytest.mark.django_db


def test_beat_rings_the_task_that_ends_what_is_over() -> None:
    assert settings.CELERY_BEAT_SCHEDULE["attend"]["task"] == attend.name


def test_what_is_over_ends_once() -> None:
    people = facility()
    support.ask(people.machine, people.sam, "Why", 30, control=True)
    AccessRequest.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    attend()
    attend()
    assert AccessRequest.objects.get().state == AccessRequest.State.UNANSWERED
