"""Who may use a machine, and whose it is. Each change is kept with who made it, and told to whom it concerns."""

from __future__ import annotations

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from experiments.access import experiments_for, may_work_without_experiment
from experiments.models import User
from experiments.people import beginning_with
from instances import notices
from instances.actions import Refused, check_manager, quota_of
from instances.limits import may_create
from instances.models import Instance, Member, MemberChange, MemberRole
from instances.models.catalogue import plans_for
from instances.notices import Kind
from instances.states import WORKING, State

AT_MOST = 50
"""People of one machine, so that no page and no crowd of sockets grows without bound."""

FOUND_AT_MOST = 10

Act = MemberChange.Act


def candidates(instance: Instance, text: str = "") -> QuerySet[User]:
    """Whom one may add: without `text` the teams of the machine's experiments, else those it names, FOUND_AT_MOST."""
    here = Member.objects.filter(instance=instance).values("user")
    if text.strip():
        return beginning_with(text).exclude(pk__in=here)[:FOUND_AT_MOST]
    team = User.objects.filter(experiments__in=instance.experiments.all(), is_active=True).exclude(pk__in=here)
    return team.select_related("affiliation").distinct().order_by("last_name", "first_name", "pk")[:AT_MOST]


def add(instance: Instance, by: User, user: User, role: MemberRole) -> Member:
    """Let a person in. Raises Refused for who is in already with another role, NotAllowed for who may not manage."""
    with transaction.atomic():
        machine = held(instance, by)
        there = Member.objects.filter(instance=machine, user=user).first()
        if there and there.role == role:
            return there
        if there:
            raise Refused(_("%(who)s is on this machine already.") % {"who": user}, "user")
        _check_active(user)
        made = _let_in(machine, user, role, Act.ADDED, by)
        notices.tell([user], Kind.MEMBER_ADDED, machine, who=str(by))
    return made


def join(instance: Instance, user: User, role: MemberRole) -> bool:
    """Somebody comes in by a link that was checked; whether that gave them anything. A higher role is kept.

    Call it in a transaction. Raises Refused where the machine takes nobody any more.
    """
    machine = _locked(instance)
    there = Member.objects.select_related("user").filter(instance=machine, user=user).first()
    if there is None:
        _let_in(machine, user, role, Act.JOINED, user)
        notices.tell([machine.owner], Kind.MEMBER_JOINED, machine, who=str(user))
        return True
    if there.role != MemberRole.GUEST or role != MemberRole.USER:
        return False
    _become(there, role, Act.JOINED, user)
    return True


def change_role(instance: Instance, by: User, user: User, role: MemberRole) -> None:
    """Give a member, who is not the owner, full control or the view only. Having it already is success."""
    with transaction.atomic():
        member = _other_member(held(instance, by), user)
        if member.role != role:
            _become(member, role, Act.ROLE, by)


def remove(instance: Instance, by: User, user: User) -> None:
    """Take a member off the machine, or leave it oneself; their open screens close.

    The owner stays until another owns the machine.
    """
    with transaction.atomic():
        if user == by:
            _let_go(_other_member(_locked(instance), user), Act.LEFT, by)
        else:
            machine = held(instance, by)
            _let_go(_other_member(machine, user), Act.REMOVED, by)
            notices.tell([user], Kind.MEMBER_REMOVED, machine, who=str(by))


def hand_over(instance: Instance, by: User, to: User) -> None:
    """Make a member the owner; who was it keeps full control.

    The new owner's quota and rights hold as if they made the machine now, under the same lock as there. Raises Refused
    with the reason, NotAllowed for who may not manage the machine (any more).
    """
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=to.pk)
        machine = held(instance, by)
        member = _other_member(machine, to)
        _check_new_owner(machine, to)
        _become(machine.members.get(role=MemberRole.OWNER), MemberRole.USER)
        Instance.objects.filter(pk=machine.pk).update(owner=to)
        _become(member, MemberRole.OWNER, Act.OWNER, by)
        notices.tell([to], Kind.HANDED_OVER, machine, who=str(by))
        if machine.owner != by:
            notices.tell([machine.owner], Kind.OWNER_CHANGED, machine, who=str(to))


def _check_active(user: User) -> None:
    if not user.is_active:
        raise Refused(_("%(who)s can no longer sign in.") % {"who": user}, "user")


def _check_new_owner(machine: Instance, to: User) -> None:
    _check_active(to)
    if machine.state in WORKING:
        raise Refused(_("The machine is busy with something else. Wait until it is done."))
    if not may_create(Instance.objects.live().filter(owner=to).count(), quota_of(to)):
        raise Refused(_("%(who)s has as many machines as they may have.") % {"who": to}, "user")
    experiments = list(machine.experiments.all())
    theirs = experiments_for(to).filter(pk__in=[experiment.pk for experiment in experiments]).count()
    if theirs < len(experiments) or not (experiments or may_work_without_experiment(to)):
        raise Refused(_("%(who)s was not on the team of this machine's experiment.") % {"who": to}, "user")
    if not plans_for(to, experiments).filter(pk=machine.plan_id).exists():
        raise Refused(_("This image and size are not offered to %(who)s.") % {"who": to}, "user")


def held(instance: Instance, by: User) -> Instance:
    """The machine's row, locked until the transaction ends, for who may manage it now; raises NotAllowed, Refused."""
    machine = _locked(instance)
    check_manager(machine, by)
    return machine


def _locked(instance: Instance) -> Instance:
    # no_key: rows that only point here (connections, chat) are written meanwhile without waiting for us. No join with
    # the owner: PostgreSQL drops a row from a join whose owner changed while the lock was waited for.
    machine = Instance.objects.select_for_update(no_key=True).get(pk=instance.pk)
    if machine.state in {State.DELETING, State.DELETED}:
        raise Refused(_("The machine is being deleted."))
    return machine


def _other_member(machine: Instance, user: User) -> Member:
    """The membership of somebody who is not the owner."""
    member = Member.objects.select_related("user").filter(instance=machine, user=user).first()
    if member is None:
        raise Refused(_("Choose one of the members."), "user")
    if member.role == MemberRole.OWNER:
        raise Refused(_("The owner stays until the machine is handed over."), "user")
    return member


def _let_in(machine: Instance, user: User, role: MemberRole, act: Act, by: User) -> Member:
    if machine.members.count() >= AT_MOST:
        raise Refused(_("A machine has at most %(count)d people. Remove one first.") % {"count": AT_MOST})
    made = Member.objects.create(instance=machine, user=user, role=role)
    _write_down(made, act, by)
    return made


def _become(member: Member, role: MemberRole, act: Act | None = None, by: User | None = None) -> None:
    member.role = role
    member.save(update_fields=["role"])
    if act:
        _write_down(member, act, by)


def _let_go(member: Member, act: Act, by: User) -> None:
    _write_down(member, act, by)
    member.delete()


def _write_down(member: Member, act: Act, by: User | None) -> None:
    MemberChange.objects.create(instance=member.instance, user=member.user, act=act, role=member.role, by=by)
    member.instance.tell("members")
