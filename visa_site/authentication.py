"""How programs say who they are: `Authorization: Token visa_...`."""

from typing import Any

from django.utils.translation import gettext as _
from knox.auth import TokenAuthentication as KnoxTokenAuthentication
from rest_framework.exceptions import AuthenticationFailed


class TokenAuthentication(KnoxTokenAuthentication):
    """Knox's, which fails with an error of ours (500) where a header is no plain text."""

    def authenticate_credentials(self, token: bytes) -> Any:
        if not (token.isascii() and token.decode().isprintable()):
            raise AuthenticationFailed(_("Invalid token."))
        return super().authenticate_credentials(token)
