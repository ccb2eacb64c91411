"""The command `vitrine`, in this process and through its entry point: what it says, and its exit statuses."""

import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from pipelines import cli
from pipelines.artifacts import load_contract, seal, stage_key
from pipelines.cli import app
from pipelines.contracts import Ingested, Sealed, Snapshot, Verdict
from pipelines.errors import SettingsError
from pipelines.gate import at_least
from pipelines.given_settings import parse_settings
from pipelines.retrain import STAGES
from serving.store import ReleaseStore
from tests.release_world import make_registered
from tests.world import write_world

# Those of groups with the group's name: "rules evaluate".
COMMANDS = [words for name, command in get_command(app).commands.items()
            for words in [f"{name} {inner}" for inner in getattr(command, "commands", ())] or [name]]


@dataclass(frozen=True)
class Answer:
    """What one call of the command left behind."""

    status: int
    out: str
    error: str


Vitrine = Callable[..., Answer]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation of the test's own."""
    for name in ("ARTIFACTS", "STORE", "MODEL", "EXPERIMENT", "SOURCE"):
        monkeypatch.delenv(f"VITRINE_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("VITRINE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def vitrine(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Vitrine]:
    """Call the command as a shell does."""
    level = logging.getLogger("vitrine").level
    monkeypatch.setattr(cli.console, "_width", 200)

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["vitrine", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        said = capsys.readouterr()
        return Answer(int(end.value.code or 0), said.out, said.err)

    yield call
    logging.getLogger("vitrine").setLevel(level)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    return write_world(tmp_path / "shop")


def folder_in(answer: Answer) -> Path:
    """The folder that a stage printed."""
    return Path(answer.out.splitlines()[-1].strip())


def test_every_stage_is_a_command() -> None:
    assert set(STAGES) <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_shows_an_example(name: str) -> None:
    answer = CliRunner().invoke(app, [*name.split(), "--help"], env={"TERMINAL_WIDTH": "200"})
    assert answer.exit_code == 0
    assert f"Example: vitrine {name} " in answer.output


@pytest.mark.parametrize(("pairs", "expected"), [
    (None, {}),
    (["train.dimension=32"], {"train": {"dimension": 32}}),
    (["train.dropout=0.25", "train.blocks=1", "gate.min_recall=1e-3"],
     {"train": {"dropout": 0.25, "blocks": 1}, "gate": {"min_recall": 0.001}}),
    (['evaluate.baselines=["als"]', "evaluate.ks=[5, 10]"], {"evaluate": {"baselines": ["als"], "ks": [5, 10]}}),
    (["train.search.steps=9", "train.search.seed=1", "train.seed=2"],
     {"train": {"search": {"steps": 9, "seed": 1}, "seed": 2}}),
    # What is no JSON is text, and only the first = divides.
    (["register.intended_use=a=b, or so"], {"register": {"intended_use": "a=b, or so"}}),
    (["train.seed=1", "train.seed=2"], {"train": {"seed": 2}}),
])
def test_settings_are_read_as_json_or_text(pairs: list[str] | None, expected: dict[str, Any]) -> None:
    assert parse_settings(pairs) == expected


def test_a_group_of_settings_has_no_value_of_its_own() -> None:
    with pytest.raises(SettingsError, match=r"--set train.search.steps=9: search has the value 3 by another --set"):
        parse_settings(["train.search=3", "train.search.steps=9"])


# ingest and promote have no settings, so that one for them would change nothing in silence.
@pytest.mark.parametrize("pair", ["nonsense", "train=3", "train.=3", "train.search.=3", "train..steps=3",
                                  ".dimension=3", "towers.dimension=3", "", "ingest.days=3", "promote.force=true"])
def test_settings_of_another_form_are_refused_by_name(pair: str) -> None:
    with pytest.raises(SettingsError, match=r"write STAGE\.FIELD=VALUE") as error:
        parse_settings([pair])
    assert f"--set {pair}:" in str(error.value)


def test_check_tells_fit_from_unfit(vitrine: Vitrine, home: Path, shop: Path, tmp_path: Path) -> None:
    assert vitrine("check", shop).status == 0
    (shop / "events.parquet").unlink()
    answer = vitrine("check", shop)
    assert answer.status == 2
    assert "missing-table" in answer.out
    assert "1 error: not fit for a retrain." in answer.out
    answer = vitrine("check", tmp_path / "nowhere")
    assert answer.status == 2
    assert f"{tmp_path / 'nowhere'}" in answer.error
    assert not home.exists()


def test_ingest_and_features_print_folders_and_are_done_once(vitrine: Vitrine, home: Path, shop: Path) -> None:
    first = vitrine("ingest", "--data", shop, "--as-of", "2026-01-20")
    assert first.status == 0
    assert first.out.startswith("ingest  key ")
    folder = folder_in(first)
    assert folder.parent == home / "artifacts" / "ingest"
    # A time without a zone is UTC, whatever the machine's own is.
    assert load_contract(Ingested, folder).window.as_of.isoformat() == "2026-01-20T00:00:00+00:00"
    assert vitrine("ingest", "--data", shop, "--as-of", "2026-01-20") == first

    second = vitrine("features", folder, "--set", "features.visits=6")
    assert second.status == 0
    snapshot = load_contract(Snapshot, folder_in(second))
    assert snapshot.ingested == load_contract(Ingested, folder)
    assert '"visits": 6' in (Path(snapshot.path) / "spec.json").read_text()
    assert vitrine("features", folder, "--set", "features.visits=6") == second
    assert len(list((home / "artifacts" / "features").iterdir())) == 1


def test_without_as_of_the_whole_log_is_taken_and_said_so(vitrine: Vitrine, tmp_path: Path) -> None:
    # The first user's last step is on day 20 at 9:00:00 (tests/world.py), and nobody's with a number below 60 is
    # later than 9:59:00 of that day: as_of is one second after the last event.
    shop = write_world(tmp_path / "small", users=2)
    answer = vitrine("ingest", "--data", shop)
    assert answer.status == 0
    # User 1 comes at one minute past nine, on day 20 counted from 2026-01-05.
    assert "as_of is 2026-01-24T09:01:01+00:00: just after the last event" in " ".join(answer.out.split())
    assert load_contract(Ingested, folder_in(answer)).last_event.isoformat() == "2026-01-24T09:01:00+00:00"


@pytest.fixture
def ingested(vitrine: Vitrine, shop: Path) -> Path:
    return folder_in(vitrine("ingest", "--data", shop, "--as-of", "2026-01-25"))


@pytest.mark.parametrize(("pair", "said"), [
    ("nonsense", "--set nonsense: write STAGE.FIELD=VALUE"),
    ("features.visitz=6", "features.visitz = 6: Extra inputs are not permitted; settings of features are valid_share"),
    ("features.visits=many", "features.visits = 'many': Input should be a valid integer"),
    ("features.visits=1", "features.visits = 1: Input should be greater than or equal to 2"),
    ("train.dimension=8", "--set train.dimension=8: write STAGE.FIELD=VALUE"),  # of a stage that does not run here
])
def test_a_wrong_setting_is_named(vitrine: Vitrine, home: Path, ingested: Path, pair: str, said: str) -> None:
    answer = vitrine("features", ingested, "--set", pair)
    assert answer.status == 2
    assert answer.error.startswith(f"vitrine: {said}")
    assert not (home / "artifacts" / "features").exists()


def test_the_folder_of_another_stage_is_refused_by_what_it_holds(vitrine: Vitrine, ingested: Path, shop: Path) -> None:
    answer = vitrine("train", ingested)
    assert answer.status == 1
    assert f"{ingested} holds Ingested where Snapshot is needed" in answer.error
    answer = vitrine("train", shop)
    assert answer.status == 2
    assert f"{shop} is not the result of a stage: train needs the folder of a Snapshot" in answer.error
    assert vitrine("train", shop / "nowhere").status == 2


@pytest.mark.parametrize("arguments", [
    ("--epochs", "0"), ("--window-days", "0"), ("--as-of", "yesterday"), ("--reason", ""), ("--set", "train.x"),
])
def test_wrong_options_of_a_retrain_end_it_before_it_begins(
    vitrine: Vitrine, home: Path, shop: Path, arguments: tuple[str, str]
) -> None:
    answer = vitrine("retrain", "--data", shop, *arguments)
    assert answer.status == 2
    assert arguments[0].removeprefix("--") in answer.error
    assert not home.exists()


def test_a_sample_overwrites_nothing(vitrine: Vitrine, shop: Path) -> None:
    before = {path: path.read_bytes() for path in shop.iterdir()}
    answer = vitrine("sample", shop)
    assert answer.status == 2
    assert f"{shop} is not empty" in answer.error
    assert {path: path.read_bytes() for path in shop.iterdir()} == before


def test_a_refusal_of_the_gate_has_an_exit_status_of_its_own(
    vitrine: Vitrine, home: Path, tmp_path: Path, ingested: Path
) -> None:
    # The chain of a verdict, sealed as the stages seal it; the shop it says it is made from is the toy shop.
    registered = make_registered(tmp_path)
    evaluated = registered.evaluated
    snapshot = evaluated.trained.snapshot.model_copy(update={"ingested": load_contract(Ingested, ingested)})
    trained = evaluated.trained.model_copy(update={"snapshot": snapshot})
    registered = registered.model_copy(update={"evaluated": evaluated.model_copy(update={"trained": trained})})
    sealed = Sealed(path=str(tmp_path), key="k", digest="d" * 64, registered=registered, kind="exact", recall=1,
                    recall_k=10)
    check = at_least("recall@10", 0.001, 0.01, "absolute floor")
    verdict = seal(Verdict, tmp_path, "gate", stage_key("gate"),
                   lambda out: {"sealed": sealed, "accepted": False, "checks": (check,)})
    answer = vitrine("promote", verdict.path, "--reason", "spring")
    assert answer.status == 3
    assert "recall@10: 0.0010 is below 0.0100 (absolute floor)" in answer.error
    assert ReleaseStore(home / "store").live() is None
    answer = vitrine("promote", verdict.path, "--reason", "")
    assert (answer.status, answer.error) == (2, "vitrine: reason: String should have at least 1 character\n")
