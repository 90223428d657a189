"""How a machine is told to a person: the state in words, the next sensible act, what else may be done."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.urls import reverse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from experiments.models import User
from instances import evidence
from instances.limits import Facts, Verdict, Why
from instances.models import JUPYTER, Instance, Protocol
from instances.states import TRANSITIONS, WORKING, State

Words = str | Promise


class Look(NamedTuple):
    """A state as people see it: words, a colour by its meaning, and a shape."""

    word: Words
    tone: str
    icon: str


LOOKS: dict[State, Look] = {
    State.BUILDING: Look(gettext_lazy("Being made"), "busy", "circle-dashed"),
    State.STARTING: Look(gettext_lazy("Starting"), "busy", "circle-dashed"),
    State.ACTIVE: Look(gettext_lazy("Ready"), "good", "circle-check"),
    State.STOPPING: Look(gettext_lazy("Stopping"), "busy", "circle-dashed"),
    State.STOPPED: Look(gettext_lazy("Stopped"), "rest", "circle-stop"),
    State.REBOOTING: Look(gettext_lazy("Restarting"), "busy", "circle-dashed"),
    State.HIBERNATING: Look(gettext_lazy("Falling asleep"), "busy", "circle-dashed"),
    State.HIBERNATED: Look(gettext_lazy("Asleep"), "rest", "moon-star"),
    State.UNREACHABLE: Look(gettext_lazy("Out of reach"), "warn", "triangle-alert"),
    State.ERROR: Look(gettext_lazy("Needs a hand"), "bad", "circle-x"),
    State.DELETING: Look(gettext_lazy("Being deleted"), "busy", "circle-dashed"),
    State.BINNED: Look(gettext_lazy("In the recycle bin"), "rest", "trash-2"),
    State.DELETED: Look(gettext_lazy("Deleted"), "rest", "trash-2"),
}
WAITING = Look(gettext_lazy("Waiting for the desktop"), "busy", "circle-dashed")

STEPS: dict[str, Words] = {
    "place": gettext_lazy("Find a host with room"),
    "image": gettext_lazy("Copy the image to the host"),
    "disk": gettext_lazy("Prepare the disk"),
    "start": gettext_lazy("Switch the machine on"),
    "boot": gettext_lazy("Start the system"),
    "desktop": gettext_lazy("Draw the desktop"),
}
SELDOM = "image"
"""The step that most machines need not take: it is shown once it begins."""

USE_ICONS = {
    Why.PINNED: "lock",
    Why.AWAKE: "sun",
    Why.KERNEL: "notebook-pen",
    Why.IDLE: "moon",
    Why.ENDING: "hourglass",
    Why.ENDED: "hourglass",
    Why.UNSEEN: "wifi-off",
}
SOON = timedelta(days=2)
MAKING = {State.BUILDING, State.STARTING, State.REBOOTING}


@dataclass(frozen=True)
class Act:
    """A button of a card: a link (GET) or a change (POST). With `question` it asks before it does."""

    name: str
    label: Words
    icon: str
    url: str
    method: str = "post"
    question: Words = ""
    loss: Words = ""
    danger: bool = False


@dataclass(frozen=True)
class Line:
    """One step of making or starting: done, now or waiting, with the seconds that it took."""

    label: Words
    status: str
    at: datetime | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class Card:
    """One machine as `user` may see and use it. `sees`: they may see its screen now, and so its picture."""

    instance: Instance
    user: User
    manages: bool
    found: Verdict
    facts: Facts
    sees: bool = False
    look: Look = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "look", look_of(self.instance))

    @property
    def use(self) -> str:
        """Why it is kept or what becomes of it, in words; nothing where that is not a question now."""
        if self.working or self.instance.gone or self.instance.state == State.UNREACHABLE:
            return ""
        if self.instance.progress is not None:
            words = _("It is being moved to another host: %(percent)d%%. Started meanwhile, it stays on this one.")
            return words % {"percent": self.instance.progress}
        return evidence.sentence(self.found, self.facts, timezone.now())

    @property
    def use_icon(self) -> str:
        return USE_ICONS.get(self.found.why, "activity")

    @property
    def may_ask_for_time(self) -> bool:
        """From its card: when the end is near. On its page it may be asked for at any time."""
        return self.manages and self.found.why in {Why.ENDING, Why.ENDED}

    @property
    def host_lost(self) -> bool:
        return self.instance.host is not None and self.instance.host.lost

    @property
    def mine(self) -> bool:
        return self.instance.owner_id == self.user.pk

    @property
    def url(self) -> str:
        return reverse("machine", args=[self.instance.uuid])

    @property
    def desktop_url(self) -> str:
        return reverse("desktop", args=[self.instance.uuid])

    @property
    def apps(self) -> list[Act]:
        """The web applications of a machine that runs. JupyterLab is observed; another waits on its own page."""
        if self.instance.state != State.ACTIVE:
            return []
        silent = {JUPYTER} if self.instance.jupyter_ready_at is None else set()
        return [
            Act(app.slug, app.name, app.icon, reverse("machine-app", args=[self.instance.uuid, app.slug]))
            for app in self.instance.plan.image.web_apps()
            if app.slug not in silent
        ]

    @property
    def terminal_url(self) -> str:
        """Where its terminal is; "" while there is none. Asks a question of the database: not for lists."""
        there = self.instance.ready and self.instance.plan.image.port(Protocol.SSH)
        return reverse("terminal", args=[self.instance.uuid]) if there else ""

    @property
    def making(self) -> bool:
        """It is on its way to a desktop."""
        waits = self.instance.state == State.ACTIVE and not self.instance.ready
        return self.instance.state in MAKING or waits

    @property
    def working(self) -> bool:
        return self.instance.state in WORKING or self.making

    @property
    def primary(self) -> Act | None:
        """The next sensible act; None when there is nothing to do but wait."""
        if self.instance.ready:
            return Act("open", _("Open desktop"), "monitor-play", self.desktop_url, "get")
        if self.making:
            return Act("watch", _("Watch it start"), "eye", self.url, "get")
        start = None if self.host_lost else _starts().get(State(self.instance.state))
        if start and self.manages and self.ended:
            return Act("time", _("Ask for more time"), "hourglass", f"{self.url}#time", "get")
        if start and self.manages:
            return self._act("start", *start)
        return None

    @property
    def menu(self) -> list[Act]:
        """What else the person may ask of the machine as it is now."""
        if not self.manages:
            return []
        allowed = TRANSITIONS[State(self.instance.state)]
        acts = []
        if State.REBOOTING in allowed:
            acts.append(self._reboot())
        if State.HIBERNATING in allowed:
            acts.append(self._sleep())
        if State.STOPPING in allowed:
            acts.append(self._stop())
        if State.DELETING in allowed:
            acts.append(self._delete())
        return acts

    @property
    def waits_for(self) -> str:
        """What somebody who cannot start it needs to know."""
        if self.instance.state in _starts() and self.host_lost:
            return _("Its host does not answer. Its files are kept, and it can be started when the host is back.")
        if self.primary or self.manages or self.working:
            return ""
        return _("Only %(owner)s can start it.") % {"owner": self.instance.owner}

    @property
    def ends_soon(self) -> bool:
        ends = self.instance.expires_at
        return not self.instance.pinned and ends is not None and ends - timezone.now() < SOON

    @property
    def ended(self) -> bool:
        return self.instance.ended(timezone.now())

    @property
    def total(self) -> float | None:
        """Seconds from the first step of this attempt to the desktop."""
        begun = [line.at for line in self.lines if line.at is not None]
        ready = self.instance.desktop_ready_at
        return (ready - begun[0]).total_seconds() if begun and ready else None

    @property
    def step(self) -> Line | None:
        return next((line for line in self.lines if line.status == "now"), None)

    @property
    def lines(self) -> list[Line]:
        return steps_of(self.instance)

    def _act(
        self, name: str, label: str, icon: str, *, question: str = "", loss: str = "", danger: bool = False
    ) -> Act:
        url = reverse("machine-act", args=[self.instance.uuid, name])
        return Act(name, label, icon, url, question=question, loss=loss, danger=danger)

    def _reboot(self) -> Act:
        question = _("Restart “%(name)s”?") % {"name": self.instance.name}
        loss = _("Programs in it are closed. What you have not saved is lost; files stay.")
        return self._act("reboot", _("Restart"), "rotate-cw", question=question, loss=loss)

    def _sleep(self) -> Act:
        question = _("Put “%(name)s” to sleep?") % {"name": self.instance.name}
        loss = _("Nothing is lost: programs wait as they are, and go on when you resume it.")
        return self._act("hibernate", _("Put to sleep"), "moon-star", question=question, loss=loss)

    def _stop(self) -> Act:
        question = _("Stop “%(name)s”?") % {"name": self.instance.name}
        loss = _("Programs in it are closed. What you have not saved is lost; files stay, and you can start it again.")
        return self._act("stop", _("Stop"), "power-off", question=question, loss=loss)

    def _delete(self) -> Act:
        question = _("Delete “%(name)s”?") % {"name": self.instance.name}
        loss = _("Programs in it are closed. Its disk stays in the recycle bin for a while, then it is lost for good.")
        return self._act("delete", _("Delete"), "trash-2", question=question, loss=loss, danger=True)


def _starts() -> dict[State, tuple[str, str]]:
    return {
        State.STOPPED: (_("Start"), "power"),
        State.HIBERNATED: (_("Resume"), "play"),
        State.ERROR: (_("Try again"), "rotate-ccw"),
    }


def look_of(instance: Instance) -> Look:
    waits = instance.state == State.ACTIVE and not instance.ready
    return WAITING if waits else LOOKS[State(instance.state)]


def steps_of(instance: Instance) -> list[Line]:
    """The steps of the present attempt in their order; those still to come follow while the machine is not ready."""
    begun = {step.name: step.at for step in instance.steps.all() if step.attempt == instance.attempt}
    order = list(STEPS)
    last = max(
        (order.index(name) for name in begun if name in STEPS),
        default=order.index("start") - 1 if instance.built_at else -1,
    )
    lines = [_line(name, begun, order, instance) for name in order[: last + 1] if name in begun]
    coming = [] if instance.ready else [name for name in order[last + 1 :] if name != SELDOM]
    return lines + [Line(STEPS[name], "waiting") for name in coming]


def _line(name: str, begun: dict[str, datetime], order: list[str], instance: Instance) -> Line:
    """A step that began: it ended when the next began, or when the desktop was ready."""
    at = begun[name]
    following = [begun[later] for later in order[order.index(name) + 1 :] if later in begun]
    end = following[0] if following else instance.desktop_ready_at
    if end is not None:
        return Line(STEPS[name], "done", at, max(0.0, (end - at).total_seconds()))
    status = "failed" if instance.state == State.ERROR else "now"
    return Line(_now(name, instance), status, at, (timezone.now() - at).total_seconds())


def _now(name: str, instance: Instance) -> Words:
    if name == SELDOM and instance.progress is not None:
        return _("The image is being copied to the host: %(percent)d%%") % {"percent": instance.progress}
    return STEPS[name]
