"""Where in a line of JSON something stands that is wrong: errors name line and column, as compilers do."""

import json
from collections.abc import Sequence

from fairlead.contracts.errors import TraceError, foreign

SHOWN_CHARS = 80
"""Of a wrong line that a message shows."""


def wrong(file: str, line: int, column: int, why: str) -> TraceError:
    """Return the error for a place in a file; both count from 1, columns in characters."""
    return TraceError(f"{file} line {line} column {column}: {why}")


def column_of(text: str, path: Sequence[str | int]) -> int:
    """Return the column at which the value of `path` begins in a line of valid JSON.

    Where the path leads to nothing that is there, such as a field that is missing, the innermost thing that is.
    """
    at = _begin(text, 0)
    for step in path:
        found = _child(text, at, step)
        if found is None:
            break
        at = found
    return at + 1


def column_of_fault(text: str) -> tuple[int, str] | None:
    """Return where a line stops being JSON, and why; None where it is JSON."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos + 1, error.msg
    except (ValueError, RecursionError) as error:
        return 1, foreign(error)
    return None


def _child(text: str, at: int, step: str | int) -> int | None:
    """Return where the value of a key, or of a place in an array, begins inside the one that begins at `at`."""
    if text[at] not in "{[":
        return None
    decoder = json.JSONDecoder()
    place, count = _begin(text, at + 1), 0
    while text[place] not in "}]":
        key: str | int = count
        if text[at] == "{":
            key, place = decoder.raw_decode(text, place)
            place = _begin(text, place)
            place = _begin(text, place + 1)  # past the colon
        if key == step:
            return place
        _, place = decoder.raw_decode(text, place)
        place = _begin(text, place)
        if text[place] == ",":
            place = _begin(text, place + 1)
        count += 1
    return None


def _begin(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at
