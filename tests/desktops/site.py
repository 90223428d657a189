"""The whole site on the running test's own database, for web processes that a test starts beside itself."""

import os

os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"

from django.conf import settings

settings.DATABASES["default"]["NAME"] = os.environ["VISA_TEST_DATABASE"]

from visa_site.asgi import application  # noqa: E402 - the database must be named before the apps are loaded

__all__ = ["application"]
