"""Help from the facility: asked for and given by consent, for a time, and never without a trace.

Every change is one conditional UPDATE: of an answer, a timeout and a change of mind that come together, one counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.signals import post_save
from django.utils import timezone
from django.utils.translation import gettext as _

from desktops import access, news
from desktops.models import AccessRequest, HelpRequest, Policy
from desktops.rfb import Role
from experiments.models import Role as FacilityRole
from experiments.models import RoleGrant, User
from instances import notices
from instances.actions import NotAllowed, Refused
from instances.models import Instance, Member, MemberRole
from instances.models.instance import AROUND
from instances.models.life import enter as write_down
from instances.notices import Kind
from instances.states import HOLDS_CPU

State = AccessRequest.State
MAX_REASON = 300
MAX_MESSAGE = 500


class Answer(StrEnum):
    CONTROL = "control"
    WATCH = "watch"
    REFUSE = "refuse"


def ask(instance: Instance, asker: User, reason: str, minutes: int, *, control: bool) -> AccessRequest:
    """Ask the owner to be let in. A second press finds the request of the first.

    Raises NotAllowed for who does not support the machine; Refused for a bad reason or time, and where nothing runs.
    """
    reason = _check(instance, asker, reason, minutes)
    now = timezone.now()
    wish = {"reason": reason, "minutes": minutes, "wants_control": control}
    waits = {"expires_at": now + timedelta(seconds=Policy.current().answer_seconds)}
    with transaction.atomic():
        _give_up(AccessRequest.objects.filter(instance=instance, asker=asker), now)
        asked, new = AccessRequest.objects.get_or_create(
            instance=instance, asker=asker, state=State.PENDING, defaults=wish | waits
        )
        if new:
            notices.tell([instance.owner], Kind.SUPPORT_ASKS, instance, who=str(asker), reason=reason)
            write_down(instance, "support_asked", asker, reason)
            news.tell_request(instance, asker)
    return asked


def _check(instance: Instance, asker: User, reason: str, minutes: int) -> str:
    _check_supporter(instance, asker)
    if instance.state not in HOLDS_CPU:
        raise Refused(_("The machine is not running, so there is no screen to join."))
    longest = Policy.current().support_minutes
    if not 1 <= minutes <= longest:
        raise Refused(_("Choose between 1 and %(longest)d minutes.") % {"longest": longest}, "minutes")
    reason = reason.strip()
    if not reason:
        raise Refused(_("Say in a few words why; the owner reads it."), "reason")
    return _short(reason, MAX_REASON, "reason")


def _short(text: str, most: int, field: str) -> str:
    if len(text) > most:
        raise Refused(_("This is too long: at most %(most)d characters.") % {"most": most}, field)
    if "\x00" in text:
        raise Refused(_("This holds a character that cannot be kept."), field)
    return text


def _check_supporter(instance: Instance, person: User) -> None:
    if not Instance.objects.supported_by(person).filter(pk=instance.pk).exists():
        raise NotAllowed(_("Only the facility's support may do that."))


def cancel(instance: Instance, asker: User) -> None:
    """Take the request back. Where it was answered meanwhile, the answer stays."""
    mine = AccessRequest.objects.filter(instance=instance, asker=asker, state=State.PENDING)
    with transaction.atomic():
        if mine.update(state=State.CANCELLED, answered_at=timezone.now()):
            _settle(instance)
            news.tell_request(instance, asker)


def answer(asked: AccessRequest, owner: User, given: Answer) -> None:
    """The owner lets the supporter in, with control or to watch, or does not.

    Raises NotAllowed for others, Refused when the request no longer waits.
    """
    instance = asked.instance
    if instance.owner_id != owner.pk:
        raise NotAllowed(_("Only the owner of this machine may let somebody in."))
    if given is Answer.CONTROL and not asked.wants_control:
        raise Refused(_("%(who)s asked to watch only.") % {"who": asked.asker}, "answer")
    now = timezone.now()
    refused = given is Answer.REFUSE
    facts = {"state": State.REFUSED} if refused else _in_force(Role(given), asked.minutes, now)
    with transaction.atomic():
        if not AccessRequest.objects.pending_at(now).filter(pk=asked.pk).update(answered_at=now, **facts):
            raise Refused(_too_late(asked))
        if not refused:
            _replace(asked, now)
        _settle(instance)
        notices.tell([asked.asker], Kind.SUPPORT_REFUSED if refused else Kind.SUPPORT_LET_IN, instance, who=str(owner))
        write_down(instance, "support_refused" if refused else "support_let_in", owner, who=str(asked.asker))
        news.tell_request(instance, asked.asker)


def _in_force(role: Role, minutes: int, now: datetime) -> dict[str, Any]:
    return {"state": State.GRANTED, "role": role, "until": now + timedelta(minutes=minutes)}


def _replace(granted: AccessRequest, now: datetime) -> None:
    """A supporter has one right at a machine: the latest. Nor is anything left to be asked."""
    same = AccessRequest.objects.filter(instance=granted.instance, asker=granted.asker).exclude(pk=granted.pk)
    same.filter(state=State.GRANTED).update(state=State.ENDED, until=now)
    same.filter(state=State.PENDING).update(state=State.CANCELLED, answered_at=now)


def _too_late(asked: AccessRequest) -> str:
    asked.refresh_from_db(fields=["state"])
    if asked.state == State.CANCELLED:
        return _("%(who)s took the request back.") % {"who": asked.asker}
    if asked.state in {State.PENDING, State.UNANSWERED}:
        return _("The time to answer is over. %(who)s may ask again.") % {"who": asked.asker}
    return _("This was answered already.")


def _settle(instance: Instance) -> None:
    """Nobody has to read that somebody asks once that is answered."""
    if not AccessRequest.objects.pending_at(timezone.now()).filter(instance=instance).exists():
        notices.read(notices.of(instance.owner).filter(instance=instance, kind=Kind.SUPPORT_ASKS))


def enter(instance: Instance, supporter: User, reason: str, minutes: int) -> AccessRequest:
    """Go in while the owner is away, who is always told. A second press finds the right of the first.

    Raises NotAllowed where the facility wants the owner there, Refused while the owner is there and for bad fields.
    """
    reason = _check(instance, supporter, reason, minutes)
    policy, now = Policy.current(), timezone.now()
    if access.owner_here(instance, policy, now):
        raise Refused(_("The owner is here. Ask to join."))
    if not access.unattended_allowed(instance, policy):
        raise NotAllowed(_("This machine may be entered only with its owner. Ask to join."))
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=supporter.pk)  # of two presses, one goes first
        granted = AccessRequest.objects.granted_at(now).filter(instance=instance, asker=supporter)
        inside = granted.filter(kind=AccessRequest.Kind.UNATTENDED).first()
        return inside or _let_in(instance, supporter, AccessRequest.Kind.UNATTENDED, reason, minutes)


def _let_in(instance: Instance, supporter: User, kind: AccessRequest.Kind, reason: str, minutes: int) -> AccessRequest:
    """Without a question; the owner is told."""
    now = timezone.now()
    granted = AccessRequest.objects.create(
        instance=instance,
        asker=supporter,
        kind=kind,
        reason=reason,
        minutes=minutes,
        created_at=now,
        expires_at=now,
        answered_at=now,
        **_in_force(Role.CONTROL, minutes, now),
    )
    _replace(granted, now)
    told = Kind.HELP_COMES if kind == AccessRequest.Kind.HELP else Kind.SUPPORT_ENTERED
    notices.tell([instance.owner], told, instance, who=str(supporter), reason=reason)
    write_down(instance, "help_came" if told == Kind.HELP_COMES else "support_entered", supporter, reason)
    news.tell_request(instance, supporter)
    return granted


def end(instance: Instance, by: User, user: User | None = None) -> None:
    """End support before its time: a supporter their own, the owner that of `user` or of all. Ended is success."""
    owner = instance.owner_id == by.pk
    if not owner and user not in {None, by}:
        raise NotAllowed(_("Only the owner of this machine may end another's support."))
    grants = AccessRequest.objects.filter(instance=instance, state=State.GRANTED)
    whose = user if owner else by
    with transaction.atomic():
        for grant in _with_people(grants.filter(asker=whose) if whose else grants):
            _end(grant, timezone.now(), by)


def connect() -> None:
    """Listen to the signals; called once when the app is ready."""
    post_save.connect(_member_changed, sender=Member, dispatch_uid="desktops.support.member")


def _member_changed(sender: object, instance: Member, created: bool, **rest: object) -> None:
    """Consent is its owner's: who gets a machine has not given any, and has called nobody."""
    if instance.role != MemberRole.OWNER or created:
        return
    HelpRequest.objects.filter(instance=instance.instance, closed_at=None).update(closed_at=timezone.now())
    end(Instance.objects.get(pk=instance.instance_id), instance.user)


def _end(grant: AccessRequest, now: datetime, by: User | None) -> None:
    """`by` nobody: its time is over."""
    instance = grant.instance
    until = {"until": now} if by else {}
    if not AccessRequest.objects.filter(pk=grant.pk, state=State.GRANTED).update(state=State.ENDED, **until):
        return
    write_down(instance, "support_ended", by, who=str(grant.asker))
    if grant.kind == AccessRequest.Kind.HELP:
        _help_left(grant, now, by)
    if by is None:
        notices.tell([instance.owner, grant.asker], Kind.SUPPORT_OVER, instance, who=str(grant.asker))
    else:
        other = grant.asker if by.pk == instance.owner_id else instance.owner
        notices.tell([other], Kind.SUPPORT_ENDED, instance, who=str(by))
    news.tell_request(instance, grant.asker)


def _help_left(grant: AccessRequest, now: datetime, by: User | None) -> None:
    """A call whose helper went away waits for another; one that the owner or the clock ended is done."""
    taken = HelpRequest.objects.filter(instance=grant.instance, taken_by=grant.asker, closed_at=None)
    if by and by.pk == grant.asker_id:
        taken.update(taken_by=None, taken_at=None)
    else:
        taken.update(closed_at=now)


def call(instance: Instance, owner: User, message: str = "") -> HelpRequest:
    """The owner calls for help. A second press finds the first's call; what it says replaces what that said."""
    if instance.owner_id != owner.pk:
        raise NotAllowed(_("Only the owner of this machine may call for help."))
    message = _short(message.strip(), MAX_MESSAGE, "message")
    with transaction.atomic():
        called, new = HelpRequest.objects.get_or_create(
            instance=instance, closed_at=None, defaults={"by": owner, "message": message}
        )
        if new:
            write_down(instance, "help_called", owner, message)
            _call_out(called)
        elif message:
            HelpRequest.objects.filter(pk=called.pk).update(message=message)
        news.tell_room(instance)
    return called


def _call_out(called: HelpRequest) -> None:
    """To the local contacts; where there are none, to IT at once."""
    near = local_contacts(called.instance, timezone.now())
    if near:
        _tell_call(called, near)
    else:
        _escalate(called, timezone.now())


def _tell_call(called: HelpRequest, people: Iterable[User]) -> None:
    notices.tell(people, Kind.HELP_WANTED, called.instance, who=str(called.by), message=called.message)


def local_contacts(instance: Instance, now: datetime) -> list[User]:
    """Who knows the instrument: its scientists, and around the experiment's days instrument control."""
    scientists = _having(FacilityRole.INSTRUMENT_SCIENTIST, now).filter(
        instruments__in=instance.experiments.values("instrument")
    )
    near = Q(pk__in=scientists)
    if instance.experiments.filter(starts_at__lt=now + AROUND, ends_at__gt=now - AROUND).exists():
        near |= Q(pk__in=_having(FacilityRole.INSTRUMENT_CONTROL, now))
    return list(User.objects.filter(near).exclude(pk=instance.owner_id))


def _having(role: FacilityRole, now: datetime) -> QuerySet[User]:
    in_force = RoleGrant.objects.filter(Q(expires_at=None) | Q(expires_at__gt=now), role=role)
    return User.objects.filter(is_active=True, pk__in=in_force.values("user"))


def _escalate(called: HelpRequest, now: datetime) -> None:
    """To IT; where nobody has that role, to the administrators, so that somebody hears."""
    waits = HelpRequest.objects.filter(pk=called.pk, escalated_at=None, taken_by=None, closed_at=None)
    if waits.update(escalated_at=now):
        told = list(_having(FacilityRole.IT_SUPPORT, now)) or list(_having(FacilityRole.ADMIN, now))
        _tell_call(called, [person for person in told if person.pk != called.instance.owner_id])


def take(instance: Instance, by: User) -> None:
    """Answer the call: the supporter may come in with control at once, for calling was the consent.

    Raises Refused where another was first or nobody calls any more. Taking one's own again is success.
    """
    _check_supporter(instance, by)
    now = timezone.now()
    calls = HelpRequest.objects.filter(instance=instance, closed_at=None)
    with transaction.atomic():
        if not calls.filter(taken_by=None).update(taken_by=by, taken_at=now):
            _check_mine(calls.select_related("taken_by").first(), by)
            return
        reason = calls.get().message[:MAX_REASON] or _("The owner called for help.")
        _let_in(instance, by, AccessRequest.Kind.HELP, reason, Policy.current().support_minutes)


def _check_mine(called: HelpRequest | None, by: User) -> None:
    if called is None:
        raise Refused(_("This call is closed already."))
    if called.taken_by != by:
        raise Refused(_("%(who)s answers this call already.") % {"who": called.taken_by})


def close(instance: Instance, by: User) -> None:
    """The call is done: says its owner, or who took it. Support that came by it ends. Closed is success."""
    called = HelpRequest.objects.filter(instance=instance, closed_at=None).select_related("taken_by").first()
    if by.pk != instance.owner_id and (called is None or called.taken_by_id != by.pk):
        raise NotAllowed(_("Only who called for help or who answers may close the call."))
    now = timezone.now()
    with transaction.atomic():
        if called and HelpRequest.objects.filter(pk=called.pk, closed_at=None).update(closed_at=now):
            _dismiss(called, by, now)


def _dismiss(called: HelpRequest, by: User, now: datetime) -> None:
    instance, taker = called.instance, called.taken_by
    grants = AccessRequest.objects.filter(instance=instance, state=State.GRANTED, kind=AccessRequest.Kind.HELP)
    grants.update(state=State.ENDED, until=now)
    other = taker if by.pk == instance.owner_id else instance.owner
    write_down(instance, "help_done", by)
    if other:
        notices.tell([other], Kind.HELP_DONE, instance, who=str(by))
    news.tell_request(instance, taker or by)


def attend(now: datetime) -> None:
    """What the clock decides: requests that nobody answered, support whose time is over, calls that nobody took."""
    _give_up(AccessRequest.objects.all(), now)
    for grant in _with_people(AccessRequest.objects.filter(state=State.GRANTED, until__lte=now)):
        with transaction.atomic():
            _end(grant, now, None)
    late = now - timedelta(minutes=Policy.current().escalation_minutes)
    waiting = HelpRequest.objects.filter(closed_at=None, taken_by=None, escalated_at=None, created_at__lte=late)
    for called in waiting.select_related("instance", "by"):
        with transaction.atomic():
            _escalate(called, now)


def _give_up(requests: QuerySet[AccessRequest], now: datetime) -> None:
    for asked in _with_people(requests.filter(state=State.PENDING, expires_at__lte=now)):
        with transaction.atomic():
            waiting = AccessRequest.objects.filter(pk=asked.pk, state=State.PENDING)
            if waiting.update(state=State.UNANSWERED, answered_at=now):
                owner = str(asked.instance.owner)
                notices.tell([asked.asker], Kind.SUPPORT_UNANSWERED, asked.instance, who=owner)
                write_down(asked.instance, "support_unanswered", who=str(asked.asker))
                news.tell_request(asked.instance, asked.asker)


def _with_people(requests: QuerySet[AccessRequest]) -> QuerySet[AccessRequest]:
    return requests.select_related("asker", "instance", "instance__owner")
