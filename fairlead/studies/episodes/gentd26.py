"""The GenTD26 trace: requests to a production service that makes images.

Source: alibaba/clusterdata, `cluster-trace-v2026-GenAI/lora_request_trace.csv` (Lin et al., "Understanding Diffusion
Model Serving in Production", SoCC 2025); a sample of the service's traffic, times to the second. Requests that failed
there are requests too.
"""

import math
from collections.abc import Iterator
from pathlib import Path

from fairlead.studies.episodes.text import headed, timed
from fairlead.studies.episodes.traces import Row

HEADER = (
    "gmt_create",
    "predict_type",
    "predict_status",
    "exec_time_seconds",
    "groupId",
    "prompt_length",
    "negative_prompt_length",
    "num_images_per_prompt",
    "num_inference_steps",
    "checkpoint_model_version_id",
    "num_lora",
)

FILES = ("lora_request_trace.csv.gz", "lora_request_trace.csv")
"""The requests; the other files of the data set are gauges, on another time axis."""

TOKEN_CHARS = 4
"""Characters of prompt to a token, the usual rule of thumb."""


def rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file in order; raises `TraceError` with line and column at the first bad one."""
    for line, at_s in timed(headed(path, HEADER), "2024-11-15 16:57:50"):
        chars = line.number_from(5, 0.0) if line.fields[5] else None
        exec_s = line.number_from(3, 0.0) if line.fields[3] else 0.0
        yield Row(at_s, None if chars is None else math.ceil(chars / TOKEN_CHARS), None, exec_s or None)
