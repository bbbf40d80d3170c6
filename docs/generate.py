"""Writes the pages that are read off the code: JSON Schemas, configuration, metrics, definitions of Kubernetes.

python -m docs.generate         write them
python -m docs.generate --check say which are not current, and fail if any is
"""

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docs.definitions import definition_files
from docs.growth import drawing, growth_page
from docs.invariants import invariants_page
from docs.metrics import metrics_page
from fairlead import contracts
from fairlead.contracts.base import Message
from fairlead.contracts.settings import Settings
from fairlead.studies.scoreboard import read
from fairlead.studies.scoreboard_page import page
from fairlead_cli.settings import leaves

HERE = Path(__file__).parent
SCOREBOARD = HERE / "scoreboard.json"
GROWTH = HERE / "growth.json"
DEFINITIONS = HERE.parent / "deploy" / "chart" / "fairlead" / "definitions"
"""Where the chart and the plain manifests find the custom resources."""

SCHEMA_URL = "https://json-schema.org/draft/2020-12/schema"
NOTE = "<!-- Written by `make docs` from the code; edit it there. -->\n\n"


def messages() -> tuple[type[Message], ...]:
    """Return every message of the vocabulary, by name."""
    found: set[type[Message]] = set()
    for module in pkgutil.iter_modules(contracts.__path__, f"{contracts.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Message) and value is not Message:
                found.add(value)
    return tuple(sorted(found, key=lambda one: one.__name__))


def schema(kind: type[Message]) -> str:
    """Return the JSON Schema of a message, as it is published."""
    document = {"$schema": SCHEMA_URL, **kind.model_json_schema(mode="validation")}
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def configuration_page() -> str:
    """Return the reference of all settings: name, environment variable, what is allowed, default, meaning."""
    lines = [
        "# Configuration\n",
        "One YAML file: `fairlead.yaml` in the working directory, the file that `FAIRLEAD_CONFIG` names, or `--config "
        "FILE`. Three lines suffice, none are needed. Environment variables `FAIRLEAD_*` stand above the file; two "
        "underscores go one level down. An unknown key is refused, and the nearest known one is named. The schema for "
        "editors is [schemas/Settings.json](schemas/Settings.json).\n",
        "```yaml\ncluster: city7\ncontrol:\n  port: 8700\n```\n",
        "Secrets are no settings and stand in the environment only: `FAIRLEAD_TOKEN` is the bearer token that a "
        "process or a command shows to the control API, or `FAIRLEAD_TOKEN_FILE` a file that holds it, "
        "`FAIRLEAD_KEEPER_TOKEN` the secret that ingresses, keepers "
        "and node agents share.\n",
        "A cluster of your own stands under `cluster` in place of a name: "
        "[schemas/Cluster.json](schemas/Cluster.json), and an example in the [README](../README.md).\n",
    ]
    group: tuple[str, ...] | None = None
    for leaf in leaves():
        if leaf.path[:-1] != group:
            group = leaf.path[:-1]
            owner = _owner(group)
            lines.append(f"\n## {'.'.join(group) or 'Top level'}\n\n{_sentence(owner)}\n")
            lines.append("| key | environment | allowed | default | meaning |\n|---|---|---|---|---|")
        owner = _owner(leaf.path[:-1])
        field = owner.model_fields[leaf.path[-1]]
        allowed = _allowed(owner.model_json_schema()["properties"][leaf.path[-1]])
        default = json.dumps(field.default, ensure_ascii=False)
        meaning = " ".join((field.description or "").split())
        lines.append(f"| `{leaf.dotted}` | `{leaf.variable}` | {allowed} | `{default}` | {meaning} |")
    return "\n".join(lines) + "\n"


def _owner(path: tuple[str, ...]) -> type[Message]:
    """Return the class that holds the settings at `path`."""
    owner: type[Message] = Settings
    for name in path:
        inner = owner.model_fields[name].annotation
        assert isinstance(inner, type)
        assert issubclass(inner, Message)
        owner = inner
    return owner


def _sentence(kind: type[Message]) -> str:
    return " ".join((kind.__doc__ or "").split())


def _allowed(schema: Mapping[str, Any]) -> str:
    """Return what a JSON Schema lets through, in words."""
    if "$ref" in schema:
        return f"a `{schema['$ref'].rsplit('/', 1)[1]}`"
    if "anyOf" in schema:
        return " or ".join(_allowed(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    words = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true, false", "null": "null"}
    said = words.get(schema.get("type", ""), "value")
    bounds = {"minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}"}
    limits = [form.format(f"{schema[key]:g}") for key, form in bounds.items() if key in schema]
    return f"{said} {', '.join(limits)}".strip()


def generated() -> Iterator[tuple[Path, str]]:
    """Yield every generated file and what it should hold."""
    for kind in messages():
        yield HERE / "schemas" / f"{kind.__name__}.json", schema(kind)
    for name, text in definition_files():
        yield DEFINITIONS / name, text
    yield HERE / "configuration.md", NOTE + configuration_page()
    yield HERE / "metrics.md", NOTE + metrics_page()
    yield HERE / "invariants.md", NOTE + invariants_page()
    yield SCOREBOARD.with_suffix(".md"), NOTE + page(read(SCOREBOARD.read_text("utf-8")))
    grown = json.loads(GROWTH.read_text("utf-8"))
    yield GROWTH.with_suffix(".md"), NOTE + growth_page(grown)
    yield GROWTH.with_suffix(".svg"), drawing(grown)


def outdated() -> list[Path]:
    """Return the generated files that are not current, and those of messages that are gone."""
    wanted = dict(generated())
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text("utf-8") != text]
    written = (*(HERE / "schemas").glob("*.json"), *DEFINITIONS.glob("*.yaml"))
    return stale + [path for path in sorted(written) if path not in wanted]


def main() -> None:
    """Write what is not current, or with `--check` name it and fail."""
    stale = outdated()
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"docs: {path.relative_to(HERE.parent)} is not current: run `make docs`", file=sys.stderr)
        sys.exit(bool(stale))
    wanted = dict(generated())
    for path in stale:
        if path in wanted:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], "utf-8")
        else:
            path.unlink()
        print(f"docs: wrote {path.relative_to(HERE.parent)}" if path in wanted else f"docs: removed {path.name}")
    print(f"docs: {len(wanted)} generated files are current")


if __name__ == "__main__":
    main()
