"""A bundle's trial in a process of its own: `python -m serving.probe BUNDLE REQUESTS.npz ANSWERS.npz`.

It does what an online process does and nothing else: checks the folder, opens it and answers. Whatever
is wrong with the bundle (ScaNN ends the process over some faults) then ends this process, not the caller.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.errors import VitrineError
from serving.bundle import Bundle
from serving.encoding import History
from serving.recommender import Recommender, Request

REFUSED = 4  # exit status, apart from Python's own 1 for what nobody foresaw
_COLUMNS = {"item": np.int32, "time": np.int64, "type": np.int16, "weight": np.float32}


def save_requests(path: Path, requests: Sequence[Request], k: int) -> None:
    """Write requests as one .npz: histories as CSR, times, user tokens, and the k to ask for."""
    lengths = [len(request.history.item) for request in requests]
    columns = {name: np.concatenate([getattr(r.history, name) for r in requests]).astype(kind)
               for name, kind in _COLUMNS.items()}
    np.savez(path, allow_pickle=False, indptr=np.cumsum([0, *lengths]), k=np.int64(k),
             now=np.array([r.now_us for r in requests], np.int64),
             user_tokens=np.stack([r.user_tokens for r in requests]), **columns)


def load_requests(path: Path) -> tuple[list[Request], int]:
    """What `save_requests` wrote."""
    with np.load(path, allow_pickle=False) as data:
        at, columns = data["indptr"], {name: data[name] for name in _COLUMNS}
        return [
            Request(History(**{n: column[first:last] for n, column in columns.items()}), int(now), tokens)
            for first, last, now, tokens in zip(at[:-1], at[1:], data["now"], data["user_tokens"], strict=True)
        ], int(data["k"])


def main(folder: str, requests_path: str, answers_path: str) -> int:
    """Answer the requests; exit status REFUSED and one line on stderr where the bundle is refused."""
    requests, k = load_requests(Path(requests_path))
    try:
        answers = Recommender(Bundle.load(folder)).recommend_many(requests, k)
    except VitrineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return REFUSED
    # Lists are as long as the catalogue allows, and all of one length.
    np.savez(answers_path, allow_pickle=False,
             rows=np.array([[found.row for found in answer] for answer in answers], np.int64),
             scores=np.array([[found.score for found in answer] for answer in answers], np.float32))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
