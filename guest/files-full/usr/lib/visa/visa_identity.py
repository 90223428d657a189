"""Who is in JupyterLab, as VISA's proxy says: it alone has the token, and no browser can say these headers."""

import os
import pwd
from urllib.parse import unquote

from jupyter_server.auth import IdentityProvider, User


class PersonOfProxy(IdentityProvider):
    """The token opens; the headers name. Without them it is the machine's owner, at the desktop's own browser."""

    async def get_user_token(self, handler):
        known = await super().get_user_token(handler)
        return person(handler.request.headers) if known else None


def person(headers):
    name, user = unquote(headers.get("X-Forwarded-Name", "")), headers.get("X-Forwarded-User", "")
    if name and user:
        return User(username=user, name=name, display_name=name, initials=initials(name))
    owner = pwd.getpwuid(os.getuid())
    name = owner.pw_gecos.split(",")[0] or owner.pw_name
    return User(username=owner.pw_name, name=name, display_name=name, initials=initials(name))


def initials(name):
    words = name.split()
    return (words[0][0] + (words[-1][0] if len(words) > 1 else "")).upper()
