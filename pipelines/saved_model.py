"""A SavedModel is a program: before anybody runs one, its operations are compared with those that a tower needs.

TensorFlow runs whatever a SavedModel says, and it can say: read this file, write that one. So the protocol buffer is
read as data, without TensorFlow: the graph, the whole function library whether or not something seems to call it, and
the folder around it. Saving and restoring variables reads and writes files by design; the operations that do it are
let pass where the saver's two functions hold them, and those must not be reachable from anything that answers.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from pipelines.errors import CorruptArtifact

MODEL = "saved_model.pb"
MOST_BYTES = 1 << 28  # of the program; variables lie beside it
# Plain functions of tensors, and the reading of variables. What a tower of this version is made of, and its like.
OPERATIONS = frozenset({
    "Abs", "Add", "AddN", "AddV2", "All", "Any", "ArgMax", "AvgPool", "BatchMatMulV2", "BiasAdd", "BroadcastTo", "Cast",
    "ConcatV2", "Const", "Conv2D", "Cumsum", "DisableCopyOnRead", "Einsum", "Elu", "Equal", "Erf", "Erfc", "Exp",
    "ExpandDims", "Fill", "Floor", "FloorDiv", "FloorMod", "GatherNd", "GatherV2", "Greater", "GreaterEqual",
    "Identity", "IdentityN", "LeakyRelu", "Less", "LessEqual", "Log", "Log1p", "LogicalAnd", "LogicalNot", "LogicalOr",
    "MatMul", "Max", "Maximum", "Mean", "Min", "Minimum", "Mul", "Neg", "NoOp", "NotEqual", "OneHot", "OnesLike",
    "Pack", "Pad", "PadV2", "PartitionedCall", "Placeholder", "Pow", "PreventGradient", "Prod", "Range", "Rank",
    "ReadVariableOp", "RealDiv", "Relu", "Relu6", "Reshape", "ResourceGather", "ReverseV2", "Round", "Rsqrt", "Select",
    "SelectV2", "Selu", "Shape", "Sigmoid", "Sign", "Size", "Slice", "Softmax", "Softplus", "Split", "SplitV", "Sqrt",
    "Square", "SquaredDifference", "Squeeze", "StatefulPartitionedCall", "StatelessIf", "StopGradient", "StridedSlice",
    "Sub", "Sum", "Tanh", "Tile", "TopKV2", "Transpose", "Unpack", "VarHandleOp", "ZerosLike",
})
# Of the saver alone: these read and write files under names that they are given.
SAVER_OPERATIONS = frozenset({
    "AssignVariableOp", "MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename", "StaticRegexFullMatch",
    "StringJoin",
})
_FILES = ("fingerprint.pb", MODEL, "variables/variables.index", "variables/variables.data-00000-of-00001")
_REMEDY = "it was not exported by this version's training; train again"

# The part of TensorFlow's messages that is read: message -> field -> (number, type, is it repeated). Messages that
# stand under a name are maps' entries. Numbers are those of tensorflow/core/{framework,protobuf}/*.proto.
_MESSAGES: Mapping[str, Mapping[str, tuple[int, str, bool]]] = {
    "SavedModel": {"meta_graphs": (2, "MetaGraph", True)},
    "MetaGraph": {"graph": (2, "Graph", False), "saver": (3, "Saver", False),
                  "collections": (4, "Collection", True), "signatures": (5, "Signature", True),
                  "assets": (6, "Asset", True), "objects": (7, "Objects", False)},
    "Graph": {"nodes": (1, "Node", True), "library": (2, "Library", False)},
    "Node": {"name": (1, "string", False), "op": (2, "string", False), "inputs": (3, "string", True),
             "attributes": (5, "Attribute", True)},
    "Attribute": {"key": (1, "string", False), "value": (2, "Value", False)},
    "Value": {"list": (1, "List", False), "function": (10, "FunctionName", False)},
    "List": {"functions": (9, "FunctionName", True)},
    "FunctionName": {"name": (1, "string", False), "attributes": (2, "Attribute", True)},
    "Library": {"functions": (1, "Function", True)},
    "Function": {"declared": (1, "Declared", False), "nodes": (3, "Node", True),
                 "attributes": (5, "Attribute", True)},
    "Declared": {"name": (1, "string", False)},
    "Collection": {"value": (2, "CollectionValue", False)},
    "CollectionValue": {"nodes": (1, "NodeList", False)},
    "NodeList": {"names": (1, "string", True)},
    "Signature": {"value": (2, "SignatureValue", False)},
    "SignatureValue": {"inputs": (1, "Argument", True), "outputs": (2, "Argument", True)},
    "Argument": {"value": (2, "Tensor", False)},
    "Tensor": {"name": (1, "string", False)},
    "Saver": {"save": (2, "string", False), "restore": (3, "string", False)},
    "Objects": {"functions": (2, "ObjectFunction", True)},
    "ObjectFunction": {"key": (1, "string", False)},
    "Asset": {"name": (2, "string", False)},
}


def _message_class() -> Any:
    """The class that reads a SavedModel's program, made of _MESSAGES."""
    file = descriptor_pb2.FileDescriptorProto(name="vitrine/saved_model.proto", package="vitrine", syntax="proto3")
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, is_repeated) in fields.items():
            is_text = kind == "string"
            message.field.add(
                name=field, number=number, type_name=None if is_text else f".vitrine.{kind}",
                # Names as bytes: one that is no UTF-8 is then a foreign name, and not an error of the reader.
                type=descriptor_pb2.FieldDescriptorProto.TYPE_BYTES if is_text
                else descriptor_pb2.FieldDescriptorProto.TYPE_MESSAGE,
                label=descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED if is_repeated
                else descriptor_pb2.FieldDescriptorProto.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("vitrine.SavedModel"))


_SavedModel = _message_class()


def check_saved_model(folder: Path) -> None:
    """See that a SavedModel can do nothing but compute.

    Args:
        folder: of the SavedModel; nothing in it is run.

    Raises:
        CorruptArtifact: a file is missing or foreign or a link, or an operation is not among OPERATIONS.
    """
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    for name, path in sorted(found.items()):
        is_known = name in _FILES or (path.is_dir() and name in ("variables", "assets"))
        if path.is_symlink() or not is_known:
            raise _refusal(folder, f"{name!r} is a link, or no file of a tower")
    missing = sorted({MODEL, *_FILES[2:]} - found.keys())
    if missing:
        raise _refusal(folder, f"{missing[0]} is missing")
    if (size := found[MODEL].stat().st_size) > MOST_BYTES:
        raise _refusal(folder, f"{MODEL} has {size:,} bytes, at most {MOST_BYTES:,} are read")
    model = _SavedModel()
    try:
        model.ParseFromString(found[MODEL].read_bytes())
    except DecodeError as error:
        raise _refusal(folder, f"{MODEL} cannot be read: {error}") from error
    if not model.meta_graphs:
        raise _refusal(folder, f"{MODEL} holds no graph")
    for graph in model.meta_graphs:
        _check_graph(folder, graph)


def _check_graph(folder: Path, meta_graph: Any) -> None:
    if meta_graph.assets:
        raise _refusal(folder, f"it reads the file {meta_graph.assets[0].name!r}")
    functions: dict[bytes, Any] = {}
    for function in meta_graph.graph.library.functions:
        if function.declared.name in functions:
            raise _refusal(folder, f"it has two functions {function.declared.name!r}")
        functions[function.declared.name] = function
    uses_files: set[bytes] = set()
    for where, nodes in [(b"", meta_graph.graph.nodes), *((name, f.nodes) for name, f in functions.items())]:
        for node in nodes:
            operation = node.op.decode("utf-8", "replace")
            if operation in OPERATIONS or node.op in functions:
                continue
            if operation not in SAVER_OPERATIONS or not where:
                raise _refusal(folder, f"operation {operation!r} ({node.name!r} of {where or 'the graph'!r}) is not "
                                       "among those that a tower is made of")
            uses_files.add(where)
    answering = _reached(functions, _entries(meta_graph, functions))
    if astray := sorted(uses_files & answering):
        raise _refusal(folder, f"{astray[0]!r} reads or writes files, and is called by what answers")


def _entries(meta_graph: Any, functions: Mapping[bytes, Any]) -> set[bytes]:
    """Functions that anything but the saver calls: those of the graph's other nodes, and those that objects offer."""
    saver = {_node(meta_graph.saver.save), _node(meta_graph.saver.restore)}
    # A node of the saver that a signature, the start or another node asks for is no longer the saver's alone.
    asked = {_node(name) for node in meta_graph.graph.nodes if node.name not in saver for name in node.inputs}
    for signature in meta_graph.signatures:
        asked |= {_node(a.value.name) for a in (*signature.value.inputs, *signature.value.outputs)}
    for collection in meta_graph.collections:
        asked |= {_node(name) for name in collection.value.nodes.names}
    others = [node for node in meta_graph.graph.nodes if node.name not in saver - asked]
    return _called(others, functions) | {entry.key for entry in meta_graph.objects.functions}


def _node(tensor: bytes) -> bytes:
    """The node that a tensor or a control input (^node) comes from."""
    return bytes(tensor).lstrip(b"^").split(b":")[0]


def _reached(functions: Mapping[bytes, Any], entries: Iterable[bytes]) -> set[bytes]:
    """All functions that are called from `entries`, by whatever way."""
    reached: set[bytes] = set()
    waiting = [name for name in entries if name in functions]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += _called(functions[name].nodes, functions) | set(_named(functions[name].attributes))
    return reached & functions.keys()


def _called(nodes: Iterable[Any], functions: Mapping[bytes, Any]) -> set[bytes]:
    found: set[bytes] = set()
    for node in nodes:
        found |= {name for name in (node.op, *_named(node.attributes)) if name in functions}
    return found


def _named(attributes: Iterable[Any]) -> Iterator[bytes]:
    """Functions that attributes name, those within named functions' own attributes too."""
    waiting = list(attributes)
    while waiting:
        value = waiting.pop().value
        for function in (value.function, *value.list.functions):
            if function.name:
                yield function.name
            waiting += function.attributes


def _refusal(folder: Path, fault: str) -> CorruptArtifact:
    return CorruptArtifact(f"SavedModel {folder}: {fault}; {_REMEDY}")
