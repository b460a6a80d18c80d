"""Files that take a bundle to a rented GPU: task files for SkyPilot, and a folder that Cog makes an image of.

Goldpan writes them and starts nothing there: the accounts, their keys and their bills stay with whoever rents.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

CLOUDS = {"runpod": "RunPod", "lambda": "Lambda", "aws": "AWS", "gcp": "GCP", "kubernetes": "Kubernetes"}
IDLE_MINUTES = 60  # then the machine is given back, with all that is on it
DISK_GB = 64
CHECK_SECONDS = 180

_SKY = """# Run {run} on {cloud}, by SkyPilot. In this folder:
#   sky launch -c {name} {file}
#   rsync -r {name}:~/sky_workdir/result .
#   sky down {name}
# The machine is given back after {idle} idle minutes, and the result with it: fetch it before.
name: {name}
workdir: .
resources:
  infra: {infra}
  accelerators: {gpus}
  disk_size: {disk}
  autostop: {{idle_minutes: {idle}, down: true}}
setup: |
  pip install -r requirements.txt
run: |
  python run.py --processes "${{SKYPILOT_NUM_GPUS_PER_NODE:-1}}"
"""

_COG = """# Run {run} as a model for Replicate, by Cog. README-replicate.md says how.
build:
  gpu: true
  python_version: "3.11"
  python_requirements: requirements.txt
run: "cog_run.py:Runner"
"""

_COG_RUN = '''"""What Cog calls: one request trains the bundle, the answer is the files of its result."""

import subprocess
import sys
from pathlib import Path as Folder

from cog import BaseRunner, Path

HERE = Folder(__file__).resolve().parent


class Runner(BaseRunner):
    def run(self) -> list[Path]:
        subprocess.run([sys.executable, "run.py"], cwd=HERE, check=True)
        return [Path(file) for file in sorted((HERE / "result").iterdir())]
'''

_COG_README = """# Run {run} on Replicate

Replicate runs images that [Cog](https://cog.run) makes. Its training API fine-tunes a model that is there already, by
that model's own `train` function on files at public addresses, and Cog calls it deprecated: it does not take a bundle
like this one. What fits is a model whose only request trains this bundle and answers with the result's files:

```
cog push r8.im/OWNER/NAME
```

then one prediction without inputs. Make the model private first: the image holds the rows. Replicate ends a prediction
after 30 minutes unless its support raises that for you, and nothing of an ended one is kept: for a longer run take
another place. The base model has to lie in `model/` here, or be one that `run.py` can download (README.md).

Nobody has run this on Replicate: what was tested is that the class does what Cog asks for.
"""


def sky_files(run: str, gpus: Sequence[str]) -> dict[str, str]:
    """File name → text of one task for each cloud in `CLOUDS`.

    gpus: SkyPilot's names with a count, like `L4:1`; each cloud takes the first that it has.
    """
    name = f"goldpan-run-{run}"
    return {f"sky-{infra}.yaml": _SKY.format(
        run=run, cloud=cloud, name=name, file=f"sky-{infra}.yaml", idle=IDLE_MINUTES, infra=infra,
        gpus=json.dumps(list(gpus)), disk=DISK_GB) for infra, cloud in CLOUDS.items()}


def cog_files(run: str) -> dict[str, str]:
    """File name → text of what Cog needs beside the bundle."""
    return {"cog.yaml": _COG.format(run=run), "cog_run.py": _COG_RUN,
            "README-replicate.md": _COG_README.format(run=run)}


_CHECK = """
import sys
import sky
for path in sys.argv[1:]:
    task = sky.Task.from_yaml(path)
    assert task.run and task.resources and task.workdir
print(sky.__version__)
"""


def check_sky_files(files: Mapping[str, str], python: Path) -> str:
    """Let SkyPilot itself read the task files, without its server and without any account; return its version.

    python: the interpreter of an environment that has SkyPilot, which wants other versions of packages than Goldpan.
    It checks the form of a task and the names of clouds. It does not see whether a cloud has the GPU, at what price, or
    whether the account may rent it. Raises ValueError with its words if it refuses one.
    """
    with tempfile.TemporaryDirectory() as home:
        for name, text in files.items():
            (Path(home) / name).write_text(text)
        done = subprocess.run(
            [str(python), "-c", _CHECK, *files], cwd=home, capture_output=True, text=True, timeout=CHECK_SECONDS,
            env={"HOME": home, "PATH": os.environ.get("PATH", ""), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"})
    if done.returncode:
        raise ValueError(f"SkyPilot refuses the task: {done.stderr.strip().splitlines()[-1][:300]}")
    return done.stdout.strip().splitlines()[-1]
