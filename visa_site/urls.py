from django.contrib import admin
from django.urls import include, path

from desktops.views import cases, sharing
from instances import inbox
from visa_site import views
from visa_site.health import health

urlpatterns = [
    path("", views.home, name="home"),
    path("machines/", include("desktops.urls")),
    path("machines/", include("instances.urls")),
    path("support/", cases.page, name="support"),
    path("support/list/", cases.listed, name="support-list"),
    path("support/<uuid:uuid>/", cases.row, name="support-row"),
    path("notices/", inbox.show, name="notices"),
    path("notices/bell/", inbox.bell, name="notices-bell"),
    path("notices/read/", inbox.read, name="notices-read"),
    path("join/<uuid:uuid>/", sharing.join, name="join"),
    path("profile/", views.profile, name="profile"),
    path("profile/mail/", views.mail, name="profile-mail"),
    path("profile/tokens/", views.new_token, name="token-new"),
    path("profile/tokens/<uuid:uuid>/revoke/", views.revoke_token, name="token-revoke"),
    path("language/", views.language, name="language"),
    path("health/", health, name="health"),
    path("api/v1/", include("visa_site.api")),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.account.urls")),
]
