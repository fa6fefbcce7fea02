"""The command line: ``perdure worker``, ``start``, ``result``, ``list``, ``show`` …"""

from __future__ import annotations

PYTEST_DONT_REWRITE = True


def main() -> None:
    """Entry point of the command ``perdure``."""
    from ._app import app

    app(prog_name="perdure")
