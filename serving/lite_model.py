"""LiteRT files, read as data before the interpreter is given them.

The interpreter reserves what a file announces and runs what it says. So its operators have to be plain functions of
tensors (no control flow that could go on for ever, no state, no code from outside), and the signatures, slots and
tables of a user tower have to be those of the bundle's specification.
"""

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as lite

from pipelines.errors import CorruptArtifact

SIGNATURES = 64
_TENSORS = 1_000_000
_NUMBERS = 1 << 30  # that a graph holds at once, its tables included: 4 GB
_IDENTIFIER = b"TFL3"
_FREE = -1  # a dimension that each call chooses
_REMEDY = "it was not exported by this version's training; train again"
# Pure functions of their inputs, in the names of LiteRT's schema. Those of the two exported encoders, and of what a
# changed tower might next be made of. Left out: CUSTOM, IF, WHILE, CALL, CALL_ONCE, variables, hash tables, random
# numbers, and every operator that a delegate brings along.
OPERATORS = frozenset({
    "ABS", "ADD", "ADD_N", "ARG_MAX", "ARG_MIN", "AVERAGE_POOL_2D", "BATCH_MATMUL", "BROADCAST_TO", "CAST", "CEIL",
    "CONCATENATION", "CONV_2D", "COS", "CUMSUM", "DEPTHWISE_CONV_2D", "DEQUANTIZE", "DIV", "ELU", "EMBEDDING_LOOKUP",
    "EQUAL", "EXP", "EXPAND_DIMS", "FILL", "FLOOR", "FLOOR_DIV", "FLOOR_MOD", "FULLY_CONNECTED", "GATHER", "GATHER_ND",
    "GELU", "GREATER", "GREATER_EQUAL", "HARD_SWISH", "L2_NORMALIZATION", "LEAKY_RELU", "LESS", "LESS_EQUAL", "LOG",
    "LOGICAL_AND", "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC", "LOG_SOFTMAX", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM",
    "MUL", "NEG", "NOT_EQUAL", "ONE_HOT", "PACK", "PAD", "PADV2", "POW", "PRELU", "QUANTIZE", "RANGE", "RANK",
    "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "RELU", "RELU6", "RESHAPE", "REVERSE_V2",
    "ROUND", "RSQRT", "SCATTER_ND", "SELECT", "SELECT_V2", "SHAPE", "SIGN", "SIN", "SLICE", "SOFTMAX", "SPLIT",
    "SPLIT_V", "SQRT", "SQUARE", "SQUARED_DIFFERENCE", "SQUEEZE", "STRIDED_SLICE", "SUB", "SUM", "TANH", "TILE",
    "TOPK_V2", "TRANSPOSE", "UNPACK", "WHERE", "ZEROS_LIKE",
})
_NAMES = {code: name for name, code in vars(lite.BuiltinOperator).items() if isinstance(code, int)}
_DTYPES = {lite.TensorType.FLOAT32: "float32", lite.TensorType.INT32: "int32", lite.TensorType.UINT8: "uint8"}
_LOOKUPS = {"GATHER": (1, 0), "EMBEDDING_LOOKUP": (0, 1)}  # operator -> places of indices and table in its inputs


@dataclass(frozen=True)
class Tensor:
    """Shape, with -1 where a call chooses, and the name of the number type ("other" where no tower has it)."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Signature:
    """A way to call the model.

    Attributes:
        name: of the signature.
        inputs, outputs: tensors by name.
        tables: input name -> rows of the smallest table that this input looks rows up in.
    """

    name: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    tables: Mapping[str, int]


@dataclass(frozen=True)
class TowerShape:
    """What a bundle's specification and arrays ask of its user tower: the numbers of each, and widths."""

    visits: int
    event_types: int
    user_slots: int
    user_tokens: int
    gaps: int
    inputs: int  # columns of item_inputs.npy
    vector: int  # columns of item_vectors.npy


def read_signatures(path: Path) -> list[Signature]:
    """The signatures of a LiteRT file whose every operator is allowed.

    Raises:
        CorruptArtifact: it is no LiteRT file, has no signature, or has an operator that is not in OPERATORS.
    """
    try:
        data = path.read_bytes()
        if data[4:8] != _IDENTIFIER:
            raise ValueError(f"it does not begin as a LiteRT file does ({data[:8]!r})")
        model = lite.Model.GetRootAs(data, 0)
        if model.ExternalBufferGroupsLength():
            raise ValueError("it leads to further files")
        _check_operators(model)
        for number in range(_bounded(model.SubgraphsLength(), SIGNATURES)):
            _check_tensors(model.Subgraphs(number))
        signatures = [_signature(model, number) for number in range(_bounded(model.SignatureDefsLength(), SIGNATURES))]
        if not signatures:
            raise ValueError("it has no signature")
    except (FileNotFoundError, ValueError, struct.error, IndexError, TypeError, AttributeError, OverflowError) as error:
        # Offsets that lead out of the file end in one of the last six.
        raise CorruptArtifact(f"{path} cannot be loaded as a LiteRT model: {error}; {_REMEDY}") from error
    return signatures


def check_user_tower(path: Path, shape: TowerShape) -> None:
    """See that a LiteRT file is the user tower that a specification describes.

    Raises:
        CorruptArtifact: signatures, slots, widths, number types or the sizes of looked-up tables differ.
    """
    signatures = read_signatures(path)
    slots: set[int] = set()
    for signature in signatures:
        fault = _tower_fault(signature, shape)
        if fault is not None:
            raise CorruptArtifact(f"{path}: signature {signature.name!r} {fault}; {_REMEDY}")
        slots.add(signature.inputs["visits"].shape[1])
    if max(slots) != shape.visits or len(slots) < len(signatures):
        raise CorruptArtifact(f"{path} has {len(signatures)} signatures for {sorted(slots)} slots, one of them has to "
                              f"take the {shape.visits} visits of the specification, and no two the same; {_REMEDY}")


def _tower_fault(signature: Signature, shape: TowerShape) -> str | None:
    visits = signature.inputs.get("visits")
    slots = visits.shape[1] if visits is not None and len(visits.shape) == 3 else 0
    if not 1 <= slots <= shape.visits or signature.name not in (f"visits_{slots}", "serving_default"):
        return f"takes {slots} slots of visits where 1 to {shape.visits} are possible"
    expected = {
        "visits": Tensor((_FREE, slots, shape.inputs), "float32"), "counts": Tensor((_FREE, slots), "float32"),
        "types": Tensor((_FREE, slots, shape.event_types), "float32"), "gaps": Tensor((_FREE, slots), "int32"),
        "wait": Tensor((_FREE,), "int32"), "user": Tensor((_FREE, shape.user_slots), "int32"),
    }
    for what, found, wanted in (("takes", signature.inputs, expected),
                                ("gives", signature.outputs, {"vector": Tensor((_FREE, shape.vector), "float32")})):
        for name in sorted(found.keys() | wanted.keys()):
            if found.get(name) != wanted.get(name):
                return (f"{what} {name} as {_told(found.get(name))} where the specification needs "
                        f"{_told(wanted.get(name))}")
    for name, least in (("user", shape.user_tokens), ("gaps", shape.gaps), ("wait", shape.gaps)):
        if signature.tables.get(name, least) < least:
            return f"has a table of {signature.tables[name]:,} rows for {name}, whose values go up to {least:,}"
    return None


def _told(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"{tensor.dtype} {list(tensor.shape)}"


def _check_operators(model: Any) -> None:
    foreign = set()
    for number in range(_bounded(model.OperatorCodesLength(), 10_000)):
        name = _operator(model, number)
        if name not in OPERATORS:
            foreign.add(name)
    if foreign:
        raise ValueError(f"its operators {sorted(foreign)} are not among those that a tower is made of")


def _check_tensors(graph: Any) -> None:
    """Bound what the interpreter reserves when it opens the file, for one row each."""
    numbers = 0
    for place in range(_bounded(graph.TensorsLength(), _TENSORS)):
        tensor = graph.Tensors(place)
        shape = [int(tensor.Shape(axis)) for axis in range(_bounded(tensor.ShapeLength(), 10))]
        if min(shape, default=0) < 0:
            raise ValueError(f"tensor {place} is {shape}")
        numbers += math.prod(shape)
    _bounded(numbers, _NUMBERS)


def _operator(model: Any, number: int) -> str:
    code = model.OperatorCodes(number)
    if code.CustomCode() is not None:
        return f"CUSTOM {code.CustomCode()[:60]!r}"
    # Codes below 127 stand in the deprecated field, in files of old converters there alone.
    return str(_NAMES.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "unknown"))


def _signature(model: Any, number: int) -> Signature:
    definition = model.SignatureDefs(number)
    if definition.SubgraphIndex() >= model.SubgraphsLength():
        raise ValueError(f"signature {number} names subgraph {definition.SubgraphIndex()} of {model.SubgraphsLength()}")
    graph = model.Subgraphs(definition.SubgraphIndex())
    inputs = dict(_named(definition.Inputs, _bounded(definition.InputsLength(), 100)))
    outputs = dict(_named(definition.Outputs, _bounded(definition.OutputsLength(), 100)))
    return Signature(
        definition.SignatureKey().decode("utf-8"),
        {name: _tensor(graph, place) for name, place in inputs.items()},
        {name: _tensor(graph, place) for name, place in outputs.items()},
        _tables(model, graph, {place: name for name, place in inputs.items()}),
    )


def _named(item: Any, count: int) -> Iterator[tuple[str, int]]:
    for number in range(count):
        yield item(number).Name().decode("utf-8"), item(number).TensorIndex()


def _tensor(graph: Any, place: int) -> Tensor:
    if not 0 <= place < graph.TensorsLength():
        raise ValueError(f"tensor {place} of {graph.TensorsLength()} is named")
    tensor = graph.Tensors(place)
    # The signature's shape tells which dimensions are free; where none is, it is left out of the file.
    signed = tensor.ShapeSignatureLength() > 0
    length = _bounded(tensor.ShapeSignatureLength() if signed else tensor.ShapeLength(), 10)
    read = tensor.ShapeSignature if signed else tensor.Shape
    return Tensor(tuple(int(read(axis)) for axis in range(length)), _DTYPES.get(tensor.Type(), "other"))


def _tables(model: Any, graph: Any, inputs: Mapping[int, str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for number in range(_bounded(graph.OperatorsLength(), _TENSORS)):
        operator = graph.Operators(number)
        if operator.OpcodeIndex() >= model.OperatorCodesLength():
            raise ValueError(f"operator {number} has code {operator.OpcodeIndex()} of {model.OperatorCodesLength()}")
        places = _LOOKUPS.get(_operator(model, operator.OpcodeIndex()))
        if places is None or operator.InputsLength() < 2:
            continue
        name = inputs.get(operator.Inputs(places[0]))
        table = _tensor(graph, operator.Inputs(places[1]))
        if name is not None and table.shape:
            found[name] = min(found.get(name, np.iinfo(np.int32).max), table.shape[0])
    return found


def _bounded(length: int, most: int) -> int:
    if length > most:
        raise ValueError(f"it announces {length:,} entries where {most:,} are possible")
    return length
