"""A LiteRT file is read as data first: operators, signatures, widths and tables of a user tower."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as lite
from hypothesis import given
from hypothesis import strategies as st

from pipelines.errors import CorruptArtifact
from serving.lite_model import Signature, Tensor, TowerShape, check_user_tower, read_signatures
from serving.user_tower import UserTower
from tests.release_world import GROUPS, VISITS, user_tower

SHAPE = TowerShape(visits=VISITS, event_types=1, user_slots=1, user_tokens=3, gaps=32, inputs=GROUPS,
                   vector=GROUPS + 1)


def changed(path: Path, change: Any) -> Path:
    """Write the arithmetic tower after `change` had its way with it."""
    model = lite.ModelT.InitFromPackedBuf(user_tower(), 0)
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


def look_up(rows: int, name: str) -> Any:
    """Add GATHER(table of `rows`, input `name`) to the graph."""

    def change(model: Any) -> None:
        graph = model.subgraphs[0]
        place = next(item.tensorIndex for item in model.signatureDefs[0].inputs if item.name == name.encode())
        model.buffers.append(lite.BufferT(data=np.zeros(rows * 4, np.uint8)))
        graph.tensors += [lite.TensorT(name="table", shape=[rows, 1], buffer=len(model.buffers) - 1),
                          lite.TensorT(name="found", shape=[1, 1])]
        model.operatorCodes.append(lite.OperatorCodeT(deprecatedBuiltinCode=lite.BuiltinOperator.GATHER,
                                                      builtinCode=lite.BuiltinOperator.GATHER, version=1))
        graph.operators.append(lite.OperatorT(opcodeIndex=2, inputs=[len(graph.tensors) - 2, place],
                                              outputs=[len(graph.tensors) - 1]))

    return change


def operator(code: int, custom: str | None = None) -> Any:
    def change(model: Any) -> None:
        model.operatorCodes.append(lite.OperatorCodeT(
            deprecatedBuiltinCode=min(code, 127), builtinCode=code, customCode=custom, version=1))

    return change


def test_the_signature_is_what_was_written(tmp_path: Path) -> None:
    (signature,) = read_signatures(changed(tmp_path / "x", look_up(7, "user")))
    assert signature == Signature("serving_default", {
        "visits": Tensor((-1, 5, 4), "float32"), "counts": Tensor((-1, 5), "float32"),
        "types": Tensor((-1, 5, 1), "float32"), "gaps": Tensor((-1, 5), "int32"), "wait": Tensor((-1,), "int32"),
        "user": Tensor((-1, 1), "int32")}, {"vector": Tensor((-1, 5), "float32")}, {"user": 7})


@pytest.mark.parametrize(("field", "value", "fault"), [
    ("visits", 6, "has to take the 6 visits"), ("event_types", 2, "types as"), ("user_slots", 2, "user as"),
    ("inputs", 5, "visits as"), ("vector", 6, "vector as"),
])
def test_a_tower_of_another_specification_is_refused(tmp_path: Path, field: str, value: int, fault: str) -> None:
    path = changed(tmp_path / "x", lambda model: None)
    check_user_tower(path, SHAPE)
    with pytest.raises(CorruptArtifact, match=fault):
        check_user_tower(path, replace(SHAPE, **{field: value}))


@pytest.mark.parametrize(("name", "least"), [("user", 3), ("gaps", 32), ("wait", 32)])
def test_a_table_that_is_too_small_for_its_values_is_refused(tmp_path: Path, name: str, least: int) -> None:
    check_user_tower(changed(tmp_path / "x", look_up(least, name)), SHAPE)
    with pytest.raises(CorruptArtifact, match=f"a table of {least - 1} rows for {name}"):
        check_user_tower(changed(tmp_path / "x", look_up(least - 1, name)), SHAPE)


@pytest.mark.parametrize("name", ["IF", "WHILE", "CALL", "CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "HASHTABLE",
                                  "HASHTABLE_IMPORT", "RANDOM_UNIFORM", "DELEGATE"])
def test_an_operator_that_is_no_plain_function_is_refused(tmp_path: Path, name: str) -> None:
    path = changed(tmp_path / "x", operator(getattr(lite.BuiltinOperator, name)))
    with pytest.raises(CorruptArtifact, match=rf"operators \['{name}'\]"):
        read_signatures(path)
    with pytest.raises(CorruptArtifact, match=name):
        UserTower(path)


def test_code_from_outside_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match="CUSTOM b'FlexReadFile'"):
        read_signatures(changed(tmp_path / "x", operator(lite.BuiltinOperator.CUSTOM, "FlexReadFile")))


def renamed(model: Any) -> None:
    model.signatureDefs[0].signatureKey = "train"


def doubled(model: Any) -> None:
    model.signatureDefs.append(model.signatureDefs[0])


def lost(model: Any) -> None:
    model.signatureDefs[0].inputs[0].tensorIndex = 999


def led_outside(model: Any) -> None:
    model.externalBufferGroups = [lite.ExternalBufferGroupT(name="../../elsewhere.bin")]


@pytest.mark.parametrize(("change", "fault"), [
    (renamed, "signature 'train'"), (doubled, "no two the same"), (lost, "tensor 999 of 11"),
    (led_outside, "further files"), (lambda model: model.signatureDefs.clear(), "no signature"),
])
def test_other_signatures_are_refused(tmp_path: Path, change: Any, fault: str) -> None:
    with pytest.raises(CorruptArtifact, match=fault):
        check_user_tower(changed(tmp_path / "x", change), SHAPE)


@given(st.data())
def test_whatever_is_damaged_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(user_tower())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(8, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "x"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        check_user_tower(path, SHAPE)
    except CorruptArtifact as error:
        assert str(path) in str(error)


def test_memory_without_end_is_not_announced(tmp_path: Path) -> None:
    def huge(model: Any) -> None:
        model.subgraphs[0].tensors[0].shape = [1, 5, 1 << 30]

    with pytest.raises(CorruptArtifact, match="where 1,073,741,824 are possible"):
        read_signatures(changed(tmp_path / "x", huge))
