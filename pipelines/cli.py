"""The command `vitrine`: every stage by itself, the whole retrain, and what one asks around it."""

import getpass
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import ValidationError
from rich.console import Console

from pipelines import ask, cli_ablate, cli_backtest, cli_experiments, cli_lake, cli_releases, cli_rules, cli_serve
from pipelines.addresses import redacted
from pipelines.cli_drill import drill
from pipelines.cli_erase import erase_user
from pipelines.cli_feeds import export_feeds
from pipelines.cli_housekeeping import housekeeping
from pipelines.cli_refresh import refresh_catalogue
from pipelines.contracts import Document, Origin
from pipelines.errors import GateRejected, SettingsError, VitrineError
from pipelines.given_settings import parse_settings
from pipelines.retrain import STAGES, RetrainParams, check_settings, default_as_of, resolved, run_stage, upstream_of
from pipelines.revision import git_revision
from pipelines.settings import load_settings
from pipelines.train_settings import TrainSettings
from pipelines.validation import faults_of

SEARCHED = ("features", "train")  # what a search may be told, for it ends with the training

Checked = TypeVar("Checked", bound=Document)

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="markdown", pretty_exceptions_enable=False,
    help="A shop's recommendations, retrained, judged and released.",
)
app.add_typer(cli_releases.app)
app.add_typer(cli_ablate.app)
app.add_typer(cli_backtest.app)
app.add_typer(cli_serve.app)
app.add_typer(cli_lake.app, name="lake")
app.add_typer(cli_rules.app, name="rules")
app.add_typer(cli_experiments.app, name="experiment")
console = Console()

SourceOption = Annotated[str, typer.Option("--data", help="Folder or Ibis URL with events, items and users.")]
AsOf = Annotated[datetime | None, typer.Option(
    help="Events before this UTC moment count. Default: just after the last event.",
    formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])]
SpecOption = Annotated[Path | None, typer.Option(help="TOML file that overrides names, kinds and weights.")]
Days = Annotated[int | None, typer.Option(min=1, help="Only so many days before as_of. Default: the whole log.")]
Set = Annotated[list[str] | None, typer.Option(
    "--set", metavar="STAGE.FIELD=VALUE", help="Change a stage's setting; repeatable.")]
Upstream = Annotated[Path, typer.Argument(
    help="Folder that the stage before this one printed.", exists=True, file_okay=False)]
Reason = Annotated[str, typer.Option(help="Why; goes into the release record.")]
DryRun = Annotated[bool, typer.Option(help="Do everything but the release.")]
Replay = Annotated[bool, typer.Option(help="Reproduce a past day: judge by what was live then, promote nothing.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="At most so many epochs.")]


@app.command()
def check(data: Annotated[str, typer.Argument(help="Folder or Ibis URL.")], spec: SpecOption = None) -> None:
    """Check a shop's tables against the data contract; nothing is written. Exit status 2 where they break it.

    Example: `vitrine check ../shop`
    """
    from pipelines.check import check as run
    from pipelines.check import render
    from pipelines.shop_spec import load_spec

    report = run(data, load_spec(data, spec))
    render(report, console)
    if report.errors:
        raise typer.Exit(2)


@app.command()
def sample(
    out: Annotated[Path, typer.Argument(help="Folder to write; must be new or empty.")],
    products: Annotated[int, typer.Option(min=50)] = 2000,
    customers: Annotated[int, typer.Option(min=50)] = 5000,
    events: Annotated[int, typer.Option(min=500)] = 60_000,
    weeks: Annotated[int, typer.Option(min=4)] = 26,
    seed: int = 7,
) -> None:
    """Generate a luxury shop whose tastes follow the features, with its best reachable recall.

    Example: `vitrine sample .vitrine/sample`
    """
    from pipelines.sample import write_sample

    if out.exists() and any(out.iterdir()):
        raise SettingsError(f"{out} is not empty: give a new folder, nothing is overwritten")
    truth = write_sample(out, seed=seed, products=products, customers=customers, events=events, weeks=weeks)
    console.print_json(json.dumps(truth))


@app.command()
def ingest(data: SourceOption, as_of: AsOf = None, window_days: Days = None, spec: SpecOption = None) -> None:
    """Validate the source and copy its window into day partitions.

    Example: `vitrine ingest --data ../shop --as-of 2026-06-28`
    """
    params = _params(data, as_of, spec, window_days=window_days)
    _say("ingest", run_stage("ingest", None, params, _origin(params.reason), load_settings().of_shop(params.shop)))


def _stage_command(name: str, summary: str, before: str) -> None:
    """Add the command of a stage that takes one folder and settings."""

    def command(upstream: Upstream, settings: Set = None) -> None:
        _say(name, _run(name, upstream, settings))

    command.__doc__ = f"{summary}\n\nExample: `vitrine {name} .vitrine/artifacts/{before}/KEY`"
    app.command(name=name)(command)


_stage_command("features", "Encode an ingested window: vocabularies, histories and the split.", "ingest")
_stage_command("train", "Train the two towers on a snapshot.", "features")
_stage_command("evaluate", "Score the model, the baselines and the live release on the same events.", "train")
_stage_command("register", "Write the MLflow run and the model version.", "evaluate")
_stage_command("index", "Build the index, measure its recall and seal the bundle.", "register")
_stage_command("gate", "Judge a sealed bundle.", "index")


@app.command()
def promote(upstream: Upstream, reason: Reason = "retrain", dry_run: DryRun = False) -> None:
    """Release what the gate accepted: one record is appended to the release log.

    Example: `vitrine promote .vitrine/artifacts/gate/KEY --reason "spring collection"`
    """
    _say("promote", _run("promote", upstream, None, reason=reason, dry_run=dry_run))


@app.command()
def retrain(
    data: SourceOption, as_of: AsOf = None, window_days: Days = None, epochs: Epochs = None, spec: SpecOption = None,
    dry_run: DryRun = False, replay: Replay = False, reason: Reason = "retrain", settings: Set = None,
) -> None:
    """Run all stages in order, without Airflow. Exit status 3 where the gate refused.

    Example: `vitrine retrain --data ../shop --as-of 2026-06-28`
    """
    params = _params(data, as_of, spec, window_days=window_days, epochs=epochs, dry_run=dry_run, replay=replay,
                     reason=reason, settings=parse_settings(settings))
    check_settings(params)
    contract: dict[str, Any] | None = None
    for stage in STAGES:
        contract = run_stage(stage, contract, params, _origin(reason), load_settings().of_shop(params.shop))
        _say(stage, contract)


@app.command()
def tune(
    data: SourceOption,
    minutes: Annotated[float, typer.Option(help="For this call; another one goes on where it ended.")] = 30,
    trials: Annotated[int | None, typer.Option(help="End with so many in all. Default: until time is up.")] = None,
    study: Annotated[str | None, typer.Option(help="Name of the search. Default: made from data and ranges.")] = None,
    as_of: AsOf = None, window_days: Days = None, spec: SpecOption = None, settings: Set = None,
) -> None:
    """Search the training's settings on validation recall; each trial is a nested MLflow run.

    The first trial is the default, so the search never ends below it. A setting given with --set is fixed and not
    searched. The same command again goes on, also after a kill; what it prints is ready for `vitrine retrain`.

    Example: `vitrine tune --data ../shop --minutes 30`

    Example: `vitrine tune --data ../shop --trials 40 --set train.dimension=64 --set train.max_epochs=10`
    """
    from pipelines.tune import Budget, best_trials
    from pipelines.tune import tune as run

    budget = Budget(minutes, trials)
    params = _params(data, as_of, spec, window_days=window_days, settings=parse_settings(settings, SEARCHED))
    found = run(params, _origin("tune"), load_settings().of_shop(params.shop), budget, study)
    console.print(best_trials(found))
    console.print(f"study {found.study}, MLflow run {found.run_id}", highlight=False, soft_wrap=True)
    console.print(f"vitrine retrain --data {redacted(data)} {found.options}", highlight=False, soft_wrap=True,
                  markup=False)


@app.command()
def benchmark(
    data: Annotated[Path, typer.Option(help="Folder of the measuring protocol.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option(help="Parquet file of predictions to write.")],
    model: Annotated[str, typer.Option(help="two_tower, ease, als, itemknn or popularity.")] = "two_tower",
    split: Annotated[str, typer.Option(help="valid or test.")] = "test",
    settings: Set = None,
) -> None:
    """Fit on train, tune on valid, and write predictions for the protocol's scorer.

    Example: `vitrine benchmark --data ../shared/datasets/xwines --out predictions.parquet`
    """
    from pipelines.benchmark import benchmark as run

    own = parse_settings(settings, ("train",)).get("train")
    console.print_json(json.dumps(run(data, out, model, split, _checked(TrainSettings, **own) if own else None)))


for further in (*ask.COMMANDS, refresh_catalogue, export_feeds, erase_user, housekeeping, drill):
    app.command()(further)


def _params(data: str, as_of: datetime | None, spec: Path | None, **rest: Any) -> RetrainParams:
    source, path = resolved(data), str(spec.resolve()) if spec else None
    moment = default_as_of(source, path) if as_of is None else as_of.replace(tzinfo=UTC)
    if as_of is None:
        console.print(f"as_of is {moment.isoformat()}: just after the last event of {redacted(data)}")
    return _checked(RetrainParams, source=source, as_of=moment, spec=path, **rest)


def _checked(kind: type[Checked], **fields: Any) -> Checked:
    try:
        return kind(**fields)
    except ValidationError as error:
        raise SettingsError(faults_of(error)) from error


def _run(name: str, folder: Path, settings: Sequence[str] | None, **rest: Any) -> dict[str, Any]:
    """Run a stage on the contract in `folder`; what it was made from says the remaining parameters."""
    contract = upstream_of(name, folder)
    root: Mapping[str, Any] = contract
    while not ("source" in root and "window" in root):
        inner = [value for value in root.values() if isinstance(value, dict) and "key" in value]
        if not inner:
            raise SettingsError(f"{folder} does not say what it was made from: start again with `vitrine ingest`")
        root = inner[0]
    params = _checked(
        RetrainParams, source=root["source"], as_of=root["window"]["as_of"],
        settings=parse_settings(settings, (name,)), **rest)
    return run_stage(name, contract, params, _origin(params.reason), load_settings().of_shop(params.shop))


def _origin(reason: str) -> Origin:
    return Origin(actor=getpass.getuser(), reason=reason, git_revision=git_revision())


def _say(stage: str, contract: Mapping[str, Any]) -> None:
    own = {k: v for k, v in contract.items() if not isinstance(v, dict | list) and v is not None and k != "path"}
    console.print(f"[bold]{stage}[/bold]  {', '.join(f'{k} {str(v)[:19]}' for k, v in own.items())}", highlight=False)
    if "path" in contract:
        console.print(f"  {contract['path']}", highlight=False, soft_wrap=True)


def main() -> None:
    """Entry point: errors that a user is meant to read end in one message and their own exit status."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    logging.getLogger("vitrine").setLevel(logging.INFO)
    try:
        app()
    except GateRejected as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_status)
    except VitrineError as error:
        print(f"vitrine: {error}", file=sys.stderr)
        sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
