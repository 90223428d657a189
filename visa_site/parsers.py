"""How the API reads what programs send."""

from typing import Any

from django.utils.translation import gettext as _
from rest_framework.exceptions import ParseError
from rest_framework.parsers import JSONParser


class BoundedJSONParser(JSONParser):
    """REST framework's, which fails with an error of ours (500) where JSON is nested without end."""

    def parse(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().parse(*args, **kwargs)
        except RecursionError as wrong:
            raise ParseError(_("This is nested too deeply.")) from wrong
