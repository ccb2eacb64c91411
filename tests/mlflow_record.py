"""What the stages tell MLflow, in place of MLflow: it mirrors releases and decides nothing about them."""

import sys
import types
from typing import Any

import pytest

import pipelines

Calls = list[tuple[str, tuple[Any, ...]]]


def recorded(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The calls from here on, as (name, arguments)."""
    calls: Calls = []
    recorder = types.ModuleType("pipelines.tracking")
    for name in ("stage_run", "tag", "verdict", "promoted"):
        setattr(recorder, name, lambda *arguments, name=name: calls.append((name, arguments)))
    monkeypatch.setitem(sys.modules, "pipelines.tracking", recorder)
    monkeypatch.setattr(pipelines, "tracking", recorder, raising=False)
    return calls
