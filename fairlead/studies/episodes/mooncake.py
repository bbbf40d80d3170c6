"""Mooncake traces: requests to production language models as JSON Lines.

Source: kvcache-ai/Mooncake, `FAST25-release/traces/*.jsonl` (Qin et al., "Mooncake", FAST 2025). Fields `timestamp`
(milliseconds), `input_length`, `output_length` (tokens); `hash_ids` and whatever else there is are passed over.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fairlead.studies.episodes.places import column_of, column_of_fault, wrong
from fairlead.studies.episodes.text import decoded, numbered
from fairlead.studies.episodes.traces import Row

LINE_BYTES = 1 << 20
"""Longest line that is read: one hash id for each 512 tokens makes a line of 2 KB for the longest published prompt."""

TOKENS_MOST = 10_000_000
"""Longer than any context window: a larger count is a corrupt one."""


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file in order; raises `TraceError` with line and column at the first bad one."""
    first_ms: float | None = None
    before_s = 0.0
    for number, data in numbered(path, LINE_BYTES):
        text = decoded(path.name, number, data)
        fault = column_of_fault(text)
        if fault is not None:
            raise wrong(path.name, number, fault[0], f"this is no JSON: {fault[1]}")
        document = json.loads(text)
        if not isinstance(document, dict):
            raise wrong(path.name, number, 1, "a line is an object with timestamp, input_length and output_length")
        at_ms = _number(path.name, number, text, document, "timestamp", float("inf"))
        first_ms = at_ms if first_ms is None else first_ms
        at_s = (at_ms - first_ms) / 1000.0
        if at_s < before_s:
            column = column_of(text, ["timestamp"])
            raise wrong(path.name, number, column, "timestamp is before the line above: rows go by time")
        before_s = at_s
        prompt = int(_number(path.name, number, text, document, "input_length", TOKENS_MOST))
        output = int(_number(path.name, number, text, document, "output_length", TOKENS_MOST))
        yield Row(at_s, prompt, output, float(output))


def _number(file: str, line: int, text: str, document: dict[str, Any], name: str, most: float) -> float:
    value = document.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most and value < float("inf"):
        return float(value)
    raise wrong(file, line, column_of(text, [name]), f"{name} must be a number from 0, to {most:g} at most")
