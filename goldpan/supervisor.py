"""Everything that has to run, under one supervisor: the lines of the Procfile, each with a log of its own.

If one process ends, the others are ended, too. What an earlier supervisor that was killed left behind is ended
before anything starts; its processes are known by a mark in their environment.
"""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
from django.conf import settings
from honcho.environ import parse_procfile
from honcho.manager import Manager
from honcho.printer import Printer

from labeling.label_studio_server import port_is_taken
from projects.errors import UserError

MARK = "GOLDPAN_SUPERVISED"


def serve(*, story: str | None = None, say: Callable[[str], None] = print) -> int:
    """Start everything and wait; return the exit code of the process that ended first.

    story: a manage.py command whose output is shown while the others serve; when it ends, everything ends.
    Raises UserError if a port is taken.
    """
    end_leftovers(say)
    _check_ports()
    logs = settings.GOLDPAN_DATA / "log"
    logs.mkdir(parents=True, exist_ok=True, mode=0o700)
    manager = Manager(Printer(prefix=False, colour=False))
    manager._system_print = lambda data: None  # its start and stop lines tell people nothing
    for name, command in parse_procfile((settings.BASE_DIR / "Procfile").read_text()).processes.items():
        if name == "labelstudio" and not runs_own_label_studio():
            continue
        manager.add_process(name, f"exec {command} >>{shlex.quote(str(logs / name))}.log 2>&1", quiet=True,
                            env=_environment(), cwd=str(settings.BASE_DIR))
    if story:
        manager.add_process("story", f"exec {sys.executable} manage.py {story}", env=_environment(),
                            cwd=str(settings.BASE_DIR))
    manager.loop()
    return int(manager.returncode or 0)


def runs_own_label_studio() -> bool:
    """Whether Label Studio is ours to start, rather than a server elsewhere."""
    return (
        f"http://{settings.GOLDPAN_HOST}:{settings.GOLDPAN_LABEL_STUDIO_PORT}") == settings.GOLDPAN_LABEL_STUDIO_URL


def end_leftovers(say: Callable[[str], None]) -> None:
    """End what an earlier supervisor of this data folder started and did not live to end."""
    left = [process for process in psutil.process_iter() if _is_marked(process) and process.pid != os.getpid()]
    if not left:
        return
    say(f"Ending {len(left)} processes that an earlier start left behind.")
    for process in left:
        _signal(process, psutil.Process.terminate)
    for process in psutil.wait_procs(left, timeout=10)[1]:
        _signal(process, psutil.Process.kill)
    psutil.wait_procs(left, timeout=5)


def _signal(process: psutil.Process, send: Callable[[psutil.Process], None]) -> None:
    try:
        send(process)
    except psutil.NoSuchProcess:
        return  # it ended meanwhile, which is what was wanted


def _is_marked(process: psutil.Process) -> bool:
    try:
        return bool(process.environ().get(MARK) == str(settings.GOLDPAN_DATA))
    except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def _environment() -> dict[str, str]:
    programs = Path(sys.executable).parent
    path = f"{programs}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, MARK: str(settings.GOLDPAN_DATA),
            "GOLDPAN_PORT": str(settings.GOLDPAN_PORT), "GOLDPAN_DOOR_PORT": str(settings.GOLDPAN_DOOR_PORT),
            "GOLDPAN_GATEWAY_PORT": str(settings.GOLDPAN_GATEWAY_PORT),
            "GOLDPAN_WORKERS": str(settings.GOLDPAN_WORKERS), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}


def _check_ports() -> None:
    ports = [("Goldpan", settings.GOLDPAN_PORT, "GOLDPAN_PORT"),
             ("the annotators' door", settings.GOLDPAN_DOOR_PORT, "GOLDPAN_DOOR_PORT"),
             ("the gateway", settings.GOLDPAN_GATEWAY_PORT, "GOLDPAN_GATEWAY_PORT")]
    if runs_own_label_studio():
        ports.append(("Label Studio", settings.GOLDPAN_LABEL_STUDIO_PORT, "GOLDPAN_LABEL_STUDIO_PORT"))
    for name, port, variable in ports:
        if port_is_taken(port):
            raise UserError(f"Port {port} for {name} is taken. End the program that listens there, or set {variable} "
                            "to another port.")
