"""WFL614, missing-yield.

PYTEST_DONT_REWRITE
"""

from .base import Case, Rule

RULE = Rule(
    code="WFL614",
    name="missing-yield",
    message="`{symbol}` is scheduled but not yielded",
    severity="error",
    fix="safe",
    why=(
        "An orchestrator hands its tasks over with `yield`. Without it the framework never "
        "hears of them."
    ),
    bad=(
        Case(
            """\
import azure.durable_functions as df

def orchestrator(context: df.DurableOrchestrationContext):
    context.call_activity('f')
    yield context.call_activity('g')

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
        Case(
            """\
import azure.durable_functions as df

def orchestrator(context: df.DurableOrchestrationContext):
    tasks = [context.call_activity('f') for _ in range(3)]
    yield context.task_all(tasks)

main = df.Orchestrator.create(orchestrator)
""",
            whole=True,
        ),
    ),
)
