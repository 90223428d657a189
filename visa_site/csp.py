"""The Content-Security-Policy of each part of the site.

The pages keep the strict one of the settings. The administration (django-unfold) evaluates Alpine expressions and
writes styles into its HTML; it still loads nothing from elsewhere, sends nothing elsewhere, and is framed by nobody.
"""

from csp.constants import SELF, UNSAFE_EVAL, UNSAFE_INLINE
from csp.middleware import CSPMiddleware, PolicyParts
from django.http import HttpRequest
from django.http.response import HttpResponseBase

LAXER = {
    "/admin/": {"script-src": [SELF, UNSAFE_INLINE, UNSAFE_EVAL], "style-src": [SELF, UNSAFE_INLINE]},
}


class PolicyMiddleware(CSPMiddleware):
    def get_policy_parts(
        self, request: HttpRequest, response: HttpResponseBase, report_only: bool = False
    ) -> PolicyParts:
        parts = super().get_policy_parts(request, response, report_only)
        for prefix, directives in LAXER.items():
            if request.path_info.startswith(prefix):
                parts.replace = directives | (parts.replace or {})
        return parts
