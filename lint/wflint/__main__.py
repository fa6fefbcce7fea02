"""``wflint`` and ``python -m wflint``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line."""
    from ._warm import replay

    code = replay(sys.argv[1:])
    if code is None:
        try:
            from .cli import run
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if missing.partition(".")[0] not in ("libcst", "click"):
                raise
            sys.stderr.write(
                f"wflint needs {missing}, which is not installed: pip install 'perdure[lint]'\n"
            )
            sys.exit(2)
        code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
