"""WFL615, async-in-generator-dialect.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL615",
    name="async-in-generator-dialect",
    message="`{symbol}` {detail}: orchestrators of this framework are generators",
    severity="error",
    local=True,
    why="The framework drives a generator; a coroutine never starts.",
    bad=(
        Case(
            """\
import azure.durable_functions as df

async def orchestrator(context: df.DurableOrchestrationContext):
    await context.call_activity('f')

main = df.Orchestrator.create(orchestrator)
""",
            whole=True,
        ),
    ),
    good=(
        Case(
            """\
import azure.durable_functions as df

def orchestrator(context: df.DurableOrchestrationContext):
    yield context.call_activity('f')

main = df.Orchestrator.create(orchestrator)
""",
            whole=True,
        ),
    ),
)
