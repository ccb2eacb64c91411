"""Stage: a registered model becomes a sealed serving bundle with its indexes: one for shoppers, and one each for words
and for pictures where the shop has them.

Below some 20,000 items comparing with every item is the right index. Above, ScaNN: a tree of about
2 sqrt(items) leaves, asymmetric hashing of two columns a block with anisotropic loss (Guo et al. 2020),
and exact scores for the best candidates. How much a query searches is chosen by pipelines/index_tuning.py, which also
leaves the curve of recall against cost in the index's own index.json.

ScaNN ends the whole process over faults in its input, so it is built in a child process:
`python -m pipelines.index JOB`.
"""

import json
import logging
import math
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from pipelines.artifacts import TIMINGS, read_json, seal, stage_key, write_json
from pipelines.contracts import Document, Registered, Sealed
from pipelines.erasure.exclusion import Exclusion
from pipelines.errors import DataError, VitrineError
from pipelines.free_space import require_free
from pipelines.index_tuning import REORDERS, ExactAnswers, tuned
from pipelines.panel import draw, figures
from pipelines.photos import pack_photos
from pipelines.progress import duration, log
from pipelines.releases.opening import open_store
from pipelines.search_spaces import SHOPPERS, Space, spaces
from pipelines.settings import Settings
from serving.bundle import write_bundle
from serving.bundle_files import CONFIG, FIGURES, INDEX_CONFIG, ITEM_VECTORS, KNOWN, PANEL
from serving.doors import ITEM_TEXT, PICTURE_VECTORS
from serving.encoding import Floats
from serving.index_files import IndexConfig
from serving.retriever import ExactRetriever, ScannRetriever, import_scann

STAGE = "index"
_SAMPLE = 100_000  # items that leaves are learned from
# Fields of contracts that name a place or an input rather than content: left out of the bundle, so that
# equal content has an equal digest wherever it was made.
_PLACES = {"path", "key", "source", "events_before", "events_after", "events_erased"}


class IndexSettings(Document):
    """How items are searched.

    Attributes:
        exact_below: catalogues smaller than this are searched exactly.
        recall_k: length of the lists that exact search and the index are compared by.
        recall_target: share of exact search's items at which a query searches enough.
        recall_queries: shoppers that are asked for; words and pictures too.
        panel_shoppers: histories that the bundle carries to be compared by, without user ids.
        panel_seed: of their drawing.
    """

    exact_below: int = Field(20_000, ge=100)
    recall_k: int = Field(10, ge=1)
    recall_target: float = Field(0.97, gt=0, le=1)
    recall_queries: int = Field(500, ge=1)
    panel_shoppers: int = Field(48, ge=0)
    panel_seed: int = 23


def index(registered: Registered, settings: IndexSettings, places: Settings, root: Path) -> Sealed:
    """Build the index, measure it, and seal the bundle.

    Raises:
        DataError: an item or query vector is not finite.
        VitrineError: the child process that builds died; the message names its signal.
        ErasedMeanwhile: somebody was erased while the bundle was made; another try leaves them out.
    """
    from pipelines import tracking

    exclusion = Exclusion(open_store(places).erasures)
    # The whole chain, not its last digest alone: two windows without an event between them have equal content.
    key = stage_key(STAGE, provenance(registered), settings, exclusion.digest)
    sealed = seal(Sealed, root, STAGE, key, lambda out: _build(registered, settings, exclusion, out),
                  exclusion.require_unchanged)
    config = read_json(Path(sealed.path) / INDEX_CONFIG)
    tracking.stage_run(registered, STAGE, {"bundle": sealed.digest, **config, **settings.model_dump()},
                       {f"index_recall@{sealed.recall_k}": sealed.recall} | {
                           f"{name}_index_recall@{sealed.recall_k}": recall
                           for name, recall in sealed.search_recalls.items()}, (), places)
    tracking.tag(registered, {"vitrine.bundle_digest": sealed.digest}, places)
    return sealed


def _build(registered: Registered, settings: IndexSettings, exclusion: Exclusion, out: Path) -> dict[str, Any]:
    trained = registered.evaluated.trained
    require_free(out, _room(Path(trained.path), Path(trained.snapshot.path)), "the bundle with its indexes")
    write_bundle(out, Path(trained.path), Path(trained.snapshot.path), provenance(registered))
    pack_photos(out)
    timings: dict[str, float] = {}
    recalls: dict[str, float] = {}
    for space in spaces(trained, out, settings.recall_queries):
        started = time.monotonic()
        recalls[space.asked_by] = _build_one(out, space, settings)
        timings |= {f"{space.folder}_s": time.monotonic() - started, f"{space.asked_by}_asked": len(space.queries)}
    write_json(out / PANEL, draw(trained, settings.panel_shoppers, settings.panel_seed, exclusion))
    write_json(out / FIGURES, figures(registered, recalls, settings.recall_k))
    write_json(out / TIMINGS, timings)
    return {"registered": registered, "kind": read_json(out / INDEX_CONFIG)["kind"], "recall": recalls.pop(SHOPPERS),
            "recall_k": settings.recall_k, "search_recalls": recalls}


def _room(trained: Path, snapshot: Path) -> int:
    """Bytes of a bundle in the making, at most: what is copied, and indexes that hold the vectors once more."""
    sizes = {path.name: path.stat().st_size for folder in (trained, snapshot) for path in folder.iterdir()
             if path.is_file() and path.name in KNOWN}
    return sum(sizes.values()) + 2 * sum(sizes.get(name, 0) for name in (ITEM_VECTORS, ITEM_TEXT, PICTURE_VECTORS))


def _build_one(out: Path, space: Space, settings: IndexSettings) -> float:
    """Write the index of one space and return its recall."""
    blocks = space.blocks(out)
    for what, array in (*(("item", block) for block in blocks), ("query", space.queries)):
        broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if len(broken):
            raise DataError(f"{len(broken):,} of {len(array):,} {what} vectors for {space.asked_by} are not finite, "
                            f"the first in row {broken[0]}: train again with a lower learning rate")
    started = time.monotonic()
    if len(blocks[0]) < settings.exact_below:
        write_json(out / space.folder / CONFIG, IndexConfig(kind="exact").model_dump(exclude_none=True))
        answers = ExactAnswers(np.concatenate(blocks, axis=1), space.queries, settings.recall_k)
        recall = answers.recall(ExactRetriever(*blocks))
    else:
        recall = _build_apart(out, space, settings)
    log.info("index: %s, %s items, recall@%d %.4f of exact search by the vectors of %s %s, %s",
             read_json(out / space.folder / CONFIG)["kind"], f"{len(blocks[0]):,}", settings.recall_k, recall,
             f"{len(space.queries):,}", space.asked_by, duration(time.monotonic() - started))
    return recall


def provenance(registered: Registered) -> dict[str, Any]:
    """The contract chain for the bundle, without places."""

    def content(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: content(inner) for name, inner in value.items() if name not in _PLACES}
        return value

    window = registered.evaluated.trained.snapshot.window.model_dump(mode="json")
    return {"format": 1, "as_of": window["as_of"], "registered": content(registered.model_dump(mode="json"))}


def _build_apart(out: Path, space: Space, settings: IndexSettings) -> float:
    """Build the index of one space in a child process and return its recall."""
    with tempfile.TemporaryDirectory(prefix="vitrine-index-") as name:
        scratch = Path(name)
        np.save(scratch / "queries.npy", space.queries)
        write_json(scratch / "job.json", {"bundle": str(out.resolve()), "folder": space.folder, "files": space.files,
                                          "settings": settings.model_dump()})
        last: list[str] = []
        with subprocess.Popen(
            [sys.executable, "-m", "pipelines.index", str(scratch)], cwd=Path(__file__).resolve().parents[1],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        ) as child:
            try:
                for line in child.stdout or ():
                    last = [*last[-4:], line.strip()]
                    if line.startswith("index: "):
                        log.info("%s", line.strip())
            except BaseException:
                child.kill()
                raise
        if child.returncode:
            how = (f"was ended by {signal.Signals(-child.returncode).name}" if child.returncode < 0
                   else f"ended with status {child.returncode}")
            raise VitrineError(f"the build of {out / space.folder} {how}; its last lines: {' | '.join(last)}; "
                               "nothing was sealed, run the index stage again, with more memory where it was SIGKILL")
        return float(read_json(scratch / "result.json")["recall"])


def build_scann(vectors: Floats, queries: Floats, settings: IndexSettings, folder: Path) -> float:
    """Build, tune and serialise a ScaNN index of `vectors` [items, D] into `folder`; the recall reached.

    The same vectors give the same bytes: one training thread, and centroids that start far apart instead
    of at random (ScaNN's random start differs from process to process; this one doubles the build time). A leaf may be
    small: by its default ScaNN drops centres with fewer than 50 of the sample, which is what a leaf of a million items
    has on average, and a neighbourhood without a centre is hard to find (docs/benchmarks.md).
    """
    scann_ops_pybind = import_scann()
    leaves, sample = max(16, 2 * math.isqrt(len(vectors))), min(len(vectors), _SAMPLE)
    log.info("index: building ScaNN over %s vectors of %d, %d leaves", f"{len(vectors):,}", vectors.shape[1], leaves)
    started = time.monotonic()
    searcher = (
        scann_ops_pybind.builder(vectors, settings.recall_k, "dot_product")
        .set_n_training_threads(1)
        .tree(leaves, max(1, leaves // 50), training_sample_size=sample, random_init=False,
              min_partition_size=max(1, sample // leaves // 5))
        .score_ah(2, anisotropic_quantization_threshold=0.2)
        .reorder(REORDERS[0])
        .build()
    )
    log.info("index: built in %s", duration(time.monotonic() - started))
    started = time.monotonic()
    answers = ExactAnswers(vectors, queries, settings.recall_k)
    config, recall = tuned(
        lambda tried: answers.recall(ScannRetriever(searcher, tried, vectors)), leaves, vectors.shape,
        settings.recall_target)
    log.info("index: recall@%d %.4f with %d leaves and %d candidates, %d points of the curve, tuned in %s",
             settings.recall_k, recall, config.leaves_to_search, config.reorder, len(config.curve or ()),
             duration(time.monotonic() - started))
    folder.mkdir()
    searcher.serialize(str(folder), relative_path=True)
    write_json(folder / CONFIG, config.model_dump(exclude_none=True))
    return recall


def main(scratch: Path) -> None:
    """The child: build what job.json describes and write result.json."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    job = json.loads((scratch / "job.json").read_text(encoding="utf-8"))
    bundle, queries = Path(job["bundle"]), np.load(scratch / "queries.npy", allow_pickle=False)
    vectors = np.concatenate([np.load(bundle / name, allow_pickle=False) for name in job["files"]], axis=1)
    recall = build_scann(vectors, queries, IndexSettings.model_validate(job["settings"]), bundle / job["folder"])
    write_json(scratch / "result.json", {"recall": recall})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
