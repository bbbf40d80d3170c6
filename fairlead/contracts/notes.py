"""What an operator says in words, for a time span."""

from typing import Annotated

from pydantic import Field

from fairlead.contracts.base import Instant, Message, Name, Text

NOTE_CHARS = 280


class Note(Message):
    """A sentence of an operator's; it stands in prompts as data, never as an instruction."""

    id: Name
    text: Annotated[str, Field(min_length=1, max_length=NOTE_CHARS)]
    from_s: Instant
    until_s: Instant
    by: Text
    created_at_s: Instant
    revision: Annotated[int, Field(ge=0)] = 0
