"""Finished cells kept as files, so that a sweep which was interrupted goes on where it was."""

import ast
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from pydantic import ValidationError

import fairlead
from fairlead.contracts.errors import InputError
from fairlead.studies.cells import Cell, CellResult

LIBRARIES = ("numpy", "numba", "pydantic")
"""Whose version a result may depend on: random streams and the order of sums, compiled code, checked messages."""


@dataclass(frozen=True, slots=True)
class Store:
    """A folder with a file for each finished cell of one version of the code."""

    folder: Path
    code: str
    """Digest of all that a run is made of."""

    @classmethod
    def of(cls, folder: Path) -> "Store":
        """Return the store in `folder` of the code that runs now.

        Raises `InputError` where no file can be written there.
        """
        code = code_digest()
        store = cls(folder / code[:16], code)
        try:
            store.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"finished cells cannot be kept in {folder}: {error.strerror}; name a folder by --store"
            ) from error
        return store

    def read(self, cell: Cell) -> CellResult | None:
        """Return the kept result of a cell; None where there is none, or a file that is no result."""
        try:
            return CellResult.model_validate_json(self._file(cell).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def write(self, cell: Cell, result: CellResult) -> None:
        """Keep the result of a cell: the whole file or none."""
        file = self._file(cell)
        partial = file.with_suffix(f".{os.getpid()}")
        partial.write_text(result.to_json() + "\n", "utf-8")
        partial.replace(file)

    def forget(self, cell: Cell) -> None:
        """Keep the result of a cell no longer."""
        self._file(cell).unlink(missing_ok=True)

    def _file(self, cell: Cell) -> Path:
        return self.folder / f"{cell.key(self.code)[:32]}.json"


def default_folder(environ: Mapping[str, str]) -> Path:
    """Return where cells are kept if nobody says otherwise: $XDG_CACHE_HOME/fairlead/cells, ~/.cache without."""
    base = environ.get("XDG_CACHE_HOME")
    home = Path(base) if base and Path(base).is_absolute() else Path(environ.get("HOME", "/")) / ".cache"
    return home / "fairlead" / "cells"


def code_digest(module: str = "fairlead.studies.cells") -> str:
    """Return a digest of what a cell's result depends on beside the cell.

    That is the source of `module` and of all of Fairlead that it imports, the placements that were searched, Python
    and the libraries that numbers go through.
    """
    root = Path(fairlead.__file__).parent
    digest = hashlib.sha256()
    for file in (*_imported(root, module), *sorted((root / "studies" / "data").glob("*-sed-static.json"))):
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
    digest.update(f"python {sys.version_info[:3]}\0".encode())
    for name in LIBRARIES:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = "-"
        digest.update(f"{name} {version}\0".encode())
    return digest.hexdigest()


def _imported(root: Path, module: str) -> list[Path]:
    """Return the files of a module of Fairlead and of all of Fairlead that it imports, sorted."""
    found: dict[str, Path] = {}
    ahead = [module]
    while ahead:
        name = ahead.pop()
        file = _file_of(root, name)
        if name in found or file is None:
            continue
        found[name] = file
        ahead += _names(ast.parse(file.read_bytes()))
    return sorted(found.values())


def _file_of(root: Path, module: str) -> Path | None:
    """Return the source of a module of Fairlead; None of anything else."""
    parts = module.split(".")
    if parts[0] != "fairlead":
        return None
    plain = root.joinpath(*parts[1:])
    return next((one for one in (plain.with_suffix(".py"), plain / "__init__.py") if one.is_file()), None)


def _names(tree: ast.Module) -> Iterator[str]:
    """Yield what may be a module in the imports of a source, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{one.name}" for one in node.names)
