"""The log of erasures: it names nobody, stands whoever writes it, and covers exactly what happened up to its time."""

import hashlib
import hmac
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import CorruptArtifact, StoreUnreachable
from serving.erased import NOBODY, Erased, ErasureLog
from serving.erased_watch import ErasedWatch
from serving.panel import Shopper
from serving.storage import Storage, open_storage
from tests.s3_server import S3

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOON_US = 1_795_262_400_000_000  # date -d 2026-11-21T12:00:00Z +%s
WHO = {"actor": "tester", "reason": "request 17"}
HISTORY = Shopper(items=("i1", "i2"), types=("view", "view"), weights=(1.0, 1.0), seconds_before=(90, 30))


@pytest.fixture(params=["folder", "bucket"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return open_storage(tmp_path / "store")
    s3: S3 = request.getfixturevalue("s3")
    return open_storage(s3.new_store(), s3.options)


def test_it_covers_a_person_up_to_its_time_under_every_id(storage: Storage) -> None:
    log = ErasureLog(storage)
    assert log.read().number == 0 and storage.entries("erased") == []  # reading makes nothing
    record = log.erase(["C-7", "session-1"], at=NOON, **WHO)
    assert (record.number, record.actor, record.reason, record.erased_at) == (1, "tester", "request 17", NOON)
    erased = log.read()
    for user in ("C-7", "session-1"):
        assert erased.covers(user, NOON_US) and not erased.covers(user, NOON_US + 1)
    assert not erased.covers("C-70", 0) and not erased.covers("", 0)
    assert erased.among(["C-7", "C-8"]) == {"C-7": NOON_US}
    assert NOBODY.among(["C-7"]) == {}


def test_no_object_of_the_store_names_the_person(tmp_path: Path) -> None:
    storage = open_storage(tmp_path / "store")
    ErasureLog(storage).erase(["customer-4711"], at=NOON, histories=[HISTORY], **WHO)
    contents = {entry.key: storage.read(entry.key) for entry in storage.entries("")}
    assert sorted(contents) == ["erased/00000001.json", "erased/key.json"]
    assert not any(b"4711" in content for content in contents.values())
    # By hand: HMAC-SHA256 under the store's key, and no bare hash that a list of ids would undo.
    key = bytes.fromhex(json.loads(contents["erased/key.json"])["key"]["hexadecimal"])
    own = hmac.new(key, b"user\0customer-4711", hashlib.sha256).hexdigest()
    assert len(key) == 32 and json.loads(contents["erased/00000001.json"])["erasure"]["users"] == [own]


def test_done_again_it_is_done_once_until_the_person_is_back(storage: Storage) -> None:
    log = ErasureLog(storage)
    later = NOON + timedelta(hours=2)
    assert log.erase(["u"], at=NOON, newest=NOON - timedelta(days=1), **WHO).number == 1
    assert log.erase(["u"], at=later, newest=NOON, **WHO).number == 1
    assert log.erase(["u"], at=later, newest=NOON + timedelta(hours=1), **WHO).number == 2
    erased = log.read()
    assert erased.covers("u", NOON_US + 7_200_000_000) and erased.number == 2
    # Another id of the person, found later; and a history that a bundle shows.
    assert log.erase(["u", "v"], at=later, **WHO).number == 3
    assert log.erase(["u", "v"], at=later, histories=[HISTORY], **WHO).users == ()
    assert log.erase(["u", "v"], at=later, histories=[HISTORY], **WHO).number == 3
    assert log.read().number == 4 and log.read().hides(HISTORY)
    assert not log.read().hides(HISTORY.model_copy(update={"seconds_before": (91, 30)}))


def test_ids_that_were_erased_together_are_found_by_any_of_them(tmp_path: Path) -> None:
    log = ErasureLog(open_storage(tmp_path))
    log.erase(["a", "b"], at=NOON, **WHO)
    log.erase(["c"], at=NOON, **WHO)
    erased = log.read()
    assert erased.of_one_person(["b"]) == {erased.digest_of_user("a"), erased.digest_of_user("b")}
    assert erased.of_one_person(["d"]) == {erased.digest_of_user("d")}


def test_concurrent_erasures_are_all_kept_without_a_gap(storage: Storage) -> None:
    people = [f"u{number % 6}" for number in range(12)]  # each twice at once

    def erase(user: str) -> int:
        return ErasureLog(storage).erase([user], at=NOON, **WHO).number

    with ThreadPoolExecutor(6) as pool:
        numbers = list(pool.map(erase, people))
    erased = ErasureLog(storage).read()
    assert [record.number for record in erased.records] == [1, 2, 3, 4, 5, 6]
    assert sorted(set(numbers)) == [1, 2, 3, 4, 5, 6]
    assert len(erased.among(people)) == 6


def test_what_is_damaged_is_said_and_never_taken_for_nobody(tmp_path: Path) -> None:
    log = ErasureLog(open_storage(tmp_path))
    for user in ("a", "b", "c"):
        log.erase([user], at=NOON, **WHO)
    folder = tmp_path / "erased"
    second, key = folder / "00000002.json", folder / "key.json"
    content, secret = second.read_bytes(), key.read_bytes()
    second.write_bytes(content.replace(b"2026", b"2025"))
    with pytest.raises(CorruptArtifact, match=r"00000002\.json is torn or was changed.*backup"):
        log.read()
    second.unlink()
    with pytest.raises(CorruptArtifact, match=r"00000002\.json is missing.*who was erased"):
        log.read()
    second.write_bytes((folder / "00000001.json").read_bytes())
    with pytest.raises(CorruptArtifact, match="says that it is erasure 1"):
        log.read()
    second.write_bytes(content)
    key.unlink()
    with pytest.raises(CorruptArtifact, match=r"key\.json is missing"):
        log.erase(["d"], at=NOON, **WHO)  # a new key would recognise nobody
    key.write_bytes(secret)
    assert log.erase(["d"], at=NOON, **WHO).number == 4


def test_a_watch_hears_of_it_tells_and_forgets_nothing_over_a_fault(tmp_path: Path) -> None:
    log, told = ErasureLog(open_storage(tmp_path)), list[int]()
    watch = ErasedWatch(log)
    watch.tell(lambda: told.append(watch.known().number))
    assert watch.known() is None
    watch.look()
    assert watch.known().number == 0 and told == []
    log.erase(["u"], at=NOON, **WHO)
    watch.look()
    watch.look()
    assert watch.covers("u", 0) and told == [1]
    log.erase(["v"], at=NOON, **WHO)
    second = tmp_path / "erased" / "00000002.json"
    content = second.read_bytes()
    second.write_bytes(b"{}")
    watch.look()
    assert "torn" in watch.trouble and watch.covers("u", 0) and not watch.covers("v", 0)
    second.write_bytes(content)
    watch.look()
    assert watch.trouble is None and watch.covers("v", 0)


def test_a_store_that_cannot_be_reached_erases_nobody_in_silence(tmp_path: Path) -> None:
    (tmp_path / "erased").write_text("no folder")
    with pytest.raises((StoreUnreachable, OSError)):
        ErasureLog(open_storage(tmp_path)).erase(["u"], at=NOON, **WHO)


STEPS = st.lists(st.tuples(st.sets(st.sampled_from("abcde"), min_size=1, max_size=3), st.integers(0, 50)), max_size=12)


@settings(max_examples=30, deadline=None)
@given(steps=STEPS, asked=st.sampled_from("abcdef"), moment=st.integers(0, 60))
def test_covered_is_what_any_erasure_of_the_id_covers(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[set[str], int]], asked: str, moment: int
) -> None:
    log = ErasureLog(open_storage(tmp_path_factory.mktemp("erased")))
    for ids, minute in steps:
        at = NOON + timedelta(minutes=minute)
        log.erase(sorted(ids), at=at, newest=at, **WHO)
    known: Erased = log.newer(NOBODY)
    assert known.digest == log.read().digest
    expected = any(asked in ids and moment <= minute for ids, minute in steps)
    assert known.covers(asked, NOON_US + moment * 60_000_000) == expected
    assert [record.number for record in known.records] == list(range(1, known.number + 1))
