"""Personal tokens: made once, shown once, ending by themselves."""

from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _
from knox.models import get_digest_token
from knox.settings import CONSTANTS

from experiments.models import User
from visa_site.models import PersonalToken

MAX_DAYS = 365
DEFAULT_DAYS = 90
MAX_TOKENS = 20
"""How many valid tokens one person may hold, so that a script in a loop does not fill the table."""


class TooManyTokens(Exception):
    """The person holds as many tokens as anybody may; the message says what to do."""


def valid_tokens(user: User) -> QuerySet[PersonalToken]:
    """The person's tokens that still open the API, newest first."""
    return PersonalToken.objects.filter(Q(expiry__gt=timezone.now()) | Q(expiry=None), user=user)


def issue(user: User, name: str = "", days: int = DEFAULT_DAYS) -> tuple[PersonalToken, str]:
    """A new token valid for `days` (1 to MAX_DAYS), and its text, which cannot be had again.

    Raises ValueError for other days, TooManyTokens.
    """
    if not 1 <= days <= MAX_DAYS:
        raise ValueError(f"A token lives for 1 to {MAX_DAYS} days, not {days}.")
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if valid_tokens(user).count() >= MAX_TOKENS:
            raise TooManyTokens(
                _("You have %(count)d tokens. Revoke one that you no longer use.") % {"count": MAX_TOKENS}
            )
        digest, text = get_digest_token()
        key, end = text[: CONSTANTS.TOKEN_KEY_LENGTH], timezone.now() + timedelta(days=days)
        token = PersonalToken.objects.create(digest=digest, token_key=key, user=user, name=name, expiry=end)
    return token, text
