"""Who has the keyboard: the owner's room is free for all with full control, or there is one baton to ask for and give.

Rooms change by conditional updates, so of two who reach for the baton one gets it and the other is told.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from uuid import UUID

from django.db.models import Exists, OuterRef, Q
from django.db.models.signals import post_delete, post_save
from django.utils.translation import gettext as _

from desktops import access, news, rooms
from desktops.access import Standing
from desktops.models import Connection, ControlAsk, Mode, Room, Which
from desktops.rfb import Role
from experiments.models import User
from instances.actions import NotAllowed, Refused
from instances.models import Instance, Member

GRACE = timedelta(seconds=10)
"""Who loads the page anew, or loses the network for so long, keeps what they had."""


def connect() -> None:
    """Listen to the signals; called once when the app is ready."""
    for signal in (post_save, post_delete):
        signal.connect(_member_changed, sender=Member, dispatch_uid="desktops.baton.member")


def act(user: User, instance: Instance, name: str, to: UUID | None = None) -> None:
    """One of `ACTS`, or "give" to somebody. Raises NotAllowed, or Refused where it is not possible now."""
    Room.objects.get_or_create(instance=instance)
    if name == "give":
        give(user, instance, to)
    else:
        ACTS[name](user, instance)
    news.tell_room(instance)


def ask(user: User, instance: Instance) -> None:
    """Ask whoever has control for it, and its owner. Asking twice is asking once."""
    standing = _fit(user, instance)
    if standing is None:
        raise NotAllowed(_("You may watch this machine, but not control it."))
    room = Room.of(instance)
    if room.mode == Mode.FREE or standing.controls:
        raise Refused(_("You have control already."))
    if room.locked:
        raise Refused(_("The owner does not take requests for control now."))
    ControlAsk.objects.get_or_create(instance=instance, user=user)
    _ring({instance.owner_id, room.holder_id or instance.owner_id}, instance)


def withdraw(user: User, instance: Instance) -> None:
    """Ask no more."""
    ControlAsk.objects.filter(instance=instance, user=user).delete()


def give(user: User, instance: Instance, to: UUID | None) -> None:
    """Pass the baton on: the owner always may, others while they have it."""
    receiver = User.objects.filter(uuid=to).first() if to else None
    if receiver is None or _fit(receiver, instance) is None:
        raise Refused(_("This person is not at the screen, or may only watch."), "to")
    mine = Q() if user.pk == instance.owner_id else Q(holder=user, frozen=False)
    if not _pass_baton(instance, receiver, mine):
        raise Refused(_("You do not have control now, so you cannot give it."))
    _ring({receiver.pk}, instance)


def take(user: User, instance: Instance) -> None:
    """Take the baton: the owner always may; others where it lies about because its owner is not at the screen."""
    if user.pk == instance.owner_id:
        if not _pass_baton(instance, user, Q()):
            raise Refused(_("Everyone with full control has it now."))
        return
    if _fit(user, instance) is None:
        raise NotAllowed(_("You may watch this machine, but not control it."))
    lies_about = Q(holder=None, locked=False, frozen=False)
    if rooms.at_screen(instance.owner, instance) or not _pass_baton(instance, user, lies_about):
        raise Refused(_("Somebody else has control. Ask for it."))


def _pass_baton(instance: Instance, receiver: User, if_still: Q) -> int:
    """Give it to them if the room is as it was thought to be; the owner has it where nobody else does."""
    holder = None if receiver.pk == instance.owner_id else receiver
    passed = Room.objects.filter(if_still, instance=instance, mode=Mode.BATON).update(holder=holder)
    if passed:
        withdraw(receiver, instance)
    return passed


def lock(user: User, instance: Instance) -> None:
    """From now on nobody may ask; who asked has asked in vain."""
    _change(user, instance, locked=True)
    ControlAsk.objects.filter(instance=instance).delete()


def unlock(user: User, instance: Instance) -> None:
    _change(user, instance, locked=False)


def freeze(user: User, instance: Instance) -> None:
    """Nobody but the owner can do anything, whoever has the baton."""
    _change(user, instance, frozen=True)


def thaw(user: User, instance: Instance) -> None:
    _change(user, instance, frozen=False)


ACTS: dict[str, Callable[[User, Instance], None]] = {
    "ask": ask,
    "withdraw": withdraw,
    "take": take,
    "lock": lock,
    "unlock": unlock,
    "freeze": freeze,
    "thaw": thaw,
}


def must_own(user: User, instance: Instance) -> None:
    """Raises NotAllowed for everybody else."""
    if user.pk != instance.owner_id:
        raise NotAllowed(_("Only the owner of this machine may do that."))


def _change(user: User, instance: Instance, **facts: bool) -> None:
    must_own(user, instance)
    Room.objects.filter(instance=instance).update(**facts)


def _fit(user: User, instance: Instance) -> Standing | None:
    """How somebody stands who may control and is at the screen."""
    if not rooms.at_screen(user, instance):
        return None
    standing = access.stands(user, instance, inside=True)
    return standing if isinstance(standing, Standing) and standing.role is Role.CONTROL else None


def _ring(people: set[int], instance: Instance) -> None:
    news.tell_people(people, {"type": "request", "id": str(instance.uuid)})


def _member_changed(sender: object, instance: Member, **rest: object) -> None:
    put_down(instance.user, instance.instance)


def put_down(user: User, instance: Instance) -> None:
    """The baton goes back to the owner, and nothing is asked any more, where the person may not or cannot control."""
    if _fit(user, instance) is None:
        take_away(user, instance)


def take_away(user: User, instance: Instance) -> None:
    """They have it no more, wherever they are, and ask for it no more."""
    withdraw(user, instance)
    if Room.objects.filter(instance=instance, holder=user).update(holder=None):
        news.tell_room(instance)


def attend(now: datetime) -> None:
    """Whoever left their screen more than `GRACE` ago has put the baton down, and asks no more."""
    for room in Room.objects.exclude(holder=None).filter(_gone("holder", now)).select_related("instance", "holder"):
        if room.holder is not None:
            put_down(room.holder, room.instance)
    for asked in ControlAsk.objects.filter(_gone("user", now)).select_related("instance", "user"):
        put_down(asked.user, asked.instance)


def _gone(person: str, now: datetime) -> Q:
    here = Connection.objects.present_at(now, GRACE).filter(which=Which.SCREEN)
    return ~Q(Exists(here.filter(instance=OuterRef("instance"), user=OuterRef(person))))
