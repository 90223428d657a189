from django.urls import path

from desktops.views import desktop, support

urlpatterns = [
    path("<uuid:uuid>/desktop/", desktop.desktop, name="desktop"),
    path("<uuid:uuid>/ask/", support.ask, name="support-ask"),
    path("<uuid:uuid>/ask/cancel/", support.cancel, name="support-cancel"),
    path("<uuid:uuid>/enter/", support.enter, name="support-enter"),
    path("<uuid:uuid>/requests/<uuid:asked>/answer/", support.answer, name="support-answer"),
    path("<uuid:uuid>/support/end/", support.end, name="support-end"),
    path("<uuid:uuid>/help/", support.call, name="help"),
    path("<uuid:uuid>/help/take/", support.take, name="help-take"),
    path("<uuid:uuid>/help/close/", support.close, name="help-close"),
]
