"""``python -m perdure_runtime.cli``.

PYTEST_DONT_REWRITE
"""

from . import main

main()
