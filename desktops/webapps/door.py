"""Who may use which web application of a machine now, as what, and where it is. Answered from the rows.

The rights are the desktop's. Who came by a public link watches the screen and nothing else: an application shows files.
Who watches may ask of JupyterLab what `reading` knows to show something. Of what an image declares nothing is known but
HTTP itself: safe methods change nothing (RFC 9110, 9.2.1); of a socket's messages nobody says so, and it stays shut.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from desktops import access
from desktops.access import Denied, Relation, Standing
from desktops.relay import Code, Ending
from desktops.webapps import reading, tickets
from desktops.webapps.origins import Address
from experiments.models import User
from instances.models import JUPYTER, Instance
from instances.states import OPENABLE

NOT_FOUND = Denied(Ending(Code.NOT_FOUND, "There is no such application, or it is not yours."))
NOT_RUNNING = Denied(Ending(Code.STOPPED, "The machine is not running."))


@dataclass(frozen=True)
class App:
    """A web application that an image offers. `token` is the guest's and goes no further than the proxy."""

    slug: str
    name: str
    port: int
    path: str
    icon: str
    token: str = field(default="", repr=False)

    @property
    def is_jupyter(self) -> bool:
        return self.slug == JUPYTER

    def shows(self, method: str, path: bytes) -> bool:
        """Whether somebody who only watches may ask this."""
        return reading.may_read(method, path) if self.is_jupyter else method in reading.SAFE

    def tells(self, path: bytes) -> bool:
        """Whether somebody who only watches may open this WebSocket."""
        return self.is_jupyter and reading.may_listen(path)


@dataclass(frozen=True)
class Admission:
    """One person may use one application of one build of a machine, now."""

    instance_id: int
    user_id: int
    standing: Standing
    generation: int
    host: str
    app: App
    person: tuple[UUID, str]
    """The public id and the name of who this is, as the application hears them."""


def apps_for(instance: Instance, relation: Relation) -> list[App]:
    """What the machine's image offers to somebody with this relation; nothing to who came by a public link."""
    if relation is Relation.PUBLIC:
        return []
    tokens = {JUPYTER: instance.jupyter_token}
    return [App(*app, token=tokens.get(app.slug, "")) for app in instance.plan.image.web_apps()]


def find(user: User, uuid: UUID, slug: str) -> tuple[Instance, App] | None:
    """The live machine and its application, for those who may know of it."""
    found = access.find(user, uuid)
    apps = apps_for(*found) if found else []
    return next(((found[0], app) for app in apps if found and app.slug == slug), None)


def come_in(session_key: str, address: Address) -> Admission | Denied:
    """As `admit`; but who was shown out needs a new ticket first."""
    answer = admit(session_key, address)
    out = isinstance(answer, Admission) and tickets.shown_out(session_key, address)
    return access.DISMISSED if out else answer


def admit(session_key: str, address: Address, *, inside: bool = False) -> Admission | Denied:
    """The person of this session at this application, or why not. A stranger is not told whether it exists."""
    user = access.signed_in(session_key)
    if user is None:
        return access.SIGN_IN
    found = find(user, address.uuid, address.app)
    if found is None:
        return access.WITHDRAWN if inside else NOT_FOUND
    instance, app = found
    standing = access.stands(user, instance, inside=inside)
    if isinstance(standing, Denied):
        return standing
    if instance.state not in OPENABLE or not instance.address:
        return NOT_RUNNING
    person = (user.uuid, str(user))
    return Admission(instance.pk, user.pk, standing, instance.generation, instance.address, app, person)
