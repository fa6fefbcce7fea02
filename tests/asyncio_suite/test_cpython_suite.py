"""CPython's own asyncio tests pass on the deterministic loop, but for a short list with reasons."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

MODULES = (
    "test_tasks",
    "test_futures",
    "test_futures2",
    "test_locks",
    "test_queues",
    "test_taskgroups",
    "test_timeouts",
    "test_waitfor",
    "test_eager_task_factory",  # since 3.12
)

EXECUTOR = "drives a thread of an executor, which this loop refuses"
EXCEPTIONS = {
    "test_tasks.CoroutineGatherTests.test_issue46672": "patches BaseEventLoop, which it is not",
    **{
        f"test_tasks.RunCoroutineThreadsafeTests.test_run_coroutine_threadsafe{name}": EXECUTOR
        for name in (
            "",
            "_task_cancelled",
            "_task_factory_exception",
            "_with_exception",
            "_with_timeout",
        )
    },
}
LEAST = {(3, 11): 1250, (3, 12): 1330, (3, 13): 1400}


def has_suite() -> bool:
    """Whether this interpreter ships CPython's tests (Debian: libpython3.x-testsuite)."""
    try:
        return find_spec("test.test_asyncio") is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_cpythons_own_tests_pass_on_the_loop() -> None:
    if not has_suite():
        if os.environ.get("CI"):
            pytest.fail("this interpreter lacks test.test_asyncio: install its testsuite package")
        pytest.skip("this interpreter lacks test.test_asyncio (Debian: libpython3.11-testsuite)")
    driver = Path(__file__).with_name("driver.py")
    done = subprocess.run(
        [sys.executable, str(driver), *MODULES], capture_output=True, text=True, timeout=390
    )
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    unexpected = {k: v for k, v in report["failed"].items() if k not in EXCEPTIONS}
    assert not unexpected, "\n\n".join(f"{k}\n{v}" for k, v in unexpected.items())
    assert set(EXCEPTIONS) == set(report["failed"]), "an exception is not needed any more"
    assert report["run"] >= LEAST.get(sys.version_info[:2], 1000)
