"""The words of the Makefile, and the lines that a wrong machine gets."""

import importlib
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

WORDS = ("help", "env", "run", "serve", "test", "faults", "up", "down", "production-rehearsal", "lint", "lock", "clean")


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "--no-print-directory", *arguments], cwd=folder, capture_output=True, text=True,
                          check=False)


@pytest.fixture
def checkout(repository: Path, tmp_path: Path) -> Path:
    """As much of a fresh checkout as the environment is made from."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        (tmp_path / name).write_bytes((repository / name).read_bytes())
    return tmp_path


def test_help_lists_every_word(repository: Path) -> None:
    answer = make(repository)
    assert answer.returncode == 0
    assert sorted(re.findall(r"^make ([\w-]+) +\S", answer.stdout, re.MULTILINE)) == sorted(WORDS)


def test_a_missing_python_is_one_line_with_the_remedy(checkout: Path) -> None:
    answer = make(checkout, "env", "PYTHON=python3.11-nowhere")
    assert answer.returncode != 0
    assert answer.stdout == (
        "There is no python3.11-nowhere: install Python 3.11, or name it: make PYTHON=/path/to/python3.11\n"
    )


def test_another_python_is_one_line_with_its_version_and_the_remedy(checkout: Path) -> None:
    other = checkout / "python3"
    other.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2\nexit 1\n', encoding="utf-8")
    other.chmod(0o755)
    answer = make(checkout, "env", f"PYTHON={other}")
    assert answer.returncode != 0
    assert answer.stdout == (
        f"{other} is Python 3.9.2, the locked packages need Python 3.11: make PYTHON=/path/to/python3.11\n"
    )


def test_every_line_of_the_locks_is_pinned_and_names_no_registry(repository: Path) -> None:
    for name in ("requirements.txt", "requirements-serving.txt"):
        text = (repository / name).read_text(encoding="utf-8")
        assert "://" not in re.sub(r"postgresql\+?\w*://", "", text)
        lines = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
        assert [line for line in lines if not re.fullmatch(r"[a-z0-9._-]+(\[[a-z,]+\])?==[^ ]+( ; .+)?", line)] == []


def test_the_serving_lock_is_a_part_of_the_whole_one_without_what_serving_must_not_import(repository: Path) -> None:
    def pins(name: str) -> set[str]:
        lines = (repository / name).read_text(encoding="utf-8").splitlines()
        return {line.split(" ")[0] for line in lines if line and not line.lstrip().startswith("#")}

    serving = pins("requirements-serving.txt")
    assert serving <= pins("requirements.txt") | {pin.replace("[tf]", "") for pin in pins("requirements.txt")}
    names = {pin.split("==")[0] for pin in serving}
    assert names & {"tensorflow", "tf-keras", "keras", "mlflow", "apache-airflow", "pandas"} == set()
    assert {"numpy", "scann", "ai-edge-litert", "pyarrow", "obstore", "fastapi", "uvicorn", "pydantic"} <= names


def test_the_knots_of_the_environment_are_explained_at_the_head_of_the_lock(repository: Path) -> None:
    head = (repository / "requirements.txt").read_text(encoding="utf-8").split("\n\n")[0]
    for knot in ("TensorFlow 2.20", "ScaNN 1.4.2", "tf-keras", "TFRS", "Airflow 3.3.2", "MLflow", "numpy", "protobuf"):
        assert knot in head


def test_continuous_integration_runs_the_word_that_people_type(repository: Path) -> None:
    script = repository / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "make test"


def test_the_project_names_its_command(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module, function = project["scripts"]["vitrine"].split(":")
    assert callable(getattr(importlib.import_module(module), function))
