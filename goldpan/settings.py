"""Every setting of Goldpan, read from the environment (or `.env`); docs/settings.md explains each one."""

from pathlib import Path

import environ
from csp.constants import NONE, SELF

from goldpan.secrets import load_secrets

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

# Where everything lives that is not code
GOLDPAN_DATA = Path(env("GOLDPAN_DATA", default=str(BASE_DIR / "var"))).resolve()
GOLDPAN_OBJECTS = GOLDPAN_DATA / "objects"  # bulk, by sha256
GOLDPAN_JOBS = GOLDPAN_DATA / "jobs"  # one work folder per job and attempt
_secrets = load_secrets(GOLDPAN_DATA / "secrets.env")

SECRET_KEY = env("GOLDPAN_SECRET_KEY", default=_secrets["GOLDPAN_SECRET_KEY"])
GOLDPAN_FERNET_KEY = env("GOLDPAN_FERNET_KEY", default=_secrets["GOLDPAN_FERNET_KEY"])
DEBUG = env.bool("GOLDPAN_DEBUG", default=False)
GOLDPAN_HOST = env("GOLDPAN_HOST", default="localhost")
GOLDPAN_PORT = env.int("GOLDPAN_PORT", default=8000)
GOLDPAN_URL = env("GOLDPAN_URL", default=f"http://{GOLDPAN_HOST}:{GOLDPAN_PORT}")
ALLOWED_HOSTS = env.list("GOLDPAN_ALLOWED_HOSTS", default=["localhost", "127.0.0.1"])
CSRF_TRUSTED_ORIGINS = env.list("GOLDPAN_CSRF_TRUSTED_ORIGINS", default=[])
GOLDPAN_SINGLE_USER = env.bool("GOLDPAN_SINGLE_USER", default=False)  # lets one person freeze and approve; it shows

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.forms",
    "allauth",
    "allauth.account",
    "csp",
    "django_filters",
    "django_htmx",
    "django_tables2",
    "ninja",
    "goldpan",
    "projects",
    "jobs",
    "labeling",
    "curation",
    "training",
    "serving",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "goldpan.middleware.ProblemMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "goldpan.middleware.PolicyMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "goldpan.middleware.UserErrorMiddleware",
]

ROOT_URLCONF = "goldpan.urls"
WSGI_APPLICATION = "goldpan.wsgi.application"
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
                "jobs.context_processors.header_counts",
            ],
        },
    }
]
FORM_RENDERER = "projects.forms.GoldpanFormRenderer"
DJANGO_TABLES2_TEMPLATE = "tables/table.html"

# Database: SQLite as one durable file, or PostgreSQL by DATABASE_URL
DATABASES = {"default": env.db("DATABASE_URL", default=f"sqlite:///{GOLDPAN_DATA / 'goldpan.sqlite3'}")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",  # a deferred one ignores the timeout when it upgrades its lock
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; "
                        "PRAGMA mmap_size=1073741824",  # reads of large tables take 0.6 of the time
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Jobs: rows are the truth, the broker only wakes
GOLDPAN_BROKER = env("GOLDPAN_BROKER", default="filesystem://")
CELERY_BROKER_URL = GOLDPAN_BROKER
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_ACKS_LATE = False  # a long run must not be delivered twice; the lease brings lost work back
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
if GOLDPAN_BROKER == "filesystem://":
    _queue = GOLDPAN_DATA / "queue"
    _queue.mkdir(parents=True, exist_ok=True, mode=0o700)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_queue),
        "data_folder_out": str(_queue),
        "control_folder": str(_queue / "control"),
        "polling_interval": 0.1,
    }
GOLDPAN_LEASE_SECONDS = env.int("GOLDPAN_LEASE_SECONDS", default=60)
GOLDPAN_TICK_SECONDS = env.int("GOLDPAN_TICK_SECONDS", default=5)
GOLDPAN_ON_TICK = ["labeling.services.sync.poll", "training.services.suggestions.poll",
                   "projects.services.sending.send_due", "projects.services.remembering.forget_answers",
                   "projects.services.notices.forget_notices", "serving.services.feedback.poll",
                   "serving.services.exchanges.purge",
                   "serving.services.experiments.poll", "serving.services.watching.poll"]
# What curation does not know of forgets examples, too: at once, and in files by the job
GOLDPAN_ON_ERASE = ["training.services.quoting.erase_quotes", "serving.services.exchanges.erase_exchanges",
                    "serving.services.shadows.erase_compared", "serving.services.looks.erase_looks",
                    "projects.services.remembering.forget_answers_about"]
GOLDPAN_ON_ERASE_FILES = ["training.services.forgetting.erase_answers"]
# Which examples labelling must not show a suggestion with: what serves is judged by what people say without it
GOLDPAN_BLIND = ["serving.services.looks.blind_among"]
GOLDPAN_POLL_SECONDS = env.int("GOLDPAN_POLL_SECONDS", default=300)  # between pulls from Label Studio without a hint
GOLDPAN_WORKERS = env.int("GOLDPAN_WORKERS", default=2)
JOB_KINDS = {
    "import": "labeling.services.imports.run_import",
    "sync": "labeling.services.sync.run_sync",
    "score": "curation.services.scoring.run_score",
    "keep_one": "curation.services.duplicates.run_keep_one",
    "map": "curation.services.maps.run_map",
    "next_labels": "curation.services.adaptive.run_next_labels",
    "pick": "curation.services.gold_sets.run_pick",
    "freeze": "curation.services.snapshots.run_freeze",
    "decide_all": "curation.services.bulk_decisions.run_decide_all",
    "export": "curation.services.exporting.run_export",
    "import_snapshot": "curation.services.importing.run_import_snapshot",
    "erase": "curation.services.erasing.run_erase",
    "experiment": "curation.services.experiments.run_experiment",
    "forecast": "curation.services.forecasts.run_forecast",
    "baseline": "training.services.baseline.run_baseline",
    "try_prompt": "training.services.written_prompts.run_try",
    "quote": "training.services.quotes.run_quote",
    "train": "training.services.runs.run_train",
    "evaluate": "training.services.evaluation.run_evaluate",
    "general_check": "training.services.general.run_general_check",
    "judge": "training.services.judges.run_judge",
    "merge": "training.services.exports.run_merge",
    "train_arms": "training.services.arms.run_train_arms",
    "report": "training.services.reports.run_report",
    "suggest": "training.services.suggestions.run_suggest",
    "replay": "serving.services.parity.run_replay",
    "shadow": "serving.services.shadows.run_shadow",
    "look": "serving.services.looks.run_look",
    "count_look": "serving.services.look_counts.run_count",
    "weigh": "serving.services.weighing.run_weigh",
}

# The API: how many requests a key, or a person in a browser, may send in a minute; 0: any number
GOLDPAN_API_PER_MINUTE = env.int("GOLDPAN_API_PER_MINUTE", default=600)

# Label Studio: the local one that the supervisor starts, or any other by its address
GOLDPAN_LABEL_STUDIO_PORT = env.int("GOLDPAN_LABEL_STUDIO_PORT", default=8080)
GOLDPAN_LABEL_STUDIO_URL = env("GOLDPAN_LABEL_STUDIO_URL", default=f"http://{GOLDPAN_HOST}:{GOLDPAN_LABEL_STUDIO_PORT}")
GOLDPAN_LABEL_STUDIO_EMAIL = env("GOLDPAN_LABEL_STUDIO_EMAIL", default="admin@goldpan.local")
GOLDPAN_LABEL_STUDIO_PASSWORD = env(
    "GOLDPAN_LABEL_STUDIO_PASSWORD", default=_secrets["LABEL_STUDIO_ADMIN_PASSWORD"])
# The door: how annotators come to their desks in Label Studio, and to nothing else there
GOLDPAN_DOOR_PORT = env.int("GOLDPAN_DOOR_PORT", default=8081)
GOLDPAN_DOOR_URL = env("GOLDPAN_DOOR_URL", default=f"http://{GOLDPAN_HOST}:{GOLDPAN_DOOR_PORT}")
GOLDPAN_LABEL_STUDIO_CLIENT = "labeling.label_studio.LabelStudio"  # tests put a fake here
GOLDPAN_LABEL_STUDIO_BOOTSTRAP = "labeling.label_studio.bootstrap_token"
GOLDPAN_LABEL_STUDIO_SECRET_KEY = _secrets["LABEL_STUDIO_SECRET_KEY"]
GOLDPAN_LABEL_STUDIO_BINARY = Path(
    env("GOLDPAN_LABEL_STUDIO_BINARY", default=str(BASE_DIR / ".venv-ls" / "bin" / "label-studio")))

# Models
GOLDPAN_ENCODER = env("GOLDPAN_ENCODER", default="curation.encoder.MiniLMEncoder")
GOLDPAN_BASE_MODEL = Path(env("GOLDPAN_BASE_MODEL", default=str(BASE_DIR / "var" / "models" / "smollm2-135m-instruct")))
GOLDPAN_LLM_URL = env("GOLDPAN_LLM_URL", default="")  # an OpenAI-compatible endpoint instead of the embedded model
GOLDPAN_LLM_MODEL = env("GOLDPAN_LLM_MODEL", default="")
GOLDPAN_LLM_KEY = env("GOLDPAN_LLM_KEY", default="")
GOLDPAN_LLM_REQUESTS_PER_MINUTE = env.int("GOLDPAN_LLM_REQUESTS_PER_MINUTE", default=0)  # 0: no limit
GOLDPAN_LLM_TOKENS_PER_MINUTE = env.int("GOLDPAN_LLM_TOKENS_PER_MINUTE", default=0)
GOLDPAN_LLM_PRICE_INPUT = env.float("GOLDPAN_LLM_PRICE_INPUT", default=0.0)  # of a million tokens read
GOLDPAN_LLM_PRICE_OUTPUT = env.float("GOLDPAN_LLM_PRICE_OUTPUT", default=0.0)  # of a million tokens written
# The judge of written answers: another model at that endpoint, or an endpoint of its own; empty is as above
GOLDPAN_JUDGE_URL = env("GOLDPAN_JUDGE_URL", default="")
GOLDPAN_JUDGE_MODEL = env("GOLDPAN_JUDGE_MODEL", default="")
GOLDPAN_JUDGE_KEY = env("GOLDPAN_JUDGE_KEY", default="")
GOLDPAN_JUDGE_PRICE_INPUT = env.float("GOLDPAN_JUDGE_PRICE_INPUT", default=0.0)
GOLDPAN_JUDGE_PRICE_OUTPUT = env.float("GOLDPAN_JUDGE_PRICE_OUTPUT", default=0.0)
GOLDPAN_ALLOWED_ORIGINS = env.list("GOLDPAN_ALLOWED_ORIGINS", default=[])  # where requests may go, beside Label Studio
GOLDPAN_BACKENDS = env("GOLDPAN_BACKENDS", default="curation.shards.here")  # what spreads work over machines
GOLDPAN_THREADS = env.int("GOLDPAN_THREADS", default=2)  # of one model subprocess

# The gateway: programs ask a project's model at /v1, in a process of its own that keeps no page waiting
GOLDPAN_GATEWAY_PORT = env.int("GOLDPAN_GATEWAY_PORT", default=8082)
GOLDPAN_GATEWAY_URL = env("GOLDPAN_GATEWAY_URL", default=f"http://{GOLDPAN_HOST}:{GOLDPAN_GATEWAY_PORT}")
GOLDPAN_ANSWERS_PROGRAMS = env.bool("GOLDPAN_ANSWERS_PROGRAMS", default=True)  # off in web where a gateway is
GOLDPAN_MODEL_SOCKET = Path(env("GOLDPAN_MODEL_SOCKET", default=str(GOLDPAN_DATA / "model.sock")))
GOLDPAN_MODEL_QUEUE = env.int("GOLDPAN_MODEL_QUEUE", default=32)  # requests that may wait for the embedded model
GOLDPAN_ADAPTERS = GOLDPAN_DATA / "adapters"  # files of those that serve, as the model's process reads them
GOLDPAN_OPEN_BACKEND = "serving.services.deployments.open_backend"  # tests put a fake here
GOLDPAN_SERVING_URL = env("GOLDPAN_SERVING_URL", default="")  # an OpenAI-compatible server of adapters, such as vLLM
GOLDPAN_SERVING_KEY = env("GOLDPAN_SERVING_KEY", default="")

# Where runs may be trained, and where their learning curves may be copied to
GOLDPAN_EXECUTORS = env.list("GOLDPAN_EXECUTORS", default=["local", "bundle"])
GOLDPAN_GPUS = env.int("GOLDPAN_GPUS", default=0)  # of one training by accelerate or on Ray
GOLDPAN_BASE_MODEL_SOURCE = env("GOLDPAN_BASE_MODEL_SOURCE", default="")  # a Hugging Face id with the same weights
GOLDPAN_CLOUD_GPUS = env.list("GOLDPAN_CLOUD_GPUS", default=["L4:1", "A10G:1", "A10:1"])
GOLDPAN_SKYPILOT_PYTHON = Path(
    env("GOLDPAN_SKYPILOT_PYTHON", default=str(BASE_DIR / ".venv-sky" / "bin" / "python")))
GOLDPAN_REPORT_TO = env.list("GOLDPAN_REPORT_TO", default=[])

# Mail: notices to people who have asked for it
GOLDPAN_EMAIL_URL = env("GOLDPAN_EMAIL_URL", default="")  # smtp+tls://user:password@host:587; consolemail:// prints it
_email = environ.Env.email_url_config(GOLDPAN_EMAIL_URL or "consolemail://")
EMAIL_BACKEND, EMAIL_HOST, EMAIL_PORT = _email["EMAIL_BACKEND"], _email["EMAIL_HOST"], _email["EMAIL_PORT"]
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _email["EMAIL_HOST_USER"], _email["EMAIL_HOST_PASSWORD"]
EMAIL_USE_TLS, EMAIL_USE_SSL = _email.get("EMAIL_USE_TLS", False), _email.get("EMAIL_USE_SSL", False)
EMAIL_TIMEOUT = 10
GOLDPAN_NOTICE_DAYS = env.int("GOLDPAN_NOTICE_DAYS", default=365)
DEFAULT_FROM_EMAIL = env("GOLDPAN_EMAIL_FROM", default="goldpan@localhost")

# Import limits
GOLDPAN_MAX_UPLOAD_MB = env.int("GOLDPAN_MAX_UPLOAD_MB", default=200)
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440

# Log-in: password only, by invitation
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "goldpan.adapter.InvitationOnly"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_SESSION_REMEMBER = True
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]

# Cookies have names of their own: Label Studio shares the host, and a cookie jar ignores ports
SESSION_COOKIE_NAME = "goldpan_sessionid"
CSRF_COOKIE_NAME = "goldpan_csrftoken"
LANGUAGE_COOKIE_NAME = "goldpan_language"
GOLDPAN_HTTPS = env.bool("GOLDPAN_HTTPS", default=False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = GOLDPAN_HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if GOLDPAN_HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = GOLDPAN_HTTPS
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "frame-ancestors": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
    }
}

STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = GOLDPAN_DATA / "static"  # only for `collectstatic`; files are served from where they lie
STATIC_ROOT.mkdir(parents=True, exist_ok=True)
WHITENOISE_USE_FINDERS = True  # no collectstatic step before the first start
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

LANGUAGE_CODE = "en"
TIME_ZONE = env("GOLDPAN_TIME_ZONE", default="UTC")
USE_I18N = True
USE_TZ = True
USE_THOUSAND_SEPARATOR = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "loggers": {
        "httpx": {"level": "WARNING"},  # at INFO it writes whole addresses, with Label Studio's invitation tokens
        "kombu.connection": {"level": "ERROR"},  # a folder has no host name, and that is no news
    },
    "root": {"handlers": ["console"], "level": env("GOLDPAN_LOG_LEVEL", default="INFO")},
}
