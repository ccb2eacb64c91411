"""A composition's text in other places: variables, folders, ports, order."""

from pathlib import Path

import pytest

from stack.installation import REPOSITORY, StackError
from stack.processes import wait_until
from stack.rehearsal.composition import Composition
from stack.rehearsal.running import Rehearsal
from stack.rehearsal.variables import drawn

FILE = """
services:
  shop:
    expose: ["8000", "8001"]
    entrypoint: [sh, -c]
    command:
      - echo "$$WORD ${WORD:?set WORD}" > /tmp/said; serve --host 0.0.0.0 --port 8000 --dir /var/lib/shop/x /opt/vitrine
    environment:
      CLOCK: http://clock:9000/shop:8000
      LOG: /tmp/log/tmp/x
      ALIKE: a/tmp /tmp-2 my-clock:9000
    tmpfs: ["/tmp:size=1m"]
    volumes: ["shop:/var/lib/shop", "${DATA:?set DATA}:/data:ro"]
    secrets: [key]
    depends_on:
      clock: {condition: service_healthy}
    healthcheck: {test: [CMD-SHELL, "test -e /data && ask 127.0.0.1:8001 $$HOME"]}
  clock:
    expose: ["9000"]
    command: tick --every '1 s' --key /run/secrets/key
    secrets: [key]
    depends_on:
      base: {condition: service_completed_successfully}
    healthcheck: {test: [CMD, ask, clock]}
  base:
    command: "true"
    healthcheck: {disable: true}
secrets:
  key: {file: "${KEY:?set KEY}"}
"""


@pytest.fixture
def composition(tmp_path: Path) -> Composition:
    file = tmp_path / "compose.yml"
    file.write_text(FILE)
    (tmp_path / "data").mkdir()
    variables = {"WORD": "so", "DATA": str(tmp_path / "data"), "KEY": "/etc/key"}
    return Composition(tmp_path / "stage", variables, file)


def test_nothing_but_places_is_exchanged(composition: Composition, tmp_path: Path) -> None:
    shop, stage = composition.service("shop"), tmp_path / "stage"
    own, other, clock = (composition.ports[place] for place in (("shop", 8000), ("shop", 8001), ("clock", 9000)))
    assert shop.command == (
        "sh", "-c", f'echo "$WORD so" > {stage}/services/shop/tmp/said; serve --host 127.0.0.1 --port {own} '
                    f"--dir {stage}/volumes/shop/x {REPOSITORY}")
    assert shop.environment == {
        "CLOCK": f"http://127.0.0.1:{clock}/127.0.0.1:{own}",
        # In one pass: the folder's own name, which has a /tmp in it, is not exchanged again.
        "LOG": f"{stage}/services/shop/tmp/log/tmp/x",
        "ALIKE": "a/tmp /tmp-2 my-clock:9000",
    }
    assert shop.health == ("/bin/sh", "-c", f"test -e {tmp_path}/data && ask 127.0.0.1:{other} $HOME")
    assert composition.service("clock").command == ("tick", "--every", "1 s", "--key", "/etc/key")
    assert (composition.service("clock").health, composition.service("base").health) == (("ask", "clock"), ())
    assert (stage / "volumes" / "shop").is_dir() and (stage / "services" / "shop" / "tmp").is_dir()


def test_everything_starts_after_what_it_needs(composition: Composition) -> None:
    assert composition.order(["shop"]) == ["base", "clock", "shop"]
    assert composition.order(["base", "shop", "clock"]) == ["base", "clock", "shop"]


def test_a_variable_without_a_value_is_named(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text("services: {shop: {command: 'echo ${WORD:?set WORD}'}}")
    with pytest.raises(StackError, match="needs WORD, and the rehearsal gives it no value"):
        Composition(tmp_path, {}, file).service("shop")


def test_a_port_that_is_not_exposed_is_named(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text("services: {shop: {command: call clock:9001}, clock: {expose: ['9000']}}")
    with pytest.raises(StackError, match="shop asks for clock:9001, and clock does not expose 9001"):
        Composition(tmp_path, {}, file).service("shop")


def test_the_rehearsal_has_a_value_for_every_variable(repository: Path, tmp_path: Path) -> None:
    lines = (repository / ".env.example").read_text(encoding="utf-8").splitlines()
    asked = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    values = drawn(tmp_path, tmp_path / "kiosk")
    assert set(values) == asked
    assert all(values.values()) and values["SHOP_NAME"] == "kiosk"
    assert len({values[name] for name in asked if name.endswith(("PASSWORD", "SECRET", "KEY"))}) == 15


def test_every_service_of_the_real_file_can_be_read(tmp_path: Path) -> None:
    composition = Composition(tmp_path / "stage", drawn(tmp_path, tmp_path / "kiosk"))
    for name in composition.names:
        service = composition.service(name)
        told = " ".join([*service.command, *service.environment.values(), *service.health])
        # A place of a container that is left over would be one of this machine.
        assert not any(place in told for place in ("0.0.0.0", "/opt/airflow/", "/var/lib/", "/run/secrets", "${")), told
    assert composition.order(composition.names).index("worker") > composition.order(composition.names).index("mlflow")


def write(folder: Path, services: str) -> Rehearsal:
    file = folder / "compose.yml"
    file.write_text(services)
    return Rehearsal(Composition(folder / "stage", {}, file))


def test_a_service_that_ends_too_early_is_named_with_its_last_words(tmp_path: Path) -> None:
    rehearsal = write(tmp_path, """
services:
  shop:
    command: sh -c 'echo no shelf; exit 7'
    healthcheck: {test: [CMD, "false"]}
  page:
    command: sleep 60
    depends_on: {shop: {condition: service_healthy}}
""")
    with pytest.raises(StackError, match=r"(?s)shop ended with status 7; .*shop.log ends with:\nno shelf"):
        rehearsal.up("page")
    rehearsal.stop()
    assert rehearsal.alive() == []


def test_what_a_service_leaves_behind_is_ended_too(tmp_path: Path) -> None:
    rehearsal = write(tmp_path, """
services:
  shop:
    command: sh -c 'setsid sleep 600 & echo open > /tmp/door; exec sleep 600'
    tmpfs: [/tmp]
    healthcheck: {test: [CMD, test, -s, /tmp/door]}
""")
    rehearsal.up("shop")
    wait_until("both", lambda: len(rehearsal.alive()) == 2, rehearsal.process("shop"), rehearsal.log_file("shop"), 10)
    rehearsal.stop()
    assert rehearsal.alive() == []
