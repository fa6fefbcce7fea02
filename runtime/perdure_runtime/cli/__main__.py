"""``python -m perdure_runtime.cli``."""

from . import main

main()
