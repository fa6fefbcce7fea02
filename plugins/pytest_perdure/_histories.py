"""Stored histories as tests.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import pytest
from perdure import Workflow
from perdure_runtime import Divergence, History, HistoryFileError, read_histories, replay
from perdure_runtime._loading import load


class DivergedError(Exception):
    """The code does not fit a history."""

    def __init__(self, divergence: Divergence) -> None:
        super().__init__(divergence.message)
        self.divergence = divergence


class NoWorkflowError(Exception):
    """Nobody said where the workflow of a history is."""


class HistoryFile(pytest.File):
    """A file of histories."""

    def collect(self) -> Iterator[HistoryItem]:
        """A test for each run in it."""
        try:
            runs = list(read_histories(self.path))
        except HistoryFileError as error:
            raise self.CollectError(str(error)) from None
        for run in runs:
            name = run.instance_id if len(runs) == 1 else f"{run.instance_id}-{run.run_id[:8]}"
            make: Any = HistoryItem  # pytest's own factory is not typed
            yield make.from_parent(self, name=name, run=run)


class HistoryItem(pytest.Item):
    """Replays a run."""

    def __init__(self, *, run: History, **more: Any) -> None:
        super().__init__(**more)  # pyright: ignore[reportUnknownMemberType]
        self.run = run

    def runtest(self) -> None:
        """Raises :class:`DivergedError` if the code does not fit."""
        result = replay(self.run, self._workflow())
        if result.divergence is not None:
            raise DivergedError(result.divergence)

    def _workflow(self) -> Workflow[..., Any]:
        modules: list[str] = self.config.getini("perdure_workflows")
        for module in modules:
            for workflow in _workflows(module):
                definition = workflow.definition
                names = (definition.name, *definition.aliases)
                if self.run.workflow in names and definition.version == self.run.version:
                    return workflow
        looked = ", ".join(modules) or "none are named"
        raise NoWorkflowError(
            f"no workflow {self.run.workflow!r} version {self.run.version} in the modules of "
            f"`perdure_workflows` ({looked}); add its module there"
        )

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What the reader needs, and no traceback of ours."""
        error = excinfo.value
        if isinstance(error, DivergedError):
            return f"{self.run.workflow} does not fit {self.path.name}\n{error.divergence}"
        if isinstance(error, NoWorkflowError):
            return str(error)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where it is from."""
        return self.path, None, f"history {self.name}"


@functools.cache
def _workflows(module: str) -> list[Workflow[..., Any]]:
    """Those of a module, which is loaded once and not for each history."""
    return load(module)[0]
