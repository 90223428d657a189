from django.urls import path

from desktops.views import desktop

urlpatterns = [path("<uuid:uuid>/desktop/", desktop.desktop, name="desktop")]
