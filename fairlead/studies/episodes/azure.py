"""The Azure 2023 trace: requests to production language models, with the lengths of prompts and answers.

Source: AzurePublicDataset, `AzureLLMInferenceTrace_{conv,code}.csv`, CC BY 4.0 (Patel et al., "Splitwise", ISCA
2024). Columns `TIMESTAMP` (wall clock, seven fractional digits), `ContextTokens`, `GeneratedTokens`; lines end in CR
LF.
"""

from collections.abc import Iterator
from pathlib import Path

from fairlead.studies.episodes.text import headed, timed
from fairlead.studies.episodes.traces import Row

HEADER = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
FILES = ("AzureLLMInferenceTrace_conv.csv", "AzureLLMInferenceTrace_code.csv")
"""What a directory of the data set has; the conversations first, for they go to the smaller models."""

TOKENS_MOST = 1_000_000
"""More than any context window of 2023 held: a larger count is a corrupt one."""


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file in order; raises `TraceError` with line and column at the first bad one."""
    for line, at_s in timed(headed(path, HEADER), "2023-11-16 18:15:46.6805900"):
        prompt, output = line.whole(1, TOKENS_MOST), line.whole(2, TOKENS_MOST)
        yield Row(at_s, prompt, output, float(output))
