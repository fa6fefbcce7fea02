"""The command line: ``perdure worker``, ``start``, ``result``, ``list``, ``show`` …

PYTEST_DONT_REWRITE
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the command ``perdure``."""
    from ._app import app

    app(prog_name="perdure")
