"""Settings: one YAML file, the environment on top, read once into a frozen value; nothing unknown passes.

fairlead.yaml            FAIRLEAD_SPEED=10, FAIRLEAD_MONGODB_URI=…, FAIRLEAD_CONTROL__PORT=9000
      └──────── document ───────┘
                   └─ unknown keys refused (nearest known one named) ─ types and ranges ─▶ Settings
"""

import difflib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pydantic
import yaml

from fairlead.contracts.base import Message
from fairlead.contracts.cluster import Cluster
from fairlead.contracts.errors import ConfigError, foreign
from fairlead.contracts.settings import Settings

DEFAULT_FILE = "fairlead.yaml"
"""Read from the working directory when `--config` is not given and it is there."""

PREFIX = "FAIRLEAD_"

RESERVED = frozenset(
    {"FAIRLEAD_TOKEN", "FAIRLEAD_TOKEN_FILE", "FAIRLEAD_KEEPER_TOKEN", "FAIRLEAD_RUN", "FAIRLEAD_CONFIG"}
)
"""Environment variables of ours that are no settings: secrets, the mark of a run, the place of the file."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A setting that holds a value, not further settings."""

    path: tuple[str, ...]
    annotation: Any

    @property
    def dotted(self) -> str:
        """Its name in messages and documents, such as `control.port`."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """Its environment variable, such as `FAIRLEAD_CONTROL__PORT`."""
        return PREFIX + "__".join(self.path).upper()


def load(config: Path | None, environ: Mapping[str, str]) -> Settings:
    """Return the settings of `config` (or of ./fairlead.yaml, if there is one) with the environment on top.

    Raises `ConfigError` with the path of the setting, what was found and what is allowed.
    """
    where, document = _document(config, environ)
    overlay = _overlay(environ)
    for path, value in overlay.items():
        _put(document, path, value)
    _derive(document)
    return _check(where, document)


def leaves(model: type[Message] = Settings, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Yield every setting under `model`, in the order of declaration; the inside of a cluster is not one."""
    for name, field in model.model_fields.items():
        inner = _section(field.annotation)
        if inner is not None:
            yield from leaves(inner, (*path, name))
        else:
            yield Leaf((*path, name), field.annotation)


def _section(annotation: Any) -> type[Message] | None:
    """Return the class of a group of settings, None for a value."""
    return annotation if isinstance(annotation, type) and issubclass(annotation, Message) else None


def _document(config: Path | None, environ: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Return where the settings come from, in words, and the file's document."""
    named = config or (Path(environ["FAIRLEAD_CONFIG"]) if environ.get("FAIRLEAD_CONFIG") else None)
    if named is None:
        if not Path(DEFAULT_FILE).is_file():
            return "settings", {}
        named = Path(DEFAULT_FILE)
    try:
        text = named.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{named}: cannot be read ({foreign(error)}): name a YAML file with --config") from error
    try:
        document = yaml.load(text, Loader=_Unique)
    except yaml.YAMLError as error:
        raise ConfigError(f"{named}: is not YAML: {foreign(error)}") from error
    if document is None:
        return str(named), {}
    if not isinstance(document, dict):
        raise ConfigError(f"{named}: holds {type(document).__name__}, not settings: write `key: value` lines")
    return str(named), document


class _Unique(_Loader):  # type: ignore[misc, valid-type]
    """A safe loader that refuses a key which stands twice in one mapping, where YAML would take the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Return the mapping of `node`; raises `YAMLError` with the line of a doubled key."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (str, int, float, bool)) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} stands twice, second time in line {key_node.start_mark.line + 1}"
                )
            seen.add(key) if isinstance(key, (str, int, float, bool)) else None
        return dict(super().construct_mapping(node, deep))


def _overlay(environ: Mapping[str, str]) -> dict[tuple[str, ...], Any]:
    """Return the settings that the environment gives, by path; raises `ConfigError` for an unknown variable."""
    known: dict[str, Leaf] = {}
    for leaf in leaves():
        known[leaf.variable] = leaf
        known[PREFIX + "_".join(leaf.path).upper()] = leaf
    found: dict[tuple[str, ...], Any] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in RESERVED:
            continue
        if name not in known:
            raise ConfigError(f"environment variable {name} is unknown{_nearest(name, [*known, *RESERVED])}")
        leaf = known[name]
        value = _parsed(environ[name], leaf, name)
        if found.get(leaf.path, value) != value:
            raise ConfigError(f"{leaf.dotted} is set twice by the environment, by {name} too: unset one of the two")
        found[leaf.path] = value
    return found


def _parsed(text: str, leaf: Leaf, name: str) -> Any:
    """Return a variable's value: as it stands where the setting is a string, as YAML reads it elsewhere."""
    kinds = get_args(leaf.annotation) or (leaf.annotation,)
    if str in kinds:
        return None if type(None) in kinds and text in ("", "null") else text
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name}: {text[:40]!r} cannot be read as a value of {leaf.dotted}") from error


def _put(document: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Set the value at `path`, making the groups on the way."""
    for name in path[:-1]:
        inner = document.setdefault(name, {})
        if not isinstance(inner, dict):
            return
        document = inner
    document[path[-1]] = value


def _derive(document: dict[str, Any]) -> None:
    """Give `control.url` the port that was set where it was not set itself; sort a cluster by id."""
    control = document.get("control")
    if isinstance(control, dict) and "url" not in control and isinstance(control.get("port"), int):
        host = control.get("host", "127.0.0.1")
        control["url"] = f"http://{'127.0.0.1' if host == '0.0.0.0' else host}:{control['port']}"
    cluster = document.get("cluster")
    if isinstance(cluster, dict):
        for name in ("nodes", "models", "sites"):
            items = cluster.get(name)
            if isinstance(items, list) and all(
                isinstance(one, dict) and isinstance(one.get("id"), str) for one in items
            ):
                items.sort(key=lambda one: one["id"])


def _check(where: str, document: dict[str, Any]) -> Settings:
    """Return the settings in `document`; raises `ConfigError`."""
    _refuse_unknown(where, document, Settings, ())
    try:
        settings = Settings.model_validate(document)
    except pydantic.ValidationError as error:
        raise ConfigError(_explain(where, error)) from error
    if isinstance(settings.cluster, Cluster):
        longest = max((m.deadline_s for m in settings.cluster.models), default=0.0)
        if settings.controller.hold_timeout_s < longest:
            raise ConfigError(
                f"{where}: controller.hold_timeout_s is {settings.controller.hold_timeout_s:g}, the longest deadline "
                f"of a model is {longest:g}: a request must be held at least as long as it may take"
            )
    return settings


def _refuse_unknown(where: str, document: Mapping[Any, Any], model: type[Message], path: tuple[str, ...]) -> None:
    """Raise `ConfigError` for the first key that `model` has not, naming the nearest one it has."""
    for key, value in document.items():
        dotted = ".".join((*path, str(key)))
        if key not in model.model_fields:
            raise ConfigError(f"{where}: unknown key `{dotted}`{_suggestion(str(key), dotted, model, path)}")
        inner = _section(model.model_fields[key].annotation)
        if inner is not None and isinstance(value, dict):
            _refuse_unknown(where, value, inner, (*path, key))
        if key == "cluster" and model is Settings and isinstance(value, dict):
            _refuse_unknown_in_cluster(where, value)


def _refuse_unknown_in_cluster(where: str, cluster: Mapping[Any, Any]) -> None:
    """Raise the same for nodes, models and sites, whose keys stand in lists."""
    _refuse_unknown(where, cluster, Cluster, ("cluster",))
    for name, field in Cluster.model_fields.items():
        item = next((one for one in _flat(field.annotation) if _section(one)), None)
        rows = cluster.get(name)
        if item is None or not isinstance(rows, list):
            continue
        for index, row in enumerate(rows):
            if isinstance(row, dict):
                _refuse_unknown(where, row, item, ("cluster", name, str(index)))


def _flat(annotation: Any) -> Iterator[Any]:
    """Yield an annotation and all its arguments."""
    yield annotation
    for inner in get_args(annotation):
        yield from _flat(inner)


def _suggestion(key: str, dotted: str, model: type[Message], path: tuple[str, ...]) -> str:
    """Return the words that name the nearest known key: one beside it, else one anywhere."""
    everywhere = {leaf.path[-1]: leaf.dotted for leaf in leaves()}
    beside = difflib.get_close_matches(key, list(model.model_fields), n=1, cutoff=0.6)
    if beside and key not in everywhere:
        return f": did you mean `{'.'.join((*path, beside[0]))}`?"
    far = difflib.get_close_matches(key, list(everywhere), n=1, cutoff=0.75)
    if far:
        return f": did you mean `{everywhere[far[0]]}`?"
    nearest = difflib.get_close_matches(dotted, [*model.model_fields, *everywhere.values()], n=1, cutoff=0.0)
    return f": nearest known one is `{nearest[0]}`" if nearest else ""


def _nearest(name: str, known: list[str]) -> str:
    """Return the words that name the nearest of `known`."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    return f": did you mean {close[0]}?" if close else ""


def _explain(where: str, error: pydantic.ValidationError) -> str:
    """Return one line for what pydantic found, with the path of the first setting that is wrong."""
    found = [one for one in error.errors() if one["loc"][:2] != ("cluster", "str")] or error.errors()
    first = found[0]
    parts = [str(part) for part in first["loc"] if not str(part).startswith("function-")]
    words = first["msg"].removeprefix("Value error, ")
    given = "" if isinstance(first["input"], (dict, list)) else f" is {foreign(repr(first['input']))}"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return f"{where}: {'.'.join(parts) or 'settings'}{given}: {words}{more}"


def with_options(settings: Settings, options: Mapping[tuple[str, ...], Any]) -> Settings:
    """Return the settings with options of a command on top; raises `ConfigError` as `load` does."""
    document = settings.model_dump(mode="json", exclude_unset=True)
    for path, value in options.items():
        _put(document, path, value)
    if ("control", "port") in options:
        document["control"].pop("url", None)
    _derive(document)
    return _check("options", document)


def of_this_process(config: Path | None) -> Settings:
    """Return the settings of the process that runs."""
    return load(config, os.environ)
