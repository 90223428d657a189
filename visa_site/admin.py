"""The administration's door, and the tokens in it."""

from __future__ import annotations

from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress
from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from unfold.admin import ModelAdmin
from unfold.decorators import display

from visa_site.models import PersonalToken

# Staff come in by the site's own sign-in page, with its limits and, later, its second factors.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
admin.site.index_title = _("Overview")
admin.site.unregister(EmailAddress)  # the address stands with the person


@admin.register(PersonalToken)
class PersonalTokenAdmin(ModelAdmin):
    """Whose programs may use the API. Staff may revoke, never make or read one."""

    list_display = ["user", "shown_name", "created", "expiry"]
    list_select_related = ["user"]
    search_fields = ["user__username", "user__last_name", "name"]
    fields = readonly_fields = ["user", "name", "uuid", "created", "expiry"]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: PersonalToken | None = None) -> bool:
        return False

    @display(description=_("name"), ordering="name")
    def shown_name(self, token: PersonalToken) -> str:
        return str(token)
