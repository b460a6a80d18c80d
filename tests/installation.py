"""A whole Goldpan of its own: a data folder, commands, and the processes of the Procfile, for tests of real parts."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from honcho.environ import parse_procfile

from tests.label_studio_fixture import Server
from tests.template_database import copy_to_file

ROOT = Path(__file__).parent.parent


class Installation:
    """Goldpan on data of its own. `manage` runs a command as a shell would, `start` a line of the Procfile.

    label_studio: a running server to use; without one Label Studio is not reachable.
    environment: settings that differ.
    """

    def __init__(self, data: Path, *, label_studio: Server | None = None,
                 environment: dict[str, str] | None = None) -> None:
        self.data, self.label_studio = data, label_studio
        self.data.mkdir(parents=True, exist_ok=True)
        self.port, self.door_port, self.password = free_port(), free_port(), secrets.token_hex(8)
        self.gateway_port = free_port()
        self.url, self.door_url = f"http://localhost:{self.port}", f"http://localhost:{self.door_port}"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
        self.environment = {
            **kept, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "GOLDPAN_DATA": str(data), "GOLDPAN_PORT": str(self.port), "GOLDPAN_WORKERS": "2",
            "GOLDPAN_DOOR_PORT": str(self.door_port), "GOLDPAN_GATEWAY_PORT": str(self.gateway_port),
            "GOLDPAN_TICK_SECONDS": "1", "GOLDPAN_POLL_SECONDS": "86400",
            "DJANGO_SETTINGS_MODULE": "goldpan.settings", "PYTHONUNBUFFERED": "1",
            "GOLDPAN_LABEL_STUDIO_URL": label_studio.url if label_studio else "http://localhost:9",
            "GOLDPAN_LABEL_STUDIO_EMAIL": label_studio.email if label_studio else "",
            "GOLDPAN_LABEL_STUDIO_PASSWORD": label_studio.password if label_studio else "", **(environment or {})}
        if "DATABASE_URL" in self.environment:
            self.shell("from django.core.management import call_command; call_command('migrate', verbosity=0)")
        else:
            copy_to_file(data / "goldpan.sqlite3")
        if label_studio:  # the tests share one server; making another token would end the others'
            self.shell("from labeling.models import LabelStudioToken; from projects.services.sealing import encrypt\n"
                       f"LabelStudioToken.objects.create(url={label_studio.url!r}, "
                       f"token_encrypted=encrypt({label_studio.token!r}))")

    # Commands

    def manage(self, *arguments: str) -> dict[str, Any]:
        """Run a command with --json; fails the test unless it exits with 0."""
        done = self._run(*arguments, "--json")
        assert done.returncode == 0, f"manage.py {' '.join(arguments)}\n{done.stdout}\n{done.stderr[-3000:]}"
        return dict(json.loads(done.stdout.splitlines()[-1]))

    def refused(self, *arguments: str) -> str:
        """Run a command that must exit with 1; return what it said."""
        done = self._run(*arguments)
        assert done.returncode == 1, f"manage.py {' '.join(arguments)} was not refused\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def shell(self, code: str) -> Any:
        """Run Python inside this installation's Django; return the JSON of what it prints last, if it prints."""
        prepared = f"import django; django.setup()\n{code}"
        done = subprocess.run([sys.executable, "-c", prepared], cwd=ROOT, env=self.environment, text=True,
                              capture_output=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else None

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "manage.py", *arguments], cwd=ROOT, env=self.environment, text=True,
                              capture_output=True)

    # Processes

    def start(self, *names: str) -> None:
        """Start lines of the Procfile, each in a process group of its own, its output in <data>/<name>.log."""
        commands = parse_procfile((ROOT / "Procfile").read_text()).processes
        for name in names:
            self.start_command(name, commands[name])

    def start_command(self, name: str, command: str) -> None:
        """Start a command of the shell in the place of that line of the Procfile."""
        with (self.data / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                f"exec {command}", shell=True, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True)

    def wait_for_web(self) -> None:
        for _ in range(300):
            with socket.socket() as caller:
                if caller.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.1)
        raise AssertionError((self.data / "web.log").read_text()[-2000:])

    def kill(self, name: str) -> None:
        """kill -9 the whole process group."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    # What stands

    def add_users(self, *names: str) -> None:
        self.shell("from django.contrib.auth.models import User\n"
                   f"for name in {names!r}: User.objects.create_user(name, password={self.password!r})")

    def splits(self, project: str) -> dict[str, str]:
        return dict(self.shell("import json; from labeling.models import Example\n"
                               f"print(json.dumps(dict(Example.objects.filter(project__name={project!r})"
                               ".values_list('key', 'split'))))"))

    def desk(self, project: str, annotator: str) -> dict[str, int]:
        """The example's key → Label Studio's task, of what lies unanswered on somebody's desk."""
        return dict(self.shell(
            "import json; from labeling.models import Assignment\n"
            f"lying = Assignment.objects.filter(annotator__project__name={project!r}, state='placed', "
            f"annotator__name={annotator!r})\n"
            "print(json.dumps(dict(lying.values_list('example__key', 'ls_task_id'))))"))

    def flagged(self, project: str) -> list[str]:
        return list(self.shell(
            "import json; from projects.models import Project; from curation.services.review import review_queue\n"
            "from curation.services.scoring import latest_report\n"
            f"report = latest_report(Project.objects.get(name={project!r}))\n"
            "print(json.dumps([score.example.key for score in review_queue(report)]))"))

    def label_studio_account(self, project: str, user: str) -> int:
        return int(self.shell(
            "from labeling.models import Annotator\n"
            f"print(Annotator.objects.get(project__name={project!r}, name={user!r}).ls_user_id)"))

    def stored_file(self, sha256: str) -> Path:
        return self.data / "objects" / sha256[:2] / sha256


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
