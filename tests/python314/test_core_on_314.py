"""The core's tests on CPython 3.14, with its C ``_asyncio``, under WebAssembly (npm: pyodide)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYODIDE = ROOT / ".cache/pyodide/node_modules/pyodide"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_core_passes_its_tests_on_314() -> None:
    node = shutil.which("node")
    if node is None or not PYODIDE.is_dir():
        reason = "needs node, and `npm install --prefix .cache/pyodide pyodide@314`"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    script = Path(__file__).with_name("run.mjs")
    site = sysconfig.get_path("purelib")
    done = subprocess.run(
        [node, str(script), str(PYODIDE), str(ROOT), site],
        capture_output=True,
        text=True,
        timeout=390,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) >= 37
