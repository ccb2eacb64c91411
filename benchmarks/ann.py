"""Approximate search: Vitrine's own index, built and tuned by itself, beside hnswlib tuned to the same recall.

    uv pip install hnswlib==0.8.0     # not of the lock: it has no wheels, and not every machine has a C++ compiler
    python -m benchmarks.ann --items 1000000
    python -m benchmarks.ann --items 10000000 --no-hnswlib

Vectors of length 1 around 1,000 centres, and queries drawn like them; the index is tuned with other queries than those
that are timed. Both sides answer all queries in one call, in turn, on one thread. Seconds are of processor time. A
build of ours holds everything: the exact answers that recall is measured by, the tuning and writing the files; one of
hnswlib's is the insertion alone. hnswlib's M is the one that is fastest at the recall on the items of a twentieth of
the centres, which lie as close as all of them do; its ef is the smallest that finds as much as ours does of the queries
that both are tuned with. Memory is what both write to disk, which is what they hold: ours with the vectors, which the
graph holds too.
"""

import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from time import process_time
from typing import Annotated, Any

import numpy as np
import typer
from threadpoolctl import threadpool_limits

from benchmarks.side_by_side import Comparison, Side
from pipelines.index import IndexSettings, build_scann
from pipelines.index_tuning import ExactAnswers
from serving.bundle_files import CONFIG
from serving.encoding import Floats
from serving.index_files import IndexConfig
from serving.retriever import Rows, ScannRetriever

CENTRES, NOISE = 1000, 0.5  # spread about a centre beside that of the centres, in each column
GRAPHS, EF_CONSTRUCTION = (8, 16, 32), 100  # hnswlib's M and its care while inserting
_LEAST_EF, _LAST_EF = 10, 4000
_DRAWN = 100_000  # vectors drawn at once
_SHARE = 20  # one in so many centres is what hnswlib's M is chosen with


def clustered(items: int, dimension: int, rng: np.random.Generator, centres: Floats | None = None) -> Floats:
    """Vectors [items, dimension] of length 1 around `centres`, which are drawn where none are given."""
    if centres is None:
        centres = drawn_centres(dimension, rng)
    vectors = np.empty((items, dimension), np.float32)
    for first in range(0, items, _DRAWN):
        part = vectors[first : first + _DRAWN]
        part[:] = rng.standard_normal(part.shape, np.float32) * np.float32(NOISE)
        part += centres[rng.integers(len(centres), size=len(part))]
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def drawn_centres(dimension: int, rng: np.random.Generator) -> Floats:
    """Centres [CENTRES, dimension], standard normal."""
    return rng.standard_normal((CENTRES, dimension), np.float32)


class Hnsw:
    """hnswlib's graph with its inner product, on one thread."""

    def __init__(self, vectors: Floats, links: int) -> None:
        """Insert all `vectors`; `links` is its M.

        Raises:
            ImportError: hnswlib is not installed.
        """
        import hnswlib

        self.links = links
        self.graph = hnswlib.Index("ip", vectors.shape[1])
        self.graph.init_index(len(vectors), M=links, ef_construction=EF_CONSTRUCTION, random_seed=1)
        self.graph.set_num_threads(1)
        self.graph.add_items(vectors, num_threads=1)

    def search(self, queries: Floats, k: int) -> Rows:
        """Rows [queries, k]."""
        found, _ = self.graph.knn_query(queries, k, num_threads=1)
        rows: Rows = found.astype(np.int64)
        return rows

    def reach(self, answers: ExactAnswers, target: float) -> int:
        """Set the smallest ef, to a twentieth, that finds the share `target`; LookupError where none does."""
        low, high = 0, _LEAST_EF
        while self._recall(answers, high) < target:
            if high >= _LAST_EF:
                raise LookupError(f"hnswlib with M={self.links} does not reach recall {target} at ef {high}")
            low, high = high, 2 * high
        while high - low > max(1, high // 20) and high > _LEAST_EF:
            middle = (low + high) // 2
            low, high = (low, middle) if self._recall(answers, middle) >= target else (middle, high)
        self.graph.set_ef(high)
        return high

    def _recall(self, answers: ExactAnswers, ef: int) -> float:
        self.graph.set_ef(ef)
        return answers.recall_of(self.search(answers.queries, answers.k))


def best_links(vectors: Floats, queries: Floats, k: int, target: float) -> int:
    """The M that answers fastest at the recall."""
    answers, seconds = ExactAnswers(vectors, queries, k), dict[int, float]()
    for links in GRAPHS:
        graph = Hnsw(vectors, links)
        try:
            ef = graph.reach(answers, target)
        except LookupError as error:
            typer.echo(str(error))
            continue
        (seconds[links],) = in_turn([lambda graph=graph: graph.search(queries, k)], 5)  # type: ignore[misc]
        typer.echo(f"hnswlib on {len(vectors):,}: M={links} ef={ef} {1e6 * seconds[links] / len(queries):.1f} us")
    return min(seconds, key=lambda links: seconds[links])


def in_turn(sides: list[Callable[[], object]], rounds: int) -> list[float]:
    """Processor seconds of the fastest of several rounds in which each side has its turn; one more goes first."""
    best = [float("inf")] * len(sides)
    for number in range(rounds + 1):
        for place, side in enumerate(sides):
            began = process_time()
            side()
            if number:
                best[place] = min(best[place], process_time() - began)
    return best


def measured(build: Callable[[], Any]) -> tuple[Any, float]:
    """What `build` makes, and its processor seconds."""
    began = process_time()
    made = build()
    return made, process_time() - began


def compare(
    items: int, dimension: int, queries: int, target: float, k: int, seed: int, rounds: int, with_hnswlib: bool,
    folder: Path,
) -> Iterator[dict[str, Any]]:
    """Documents of what was found, the index of ours first."""
    rng = np.random.default_rng(seed)
    centres = drawn_centres(dimension, rng)
    tuning, asked = (clustered(size, dimension, rng, centres) for size in (500, queries))
    vectors = clustered(items, dimension, rng, centres)
    settings = IndexSettings(recall_k=k, recall_target=target)
    _, ours_s = measured(lambda: build_scann(vectors, tuning, settings, folder))
    config = IndexConfig.model_validate_json((folder / CONFIG).read_text(encoding="utf-8"))
    ours, load_s = measured(lambda: ScannRetriever.load(folder, config, vectors))
    answers = ExactAnswers(vectors, asked, k)
    found = {"recall": answers.recall(ours), "build_s": ours_s, "load_s": load_s,
             "peak_mb": getrusage(RUSAGE_SELF).ru_maxrss / 2**10,
             "memory_mb": sum(path.stat().st_size for path in folder.iterdir()) / 2**20,
             **config.model_dump(exclude={"curve", "kind"}),
             "curve": [point.model_dump() for point in config.curve or ()]}
    if not with_hnswlib:
        (seconds,) = in_turn([lambda: ours.search(asked, k)], rounds)
        yield {"ours": found | {"us": 1e6 * seconds / queries, "queries_per_s": queries / seconds}}
        return
    found_by_ours = ExactAnswers(vectors, tuning, k)
    target = max(target, found_by_ours.recall(ours))
    few = centres[: CENTRES // _SHARE]
    links = best_links(clustered(items // _SHARE, dimension, rng, few), clustered(500, dimension, rng, few), k, target)
    graph, theirs_s = measured(lambda: Hnsw(vectors, links))
    ef = graph.reach(found_by_ours, target)
    recall = answers.recall_of(graph.search(asked, k))
    seconds, theirs = in_turn([lambda: ours.search(asked, k), lambda: graph.search(asked, k)], rounds)
    yield {"ours": found | {"us": 1e6 * seconds / queries, "queries_per_s": queries / seconds}}
    yield {"hnswlib": {"recall": recall, "M": links, "ef": ef, "ef_construction": EF_CONSTRUCTION, "build_s": theirs_s,
                       "memory_mb": graph.graph.index_file_size() / 2**20, "us": 1e6 * theirs / queries,
                       "queries_per_s": queries / theirs}}
    for claim in (
        Comparison(f"Queries at recall@{k} {target:.3f}",
                   Side("Vitrine", queries, seconds, f"recall {found['recall']:.4f}, {config.leaves_to_search} of "
                        f"{config.leaves} leaves, {config.reorder} candidates"),
                   Side("hnswlib", queries, theirs, f"recall {recall:.4f}, M={links}, ef={ef}"), 6, "queries"),
        Comparison("Building", Side("Vitrine", items, ours_s, "with tuning and files"),
                   Side("hnswlib", items, theirs_s, f"insertion alone, ef_construction={EF_CONSTRUCTION}"), 5, "items"),
    ):
        typer.echo(claim.text())
        yield claim.document()
    typer.echo(f"Memory: {found['memory_mb']:,.0f} MB, hnswlib {graph.graph.index_file_size() / 2**20:,.0f} MB")


def main(
    items: Annotated[int, typer.Option(min=1000)] = 1_000_000,
    dimension: Annotated[int, typer.Option(min=2)] = 64,
    queries: Annotated[int, typer.Option(min=1, help="That are timed, all in one call.")] = 2000,
    recall: Annotated[float, typer.Option(min=0.01, max=1, help="At which a query searches enough.")] = 0.95,
    k: Annotated[int, typer.Option(min=1)] = 10,
    seed: Annotated[int, typer.Option()] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Of which the fastest counts.")] = 5,
    hnswlib: Annotated[bool, typer.Option(help="Build hnswlib's graph too.")] = True,
    out: Annotated[Path | None, typer.Option(help="JSON of the figures.")] = None,
) -> None:
    """Build both, tune both, ask both in turn, and print the ratios."""
    if hnswlib and find_spec("hnswlib") is None:
        raise typer.BadParameter("it is not installed: `uv pip install hnswlib==0.8.0`, or say --no-hnswlib",
                                 param_hint="--hnswlib")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    with tempfile.TemporaryDirectory(prefix="vitrine-ann-") as name, threadpool_limits(1):
        figures = list(compare(items, dimension, queries, recall, k, seed, rounds, hnswlib, Path(name) / "index"))
    typer.echo(json.dumps({name: value for name, value in figures[0]["ours"].items() if name != "curve"}))
    if out is not None:
        out.write_text(json.dumps(figures, indent=1), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
