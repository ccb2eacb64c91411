"""Words and pictures for the arithmetic shop of tests/release_world.py, so that every search is known by hand.

Item i is of the colour COLOURS[i % 4] and has the words COLOURS[i % 4] and n07 for i = 7. In the query table a colour
is the one-hot vector of its group, n07 is column 7 of 40 of text, and n-grams ask for white. Both words of an item add
their vectors, over the square root of 2: colours add none. So

    score("red n08", i) = 2 if i is red + 1 / sqrt(2) if i is 8

Items 0 to 19 have a picture, of their colour alone, as unit vector of red, green and blue. The image encoder gives the
mean of each channel, 0 to 255.
"""

import io
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as lite
from PIL import Image

from pipelines.artifacts import write_json
from serving.doors import (
    DOORS,
    IMAGE_ENCODER,
    ITEM_TEXT,
    PICTURE_ROWS,
    PICTURE_VECTORS,
    SEARCH_QUERIES,
    Door,
    Doors,
)
from serving.query_encoder import QueryEncoder
from serving.query_text import Tokens

ITEMS, COLUMNS = 40, 5  # of the arithmetic shop's item vectors
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
PICTURED, BUCKETS = 20, 256
NUMBERS = [f"n{row:02d}" for row in range(ITEMS)]
WORDS = [*COLOURS, *NUMBERS]


def encoder() -> QueryEncoder:
    """The query encoder of the table above."""
    table = np.zeros((len(WORDS) + BUCKETS, COLUMNS + ITEMS), np.float32)
    table[: len(COLOURS), : len(COLOURS)] = np.eye(len(COLOURS))
    table[len(COLOURS) : len(WORDS), COLUMNS:] = np.eye(ITEMS)
    table[len(WORDS) :, len(COLOURS) - 1] = 1
    item_words = np.zeros((len(WORDS), ITEMS), np.float32)
    item_words[len(COLOURS) :] = np.eye(ITEMS)
    return QueryEncoder(Tokens({word: row for row, word in enumerate(WORDS)}, BUCKETS), table, item_words)


def write_doors(folder: Path) -> None:
    """Everything that a training leaves for search."""
    query = encoder()
    query.save(folder)
    names = list(COLOURS)
    np.save(folder / ITEM_TEXT, query.text_block([[names[row % 4], NUMBERS[row]] for row in range(ITEMS)]))
    write_json(folder / SEARCH_QUERIES, [{"typed": f"{names[row % 4]} {NUMBERS[row]}", "item": row}
                                         for row in range(0, ITEMS, 7)])
    colours = np.array([COLOURS[names[row % 4]] for row in range(PICTURED)], np.float32)
    np.save(folder / PICTURE_VECTORS, colours / np.linalg.norm(colours, axis=1, keepdims=True))
    np.save(folder / PICTURE_ROWS, np.arange(PICTURED, dtype=np.int64))
    (folder / IMAGE_ENCODER).write_bytes(image_encoder())
    write_json(folder / DOORS, Doors(search=Door(figures={"exact_recall@10": 0.9}),
                                     pictures=Door(figures={"precision@10": 0.8})))


def photograph(colour: str) -> bytes:
    """A picture of one colour, of the encoder's own proportions."""
    file = io.BytesIO()
    Image.new("RGB", (48, 64), COLOURS[colour]).save(file, "PNG")
    return file.getvalue()


def image_encoder() -> bytes:
    """The LiteRT model: the mean over height and width, of uint8 [n, 64, 48, 3]."""
    def tensor(name: str, shape: list[int], kind: int, buffer: int = 0) -> lite.TensorT:
        return lite.TensorT(name=name, shape=shape, type=kind, buffer=buffer, shapeSignature=[-1, *shape[1:]])

    size = [1, 64, 48, 3]
    tensors = [tensor("image", size, lite.TensorType.UINT8), tensor("float", size, lite.TensorType.FLOAT32),
               lite.TensorT(name="axes", shape=[2], type=lite.TensorType.INT32, buffer=1),
               tensor("vector", [1, 3], lite.TensorType.FLOAT32)]
    cast = lite.CastOptionsT(inDataType=lite.TensorType.UINT8, outDataType=lite.TensorType.FLOAT32)
    operators = [
        lite.OperatorT(opcodeIndex=0, inputs=[0], outputs=[1], builtinOptions=cast,
                       builtinOptionsType=lite.BuiltinOptions.CastOptions),
        lite.OperatorT(opcodeIndex=1, inputs=[1, 2], outputs=[3], builtinOptions=lite.ReducerOptionsT(keepDims=False),
                       builtinOptionsType=lite.BuiltinOptions.ReducerOptions),
    ]
    codes = [lite.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=1)
             for code in (lite.BuiltinOperator.CAST, lite.BuiltinOperator.MEAN)]
    graph = lite.SubGraphT(tensors=tensors, inputs=[0], outputs=[3], operators=operators, name="main")
    signature = lite.SignatureDefT(inputs=[lite.TensorMapT(name="image", tensorIndex=0)],
                                   outputs=[lite.TensorMapT(name="vector", tensorIndex=3)],
                                   signatureKey="serving_default", subgraphIndex=0)
    buffers = [lite.BufferT(), lite.BufferT(data=np.frombuffer(np.array([1, 2], np.int32).tobytes(), np.uint8))]
    model = lite.ModelT(version=3, operatorCodes=codes, subgraphs=[graph], buffers=buffers, signatureDefs=[signature],
                        description="")
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
