"""The docs say what is there: settings, commands, make targets and links are held against the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
TEXTS = [*PAGES, ROOT / ".env.example", ROOT / "Dockerfile", ROOT / "compose.yaml", ROOT / "Procfile"]
NO_DEFAULT = object()


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


# Settings

def settings_read() -> dict[str, Any]:
    """Variable → default of every `env(…)`, `env.int(…)`, … in settings.py; NO_DEFAULT for one that is computed."""
    found = {}
    for node in ast.walk(ast.parse((ROOT / "goldpan" / "settings.py").read_text())):
        if isinstance(node, ast.Call) and is_env(node.func) and node.args:
            assert isinstance(node.args[0], ast.Constant), f"line {node.lineno}: a setting's name is a plain text"
            default = next((keyword.value for keyword in node.keywords if keyword.arg == "default"), None)
            try:
                found[str(node.args[0].value)] = ast.literal_eval(default) if default else NO_DEFAULT
            except ValueError:
                found[str(node.args[0].value)] = NO_DEFAULT
    return found


def is_env(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return is_env(function.value) and function.attr in ("bool", "int", "float", "str", "list", "db")
    return isinstance(function, ast.Name) and function.id == "env"


def rows_of_settings_md() -> dict[str, list[str]]:
    lines = (ROOT / "docs" / "settings.md").read_text().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return {name.strip("`"): rest for name, *rest in cells}


def test_the_settings_are_found_in_the_code() -> None:
    found = settings_read()
    assert len(found) > 25
    assert (found["GOLDPAN_PORT"], found["GOLDPAN_DEBUG"], found["GOLDPAN_URL"]) == (8000, False, NO_DEFAULT)


def test_settings_md_lists_exactly_what_settings_py_reads() -> None:
    assert sorted(rows_of_settings_md()) == sorted(settings_read())


def test_settings_md_says_each_default_and_what_it_does() -> None:
    rows = rows_of_settings_md()
    for name, default in settings_read().items():
        said, what = rows[name]
        assert what.endswith("."), name
        if default is not NO_DEFAULT:
            assert said == in_words(default), f"{name}: the default is {default!r}, docs/settings.md says {said}"


def in_words(default: Any) -> str:
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, list):
        return ", ".join(f"`{one}`" for one in default) or "empty"
    return f"`{default}`" if isinstance(default, str) and default else str(default) or "empty"


def test_env_example_lists_exactly_what_settings_py_reads() -> None:
    listed = re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(settings_read()), "each once, none missing, none unknown"


def test_env_example_shows_the_defaults_and_changes_nothing() -> None:
    text = (ROOT / ".env.example").read_text()
    shown = dict(re.findall(r"^#([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert not re.search(r"^[A-Z_]+=", text, re.MULTILINE), "a copy of it changes nothing until a # is taken away"
    for name, default in settings_read().items():
        if default is not NO_DEFAULT:
            value = ",".join(default) if isinstance(default, list) else in_words(default).strip("`")
            assert shown[name] == ("" if value == "empty" else value), name


# Links, commands, targets

@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:|mailto:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{name_of(page)} links to {target}, which is not there"
        assert there.is_relative_to(ROOT), f"{name_of(page)} links to {target}, outside the repository"
        assert not anchor or anchor in anchors(there), f"{name_of(page)} links to {target}, a missing heading"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def commands_named() -> Iterator[tuple[str, str]]:
    for path in TEXTS:
        for command in re.findall(r"manage\.py\s+([a-z_]+)", path.read_text()):
            yield name_of(path), command


def test_every_command_that_is_named_exists() -> None:
    known = {*get_commands(), "help"}
    named = list(commands_named())
    assert len(named) > 20
    assert [(path, command) for path, command in named if command not in known] == []


def test_every_command_of_ours_is_described() -> None:
    """Where people look: README.md or docs/. The demo's own parts are started by other commands."""
    inner = {"demo_story", "addresses", "label_studio", "demo", "tick"}
    ours = {command for command, app in get_commands().items() if not app.startswith("django.") and "." not in app}
    ours = {command for command in ours if list(ROOT.glob(f"*/management/commands/{command}.py"))}
    text = "\n".join(page.read_text() for page in PAGES)
    assert sorted(command for command in ours - inner if f"{command}" not in text) == []


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_target_that_is_named_exists() -> None:
    sources = [*TEXTS, ROOT / ".ci" / "run", *(ROOT / "goldpan").glob("*.py"), *(ROOT / "labeling").glob("*.py")]
    for path in sources:
        for target in re.findall(r"(?:`|^|\n|[Rr]un |then |again: )make ([a-z][a-z-]*)", path.read_text()):
            assert target in make_targets(), f"{name_of(path)} names make {target}"


def test_every_file_that_is_named_exists() -> None:
    for page in PAGES:
        for named in re.findall(r"`((?:[\w.]+/)+[\w.]+\.(?:py|md|toml|html))`", page.read_text()):
            assert (ROOT / named).exists(), f"{name_of(page)} names {named}"


def test_every_service_of_the_path_exists() -> None:
    import importlib

    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"^\| \w+ \| `([\w.]+)\.(\w+)`((?:, `\w+`)*) \|", text, re.MULTILINE)
    assert len(named) == 17
    for module, first, others in named:
        for function in (first, *re.findall(r"`(\w+)`", others)):
            assert callable(getattr(importlib.import_module(module), function)), f"{module}.{function}"


def test_the_tables_that_are_called_unchangeable_are(db: None) -> None:
    from django.db import connection

    text = (ROOT / "docs" / "security.md").read_text().split("## What cannot be changed")[1].split("## ")[0]
    listed = set(re.findall(r"`((?:projects|labeling|curation|training|serving)_\w+)`", text))
    query = ("SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'" if connection.vendor == "sqlite" else
             "SELECT trigger_name, event_object_table FROM information_schema.triggers")
    with connection.cursor() as cursor:
        cursor.execute(query)
        found = cursor.fetchall()
    for verb in ("update", "delete"):
        assert {table for name, table in found if name.endswith(f"_refuses_{verb}")} == listed


@pytest.mark.parametrize("page", TEXTS, ids=name_of)
def test_no_page_names_a_place_that_only_its_author_has(page: Path) -> None:
    assert not re.search(r"/home/|/root/|/tmp/|C:\\|\bTODO\b|\bFIXME\b", page.read_text())


# Containers

def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text()))


def test_compose_runs_the_label_studio_that_is_tested() -> None:
    version = re.search(r"label-studio==(\S+)", (ROOT / "requirements-labelstudio.txt").read_text())
    services = compose()["services"]
    assert version and services["label-studio"]["image"] == f"heartexlabs/label-studio:{version[1]}"
    assert services["label-studio"]["environment"]["POSTGRE_HOST"] != "postgres", "it has a database of its own"


def test_compose_knows_only_settings_that_exist() -> None:
    for name in ("migrate", "web", "worker", "tick"):
        given = set(compose()["services"][name]["environment"])
        assert given - {"FORWARDED_ALLOW_IPS"} <= set(settings_read()), name


def test_compose_looks_after_every_service() -> None:
    services = compose()["services"]
    assert {"web", "worker", "tick", "postgres", "redis", "label-studio"} <= set(services)
    assert [name for name, service in services.items() if "healthcheck" not in service] == ["migrate"]
    assert all(service.get("image", "").count(":") == 1 and "latest" not in service["image"]
               for service in services.values())
    for name, service in services.items():  # nothing listens beyond this machine but by a proxy
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_the_image_holds_every_app_and_does_not_run_as_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    from django.conf import settings

    apps = [app for app in settings.INSTALLED_APPS if (ROOT / app).is_dir()]
    copied = set(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE))
    assert copied == {*apps, "stats", "templates", "static"}
    assert re.findall(r"^USER (\w+)$", text, re.MULTILINE) == ["goldpan"]
    assert text.index("\nUSER goldpan") < text.index("\nCMD")
