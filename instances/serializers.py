"""How machines and what is on offer look in the API: what is written down here leaves, and nothing else.

Public ids alone, no addresses, no secrets: the relays of `desktops` are the only way to a machine.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import uuid4

from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from experiments.access import experiments_for
from experiments.models import Experiment, User
from experiments.serializers import ExperimentSerializer, PersonSerializer
from instances import evidence
from instances.actions import Wish
from instances.cards import steps_of
from instances.expiry import Rulebook
from instances.forms import DEFAULT_SCREEN, printable, suggested_name
from instances.history import Event
from instances.keyboards import KEYBOARDS
from instances.models import Flavour, Image, Instance, Member, MemberRole, Plan
from instances.models.catalogue import plans_for
from instances.models.instance import MAX_SCREEN, MIN_SCREEN
from instances.sentences import told
from instances.states import State

MAX_EXPERIMENTS = 50
"""More than anybody attaches to one machine; a bound for the query."""


class ImageSerializer(serializers.ModelSerializer[Image]):
    protocols: serializers.SlugRelatedField[Any] = serializers.SlugRelatedField(
        many=True, read_only=True, slug_field="kind"
    )

    class Meta:
        model = Image
        fields = ["uuid", "name", "version", "description", "icon", "protocols"]
        read_only_fields = fields


class FlavourSerializer(serializers.ModelSerializer[Flavour]):
    class Meta:
        model = Flavour
        fields = ["uuid", "name", "description", "vcpus", "memory_mib", "disk_gib"]
        read_only_fields = fields


class PlanSerializer(serializers.ModelSerializer[Plan]):
    """An image with a size in which it is offered; the preset is what a machine gets when none is named."""

    image = ImageSerializer(read_only=True)
    flavour = FlavourSerializer(read_only=True)

    class Meta:
        model = Plan
        fields = ["uuid", "image", "flavour", "preset"]
        read_only_fields = fields


class StepSerializer(serializers.Serializer[Any]):
    """One step of making or starting the machine, with the seconds it took or has taken so far."""

    text = serializers.CharField()
    status = serializers.ChoiceField(choices=["done", "now", "failed", "waiting"])
    at = serializers.DateTimeField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True)


class InstanceSerializer(serializers.ModelSerializer[Instance]):
    state = serializers.ChoiceField(choices=[(state.value, state.value) for state in State], read_only=True)
    ready = serializers.BooleanField(read_only=True, help_text=_("The desktop can be opened."))
    jupyter_ready = serializers.SerializerMethodField()
    owner = PersonSerializer(read_only=True)
    role = serializers.SerializerMethodField(
        help_text=_("What you are to this machine; null: neither owner nor member.")
    )
    image = ImageSerializer(source="plan.image", read_only=True)
    flavour = FlavourSerializer(source="plan.flavour", read_only=True)
    experiments = ExperimentSerializer(many=True, read_only=True)
    problem = serializers.SerializerMethodField()
    steps = serializers.SerializerMethodField()
    use = serializers.SerializerMethodField(help_text=_("Why it is kept, or what becomes of it and when, in words."))

    class Meta:
        model = Instance
        fields = [
            *("uuid", "name", "comments", "state", "state_since", "problem", "ready", "jupyter_ready", "steps"),
            *("owner", "role", "experiments", "image", "flavour", "vcpus", "memory_mib", "disk_gib"),
            *("screen_width", "screen_height", "keyboard"),
            *("created_at", "last_used_at", "worked_at", "awake_until", "use"),
            *("expires_at", "may_end_at", "pinned", "deleted_at", "bin_until"),
        ]
        read_only_fields = fields

    def get_problem(self, instance: Instance) -> str:
        return told(instance.problem)

    def get_jupyter_ready(self, instance: Instance) -> bool:
        return instance.state == State.ACTIVE and instance.jupyter_ready_at is not None

    @extend_schema_field(serializers.ChoiceField(choices=MemberRole.choices, allow_null=True))
    def get_role(self, instance: Instance) -> str | None:
        """Reads `my_membership`, which the view prefetches."""
        mine = cast("list[Member]", getattr(instance, "my_membership", []))
        return mine[0].role if mine else None

    def get_use(self, instance: Instance) -> str:
        """Reads the rules once for all machines of an answer."""
        context, now = cast("dict[str, Any]", self.context), timezone.now()
        book = context.get("rulebook") or context.setdefault("rulebook", Rulebook.current())
        return evidence.sentence(book.judge(instance, now), book.facts(instance), now)

    @extend_schema_field(StepSerializer(many=True))
    def get_steps(self, instance: Instance) -> list[dict[str, Any]]:
        lines = steps_of(instance)
        return [
            {"text": str(line.label), "status": line.status, "at": line.at, "seconds": line.seconds} for line in lines
        ]


class InstanceNameSerializer(serializers.Serializer[Instance]):
    """What the owner may change."""

    name = serializers.CharField(max_length=60, validators=[printable], required=False)
    comments = serializers.CharField(max_length=2500, allow_blank=True, required=False)


class AwakeSerializer(serializers.Serializer[Any]):
    days = serializers.IntegerField(min_value=0, help_text=_("From now on; 0: no longer."))


class LastMomentSerializer(serializers.Serializer[Any]):
    end = serializers.DateTimeField()


class MoreTimeSerializer(serializers.Serializer[Any]):
    reason = serializers.CharField(max_length=2000, help_text=_("What you need the time for."))


class WishSerializer(serializers.Serializer[Wish]):
    """What a new machine is to be. Everything has a default; visitors name an experiment.

    The fields are named as in the form of the page, and so are the errors.
    """

    experiments = serializers.ListField(
        child=serializers.UUIDField(), max_length=MAX_EXPERIMENTS, default=list, help_text=_("Ids of your experiments.")
    )
    image = serializers.UUIDField(required=False, help_text=_("An image's id; else the preset."))
    flavour = serializers.UUIDField(required=False, help_text=_("A size's id; else the preset."))
    name = serializers.CharField(max_length=60, allow_blank=True, default="", validators=[printable])
    comments = serializers.CharField(max_length=2500, allow_blank=True, default="")
    screen_width = serializers.IntegerField(min_value=MIN_SCREEN, max_value=MAX_SCREEN, default=DEFAULT_SCREEN[0])
    screen_height = serializers.IntegerField(min_value=MIN_SCREEN, max_value=MAX_SCREEN, default=DEFAULT_SCREEN[1])
    keyboard = serializers.ChoiceField(choices=KEYBOARDS, default="us")
    end = serializers.DateTimeField(default=None, allow_null=True, help_text=_("An earlier end than it may have."))
    request_key = serializers.UUIDField(
        default=uuid4, help_text=_("Of your making. Sent again, it returns the machine made the first time.")
    )

    def validate_experiments(self, uuids: list[Any]) -> tuple[Experiment, ...]:
        found = {experiment.uuid: experiment for experiment in experiments_for(self._user()).filter(uuid__in=uuids)}
        if set(uuids) - found.keys():
            raise serializers.ValidationError(_("Choose among your own experiments."))
        return tuple(found.values())

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        plans = plans_for(self._user(), attrs["experiments"])
        for part in ("image", "flavour"):
            if part in attrs:
                plans = plans.filter(**{f"{part}__uuid": attrs[part]})
                if not plans.exists():
                    raise serializers.ValidationError({part: [_not_offered(part)]})
        plan = plans.order_by("-preset", "flavour__vcpus", "flavour__memory_mib", "pk").first()
        if plan is None:
            raise serializers.ValidationError({"image": _("Nothing is offered to you at the moment.")})
        return attrs | {"plan": plan}

    def _user(self) -> User:
        return cast(User, self.context["request"].user)

    def wish(self) -> Wish:
        """What `actions.create` takes; call `is_valid` first."""
        asked = self.validated_data
        name = asked["name"] or suggested_name(self._user(), asked["experiments"][:1], asked["plan"].image)
        same = ("plan", "experiments", "screen_width", "screen_height", "keyboard", "request_key", "comments", "end")
        return Wish(name=name, **{field: asked[field] for field in same})


def _not_offered(part: str) -> str:
    if part == "image":
        return gettext("This image is not offered to you.")
    return gettext("This size is not offered with this image. Choose another size.")


class MemberSerializer(serializers.ModelSerializer[Member]):
    person = PersonSerializer(source="user", read_only=True)
    role = serializers.ChoiceField(choices=MemberRole.choices, read_only=True)
    since = serializers.DateTimeField(source="created_at", read_only=True)

    class Meta:
        model = Member
        fields = ["person", "role", "since"]


class EventSerializer(serializers.Serializer[Any]):
    """A line of the history. `by` is empty where a worker or the host did it; moves alone have `origin` and `to`."""

    kind = serializers.ChoiceField(choices=["state", "time", "people"], read_only=True)
    at = serializers.DateTimeField(read_only=True)
    origin = serializers.CharField(read_only=True)
    to = serializers.CharField(read_only=True)
    by = serializers.SerializerMethodField()
    reason = serializers.SerializerMethodField()
    said = serializers.SerializerMethodField(help_text=_("What happened, in plain words."))

    def get_by(self, event: Event) -> str:
        return str(event.by or "")

    def get_reason(self, event: Event) -> str:
        return told(event.reason)

    def get_said(self, event: Event) -> str:
        return str(event.said)
