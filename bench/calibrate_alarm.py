"""Simulate the alarm's thresholds and store them: `python -m bench.calibrate_alarm`, about five minutes of CPU.

For each floor and number of labels a look, 40,000 years of 52 looks at an accuracy of exactly the floor; the evidence
that 5 % of them reach within 52, 12 and 4 looks. `stats.drop_alarm` reads what is stored.
"""

import json

import numpy as np

from stats.drop_alarm import CADENCES, FALSE_ALARMS, THRESHOLDS, calibrated_thresholds

FLOORS = (0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.88, 0.9, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99)
SIZES = (5, 10, 20, 30, 50, 75, 100, 200, 500)
N_PATHS, SEED = 40_000, 6


def main() -> None:
    found = [[calibrated_thresholds(floor=floor, n_per_look=n, n_paths=N_PATHS, seed=SEED) for n in SIZES]
             for floor in FLOORS]
    THRESHOLDS.write_text(json.dumps({
        "false_alarms_a_year": FALSE_ALARMS, "n_paths": N_PATHS, "seed": SEED, "numpy": np.__version__,
        "floors": FLOORS, "labels_per_look": SIZES,
        "thresholds": {looks: [[round(one[looks], 2) for one in row] for row in found] for looks in CADENCES},
    }, indent=1) + "\n")
    for row, floor in zip(found, FLOORS, strict=True):
        print(f"{floor:.2f}", *(f"{one[52]:8.1f}" for one in row))


if __name__ == "__main__":
    main()
