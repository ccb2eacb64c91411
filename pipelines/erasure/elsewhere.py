"""A person in all other files of an installation: MLflow's, logs, databases, whatever lies below its home."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.erasure.files import TABLES, files_below, mentions, rows_of
from pipelines.erasure.person import Person
from pipelines.mlflow_place import artifact_folders
from pipelines.settings import Settings


@dataclass
class Elsewhere:
    """What was found.

    Attributes:
        files, size: that were searched, and their bytes, without those of MLflow.
        mlflow_files, mlflow_size: of these.
        of_mlflow: tables with rows of the person among MLflow's artefacts, which go.
        tables: other tables with such rows, which are not ours to remove: the source's, or copies that people made.
        mentioned: files with an id of the person among their bytes.
    """

    files: int = 0
    size: int = 0
    mlflow_files: int = 0
    mlflow_size: int = 0
    of_mlflow: list[Path] = field(default_factory=list)
    tables: list[Path] = field(default_factory=list)
    mentioned: list[Path] = field(default_factory=list)


def search_elsewhere(places: Settings, person: Person, searched: Iterable[Path]) -> Elsewhere:
    """Look through every file below home, every byte of it, but for the places that were `searched` already.

    Tables are read by their rows, for they are compressed; in any other file an id that stands by itself counts, be
    it by coincidence.
    """
    found, done = Elsewhere(), tuple(path.resolve() for path in searched)
    mlflow = tuple(folder.resolve() for folder in artifact_folders(places))
    for path in files_below(places.home.resolve()):
        if any(path.is_relative_to(one) for one in done):
            continue
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            continue
        if is_of_mlflow := any(path.is_relative_to(folder) for folder in mlflow):
            found.mlflow_files, found.mlflow_size = found.mlflow_files + 1, found.mlflow_size + size
        else:
            found.files, found.size = found.files + 1, found.size + size
        if path.suffix in TABLES:
            if rows_of(path, person).number:
                (found.of_mlflow if is_of_mlflow else found.tables).append(path)
        elif mentions(path, person):
            found.mentioned.append(path)
    return found
