"""A release store in everybody's hands, as a Hypothesis state machine: `python -m tests.faults.machine JOB RESULT`.

Stages, verdicts, promotions, rollbacks, cleanings and erasures of one store, in any order; promoters that are killed,
that sleep through what others do and wake late, and backfills of older data. After every step a new reader and one that
reads since the beginning see one whole release, nothing that was acknowledged is gone, and who was erased stays so.
The process forks its promoters, so it imports no TensorFlow and keeps no thread.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from pipelines.artifacts import seal, stage_key, write_json
from pipelines.contracts import Origin, Sealed, Verdict
from pipelines.errors import BundleRefused, GateRejected, ReleaseConflict, SettingsError
from pipelines.promote import promote
from pipelines.releases import collect
from pipelines.releases.rollback import plan, rollback
from pipelines.settings import Settings
from serving.release import Release
from serving.store import ReleaseStore
from tests.faults.kills import forked
from tests.faults.small_release import before_each_step, read_whole, write_bundle
from tests.release_world import AS_OF, make_registered

COUNTS: Counter[str] = Counter()
NO_MLFLOW = "http://127.0.0.1:1"  # nobody listens there: the log is what decides, the alias follows when it can
STEPS = 24  # a promoter passes about as many on its way to the record
USERS = ("u0", "u1", "u2")
DAYS = st.integers(0, 3)  # ends of windows, in days before the latest


@dataclass
class Sleeper:
    """A promoter that was stopped on its way."""

    process: int
    verdict: Verdict
    told: Path


class Shop(RuleBasedStateMachine):
    """One store and all who use it."""

    work: Path  # of the whole run; artefacts are made once for all examples

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=self.work))
        self.places = Settings(home=self.root, artifacts=self.work / "artifacts", store=str(self.root / "store"),
                               mlflow_uri=NO_MLFLOW)
        self.store, self.reader = ReleaseStore(self.places.store), ReleaseStore(self.places.store)
        self.verdicts: list[Verdict] = []
        self.killed: list[Verdict] = []  # promotions that nobody has tried again
        self.sleepers: list[Sleeper] = []
        self.acknowledged: dict[int, str] = {}  # release -> bundle
        self.log: list[Release] = []  # as it was seen last
        self.refusals = 0
        self.erased: set[str] = set()
        self.fallen_erasures = 0
        self.watched = self.reader.erasures.read()
        COUNTS["examples"] += 1

    def teardown(self) -> None:
        for sleeper in self.sleepers:
            os.kill(sleeper.process, signal.SIGKILL)
            os.waitpid(sleeper.process, 0)
        shutil.rmtree(self.root)

    # What a retrain does before promotion.

    @rule(training=st.integers(0, 2), days=DAYS, accepted=st.sampled_from((True, True, True, False)))
    def judge(self, training: int, days: int, accepted: bool) -> None:
        """A training, of today's data or of older, is judged against what is live."""
        live = self.store.live()
        self.verdicts.append(verdict_of(self.places.artifacts, training, days, live.number if live else None, accepted))
        COUNTS["verdicts"] += 1

    # Promotions.

    @precondition(lambda self: self.verdicts)
    @rule(data=st.data(), is_forced=st.sampled_from((False, False, True)))
    def promote(self, data: st.DataObject, is_forced: bool) -> None:
        self._promote(data.draw(st.sampled_from(self.verdicts)), is_forced)

    @rule(training=st.integers(0, 2), days=DAYS)
    def retrain(self, training: int, days: int) -> None:
        """Judged and promoted at once."""
        self.judge(training, days, accepted=True)
        self._promote(self.verdicts[-1], is_forced=False)

    @precondition(lambda self: self.killed)
    @rule()
    def retry(self) -> None:
        """What was killed is run again, as an orchestrator does."""
        COUNTS["retries"] += 1
        self._promote(self.killed.pop(), is_forced=False)

    def _promote(self, verdict: Verdict, is_forced: bool) -> None:
        refused_before = len(self.store.refusals())
        why = self._why_not(verdict, is_forced)
        try:
            released = promote(verdict, Origin(actor="shop", reason=mark_of(verdict)), False, self.places,
                               is_forced=is_forced)
        except GateRejected:
            assert not verdict.accepted
            COUNTS["rejected by the gate"] += 1
        except (ReleaseConflict, BundleRefused) as error:
            assert why is not None, f"refused for no reason: {error}"
            assert len(self.store.refusals()) == refused_before + 1, "a refusal that is not on record"
            COUNTS[f"refused: {why}"] += 1
        else:
            assert why is None, f"released {released.number} though {why}"
            self.acknowledged[released.number] = released.bundle
            COUNTS["promotions"] += 1

    def _why_not(self, verdict: Verdict, is_forced: bool) -> str | None:
        """Why a promotion has to be refused, from what this machine knows and not from the store's code."""
        evaluated = verdict.sealed.registered.evaluated
        if not verdict.accepted:
            return "rejected by the gate"
        following = evaluated.parent or 0
        if len(self.log) > following:
            record = self.log[following]
            is_same = (record.bundle, record.restores) == (verdict.sealed.digest, None)
            return None if is_same else "overtaken"
        newest = self.log[-1].as_of if self.log else None
        if newest is not None and evaluated.trained.snapshot.window.as_of < newest and not is_forced:
            return "older data"
        return None

    # Promoters that fall.

    @precondition(lambda self: self.verdicts)
    @rule(data=st.data(), step=st.integers(0, STEPS))
    def kill(self, data: st.DataObject, step: int) -> None:
        """A promoter dies before one of its steps on the store."""
        verdict = data.draw(st.sampled_from(self.verdicts))
        status = self._send(verdict, step, signal.SIGKILL, self.root / "told")
        COUNTS["kills"] += os.WIFSIGNALED(status)
        self.killed.append(verdict)

    @precondition(lambda self: self.verdicts and len(self.sleepers) < 3)
    @rule(data=st.data(), step=st.integers(0, STEPS))
    def stop(self, data: st.DataObject, step: int) -> None:
        """A promoter falls asleep before one of its steps."""
        verdict, told = data.draw(st.sampled_from(self.verdicts)), self.root / f"told{COUNTS['stopped']}"
        status = self._send(verdict, step, signal.SIGSTOP, told)
        if os.WIFSTOPPED(status):
            COUNTS["stopped"] += 1
            self.sleepers.append(Sleeper(self.child, verdict, told))

    @precondition(lambda self: self.sleepers)
    @rule(data=st.data())
    def wake(self, data: st.DataObject) -> None:
        """It goes on where it was; what it says is what it may say now."""
        sleeper = data.draw(st.sampled_from(self.sleepers))
        self.sleepers.remove(sleeper)
        os.kill(sleeper.process, signal.SIGCONT)
        os.waitpid(sleeper.process, 0)
        COUNTS[f"woke: {self._heard(sleeper.verdict, sleeper.told)}"] += 1

    def _send(self, verdict: Verdict, step: int, strike: signal.Signals, told: Path) -> int:
        """Fork a promoter that strikes itself before its step number `step`; how it ended or stopped."""
        self.child = forked(lambda: self._fated(verdict, step, strike, told))
        _, status = os.waitpid(self.child, os.WUNTRACED)
        if os.WIFEXITED(status):
            self._heard(verdict, told)
        return status

    def _heard(self, verdict: Verdict, told: Path) -> str:
        answer = json.loads(told.read_text())
        if answer["number"] is not None:
            self.acknowledged[answer["number"]] = verdict.sealed.digest
        return str(answer["outcome"])

    @staticmethod
    def _strike_at(left: int, fate: signal.Signals) -> None:
        """This process strikes itself before its step number `left` on a store."""
        def strike(_: str) -> None:
            nonlocal left
            left -= 1
            if left == -1:
                os.kill(os.getpid(), fate)

        before_each_step(strike)

    def _fated(self, verdict: Verdict, step: int, fate: signal.Signals, told: Path) -> None:
        self._strike_at(step, fate)
        answer: dict[str, Any] = {"number": None}
        try:
            released = promote(verdict, Origin(actor="fallen", reason=mark_of(verdict)), False, self.places)
            answer |= {"number": released.number, "outcome": "released"}
        except (GateRejected, ReleaseConflict, BundleRefused) as error:
            answer["outcome"] = type(error).__name__
        told.write_text(json.dumps(answer))

    # What people do.

    @precondition(lambda self: len(self.log) > 1)
    @rule(data=st.data(), is_dry_run=st.booleans())
    def roll_back(self, data: st.DataObject, is_dry_run: bool) -> None:
        to = data.draw(st.none() | st.integers(1, len(self.log)))
        before = self.store.history()
        try:
            planned = plan(self.store, to, "operator", "it looked wrong")
        except (SettingsError, BundleRefused):
            COUNTS["rollbacks refused"] += 1
            return
        if is_dry_run:
            assert self.store.history() == before
            return
        done = rollback(self.store, planned)
        assert done.parent == before[-1].number
        self.acknowledged[done.number] = done.bundle
        COUNTS["rollbacks"] += 1

    @rule(previous=st.integers(0, 2))
    def clean(self, previous: int) -> None:
        keeping = collect.Keeping(previous=previous, grace=timedelta(0))
        now = datetime.now(UTC)
        removed = collect.collect(self.store, collect.plan(self.store, keeping, now), keeping, now)
        bundles = list(dict.fromkeys(release.bundle for release in reversed(self.store.history())))
        assert not {fate.bundle for fate in removed} & set(bundles[: previous + 1]), "removed what had to stay"
        COUNTS["bundles removed"] += len(removed)

    @precondition(lambda self: len(self.erased) < 2)  # a few will do: the rest of the steps is for releases
    @rule(user=st.sampled_from(USERS))
    def erase(self, user: str) -> None:
        self._erase(user)
        self.erased.add(user)
        COUNTS["erasures"] += 1

    @precondition(lambda self: self.fallen_erasures < 2)
    @rule(user=st.sampled_from(USERS), step=st.integers(0, STEPS // 3))
    def kill_an_erasure(self, user: str, step: int) -> None:
        """It may stand or not; whoever asked for it was not told that it does."""
        def fated() -> None:
            self._strike_at(step, signal.SIGKILL)
            self._erase(user)

        _, status = os.waitpid(forked(fated), 0)
        self.fallen_erasures += 1
        COUNTS["erasures killed"] += os.WIFSIGNALED(status)

    def _erase(self, user: str) -> None:
        ReleaseStore(self.places.store).erasures.erase([user], at=datetime.now(UTC), actor="shop", reason="request")

    # What holds after every step.

    @invariant()
    def readers_see_one_whole_release(self) -> None:
        live = read_whole_of(ReleaseStore(self.places.store))
        assert live == read_whole_of(self.reader)
        assert (live.number if live else 0) == len(self.store.numbers())
        COUNTS["reads"] += 2

    @invariant()
    def the_log_only_grows(self) -> None:
        history = self.store.history()
        assert history[: len(self.log)] == self.log, "a record was changed or lost"
        assert [release.number for release in history] == list(range(1, len(history) + 1))
        self.log = history

    @invariant()
    def what_was_acknowledged_stands(self) -> None:
        found = {release.number: release.bundle for release in self.store.history()}
        assert self.acknowledged.items() <= found.items()

    @invariant()
    def data_never_goes_back_by_itself(self) -> None:
        for earlier, later in pairwise(self.store.history()):
            assert later.as_of >= earlier.as_of or later.is_forced or later.restores, (earlier, later)

    @invariant()
    def who_was_erased_stays_erased(self) -> None:
        """Whatever is live: for who begins to read now, and for who follows since the beginning."""
        found, self.watched = self.store.erasures.read(), self.reader.erasures.newer(self.watched)
        assert self.erased <= found.among(USERS).keys() == self.watched.among(USERS).keys()
        assert [record.number for record in found.records] == list(range(1, found.number + 1))

    @invariant()
    def refusals_stay(self) -> None:
        count = len(self.store.refusals())
        assert count >= self.refusals
        self.refusals = count


def mark_of(verdict: Verdict) -> str:
    """What stands in the bundle of a verdict, and as the reason of its release."""
    return str(json.loads((Path(verdict.sealed.path) / "provenance.json").read_text())["mark"])


def read_whole_of(store: ReleaseStore) -> Release | None:
    """As `read_whole`; a rollback has a reason of its own."""
    live = store.live()
    if live is None or live.restores is None:
        return read_whole(store)
    store.bundle_path(live.bundle)
    return live


def verdict_of(root: Path, training: int, days: int, parent: int | None, accepted: bool) -> Verdict:
    """The contract chain of a training on data up to `days` before the latest; the same again is found again."""
    mark = f"training {training}, {days} days ago"
    registered = make_registered(root, as_of=AS_OF - timedelta(days=days), parent=parent,
                                 champion=None if parent is None else "0" * 64, number=training)
    key = stage_key("machine", registered.key, mark)

    def bundle(out: Path) -> dict[str, Any]:
        write_bundle(out, mark)
        (out / "manifest.json").unlink()
        return {"registered": registered, "kind": "exact", "recall": 1.0, "recall_k": 10}

    sealed = seal(Sealed, root, "index", key, bundle)

    def judged(out: Path) -> dict[str, Any]:
        write_json(out / "verdict.json", {"accepted": accepted})
        return {"sealed": sealed, "accepted": accepted, "checks": ()}

    return seal(Verdict, root, "gate", stage_key(key, accepted), judged)


def main(job: dict[str, Any]) -> dict[str, int]:
    """Run `examples` examples of at most `steps` steps; what was done."""
    import pipelines.tracking  # noqa: F401  imported once, and not in every child

    Shop.work = Path(job["scratch"]) / "work"
    Shop.work.mkdir(parents=True)
    run: Callable[..., Any] = run_state_machine_as_test
    run(Shop, settings=settings(
        max_examples=job["examples"], stateful_step_count=job["steps"], deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink), print_blob=False))
    return dict(COUNTS)


if __name__ == "__main__":
    result = main(json.loads(Path(sys.argv[1]).read_text()))
    Path(sys.argv[2]).write_text(json.dumps(result))
