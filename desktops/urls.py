from django.urls import path

from desktops import views

urlpatterns = [path("<uuid:uuid>/desktop/", views.desktop, name="desktop")]
