"""The HTTP parsers that serve the tests of HTTP, and what each does not keep of the contract."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from uvicorn.config import HTTP_PROTOCOLS

from app.server.protocol import Protocol

OURS = "ours"
PARSERS = (OURS, "h11", "zttp", "httptools")
NO_ZTTP = "zttp is not installed, so nothing is tested with it: any target of make installs it"


def available(parser: str) -> str:
    """Return the parser; skip the test if it is not installed."""
    if parser == "zttp" and not find_spec("zttp"):
        pytest.skip(NO_ZTTP)
    return parser


def protocol_of(parser: str) -> Any:
    """Return the class of the protocol; skip the test if its parser is not installed."""
    if parser == OURS:
        return Protocol
    module, _, name = HTTP_PROTOCOLS[available(parser)].partition(":")
    return getattr(import_module(module), name)
