"""How the API describes itself."""

from drf_spectacular.contrib.knox_auth_token import KnoxTokenScheme
from drf_spectacular.openapi import AutoSchema


class DescribedSchema(AutoSchema):
    """Shows the first line of what a call promises beside its address."""

    def get_summary(self) -> str | None:
        lines = self.get_description().strip().splitlines()
        return lines[0] if lines else None


class TokenScheme(KnoxTokenScheme):  # type: ignore[no-untyped-call]
    target_class = "visa_site.authentication.TokenAuthentication"
    name = "token"
