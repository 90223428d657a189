from django.apps import AppConfig


class VisaSiteConfig(AppConfig):
    name = "visa_site"
    verbose_name = "VISA"
