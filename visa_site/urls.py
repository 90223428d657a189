from django.contrib import admin
from django.urls import include, path

from visa_site import views
from visa_site.health import health

urlpatterns = [
    path("", views.home, name="home"),
    path("machines/", include("desktops.urls")),
    path("machines/", include("instances.urls")),
    path("profile/", views.profile, name="profile"),
    path("profile/tokens/", views.new_token, name="token-new"),
    path("profile/tokens/<uuid:uuid>/revoke/", views.revoke_token, name="token-revoke"),
    path("language/", views.language, name="language"),
    path("health/", health, name="health"),
    path("api/v1/", include("visa_site.api")),
    path("admin/", admin.site.urls),
    path("accounts/", include("allauth.account.urls")),
]
