"""wflint: finds code in durable workflows that would not replay.

PYTEST_DONT_REWRITE
"""
