"""Services of docker-compose.yml as processes of this machine, for tests."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack.airflow_client import AirflowClient
from stack.rehearsal.composition import Composition
from stack.rehearsal.doors import Doors
from stack.rehearsal.running import Rehearsal
from stack.rehearsal.variables import drawn, secrets_of


@dataclass
class Stage:
    """A rehearsal with what a person knows of it."""

    variables: dict[str, str]
    composition: Composition
    rehearsal: Rehearsal
    doors: Doors

    def airflow(self, patience_s: float) -> AirflowClient:
        """A client of its Airflow, which asks again for so long."""
        return AirflowClient(f"http://127.0.0.1:{self.composition.ports['api-server', 8080]}",
                             self.variables["AIRFLOW_ADMIN_PASSWORD"], patience_s)

    def shown(self) -> list[str]:
        """Where secrets stand in a log or in the arguments of a process."""
        found, places = self.rehearsal.shown(secrets_of(self.variables))
        assert places > 4
        return found


@contextmanager
def staged(folder: Path, shop: Path, also: Mapping[str, Mapping[str, str]]) -> Iterator[Stage]:
    """A composition in which nothing runs yet; all of it is ended afterwards.

    Args:
        folder: its volumes and logs go below it.
        shop: folder of the shop's tables.
        also: service -> variables beyond those of the file.
    """
    if shutil.which("wget") is None:
        pytest.skip("wget is not on this machine; images of the composition ask by it how they are")
    home = folder / "rehearsal"
    home.mkdir()
    variables = drawn(home, shop)
    composition = Composition(home, variables)
    made = Stage(variables, composition, Rehearsal(composition, also), Doors(composition, variables))
    try:
        yield made
    finally:
        made.rehearsal.stop()
