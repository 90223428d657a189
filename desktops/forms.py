"""What the pages ask about sharing, checked: who, as what, by which link."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from desktops.models.sharing import MAX_USES, ROLES
from desktops.sharing import MAX_DAYS
from experiments.models import User
from instances.forms import printable
from instances.models import MemberRole

DAYS = [(1, _("1 day")), (7, _("7 days")), (30, _("30 days")), (MAX_DAYS, _("90 days"))]


def _role() -> forms.TypedChoiceField:
    wrong = {
        "invalid_choice": _("Choose full control or view only."),
        "required": _("Choose full control or view only."),
    }
    return forms.TypedChoiceField(label=_("May"), choices=ROLES, coerce=MemberRole, error_messages=wrong)


class PersonForm(forms.Form):
    """Somebody, by their public id. Whether they may still sign in is asked where that matters: not to remove them."""

    user = forms.ModelChoiceField(
        User.objects.all(),
        to_field_name="uuid",
        error_messages={
            name: _("Choose a person from the list.") for name in ("required", "invalid_choice", "invalid_pk_value")
        },
    )


class RoleForm(PersonForm):
    role = _role()


class InvitationForm(forms.Form):
    name = forms.CharField(
        label=_("For whom"),
        max_length=80,
        validators=[printable],
        error_messages={"required": _("Say for whom the link is, so that you know it again.")},
    )
    role = _role()
    days = forms.TypedChoiceField(label=_("Valid for"), choices=DAYS, coerce=int, initial=7)
    uses = forms.IntegerField(label=_("People at most"), min_value=1, max_value=MAX_USES, initial=1)
