"""The short form of the harness in `stress`, which tries kills, faults and damaged files on all commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs Linux, for /proc")
def test_nothing_is_lost_by_kills_faults_and_damaged_files():
    done = subprocess.run(
        [sys.executable, "-m", "stress", "--short", "-j", "1"],
        cwd=Path(__file__).parent,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    tried = {
        line.split("\t")[0]: int(line.split("\t")[1])
        for line in done.stdout.splitlines()[1:]
        if line[0] not in " #"
    }
    assert tried["kills"] == 4 and tried["faults"] >= 4 and tried["fuzz"] >= 50
