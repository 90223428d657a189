from django.urls import path

from instances import timing, views

urlpatterns = [
    path("new/", views.new, name="machine-new"),
    path("new/sizes/", views.sizes, name="machine-sizes"),
    path("past/", views.past, name="machines-past"),
    path("<uuid:uuid>/", views.machine, name="machine"),
    path("<uuid:uuid>/card/", views.card, name="machine-card"),
    path("<uuid:uuid>/progress/", views.progress, name="machine-progress"),
    path("<uuid:uuid>/status/", views.status, name="machine-status"),
    path("<uuid:uuid>/rename/", views.rename, name="machine-rename"),
    path("<uuid:uuid>/thumbnail/", views.thumbnail, name="machine-thumbnail"),
    path("<uuid:uuid>/time/", timing.show, name="machine-time"),
    path("<uuid:uuid>/time/end/", timing.end, name="machine-end"),
    path("<uuid:uuid>/time/awake/", timing.awake, name="machine-awake"),
    path("<uuid:uuid>/time/more/", timing.more, name="machine-more-time"),
    path("<uuid:uuid>/bin/back/", timing.back, name="machine-back"),
    path("<uuid:uuid>/bin/empty/", timing.empty, name="machine-empty"),
    path("<uuid:uuid>/<slug:name>/", views.act, name="machine-act"),
]
