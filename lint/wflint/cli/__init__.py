"""The command line.

PYTEST_DONT_REWRITE
"""

from __future__ import annotations

import os
import sys
import traceback

import click

from ..config import ConfigError
from ._app import app
from ._check import Exit

INTERNAL = 3


def run(argv: list[str]) -> int:
    """Runs a command line; gives the exit code."""
    try:
        result = app.main(args=argv, prog_name="wflint", standalone_mode=False)
    except Exit as end:
        return end.code
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.Abort:
        sys.stderr.write("stopped\n")
        return 130
    except click.ClickException as error:
        error.show()
        return 2
    except ConfigError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    except Exception:
        traceback.print_exc()
        sys.stderr.write(
            "error: wflint has failed; please report this with the file that it failed on\n"
        )
        return INTERNAL
    return result if isinstance(result, int) else 0


__all__ = ["run"]
