"""An endpoint's key: read from the environment, sent to the endpoint, shown nowhere."""

from collections.abc import Mapping

from fairlead.contracts.errors import ConfigError
from fairlead.contracts.settings import LlmEndpoint

SECRET_CHARS = 16
"""A shorter key is a placeholder such as `none` or `ollama`, whose letters are in ordinary words too."""

SHOWN_CHARS = 8
"""So many characters of a key in a row, and a text is withheld: servers quote keys cut short or masked."""

WITHHELD = "(withheld: it shows a part of the key)"


class Key:
    """What opens an endpoint; its `repr` does not say it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Key(…)"

    def value(self) -> str:
        """Return the key itself, for the header that carries it."""
        return self._value

    def is_in(self, text: str) -> bool:
        """Return whether the whole of a real key stands in `text`."""
        return len(self._value) >= SECRET_CHARS and self._value in text

    def scrubbed(self, text: str) -> str:
        """Return somebody else's words without the key, or with a part of it."""
        if len(self._value) < SECRET_CHARS:
            return text.replace(self._value, "[key]")
        folded, key = text.casefold(), self._value.casefold()
        parts = (key[at : at + SHOWN_CHARS] for at in range(len(key) - SHOWN_CHARS + 1))
        return WITHHELD if any(part in folded for part in parts) else text


def key_of(endpoint: LlmEndpoint, environ: Mapping[str, str]) -> Key | None:
    """Return the key that an endpoint names, None if there is none; raises `ConfigError` if it cannot be sent."""
    if endpoint.key_variable is None:
        return None
    value = environ.get(endpoint.key_variable, "").strip()
    if not value:
        return None
    if not (value.isascii() and value.isprintable() and " " not in value):
        raise ConfigError(
            f"environment variable {endpoint.key_variable} holds no key for {endpoint.url}: a key is made of "
            f"printable ASCII characters without spaces; {len(value)} characters were found"
        )
    return Key(value)
