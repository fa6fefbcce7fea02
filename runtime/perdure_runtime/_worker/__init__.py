"""The worker: the I/O around the replay core."""

from ._worker import Worker as Worker

PYTEST_DONT_REWRITE = True
