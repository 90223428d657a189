"""What people may ask of machines. Pages, API and admin all come through here: a rule has one home."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from experiments.access import experiments_for, may_work_without_experiment
from experiments.models import Experiment, Role, User
from instances import claims, tasks
from instances.limits import may_create
from instances.models import (
    Host,
    IllegalTransition,
    Instance,
    LifePolicy,
    Member,
    MemberRole,
    Plan,
    Superseded,
)
from instances.models.catalogue import plans_for
from instances.models.life import enter, limits_of
from instances.states import WORKING, State
from instances.times import day


class Refused(Exception):
    """The action cannot be done now. The message is for the person; `field` names the form field it belongs to."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class NotAllowed(Refused):
    """The person may see the machine but not do this with it."""


@dataclass(frozen=True)
class Wish:
    """What a person asks for when creating a machine. `request_key` makes a second press find the first's machine.

    `end` is an earlier end than the machine may have; None is its full time.
    """

    name: str
    plan: Plan
    experiments: tuple[Experiment, ...]
    screen_width: int
    screen_height: int
    keyboard: str
    request_key: UUID
    comments: str = ""
    end: datetime | None = None


def quota_of(user: User) -> int:
    """How many live machines the person may own."""
    return user.quota if user.quota is not None else LifePolicy.current().quota


def create(owner: User, wish: Wish) -> Instance:
    """Write the machine and claim its room in one transaction; a worker makes it so. A repeated wish returns the same.

    Raises Refused, with the field named, for what the person may not have or no host can carry.
    """
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=owner.pk)  # rows that name the owner may go on
        made = Instance.objects.filter(owner=owner, request_key=wish.request_key).first()
        if made:
            return made
        _check_wish(owner, wish)
        instance = _write(owner, wish, _place(wish.plan))
        tasks.ring(instance.pk)
    return instance


def _check_wish(owner: User, wish: Wish) -> None:
    owned = Instance.objects.live().filter(owner=owner).count()
    quota = quota_of(owner)
    if not may_create(owned, quota):
        raise Refused(
            _("You have %(owned)d of %(quota)d machines. Delete one to make room.") % {"owned": owned, "quota": quota}
        )
    if not wish.experiments and not may_work_without_experiment(owner):
        raise Refused(_("Choose the experiment that you want to work on."), "experiments")
    chosen = [experiment.pk for experiment in wish.experiments]
    if experiments_for(owner).filter(pk__in=chosen).count() != len(set(chosen)):
        raise Refused(_("Choose among your own experiments."), "experiments")
    if not plans_for(owner, wish.experiments).filter(pk=wish.plan.pk).exists():
        raise Refused(_("This image and size are not offered to you. Choose another size."), "flavour")


def _place(plan: Plan) -> Host:
    try:
        return claims.place(claims.need_of(plan.image, plan.flavour))
    except claims.NoRoom as full:
        raise Refused(str(full), full.field) from full


def _write(owner: User, wish: Wish, host: Host) -> Instance:
    now, flavour = timezone.now(), wish.plan.flavour
    lifetime = limits_of(owner, flavour.pk).lifetime
    may_end = now + lifetime if lifetime else None
    instance = Instance.objects.create(
        owner=owner,
        request_key=wish.request_key,
        name=wish.name,
        comments=wish.comments,
        plan=wish.plan,
        host=host,
        vcpus=flavour.vcpus,
        memory_mib=flavour.memory_mib,
        disk_gib=max(flavour.disk_gib, wish.plan.image.virtual_size_gib),
        screen_width=wish.screen_width,
        screen_height=wish.screen_height,
        keyboard=wish.keyboard,
        expires_at=_end_of(wish, now, may_end),
        may_end_at=may_end,
        ends_set_at=now,
    )
    instance.experiments.set(wish.experiments)
    Member.objects.create(instance=instance, user=owner, role=MemberRole.OWNER)
    instance.record_creation(by=owner)
    return instance


def _end_of(wish: Wish, now: datetime, latest: datetime | None) -> datetime | None:
    if wish.end is None:
        return latest
    if wish.end <= now:
        raise Refused(_("Choose a moment that is still to come."), "end")
    if latest is None:
        return wish.end
    if timezone.localtime(wish.end).date() > timezone.localtime(latest).date():
        last = day(latest)
        raise Refused(_("A machine of this size may live until %(day)s at most.") % {"day": last}, "end")
    return min(wish.end, latest)


def start(instance: Instance, by: User) -> None:
    """Power on a stopped machine, or wake a hibernated one. Already starting or running is success."""
    check_manager(instance, by)
    if instance.ended(timezone.now()):
        raise Refused(_("This machine has come to its end. Ask for more time, and it can be started again."))
    _ask(instance, by, State.STARTING, {State.STARTING, State.ACTIVE}, another_attempt=True)


def hibernate(instance: Instance, by: User) -> None:
    """Put to sleep: memory goes to disk, opening it resumes it. Already asleep is success."""
    _ask(instance, by, State.HIBERNATING, {State.HIBERNATING, State.HIBERNATED})


def retry(instance: Instance, by: User) -> None:
    """Try again after an error."""
    start(instance, by)


def stop(instance: Instance, by: User) -> None:
    """Shut down. Already stopping or stopped is success."""
    _ask(instance, by, State.STOPPING, {State.STOPPING, State.STOPPED})


def reboot(instance: Instance, by: User) -> None:
    """Restart the guest. Already restarting is success."""
    _ask(instance, by, State.REBOOTING, {State.REBOOTING}, another_attempt=True)


def delete(instance: Instance, by: User) -> None:
    """Into the recycle bin, where the facility keeps one, and else for good. Already on its way out is success.

    A machine that was never finished leaves nothing worth keeping.
    """
    days = LifePolicy.current().bin_days if instance.built_at and instance.state != State.BUILDING else 0
    kept = timezone.now() + timedelta(days=days) if days else None
    _ask(instance, by, State.DELETING, {State.DELETING, State.BINNED, State.DELETED}, bin_until=kept)


def rename(instance: Instance, by: User, name: str, comments: str) -> None:
    """Change what the owner calls the machine and notes about it."""
    check_manager(instance, by)
    with transaction.atomic():
        if name != instance.name:
            enter(instance, "renamed", by, before=instance.name)
        Instance.objects.filter(pk=instance.pk).update(name=name, comments=comments)
    instance.name, instance.comments = name, comments
    instance.tell("name")


def may_manage(instance: Instance, user: User) -> bool:
    """Whether the person may start, stop, rename and delete this machine: its owner, and administrators."""
    return instance.owner_id == user.pk or user.has_role(Role.ADMIN)


def check_manager(instance: Instance, by: User) -> None:
    """Raises NotAllowed for who may not manage the machine."""
    if not may_manage(instance, by):
        raise NotAllowed(_("Only the owner of this machine may do that."))


def _ask(
    instance: Instance, by: User, to: State, done: set[State], *, another_attempt: bool = False, **facts: Any
) -> None:
    check_manager(instance, by)
    if instance.state in done:
        return
    attempt = instance.attempt + 1 if another_attempt else instance.attempt
    try:
        with transaction.atomic():
            if to == State.STARTING:
                _claim_again(instance)
            instance.transition(to, by=by, only_if=_still_manages(by), attempt=attempt, **facts)
            tasks.ring(instance.pk)
    except (IllegalTransition, Superseded) as error:
        instance.refresh_from_db()
        check_manager(instance, by)
        if instance.state not in done:
            raise Refused(_why_not(instance)) from error


def _still_manages(by: User) -> Q:
    """Holds in the moment of the change: the machine may have been handed to somebody else just before."""
    return Q() if by.has_role(Role.ADMIN) else Q(owner=by)


def _claim_again(instance: Instance) -> None:
    try:
        claims.claim_again(instance)
    except claims.NoRoom as full:
        raise Refused(str(full)) from full


def _why_not(instance: Instance) -> str:
    if instance.state in WORKING:
        return _("The machine is busy with something else. Wait until it is done.")
    return _("The machine is not in a state in which that is possible. Reload the page to see how it is now.")
