"""How the administration looks and what stands in its side bar: django-unfold's settings."""

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.functional import lazy
from django.utils.translation import gettext_lazy as _

_static = lazy(static, str)

BLUE = {
    "50": "#f3f5fa", "100": "#e9edf5", "200": "#d3dae8", "300": "#a9b7d8", "400": "#7f93c4", "500": "#5c6b92",
    "600": "#46547a", "700": "#2b3a60", "800": "#17223d", "900": "#0d1730", "950": "#0a1122",
}  # fmt: skip
AMBER = {
    "50": "#fff8ea", "100": "#ffefcf", "200": "#ffdf9f", "300": "#ffcf70", "400": "#ffc04f", "500": "#ffb43c",
    "600": "#9a5b00", "700": "#7d4a00", "800": "#5f3900", "900": "#452a00", "950": "#2e1c00",
}  # fmt: skip
"""600 and darker are written on white, so they are dark enough for it (WCAG 2.1, 1.4.3)."""


def _entry(title: Any, icon: str, model: str, query: str = "") -> dict[str, Any]:
    app, name = model.split(".")
    link = reverse_lazy(f"admin:{app}_{name}_changelist")

    def active(request: Any) -> bool:
        here = bool(request.path.startswith(str(link)))
        return here and (query == "?show=hand") == (request.GET.get("show") == "hand")

    return {
        "title": title,
        "icon": icon,
        "link": lazy(lambda: f"{link}{query}", str)(),
        "active": active,
        "permission": lambda request: _may_see(request, app, name),
    }


def _may_see(request: Any, app: str, name: str) -> bool:
    return bool(request.user.has_perm(f"{app}.view_{name}"))


def _group(title: Any, *entries: dict[str, Any]) -> dict[str, Any]:
    return {"title": title, "separator": True, "items": list(entries)}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "VISA",
    "SITE_HEADER": "VISA",
    "SITE_SUBHEADER": _("Facility administration"),
    "SITE_URL": "/",
    "SITE_ICON": lambda request: static("art/mark.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("favicon.svg")}],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "8px",
    "COLORS": {"base": BLUE, "primary": AMBER},
    "STYLES": [lambda request: static("admin/visa.css")],
    "DASHBOARD_CALLBACK": "visa_site.dashboard.dashboard",
    "SIDEBAR": {
        "show_search": True,
        "navigation": [
            _group(
                _("Machines"),
                {"title": _("Overview"), "icon": "dashboard", "link": reverse_lazy("admin:index")},
                _entry(_("Need a hand"), "back_hand", "instances.instance", "?show=hand"),
                _entry(_("Machines"), "desktop_windows", "instances.instance"),
                _entry(_("History"), "history", "instances.transition"),
                _entry(_("Connections"), "cable", "desktops.connection"),
                _entry(_("Support accesses"), "support_agent", "desktops.accessrequest"),
                _entry(_("Calls for help"), "sos", "desktops.helprequest"),
                _entry(_("Invitations"), "link", "desktops.invitation"),
                _entry(_("Rules of sharing"), "rule", "desktops.policy"),
            ),
            _group(
                _("Hosts"),
                _entry(_("Hosts"), "dns", "instances.host"),
                _entry(_("Unknown machines"), "help", "instances.stray"),
                _entry(_("Rules of placement"), "alt_route", "instances.placementpolicy"),
            ),
            _group(
                _("Time"),
                _entry(_("Requests for more time"), "more_time", "instances.extension"),
                _entry(_("Time limits"), "timer", "instances.timelimit"),
                _entry(_("Rules of machines' lives"), "rule", "instances.lifepolicy"),
                _entry(_("Letters"), "mail", "instances.letter"),
            ),
            _group(
                _("On offer"),
                _entry(_("Images"), "album", "instances.image"),
                _entry(_("Sizes"), "straighten", "instances.flavour"),
                _entry(_("Plans"), "join_inner", "instances.plan"),
            ),
            _group(
                _("People and experiments"),
                _entry(_("People"), "group", "experiments.user"),
                _entry(_("Affiliations"), "apartment", "experiments.affiliation"),
                _entry(_("Instruments"), "biotech", "experiments.instrument"),
                _entry(_("Experiments"), "science", "experiments.experiment"),
                _entry(_("Proposals"), "description", "experiments.proposal"),
                _entry(_("Cycles"), "event_repeat", "experiments.cycle"),
                _entry(_("API tokens"), "key", "visa_site.personaltoken"),
            ),
        ],
    },
}
