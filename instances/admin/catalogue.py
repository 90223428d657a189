"""What the facility offers: images, sizes, and which go together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Count, Q, QuerySet
from django.forms.models import BaseInlineFormSet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.contrib.filters.admin import RelatedDropdownFilter
from unfold.decorators import action, display

from experiments.inlines import LabelledInline
from instances import tasks
from instances.admin import carrying
from instances.images import ImageRefused, WrongChecksum, inspect_image
from instances.models import (
    Flavour,
    FlavourLimit,
    Host,
    Image,
    ImageApp,
    ImageProtocol,
    Instance,
    Plan,
    Protocol,
    Visibility,
)
from instances.models.fields import labels_of, validate_labels
from instances.states import LIVE, ON_HOST

DESKTOP_PORT = 5901
"""Where the desktop is expected when no protocol is named."""

VISIBILITY_LOOK = {Visibility.EVERYONE: "success", Visibility.STAFF: "warning", Visibility.NOBODY: "danger"}


class RequiringForm(forms.ModelForm):  # type: ignore[type-arg] # generic for the stubs alone
    """Of what may require labels: at least one host must have them all, or a slip would leave it without a host."""

    def clean_requires(self) -> str:
        required = str(self.cleaned_data["requires"])
        validate_labels(required.lower().replace(",", " "))
        wanted, there = labels_of(required), Host.objects.values_list("labels", flat=True)
        if wanted and "requires" in self.changed_data and not any(wanted <= labels_of(labels) for labels in there):
            raise ValidationError(
                _("No host has the labels “%(labels)s”. Give them to a host first."), params={"labels": required}
            )
        return required


class ImageForm(RequiringForm):
    """Looks at the file before it becomes the disk of machines: what is wrong is said at the field."""

    class Meta:
        model = Image
        fields = [
            *("name", "version", "description", "icon", "visibility"),
            *("path", "sha256", "boot_commands", "extending", "requires"),
        ]

    def clean_sha256(self) -> str:
        return str(self.cleaned_data["sha256"]).strip().lower()

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if cleaned.get("path") and {"path", "sha256"} & set(self.changed_data):
            self._inspect(cleaned)
        return cleaned

    def _inspect(self, cleaned: dict[str, Any]) -> None:
        try:
            facts = inspect_image(cleaned["path"], cleaned.get("sha256", ""))
        except WrongChecksum as refusal:
            self.add_error("sha256", str(refusal))
        except ImageRefused as refusal:
            self.add_error("path", str(refusal))
        else:
            cleaned["sha256"] = facts.sha256
            self.instance.virtual_size_gib = facts.virtual_size_gib


class ProtocolInline(LabelledInline):
    model = ImageProtocol
    extra = 0
    verbose_name_plural = _("How its machines are reached")


class AppFormSet(BaseInlineFormSet):  # type: ignore[type-arg] # generic for the stubs alone
    def clean(self) -> None:
        """The protocols may be new in the same form, so their ports are read from there."""
        super().clean()
        ports = {port for key, port in self.data.items() if re.fullmatch(r"protocols-\d+-port", key)}
        for form in self.forms:
            if str(form.cleaned_data.get("port")) in (ports or {str(DESKTOP_PORT)}):
                form.add_error("port", _("One of the protocols above is at this port."))


class AppInline(LabelledInline):
    model = ImageApp
    formset = AppFormSet
    extra = 0
    verbose_name_plural = _("Web applications of its machines, beside JupyterLab")


@admin.register(Image)
class ImageAdmin(ModelAdmin):
    form = ImageForm
    inlines = [ProtocolInline, AppInline]
    actions = ["carry_each"]
    actions_submit_line = ["carry"]
    list_display = ["name", "version", "offered_to", "virtual_size_gib", "machines", "created_at"]
    list_filter = ["visibility"]
    search_fields = ["name", "version", "sha256"]
    fieldsets = [
        (None, {"fields": [("name", "version"), "description", ("icon", "visibility"), "extending", "requires"]}),
        (
            _("The file"),
            {
                "fields": ["path", "sha256", "virtual_size_gib"],
                "description": _("The file is read when this is saved, which takes some seconds for each GiB."),
            },
        ),
        (_("On the hosts"), {"fields": ["carried"]}),
        (_("In new machines"), {"fields": ["boot_commands"]}),
        (_("Kept by VISA"), {"fields": ["uuid", "created_at"]}),
    ]

    class Media:
        js = [carrying.SCRIPT]

    def get_readonly_fields(self, request: HttpRequest, obj: Image | None = None) -> list[str]:
        """Machines stand on the bytes of their image: while there are any, another file is another image."""
        fixed = ["uuid", "virtual_size_gib", "created_at", "carried"]
        in_use = obj is not None and Instance.objects.filter(plan__image=obj, state__in=ON_HOST).exists()
        return [*fixed, "path", "sha256"] if in_use else fixed

    def get_queryset(self, request: HttpRequest) -> QuerySet[Image]:
        images: QuerySet[Image] = super().get_queryset(request)
        return images.annotate(used=Count("plans__instances", filter=Q(plans__instances__state__in=LIVE)))

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        image: Image = form.instance
        if not image.protocols.exists():
            ImageProtocol.objects.create(image=image, kind=Protocol.VNC, port=DESKTOP_PORT)
            messages.info(request, _("No protocol was named, so the desktop is expected at port 5901."))

    def get_fieldsets(self, request: HttpRequest, obj: Image | None = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        return fieldsets if obj else [part for part in fieldsets if "carried" not in part[1]["fields"]]

    @action(description=_("Save and carry to all hosts"), permissions=["change"])
    def carry(self, request: HttpRequest, obj: Image) -> None:
        self._carry(request, [obj])

    @action(description=_("Carry to all hosts"), permissions=["change"])
    def carry_each(self, request: HttpRequest, queryset: QuerySet[Image]) -> None:
        self._carry(request, queryset)

    def _carry(self, request: HttpRequest, images: Iterable[Image]) -> None:
        count = sum(tasks.carry_everywhere(image) for image in images)
        messages.success(request, gettext("Workers copy it now: %(count)d copies were asked for.") % {"count": count})

    def response_change(self, request: HttpRequest, obj: Image) -> HttpResponse:
        if "instances_image_carry" in request.POST:
            return HttpResponseRedirect(reverse("admin:instances_image_change", args=[obj.pk]))
        return cast(HttpResponse, super().response_change(request, obj))

    @display(description=_("hosts"))
    def carried(self, image: Image) -> str:
        return carrying.table(image.carriages.select_related("host").order_by("host__name"), of="image")

    @display(description=_("offered to"), ordering="visibility", label=VISIBILITY_LOOK)
    def offered_to(self, image: Image) -> tuple[str, str]:
        return image.visibility, str(image.get_visibility_display())

    @display(description=_("machines"), ordering="used")
    def machines(self, image: Image) -> int:
        return int(getattr(image, "used", 0))


class LimitInline(LabelledInline):
    model = FlavourLimit
    extra = 0
    autocomplete_fields = ["instrument"]
    verbose_name_plural = _("Only for: a role or an instrument in each line; without lines it is for everyone")


@admin.register(Flavour)
class FlavourAdmin(ModelAdmin):
    form = RequiringForm
    inlines = [LimitInline]
    list_display = ["name", "vcpus", "memory_mib", "disk_gib", "requires", "description", "limited"]
    search_fields = ["name"]
    readonly_fields = ["uuid"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Flavour]:
        flavours: QuerySet[Flavour] = super().get_queryset(request)
        return flavours.annotate(limited_to=Count("limits"))

    @display(description=_("for everyone"), boolean=True)
    def limited(self, flavour: Flavour) -> bool:
        return not getattr(flavour, "limited_to", 0)


class PlanForm(forms.ModelForm):  # type: ignore[type-arg] # generic for the stubs alone
    class Meta:
        model = Plan
        fields = ["image", "flavour", "preset", "enabled"]

    def _get_validation_exclusions(self) -> set[str]:
        """Another preset is no fault: `PlanAdmin.save_model` takes the mark from it."""
        return {*super()._get_validation_exclusions(), "preset"}  # type: ignore[misc] # the stubs lack it


@admin.register(Plan)
class PlanAdmin(ModelAdmin):
    form = PlanForm
    list_display = ["__str__", "preset", "enabled", "machines"]
    list_filter = [("image", RelatedDropdownFilter), ("flavour", RelatedDropdownFilter), "enabled"]
    list_filter_submit = True
    list_select_related = ["image", "flavour"]
    search_fields = ["image__name", "flavour__name"]
    autocomplete_fields = ["image", "flavour"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Plan]:
        plans: QuerySet[Plan] = super().get_queryset(request)
        return plans.annotate(used=Count("instances", filter=Q(instances__state__in=LIVE)))

    def save_model(self, request: HttpRequest, obj: Plan, form: Any, change: bool) -> None:
        if obj.preset:
            Plan.objects.filter(preset=True).exclude(pk=obj.pk).update(preset=False)
        super().save_model(request, obj, form, change)

    @display(description=_("machines"), ordering="used")
    def machines(self, plan: Plan) -> int:
        return int(getattr(plan, "used", 0))
