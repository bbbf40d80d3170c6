"""The numbered laws and the tests that hold them, read off the names of the tests."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent

LAWS = {
    1: "Conservation: arrived = finished + failed + held + in transfer + queued + in service, at every event.",
    2: "Memory of a node is never exceeded, counting starting and stopping pods.",
    3: "Every row of a table sums to 1 within 1e-9, has no negative entry and only nodes whose pod is ready, or "
    "starting and soon enough.",
    4: "The last ready pod of a model with demand is never stopped by us, but as the controller's rules 1 and 2 say; a "
    "crash, an operator's force and a lost node are exempt and counted (so too in 5 and 12); `random-dynamic` stops "
    "what it does not draw.",
    5: "No pod stops inside a dwell that the controller sets; on a node stops come before starts; rule 2 stays within "
    "its churn budget; a swap that needs the memory of both is refused at placement.",
    6: "A stop drains first: no in-flight request is lost to a reconfiguration.",
    7: "Same seed and same recorded replies give the same bytes, under any hash seed.",
    8: "Any bytes from a model end in a valid decision within the slot's deadline.",
    9: "An older generation never overwrites a newer one.",
    10: "Absent is not zero; a reading older than its allowed age (three reports) is not used, and the decision says "
    "so.",
    11: "Fairness indices lie in [0, 1] and do not change under scaling or reordering.",
    12: "Without demand nothing is started; where a dwell is set, a plan A-B-A within it does not happen.",
}
"""What holds always, by number."""


@dataclass(frozen=True, slots=True)
class Proof:
    """A test whose name carries a number."""

    number: int
    file: str
    name: str
    claim: str
    """First line of its docstring."""


def proofs() -> tuple[Proof, ...]:
    """Return the tests of the laws, by number, file and name."""
    found = []
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if named := re.match(r"test_invariant_(\d\d)", node.name):
                claim = (ast.get_docstring(node) or "").partition("\n")[0]
                found.append(Proof(int(named[1]), file.relative_to(ROOT).as_posix(), node.name, claim))
    return tuple(sorted(found, key=lambda one: (one.number, one.file, one.name)))


def invariants_page() -> str:
    """Return the laws and their tests as a page."""
    lines = [
        "# Invariants\n",
        "What holds always. Each law has a number, and the tests that hold it carry the number in their names: "
        "`pytest -k test_invariant_03` runs those of one.\n",
    ]
    known = proofs()
    for number, law in LAWS.items():
        lines.append(f"\n## {number}\n\n{law}\n")
        lines += [f"- [`{one.name}`](../{one.file}): {one.claim}" for one in known if one.number == number] or [
            "- no test yet"
        ]
    return "\n".join(lines) + "\n"
