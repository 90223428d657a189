"""How much the house may take by itself at once: beyond that, staff look at it first."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from instances.limits import FEW, too_many
from instances.models import Instance, LifePolicy, Notice
from instances.models.life import staff
from instances.notices import Kind, tell

log = logging.getLogger(__name__)

TOLD_EVERY = timedelta(days=1)


def held(taken: int, now: datetime, policy: LifePolicy | None = None) -> bool:
    """Whether a sweep that would take so many machines has to wait until staff allow it; they are told once a day."""
    if not too_many(taken, Instance.objects.live().count() if taken > FEW else 0):
        return False
    allowed_until = (policy or LifePolicy.current()).sweeps_allowed_until
    if allowed_until is not None and now < allowed_until:
        return False
    log.warning("%d machines would sleep or be deleted at once; staff have to allow it", taken)
    fresh = Notice.objects.filter(kind=Kind.SWEEP_HELD, at__gt=now - TOLD_EVERY).values("user")
    tell(staff().exclude(pk__in=fresh), Kind.SWEEP_HELD, count=str(taken))
    return True
