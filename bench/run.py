"""Run every bench, one after the other, each in a process of its own; exits with 1 if one misses its goal.

`python -m bench.run`, or `python -m bench.run import_examples` for some of them.
"""

import subprocess
import sys
import time

BENCHES = ("import_examples", "ingest", "embed", "dedup", "cluster", "find_planted_errors", "predprobs",
           "gold_selection", "prompt", "crowd", "truth_finding", "label_studio_sync", "snapshot", "pages", "gate",
           "quote", "slices", "lora", "judge", "live", "gateway",
           "new_topic")


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHES]
    if unknown:
        print(f"there is no bench {', '.join(unknown)}; there are {', '.join(BENCHES)}")
        return 1
    missed = []
    for name in names or BENCHES:
        print(f"\n{name}\n{'-' * len(name)}", flush=True)
        started = time.perf_counter()
        if subprocess.run([sys.executable, "-m", f"bench.{name}"]).returncode:
            missed.append(name)
        print(f"({time.perf_counter() - started:.0f} s)")
    print(f"\ngoals missed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
