"""Files that only their user may read: whole or not at all."""

from pathlib import Path

import pytest

from fairlead_cli import private_file


def test_a_file_is_replaced_whole_and_is_its_users_alone(tmp_path: Path) -> None:
    """Its folder is made where it is missing."""
    file = tmp_path / "keys" / "agent.token"
    for text in ("first", "second"):
        private_file.write(file, text)
    assert (file.read_text("utf-8"), file.stat().st_mode & 0o777) == ("second", 0o600)
    assert list(file.parent.iterdir()) == [file]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """Its name is taken by a folder."""
    (tmp_path / "agent.token").mkdir()
    with pytest.raises(OSError, match=r"agent\.token"):
        private_file.write(tmp_path / "agent.token", "secret")
    assert [one.name for one in tmp_path.iterdir()] == ["agent.token"]
