"""Corrupted, mixed and malicious bundles: all are refused, and the old release goes on answering.

Three hands at the store:

    damage   a disk, or somebody who can write some files: manifest and record say what was meant
    forger   also rewrites the manifest, so that the folder is whole: the record then names another digest
    owner    also rewrites the record. Digests say nothing any more; what is dangerous has to show in the contents

An owner who makes another sound bundle has made a release: the log's actor and reason say who, and the gate did not.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from ai_edge_litert import schema_py_generated as lite

from pipelines.artifacts import MANIFEST
from pipelines.index import IndexSettings, build_scann
from serving.bundle import Bundle
from serving.bundle_files import CONFIG, INDEX
from serving.live import Live
from serving.live_status import LiveSettings
from serving.recommender import Recommender
from serving.warmup import warm_up
from tests.faults.conftest import Sweep
from tests.live_world import LiveShop, ask, bundle_of, digest_in
from tests.release_world import user_tower
from tests.serving.conftest import seal_bundle

Change = Callable[[Path], None]
RUNS_CODE = b"cos\n_exit\n(I9\ntR."  # whoever unpickles it ends with status 9


@dataclass(frozen=True)
class Case:
    """One damaged bundle: who did it (damage, forger, owner), and what to a whole bundle folder."""

    hand: str
    name: str
    change: Change


def on(name: str, change: Callable[[bytes], bytes]) -> Change:
    """Rewrite the bytes of one file."""
    def apply(folder: Path) -> None:
        before = (folder / name).read_bytes()
        after = change(before)
        assert after != before, name
        (folder / name).write_bytes(after)

    return apply


def flip(place: float) -> Callable[[bytes], bytes]:
    """One bit, at a share of the file."""
    def change(content: bytes) -> bytes:
        at = min(int(len(content) * place), len(content) - 1)
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]

    return change


CONTENTS: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"", "half": lambda content: content[: len(content) // 2],
    "one byte less": lambda content: content[:-1], "one byte more": lambda content: content + b"\0",
    "first bit": flip(0), "middle bit": flip(0.5), "last bit": flip(1),
}


def remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def replace_by_link(name: str) -> Change:
    """The very file, but outside, where it can be changed after it was checked."""
    def apply(folder: Path) -> None:
        outside = folder.parent / f"outside-{folder.name[:8]}-{Path(name).name}"
        shutil.move(folder / name, outside)
        (folder / name).symlink_to(outside)

    return apply


def replace_by_pipe(name: str) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return apply


def replace_by_folder(name: str) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).mkdir()

    return apply


def take(name: str, other: Path) -> Change:
    """The same file of another version."""
    return on(name, lambda _: (other / name).read_bytes())


def add(name: str, content: bytes = RUNS_CODE) -> Change:
    """Put a file that no bundle has; `name` stays below the folder."""
    def apply(folder: Path) -> None:
        path = folder / name
        assert path.resolve().is_relative_to(folder.resolve())
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)

    return apply


def tell(name: str) -> Change:
    """Have the manifest tell of a file elsewhere; nothing is ever written there."""
    def apply(folder: Path) -> None:
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["files"][name] = dict(manifest["files"]["spec.json"])
        (folder / MANIFEST).write_text(json.dumps(manifest))

    return apply


def document(name: str, change: Callable[[Any], Any]) -> Change:
    return on(name, lambda content: json.dumps(change(json.loads(content))).encode())


def array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda folder: np.save(folder / name, change(np.load(folder / name)), allow_pickle=True)


def table(change: Callable[[pa.Table], pa.Table]) -> Change:
    return lambda folder: pq.write_table(change(pq.read_table(folder / "items.parquet")), folder / "items.parquet")


def tower(change: Callable[[Any], None]) -> Change:
    def apply(folder: Path) -> None:
        from tests.serving.test_lite_model import changed

        changed(folder / "user_tower.tflite", change)

    return apply


def with_operator(code: int, custom: str | None = None) -> Change:
    return tower(lambda model: model.operatorCodes.append(lite.OperatorCodeT(
        deprecatedBuiltinCode=min(code, 127), builtinCode=code, customCode=custom, version=1)))


def of_name(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """An array of objects in place of numbers, which only unpickling could read."""
    return lambda array: np.array([name] * len(array), object)


def with_cell(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[3] = value
        return array

    return change


BUILTIN = lite.BuiltinOperator
DANGEROUS: dict[str, Change] = {
    "a pickle beside": add("model.pkl"), "a pickle in the index": add(f"{INDEX}/scann_docids.pkl"),
    "a hidden file": add(".bashrc"), "a folder": add("more/x.npy"), "a script": add("setup.py", b"raise SystemExit"),
    "an operator from outside": with_operator(BUILTIN.CUSTOM, "FlexWriteFile"),
    "a loop": with_operator(BUILTIN.WHILE), "a branch": with_operator(BUILTIN.IF),
    "state": with_operator(BUILTIN.VAR_HANDLE), "a call": with_operator(BUILTIN.CALL_ONCE),
    "a table in a file": tower(lambda m: setattr(m, "externalBufferGroups", [lite.ExternalBufferGroupT(name="../x")])),
    "a tower of 4 GB": tower(lambda m: setattr(m.subgraphs[0].tensors[0], "shape", [1, 5, 1 << 30])),
    "another signature": tower(lambda m: setattr(m.signatureDefs[0], "signatureKey", "train")),
    "no signature": tower(lambda m: m.signatureDefs.clear()),
    "a tensor that is not there": tower(lambda m: setattr(m.signatureDefs[0].inputs[0], "tensorIndex", 1 << 30)),
    "objects as vectors": array("item_vectors.npy", of_name("x")),
    "objects as inputs": array("item_inputs.npy", of_name("x")),
    "objects as rows": array("popularity.npy", of_name("x")),
    "no numbers": array("item_vectors.npy", with_cell(np.nan)),
    "endless numbers": array("item_inputs.npy", with_cell(np.inf)),
    "fewer vectors": array("item_vectors.npy", lambda a: a[:-1]),
    "narrower vectors": array("item_vectors.npy", lambda a: a[:, 1:]),
    "wider inputs": array("item_inputs.npy", lambda a: np.concatenate([a, a], axis=1)),
    "wider numbers": array("item_inputs.npy", lambda a: a.astype(np.float64)),
    "a row twice": array("popularity.npy", with_cell(0)), "a row outside": array("popularity.npy", with_cell(40)),
    "a row before": array("popularity.npy", with_cell(-1)),
    "rows as numbers": array("popularity.npy", lambda a: a.astype(np.float32)),
    "a petabyte announced": on("item_vectors.npy", lambda content: content.replace(b"(40, 5), }", b"(1<<50,5),}")),
    "an item twice": table(lambda t: t.slice(0, 39).append_column("x", [[1] * 39]).drop_columns("x")),
    "an item without id": table(lambda t: t.set_column(0, "item_id", pa.array([None] * 40, pa.string()))),
    "no ids": table(lambda t: t.rename_columns(["id", "name"])), "no names": table(lambda t: t.drop_columns("name")),
    "structures": table(lambda t: t.append_column("x", pa.array([{"a": 1}] * 40))),
    "endless nesting": on("spec.json", lambda _: b"[" * 100_000), "no document": on("spec.json", lambda _: b"\xff"),
    "a list": document("spec.json", lambda _: []), "no visits": document("spec.json", lambda s: s | {"visits": 0}),
    "many visits": document("spec.json", lambda s: s | {"visits": 1 << 40}),
    "more visits than the tower": document("spec.json", lambda s: s | {"visits": 6}),
    "more types": document("spec.json", lambda s: s | {"event_types": ["a", "b"]}),
    "more slots": document("spec.json", lambda s: s | {"user_slots": 2}),
    "a column that is not there": document("spec.json", lambda s: s | {"display": {"title": "secret"}}),
    "other weights": document("spec.json", lambda s: s | {"event_weights": {"x": 1.0}}),
    "a name twice": on("tombstones.json", lambda _: b'{"a": 1, "a": 2}'),
    "tombstones of numbers": document("tombstones.json", lambda _: [1]),
    "tombstones by name": document("tombstones.json", lambda _: {"i00": True}),
    "deep provenance": on("provenance.json", lambda _: b'{"a":' * 40 + b"1" + b"}" * 40),
    "provenance of not a number": on("provenance.json", lambda _: b'{"a": NaN}'),
    "another kind of index": document(f"{INDEX}/{CONFIG}", lambda c: c | {"kind": "remote"}),
    "another field of the index": document(f"{INDEX}/{CONFIG}", lambda c: c | {"url": "http://elsewhere"}),
    "an index without parts": document(f"{INDEX}/{CONFIG}", lambda c: {
        "kind": "scann", "leaves": 4, "leaves_to_search": 2, "reorder": 9}),
    "a part without an index": add(f"{INDEX}/dataset.npy"),
    "a closed search's files": add("item_text.npy"),
}
ESCAPES = ("../outside.npy", "index/../../outside.npy", "/outside.npy", "index/scann_docids.pkl", "C:\\outside.npy",
           "spec.json/../outside", "", ".", "..", "index", "manifest.json", "contract.json", "item_vectors.npy\0.pkl")


def cases(sound: Path, other: Path) -> Iterator[Case]:
    """Every case for a sound bundle; `other` differs from it in each of its files."""
    names = sorted(p.relative_to(sound).as_posix() for p in sound.rglob("*") if p.is_file())
    for name in names:
        for what, change in CONTENTS.items():
            yield Case("damage", f"{name}: {what}", on(name, change))
        yield Case("damage", f"{name}: missing", remove(name))
        yield Case("damage", f"{name}: of another version", take(name, other))
        yield Case("damage", f"{name}: a link", replace_by_link(name))
        yield Case("damage", f"{name}: a pipe", replace_by_pipe(name))
        yield Case("damage", f"{name}: a folder", replace_by_folder(name))
    for what, change in DANGEROUS.items():
        yield Case("damage", what, change)
    for name in ESCAPES:
        yield Case("damage", f"tells of {name!r}", tell(name))
    files = [name for name in names if name != MANIFEST]
    for name in files:
        for what, change in CONTENTS.items():
            yield Case("forger", f"{name}: {what}", on(name, change))
        yield Case("forger", f"{name}: of another version", take(name, other))
    for what, change in DANGEROUS.items():
        yield Case("forger", what, change)
        yield Case("owner", what, change)
    for name in ESCAPES:
        yield Case("owner", f"tells of {name!r}", tell(name))
    for name in files:
        if name != "vocabulary.json":  # a shop without features has none
            yield Case("owner", f"{name}: missing", remove(name))
        yield Case("owner", f"{name}: a link", replace_by_link(name))
        for what in ("empty", "half", "one byte less"):
            # The last byte of a LiteRT file fills up a word; without it the model is the same.
            if not (name.endswith(".tflite") and what == "one byte less"):
                yield Case("owner", f"{name}: {what}", on(name, CONTENTS[what]))


def other_version(folder: Path) -> Path:
    """Change every file of a bundle so that it is another sound one."""
    for name in ("item_vectors.npy", "item_inputs.npy"):
        np.save(folder / name, np.load(folder / name) * np.float32(1.01))
    np.save(folder / "popularity.npy", np.load(folder / "popularity.npy")[::-1].copy())
    content = pq.read_table(folder / "items.parquet").to_pandas()
    pq.write_table(pa.table({"item_id": content["item_id"], "name": content["name"].str.upper()}),
                   folder / "items.parquet")
    for name in ("spec.json", "provenance.json", "vocabulary.json", f"{INDEX}/{CONFIG}"):
        (folder / name).write_text((folder / name).read_text() + "\n")
    (folder / "tombstones.json").write_text('["i39"]')
    (folder / "user_tower.tflite").write_bytes(user_tower() + b"\0" * 16)
    return seal_bundle(folder)


def spoil(case: Case, shop: LiveShop, sound: Path) -> None:
    """Put the case into the store and release it."""
    if case.hand == "damage":
        digest = shop.store.add_bundle(sound)
        shop.release(digest)
        case.change(shop.inside(digest))
        return
    spoilt = Path(shutil.copytree(sound, shop.root / "spoilt"))
    case.change(spoilt)
    if "tells of" not in case.name:  # there the manifest is what was changed
        seal_bundle(spoilt)
    digest = digest_in(sound) if case.hand == "forger" else digest_in(spoilt)
    spoilt.rename(shop.inside(digest))
    shop.release(digest)


def run_cases(sweep: Sweep, shop: LiveShop, sound: Path, other: Path, every: int) -> int:
    """Run every n-th case; how many were run."""
    live = Live(shop.store, LiveSettings(is_rehearsed=False))
    live.look()
    number, run, accepted = live.served().release.number, 0, []
    all_cases = list(cases(sound, other))
    for case in all_cases[:: sweep.size(every, 1)]:
        spoil(case, shop, sound)
        live.look()
        status, newest = live.status(), shop.store.live()
        assert newest is not None
        run += 1
        if status.number != number:
            accepted.append(f"{case.hand}: {case.name}")
            number = status.number
            continue
        assert [refused.number for refused in status.refused][-1] == newest.number, (case, status.trouble)
        assert bundle_of(ask(live.served(), run), run) == 1, case
        shutil.rmtree(shop.inside(newest.bundle), ignore_errors=True)
    assert accepted == []
    sweep.count(spoilt_bundles=run, of=len(all_cases), accepted=len(accepted))
    return run


def test_spoilt_bundles_are_refused_and_the_old_release_answers(sweep: Sweep, tmp_path: Path) -> None:
    shop = LiveShop(tmp_path)
    shop.release(1)
    sound, other = shop.folder(2), other_version(shop.folder(3))
    # Each of the two is sound in itself: what is refused is refused for what was done to it.
    for folder in (sound, other):
        warm_up(Recommender(Bundle.load(folder)))
    run = run_cases(sweep, shop, sound, other, every=6)
    assert run >= sweep.size(60, 300)


def test_spoilt_scann_indexes_are_refused_and_the_old_release_answers(sweep: Sweep, tmp_path: Path) -> None:
    """The parts of a ScaNN index in place of the exact one; each is refused before ScaNN is given it."""
    shop = LiveShop(tmp_path)
    shop.release(1)
    folders = []
    for number in (2, 3):
        folder = shop.folder(number)
        shutil.rmtree(folder / INDEX)
        rng = np.random.default_rng(number)
        vectors = np.load(folder / "item_vectors.npy")
        np.save(folder / "item_vectors.npy", vectors + rng.normal(scale=1e-3, size=vectors.shape).astype(np.float32))
        vectors = np.load(folder / "item_vectors.npy")
        build_scann(vectors, vectors[:5], IndexSettings(exact_below=100), folder / INDEX)
        folders.append(seal_bundle(folder))
    sound, other = folders
    live = Live(shop.store, LiveSettings(is_rehearsed=False))
    live.look()
    run = 0
    for name in sorted(path.name for path in (sound / INDEX).iterdir()):
        part = f"{INDEX}/{name}"
        changes = {what: on(part, change) for what, change in CONTENTS.items()} | {
            "missing": remove(part), "a link": replace_by_link(part)}
        if (other / part).read_bytes() != (sound / part).read_bytes():
            changes["of another version"] = take(part, other)
        hands = {"damage": changes, "forger": {n: c for n, c in changes.items() if n not in ("missing", "a link")},
                 "owner": {n: c for n, c in changes.items() if n in ("missing", "a link", "empty", "half")}}
        for hand, chosen in hands.items():
            for what, change in chosen.items():
                spoil(Case(hand, f"{part}: {what}", change), shop, sound)
                live.look()
                newest = shop.store.live()
                assert newest is not None
                assert live.status().number == 1, (hand, part, what)
                assert [refused.number for refused in live.status().refused][-1] == newest.number
                shutil.rmtree(shop.inside(newest.bundle), ignore_errors=True)
                run += 1
    sweep.count(spoilt_indexes=run, accepted=0)
    assert run >= 100
