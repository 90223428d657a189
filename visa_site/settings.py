"""One settings file for every process. What differs between installations comes from the environment (docs/operators).

`VISA_HOME` is the folder of everything that VISA writes; `.env` in it is read first, the environment wins.
"""

from pathlib import Path
from typing import Any

import environ
from csp.constants import NONCE, NONE, SELF
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy

from visa_site.look import UNFOLD  # noqa: F401 - a setting

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
VISA_HOME = Path(env.str("VISA_HOME", default=str(BASE_DIR / "var"))).resolve()
env.read_env(VISA_HOME / ".env")

DEBUG = env.bool("VISA_DEBUG", default=False)
PUBLIC_URL = env.str("VISA_PUBLIC_URL", default=f"http://localhost:{env.int('VISA_PORT', default=8000)}").rstrip("/")
HTTPS = PUBLIC_URL.startswith("https://")
# Machines' web applications: each has a host of its own under this domain, with a port where it is not the scheme's.
APPS_DOMAIN = env.str("VISA_APPS_DOMAIN", default="").lower() or PUBLIC_URL.lower().partition("://")[2]

INSECURE_KEY = "insecure-only-for-tests-and-checks"
SECRET_KEY = env.str("VISA_SECRET_KEY", default=INSECURE_KEY if DEBUG else "")
if not DEBUG and (len(SECRET_KEY) < 50 or SECRET_KEY.startswith("insecure")):
    raise ImproperlyConfigured(
        "VISA_SECRET_KEY is missing or too short. Put 50 or more random characters into VISA_HOME/.env, "
        "for example from: python3 -c 'import secrets; print(secrets.token_urlsafe(50))'"
    )
# The first key encrypts; the others still decrypt, so that a key can be changed without losing a secret.
ENCRYPTION_KEYS: list[str] = env.list("VISA_ENCRYPTION_KEYS", default=[SECRET_KEY])

ALLOWED_HOSTS: list[str] = env.list("VISA_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("VISA_TRUSTED_ORIGINS", default=[PUBLIC_URL])

INSTALLED_APPS = [
    "daphne",
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "allauth",
    "allauth.account",
    "channels",
    "django_htmx",
    "django_filters",
    "rest_framework",
    "knox",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "csp",
    "experiments",
    "instances",
    "desktops",
    "visa_site",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "visa_site.csp.PolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "visa_site.reader.for_the_reader",
]

ROOT_URLCONF = "visa_site.urls"
ASGI_APPLICATION = "visa_site.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [VISA_HOME / "templates", BASE_DIR / "templates"],  # a facility's own words come first
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
            ],
        },
    },
]

DATABASES: dict[str, Any] = {"default": env.db("DATABASE_URL", default=f"sqlite:///{VISA_HOME}/visa.sqlite3")}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # IMMEDIATE takes the write lock at BEGIN: two read-then-write transactions queue instead of failing as "locked".
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    DATABASES["default"]["OPTIONS"] = {"pool": {"min_size": 1, "max_size": 20, "timeout": 10}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_SOCKET = env.str("VISA_REDIS_SOCKET", default=str(VISA_HOME / "run" / "redis.sock"))
# Pages live on without Redis; whoever reads signs of life must hear that it is away.
CACHES = {
    "default": {
        "BACKEND": "visa_site.cache.LastingCache",
        "LOCATION": f"unix://{REDIS_SOCKET}?db=1",
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
    },
    "alive": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": f"unix://{REDIS_SOCKET}?db=1",
    },
}
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [f"unix://{REDIS_SOCKET}?db=2"]},
    }
}
# Read from its row at every request: a session that ended has ended everywhere at once, and needs no Redis.
SESSION_ENGINE = "django.contrib.sessions.backends.db"

CELERY_BROKER_URL = f"redis+socket://{REDIS_SOCKET}?virtual_host=0"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_TASK_TIME_LIMIT = 600
# Whoever rings does not wait for a Redis that is away: the row is the queue, and the sweep rings again.
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0}
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# Taken back soon after a worker is killed; longer than the longest task, or it would run twice.
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 900,
    "unacked_restore_interval": 2,
    "unacked_restore_throttle": 1,
    "socket_timeout": 10,
    "socket_connect_timeout": 3,
}
CELERY_BEAT_SCHEDULER = "visa_site.celery:HeartbeatScheduler"
CELERY_IMPORTS = [
    "instances.expiry",
    "instances.jobs",
    "instances.kernels",
    "instances.letters",
    "desktops.following",
]
CELERY_BEAT_SCHEDULE = {
    "letters": {"task": "instances.letters.deliver_due", "schedule": 60.0, "options": {"expires": 60}},
    "jobs": {"task": "instances.jobs.hear_jobs", "schedule": 120.0, "options": {"expires": 120}},
    "kernels": {"task": "instances.kernels.hear_kernels", "schedule": 120.0, "options": {"expires": 120}},
    "expire": {"task": "instances.expiry.expire", "schedule": 60.0, "options": {"expires": 60}},
    "sweep": {"task": "instances.tasks.sweep", "schedule": 10.0, "options": {"expires": 10}},
    "attend": {"task": "desktops.tasks.attend", "schedule": 5.0, "options": {"expires": 5}},
    "runs": {"task": "desktops.following.follow", "schedule": 3.0, "options": {"expires": 3}},
    "forget": {"task": "instances.tasks.forget", "schedule": 3600.0, "options": {"expires": 3600}},
    "thumbnails": {"task": "instances.tasks.thumbnails", "schedule": 30.0, "options": {"expires": 30}},
}

# Without a mail server, letters are files in VISA_HOME/mail.
vars().update(env.email_url("VISA_EMAIL_URL", default="filemail://"))
EMAIL_FILE_PATH = str(VISA_HOME / "mail")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("VISA_MAIL_FROM", default=f"VISA <visa@{PUBLIC_URL.split('/')[2].split(':')[0]}>")

AUTH_USER_MODEL = "experiments.User"
AUTHENTICATION_BACKENDS = [
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
    "experiments.permissions.RolePermissions",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL = reverse_lazy("account_login")
LOGIN_REDIRECT_URL = reverse_lazy("home")
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_ADAPTER = "visa_site.accounts.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = True

SESSION_COOKIE_NAME = "__Host-visa" if HTTPS else "visa"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = "__Host-visa-csrf" if HTTPS else "visa-csrf"
CSRF_COOKIE_HTTPONLY = True
SECURE_SSL_REDIRECT = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("VISA_BEHIND_PROXY", default=False) else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
        "object-src": [NONE],
    },
}

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("fr", "Français")]
LOCALE_PATHS = [BASE_DIR / "locale"]
TIME_ZONE = env.str("VISA_TIME_ZONE", default="Europe/Paris")
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = VISA_HOME / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(VISA_HOME / "media"), "base_url": "/media/"},
    },
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "visa_site.authentication.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_SCHEMA_CLASS": "visa_site.schema.DescribedSchema",
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_PARSER_CLASSES": ["visa_site.parsers.BoundedJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_THROTTLE_CLASSES": ["rest_framework.throttling.UserRateThrottle"],
    "DEFAULT_THROTTLE_RATES": {"user": "600/min"},
    "PAGE_SIZE": 50,
}
KNOX_TOKEN_MODEL = "visa_site.PersonalToken"  # noqa: S105 - the name of a model
# Our own token model stands in for knox's; without this its migrations would still make their table.
MIGRATION_MODULES = {"knox": None}
REST_KNOX = {"TOKEN_TTL": None, "TOKEN_PREFIX": "visa_", "MIN_REFRESH_INTERVAL": 60, "AUTH_HEADER_PREFIX": "Token"}
SPECTACULAR_SETTINGS = {
    "TITLE": "VISA",
    "DESCRIPTION": "Machines for the analysis of your experiments.",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "RoleEnum": "experiments.models.Role.choices",
        "MemberRoleEnum": "instances.models.MemberRole.choices",
        "RunStateEnum": "desktops.models.runs.RunState.choices",
        "OfferedRoleEnum": "desktops.models.sharing.ROLES",
    },
}

# What a machine is made of where its plan and its owner do not say otherwise.
VISA_DEPLOYMENT = env.str("VISA_DEPLOYMENT", default="00000000-0000-0000-0000-000000000001")
VISA_DEFAULT_QUOTA = env.int("VISA_DEFAULT_QUOTA", default=2)
# Who may see which screens now: asked where a picture of one would be shown.
VISA_MAY_SEE = "desktops.access.may_see"
# Who signs the certificates of far hosts' consoles; libvirt looks for its own there, too.
VISA_CONSOLE_CA = env.str("VISA_CONSOLE_CA", default="/etc/pki/CA/cacert.pem")
VISA_IMAGES = Path(env.str("VISA_IMAGES", default=str(VISA_HOME / "images")))

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": env.str("VISA_LOG_LEVEL", default="INFO")},
    "loggers": {"django.request": {"level": "ERROR"}, "asyncssh": {"level": "WARNING"}},
}
