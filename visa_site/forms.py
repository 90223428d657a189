"""Forms of the site as a whole."""

from django import forms
from django.utils.functional import lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from visa_site.tokens import DEFAULT_DAYS, MAX_DAYS


def _days_wanted() -> str:
    return gettext("A number of days from 1 to %(most)d.") % {"most": MAX_DAYS}


DAYS = lazy(_days_wanted, str)()


class TokenForm(forms.Form):
    """What a new API token is for, and how long it lives."""

    name = forms.CharField(
        label=_("What is it for?"), max_length=60, error_messages={"required": _("Say what the token is for.")}
    )
    days = forms.IntegerField(
        label=_("Days until it ends"),
        min_value=1,
        max_value=MAX_DAYS,
        initial=DEFAULT_DAYS,
        error_messages=dict.fromkeys(["required", "invalid", "min_value", "max_value"], DAYS),
    )
