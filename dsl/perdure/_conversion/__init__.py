"""Conversion of arguments and results to stored bytes and back, by annotation.

PYTEST_DONT_REWRITE
"""

from ._codec import Codec as Codec
from ._codec import DataConverter as DataConverter
from ._json import Converter as Converter
from ._json import JsonConverter as JsonConverter
from ._json import Serializer as Serializer
