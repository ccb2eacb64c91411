"""Folders and files that nobody writes any more, by the age of what was written in them last."""

import shutil
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

from pipelines.artifacts import take_away
from pipelines.housekeeping.bounds import Bounds, Tidied

EXAMPLES = 5
REFRESHES = ("catalogue", "refresh", "refresh-gate")  # stages whose results are made again in minutes


def tidy_artifacts(root: Path, bounds: Bounds, now: datetime, is_dry_run: bool) -> list[Tidied]:
    """Attempts of killed stages, what removals left half, checkpoints nobody came back for, and old refreshes."""
    attempts = [folder for folder in _folders(root) if folder.name.startswith((".attempt-", ".removed-"))]
    checkpoints = [folder for folder in _below(root / "train" / ".checkpoints")]
    refreshes = [folder for stage in REFRESHES for folder in _below(root / stage)
                 if not folder.name.startswith(".")]
    return [
        _tidy("orphaned attempts", root, attempts, now - timedelta(hours=bounds.attempt_hours), is_dry_run),
        _tidy("checkpoints", root, checkpoints, now - timedelta(days=bounds.checkpoint_days), is_dry_run),
        _tidy("refreshed catalogues", root, refreshes, now - timedelta(days=bounds.refresh_days), is_dry_run),
    ]


def tidy_logs(logs: Path | None, bounds: Bounds, now: datetime, is_dry_run: bool) -> list[Tidied]:
    """Files of Airflow's task logs, and the folders that are empty then; none where no folder is known."""
    if logs is None:
        return []
    limit = (now - timedelta(days=bounds.log_days)).timestamp()
    old = [path for path in sorted(logs.rglob("*")) if path.is_file() and path.lstat().st_mtime < limit]
    size = sum(path.lstat().st_size for path in old)
    if not is_dry_run:
        for path in old:
            path.unlink(missing_ok=True)
        for folder in sorted((path for path in logs.rglob("*") if path.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
    return [Tidied(what="task logs", where=str(logs), found=len(old), removed=0 if is_dry_run else len(old), size=size,
                   examples=tuple(str(path.relative_to(logs)) for path in old[:EXAMPLES]))]


def _tidy(what: str, root: Path, folders: list[Path], before: datetime, is_dry_run: bool) -> Tidied:
    old = [folder for folder in folders if _written(folder) < before.timestamp()]
    size = sum(path.lstat().st_size for folder in old for path in folder.rglob("*") if path.is_file())
    removed = 0
    for folder in old if not is_dry_run else ():
        if folder.name.startswith(".removed-"):  # a removal that was killed
            shutil.rmtree(folder, ignore_errors=True)
            removed += not folder.exists()
        else:
            removed += take_away(folder)
    return Tidied(what=what, where=str(root), found=len(old), removed=removed, size=size,
                  examples=tuple(str(folder.relative_to(root)) for folder in old[:EXAMPLES]))


def _folders(root: Path) -> Iterator[Path]:
    for stage in _below(root):
        yield from _below(stage)


def _below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _written(folder: Path) -> float:
    """When something in the folder was written last, seconds since 1970."""
    try:
        return max(path.lstat().st_mtime for path in (folder, *folder.rglob("*")))
    except FileNotFoundError:  # it is being written or removed just now
        return float("inf")
