from django.urls import path

from desktops.views import desktop, room, support

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
    path("<uuid:uuid>/room/", room.room, name="room"),
    path("<uuid:uuid>/room/settings/", room.settings, name="room-settings"),
    path("<uuid:uuid>/room/control/", room.control, name="room-control"),
    path("<uuid:uuid>/room/dismiss/", room.dismiss, name="room-dismiss"),
    path("<uuid:uuid>/chat/", room.messages, name="chat"),
    path("<uuid:uuid>/chat/send/", room.send, name="chat-send"),
    path("<uuid:uuid>/chat/read/", room.read, name="chat-read"),
]
