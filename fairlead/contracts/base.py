"""The one base of all messages, and the types of ids, units and ranges that their fields are made of.

Units end a field's name: `_s` seconds, `_bytes`, `_tokens`, `_rps`, `_ratio`. Instants (`…_at_s`) are seconds since
the Unix epoch on the *domain clock*, which `--speed` makes run faster than the wall clock.
"""

from typing import Annotated, Any, Self, TypeVar

import pydantic
from pydantic import Field, Strict, StringConstraints

Item = TypeVar("Item")

Many = Annotated[tuple[Item, ...], Strict(False)]
"""A tuple of items; an array of JSON becomes one also where a framework has parsed the JSON before."""

Id = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A DNS label (RFC 1123), so that the same id can name a Kubernetes object and a metric's label."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]{1,128}$")]
"""An identity made by a program or a client: request ids, instances of processes, decision ids."""

Text = Annotated[str, StringConstraints(max_length=256)]
"""Words for people; bounded because foreign text may get here."""

Seconds = Annotated[float, Field(ge=0)]
Instant = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Bytes = Annotated[int, Field(ge=0)]
Generation = Annotated[int, Field(ge=0)]
"""Rises by one with each message of its type; 0 means none was ever written."""


class Message(pydantic.BaseModel):
    """A value that crosses a process boundary: frozen, strict, closed, without NaN or infinity.

    The JSON of a message is canonical: fields in the order of declaration, floats in their shortest form that reads
    back the same, so that equal messages have equal bytes.
    """

    model_config = pydantic.ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        defer_build=True,  # an edge process uses a third of the messages: 0.15 s of CPU less at its start
    )

    def to_json(self) -> str:
        """Return the canonical JSON of this message."""
        return self.model_dump_json()

    def to_document(self) -> dict[str, Any]:
        """Return the message as plain JSON values (dict, list, str, int, float, bool, None)."""
        return self.model_dump(mode="json")

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Return the message that `text` holds; raises `pydantic.ValidationError` where it is not one."""
        return cls.model_validate_json(text)
