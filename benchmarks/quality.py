"""The table of recall: every data set by every model, scored by the protocol's own scorer.

Each cell is fitted in a process of its own and kept as a line of a JSON file, so that a sweep that was ended goes
on where it was. The tables in docs/benchmarks.md are made from that file.
"""

import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.errors import SettingsError, VitrineError
from pipelines.revision import REPOSITORY, git_revision
from pipelines.train_settings import TrainSettings

BASELINES = ("popularity", "als", "itemknn", "ease")
TWO_TOWER = "two_tower"
BEGIN, END = "<!-- quality: begin -->", "<!-- quality: end -->"
SLICES = ("new_user", "new_item", "tail_item")
Cell = dict[str, Any]
log = logging.getLogger("quality")


def seeds_of(model: str, seeds: int) -> range:
    """Seeds that a model is fitted with: baselines have none, or hardly depend on it."""
    first = int(TrainSettings().seed)
    # Members take consecutive seeds; two trainings must not share one.
    return range(first, first + 100 * seeds, 100) if model == TWO_TOWER else range(first, first + 1)


def identity(cell: Cell) -> tuple[Any, ...]:
    """What a cell is the result of, apart from the code."""
    return cell["dataset"], cell["split"], cell["model"], cell["seed"]


def run(folder: Path, split: str, model: str, seed: int, scorer: Path) -> Cell:
    """Fit, predict in a child process, and let the scorer judge.

    Raises:
        VitrineError: the child or the scorer failed; its last lines are in the message.
    """
    # Of the code that runs: another commit may come before it ends.
    started, commit = time.monotonic(), (git_revision() or "unknown")[:9]
    with tempfile.TemporaryDirectory(prefix="vitrine-quality-") as scratch:
        lists = Path(scratch) / "predictions.parquet"
        predict(folder, split, model, {"seed": seed} if model == TWO_TOWER else {}, lists)
        seconds = time.monotonic() - started
        scored = judge(folder, lists, split, scorer)
    slices = {name: scored["slices"][name] for name in SLICES if scored["slices"].get(name, {}).get("events")}
    return {"dataset": folder.resolve().name, "split": split, "model": model, "seed": seed,
            "events": scored["events"], "recall@10": scored["recall@10"], "ndcg@10": scored["ndcg@10"],
            "coverage@10": scored["coverage@10"], "slices": slices, "seconds": round(seconds),
            "commit": commit}


def predict(folder: Path, split: str, model: str, settings: Mapping[str, Any], lists: Path) -> None:
    """Fit in a child process, with some of the training's settings changed, and write the predictions `lists`.

    Raises:
        VitrineError: the child failed.
    """
    options = [part for name, value in settings.items() for part in ("--set", f"train.{name}={json.dumps(value)}")]
    _output([sys.executable, "-W", "ignore", "-m", "pipelines.cli", "benchmark", "--data", str(folder.resolve()),
             "--out", str(lists.resolve()), "--model", model, "--split", split, *options])


def judge(folder: Path, lists: Path, split: str, scorer: Path) -> Cell:
    """What the protocol's scorer says of predictions.

    Raises:
        VitrineError: the scorer refuses them.
    """
    said = _output([sys.executable, str(scorer.resolve()), str(folder.resolve()), str(lists.resolve()),
                    "--split", split])
    return dict(json.loads(said))


def _output(command: Sequence[str]) -> str:
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise VitrineError(f"{' '.join(command)} ended with status {done.returncode}; its messages are above")
    return done.stdout


def read(results: Path) -> list[Cell]:
    """Cells of the file, the latest of each."""
    lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
    return list({identity(cell): cell for cell in map(json.loads, lines)}.values())


def table(cells: Iterable[Cell], split: str) -> str:
    """Markdown tables of one split: figures with gains, slices, and what made them."""
    found: dict[str, dict[str, list[Cell]]] = {}
    for cell in sorted(cells, key=lambda c: (c["dataset"], c["model"], c["seed"])):
        if cell["split"] == split:
            found.setdefault(cell["dataset"], {}).setdefault(cell["model"], []).append(cell)
    return "\n\n".join("\n".join(lines) for lines in (_figures(found), _slices(found), _origins(found)))


def _mean(cells: Sequence[Cell], metric: str) -> float:
    return statistics.fmean(cell[metric] for cell in cells)


def _shown(cells: Sequence[Cell] | None) -> str:
    if not cells:
        return "not measured"
    text = f"{_mean(cells, 'recall@10'):.4f} / {_mean(cells, 'ndcg@10'):.4f}"
    if len(cells) > 1:
        spread = [statistics.stdev(cell[metric] for cell in cells) for metric in ("recall@10", "ndcg@10")]
        text += f" (± {spread[0]:.4f} / {spread[1]:.4f}, {len(cells)} seeds)"
    return text.replace("0.", ".")


def _figures(found: dict[str, dict[str, list[Cell]]]) -> Iterator[str]:
    yield f"| data set | two-tower | {' | '.join(BASELINES)} | over ALS | over the best of them |"
    yield "|---|---|" + "---|" * (len(BASELINES) + 2)
    gains: list[tuple[float, float]] = []
    for name, models in found.items():
        row = [name, _shown(models.get(TWO_TOWER)), *(_shown(models.get(model)) for model in BASELINES)]
        if {TWO_TOWER, "als"} <= set(models):
            ours = _mean(models[TWO_TOWER], "recall@10")
            measured = [name for name in BASELINES if name in models]
            als, best = (ours / max(_mean(models[m], "recall@10") for m in of) - 1 for of in (("als",), measured))
            gains.append((als, best))
            row += [f"{als:+.0%}", f"{best:+.0%}"]
        else:
            row += ["", ""]
        yield f"| {' | '.join(row)} |"
    if gains:
        means, least = ([f(column) for column in zip(*gains, strict=True)] for f in (statistics.fmean, min))
        blank = " | " * (len(BASELINES) + 1)
        yield f"| mean{blank} | {means[0]:+.0%} | {means[1]:+.0%} |"
        yield f"| least{blank} | {least[0]:+.0%} | {least[1]:+.0%} |"


def _slices(found: dict[str, dict[str, list[Cell]]]) -> Iterator[str]:
    yield f"| recall@10 by slice | events | two-tower | {' | '.join(BASELINES)} |"
    yield "|---|---|---|" + "---|" * len(BASELINES)
    for name, models in found.items():
        for part in SLICES:
            cells = {model: [cell["slices"][part] for cell in of if part in cell["slices"]]
                     for model, of in models.items()}
            if not any(cells.values()):
                continue
            events = next(of for of in cells.values() if of)[0]["events"]
            shown = [f"{_mean(cells[m], 'recall@10'):.4f}".replace("0.", ".") if cells.get(m) else ""
                     for m in (TWO_TOWER, *BASELINES)]
            yield f"| {name}, {part.replace('_', ' ')} | {events:,} | {' | '.join(shown)} |"


def _origins(found: dict[str, dict[str, list[Cell]]]) -> Iterator[str]:
    yield "| data set | events | coverage@10 of the two-tower | minutes a seed | commit |"
    yield "|---|---|---|---|---|"
    for name, models in found.items():
        ours = models.get(TWO_TOWER, [])
        if ours:
            commits = ", ".join(dict.fromkeys(cell["commit"] for cell in ours))
            yield (f"| {name} | {ours[0]['events']:,} | {_mean(ours, 'coverage@10'):.2f} | "
                   f"{_mean(ours, 'seconds') / 60:.0f} | {commits} |")


def write_table(document: Path, text: str) -> None:
    """Replace what stands between the markers in `document`.

    Raises:
        SettingsError: the document has no markers.
    """
    old = document.read_text(encoding="utf-8")
    if BEGIN not in old or END not in old:
        raise SettingsError(f"{document} has no lines {BEGIN} and {END}: add them where the tables belong")
    before, after = old.split(BEGIN, 1)[0], old.split(END, 1)[1]
    document.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


def main(
    data: Annotated[list[Path], typer.Option(help="Folder of the measuring protocol, or of several; repeatable.",
                                             exists=True, file_okay=False)],
    scorer: Annotated[Path, typer.Option(help="The protocol's score.py.", exists=True)],
    model: Annotated[list[str] | None, typer.Option(help="Only these; repeatable. Default: all.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of the two-tower.")] = 1,
    split: Annotated[str, typer.Option(help="valid while choosing, test once all is chosen.")] = "valid",
    results: Annotated[Path, typer.Option(help="JSON lines, one a cell; cells in it are not run again.")] = Path(
        "docs/quality.jsonl"),
    document: Annotated[Path | None, typer.Option(help="Markdown file whose tables are replaced.")] = None,
    again: Annotated[bool, typer.Option(help="Run cells that the results already hold.")] = False,
) -> None:
    """Measure recall@10 and ndcg@10 of every model on every data set.

    Example: `python -m benchmarks.quality --data ../shared/datasets --scorer ../shared/protocol/score.py`
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    done = set() if again else {identity(cell) for cell in read(results)}
    for folder in (each for parent in data for each in folders(parent)):
        for name in model or (*BASELINES, TWO_TOWER):
            for seed in seeds_of(name, seeds):
                wanted = {"dataset": folder.resolve().name, "split": split, "model": name, "seed": seed}
                if identity(wanted) in done:
                    continue
                cell = run(folder, split, name, seed, scorer)
                log.info("%s", json.dumps(cell))
                results.parent.mkdir(parents=True, exist_ok=True)
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(cell) + "\n")
    text = table(read(results), split)
    print(text)
    if document is not None:
        write_table(document, text)


def folders(parent: Path) -> list[Path]:
    """`parent` itself where it is a data set of events, otherwise those in it.

    Raises:
        SettingsError: there is none.
    """
    if (parent / "events.parquet").exists():
        return [parent]
    found = sorted(path.parent for path in parent.glob("*/events.parquet"))
    if not found:
        raise SettingsError(f"{parent} has no events.parquet, nor has a folder in it: give a folder of the protocol")
    return found


if __name__ == "__main__":
    try:
        typer.run(main)
    except VitrineError as error:
        sys.exit(str(error))
