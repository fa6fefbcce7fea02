"""Where a project's configuration lies. Imports nothing that takes time.

PYTEST_DONT_REWRITE
"""

import os


def find_config(start: str) -> str | None:
    """The configuration file that holds for a folder: the nearest one above it."""
    folder = os.path.abspath(start)
    while True:
        for name in (".wflint.toml", "pyproject.toml"):
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                return path
        above = os.path.dirname(folder)
        if above == folder:
            return None
        folder = above
