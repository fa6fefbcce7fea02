"""Runs any number of seeds: ``python tests/simulation/run.py 1000 [first seed]``."""

from __future__ import annotations

import sys
import time

from cluster import Scenario, Simulation, shrink


def main(count: int, first: int) -> int:
    """Runs seeds until one fails; prints its shortest trace."""
    begun = time.perf_counter()
    for seed in range(first, first + count):
        scenario = Scenario(seed)
        try:
            Simulation(scenario).run()
        except Exception as error:
            smallest, problem, trace = shrink(scenario)
            print("\n".join(trace[-200:]))
            print(f"seed {seed}: {error}\nsmallest: {smallest}\n{problem!r}")
            return 1
    print(f"{count} seeds from {first} in {time.perf_counter() - begun:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
