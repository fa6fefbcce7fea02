"""The worker: the I/O around the replay core.

PYTEST_DONT_REWRITE
"""

from ._worker import Worker as Worker
