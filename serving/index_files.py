"""The index folder of a bundle: its configuration, and ScaNN's files checked before ScaNN sees them.

ScaNN believes what it reads: it opens the paths that its asset list names, unpickles item ids where there are some,
and ends the process over what it cannot understand.
"""

import re
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field, ValidationError, model_validator

from pipelines.contracts import Document
from serving.bundle_files import CONFIG, SCANN_PARTS
from serving.encoding import Floats
from serving.strict_read import array_blocks, read_array, read_document

# The five files that ScaNN opens besides its configuration, by the role that its list gives each.
ASSETS = {
    "AH_CENTERS": "ah_codebook.pb", "PARTITIONER": "serialized_partitioner.pb",
    "TOKENIZATION_NPY": "datapoint_to_token.npy", "AH_DATASET_NPY": "hashed_dataset.npy", "DATASET_NPY": "dataset.npy",
}
_LIST = "scann_assets.pbtxt"
_LIST_BYTES = 10_000
# As ScaNN writes it. The text format knows other ways to write the same (escapes, single quotes, parts that are
# joined), with which a path could be hidden from whoever looks for paths.
_ASSET = re.compile(r'assets \{\n  asset_type: ([A-Z_]+)\n  asset_path: "([a-z_]+\.(?:npy|pb))"\n\}\n')


class CurvePoint(Document):
    """What one way of asking the index finds, and what it costs.

    Attributes:
        leaves_to_search, reorder: as in `IndexConfig`.
        recall: share of exact search's items, over the queries that the index was tuned with.
        cost_us: microseconds of one core a query, estimated: the same everywhere, where a measurement would differ.
    """

    leaves_to_search: int = Field(ge=1, le=1 << 24)
    reorder: int = Field(ge=1, le=1 << 20)
    recall: float = Field(ge=0, le=1)
    cost_us: float = Field(ge=0)


class IndexConfig(Document):
    """index/index.json: the kind of search, and for ScaNN what every query searches with.

    Attributes:
        kind: "exact" compares with every item, "scann" with those of the nearest leaves.
        leaves: number of leaves of ScaNN's tree.
        leaves_to_search: leaves that a query looks into.
        reorder: candidates whose exact score is computed.
        curve: what was tried, as far as nothing cheaper finds as much, cheapest first; older bundles have none.
    """

    kind: Literal["exact", "scann"]
    leaves: int | None = Field(default=None, ge=1, le=1 << 24)
    leaves_to_search: int | None = Field(default=None, ge=1, le=1 << 24)
    reorder: int | None = Field(default=None, ge=1, le=1 << 20)
    curve: tuple[CurvePoint, ...] | None = Field(default=None, max_length=1000)

    @model_validator(mode="after")
    def _whole(self) -> "IndexConfig":
        if self.kind == "scann" and None in (self.leaves, self.leaves_to_search, self.reorder):
            raise ValueError("it lacks leaves, leaves_to_search or reorder")
        return self


def read_index(folder: Path, *blocks: Floats) -> IndexConfig:
    """The configuration of the index in `folder`, whose files belong to the vectors that it has to be of.

    Args:
        folder: of the index.
        blocks: those vectors, [items, columns], in one array or in several side by side.

    Raises:
        ValueError: a part is missing or surplus, leads outside the folder, or is of other vectors.
        CorruptArtifact: index.json is not readable.
    """
    try:
        config = IndexConfig.model_validate(read_document(folder / CONFIG))
    except ValidationError as error:
        raise ValueError(f"{folder.name}/{CONFIG}: {error}") from error
    parts = {path.name for path in folder.iterdir()} - {CONFIG}
    if config.kind == "exact":
        if parts:
            raise ValueError(f"an exact index has no parts, {folder.name}/ holds {sorted(parts)}")
        return config
    if parts != SCANN_PARTS:
        raise ValueError(f"{folder.name}/ lacks {sorted(SCANN_PARTS - parts)} of a ScaNN index, and has "
                         f"{sorted(parts - SCANN_PARTS)} too many")
    _check_assets(folder)
    items, width = len(blocks[0]), sum(block.shape[1] for block in blocks)
    tokens = read_array(folder / ASSETS["TOKENIZATION_NPY"], np.int32, (items,))
    if tokens.min() < 0 or tokens.max() >= (config.leaves or 0):
        raise ValueError(f"{folder.name}/{ASSETS['TOKENIZATION_NPY']} names leaves {tokens.min()} to {tokens.max()} of "
                         f"{config.leaves}")
    read_array(folder / ASSETS["AH_DATASET_NPY"], np.uint8, (items, (width + 1) // 2))
    # Two indexes of one shape mix without an error: what this one was built of has to be these very vectors.
    row = 0
    for part in array_blocks(folder / ASSETS["DATASET_NPY"], np.float32, (items, width)):
        column, last = 0, row + len(part)
        for block in blocks:
            if not np.array_equal(part[:, column : column + block.shape[1]], block[row:last]):
                raise ValueError(f"{folder.name}/{ASSETS['DATASET_NPY']} holds other vectors than the bundle: two "
                                 "bundles were mixed")
            column += block.shape[1]
        row = last
    return config


def _check_assets(folder: Path) -> None:
    if (size := (folder / _LIST).stat().st_size) > _LIST_BYTES:
        raise ValueError(f"{_LIST} has {size:,} bytes, at most {_LIST_BYTES:,} are read")
    text = (folder / _LIST).read_text(encoding="utf-8")
    named = _ASSET.findall(text)
    if _ASSET.sub("", text) or sorted(named) != sorted(ASSETS.items()):
        raise ValueError(f"{_LIST} is not the list of exactly {sorted(ASSETS.values())}: it names "
                         f"{sorted(path for _, path in named)} and {len(_ASSET.sub('', text))} characters besides")
