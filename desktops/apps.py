from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class DesktopsConfig(AppConfig):
    name = "desktops"
    verbose_name = _("Desktops")

    def ready(self) -> None:
        from desktops import baton, chat, following, news, sharing, support  # noqa: PLC0415 - models can be imported only now

        for module in (news, baton, chat, following, sharing, support):
            module.connect()
