"""The forms of the pages. What a person may not choose is not among the choices."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

from django import forms
from django.core.validators import RegexValidator
from django.utils.functional import lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from experiments.access import experiments_for, may_work_without_experiment
from experiments.models import Experiment, User
from instances.actions import Wish
from instances.keyboards import KEYBOARDS
from instances.models import Flavour, Image, Instance, Plan
from instances.models.catalogue import plans_for
from instances.models.instance import MAX_SCREEN, MIN_SCREEN
from instances.times import end_of_day

SCREENS = ["1280x800", "1440x900", "1920x1080", "2560x1440"]
DEFAULT_SCREEN = (1440, 900)
printable = RegexValidator(r"[\x00-\x1f\x7f]", _("Use letters, digits and signs only."), inverse_match=True)


def _side_wanted() -> str:
    return gettext("A number of pixels from %(min)d to %(max)d.") % {"min": MIN_SCREEN, "max": MAX_SCREEN}


SIDE = lazy(_side_wanted, str)()


class NameForm(forms.ModelForm):  # type: ignore[type-arg] # generic for the stubs alone
    """What the owner calls the machine, and notes."""

    name = forms.CharField(
        label=_("Name"), max_length=60, validators=[printable], error_messages={"required": _("Give it a name.")}
    )
    comments = forms.CharField(
        label=_("Notes"), max_length=2500, required=False, widget=forms.Textarea(attrs={"rows": 3})
    )

    class Meta:
        model = Instance
        fields = ["name", "comments"]


class EndForm(forms.Form):
    """A day on which the machine is to end."""

    end = forms.DateField(
        label=_("Last day"),
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        error_messages={"required": _("Choose a day."), "invalid": _("Choose a day.")},
    )


class AwakeForm(forms.Form):
    """For how many days the machine is not to fall asleep; 0 for no longer."""

    days = forms.IntegerField(
        label=_("Days"),
        min_value=0,
        error_messages={"required": _("Choose a number of days."), "invalid": _("Choose a number of days.")},
    )


class MoreForm(forms.Form):
    """Why somebody needs more time."""

    reason = forms.CharField(
        label=_("What do you need the time for?"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": _("Say in a few words what you need the time for.")},
    )


def _pixels(label: Any, initial: int) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        min_value=MIN_SCREEN,
        max_value=MAX_SCREEN,
        required=False,
        initial=initial,
        error_messages=dict.fromkeys(["invalid", "min_value", "max_value"], SIDE),
    )


class MachineForm(forms.Form):
    """The wish for a machine of `user`; `wish()` of a valid form is what `actions.create` takes.

    The choices hold only what the person may have, so that another's experiment is an invalid choice.
    """

    experiments = forms.ModelMultipleChoiceField(
        Experiment.objects.none(),
        to_field_name="uuid",
        required=False,
        error_messages={
            "invalid_choice": _("Choose among your own experiments."),
            "invalid_pk_value": _("Choose among your own experiments."),
        },
    )
    image = forms.ModelChoiceField(
        Image.objects.none(),
        to_field_name="uuid",
        error_messages={"required": _("Choose an image."), "invalid_choice": _("This image is not offered to you.")},
    )
    flavour = forms.ModelChoiceField(
        Flavour.objects.all(),
        to_field_name="uuid",
        error_messages={"required": _("Choose a size."), "invalid_choice": _("There is no such size. Choose another.")},
    )
    screen = forms.ChoiceField(
        choices=[("window", ""), *((size, size) for size in SCREENS), ("own", "")],
        initial="window",
        error_messages={"required": _("Choose a screen size."), "invalid_choice": _("Choose a screen size.")},
    )
    window_width = forms.IntegerField(required=False, widget=forms.HiddenInput)
    window_height = forms.IntegerField(required=False, widget=forms.HiddenInput)
    screen_width = _pixels(_("Width"), DEFAULT_SCREEN[0])
    screen_height = _pixels(_("Height"), DEFAULT_SCREEN[1])
    keyboard = forms.ChoiceField(
        label=_("Keyboard"),
        choices=KEYBOARDS,
        initial="us",
        error_messages=dict.fromkeys(["required", "invalid_choice"], _("Choose a keyboard from the list.")),
    )
    name = forms.CharField(label=_("Name"), max_length=60, required=False, validators=[printable])
    comments = forms.CharField(
        label=_("Notes"), max_length=2500, required=False, widget=forms.Textarea(attrs={"rows": 2})
    )
    end = forms.DateField(
        label=_("Last day"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
        error_messages={"invalid": _("Choose a day.")},
        help_text=_("Leave it empty for the full time. After this day the machine sleeps and is then deleted."),
    )
    request_key = forms.UUIDField(widget=forms.HiddenInput, initial=uuid4)

    def __init__(self, user: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user
        self.needs_experiment = not may_work_without_experiment(user)
        if not self.is_bound:
            self._mark_guesses()
        self._choices("experiments").queryset = experiments_for(user)
        experiments = self.chosen_experiments()
        offered = plans_for(user, experiments).values("image")
        self._choices("image").queryset = Image.objects.filter(pk__in=offered)

    def _mark_guesses(self) -> None:
        """The browser knows the keyboard better than we do, as long as nothing is remembered of the person."""
        self.fields["name"].widget.attrs["data-suggested"] = ""
        if not self.initial.get("keyboard"):
            self.fields["keyboard"].widget.attrs["data-guess"] = ""

    def _choices(self, name: str) -> forms.ModelChoiceField:  # type: ignore[type-arg]
        field = self.fields[name]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - tells mypy what the class says
        return field

    def chosen_experiments(self) -> list[Experiment]:
        """What is ticked so far, as far as it is the person's own; unreadable values count as nothing."""
        ticked = self.data.getlist("experiments") if hasattr(self.data, "getlist") else self.initial.get("experiments")
        uuids = [uuid for value in ticked or [] if (uuid := as_uuid(value))]
        return list(experiments_for(self.user).filter(uuid__in=uuids)) if uuids else []

    def clean_screen(self) -> tuple[int, int]:
        """Width and height of a named size; of this window and own sizes `clean` takes care."""
        screen = str(self.cleaned_data["screen"])
        if screen in SCREENS:
            width, height = screen.split("x")
            return int(width), int(height)
        return (0, 0)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.needs_experiment and "experiments" in cleaned and not cleaned["experiments"]:
            self.add_error("experiments", _("Choose the experiment that you want to work on."))
        if cleaned.get("screen") == (0, 0):
            cleaned["screen"] = self._own_screen() if self.data.get("screen") == "own" else self._window()
        self._find_plan(cleaned)
        return cleaned

    def _own_screen(self) -> tuple[int, int]:
        for name in ("screen_width", "screen_height"):
            if name not in self.errors and self.cleaned_data.get(name) is None:
                self.add_error(name, SIDE)
        return self.cleaned_data.get("screen_width") or 0, self.cleaned_data.get("screen_height") or 0

    def _window(self) -> tuple[int, int]:
        """The size that the browser told, within the limits; the usual one where it told none."""
        for name in ("screen_width", "screen_height", "window_width", "window_height"):
            self.errors.pop(name, None)
        told = (self.cleaned_data.get("window_width"), self.cleaned_data.get("window_height"))
        if None in told or not all(told):
            return DEFAULT_SCREEN
        width, height = (min(max(int(side or 0), MIN_SCREEN), MAX_SCREEN) for side in told)
        return width, height

    def _find_plan(self, cleaned: dict[str, Any]) -> None:
        if not {"image", "flavour", "experiments"} <= cleaned.keys():
            return
        offered = plans_for(self.user, cleaned["experiments"])
        plan = offered.filter(image=cleaned["image"], flavour=cleaned["flavour"]).first()
        if plan is None:
            self.add_error("flavour", _("This size is not offered with this image. Choose another size."))
        cleaned["plan"] = plan

    def wish(self) -> Wish:
        cleaned = self.cleaned_data
        plan: Plan = cleaned["plan"]
        experiments = tuple(cleaned["experiments"])
        width, height = cleaned["screen"]
        return Wish(
            name=cleaned["name"].strip() or suggested_name(self.user, experiments[:1], plan.image),
            plan=plan,
            experiments=experiments,
            screen_width=width,
            screen_height=height,
            keyboard=cleaned["keyboard"],
            request_key=cleaned["request_key"],
            comments=cleaned["comments"],
            end=end_of_day(cleaned["end"]) if cleaned["end"] else None,
        )


def as_uuid(value: object) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None


def name_for(experiment: Experiment) -> str:
    """What a machine for this experiment is called unless its owner says otherwise."""
    return f"{experiment.proposal.identifier} · {experiment.instrument.name}"[:60]


def suggested_name(user: User, experiments: tuple[Experiment, ...], image: Image | None) -> str:
    """A name that no live machine of the person has: after the experiment, else after the image."""
    wanted = name_for(experiments[0]) if experiments else (image.name if image else "")[:60]
    taken = set(Instance.objects.live().filter(owner=user, name__startswith=wanted[:50]).values_list("name", flat=True))
    if wanted not in taken:
        return wanted
    numbered = (f"{wanted[:54]} {n}" for n in range(2, len(taken) + 3))
    return next(name for name in numbered if name not in taken)
