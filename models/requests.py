"""Offline questions as the user tower's inputs, through the very encoder that serves."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipelines.snapshot import Queries, SnapshotData
from serving.encoding import History, Limits, encode


def request_inputs(
    data: SnapshotData, queries: Queries, item_inputs: npt.NDArray[np.float32]
) -> dict[str, npt.NDArray[Any]]:
    """Inputs of the user tower for `queries`, see serving/encoding.py; `item_inputs` is [items, D]."""
    h = data.histories
    spans = [slice(s, e) for s, e in zip(queries.start.tolist(), queries.end.tolist(), strict=True)]
    histories = [History(h.item[s], h.time[s], h.type[s], h.weight[s]) for s in spans]
    return encode(histories, queries.time, np.asarray(data.user_tokens[queries.user]), item_inputs,
                  Limits.of(data.spec))
