"""The SQL of this store, by name.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

from typing import Final

from .._statements import load_statements

SQL: Final = load_statements(__package__ or "")
