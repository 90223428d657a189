from django.apps import AppConfig


class VisaSiteConfig(AppConfig):
    name = "visa_site"
    verbose_name = "VISA"

    def ready(self) -> None:
        from visa_site import checks  # noqa: F401, PLC0415 - registers them
