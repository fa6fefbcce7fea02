"""``wflint`` and ``python -m wflint``.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Runs the command line."""
    from ._warm import replay

    code = replay(sys.argv[1:])
    if code is None:
        for name in ("libcst", "click"):
            if find_spec(name) is None:
                sys.stderr.write(
                    f"wflint needs {name}, which is not installed: pip install 'perdure[lint]'\n"
                )
                sys.exit(2)
        from .cli import run

        code = run(sys.argv[1:])
    sys.stdout.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
