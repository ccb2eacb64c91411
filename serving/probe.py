"""A bundle's trial in a process of its own: `python -m serving.probe BUNDLE REQUESTS.npz ANSWERS.npz`.

It does what an online process does and nothing else: checks the folder, opens it, finds the items of a history by
their ids, and answers. Whatever is wrong with the bundle (ScaNN ends the process over some faults) then ends this
process, not the caller.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipelines.errors import VitrineError
from serving.bundle import Bundle
from serving.encoding import Floats, History, Ints
from serving.recommender import Recommender, Request

REFUSED = 4  # exit status, apart from Python's own 1 for what nobody foresaw
NO_ITEM = ""  # in place of an id, where a list is shorter than was asked for


@dataclass(frozen=True)
class NamedRequest:
    """A request as a shop makes it: items and types by name. Arrays are [events], tokens the bundle's own."""

    item_ids: npt.NDArray[np.str_]
    time: npt.NDArray[np.int64]  # microseconds since 1970, UTC
    types: npt.NDArray[np.str_]
    weight: npt.NDArray[np.float32]
    now_us: int
    user_tokens: Ints  # [K]

    def of(self, bundle: Bundle) -> Request:
        """In the bundle's rows; events of items or types that it does not know are left out, as online."""
        types = {name: number for number, name in enumerate(bundle.spec["event_types"])}
        known = [n for n, (item, kind) in enumerate(zip(self.item_ids, self.types, strict=True))
                 if str(item) in bundle.rows and str(kind) in types]
        rows = np.array([bundle.rows[str(self.item_ids[n])] for n in known], np.int32)
        kinds = np.array([types[str(self.types[n])] for n in known], np.int16)
        history = History(rows, self.time[known].astype(np.int64), kinds, self.weight[known].astype(np.float32))
        return Request(history, self.now_us, self.user_tokens)


def save_requests(path: Path, requests: Sequence[NamedRequest], k: int) -> None:
    """Write requests as one .npz: histories as CSR, times, user tokens, and the k to ask for."""
    columns = {name: np.concatenate([getattr(request, name) for request in requests])
               for name in ("item_ids", "time", "types", "weight")}
    np.savez(path, allow_pickle=False, indptr=np.cumsum([0, *(len(request.time) for request in requests)]),
             k=np.int64(k), now=np.array([request.now_us for request in requests], np.int64),
             user_tokens=np.stack([request.user_tokens for request in requests]), **columns)


def load_requests(path: Path) -> tuple[list[NamedRequest], int]:
    """What `save_requests` wrote."""
    with np.load(path, allow_pickle=False) as data:
        at, columns = data["indptr"], {name: data[name] for name in ("item_ids", "time", "types", "weight")}
        return [
            NamedRequest(**{n: column[first:last] for n, column in columns.items()}, now_us=int(now),
                         user_tokens=tokens)
            for first, last, now, tokens in zip(at[:-1], at[1:], data["now"], data["user_tokens"], strict=True)
        ], int(data["k"])


def load_answers(path: Path) -> tuple[npt.NDArray[np.str_], Floats]:
    """(item ids, scores), both [requests, k], best first; NO_ITEM and -inf where a list is shorter."""
    with np.load(path, allow_pickle=False) as answers:
        return answers["item_ids"], answers["scores"]


def main(folder: str, requests_path: str, answers_path: str) -> int:
    """Answer the requests; exit status REFUSED and one line on stderr where the bundle is refused."""
    named, k = load_requests(Path(requests_path))
    try:
        bundle = Bundle.load(folder)
        answers = Recommender(bundle).recommend_many([request.of(bundle) for request in named], k)
    except VitrineError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return REFUSED
    longest = max(len(answer) for answer in answers)
    ids = [[bundle.item_ids[found.row] for found in answer] + [NO_ITEM] * (longest - len(answer))
           for answer in answers]
    scores = [[found.score for found in answer] + [-np.inf] * (longest - len(answer)) for answer in answers]
    np.savez(answers_path, allow_pickle=False, item_ids=np.array(ids, np.str_), scores=np.array(scores, np.float32))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
