"""Keeps the model's process alive: a small parent that starts it anew when it dies, and takes it along when it ends."""

import json
import logging
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jobs.child import child_environment, die_with_parent

log = logging.getLogger(__name__)
ROOT = Path(__file__).resolve().parent.parent
GRACE_SECONDS = 5.0
PAUSES = (0.5, 2.0, 10.0, 30.0)  # between deaths in a row; one that lived for a minute begins anew
LONG_LIFE = 60.0


def keep_alive(spec: Mapping[str, Any]) -> None:
    """Run `serving.model_server` with this spec, again and again, until this process is asked to end.

    The child gets no secret: its environment is that of every child.
    """
    deaths = 0
    while True:
        started = time.monotonic()
        child = subprocess.Popen([sys.executable, "-m", "serving.model_server", json.dumps(dict(spec))], cwd=ROOT,
                                 stdin=subprocess.DEVNULL, env=child_environment(), preexec_fn=die_with_parent)
        try:
            code = child.wait()
        except BaseException:  # this process is to end
            _end(child)
            raise
        deaths = 1 if time.monotonic() - started > LONG_LIFE else deaths + 1
        pause = PAUSES[min(deaths, len(PAUSES)) - 1]
        log.error("the model's process ended with %s; it is started anew in %.1f s", code, pause)
        time.sleep(pause)


def _end(child: "subprocess.Popen[bytes]") -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
