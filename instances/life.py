"""What people may ask about a machine's time: an earlier end, staying awake, more time, and back from the bin."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from experiments.models import Role, User
from instances import tasks
from instances.actions import NotAllowed, Refused, check_manager, quota_of
from instances.limits import may_create
from instances.models import Extending, Extension, IllegalTransition, Instance, LifePolicy, Superseded
from instances.models.life import enter, limits_of, staff
from instances.notices import Kind, tell
from instances.states import LIVE, State

GIVEN_UP = gettext_noop("Given up with its host, which does not answer. Nothing was removed there.")


def set_end(instance: Instance, by: User, end: datetime) -> None:
    """Give the machine an earlier end than it may have, or its full time again. Raises Refused, with the field."""
    _check(instance, by)
    if end <= timezone.now():
        raise Refused(_("Choose a moment that is still to come."), "end")
    if instance.may_end_at is not None and end > instance.may_end_at:
        raise Refused(_("It may not live so long. Ask for more time instead."), "end")
    with transaction.atomic():
        _write_end(instance, end)
        enter(instance, "end_set", by, when=end.isoformat())


def _write_end(instance: Instance, end: datetime) -> None:
    """A new end is told anew before it comes."""
    now = timezone.now()
    _change(instance, expires_at=end, ends_set_at=now, end_warned_at=None, due_at=now)


def keep_awake(instance: Instance, by: User, days: int) -> None:
    """Do not let it fall asleep for so many days, though nothing shows its work; 0 ends that."""
    _check(instance, by)
    most = LifePolicy.current().awake_days
    if not 0 <= days <= most:
        raise Refused(_("Choose a number of days from 0 to %(most)d.") % {"most": most}, "days")
    now = timezone.now()
    until = now + timedelta(days=days) if days else None
    with transaction.atomic():
        _change(instance, awake_until=until, due_at=now)
        enter(instance, "awake" if until else "not_awake", by, **({"when": until.isoformat()} if until else {}))


def pin(instance: Instance, by: User, pinned: bool, reason: str = "") -> None:
    """Keep a machine without end and without sleep, or no longer. For administrators."""
    if not by.has_role(Role.ADMIN):
        raise NotAllowed(_("Only staff may keep machines."))
    with transaction.atomic():
        changed = Instance.objects.filter(pk=instance.pk, state__in=LIVE).exclude(pinned=pinned)
        if changed.update(pinned=pinned, due_at=timezone.now(), end_warned_at=None, idle_warned_at=None):
            instance.pinned = pinned
            enter(instance, "pinned" if pinned else "unpinned", by, reason)


def give_up(instance: Instance, by: User, reason: str = "") -> None:
    """Count a machine as deleted whose host is silent for good and cannot be asked to remove it. For administrators.

    Nothing is touched on the host; should it come back, its domains are shown as unknown machines. Raises Refused.
    """
    if not by.has_role(Role.ADMIN):
        raise NotAllowed(_("Only staff may give machines up."))
    if instance.host is None or not instance.host.lost:
        raise Refused(_("Its host answers. Delete the machine instead."))
    try:
        with transaction.atomic():
            if instance.state != State.DELETING:
                instance.transition(State.DELETING, by=by)
            instance.transition(State.DELETED, by=by, reason=reason or GIVEN_UP, bin_until=None)
            tell([instance.owner], Kind.GIVEN_UP, instance)
    except (IllegalTransition, Superseded) as error:
        raise Refused(_("The machine has changed meanwhile. Reload the page to see how it is now.")) from error


# More time


def ask_for_time(instance: Instance, by: User, reason: str) -> Extension:
    """Ask staff for more time, or get it at once where the image says so. Raises Refused."""
    _check(instance, by)
    if instance.expires_at is None or instance.pinned:
        raise Refused(_("This machine has no end."))
    if not reason.strip():
        raise Refused(_("Say in a few words what you need the time for."), "reason")
    try:
        with transaction.atomic():
            asked = Extension.objects.create(
                instance=instance, by=by, reason=reason.strip(), ended_at=instance.expires_at
            )
            enter(instance, "time_asked", by, asked.reason)
            if _at_once(instance):
                accept(asked, None, usual_end(instance))
            else:
                tell(staff().exclude(pk=by.pk), Kind.TIME_ASKED, instance, who=str(by), reason=asked.reason)
            instance.tell("time")
    except IntegrityError as error:
        raise Refused(_("You have asked already. Staff will answer.")) from error
    return asked


def _at_once(instance: Instance) -> bool:
    policy = instance.plan.image.extending
    is_staff = instance.owner.has_role(Role.STAFF, Role.ADMIN)
    return policy == Extending.ALL or (policy == Extending.STAFF and is_staff)


def usual_end(instance: Instance) -> datetime:
    """Another lifetime, counted from the end it has, or from now where that has passed."""
    now = timezone.now()
    lifetime = limits_of(instance.owner, instance.plan.flavour_id).lifetime or timedelta(days=365)
    return max(instance.expires_at or now, now) + lifetime


def accept(asked: Extension, by: User | None, until: datetime, words: str = "") -> None:
    """Give the machine time until then; `by` nobody means that the image's rule did. Raises Refused."""
    if until <= timezone.now():
        raise Refused(_("Choose a moment that is still to come."), "until")
    with transaction.atomic():
        _answer(asked, Extension.Answer.ACCEPTED, by, words, until)
        instance = asked.instance
        _write_end(instance, until)
        _change(instance, may_end_at=until)
        enter(instance, "time_given", by, words, when=until.isoformat())
        tell([instance.owner], Kind.TIME_GIVEN, instance, when=until.isoformat(), words=words)


def refuse(asked: Extension, by: User, words: str) -> None:
    """Say no, and why. Raises Refused."""
    if not words.strip():
        raise Refused(_("Tell the owner why, in a few words."), "words")
    with transaction.atomic():
        _answer(asked, Extension.Answer.REFUSED, by, words.strip(), None)
        enter(asked.instance, "time_refused", by, words.strip())
        tell([asked.instance.owner], Kind.TIME_REFUSED, asked.instance, words=words.strip())
        asked.instance.tell("time")


def _answer(asked: Extension, answer: str, by: User | None, words: str, until: datetime | None) -> None:
    if asked.instance.gone:
        raise Refused(_("The machine is deleted. Bring it back first."))
    waiting = Extension.objects.filter(pk=asked.pk, answer=Extension.Answer.PENDING)
    facts = {"answer": answer, "answered_by": by, "answered_at": timezone.now(), "words": words, "until": until}
    if not waiting.update(**facts):
        raise Refused(_("This request has been answered already."))
    for name, value in facts.items():
        setattr(asked, name, value)


# The recycle bin


def bring_back(instance: Instance, by: User) -> None:
    """Out of the recycle bin: stopped, with its disk as it was. Raises Refused.

    One whose time is over gets the days of grace to start it, or to ask for more.
    """
    check_manager(instance, by)
    with transaction.atomic():
        owner = User.objects.select_for_update(no_key=True).get(pk=instance.owner_id)
        if not may_create(Instance.objects.live().filter(owner=owner).count(), quota_of(owner)):
            raise Refused(_("There is no room for another machine. Delete one first."))
        _move(instance, State.STOPPED, by)
        soon = timezone.now() + timedelta(days=LifePolicy.current().grace_days or 1)
        if instance.expires_at is not None and instance.expires_at < soon:
            _write_end(instance, soon)
        if by.pk != instance.owner_id:
            tell([instance.owner], Kind.LIFE_BACK, instance, who=str(by))


def delete_for_good(instance: Instance, by: User) -> None:
    """Empty the recycle bin of this machine: its disk is lost. Raises Refused."""
    check_manager(instance, by)
    with transaction.atomic():
        _move(instance, State.DELETING, by, bin_until=None)
        tasks.ring(instance.pk)


def _move(instance: Instance, to: State, by: User, **facts: Any) -> None:
    if instance.state != State.BINNED:
        raise Refused(_("This machine is not in the recycle bin."))
    try:
        instance.transition(to, by=by, **facts)
    except (IllegalTransition, Superseded) as error:
        raise Refused(_("This machine is no longer in the recycle bin.")) from error


def _check(instance: Instance, by: User) -> None:
    check_manager(instance, by)
    if instance.gone:
        raise Refused(_("This machine is deleted."))


def _change(instance: Instance, **facts: object) -> None:
    Instance.objects.filter(pk=instance.pk).update(**facts)
    for name, value in facts.items():
        setattr(instance, name, value)
    instance.tell("time")
