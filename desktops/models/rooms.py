"""What a machine's owner and the facility decided about being there together."""

from __future__ import annotations

from datetime import timedelta

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from experiments.models import User
from instances.models import Instance


class OwnerAway(models.TextChoices):
    """What happens to those inside when the last screen of the owner closes."""

    DISCONNECT = "disconnect", _("They are disconnected")
    LOCK = "lock", _("They may only watch until the owner is back")


class Policy(models.Model):
    """The facility's rules of sharing: one row, which is made with its defaults when it is first looked up."""

    owner_away = models.CharField(
        _("when the owner leaves"), max_length=10, choices=OwnerAway.choices, default=OwnerAway.DISCONNECT
    )
    grace_seconds = models.PositiveIntegerField(
        _("grace, seconds"),
        default=30,
        validators=[MaxValueValidator(3600)],
        help_text=_("For so long an owner who left counts as present: a reload must not disconnect anybody."),
    )
    public_links = models.BooleanField(_("public view links"), default=True)
    unattended_support = models.BooleanField(
        _("support may enter while an external owner is away"),
        default=True,
        help_text=_("The owner is always told afterwards. Machines of staff are never entered without their consent."),
    )
    answer_seconds = models.PositiveIntegerField(
        _("an owner has to answer, seconds"),
        default=120,
        validators=[MinValueValidator(10), MaxValueValidator(3600)],
    )
    support_minutes = models.PositiveIntegerField(
        _("support at most, minutes"), default=240, validators=[MinValueValidator(5), MaxValueValidator(1440)]
    )
    escalation_minutes = models.PositiveIntegerField(
        _("IT is asked too after, minutes"),
        default=5,
        validators=[MaxValueValidator(1440)],
        help_text=_("When no local contact took a call for help."),
    )

    class Meta:
        verbose_name = _("rules of sharing")
        verbose_name_plural = _("rules of sharing")

    def __str__(self) -> str:
        return str(_("Rules of sharing"))

    @classmethod
    def current(cls) -> Policy:
        """The one row; the defaults, unsaved, where there is none."""
        return cls.objects.first() or cls()

    @property
    def grace(self) -> timedelta:
        return timedelta(seconds=self.grace_seconds)


class Mode(models.TextChoices):
    FREE = "free", _("Everyone with full control at once")
    BATON = "baton", _("One at a time")


class Room(models.Model):
    """What holds for everybody at one machine's screen. `holder` has the baton; nobody means the owner."""

    instance = models.OneToOneField(Instance, on_delete=models.CASCADE, related_name="room", primary_key=True)
    members_alone = models.BooleanField(_("members may work while I am away"), default=False)
    watchers_clipboard = models.BooleanField(_("watchers receive what is copied in the machine"), default=False)
    watchers_draw = models.BooleanField(_("watchers may point and draw"), default=False)
    mode = models.CharField(_("control"), max_length=10, choices=Mode.choices, default=Mode.FREE)
    holder = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    locked = models.BooleanField(_("nobody may ask for control"), default=False)
    frozen = models.BooleanField(_("only the owner may control"), default=False)

    def __str__(self) -> str:
        return str(self.instance)

    @classmethod
    def of(cls, instance: Instance) -> Room:
        """The machine's room as it is; with the defaults, unsaved, where nobody changed anything yet."""
        return cls.objects.filter(instance=instance).first() or cls(instance=instance)


class ControlAsk(models.Model):
    """Somebody asks for the baton."""

    instance = models.ForeignKey(Instance, on_delete=models.CASCADE, related_name="control_asks")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["at", "pk"]
        constraints = [models.UniqueConstraint(fields=["instance", "user"], name="ask_once_for_control")]

    def __str__(self) -> str:
        return f"{self.user} → {self.instance}"
