"""The benchmark of pictures: its arithmetic by hand, and the whole of it on shapes and colours."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from typer import Typer
from typer.testing import CliRunner

from benchmarks.contact_sheet import contact_sheet
from benchmarks.images import main
from models.neighbours import is_held_out, nearest, precision, unit
from tests.picture_world import COLOURS, SHAPES, products

ROWS = np.arange(4)
# Angles of 0, 10, 30 and 90 degrees.
VECTORS = unit(np.array([[1, 0], [np.cos(np.pi / 18), np.sin(np.pi / 18)], [3**0.5, 1], [0, 5]]))


def run(*arguments: str) -> tuple[int, str]:
    app = Typer()
    app.command()(main)
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "160"})
    return result.exit_code, result.output


def test_neighbours_come_by_angle_and_without_the_query() -> None:
    assert nearest(VECTORS, ROWS, ROWS, k=3).tolist() == [[1, 2, 3], [0, 2, 3], [1, 0, 3], [2, 1, 0]]
    assert nearest(VECTORS, np.array([0]), np.array([3, 2]), k=1).tolist() == [[2]]


def test_precision_is_the_share_of_neighbours_of_the_query_s_category() -> None:
    """Query 0 of category 0 has neighbours of 0 and 1, query 3 of category 1 has 1 and 0: two of four."""
    category = np.array([0, 0, 1, 1])
    assert precision(np.array([[1, 2], [2, 1]]), np.array([0, 3]), category) == 0.5


def test_what_is_held_out_depends_on_the_id_alone() -> None:
    ids = [str(n) for n in range(5000)]
    held_out = is_held_out(ids, 0.2)
    assert 0.18 < held_out.mean() < 0.22
    assert (is_held_out(ids[::-1], 0.2) == held_out[::-1]).all()
    # CRC-32 of "123456789" is 0xCBF43926 = 3421780262 by the standard's own check value: 262 of 1000.
    assert is_held_out(["123456789"], 0.262).tolist() == [False]
    assert is_held_out(["123456789"], 0.263).tolist() == [True]


def test_the_sheet_shows_each_query_left_of_its_neighbours(tmp_path: Path) -> None:
    files = products(5, seed=0)[0]
    contact_sheet(files, np.array([0, 1]), np.array([[2, 3, 4], [4, 3, 2]]), tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (4 * 72 + 18, 2 * 96)
        first, last = (np.asarray(sheet.crop(box)) for box in ((90, 0, 162, 96), (234, 96, 306, 192)))
    assert (first == last).all()  # item 2 is the first's nearest and the second's farthest


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    files, shape, colour = products(200, seed=5)
    folder = tmp_path / "shop"
    folder.mkdir()
    pd.DataFrame({
        "item_id": [f"p{n}" for n in range(len(files))], "image": files, "category": np.array(SHAPES)[shape],
        "colour": np.array(list(COLOURS))[colour],
    }).to_parquet(folder / "items.parquet")
    return folder


def test_the_benchmark_prints_its_table_and_draws_its_sheet(shop: Path, tmp_path: Path) -> None:
    status, output = run("--data", str(shop), "--sheet", str(tmp_path / "sheet.png"))
    assert status == 0, output
    assert "trained on category, colour" in output
    for method in ("pixels 8 x 8", "pixels 48 x 64", "encoder"):
        row = next(line for line in output.splitlines() if f"│ {method} " in line)
        assert 0 <= float(row.split("│")[2]) <= 1
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (11 * 72 + 18, 24 * 96)


def test_labels_can_be_withheld_and_must_exist(shop: Path) -> None:
    status, output = run("--data", str(shop), "--labels", "colour")
    assert (status, "trained on colour" in output) == (0, True)
    status, output = run("--data", str(shop), "--labels", "colour,brand")
    assert status == 2
    assert "--labels names 'brand'" in output


def test_a_folder_without_pictures_is_named(shop: Path, tmp_path: Path) -> None:
    assert run("--data", str(tmp_path))[0] == 2
    items = pd.read_parquet(shop / "items.parquet")
    items.drop(columns="image").to_parquet(shop / "items.parquet")
    status, output = run("--data", str(shop))
    assert status == 2
    assert "lacks image" in " ".join(output.split())
