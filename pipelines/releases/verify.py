"""Is a release what its record says? Digests, loading and answering, each with its evidence."""

from collections.abc import Sequence
from pathlib import Path

from pipelines.contracts import Document
from pipelines.errors import BundleRefused, CorruptArtifact
from pipelines.releases.asking import ask, items_of
from serving.panel import Panel
from serving.store import Release, ReleaseStore

LIST = 10


class Finding(Document):
    """One question about a release and its answer."""

    release: int
    name: str  # record, digests, answers
    passed: bool
    detail: str


def verify(store: ReleaseStore, number: int) -> list[Finding]:
    """Look at one release: its record and the chain to its parent, its bundle's bytes, and its answers.

    A bundle of a bucket is fetched. What comes after a fault is not asked.
    """
    try:
        release = store.get(number)
        if release.parent is not None:
            store.get(release.parent)
        if release.restores is not None and store.get(release.restores).bundle != release.bundle:
            raise CorruptArtifact(f"it names bundle {release.bundle[:12]}, and release {release.restores}, which it "
                                  "restores, does not")
    except CorruptArtifact as error:
        return [Finding(release=number, name="record", passed=False, detail=str(error))]
    findings = [Finding(release=number, name="record", passed=True, detail=f"by {release.actor}: {release.reason}")]
    try:
        folder = store.bundle_path(release.bundle)
    except BundleRefused as error:
        return [*findings, Finding(release=number, name="digests", passed=False, detail=str(error))]
    findings.append(Finding(release=number, name="digests", passed=True,
                            detail=f"bundle {release.bundle[:12]}, every file as its manifest says"))
    try:
        detail = _answers(release, folder)
    except BundleRefused as error:
        return [*findings, Finding(release=number, name="answers", passed=False, detail=str(error))]
    return [*findings, Finding(release=number, name="answers", passed=True, detail=detail)]


def _answers(release: Release, folder: Path) -> str:
    """What was asked and came back; BundleRefused where a list is not whole."""
    panel, known = Panel.load(folder), set(items_of(folder))
    lists = ask(folder, panel, LIST)
    for number, answer in enumerate(lists):
        fault = list_fault(answer, known)
        if fault is not None:
            raise BundleRefused(f"bundle {release.bundle[:12]}: list {number} of the panel {fault}; "
                                "roll back, and make the bundle again")
    return f"{len(lists)} lists of up to {LIST} items in a fresh process"


def list_fault(answer: Sequence[str], known: set[str]) -> str | None:
    """What is wrong with one list of item ids, or None."""
    if not answer:
        return "is empty"
    if len(set(answer)) < len(answer):
        return f"has {len(answer) - len(set(answer))} items twice"
    strange = [item for item in answer if item not in known]
    return f"names {strange[0]!r}, which the bundle does not have" if strange else None
