"""The HTTP parsers that serve the tests of HTTP, and what each does not keep of the contract."""

from importlib.util import find_spec

import pytest

OURS = "ours"
PARSERS = (OURS, "h11", "zttp", "httptools")
NO_ZTTP = "zttp is not installed, so nothing is tested with it: any target of make installs it"


def available(parser: str) -> str:
    """Return the parser; skip the test if it is not installed."""
    if parser == "zttp" and not find_spec("zttp"):
        pytest.skip(NO_ZTTP)
    return parser
