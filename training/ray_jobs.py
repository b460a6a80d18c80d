"""A bundle as a job of a Ray cluster: submit, look, read its log, stop. Imports ray, and only when it is asked.

The cluster is the one that RAY_ADDRESS names, else the one on this machine. It takes a name of ours for each job, so a
job that was submitted is found again by whoever asks next.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NO_CLUSTER = ("No Ray cluster answers. Start one (ray start --head), set RAY_ADDRESS to where it is, or choose another "
              "place to train.")


@dataclass(frozen=True)
class Look:
    """How a job stands: absent, waiting, running, succeeded or failed.

    was_lost: it failed although its own command did not end, as when its node died.
    exit_code: that of its command, if it ended.
    """

    state: str
    was_lost: bool = False
    exit_code: int | None = None
    message: str = ""


class Cluster:
    """The Ray cluster's server of jobs. Raises ValueError in words if none answers."""

    def __init__(self) -> None:
        from ray.job_submission import JobSubmissionClient

        try:
            self._client: Any = JobSubmissionClient()
        except (ConnectionError, RuntimeError, ValueError):
            raise ValueError(NO_CLUSTER) from None

    def submit(self, name: str, folder: Path, arguments: list[str], *, cpus: int, gpus: int) -> None:
        """Queue `python run.py` in a folder that every node sees under this path; it takes so much of one node."""
        command = shlex.join(["python", "run.py", *arguments])
        self._client.submit_job(
            entrypoint=f"cd {shlex.quote(str(folder))} && exec {command}", submission_id=name, entrypoint_num_cpus=cpus,
            entrypoint_num_gpus=gpus or None)

    def look(self, name: str) -> Look:
        """How the job of this name stands now. Raises ConnectionError if the cluster does not answer."""
        try:
            info = self._client.get_job_info(name)
        except RuntimeError as error:
            if "404" in str(error) or "does not exist" in str(error):
                return Look("absent")
            raise ConnectionError(str(error)) from None
        state = {"PENDING": "waiting", "RUNNING": "running", "SUCCEEDED": "succeeded"}.get(str(info.status), "failed")
        code = info.driver_exit_code
        return Look(state, was_lost=state == "failed" and code is None, exit_code=code, message=info.message or "")

    def log(self, name: str) -> str:
        """What the job has written so far; "" where nobody can say."""
        try:
            return str(self._client.get_job_logs(name))
        except (RuntimeError, ConnectionError):
            return ""

    def stop(self, name: str) -> None:
        """Ask the cluster to end the job; one that has ended or is not there is left alone."""
        try:
            self._client.stop_job(name)
        except (RuntimeError, ConnectionError):
            return
