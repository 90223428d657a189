"""A machine, who may use it, and what happened to it."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from uuid import uuid4

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from experiments.models import Experiment, Role, User
from instances import signals
from instances.keyboards import KEYBOARDS
from instances.models.catalogue import Plan
from instances.models.fields import EncryptedTextField
from instances.models.hosts import Host
from instances.states import LIVE, TRANSITIONS, WORKING, State

MAX_SCREEN = 8192
MIN_SCREEN = 320

AROUND = timedelta(days=7)
"""How near to an experiment instrument control may help with its machines."""

DEADLINES: dict[State, timedelta] = {
    State.BUILDING: timedelta(minutes=10),
    State.STARTING: timedelta(minutes=10),
    State.STOPPING: timedelta(minutes=4),
    State.REBOOTING: timedelta(minutes=10),
    State.HIBERNATING: timedelta(minutes=10),
    State.DELETING: timedelta(minutes=10),
}
"""How long a machine may stay in each WORKING state before a person is told; emulated guests boot slowly."""


class IllegalTransition(Exception):
    """The state table does not allow this move."""


class Superseded(Exception):
    """Somebody else moved the machine first; look again before doing anything."""


def new_screen_password() -> str:
    """Eight characters, as many as VNC authentication can use (RFC 6143, 7.2.2)."""
    return "".join(secrets.choice("abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789") for _ in range(8))


def new_token() -> str:
    return secrets.token_urlsafe(32)


class InstanceQuerySet(models.QuerySet["Instance"]):
    def live(self) -> InstanceQuerySet:
        return self.filter(state__in=LIVE)

    def visible_to(self, user: User) -> InstanceQuerySet:
        """Those the person owns or is a member of, and those that the person supports."""
        mine = Q(pk__in=Member.objects.filter(user=user).values("instance"))
        return self.filter(mine | _supported_by(user, timezone.now()))

    def supported_by(self, user: User) -> InstanceQuerySet:
        """Those that the person's roles let them support, by consent of the owner; never their own.

        All for administrators and IT; for instrument control those with an experiment within a week of now; for
        instrument scientists those with an experiment at one of their instruments. Several roles add up.
        """
        return self.filter(_supported_by(user, timezone.now())).exclude(owner=user)

    def with_details(self) -> InstanceQuerySet:
        """Everything a card shows, in a constant number of queries."""
        return self.select_related(
            "owner", "owner__affiliation", "plan__image", "plan__flavour", "host"
        ).prefetch_related(
            "experiments__proposal", "experiments__instrument", "steps", "plan__image__protocols", "plan__image__apps"
        )


def _supported_by(user: User, now: datetime) -> Q:
    roles = user.roles(now)
    if roles & {Role.ADMIN, Role.IT_SUPPORT}:
        return ~Q(pk__in=[])
    wanted = Q(pk__in=[])
    used = Instance.experiments.through.objects
    if Role.INSTRUMENT_CONTROL in roles:
        recent = used.filter(experiment__starts_at__lt=now + AROUND, experiment__ends_at__gt=now - AROUND)
        wanted |= Q(pk__in=recent.values("instance"))
    if Role.INSTRUMENT_SCIENTIST in roles:
        local = used.filter(experiment__instrument__scientists=user)
        wanted |= Q(pk__in=local.values("instance"))
    return wanted


class Instance(models.Model):
    """One machine of one owner. `state` is what people expect; `power` is what the host said last.

    Only `transition` writes `state`. Secrets are encrypted at rest and leave only towards the machine itself.
    """

    uuid = models.UUIDField(default=uuid4, unique=True, editable=False)
    request_key = models.UUIDField(default=uuid4, editable=False)
    name = models.CharField(_("name"), max_length=60)
    comments = models.TextField(_("notes"), blank=True, max_length=2500)
    owner = models.ForeignKey(User, on_delete=models.PROTECT, related_name="machines", verbose_name=_("owner"))
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="instances", verbose_name=_("plan"))
    experiments = models.ManyToManyField(
        Experiment, blank=True, related_name="instances", verbose_name=_("experiments")
    )
    host = models.ForeignKey(
        Host, on_delete=models.PROTECT, null=True, blank=True, related_name="instances", verbose_name=_("host")
    )

    # The size as it was chosen: later changes of the flavour do not change what this machine holds.
    vcpus = models.PositiveSmallIntegerField(_("CPUs"))
    memory_mib = models.PositiveIntegerField(_("memory, MiB"))
    disk_gib = models.PositiveIntegerField(_("disk, GiB"))
    screen_width = models.PositiveSmallIntegerField(
        _("screen width"), default=1440, validators=[MinValueValidator(MIN_SCREEN), MaxValueValidator(MAX_SCREEN)]
    )
    screen_height = models.PositiveSmallIntegerField(
        _("screen height"), default=900, validators=[MinValueValidator(MIN_SCREEN), MaxValueValidator(MAX_SCREEN)]
    )
    keyboard = models.CharField(_("keyboard"), max_length=20, choices=KEYBOARDS, default="us")

    state = models.CharField(
        _("state"), max_length=12, choices=[(s.value, s.value) for s in State], default=State.BUILDING, editable=False
    )
    state_since = models.DateTimeField(_("in this state since"), default=timezone.now, editable=False)
    deadline_at = models.DateTimeField(_("must be done by"), null=True, editable=False)
    lease_until = models.DateTimeField(null=True, editable=False)
    lease_token = models.UUIDField(null=True, editable=False)
    generation = models.PositiveIntegerField(default=1, editable=False)
    attempt = models.PositiveIntegerField(default=1, editable=False)
    built_at = models.DateTimeField(_("disk made"), null=True, editable=False)
    problem = models.TextField(_("problem"), blank=True, editable=False)
    progress = models.PositiveSmallIntegerField(_("percent copied"), null=True, editable=False)

    power = models.CharField(_("power"), max_length=10, blank=True, editable=False)
    observed_at = models.DateTimeField(_("observed"), null=True, editable=False)
    missing_since = models.DateTimeField(_("missing since"), null=True, editable=False)
    booted_at = models.DateTimeField(_("last started"), null=True, editable=False)
    address = models.GenericIPAddressField(_("address"), null=True, editable=False)
    console_host = models.CharField(max_length=100, blank=True, editable=False)
    console_port = models.PositiveIntegerField(null=True, editable=False)
    desktop_ready_at = models.DateTimeField(_("desktop ready"), null=True, editable=False)
    jupyter_ready_at = models.DateTimeField(_("JupyterLab ready"), null=True, editable=False)

    vnc_password = EncryptedTextField(default=new_screen_password, editable=False)
    console_password = EncryptedTextField(default=new_screen_password, editable=False)
    jupyter_token = EncryptedTextField(default=new_token, editable=False)
    # As in instances.trust. Empty: made before machines had terminals, so that its guest knows no key of ours.
    ssh_secret = EncryptedTextField(default=new_token, editable=False)

    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(_("last used"), null=True, editable=False)
    expires_at = models.DateTimeField(_("ends"), null=True, blank=True)
    may_end_at = models.DateTimeField(_("may live until"), null=True, editable=False)
    ends_set_at = models.DateTimeField(_("end set"), null=True, editable=False)
    end_warned_at = models.DateTimeField(_("told of its end"), null=True, editable=False)
    pinned = models.BooleanField(_("kept by staff"), default=False, editable=False)

    # Input is `last_used_at`; the rest of what is known of its use. `cpu_readings` are pairs as in instances.limits.
    worked_at = models.DateTimeField(_("last worked"), null=True, editable=False)
    cpu_readings = models.JSONField(default=list, editable=False)
    awake_until = models.DateTimeField(_("kept awake until"), null=True, editable=False)
    job = models.CharField(_("job"), max_length=200, blank=True, editable=False)
    job_at = models.DateTimeField(_("job seen"), null=True, editable=False)
    kernel = models.CharField(_("busy notebook"), max_length=200, blank=True, editable=False)
    kernel_at = models.DateTimeField(_("busy notebook seen"), null=True, editable=False)
    busiest = models.CharField(_("busiest program"), max_length=40, blank=True, editable=False)
    idle_warned_at = models.DateTimeField(_("told that it is idle"), null=True, editable=False)

    due_at = models.DateTimeField(_("looked at by"), default=timezone.now, editable=False)
    bin_until = models.DateTimeField(_("in the recycle bin until"), null=True, editable=False)
    deleted_at = models.DateTimeField(_("deleted"), null=True, editable=False)

    objects = InstanceQuerySet.as_manager()

    class Meta:
        verbose_name = _("machine")
        verbose_name_plural = _("machines")
        ordering = ["-created_at"]
        constraints = [models.UniqueConstraint(fields=["owner", "request_key"], name="one_machine_per_request")]
        indexes = [
            models.Index(fields=["owner", "-created_at"], name="machines_of_owner"),
            models.Index(fields=["state"], name="machines_by_state"),
            models.Index(fields=["host"], name="live_machines_of_host", condition=~Q(state="deleted")),
            models.Index(fields=["deadline_at"], name="machines_due", condition=Q(deadline_at__isnull=False)),
            models.Index(fields=["due_at"], name="lives_to_look_at", condition=~Q(state="deleted")),
        ]

    def __str__(self) -> str:
        return self.name

    def transition(
        self, to: State, by: User | None = None, reason: str = "", only_if: Q | None = None, **facts: object
    ) -> Transition:
        """Move to another state and write the Transition row; `facts` are columns that change with it.

        Raises IllegalTransition when the table does not allow the move, Superseded when the row is no longer as this
        object says it is (or `only_if` does not hold). Sends `signals.transitioned` on commit.
        """
        origin = State(self.state)
        if to not in TRANSITIONS[origin]:
            raise IllegalTransition(f"{origin} -> {to} ({self.uuid})")
        now = timezone.now()
        changes = _changes(to, now, reason) | facts
        with transaction.atomic():
            row = Instance.objects.filter(only_if or Q(), pk=self.pk, state=origin)
            if not row.update(**changes):
                raise Superseded(f"{origin} -> {to} ({self.uuid})")
            moved = Transition.objects.create(instance=self, origin=origin, to=to, by=by, reason=reason, at=now)
            for name, value in changes.items():
                setattr(self, name, value)
            transaction.on_commit(
                lambda: signals.transitioned.send(Instance, instance=self, transition=moved), robust=True
            )
        return moved

    def record_creation(self, by: User) -> None:
        """Write the first row of the history and tell the pages; the row itself was made as BUILDING."""
        made = Transition.objects.create(instance=self, to=self.state, by=by, at=self.created_at)
        deadline = self.created_at + DEADLINES[State.BUILDING]
        Instance.objects.filter(pk=self.pk).update(deadline_at=deadline)
        self.deadline_at = deadline
        self.begin_step("place")
        transaction.on_commit(lambda: signals.transitioned.send(Instance, instance=self, transition=made), robust=True)

    def tell(self, what: str) -> None:
        """Let the pages know, after commit, that something they show has changed."""
        transaction.on_commit(lambda: signals.observed.send(Instance, instance=self, what=what), robust=True)

    def begin_step(self, name: str) -> None:
        """Note that the work named `name` began; once for each attempt at starting."""
        _step, new = Step.objects.get_or_create(instance=self, name=name, attempt=self.attempt)
        if new:
            self.tell("step")

    @property
    def working(self) -> bool:
        return self.state in WORKING

    @property
    def gone(self) -> bool:
        """Deleted, though its disk may still lie in the recycle bin."""
        return self.state not in LIVE

    def ended(self, now: datetime) -> bool:
        """Its life is over: it sleeps until it gets more time or is deleted."""
        return not self.pinned and self.expires_at is not None and self.expires_at <= now

    @property
    def ready(self) -> bool:
        return self.state == State.ACTIVE and self.desktop_ready_at is not None


def _changes(to: State, now: datetime, reason: str) -> dict[str, object]:
    deadline = DEADLINES.get(to)
    changes: dict[str, object] = {
        "state": to,
        "state_since": now,
        "deadline_at": now + deadline if deadline else None,
        "problem": reason if to in {State.ERROR, State.UNREACHABLE} else "",
        "progress": None,
    }
    if to not in WORKING:
        changes["due_at"] = now  # what may become of it now is another question than before
    if to in {State.STARTING, State.REBOOTING, State.STOPPED, State.HIBERNATED, State.BINNED, State.DELETED}:
        changes |= {"desktop_ready_at": None, "jupyter_ready_at": None}
    if to in {State.STOPPED, State.HIBERNATED, State.BINNED, State.DELETED}:
        changes |= {"address": None, "console_port": None}
    if to in {State.BINNED, State.DELETED}:
        changes["deleted_at"] = now
    if to == State.STOPPED:
        changes |= {"deleted_at": None, "bin_until": None}
    return changes


class MemberRole(models.TextChoices):
    OWNER = "owner", _("Owner")
    USER = "user", _("Full control")
    GUEST = "guest", _("View only")
    SUPPORT = "support", _("Support")


class Member(models.Model):
    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships", verbose_name=_("person"))
    role = models.CharField(_("role"), max_length=10, choices=MemberRole.choices)
    created_at = models.DateTimeField(_("since"), auto_now_add=True)

    class Meta:
        verbose_name = _("member")
        verbose_name_plural = _("members")
        constraints = [
            models.UniqueConstraint(fields=["instance", "user"], name="member_once"),
            models.UniqueConstraint(fields=["instance"], condition=Q(role="owner"), name="one_owner"),
        ]

    def __str__(self) -> str:
        return f"{self.user} ({self.get_role_display()})"


class Transition(models.Model):
    """One move from state to state: the history that anyone may understand."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="transitions")
    origin = models.CharField(_("from"), max_length=12, blank=True)
    to = models.CharField(_("to"), max_length=12)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, verbose_name=_("by")
    )
    reason = models.TextField(_("why"), blank=True)
    at = models.DateTimeField(_("when"), default=timezone.now)

    class Meta:
        verbose_name = _("transition")
        verbose_name_plural = _("transitions")
        ordering = ["at", "pk"]
        indexes = [models.Index(fields=["instance", "at"], name="history_of_machine")]

    def __str__(self) -> str:
        return f"{self.origin or '–'} → {self.to}"


class MemberChange(models.Model):
    """Somebody came to a machine, left it or got another role there: the part of the history that is about people."""

    class Act(models.TextChoices):
        ADDED = "added", _("added")
        JOINED = "joined", _("came by a link")
        ROLE = "role", _("another role")
        REMOVED = "removed", _("removed")
        LEFT = "left", _("left")
        OWNER = "owner", _("became the owner")

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="member_changes")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("person")
    )
    act = models.CharField(_("what"), max_length=10, choices=Act.choices)
    role = models.CharField(_("role"), max_length=10, choices=MemberRole.choices)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+", verbose_name=_("by")
    )
    at = models.DateTimeField(_("when"), default=timezone.now)

    class Meta:
        verbose_name = _("change of members")
        verbose_name_plural = _("changes of members")
        ordering = ["at", "pk"]
        indexes = [models.Index(fields=["instance", "at"], name="member_changes_of_machine")]

    def __str__(self) -> str:
        return f"{self.user}: {self.get_act_display()}"


class Step(models.Model):
    """A step of making or starting a machine, as it began: place, image, disk, start, boot, desktop."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="steps")
    attempt = models.PositiveIntegerField()
    name = models.CharField(max_length=20)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["at", "pk"]
        constraints = [models.UniqueConstraint(fields=["instance", "attempt", "name"], name="step_once_per_attempt")]

    def __str__(self) -> str:
        return self.name


class Thumbnail(models.Model):
    """A small picture of the machine's screen."""

    instance = models.OneToOneField(Instance, on_delete=models.CASCADE, related_name="thumbnail", primary_key=True)
    webp = models.BinaryField()
    taken_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.instance} {self.taken_at:%H:%M}"
