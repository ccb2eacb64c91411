"""The one door to TensorFlow: TFRS works with Keras 2 only, and that must be said before the first import."""

import os
import sys

if "tensorflow" not in sys.modules:
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import tensorflow as tf
import tensorflow_recommenders as tfrs

if not tf.keras.backend.__name__.startswith("tf_keras"):
    raise ImportError(
        f"TensorFlow was imported with {tf.keras.backend.__name__}, TensorFlow Recommenders needs Keras 2: "
        "import models.legacy_keras first, or set TF_USE_LEGACY_KERAS=1"
    )

__all__ = ["tf", "tfrs"]
