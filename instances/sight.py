"""Whose eyes a picture of a screen is for. Being at a screen is the matter of the app above, which settings name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string

from experiments.models import User
from instances.models import Instance


def seen_by(user: User, instances: Sequence[Instance]) -> set[int]:
    """The machines, by their row numbers, whose screen the person may see now; in a constant number of queries."""
    return cast("set[int]", import_string(settings.VISA_MAY_SEE)(user, instances))


def sees(user: User, instance: Instance) -> bool:
    return instance.pk in seen_by(user, [instance])
