"""Instances from one store to another, directly or through a file.

PYTEST_DONT_REWRITE
"""

from ._files import ExportFileError as ExportFileError
from ._files import Packed as Packed
from ._files import read_export as read_export
from ._files import write_export as write_export
from ._transfer import Mover as Mover
from ._transfer import MoveReport as MoveReport
