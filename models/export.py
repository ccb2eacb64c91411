"""What leaves training: matrices, a LiteRT user tower for serving and a SavedModel for the registry."""

from pathlib import Path

import numpy as np

from models.legacy_keras import tf
from models.training import Fitted
from pipelines.snapshot import SnapshotData
from serving.item_tower_files import LENGTHS


def export(fitted: Fitted, data: SnapshotData, out: Path) -> None:
    """Write item_vectors.npy, item_inputs.npy, the item tower, saved_model/ and user_tower.tflite into `out`."""
    vectors, inputs = fitted.members.item_matrices()
    np.save(out / "item_vectors.npy", vectors, allow_pickle=False)
    np.save(out / "item_inputs.npy", inputs, allow_pickle=False)
    fitted.members.embedding(fitted.demand.unsold + fitted.newcomer_offset).save(out)
    np.save(out / LENGTHS, fitted.members.lengths(), allow_pickle=False)
    served = fitted.members.tower
    sized = {f"visits_{slots}": served.of_size(slots) for slots in served.sizes}
    tf.saved_model.save(served, str(out / "saved_model"), signatures={"serving_default": served.function, **sized})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(out / "saved_model"), signature_keys=list(sized))
    (out / "user_tower.tflite").write_bytes(converter.convert())
