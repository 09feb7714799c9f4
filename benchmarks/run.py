"""Runs every benchmark, one after another."""

import subprocess
import sys
from pathlib import Path

for name in ("startup.py", "grid.py", "fit.py"):
    print(f"== {name}", flush=True)
    subprocess.run([sys.executable, str(Path(__file__).resolve().parent / name)], check=False)
