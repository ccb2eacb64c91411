"""An index of items becomes that of slightly other items: a few vectors are put in, moved or taken out.

ScaNN keeps its leaves and codes and assigns what is new to them, which takes seconds where building takes minutes. How
well that searches is measured, and how much a query searches is chosen anew, as for one that is built.

ScaNN ends the whole process over faults in its input, so this is a process of its own:
`python -m pipelines.index_extend JOB`.
"""

import json
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import Field

from pipelines.artifacts import read_json, write_json
from pipelines.contracts import Document
from pipelines.errors import DataError, VitrineError
from pipelines.index_tuning import ExactAnswers, tuned
from pipelines.search_spaces import Space
from serving.bundle_files import CONFIG
from serving.encoding import Floats
from serving.index_files import IndexConfig, read_index
from serving.retriever import ExactRetriever, ScannRetriever

_AT_ONCE = 256


class Wanted(Document):
    """What an index is measured by.

    Attributes:
        recall_k: length of the lists that exact search and the index are compared by.
        recall_target: share of exact search's items at which a query searches enough.
    """

    recall_k: int = Field(10, ge=1)
    recall_target: float = Field(0.97, gt=0, le=1)


def extend_all(before: Path, out: Path, found: Sequence[Space], wanted: Wanted) -> dict[str, float]:
    """Write the indexes of `found` spaces into the bundle in `out`, made of those in the bundle `before`.

    Returns:
        what each is asked by -> its recall against exact search.

    Raises:
        DataError: a vector is not finite, or its length is not that of the others.
        VitrineError: the process that does it died; the message names its signal.
    """
    recalls: dict[str, float] = {}
    apart = []
    for space in found:
        for name, array in (*zip(space.files, space.blocks(out), strict=True), ("a query", space.queries)):
            broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
            if len(broken):
                raise DataError(f"{len(broken):,} of {len(array):,} vectors of {name} are not finite, the first in row "
                                f"{broken[0]}: retrain")
        config = IndexConfig.model_validate(read_json(before / space.folder / CONFIG))
        if config.kind == "scann":
            apart.append(space)
            continue
        write_json(out / space.folder / CONFIG, config.model_dump(exclude_none=True))
        blocks = space.blocks(out)
        answers = ExactAnswers(np.concatenate(blocks, axis=1), space.queries, wanted.recall_k)
        recalls[space.asked_by] = answers.recall(ExactRetriever(*blocks))
    return recalls | (_extend_apart(before, out, apart, wanted) if apart else {})


def _extend_apart(before: Path, out: Path, found: Sequence[Space], wanted: Wanted) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="vitrine-index-") as name:
        scratch = Path(name)
        for space in found:
            np.save(scratch / f"{space.folder}.npy", space.queries, allow_pickle=False)
        write_json(scratch / "job.json", {
            "before": str(before.resolve()), "bundle": str(out.resolve()), "wanted": wanted.model_dump(),
            "spaces": [{"asked_by": space.asked_by, "folder": space.folder, "files": list(space.files)}
                       for space in found]})
        done = subprocess.run([sys.executable, "-m", "pipelines.index_extend", str(scratch)], capture_output=True,
                              cwd=Path(__file__).resolve().parents[1], text=True, errors="replace", check=False)
        if done.returncode:
            how = (f"was ended by {signal.Signals(-done.returncode).name}" if done.returncode < 0
                   else f"ended with status {done.returncode}")
            last = " | ".join(done.stderr.strip().splitlines()[-3:])
            raise VitrineError(f"the extension of the indexes of {before} {how}: {last}; nothing was sealed, run it "
                               "again, with more memory where it was SIGKILL")
        recalls = read_json(scratch / "result.json")
    return {str(asked_by): float(recall) for asked_by, recall in recalls.items()}


def extend(before: Path, old: Floats, new: Floats, queries: Floats, wanted: Wanted, folder: Path) -> float:
    """Write the index of `new` [m, D] into `folder`, made of that of `old` [n, D] in the folder `before`.

    Rows that are alike in both cost nothing.

    Returns:
        recall against exact search by `queries`.
    """
    config = IndexConfig.model_validate(read_json(before / CONFIG))
    scann = ScannRetriever.load(before, config, old).searcher.searcher
    scann.set_num_threads(1)  # the same index every time
    kept = min(len(old), len(new))
    others = np.flatnonzero((old[:kept] != new[:kept]).any(axis=1))
    for first in range(0, len(others), _AT_ONCE):
        rows = others[first : first + _AT_ONCE]
        scann.upsert(rows.tolist(), np.ascontiguousarray(new[rows]), len(rows))
    for first in range(kept, len(new), _AT_ONCE):
        part = np.ascontiguousarray(new[first : first + _AT_ONCE])
        scann.upsert([None] * len(part), part, len(part))
    for row in range(len(old) - 1, kept - 1, -1):  # from the end, so that no other moves
        scann.delete([row])
    folder.mkdir(parents=True)
    scann.serialize(str(folder), True)
    write_json(folder / CONFIG, config.model_dump(exclude_none=True))
    # Reads the files back: its vectors have to be the ones that were meant, row by row.
    read = ScannRetriever.load(folder, read_index(folder, new), new)
    answers = ExactAnswers(new, queries, wanted.recall_k)
    chosen, recall = tuned(lambda tried: answers.recall(ScannRetriever(read.searcher, tried, new)), config.leaves or 1,
                           new.shape, wanted.recall_target)
    write_json(folder / CONFIG, chosen.model_dump(exclude_none=True))
    return recall


def main(scratch: Path) -> None:
    """The child: extend what job.json describes and write result.json."""
    job = json.loads((scratch / "job.json").read_text(encoding="utf-8"))
    before, out, recalls = Path(job["before"]), Path(job["bundle"]), {}
    for space in job["spaces"]:
        old, new = (np.concatenate([np.load(bundle / name, allow_pickle=False) for name in space["files"]], axis=1)
                    for bundle in (before, out))
        queries = np.load(scratch / f"{space['folder']}.npy", allow_pickle=False)
        recalls[space["asked_by"]] = extend(before / space["folder"], old, new, queries,
                                            Wanted.model_validate(job["wanted"]), out / space["folder"])
    write_json(scratch / "result.json", recalls)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
