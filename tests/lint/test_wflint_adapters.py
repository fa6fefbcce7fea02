"""Each framework: its workflows are found, what it records is left alone, its forms are right."""

from __future__ import annotations

import pytest
from lint_cases import codes, findings
from wflint.adapters import builtin_names

PROGRAMS = {
    "perdure": """\
import time
from perdure import activity, side_effect, workflow

class Steps:
    @activity
    async def step(self) -> float:
        return time.time()

@workflow(name="other")
async def flow(steps: str) -> float:
    x = side_effect(lambda: time.time(), float)
    await Steps().step()
    time.sleep(x)  # HERE WFL308
    return x
""",
    "temporal": """\
import time
from datetime import timedelta
from temporalio import activity, workflow
with workflow.unsafe.imports_passed_through():
    import helper

@activity.defn
async def step() -> float:
    return time.time()

@workflow.defn(name="other")
class Flow:
    @workflow.run
    async def run(self) -> float:
        await workflow.execute_activity(step, start_to_close_timeout=timedelta(seconds=1))
        await workflow.wait_condition(lambda: True)
        return self.helper()

    def helper(self) -> float:
        return time.time()  # HERE WFL201
""",
    "dbos": """\
import time
from dbos import DBOS

@DBOS.step(retries_allowed=True)
def step() -> float:
    return time.time()

class Flows:
    @staticmethod
    @DBOS.workflow()
    def flow() -> float:
        step()
        DBOS.run_step(None, lambda: time.time())
        DBOS.sleep(1)
        return time.time()  # HERE WFL201
""",
    "azure": """\
import datetime
import azure.durable_functions as df

app = df.DFApp()

@app.orchestration_trigger(context_name="context")
def flow(context):
    due = context.current_utc_datetime
    yield context.create_timer(due)
    values = yield context.task_all([context.call_activity("a", n) for n in range(3)])
    context.set_custom_status("x")
    now = datetime.datetime.now()  # HERE WFL201
    return values

@app.activity_trigger(input_name="n")
def a(n):
    return datetime.datetime.now()
""",
    "durabletask": """\
import random
from durabletask import task, worker

def step(ctx: task.ActivityContext, n: int) -> float:
    return random.random()

def flow(ctx: task.OrchestrationContext, n: int):
    x = yield ctx.call_activity(step, input=n)
    ys = yield task.when_all([ctx.call_activity(step, input=n), ctx.call_activity(step, input=x)])
    return random.random()  # HERE WFL211

with worker.TaskHubGrpcWorker() as w:
    w.add_orchestrator(flow)
    w.add_activity(step)
""",
    "dapr": """\
import uuid
import dapr.ext.workflow as wf

wfr = wf.WorkflowRuntime()

@wfr.workflow(name="flow")
def flow(ctx: wf.DaprWorkflowContext, n: int):
    x = yield ctx.call_activity(step, input=n)
    if not ctx.is_replaying:
        print(x)
    return str(uuid.uuid4())  # HERE WFL214

@wfr.activity(name="step")
def step(ctx, n: int) -> str:
    return str(uuid.uuid4())
""",
    "aws": """\
import os
from aws_durable_execution_sdk_python import DurableContext, durable_execution, durable_step

@durable_step
def step(context, n: int) -> str:
    return os.environ["A"]

@durable_execution
def flow(event: dict, context: DurableContext) -> str:
    x = context.step(lambda _: os.environ["B"])
    context.wait(5)
    if os.environ["C"]:  # HERE WFL221
        context.wait(6)
    return x
""",
    "restate": """\
import random
import restate

service = restate.Service("s")

@service.handler()
async def flow(ctx: restate.Context, name: str) -> float:
    x = await ctx.run("draw", lambda: random.random())
    await ctx.sleep(1)
    first, _ = await restate.gather(ctx.sleep(1), ctx.sleep(2))
    return random.random()  # HERE WFL211
""",
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_each_framework(name: str) -> None:
    text = PROGRAMS[name]
    helper = {"helper.py": "import time\ntime.time()\n"}
    found = [
        (one.line, one.code)
        for one in findings({"flow.py": text, **helper})
        if one.severity == "error"
    ]
    (expected,) = [
        (number, line.partition("# HERE ")[2])
        for number, line in enumerate(text.splitlines(), 1)
        if "# HERE " in line
    ]
    assert found == [expected]


def test_every_framework_has_a_program() -> None:
    assert sorted(PROGRAMS) == sorted(builtin_names())


def test_programs_of_several_frameworks_do_not_mix() -> None:
    texts = {f"{name}_flow.py": text for name, text in PROGRAMS.items()}
    found = findings({**texts, "helper.py": "import time\ntime.time()\n"})
    errors = [one.path for one in found if one.severity == "error"]
    assert sorted(errors) == sorted(texts)


def test_a_helper_that_gives_the_task_back_is_no_workflow_without_a_yield() -> None:
    before = "import dapr.ext.workflow as wf\n\ndef flow(ctx: wf.DaprWorkflowContext, n: int):\n"
    call = "ctx.call_activity('step', input=n)"
    assert codes(f"{before}    return {call}\n") == []
    assert set(codes(f"{before}    {call}\n")) == {"WFL614"}
