"""The Chromium that pages are tested in: `python -m tests.browser` gets one where the machine has none.

A browser is no Python package. Playwright downloads its own; where that cannot be reached, Debian's will do, which only
root may install. `make test` tries both, in that order, and says what it does.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
REMEDY = ("there is no Chromium to test pages in: run `.venv/bin/playwright install --with-deps chromium`, or "
          "`apt install chromium`")


def find_chromium() -> Path | None:
    """Playwright's own, else the system's; None where there is none."""
    with sync_playwright() as playwright:
        own = Path(playwright.chromium.executable_path)
    if own.exists():
        return own
    shells = sorted(own.parents[2].glob("chromium_headless_shell-*/*/*headless*shell"))
    system = [path for name in NAMES if (path := shutil.which(name))]
    return shells[-1] if shells else Path(system[0]) if system else None


def fetch() -> None:
    """Try the ways there are."""
    print("Fetching a Chromium for the tests of pages ...")
    ways = [[sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"]]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        ways += [["apt-get", "update", "-qq"], ["apt-get", "install", "-qq", "--no-install-recommends", "chromium"]]
    for way in ways:
        done = subprocess.run(way, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"{' '.join(way[-4:])}: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
        if find_chromium() is not None:
            return
    print(f"{REMEDY}; the tests of pages will be left out")


if __name__ == "__main__":
    if find_chromium() is None:
        fetch()
