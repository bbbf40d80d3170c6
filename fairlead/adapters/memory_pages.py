"""Listings of what is in memory, page by page."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from fairlead.adapters import store_rules as rules
from fairlead.contracts.ports import Page

Item = TypeVar("Item")


def page(
    rows: Sequence[Any],
    limit: int,
    item: Callable[[Any], Item],
    key: Callable[[Any], tuple[str | int | float, ...]],
) -> Page[Item]:
    """Return the first `limit` of `rows`, with the cursor of the last one if there are more."""
    taken = rows[:limit]
    return Page(tuple(item(row) for row in taken), rules.cursor_of(*key(taken[-1])) if len(rows) > limit else None)


def newest_first(
    items: Sequence[Item], limit: int, cursor: str | None, key: Callable[[Item], tuple[float, str]]
) -> Page[Item]:
    """Return a page of `items`, those with the greatest instant and id first."""
    rows = sorted(items, key=key, reverse=True)
    if cursor is not None:
        after = rules.key_of(cursor, float, str)
        rows = [row for row in rows if key(row) < after]
    return page(rows, limit, lambda row: row, key)
