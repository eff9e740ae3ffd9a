"""What `import deo` adds to `import timm`: median over fresh interpreters, in milliseconds.

python tests/benchmarks/import_time.py [--rounds 7]
"""

import argparse
import statistics
import subprocess
import sys

CODE = """
import time
import timm
start = time.perf_counter()
import deo
print(time.perf_counter() - start)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    added = []
    for _ in range(rounds):
        run = subprocess.run(
            [sys.executable, "-c", CODE], capture_output=True, text=True, check=True
        )
        added.append(1e3 * float(run.stdout))
    print(f"import deo adds {statistics.median(added):.0f} ms (least {min(added):.0f} ms)")


if __name__ == "__main__":
    main()
