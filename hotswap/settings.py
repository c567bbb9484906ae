"""Django's settings: a projection of `hotswap.config.Config`. Nothing is read from elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from hotswap import __version__, config

CONFIG = config.current()
BASE_DIR = Path(__file__).resolve().parent.parent
STATE_DIR = CONFIG.core.state_dir.resolve()

# --- Core ---------------------------------------------------------------------------------------

_secret = CONFIG.core.secret_key
SECRET_KEY = _secret.derive("django").hex() if _secret else ""  # Django refuses to use an empty one
DEBUG = CONFIG.core.debug
ALLOWED_HOSTS = list(CONFIG.core.allowed_hosts)
ROOT_URLCONF = "hotswap.urls"
ASGI_APPLICATION = "hotswap.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",
    "hotswap.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "channels",
    "django_celery_beat",
    "django_prometheus",
    "storages",
    "csp",
    "hotswap.apps.HotSwapConfig",
    "hotswap.records",
    "hotswap.api",
    "hotswap.access",
    "hotswap.dashboard",
    "functions",
    "runners",
    "deployments",
]

MIDDLEWARE = [
    "hotswap.api.request_id.RequestIdMiddleware",
    "hotswap.api.short_cut.InternalShortCut",
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "hotswap.api.static_files.StaticFilesMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "hotswap.dashboard.context.portal",
            ],
        },
    },
]

# --- Stores -------------------------------------------------------------------------------------


def database(url: str) -> dict[str, Any]:
    """Django's database settings from a `postgresql://` URL, with a small pool per process."""
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        # Every ASGI request runs in a thread of its own: without a pool each would connect anew.
        "OPTIONS": {"pool": {"min_size": 1, "max_size": 16, "timeout": 10}},
    }


def caches(url: str) -> dict[str, Any]:
    """The shared cache on Valkey; without a URL one in this process."""
    if not url:
        return {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    backend = "django.core.cache.backends.redis.RedisCache"
    return {"default": {"BACKEND": backend, "LOCATION": url, "KEY_PREFIX": "cache"}}


def channel_layers(url: str) -> dict[str, Any]:
    """Where websocket messages travel between processes."""
    if not url:
        return {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}}
    layer = "channels_redis.pubsub.RedisPubSubChannelLayer"
    return {"default": {"BACKEND": layer, "CONFIG": {"hosts": [url]}}}


def package_storage(stores: config.Stores) -> dict[str, Any]:
    """Where code packages are kept: S3 when a bucket is named, else files."""
    if not stores.s3_bucket:
        options: dict[str, Any] = {
            "location": STATE_DIR / "packages",
            "allow_overwrite": True,
            "file_permissions_mode": 0o600,
            "directory_permissions_mode": 0o700,
        }
        return {"BACKEND": "functions.storage.AtomicFileStorage", "OPTIONS": options}
    options = {
        "bucket_name": stores.s3_bucket,
        "region_name": stores.s3_region,
        "endpoint_url": stores.s3_endpoint_url or None,
        "access_key": stores.s3_access_key_id.reveal() or None,
        "secret_key": stores.s3_secret_access_key.reveal() or None,
        "addressing_style": "path" if stores.s3_endpoint_url else "auto",
        "file_overwrite": True,  # names are hashes: the same name is the same bytes
        "querystring_auth": True,
    }
    return {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}


_redis_url = CONFIG.stores.redis_url.reveal()
DATABASES = {"default": database(CONFIG.stores.database_url.reveal())}
CACHES = caches(_redis_url)
CHANNEL_LAYERS = channel_layers(_redis_url)
STORAGES: dict[str, Any] = {
    "default": package_storage(CONFIG.stores),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

STATIC_URL = "/static/"
STATIC_ROOT = STATE_DIR / "static"
STATICFILES_DIRS = [path for path in (BASE_DIR / "static",) if path.is_dir()]

# A package travels as base64 in JSON, as raw bytes or as a form file; views bound it themselves.
DATA_UPLOAD_MAX_MEMORY_SIZE = None
FILE_UPLOAD_MAX_MEMORY_SIZE = 1024 * 1024

# --- Celery: Postgres is the truth, a message is a hint ------------------------------------------

CELERY_BROKER_URL = _redis_url or "memory://"
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_RESULT_ACCEPT_CONTENT = ["json"]
CELERY_TASK_TIME_LIMIT = 960
CELERY_TASK_SOFT_TIME_LIMIT = 930  # the longest function runs 900 s
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 30
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_VISIBILITY_TIMEOUT = 1_200  # above the time limit, and the same in all three places
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 1_200}
CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS = {"visibility_timeout": 1_200}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_max": 0.2}
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_TIMEZONE = "UTC"

# --- Identity and browser security --------------------------------------------------------------

PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "/login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/login"

# Cookies are bound to TLS as soon as the operator names an https origin; a laptop has none.
HTTPS = any(origin.startswith("https://") for origin in CONFIG.core.trusted_origins)
CSRF_TRUSTED_ORIGINS = list(CONFIG.core.trusted_origins)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-session" if HTTPS else "session"
CSRF_COOKIE_NAME = "__Host-csrf" if HTTPS else "csrf"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],  # two pages made elsewhere are allowed more, each by itself
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    },
}

# --- API ----------------------------------------------------------------------------------------

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "hotswap.access.authentication.BearerAuthentication",
        "hotswap.access.authentication.BrowserSessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["hotswap.api.permissions.ScopePermission"],
    "DEFAULT_PARSER_CLASSES": ["hotswap.api.parsers.JsonParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PAGINATION_CLASS": "hotswap.api.pagination.CursorPages",
    "DEFAULT_FILTER_BACKENDS": [],
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "hotswap.api.schema.ProblemAutoSchema",
    "EXCEPTION_HANDLER": "hotswap.api.problems.exception_handler",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}

SPECTACULAR_SETTINGS = {
    "TITLE": "HotSwap",
    "DESCRIPTION": "Functions, versions, aliases, invocations and deployments.",
    "VERSION": __version__,
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SCHEMA_PATH_PREFIX_TRIM": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "StepState": "deployments.api.serializers.STEP_STATES",
        "OnInconclusive": "deployments.api.serializers.INCONCLUSIVE",
        "NodeState": ["online", "degraded", "offline"],
        "ReadingState": ["ok", "waiting", "stale", "signal", "breached"],
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "hotswap.api.invocation_schema.add_invocations",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True, "docExpansion": "list"},
}

# --- Mail ---------------------------------------------------------------------------------------

EMAIL_HOST = CONFIG.email.host  # empty: notifications by e-mail are refused where they are set
EMAIL_PORT = CONFIG.email.port
EMAIL_HOST_USER = CONFIG.email.user
EMAIL_HOST_PASSWORD = CONFIG.email.password.reveal()
EMAIL_USE_TLS = CONFIG.email.tls == "starttls"
EMAIL_USE_SSL = CONFIG.email.tls == "implicit"
DEFAULT_FROM_EMAIL = CONFIG.email.sender

# --- Administration -----------------------------------------------------------------------------


def _menu(*items: tuple[str, str, str]) -> list[dict[str, Any]]:
    """Lines of the administration's menu: title, icon, address."""
    return [
        {"title": title, "icon": icon, "link": link, "active": _is_here(link)}
        for title, icon, link in items
    ]


def _is_here(link: str) -> Callable[[Any], bool]:
    """Whether a request is for a page below `link`; the portal's pages are elsewhere."""
    return lambda request: link.startswith("/admin/") and request.path.startswith(link)


UNFOLD = {
    "SITE_TITLE": "HotSwap",
    "SITE_HEADER": "HotSwap",
    "SITE_SUBHEADER": "Administration",
    "SITE_URL": "/",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "/static/img/mark.svg"}],
    "SITE_ICON": "/static/img/mark.svg",
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "5px",
    "COLORS": {  # the accent of static/css/tokens.css and its neighbours
        "primary": {
            "50": "#f4f6ff",
            "100": "#eceffd",
            "200": "#d5dbfb",
            "300": "#b6c0fb",
            "400": "#9dabff",
            "500": "#6577ee",
            "600": "#3a4ed5",
            "700": "#2c3eb5",
            "800": "#28368f",
            "900": "#1e2547",
            "950": "#161b35",
        },
    },
    "SIDEBAR": {
        "navigation": [
            {
                "title": "Portal",
                "items": _menu(
                    ("Overview", "space_dashboard", "/"),
                    ("Functions", "function", "/functions"),
                    ("Runners", "dns", "/runners"),
                    ("Access tokens", "key", "/account"),
                ),
            },
            {
                "title": "Functions",
                "separator": True,
                "items": _menu(
                    ("Functions", "deployed_code", "/admin/functions/function/"),
                    ("Versions", "layers", "/admin/functions/functionversion/"),
                    ("Aliases", "alt_route", "/admin/functions/alias/"),
                    ("Packages", "package_2", "/admin/functions/artifact/"),
                    ("Invocations", "timeline", "/admin/runners/invocationrecord/"),
                ),
            },
            {
                "title": "Platform",
                "separator": True,
                "items": _menu(
                    ("Runners", "dns", "/admin/runners/runnernode/"),
                    ("Gateways and runners", "lan", "/admin/records/tablereader/"),
                    ("Routing table", "table_rows", "/admin/records/routingrevision/"),
                    ("Background jobs", "schedule", "/admin/django_celery_beat/periodictask/"),
                    ("Audit trail", "history", "/admin/records/auditevent/"),
                ),
            },
            {
                "title": "People",
                "separator": True,
                "items": _menu(
                    ("Users", "person", "/admin/auth/user/"),
                    ("Access tokens", "key", "/admin/access/personalaccesstoken/"),
                ),
            },
        ],
    },
}

# --- Logging: everything to the process's own output, where the supervisor keeps it ---------------

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"output": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["output"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "level": "INFO", "propagate": True},
        "django.request": {"level": "ERROR"},  # refusals are answers, not events
        "httpx2": {"level": "WARNING"},
    },
}
