"""How a reader sees pages: in their time zone, which the browser tells by a cookie, and in their language."""

from collections.abc import Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation

ZONE_COOKIE = "visa-zone"


def for_the_reader(answer: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware, after Django's own for language and sign-in; a language chosen in this browser wins."""

    def middleware(request: HttpRequest) -> HttpResponse:
        zone = _zone(request.COOKIES.get(ZONE_COOKIE, ""))
        language = "" if settings.LANGUAGE_COOKIE_NAME in request.COOKIES else _language(request)
        if language:
            translation.activate(language)
            request.LANGUAGE_CODE = language
        with timezone.override(zone):
            return answer(request)

    return middleware


def _zone(name: str) -> ZoneInfo:
    """The zone of that name (IANA); the facility's for what is none."""
    try:
        return ZoneInfo(name) if name else ZoneInfo(settings.TIME_ZONE)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(settings.TIME_ZONE)


def _language(request: HttpRequest) -> str:
    return request.user.language if request.user.is_authenticated else ""
