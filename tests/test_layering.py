"""The walls of the house: apps import downwards only, plain modules know no Django, heavy libraries have one door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
APPS = ["stats", "projects", "jobs", "labeling", "curation", "training", "serving"]  # lowest first; goldpan is above
DJANGO_NAMES = {  # files and folders that may hold Django; every other module is plain
    "models", "services", "tasks", "views", "forms", "urls", "admin", "apps", "backends", "tables", "migrations",
    "management", "templatetags", "context_processors", "middleware", "rights", "immutable",
}
DOORS = {  # library -> the modules that may import it
    "torch": {"curation.runtimes", "training.language_model", "training.label_scoring", "training.losses",
              "training.trainer", "training.generation", "training.distributed"},
    "transformers": {"training.language_model", "training.label_scoring", "training.trainer", "training.generation",
                     "training.trial"},
    "peft": {"training.language_model"},
    "trl": {"training.trainer"},
    "sentence_transformers": {"curation.runtimes"},
    "onnxruntime": {"curation.runtimes"},
    "openvino": {"curation.runtimes"},
    "ray": {"curation.ray_shards", "training.ray_jobs"},
    "mlflow": {"training.trackers"},
    "wandb": {"training.trackers"},
    "tensorboard": {"training.trackers"},
    "pacmap": {"curation.projection"},
    "umap": {"curation.projection"},
    "cleanlab": {"curation.label_quality"},
    "datasketch": {"curation.lexical"},
    "py3langid": {"curation.languages"},
    "label_studio_sdk": {"labeling.label_studio"},
    "openai": {"training.openai_endpoint", "serving.endpoint"},
    "llguidance": {"training.generation"},
    "requests": {"projects.outbound"},  # not heavy: what goes out to addresses of people passes one guard
    "requests_hardened": {"projects.outbound"},
}
# Half of the time of a command's start, where a module that every process imports has them at its top. scipy is lazy:
# `import scipy`, then `scipy.stats.norm` where it is used.
SLOW_STARTERS = ("sklearn", "pandas", "scipy.stats", "scipy.optimize", "scipy.linalg")
MODULES = sorted(path for app in [*APPS, "goldpan"] for path in (ROOT / app).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imports_of(path: Path) -> list[tuple[str, bool]]:
    """The modules a file imports, each with whether the import stands at the top of the file."""
    tree = ast.parse(path.read_text())
    found = []
    for node in ast.walk(tree):
        names = ([alias.name for alias in node.names] if isinstance(node, ast.Import) else
                 [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
        found += [(name, node in tree.body) for name in names]
    return found


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_point_down_and_plain_modules_know_no_django(path: Path) -> None:
    parts = name_of(path).split(".")
    app, is_plain = parts[0], parts[0] != "goldpan" and not DJANGO_NAMES & set(parts[1:])
    for name, _ in imports_of(path):
        top = name.split(".")[0]
        if top in APPS and app in APPS:
            assert APPS.index(top) <= APPS.index(app), f"{name_of(path)} imports {name}, which is above it"
        assert not (top == "goldpan" and app != "goldpan"), f"{name_of(path)} imports {name}, which is above it"
        if is_plain:
            assert top not in {"django", "celery", "allauth"}, f"{name_of(path)} is plain, but imports {name}"
            assert not (top in APPS and DJANGO_NAMES & set(name.split(".")[1:])), \
                f"{name_of(path)} is plain, but imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_heavy_libraries_have_one_door(path: Path) -> None:
    for name, is_at_top in imports_of(path):
        doors = DOORS.get(name.split(".")[0])
        if doors is not None:
            assert name_of(path) in doors, f"{name_of(path)} imports {name}; its doors are {sorted(doors)}"
            assert not is_at_top, f"{name_of(path)} imports {name} at its top, so every process pays for it"


def test_the_web_is_light() -> None:
    code = ("import django; from django.conf import settings; django.setup(); import goldpan.urls, sys;"
            f"print(sorted(set({[*sorted(DOORS), *SLOW_STARTERS]}) & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True,
                          env={"DJANGO_SETTINGS_MODULE": "goldpan.settings", "PATH": ""})
    assert done.stdout.strip() == "[]", "importing the URLs loads heavy libraries into every web process"
