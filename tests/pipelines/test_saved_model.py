"""A SavedModel that could do more than compute is told from one that cannot, without running either."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from models.legacy_keras import tf
from pipelines.errors import CorruptArtifact
from pipelines.saved_model import MODEL, check_saved_model

VECTOR = [tf.TensorSpec([None, 2], tf.float32, "x")]


class Plain(tf.Module):
    """y = x W, with a variable, so that there is something to save and to restore."""

    def __init__(self) -> None:
        super().__init__()
        self.w = tf.Variable(tf.eye(2))

    @tf.function(input_signature=VECTOR)
    def serve(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"y": self.inner(x)}

    def inner(self, x: tf.Tensor) -> tf.Tensor:
        return x @ self.w


class Writes(Plain):
    def inner(self, x: tf.Tensor) -> tf.Tensor:
        tf.io.write_file("/nonexistent/owned", "x")  # of a folder that is not there: nothing runs it, and if it did
        return x @ self.w


class Reads(Plain):
    def inner(self, x: tf.Tensor) -> tf.Tensor:
        return x @ self.w + tf.cast(tf.strings.length(tf.io.read_file("/nonexistent/secret")), tf.float32)


class Deep(Plain):
    """The write stands three functions down, in a branch that is never taken."""

    @tf.function
    def third(self, x: tf.Tensor) -> tf.Tensor:
        tf.io.write_file("/nonexistent/owned", "x")
        return x

    @tf.function
    def second(self, x: tf.Tensor) -> tf.Tensor:
        return tf.cond(tf.reduce_sum(x) < -1e30, lambda: self.third(x), lambda: x)

    def inner(self, x: tf.Tensor) -> tf.Tensor:
        return self.second(x) @ self.w


class Python(Plain):
    def inner(self, x: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.py_function(lambda v: v, [x], tf.float32), [None, 2]) @ self.w


class Looks(Plain):
    """Initialised from a file as soon as it is loaded."""

    def __init__(self) -> None:
        super().__init__()
        keys = tf.constant(["a"])
        self.table = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, tf.constant([1])), 0)

    def inner(self, x: tf.Tensor) -> tf.Tensor:
        return x @ self.w + tf.cast(self.table.lookup(tf.constant(["a"])), tf.float32)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(Plain(), tmp_path_factory.mktemp("plain"))


def saved(module: Plain, folder: Path) -> Path:
    tf.saved_model.save(module, str(folder / "model"), signatures={"serving_default": module.serve})
    return folder / "model"


def test_a_plain_model_passes(plain: Path) -> None:
    check_saved_model(plain)


@pytest.mark.parametrize(("kind", "operation"), [
    (Writes, "WriteFile"), (Reads, "ReadFile"), (Deep, "(WriteFile|If)"),
    (Python, "EagerPyFunc"), (Looks, "HashTableV2"),
])
def test_what_could_do_more_is_refused_by_operation(kind: type[Plain], operation: str, tmp_path: Path) -> None:
    with pytest.raises(CorruptArtifact, match=f"operation '.*{operation.removesuffix('V2')}"):
        check_saved_model(saved(kind(), tmp_path))


def rewritten(plain: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """A copy whose program `change` has rewritten, by TensorFlow's own messages."""
    from tensorflow.core.protobuf import saved_model_pb2

    target = Path(shutil.copytree(plain, folder / "model"))
    model = saved_model_pb2.SavedModel.FromString((target / MODEL).read_bytes())
    change(model)
    (target / MODEL).write_bytes(model.SerializeToString())
    return target


def saver(graph: Any) -> str:
    """The function that saves."""
    name = graph.saver_def.save_tensor_name.split(":")[0]
    return next(node.attr["f"].func.name for node in graph.graph_def.node if node.name == name)


def call_from_signature(model: Any) -> None:
    graph = model.meta_graphs[0]
    wrapper = next(f for f in graph.graph_def.library.function if "signature_wrapper" in f.signature.name)
    wrapper.node_def.add(name="x", op="StatefulPartitionedCall").attr["f"].func.name = saver(graph)


def call_by_name(model: Any) -> None:
    graph = model.meta_graphs[0]
    wrapper = next(f for f in graph.graph_def.library.function if "signature_wrapper" in f.signature.name)
    wrapper.node_def.add(name="x", op=saver(graph))


def offer_as_object(model: Any) -> None:
    graph = model.meta_graphs[0]
    _ = graph.object_graph_def.concrete_functions[saver(graph)]


def answer_with_the_saver(model: Any) -> None:
    graph = model.meta_graphs[0]
    graph.signature_def["serving_default"].outputs["y"].name = graph.saver_def.save_tensor_name


def start_with_the_saver(model: Any) -> None:
    graph = model.meta_graphs[0]
    graph.collection_def["saved_model_main_op"].node_list.value[:] = [graph.saver_def.restore_op_name]


def name_the_answer_saver(model: Any) -> None:
    """A signature's node that calls the saver, and is told to be the saver's."""
    graph = model.meta_graphs[0]
    call_from_signature(model)
    name = graph.signature_def["serving_default"].outputs["y"].name
    graph.saver_def.save_tensor_name = name


def hide_in_an_attribute(model: Any) -> None:
    graph = model.meta_graphs[0]
    wrapper = next(f for f in graph.graph_def.library.function if "signature_wrapper" in f.signature.name)
    outer = wrapper.node_def.add(name="x", op="StatelessIf").attr["then_branch"]
    outer.func.attr["inner"].list.func.add(name=saver(graph))


def depend_on_the_saver(model: Any) -> None:
    graph = model.meta_graphs[0]
    graph.graph_def.node.add(name="x", op="NoOp", input=["^" + graph.saver_def.save_tensor_name.split(":")[0]])


@pytest.mark.parametrize("change", [
    call_from_signature, call_by_name, offer_as_object, answer_with_the_saver, start_with_the_saver,
    name_the_answer_saver, hide_in_an_attribute, depend_on_the_saver])
def test_the_savers_files_are_out_of_reach_for_whatever_answers(
    plain: Path, tmp_path: Path, change: Callable[[Any], None]
) -> None:
    with pytest.raises(CorruptArtifact, match="reads or writes files, and is called by what answers"):
        check_saved_model(rewritten(plain, tmp_path, change))


def in_the_graph(model: Any) -> None:
    model.meta_graphs[0].graph_def.node.add(name="x", op="SaveV2")


def in_a_second_graph(model: Any) -> None:
    model.meta_graphs.add().graph_def.node.add(name="x", op="ReadFile")


def uncalled(model: Any) -> None:
    function = model.meta_graphs[0].graph_def.library.function.add()
    function.signature.name = "nobody_calls_it"
    function.node_def.add(name="x", op="WriteFile")


def twice(model: Any) -> None:
    functions = model.meta_graphs[0].graph_def.library.function
    functions.add().CopyFrom(functions[0])


def with_asset(model: Any) -> None:
    model.meta_graphs[0].asset_file_def.add(filename="../../secret")


@pytest.mark.parametrize(("change", "fault"), [
    (in_the_graph, "operation 'SaveV2'"), (in_a_second_graph, "operation 'ReadFile'"),
    (uncalled, "operation 'WriteFile' .* of b'nobody_calls_it'"), (twice, "two functions"),
    (with_asset, r"reads the file b'\.\./\.\./secret'"), (lambda model: model.ClearField("meta_graphs"), "no graph"),
])
def test_other_programs_are_refused(
    plain: Path, tmp_path: Path, change: Callable[[Any], None], fault: str
) -> None:
    with pytest.raises(CorruptArtifact, match=fault):
        check_saved_model(rewritten(plain, tmp_path, change))


@pytest.mark.parametrize(("change", "fault"), [
    (lambda f: (f / MODEL).write_bytes(b"\xff" * 100), "cannot be read"), (lambda f: (f / MODEL).unlink(), "missing"),
    (lambda f: (f / "keras_metadata.pb").touch(), "'keras_metadata.pb' is a link, or no file"),
    (lambda f: (f / "assets/x").touch(), "'assets/x' is a link, or no file"),
    (lambda f: os.symlink("/nonexistent", f / "fingerprint2.pb"), "is a link"),
    (lambda f: (f / "variables/variables.index").unlink(), "variables.index is missing"),
    (lambda f: os.truncate(f / MODEL, 1 << 29), "at most 268,435,456"),
])
def test_other_folders_are_refused(plain: Path, tmp_path: Path, change: Callable[[Path], None], fault: str) -> None:
    folder = Path(shutil.copytree(plain, tmp_path / "model"))
    (folder / "assets").mkdir(exist_ok=True)
    change(folder)
    with pytest.raises(CorruptArtifact, match=fault):
        check_saved_model(folder)
