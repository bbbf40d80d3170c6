"""Documents say what is: generated pages are current, links lead somewhere, named commands and targets exist."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from docs.definitions import structural
from docs.generate import outdated
from docs.invariants import LAWS, proofs
from docs.metrics import metrics
from fairlead_cli.main import app
from fairlead_cli.settings import load

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
EACH_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())

LABELS = frozenset(
    [
        "node",
        "model",
        "site",
        "agent",
        "gateway",
        "kind",
        "source",
        "step",
        "code",
        "status",
        "reason",
        "phase",
        "method",
        "route",
        "role",
        "rule",
        "state",
        "outcome",
        "loop",
        "operation",
        "result",
        "place",
        "why",
        "window",
        "reporter",
    ]
)
"""Labels of metrics: ids of a cluster, or words of a closed set."""


def test_generated_pages_are_current() -> None:
    """`make docs` would change nothing."""
    assert [path.relative_to(ROOT).as_posix() for path in outdated()] == []


@EACH_PAGE
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@EACH_PAGE
def test_named_make_targets_exist(page: Path) -> None:
    """Every `make X` of a document is a target."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for name in re.findall(r"(?:`|^\s*)make ([a-z-]+)", page.read_text("utf-8"), re.M):
        assert name in targets, f"{page.name} names make {name}"


@EACH_PAGE
def test_yaml_examples_are_settings(page: Path, tmp_path: Path) -> None:
    """Every YAML block of a document is a settings file that is taken."""
    for at, block in enumerate(re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.M | re.S)):
        file = tmp_path / f"{at}.yaml"
        file.write_text(block, "utf-8")
        load(file, {})


def _commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, below in getattr(command, "commands", {}).items():
        yield from _commands(below, (*path, name))


@EACH_PAGE
def test_named_commands_exist(page: Path) -> None:
    """Every `fairlead x y` of a document is a command, as far as it is words."""
    known = set(_commands(typer.main.get_command(app)))
    groups = {path[:length] for path in known for length in range(len(path))}
    for line in re.findall(r"(?:`|^\s*|\$ |bin/)fairlead ((?:[a-z-]+ ?)+)", page.read_text("utf-8"), re.M):
        words = tuple(word for word in line.split())
        path: tuple[str, ...] = ()
        while path in groups and len(path) < len(words):
            path = (*path, words[len(path)])
            if path[-1].startswith("-"):
                path = path[:-1]
                break
        assert path in known or not path, f"{page.name} names fairlead {' '.join(words)}"


@pytest.mark.parametrize("number", LAWS)
def test_every_law_has_a_test(number: int) -> None:
    """Numbers 1 to 12 stand in the name of a test that says what it claims."""
    found = [one for one in proofs() if one.number == number]
    assert found, f"no test is named test_invariant_{number:02}_…"
    assert all(one.claim for one in found)


def test_no_test_has_a_number_that_is_no_law() -> None:
    """A number in a test's name is one of the laws'."""
    assert {one.number for one in proofs()} <= set(LAWS)


def test_metrics_are_named_alike() -> None:
    """Prefix, base units, a help text, labels from closed sets; a name means one thing."""
    known = metrics()
    assert known
    for metric in known:
        assert re.fullmatch(r"fairlead_[a-z0-9_]+", metric.name)
        assert not re.search(r"_(ms|millis|minutes|mb|kb|percent)(_total)?$", metric.name), f"{metric.name}: base units"
        assert metric.text
        assert set(metric.labels) <= LABELS, f"{metric.name}: {metric.labels}"
    assert len({(one.process, one.name) for one in known}) == len(known)


def test_a_schema_of_kubernetes_says_what_the_messages_schema_says() -> None:
    """References are written out, null is a flag, bounds are written its way; the rest fails."""
    inner = {"type": "string", "description": "two\nlines", "title": "Id"}
    made = structural(
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "a": {"anyOf": [{"$ref": "#/$defs/Id"}, {"type": "null"}], "default": None},
                "b": {"type": "number", "exclusiveMinimum": 0},
                "c": {"type": "array", "items": {"const": "x"}},
            },
        },
        {"Id": inner},
    )
    assert made["properties"] == {
        "a": {"type": "string", "description": "two lines", "nullable": True},
        "b": {"type": "number", "exclusiveMinimum": True, "minimum": 0},
        "c": {"type": "array", "items": {"enum": ["x"]}},
    }
    odds: tuple[dict[str, object], ...] = ({"oneOf": []}, {"anyOf": [{"type": "string"}, {"type": "integer"}]})
    for odd in odds:
        with pytest.raises(ValueError, match="structural schema"):
            structural(odd, {})
