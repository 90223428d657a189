"""The site's own settings, at home in a folder that ends with the run: no file of an installation is read or written.

DATABASE_URL in the environment chooses the database (`python -m tests.servers` sets it to a PostgreSQL); else SQLite.
"""

import atexit
import os
import shutil
import tempfile


def _remove(home: str, owner: int) -> None:
    if os.getpid() == owner:  # and not a fork of it
        shutil.rmtree(home, ignore_errors=True)


_inherited = os.environ.get("VISA_TEST_HOME")
_memory = "/run" if "VISA_CELL" in os.environ else None  # of the cell, where it is no disk: nothing has to last
_home = _inherited or tempfile.mkdtemp(prefix="visa-tests-", dir=_memory)
if not _inherited:
    os.environ["VISA_TEST_HOME"] = _home  # programs that the tests start find the same home
    atexit.register(_remove, _home, os.getpid())

os.environ["VISA_HOME"] = _home
os.makedirs(os.path.join(_home, "static"), exist_ok=True)  # WhiteNoise misses it aloud
os.environ["VISA_SECRET_KEY"] = "for-the-tests-alone-" * 3
for _name in ("VISA_ENCRYPTION_KEYS", "VISA_REDIS_SOCKET", "VISA_DEBUG", "VISA_PUBLIC_URL"):
    os.environ.pop(_name, None)

from visa_site.settings import *  # noqa: E402, F403 - the home must be named before the settings read it

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}  # noqa: F405
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):  # noqa: F405
    # A file: sockets and workers read in threads of their own, and SQLite's shared memory has one lock for a table.
    DATABASES["default"]["TEST"] = {"NAME": os.path.join(_home, "test.sqlite3")}  # noqa: F405
else:
    # Crowds of threads wait for each other inside transactions: each needs a connection, and the site's pool is small.
    DATABASES["default"]["OPTIONS"] = {}  # noqa: F405
