"""What a bundle does to the process that opens it, it does to one that nobody needs."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from ai_edge_litert import schema_py_generated as lite

from pipelines.errors import BundleRefused, VitrineError
from serving.bundle_files import Bounds
from serving.live import Live
from serving.live_status import LiveSettings
from serving.rehearsal import Rehearsal
from tests.live_world import LiveShop, ask, bundle_of, digest_in
from tests.serving.conftest import seal_bundle
from tests.serving.test_lite_model import changed


@pytest.fixture
def rehearsal() -> Iterator[Rehearsal]:
    rehearsal = Rehearsal(120)
    yield rehearsal
    rehearsal.close()


def reserve_32_gb(model: Any) -> None:
    """Add FILL([2000, 2000, 2000], 0.0) to the graph: the file stays small, and each call wants 32 GB."""
    graph = model.subgraphs[0]
    model.buffers += [lite.BufferT(data=np.frombuffer(np.full(3, 2000, np.int32).tobytes(), np.uint8)),
                      lite.BufferT(data=np.zeros(4, np.uint8))]
    graph.tensors += [lite.TensorT(name="dims", shape=[3], type=lite.TensorType.INT32, buffer=len(model.buffers) - 2),
                      lite.TensorT(name="zero", shape=[], buffer=len(model.buffers) - 1),
                      lite.TensorT(name="filled", shape=[])]
    model.operatorCodes.append(lite.OperatorCodeT(deprecatedBuiltinCode=lite.BuiltinOperator.FILL,
                                                  builtinCode=lite.BuiltinOperator.FILL, version=1))
    last = len(graph.tensors)
    graph.operators.append(lite.OperatorT(opcodeIndex=2, inputs=[last - 3, last - 2], outputs=[last - 1]))


def test_a_sound_bundle_passes_each_time(rehearsal: Rehearsal, bundle_folder: Path) -> None:
    for _ in range(2):
        rehearsal.rehearse(bundle_folder, digest_in(bundle_folder), Bounds())


def test_what_is_refused_there_is_refused_here_with_its_reason(rehearsal: Rehearsal, bundle_folder: Path) -> None:
    with pytest.raises(BundleRefused, match="at most 100 are read"):
        rehearsal.rehearse(bundle_folder, digest_in(bundle_folder), Bounds(file_bytes=100))
    (bundle_folder / "spec.json").write_text("{}")
    seal_bundle(bundle_folder)
    with pytest.raises(BundleRefused, match="event_types"):
        rehearsal.rehearse(bundle_folder, digest_in(bundle_folder), Bounds())


def test_memory_without_end_is_not_given(rehearsal: Rehearsal, bundle_folder: Path) -> None:
    changed(bundle_folder / "user_tower.tflite", reserve_32_gb)
    seal_bundle(bundle_folder)
    with pytest.raises(VitrineError, match=r"cannot be opened and asked|died of|MemoryError|bad_alloc"):
        rehearsal.rehearse(bundle_folder, digest_in(bundle_folder), Bounds())


def waiting() -> psutil.Process:
    """The process that stands ready, among the servers of other tests; at first it has its parent's command line."""
    until = time.monotonic() + 10
    found: list[psutil.Process] = []
    while not found and time.monotonic() < until:
        found = [one for one in psutil.Process().children() if "serving.rehearsal" in one.cmdline()]
    (child,) = found
    return child


@pytest.mark.parametrize(("ended", "error", "fault"), [
    (signal.SIGSEGV, BundleRefused, "died of SIGSEGV"), (signal.SIGABRT, BundleRefused, "died of SIGABRT"),
    (signal.SIGKILL, VitrineError, "status -9.*tried again later"),  # the kernel's, for want of memory: not its fault
])
def test_how_it_ends_decides_whose_fault_it_is(
    rehearsal: Rehearsal, bundle_folder: Path, ended: signal.Signals, error: type[Exception], fault: str
) -> None:
    rehearsal.prepare()
    child = waiting()
    child.suspend()  # so that the signal comes while the bundle is its business

    def end() -> None:
        child.send_signal(ended)
        with contextlib.suppress(psutil.NoSuchProcess):  # SIGKILL does not wait until a process goes on
            child.resume()

    threading.Timer(1, end).start()
    with pytest.raises(error, match=fault) as caught:
        rehearsal.rehearse(bundle_folder, digest_in(bundle_folder), Bounds())
    assert type(caught.value) is error


def test_one_that_hangs_is_ended(bundle_folder: Path) -> None:
    rehearsal = Rehearsal(1)
    rehearsal.prepare()
    child = waiting()
    child.suspend()
    with pytest.raises(VitrineError, match="did not open and answer within 1 s"):
        rehearsal.rehearse(bundle_folder, digest_in(bundle_folder), Bounds())
    assert not child.is_running()


def test_one_that_was_ended_while_it_waited_is_replaced(rehearsal: Rehearsal, bundle_folder: Path) -> None:
    rehearsal.prepare()
    child = waiting()
    child.kill()
    time.sleep(0.2)
    rehearsal.rehearse(bundle_folder, digest_in(bundle_folder), Bounds())


def test_it_ends_with_whoever_started_it(rehearsal: Rehearsal) -> None:
    rehearsal.prepare()
    child = waiting()
    rehearsal._child.stdin.close()  # as the kernel closes it for a process that is gone
    assert child.wait(timeout=60) == 0


def test_a_serving_process_survives_what_ends_the_rehearsal(tmp_path: Path) -> None:
    shop = LiveShop(tmp_path)
    shop.release(1)
    with Live(shop.store, LiveSettings()) as live:
        evil = shop.folder(2)
        changed(evil / "user_tower.tflite", reserve_32_gb)
        shop.release(shop.store.add_bundle(seal_bundle(evil)))
        until = time.monotonic() + 120
        while live.status().trouble is None and time.monotonic() < until:
            assert bundle_of(ask(live.served(), 1), 1) == 1
        assert live.status().newest == 2
        assert live.status().trouble is not None
        assert live.status().number == 1
        assert bundle_of(ask(live.served(), 1), 1) == 1
    assert [one for one in psutil.Process().children() if "serving.rehearsal" in one.cmdline()] == []
