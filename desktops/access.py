"""Who may look at which screen, and where that screen is. Every question is answered from the rows as they are now."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest

from desktops.models import Which
from desktops.relay import Code, Ending
from desktops.rfb import Role
from experiments.models import Role as FacilityRole
from experiments.models import User
from instances.models import Instance, Member, MemberRole, Protocol
from instances.states import HOLDS_CPU, OPENABLE, State

RESCUERS = frozenset({MemberRole.OWNER, MemberRole.SUPPORT})
"""Who may use the console: it is the machine's keyboard, before anybody signed in to the machine."""

_COMING = frozenset({State.BUILDING, State.STARTING, State.REBOOTING, State.UNREACHABLE})


@dataclass(frozen=True)
class Ticket:
    """One person may open one screen, now. The password is the machine's and goes no further than the relay."""

    instance_id: int
    user_id: int
    which: Which
    role: Role
    generation: int
    host: str
    port: int
    password: str = field(repr=False)

    def same_screen(self, other: Ticket) -> bool:
        """Whether both name the same screen of the same build of the machine."""
        return (self.host, self.port, self.generation) == (other.host, other.port, other.generation)


@dataclass(frozen=True)
class Denied:
    ending: Ending


SIGN_IN = Denied(Ending(Code.SIGN_IN, "You are signed out. Sign in to go on."))
NOT_FOUND = Denied(Ending(Code.NOT_FOUND, "There is no such desktop, or it is not yours."))
STOPPED = Denied(Ending(Code.STOPPED, "The machine is not running. Start it to open its desktop."))
NOT_YET = Denied(Ending(Code.NO_ANSWER, "The machine's screen does not answer yet. It may be starting."))
WITHDRAWN = Denied(Ending(Code.WITHDRAWN, "Your access to this machine was withdrawn."))


def signed_in(session_key: str | None) -> User | None:
    """Whose session this is: None once it ended, expired, or its person was disabled or changed the password.

    Read from the rows, which the pages' cached sessions write through: they are the truth, and need no Redis.
    """
    if not session_key:
        return None
    request = HttpRequest()
    request.session = SessionStore(session_key)
    user = get_user(request)
    return user if user.is_authenticated else None


def role_for(user: User, instance: Instance) -> MemberRole | None:
    """What somebody is to a machine; None is a stranger.

    Administrators and IT support are SUPPORT on every machine but their own.
    """
    if instance.owner_id == user.pk:
        return MemberRole.OWNER
    if user.has_role(FacilityRole.ADMIN, FacilityRole.IT_SUPPORT):
        return MemberRole.SUPPORT
    member = Member.objects.filter(instance=instance, user=user).first()
    return MemberRole(member.role) if member else None


def admit(user: User | None, uuid: UUID, which: Which) -> Ticket | Denied:
    """A ticket to this screen, or why not. A stranger is never told whether the machine exists."""
    if user is None or not user.is_active:
        return SIGN_IN
    instance = Instance.objects.filter(uuid=uuid).first()
    member = role_for(user, instance) if instance else None
    if instance is None or member is None or (which is Which.CONSOLE and member not in RESCUERS):
        return NOT_FOUND
    place = _console(instance) if which is Which.CONSOLE else _desktop(instance)
    if place is None:
        return NOT_YET if instance.state in _COMING else STOPPED
    host, port, password = place
    role = Role.WATCH if member is MemberRole.GUEST else Role.CONTROL
    return Ticket(instance.pk, user.pk, which, role, instance.generation, host, port, password)


def admit_again(session_key: str | None, uuid: UUID, ticket: Ticket) -> Ticket | Denied:
    """Whether somebody who is looking may go on, and as what."""
    answer = admit(signed_in(session_key), uuid, ticket.which)
    if answer is NOT_FOUND:
        return WITHDRAWN
    if isinstance(answer, Ticket) and not answer.same_screen(ticket):
        return STOPPED
    return answer


def _desktop(instance: Instance) -> tuple[str, int, str] | None:
    if instance.state not in OPENABLE or not instance.address:
        return None
    protocol = instance.plan.image.protocols.filter(kind=Protocol.VNC).first()
    return (instance.address, protocol.port, instance.vnc_password) if protocol else None


def _console(instance: Instance) -> tuple[str, int, str] | None:
    if instance.state not in HOLDS_CPU or not instance.console_host or not instance.console_port:
        return None
    return instance.console_host, instance.console_port, instance.console_password
