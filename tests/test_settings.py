"""What no installation may run with is refused, and what production needs is on with one switch."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from goldpan.checks import check_settings

ROOT = Path(__file__).resolve().parent.parent
STRONG = "".join(chr(33 + n) for n in range(64))
Errors = list[str]


def found(level: str = "goldpan.E") -> Errors:
    return [str(message.id) for message in check_settings() if str(message.id).startswith(level)]


@pytest.fixture(autouse=True)
def _sound(settings: Any, tmp_path: Path) -> None:
    settings.GOLDPAN_DATA = tmp_path
    settings.GOLDPAN_BASE_MODEL = a_model(tmp_path / "model")


def a_model(folder: Path) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def manage(*arguments: str, data: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as a shell would run it, with nothing set but these."""
    return subprocess.run(
        [sys.executable, "manage.py", *arguments], cwd=ROOT, text=True, capture_output=True,
        env={"PATH": os.environ["PATH"], "GOLDPAN_DATA": str(data), "GOLDPAN_BASE_MODEL": str(data / "model"),
             **environment})


def test_the_defaults_are_sound() -> None:
    assert check_settings() == []


def test_debug_is_for_machines_without_https(settings: Any) -> None:
    settings.DEBUG, settings.GOLDPAN_HTTPS = True, False
    assert found() == []
    settings.GOLDPAN_HTTPS = True
    assert found() == ["goldpan.E001"]


@pytest.mark.parametrize("key", ["short", "x" * 64, "abcd" * 20, "django-insecure-" + STRONG])
def test_a_weak_secret_key_is_refused(key: str, settings: Any) -> None:
    settings.SECRET_KEY = key
    assert found() == ["goldpan.E002"]
    settings.SECRET_KEY = STRONG
    assert found() == []


def test_no_secret_is_said_aloud(settings: Any) -> None:
    settings.SECRET_KEY = "hush" * 5
    assert "hush" not in "".join(str(message) for message in check_settings())


@pytest.mark.parametrize("hosts", [["*"], ["localhost", "*"]])
def test_any_host_is_no_host(hosts: Errors, settings: Any) -> None:
    settings.ALLOWED_HOSTS = hosts
    assert found() == ["goldpan.E003"]


def test_a_data_folder_that_cannot_be_written_is_refused(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/goldpan")):
        settings.GOLDPAN_DATA = folder
        assert found() == ["goldpan.E004"]


def test_a_data_folder_that_is_not_there_yet_is_made_for_its_owner_only(settings: Any, tmp_path: Path) -> None:
    settings.GOLDPAN_DATA = tmp_path / "new"
    assert found() == []
    assert settings.GOLDPAN_DATA.stat().st_mode & 0o777 == 0o700
    assert list(settings.GOLDPAN_DATA.iterdir()) == [], "the look leaves nothing behind"


def test_a_missing_base_model_is_a_warning(settings: Any, tmp_path: Path) -> None:
    settings.GOLDPAN_BASE_MODEL = tmp_path / "nothing"
    assert (found(), found("goldpan.W")) == ([], ["goldpan.W001"])


# As a shell sees it

def test_production_passes_djangos_own_deployment_check(tmp_path: Path) -> None:
    done = manage("check", "--deploy", "--fail-level", "WARNING", data=tmp_path, GOLDPAN_HTTPS="1")
    assert done.returncode == 0, done.stderr


def test_every_command_is_refused_with_the_errors(tmp_path: Path) -> None:
    done = manage("serve", data=tmp_path, GOLDPAN_SECRET_KEY="letmein", GOLDPAN_ALLOWED_HOSTS="*", GOLDPAN_DEBUG="1",
                  GOLDPAN_HTTPS="1")
    assert done.returncode == 1 and "letmein" not in done.stderr
    assert all(f"goldpan.E00{number}" in done.stderr for number in (1, 2, 3)), done.stderr
    assert not (tmp_path / "goldpan.sqlite3").exists(), "nothing has started"


def settings_of(data: Path, *names: str, **environment: str) -> list[Any]:
    code = (f"import json; from goldpan import settings\n"
            f"print(json.dumps([getattr(settings, name) for name in {names}], default=str))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, check=True,
                          env={"GOLDPAN_DATA": str(data), **environment})
    return list(json.loads(done.stdout))


def test_https_is_one_switch(tmp_path: Path) -> None:
    names = ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT", "SECURE_HSTS_SECONDS")
    assert settings_of(tmp_path, *names) == [False, False, False, 0]
    assert settings_of(tmp_path, *names, GOLDPAN_HTTPS="1") == [True, True, True, 31_536_000]


def test_nothing_is_open_unless_it_is_said_so(tmp_path: Path) -> None:
    names = ("DEBUG", "GOLDPAN_SINGLE_USER", "ALLOWED_HOSTS", "GOLDPAN_ALLOWED_ORIGINS", "CSRF_TRUSTED_ORIGINS")
    assert settings_of(tmp_path, *names) == [False, False, ["localhost", "127.0.0.1"], [], []]


def test_two_installations_have_different_secrets(tmp_path: Path) -> None:
    names = ("SECRET_KEY", "GOLDPAN_FERNET_KEY", "GOLDPAN_LABEL_STUDIO_PASSWORD", "GOLDPAN_LABEL_STUDIO_SECRET_KEY")
    here, there = settings_of(tmp_path / "here", *names), settings_of(tmp_path / "there", *names)
    assert not set(here) & set(there)
    assert settings_of(tmp_path / "here", *names) == here


def test_a_message_carries_no_code(settings: Any) -> None:
    """JSON only and no result store: who can write to the broker can wake a job, nothing else."""
    assert settings.CELERY_ACCEPT_CONTENT == ["json"] and settings.CELERY_TASK_SERIALIZER == "json"
    assert settings.CELERY_TASK_IGNORE_RESULT and not hasattr(settings, "CELERY_RESULT_BACKEND")


def test_cookies_do_not_meet_label_studios(settings: Any) -> None:
    """Label Studio runs on another port of the same host, and a browser's cookies ignore ports."""
    names = {settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME, settings.LANGUAGE_COOKIE_NAME}
    assert len(names) == 3 and all(name.startswith("goldpan_") for name in names)


def test_every_page_forbids_foreign_and_inline_scripts(client: Any, db: None) -> None:
    policy = client.get("/accounts/login/").headers["Content-Security-Policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["script-src"] == directives["style-src"] == directives["default-src"] == "'self'"
    assert directives["object-src"] == directives["frame-ancestors"] == "'none'"
    assert "unsafe" not in policy
