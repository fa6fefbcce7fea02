"""WFL306, replay-unsafe-logging.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL306",
    name="replay-unsafe-logging",
    message="`{symbol}` logs again at every replay",
    severity="warning",
    fix="hint",
    why=(
        "A plain logger writes each line again at every replay. The framework's logger is "
        "silent then."
    ),
    bad=(
        Case(
            """\
log.info('started')
await act(1)""",
            before="""\
import logging
log = logging.getLogger(__name__)""",
        ),
        Case(
            "logging.warning('x')",
            before="import logging",
        ),
    ),
    good=(
        Case(
            "perdure.logger.info('started')",
        ),
        Case(
            """\
if not perdure.is_replaying():
    log.info('x')
await act(1)""",
            before="""\
import perdure
from perdure import activity, workflow
import logging
log = logging.getLogger(__name__)""",
        ),
    ),
)
