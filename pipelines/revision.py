"""Which code is running."""

import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent


def git_revision(folder: Path = REPOSITORY) -> str | None:
    """The commit that the code at `folder` was checked out from; none where it is not a checkout."""
    if not (folder / ".git").exists():
        return None
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
