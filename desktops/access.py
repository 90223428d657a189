"""Who may look at which screen, as what, and where that screen is. Every question is answered from the rows.

A person's *relation* to a machine is what the rows say they are; their *standing* is what follows from it now: whether
they may be at the screen, what they may do there, and until when.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore
from django.db.models import F, prefetch_related_objects
from django.http import HttpRequest
from django.utils import timezone

from desktops.models import AccessRequest, Connection, Invitation, Mode, OwnerAway, Pass, Policy, Room, Which
from desktops.relay import Code, Ending
from desktops.rfb import Role
from experiments.models import Role as FacilityRole
from experiments.models import User
from instances.models import Instance, Member, Protocol
from instances.screen import Tls
from instances.states import HOLDS_CPU, OPENABLE, State

_COMING = frozenset({State.BUILDING, State.STARTING, State.REBOOTING, State.UNREACHABLE})


class Relation(StrEnum):
    """What somebody is to a machine. SUPPORT may ask to come in; PUBLIC came by a public link and may watch."""

    OWNER = "owner"
    USER = "user"
    GUEST = "guest"
    SUPPORT = "support"
    PUBLIC = "public"


@dataclass(frozen=True)
class Standing:
    """What somebody may do at a machine's screen now, until `until` where that is set.

    `role` is their right; `muted` says that they may not use it at the moment: another one has control, the owner
    froze everybody or is away. `clipboard`: what is copied in the machine reaches them.
    """

    relation: Relation
    role: Role
    muted: bool = False
    clipboard: bool = True
    until: datetime | None = None

    @property
    def controls(self) -> bool:
        return self.role is Role.CONTROL and not self.muted


@dataclass(frozen=True)
class Ticket:
    """One person may open one screen, now. The password is the machine's and goes no further than the relay.

    Of a terminal and of files it is the secret behind the machine's keys (`instances.trust`).
    """

    instance_id: int
    user_id: int
    username: str
    which: Which
    standing: Standing
    generation: int
    host: str
    port: int
    password: str = field(repr=False)
    tls: Tls | None = None

    @property
    def role(self) -> Role:
        return self.standing.role

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
DISMISSED = Denied(Ending(Code.WITHDRAWN, "The owner closed your screen."))
OWNER_AWAY = Denied(Ending(Code.OWNER_AWAY, "The owner is away. The desktop opens when they are back."))
ASK_FIRST = Denied(Ending(Code.ASK_FIRST, "Ask the owner to let you in."))


def signed_in(session_key: str | None) -> User | None:
    """Whose session this is: None once it ended, expired, or its person was disabled or changed the password.

    Read from the row, as pages do.
    """
    if not session_key:
        return None
    request = HttpRequest()
    request.session = SessionStore(session_key)
    user = get_user(request)
    return user if user.is_authenticated else None


def relation_of(user: User, instance: Instance) -> Relation | None:
    """What somebody is to a machine; None is a stranger. Membership goes before support, support before a link."""
    return _relations(user, [instance])[instance.pk]


def _relations(user: User, instances: Sequence[Instance]) -> dict[int, Relation | None]:
    found: dict[int, Relation | None] = {one.pk: None for one in instances}
    found |= {one.pk: Relation.OWNER for one in instances if one.owner_id == user.pk}
    for more in (_memberships, _supported, _watched):
        unknown = [pk for pk, relation in found.items() if relation is None]
        if unknown:
            found |= more(user, unknown)
    return found


def _memberships(user: User, machines: list[int]) -> dict[int, Relation]:
    roles = Member.objects.filter(user=user, instance__in=machines).values_list("instance", "role")
    return {pk: Relation(role) for pk, role in roles}


def _supported(user: User, machines: list[int]) -> dict[int, Relation]:
    supported = Instance.objects.supported_by(user).filter(pk__in=machines)
    return dict.fromkeys(supported.values_list("pk", flat=True), Relation.SUPPORT)


def _watched(user: User, machines: list[int]) -> dict[int, Relation]:
    passes = _public_passes([user], machines)
    allowed = bool(passes) and Policy.current().public_links
    return {one.invitation.instance_id: Relation.PUBLIC for one in passes} if allowed else {}


def _public_passes(users: Iterable[User], machines: list[int]) -> list[Pass]:
    """What lets these people watch by public links, if the facility allows such links."""
    links = Invitation.objects.valid_at(timezone.now()).filter(instance__in=machines, public=True)
    passes = Pass.objects.filter(invitation__in=links, user__in=users, withdrawn_at=None)
    return list(passes.select_related("invitation"))


def find(user: User, uuid: UUID) -> tuple[Instance, Relation] | None:
    """The live machine and what the person is to it; None where they may not know of it."""
    instance = Instance.objects.live().select_related("owner").filter(uuid=uuid).first()
    relation = relation_of(user, instance) if instance else None
    return (instance, relation) if instance and relation else None


def owner_here(instance: Instance, policy: Policy, now: datetime) -> bool:
    """Whether the owner is there, or was a moment ago: a reload is not a departure."""
    return instance.pk in owners_here([instance], policy, now)


def owners_here(instances: Iterable[Instance], policy: Policy, now: datetime) -> set[int]:
    """The machines, by their row numbers, whose owner is there; who only fetches a file sees nobody at the screen."""
    there = (Which.SCREEN, Which.APP, Which.TERMINAL)
    looks = Connection.objects.filter(instance__in=instances, user=F("instance__owner"), which__in=there)
    return set(looks.present_at(now, policy.grace).values_list("instance", flat=True))


def grant_of(user: User, instance: Instance, now: datetime) -> AccessRequest | None:
    """What lets a supporter in at `now`."""
    return _grants(user, [instance], now).get(instance.pk)


def _grants(user: User, instances: Iterable[Instance], now: datetime) -> dict[int, AccessRequest]:
    """Consent is given to the facility's support: who is that no more has no use of it, whatever else they are here."""
    granted = AccessRequest.objects.granted_at(now).filter(instance__in=instances, asker=user)
    found = {one.instance_id: one for one in granted.order_by("until")}
    supported = _supported(user, list(found)) if found else {}
    return {pk: grant for pk, grant in found.items() if pk in supported}


@dataclass(frozen=True)
class _Facts:
    """What the rows say about one person at one machine."""

    relation: Relation | None
    room: Room
    grant: AccessRequest | None
    owner_here: bool


def _facts(user: User, instances: Sequence[Instance], policy: Policy) -> dict[int, _Facts]:
    """In a number of queries that does not depend on how many machines there are."""
    now = timezone.now()
    relations = _relations(user, instances)
    others = [one for one in instances if relations[one.pk] not in {None, Relation.OWNER}]
    grants = _grants(user, others, now) if others else {}
    here = owners_here(others, policy, now) if others else set()
    rooms = {room.instance_id: room for room in Room.objects.filter(instance__in=instances)}
    return {
        one.pk: _Facts(relations[one.pk], rooms.get(one.pk) or Room(instance=one), grants.get(one.pk), one.pk in here)
        for one in instances
    }


def stands(user: User, instance: Instance, *, inside: bool = False) -> Standing | Denied:
    """What the person may do at this machine's screen now, or why nothing.

    `inside` is somebody who is looking already: whether they may stay when the owner leaves is the facility's rule.
    """
    policy = Policy.current()
    return _stands(user, instance, _facts(user, [instance], policy)[instance.pk], policy, inside=inside)


def may_see(user: User, instances: Sequence[Instance]) -> set[int]:
    """The machines, by their row numbers, whose screen the person may see now; in a constant number of queries."""
    if not instances:
        return set()
    policy = Policy.current()
    facts = _facts(user, instances, policy)
    prefetch_related_objects([one for one in instances if facts[one.pk].grant], "owner__role_grants")
    return {
        one.pk for one in instances if isinstance(_stands(user, one, facts[one.pk], policy, inside=False), Standing)
    }


def everybody_inside(instance: Instance, users: Sequence[User]) -> dict[int, Standing | Denied]:
    """How these people, who look at the screen, stand, by their row numbers; in a constant number of queries.

    As `stands` says of each; only whether a supporter supports just this machine, each one's own socket asks.
    """
    policy, now, room = Policy.current(), timezone.now(), Room.of(instance)
    here = owner_here(instance, policy, now)
    relations = _relations_inside(instance, users, policy)
    granted = (
        AccessRequest.objects.granted_at(now)
        .filter(instance=instance, asker__in=users)
        .exclude(asker=instance.owner_id)
    )
    asked = {one.asker_id: one for one in granted.order_by("until")}
    prefetch_related_objects([user for user in users if user.pk in asked], "role_grants")
    grants = {user.pk: asked[user.pk] for user in users if user.pk in asked and user.supports}
    prefetch_related_objects([instance] if grants else [], "owner__role_grants")

    def facts(user: User) -> _Facts:
        grant = grants.get(user.pk)
        return _Facts(relations.get(user.pk) or (Relation.SUPPORT if grant else None), room, grant, here)

    return {user.pk: _stands(user, instance, facts(user), policy, inside=True) for user in users}


def _relations_inside(instance: Instance, users: Sequence[User], policy: Policy) -> dict[int, Relation]:
    """Without supporters, whom only a consent lets in."""
    passes = _public_passes(users, [instance.pk]) if policy.public_links else []
    watching = {one.user_id: Relation.PUBLIC for one in passes}
    members = Member.objects.filter(instance=instance, user__in=users).values_list("user", "role")
    return watching | {pk: Relation(role) for pk, role in members} | {instance.owner_id: Relation.OWNER}


def _stands(user: User, instance: Instance, facts: _Facts, policy: Policy, *, inside: bool) -> Standing | Denied:
    relation, room, grant = facts.relation, facts.room, facts.grant
    if relation is None:
        return NOT_FOUND
    if relation is Relation.OWNER:
        return _muted_by_room(Standing(relation, Role.CONTROL), user, room)
    standing = _by_grant(grant, room) if grant else _by_relation(relation, room)
    if standing is None:
        return ASK_FIRST
    if not facts.owner_here and not _may_be_alone(standing, grant, instance, room, policy):
        stays = inside and policy.owner_away == OwnerAway.LOCK and relation is not Relation.PUBLIC
        return _mute(standing) if stays else OWNER_AWAY
    return _muted_by_room(standing, user, room)


def _by_relation(relation: Relation, room: Room) -> Standing | None:
    if relation is Relation.SUPPORT:
        return None
    role = Role.CONTROL if relation is Relation.USER else Role.WATCH
    return Standing(relation, role, clipboard=role is Role.CONTROL or room.watchers_clipboard)


def _by_grant(grant: AccessRequest, room: Room) -> Standing:
    role = Role(grant.role)
    clipboard = role is Role.CONTROL or room.watchers_clipboard
    return Standing(Relation.SUPPORT, role, clipboard=clipboard, until=grant.until)


def _may_be_alone(
    standing: Standing, grant: AccessRequest | None, instance: Instance, room: Room, policy: Policy
) -> bool:
    """Whether somebody may be at the screen without its owner."""
    if standing.relation is Relation.PUBLIC:
        return False
    if room.members_alone:
        return True
    return grant is not None and unattended_allowed(instance, policy)


def unattended_allowed(instance: Instance, policy: Policy) -> bool:
    """Whether support may be at this machine without its owner: never at one of the facility's own staff."""
    return policy.unattended_support and not instance.owner.has_role(FacilityRole.STAFF, FacilityRole.ADMIN)


def _muted_by_room(standing: Standing, user: User, room: Room) -> Standing:
    return standing if _has_control(standing, user, room) else _mute(standing)


def _has_control(standing: Standing, user: User, room: Room) -> bool:
    owner = standing.relation is Relation.OWNER
    if room.frozen:
        return owner
    if room.mode == Mode.FREE:
        return True
    return owner if room.holder_id is None else room.holder_id == user.pk


def _mute(standing: Standing) -> Standing:
    return replace(standing, muted=True)


def admit(user: User | None, uuid: UUID, which: Which, *, inside: bool = False) -> Ticket | Denied:
    """A ticket to this screen, or why not. A stranger is never told whether the machine exists."""
    if user is None or not user.is_active:
        return SIGN_IN
    instance = Instance.objects.select_related("owner").filter(uuid=uuid).first()
    if instance is None:
        return NOT_FOUND
    standing = stands(user, instance, inside=inside)
    if isinstance(standing, Denied):
        return standing if which is not Which.CONSOLE or standing is ASK_FIRST else NOT_FOUND
    if not _may_ever(which, standing.relation):
        return NOT_FOUND
    place = _PLACES[which](instance)
    if place is None:
        return NOT_YET if instance.state in _COMING else STOPPED
    host, port, password = place
    tls = _tls(instance) if which is Which.CONSOLE else None
    return Ticket(instance.pk, user.pk, user.username, which, standing, instance.generation, host, port, password, tls)


def _may_ever(which: Which, relation: Relation) -> bool:
    if which is Which.CONSOLE:
        return may_rescue(relation)
    return which is Which.SCREEN or may_enter_shell(relation)


def may_enter_shell(relation: Relation) -> bool:
    """Whether a terminal and files are open to somebody. Who came by a public link watches the screen and no more."""
    return relation is not Relation.PUBLIC


def may_rescue(relation: Relation) -> bool:
    """Who may use the console: it is the machine's keyboard, before anybody signed in to the machine."""
    return relation in {Relation.OWNER, Relation.SUPPORT}


def admit_again(session_key: str | None, uuid: UUID, ticket: Ticket) -> Ticket | Denied:
    """Whether somebody who is looking may go on, and as what."""
    answer = admit(signed_in(session_key), uuid, ticket.which, inside=True)
    if answer in (NOT_FOUND, ASK_FIRST):
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


def _tls(instance: Instance) -> Tls | None:
    """The console of a far host is reached over a network: with its certificate or not at all."""
    name = instance.host.far_name if instance.host else ""
    return Tls(settings.VISA_CONSOLE_CA, name) if name else None


def shell_place(instance: Instance) -> tuple[str, int, str] | None:
    """Address, port and secret of the machine's SSH server, while it can be entered."""
    port = instance.plan.image.port(Protocol.SSH)
    if instance.state not in OPENABLE or not instance.address or port is None or not instance.ssh_secret:
        return None
    return instance.address, port, instance.ssh_secret


_PLACES = {Which.SCREEN: _desktop, Which.CONSOLE: _console, Which.TERMINAL: shell_place, Which.FILES: shell_place}
