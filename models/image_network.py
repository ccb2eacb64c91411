"""The network of the image encoder: a small residual convolutional network (He et al. 2016)."""

from models.legacy_keras import tf
from serving.pictures import SHAPE

# Roughly the mean and deviation of product photographs on white: the first layer meets centred numbers.
_MEAN, _DEVIATION = 200.0, 75.0
_STAGES = 4


class Convolution(tf.keras.layers.Layer):
    """3 x 3 convolution and batch normalisation, which export folds into one."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.convolution = tf.keras.layers.Conv2D(
            channels, 3, stride, "same", use_bias=False, kernel_initializer="he_normal")
        # A training is some hundred steps: statistics have to follow within dozens.
        self.norm = tf.keras.layers.BatchNormalization(momentum=0.9)

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[n, h / stride, w / stride, channels] from [n, h, w, any]."""
        return self.norm(self.convolution(x), training=training)


class ImageNetwork(tf.keras.layers.Layer):
    """Pictures -> vectors of length 1.

    Four stages, each of half the height and width and twice the channels of the one before; all but the first
    with a residual block. The mean over what is left of the plane is projected to the vector, so that pictures
    of any size above 16 pixels can be trained on.
    """

    def __init__(self, dimension: int, width: int) -> None:
        super().__init__(name="image_network")
        channels = [width * 2**stage for stage in range(_STAGES)]
        self.reduce = [Convolution(c, 2) for c in channels]
        self.residual = [(Convolution(c), Convolution(c)) for c in channels[1:]]
        self.project = tf.keras.layers.Dense(dimension)

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Vectors float32 [n, dimension] of images [n, height, width, 3] in 0..255."""
        x = (tf.cast(images, tf.float32) - _MEAN) / _DEVIATION
        for stage, reduce in enumerate(self.reduce):
            x = tf.nn.relu(reduce(x, training=training))
            if stage:
                first, second = self.residual[stage - 1]
                inner = tf.nn.relu(first(x, training=training))
                x = tf.nn.relu(x + second(inner, training=training))
        return tf.math.l2_normalize(self.project(tf.reduce_mean(x, axis=[1, 2])), axis=-1, epsilon=1e-12)


class ServedNetwork(tf.Module):
    """The network under a fixed signature: input `image` uint8 [n, HEIGHT, WIDTH, 3], output `vector`."""

    def __init__(self, network: ImageNetwork) -> None:
        super().__init__(name="image_encoder")
        self.network = network
        self.serve = tf.function(self._vector).get_concrete_function(
            image=tf.TensorSpec([None, *SHAPE], tf.uint8, "image"))

    def _vector(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"vector": self.network(image)}
