"""How many machines and for how long."""

from datetime import UTC, datetime, timedelta

import pytest

from instances.limits import ends_at, may_create

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("owned", "quota", "allowed"), [(0, 2, True), (1, 2, True), (2, 2, False), (3, 2, False), (0, 0, False)]
)
def test_the_quota_is_the_last_machine_one_may_own(owned: int, quota: int, allowed: bool) -> None:
    assert may_create(owned, quota) is allowed


def test_a_visitors_machine_ends_after_two_weeks() -> None:
    assert ends_at(NOW, staff=False) == NOW + timedelta(days=14)


def test_a_staff_machine_ends_after_sixty_days() -> None:
    assert ends_at(NOW, staff=True) == NOW + timedelta(days=60)
