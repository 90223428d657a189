from django.urls import path

from desktops.views import desktop, room, sharing, support, terminal, webapps

urlpatterns = [
    path("<uuid:uuid>/desktop/", desktop.desktop, name="desktop"),
    path("<uuid:uuid>/terminal/", terminal.terminal, name="terminal"),
    path("<uuid:uuid>/apps/<slug:slug>/", webapps.app, name="machine-app"),
    path("<uuid:uuid>/ask/", support.ask, name="support-ask"),
    path("<uuid:uuid>/ask/cancel/", support.cancel, name="support-cancel"),
    path("<uuid:uuid>/enter/", support.enter, name="support-enter"),
    path("<uuid:uuid>/requests/<uuid:asked>/answer/", support.answer, name="support-answer"),
    path("<uuid:uuid>/support/", support.panel, name="machine-support"),
    path("<uuid:uuid>/support/end/", support.end, name="support-end"),
    path("<uuid:uuid>/help/", support.call, name="help"),
    path("<uuid:uuid>/help/take/", support.take, name="help-take"),
    path("<uuid:uuid>/help/close/", support.close, name="help-close"),
    path("<uuid:uuid>/room/", room.room, name="room"),
    path("<uuid:uuid>/room/settings/", room.settings, name="room-settings"),
    path("<uuid:uuid>/room/control/", room.control, name="room-control"),
    path("<uuid:uuid>/room/dismiss/", room.dismiss, name="room-dismiss"),
    path("<uuid:uuid>/chat/", room.messages, name="chat"),
    path("<uuid:uuid>/chat/send/", room.send, name="chat-send"),
    path("<uuid:uuid>/chat/read/", room.read, name="chat-read"),
    path("<uuid:uuid>/members/", sharing.people, name="people"),
    path("<uuid:uuid>/members/search/", sharing.search, name="people-search"),
    path("<uuid:uuid>/members/add/", sharing.add, name="people-add"),
    path("<uuid:uuid>/members/role/", sharing.role, name="people-role"),
    path("<uuid:uuid>/members/remove/", sharing.remove, name="people-remove"),
    path("<uuid:uuid>/members/handover/", sharing.handover, name="people-handover"),
    path("<uuid:uuid>/invitations/", sharing.invite, name="invite"),
    path("<uuid:uuid>/invitations/<uuid:invitation>/revoke/", sharing.revoke, name="invitation-revoke"),
    path("<uuid:uuid>/public-link/", sharing.public_link, name="public-link"),
]
