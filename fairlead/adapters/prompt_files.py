"""The prompts' texts: `prompts/planner.md`, `slot.md` and `goal.md`, read as data of the package `prompts`."""

import re
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from fairlead.contracts.dialogue import AgentName, PromptText
from fairlead.contracts.errors import ConfigError, foreign

PACKAGE = "prompts"
PROMPTS: Mapping[AgentName, str] = {"planner": "planner", "slot-agent": "slot"}
"""Id of each agent's prompt, which is also its file's name."""

GOAL = "goal"
"""Id of the prompt that has a goal in words read; the planner's model is asked."""

PARTS = ("system", "user", "repair")
REPAIR_INPUTS = {"reply", "fault"}
"""What the repair part may name, beside nothing; the user part names the file's `inputs`, the system part nothing."""

PLACE = re.compile(r"\{([a-z_]+)\}")


def prompt_texts(folder: Path | None = None) -> Mapping[AgentName, PromptText]:
    """Return the prompt of each agent, from a `folder` or the package's own.

    Raises `ConfigError` where a file is missing or damaged.
    """
    folders = _folders() if folder is None else (folder,)
    return {agent: parsed(name, _read(name, folders)) for agent, name in PROMPTS.items()}


def goal_prompt(folder: Path | None = None) -> PromptText:
    """Return the prompt for goals in words, from a `folder` or the package's own. Raises `ConfigError` as above."""
    return parsed(GOAL, _read(GOAL, _folders() if folder is None else (folder,)))


def parsed(name: str, text: str) -> PromptText:
    """Return the prompt that a file `name`.md with this text gives. Raises `ConfigError` that says what is wrong."""
    where = f"prompts/{name}.md"
    marks = re.split(r"^---\n", text, maxsplit=2, flags=re.MULTILINE)
    if len(marks) != 3 or marks[0]:
        raise ConfigError(f"{where} does not begin with a head between two lines '---'")
    head = _head(where, marks[1])
    if head["id"] != name:
        raise ConfigError(f"{where} has the id {foreign(head['id'])!r}: it must be {name!r}, as its file")
    parts = _parts(where, marks[2])
    _check_places(where, parts, head["inputs"])
    try:
        return PromptText(id=head["id"], version=head["version"], **parts)
    except ValidationError as error:
        raise ConfigError(f"the head of {where} is not valid: {foreign(error)}") from error


def _folders() -> tuple[Path, ...]:
    """Return where the package's files may be; it has no code, so it is looked up, not imported."""
    spec = find_spec(PACKAGE)
    return tuple(Path(f) for f in (spec.submodule_search_locations or ())) if spec is not None else ()


def _read(name: str, folders: Sequence[Path]) -> str:
    paths = [path for path in (folder / f"{name}.md" for folder in folders) if path.is_file()]
    if not paths:
        raise ConfigError(f"prompts/{name}.md is not installed: install Fairlead whole, with its package {PACKAGE!r}")
    try:
        return paths[0].read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{paths[0]} cannot be read: {foreign(error)}") from error


def _head(where: str, text: str) -> Mapping[str, Any]:
    try:
        head = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"the head of {where} is not YAML: {foreign(error)}") from error
    if not isinstance(head, dict) or set(head) != {"id", "version", "inputs"} or not isinstance(head["inputs"], list):
        raise ConfigError(f"the head of {where} must have id, version and a list of inputs, nothing else")
    return head


def _parts(where: str, text: str) -> dict[str, str]:
    pieces = re.split(r"^# (\w+)\n", text, flags=re.MULTILINE)
    names, bodies = tuple(pieces[1::2]), [p.strip() for p in pieces[2::2]]
    if names != PARTS or pieces[0].strip() or not all(bodies):
        raise ConfigError(
            f"{where} has the parts {foreign(', '.join(names))!r}: it must have {', '.join(PARTS)}, with text"
        )
    return dict(zip(names, bodies, strict=True))


def _check_places(where: str, parts: Mapping[str, str], inputs: list[Any]) -> None:
    for part, allowed in (("system", set[Any]()), ("user", set(inputs)), ("repair", REPAIR_INPUTS)):
        found = set(PLACE.findall(parts[part]))
        if found != allowed:
            odd = ", ".join(sorted(map(str, found ^ allowed)))
            raise ConfigError(f"{where}: part {part} and what it is given differ by {foreign(odd)}")
