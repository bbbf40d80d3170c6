"""The prompts' texts: as they are shipped, and what is said of damaged ones."""

from pathlib import Path

import pytest

from fairlead.adapters.prompt_files import goal_prompt, parsed, prompt_texts
from fairlead.contracts.errors import ConfigError

GOOD = """---
id: slot
version: 3
inputs: [weights, plan]
---
# system
You route.
{"routes":{"*":{}}}
# user
Weights: {weights}.
{plan}
# repair
{reply}
{fault}
"""


def test_the_prompts_are_shipped() -> None:
    """As data of the package `prompts`: each agent's, and that for goals."""
    found = prompt_texts()
    assert {agent: text.id for agent, text in found.items()} == {"planner": "planner", "slot-agent": "slot"}
    every = (*found.values(), goal_prompt())
    assert all(text.version >= 1 and text.system and text.user and text.repair for text in every)


def test_a_file_has_a_head_and_three_parts() -> None:
    """Braces of JSON are no places."""
    found = parsed("slot", GOOD)
    assert (found.id, found.version, found.repair) == ("slot", 3, "{reply}\n{fault}")
    assert found.system == 'You route.\n{"routes":{"*":{}}}'
    assert found.user == "Weights: {weights}.\n{plan}"


def test_a_missing_or_unreadable_file_is_named(tmp_path: Path) -> None:
    """Which one, and what to do."""
    with pytest.raises(ConfigError, match=r"prompts/planner\.md is not installed: install Fairlead whole"):
        prompt_texts(tmp_path)
    with pytest.raises(ConfigError, match=r"prompts/goal\.md is not installed"):
        goal_prompt(tmp_path)
    (tmp_path / "planner.md").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"planner\.md cannot be read: "):
        prompt_texts(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("---\nid", "id", "prompts/slot.md does not begin with a head"),
        (GOOD, "", "does not begin with a head"),
        ("id: slot", "id: planner", "has the id 'planner': it must be 'slot'"),
        ("id: slot", "id: [", "the head of prompts/slot.md is not YAML"),
        ("version: 3\n", "", "must have id, version and a list of inputs"),
        ("inputs: [weights, plan]", "inputs: weights", "must have id, version and a list of inputs"),
        ("version: 3", "version: three", "the head of prompts/slot.md is not valid"),
        ("version: 3", "version: 0", "the head of prompts/slot.md is not valid"),
        ("# repair\n", "# mend\n", "has the parts 'system, user, mend': it must have system, user, repair"),
        ("# system\n", "words\n# system\n", "it must have system, user, repair, with text"),
        ("{reply}\n{fault}\n", "", "it must have system, user, repair, with text"),
        ("{plan}\n", "", "part user and what it is given differ by plan"),
        ("{plan}\n", "{plan} {more}\n", "part user and what it is given differ by more"),
        ("You route.", "You route {weights}.", "part system and what it is given differ by weights"),
        ("{reply}\n", "", "part repair and what it is given differ by reply"),
    ],
)
def test_a_damaged_file_is_told_from_a_whole_one(old: str, new: str, said: str) -> None:
    """The file, what is wrong, what it must be."""
    with pytest.raises(ConfigError, match=said.replace("[", r"\[")) as refused:
        parsed("slot", GOOD.replace(old, new, 1))
    assert "prompts/slot.md" in str(refused.value)
