"""What pydantic finds wrong with what a person has typed or written, in words for that person."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipelines.artifacts import read_json
from pipelines.errors import CorruptArtifact, SettingsError

M = TypeVar("M", bound=BaseModel)
_MOST = 5  # faults of a file: who mends the first ones sees the others


def faults_of(error: ValidationError, lead: str = "") -> str:
    """`FIELD: what is wrong with it`, one after another; without the values, of which one may be a password.

    Args:
        error: what pydantic raised.
        lead: before each field, such as -- of an option.
    """
    return "; ".join(_told(error, lead))


def load_file(kind: type[M], path: Path, what: str, docs: str) -> M:
    """A JSON file that a person wrote.

    Args:
        kind: what it is to be.
        path: of the file.
        what: it is, for the message: "an experiment".
        docs: file that describes it.

    Raises:
        SettingsError: it cannot be read or is something else; the message names the fields.
    """
    try:
        return kind.model_validate(read_json(path))
    except ValidationError as error:
        raise SettingsError(f"{path} is no {what}: {'; '.join(_told(error)[:_MOST])}; see {docs}") from error
    except (CorruptArtifact, OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}; give a JSON file, see {docs}") from error


def _told(error: ValidationError, lead: str = "") -> list[str]:
    return [f"{lead}{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
