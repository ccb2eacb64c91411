"""Several processes that train as one: each takes its share of every batch, gradients are summed.

The engine is tf.distribute.MultiWorkerMirroredStrategy. A training of one process uses TensorFlow's default strategy
and the same code. Every process holds the whole model and reads the whole log; worker 0 is the chief, who alone
writes files.
"""

import json
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from models.batches import Share
from models.legacy_keras import tf
from pipelines.errors import SettingsError, WorkerLost
from pipelines.progress import log
from pipelines.settings import Cluster

# What TensorFlow raises in a worker when another one is gone, by what it was doing at that moment.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.InternalError,
         tf.errors.DeadlineExceededError, tf.errors.FailedPreconditionError)


class Workers:
    """The processes of one training, seen from one of them.

    Args:
        strategy: places variables and sums over workers.
        share: which of the workers this is.
    """

    def __init__(self, strategy: Any, share: Share) -> None:
        self.strategy, self.share = strategy, share
        self._sum = tf.function(
            lambda value: strategy.run(summed, args=(value,)), reduce_retracing=True, autograph=False)

    @classmethod
    def join(cls, cluster: Cluster | None, seconds: float = 600) -> "Workers":
        """This process alone, or with the others of its cluster once all are there.

        Args:
            cluster: addresses of all workers and which of them this is; None for a training of one process.
            seconds: the longest wait for the others.

        Raises:
            WorkerLost: the others did not come in time, or this worker's port is taken.
            SettingsError: this process has more than one accelerator, or ran TensorFlow before.
        """
        if cluster is None or len(cluster.workers) == 1:
            return cls(tf.distribute.get_strategy(), Share())
        _meet(cluster, seconds)
        spec = tf.train.ClusterSpec({"worker": list(cluster.workers)})
        resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
            spec, task_type="worker", task_id=cluster.index, rpc_layer="grpc")
        try:
            strategy = tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
        except RuntimeError as error:
            raise SettingsError(f"worker {cluster.index} cannot join its cluster: {error}; a worker has to be a "
                                "process of its own, one for each training") from error
        if strategy.num_replicas_in_sync != len(cluster.workers):
            raise SettingsError(
                f"{strategy.num_replicas_in_sync} accelerators for {len(cluster.workers)} workers: start a worker for "
                "each, and let it see that one alone (CUDA_VISIBLE_DEVICES)")
        log.info("train: worker %d of %d", cluster.index, len(cluster.workers))
        return cls(strategy, Share(cluster.index, len(cluster.workers)))

    @property
    def is_chief(self) -> bool:
        """Whether this process writes files and says what is the case."""
        return self.share.index == 0

    def sum(self, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Sum over the workers of an array that has the same shape in each, in double precision."""
        return np.asarray(self._sum(tf.constant(np.asarray(values, np.float64))).numpy())

    def document(self, own: Any) -> Any:
        """The chief's JSON document, in every worker."""
        if self.share.workers == 1:
            return own
        text = np.frombuffer(json.dumps(own).encode(), np.uint8) if self.is_chief else np.zeros(0, np.uint8)
        length = int(self.sum(len(text)))
        told = self.sum(text if self.is_chief else np.zeros(length))
        return json.loads(told.astype(np.uint8).tobytes())

    def copy_from_chief(self, variables: Sequence[tf.Variable]) -> None:
        """Give every worker the chief's values."""
        if self.share.workers == 1:
            return
        for variable in variables:
            own = tf.convert_to_tensor(variable)
            variable.assign(self._sum(own if self.is_chief else tf.zeros_like(own)))

    @contextmanager
    def together(self) -> Iterator[None]:
        """What goes on among the workers: a loss of one ends it.

        Raises:
            WorkerLost: another worker died or cannot be reached.
        """
        try:
            yield
        except _LOST as error:
            if self.share.workers == 1:
                raise
            said = (error.message or type(error).__name__).strip().splitlines()[-1]
            raise WorkerLost(
                f"worker {self.share.index} of {self.share.workers} lost another one: {said}; start all workers again, "
                "they go on from the last checkpoint") from error


def summed(value: tf.Tensor) -> tf.Tensor:
    """Sum over the workers, within a step."""
    # A function's argument lies on no device yet; the sum is placed where its value is.
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(value))


def _meet(cluster: Cluster, seconds: float) -> None:
    """Wait until every worker's port answers: TensorFlow would wait for a missing one without an end."""
    (_, own_port), until = _address(cluster.workers[cluster.index]), time.monotonic() + seconds
    missing = {address for index, address in enumerate(cluster.workers) if index != cluster.index}
    with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", own_port))
        except OSError as error:
            raise WorkerLost(f"worker {cluster.index}: port {own_port} is taken ({error}); is an earlier worker "
                             "still running? end it and start all again") from error
        listener.listen(128)  # the system accepts for us: to connect is all that the others do
        while missing:
            for address in sorted(missing):
                with closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as probe:
                    probe.settimeout(2)
                    try:
                        probe.connect(_address(address))
                    except OSError:
                        continue
                missing.discard(address)
            if missing and time.monotonic() > until:
                raise WorkerLost(f"worker {cluster.index} waited {seconds:.0f} s for {', '.join(sorted(missing))}: "
                                 "start all workers at the same time, with the same addresses")
            if missing:
                time.sleep(0.2)


def _address(worker: str) -> tuple[str, int]:
    host, _, port = worker.rpartition(":")
    return host, int(port)
