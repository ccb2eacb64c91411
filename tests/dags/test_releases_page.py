"""The page Releases within Airflow's real API server: who sees what, what it says, and what its one button does."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import sync_playwright

from pipelines.errors import ReleaseConflict
from pipelines.index import IndexSettings, index
from pipelines.releases.opening import open_store
from pipelines.settings import Settings
from serving.release import Release
from serving.store import ReleaseStore
from tests.browser import REMEDY, find_chromium
from tests.contrast import POOR_CONTRAST
from tests.mlflow_record import recorded
from tests.release_world import AS_OF, item_arrays, make_registered

CHROMIUM = find_chromium()
PATIENCE_S = 300.0  # seconds; an API server takes twenty on an idle machine
HOSTILE = "<img src=x onerror=alert(1)> [/x]"
PAGES = ("/releases", "/releases/2", "/releases/diff?before=2&after=3", "/static/releases.css")


def write_releases(folder: Path) -> Settings:
    """Three releases of one shop, the first without its bundle, and a promotion that came too late."""
    places = Settings(home=folder, artifacts=folder / "artifacts", store=str(folder / "store"), mlflow_uri="none")
    own = places.of_shop("toy")
    store = open_store(own)
    turned, _ = item_arrays()
    turned[:, -1] = turned[::-1, -1]  # the last item sells best
    worlds: list[dict[str, Any]] = [{}, {"as_of": AS_OF + timedelta(days=7)},
                                    {"as_of": AS_OF + timedelta(days=14), "vectors": turned}]
    for number, world in enumerate(worlds, start=1):
        store.commit(record(store, index(make_registered(own.artifacts, **world), IndexSettings(), own, own.artifacts),
                            number))
    stale = store.get(3).model_copy(update={"number": 2, "parent": 1, "bundle": store.get(1).bundle})
    with pytest.raises(ReleaseConflict):
        store.commit(stale)
    store.shelf.remove(store.get(1).bundle)
    return places


def record(store: ReleaseStore, sealed: Any, number: int) -> Release:
    evaluated = sealed.registered.evaluated
    return Release(
        number=number, parent=number - 1 or None, bundle=store.add_bundle(Path(sealed.path)),
        training=evaluated.trained.digest, verdict="0" * 64, as_of=evaluated.trained.snapshot.window.as_of,
        actor=f"actor {number}", reason=HOSTILE if number == 2 else f"week {number}", created_at=datetime.now(UTC),
        metrics=evaluated.metrics, run_id="r1", model_name="vitrine-toy", model_version=str(number))


@dataclass
class Airflow:
    """A running API server, below a path of its own as behind a proxy."""

    address: str
    process: "subprocess.Popen[bytes]"
    tokens: dict[str, str]

    def ask(self, path: str, user: str | None = "admin", method: str = "GET", **more: Any) -> httpx.Response:
        """An answer of the page, signed in as a browser is: by the cookie."""
        cookies = {} if user is None else {"_token": self.tokens[user]}
        with httpx.Client(cookies=cookies, timeout=60) as client:
            return client.request(method, f"{self.address}{path}", **more)

    def page(self, path: str, user: str = "admin", **more: Any) -> BeautifulSoup:
        answer = self.ask(f"/vitrine{path}", user, **more)
        assert answer.status_code == 200, answer.text
        return BeautifulSoup(answer.text, "html.parser")

    def runs(self) -> list[dict[str, Any]]:
        """The runs of the DAG rollback."""
        return list(self.ask("/api/v2/dags/rollback/dagRuns").json()["dag_runs"])


@pytest.fixture(scope="module")
def airflow(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    folder = tmp_path_factory.mktemp("airflow")
    with pytest.MonkeyPatch.context() as monkeypatch:
        recorded(monkeypatch)
        places = write_releases(folder / "home")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    address = f"http://127.0.0.1:{port}/ops"
    passwords = {user: f"{user}-password" for user in ("admin", "viewer")}
    (folder / "passwords.json").write_text(json.dumps(passwords), encoding="utf-8")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "VITRINE"))}
    environment |= {
        "AIRFLOW_HOME": str(folder), "PYTHONPATH": str(repository), "VITRINE_HOME": str(places.home),
        "MLFLOW_TRACKING_URI": "http://mlflow.example:5000", "AIRFLOW__API__BASE_URL": address,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False", "AIRFLOW__CORE__PLUGINS_FOLDER": str(repository / "plugins"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(repository / "dags"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
        "AIRFLOW__API_AUTH__JWT_SECRET": "s" * 64, "AIRFLOW__API__SECRET_KEY": "k" * 32,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'airflow.db'}",
    }
    said = folder / "server.log"
    with said.open("wb") as log:
        process = subprocess.Popen([sys.executable, "-W", "ignore", "tests/dags/api_server.py", str(port),
                                    str(repository / "dags" / "rollback.py")], cwd=repository, env=environment,
                                   stdout=log, stderr=log)
    try:
        started = Airflow(address, process, {})
        until = time.monotonic() + PATIENCE_S
        while not _answers(started):
            assert process.poll() is None and time.monotonic() < until, said.read_text(errors="replace")[-3000:]
            time.sleep(0.2)
        for user, password in passwords.items():
            answer = httpx.post(f"{address}/auth/token", json={"username": user, "password": password}, timeout=60)
            started.tokens[user] = answer.json()["access_token"]
        yield started
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(airflow: Airflow) -> bool:
    try:
        return airflow.ask("/api/v2/version", user=None).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize("path", PAGES)
def test_nobody_looks_without_signing_in(airflow: Airflow, path: str) -> None:
    assert airflow.ask(f"/vitrine{path}", user=None).status_code == 401
    forged = httpx.get(f"{airflow.address}/vitrine{path}", cookies={"_token": "no.such.token"}, timeout=60)
    assert forged.status_code in (401, 403)


def test_nothing_but_the_page_lies_below_it(airflow: Airflow) -> None:
    for path in ("/docs", "/openapi.json", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/app.py"):
        assert airflow.ask(f"/vitrine{path}").status_code == 404
    # As it stands, which no client of people sends.
    host = urllib.parse.urlsplit(airflow.address)
    connection = http.client.HTTPConnection(host.hostname or "", host.port, timeout=60)
    connection.request("GET", f"{host.path}/vitrine/static/../app.py",
                       headers={"Authorization": f"Bearer {airflow.tokens['admin']}"})
    assert connection.getresponse().status == 404
    connection.close()


def test_the_table_has_every_release_newest_first(airflow: Airflow) -> None:
    page = airflow.page("/releases")
    rows = [[cell.get_text(" ", strip=True) for cell in row.find_all(["th", "td"])]
            for row in page.find("tbody").find_all("tr")]
    assert [row[0] for row in rows] == ["3", "2", "1"]
    assert rows[0][2:6] == ["actor 3", "week 3", "vitrine-toy 3", "2026-11-15 00:00"]
    assert rows[0][6:8] == ["0.2000", "0.1000"]  # METRICS of the world
    assert [row[-1] for row in rows] == ["live", "Roll back to this , release 2", ""]
    assert rows[2][-2] == "removed"
    # What people write is text.
    assert rows[1][3] == HOSTILE and page.find("img") is None


def test_refusals_stand_below_with_their_cause(airflow: Airflow) -> None:
    refused = airflow.page("/releases").find_all("table")[1].find("tbody").get_text(" ", strip=True)
    assert "ReleaseConflict" in refused and "judge it again against the live release" in refused


def test_a_release_has_its_figures_and_its_evidence(airflow: Airflow) -> None:
    page = airflow.page("/releases/2")
    figures = {row.th.get_text(): row.td.get_text() for row in page.find("table", class_="short").find_all("tr")}
    assert figures == {"coverage@10": "0.5000", "ndcg@10": "0.1000", "recall@10": "0.2000", "recall@50": "0.4000"}
    links = {link.get_text(): link["href"] for link in page.find_all("a")}
    assert links["Verdict"] == "http://mlflow.example:5000/#/experiments/1/runs/r1/artifacts/verdict.html"
    assert links["what changed"] == "/ops/vitrine/releases/diff?shop=toy&before=1&after=2"
    assert "http" not in json.dumps([link["href"] for link in airflow.page("/releases/1").find_all("a")])


def test_two_releases_are_compared_as_the_command_line_does(airflow: Airflow) -> None:
    page = airflow.page("/releases/diff?before=2&after=3")
    tables = {table.find_previous("h2").get_text(): table.find("tbody") for table in page.find_all("table")}
    data = [cell.get_text() for cell in tables["Data"].find("tr").find_all(["th", "td"])]
    assert data[:3] == ["as_of", "2026-11-08T00:00:00Z", "2026-11-15T00:00:00Z"]
    assert "+0" in tables["Items"].get_text() and "40" in tables["Items"].get_text()
    assert "%" in tables["Churn"].get_text()
    gone = airflow.ask("/vitrine/releases/diff?before=1&after=3")
    assert gone.status_code == 409 and "does not hold bundle" in gone.text


@pytest.mark.parametrize(("path", "status", "said"), [
    ("/releases/9", 404, "there is no release 9 of toy; the newest is 3"),
    ("/releases?shop=bakery", 404, "there is no shop &#39;bakery&#39; with releases here; there are toy"),
    ("/releases/0", 422, ""), ("/releases/100000000", 422, ""), ("/releases?last=0", 422, ""),
    ("/releases/2?run=../../evil", 422, ""), ("/releases/diff?before=2", 422, ""),
])
def test_strange_questions_are_answered_by_what_is_wrong(airflow: Airflow, path: str, status: int, said: str) -> None:
    answer = airflow.ask(f"/vitrine{path}")
    assert answer.status_code == status and said in answer.text


def test_no_page_may_run_scripts_of_others_or_be_framed_by_them(airflow: Airflow) -> None:
    for path in (*PAGES, "/releases/9"):
        headers = airflow.ask(f"/vitrine{path}").headers
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert (policy["default-src"], policy["script-src"]) == ("'none'", "'self'")
        assert policy["frame-ancestors"] == "'self'" and headers["cache-control"] == "no-store"


BACK = "/vitrine/releases/2/rollback?shop=toy"


def test_who_may_not_trigger_the_dag_finds_no_button_and_no_way_round_it(airflow: Airflow) -> None:
    for path in ("/releases", "/releases/2"):
        page = airflow.page(path, "viewer")
        assert page.find(string=lambda text: text and "Roll back" in text) is None
        assert [form["method"] for form in page.find_all("form")] == (["get"] if path == "/releases" else [])
    before = airflow.runs()
    assert airflow.ask(BACK, "viewer", "POST", data={"reason": "mine"}).status_code == 403
    assert airflow.ask(BACK, None, "POST", data={"reason": "mine"}).status_code == 401
    assert airflow.runs() == before


def test_the_button_starts_a_dry_run_of_the_dag_and_nothing_else(airflow: Airflow) -> None:
    before = [run["dag_run_id"] for run in airflow.runs()]
    # Neither from another site, nor without a reason.
    foreign = airflow.ask(BACK, "admin", "POST", data={"reason": "theirs"}, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    assert airflow.ask(BACK, "admin", "POST", data={"reason": " "}).status_code == 400
    assert len(airflow.runs()) == len(before)
    answer = airflow.ask(BACK, "admin", "POST", data={"reason": "empty slates"})
    assert answer.status_code == 303
    run, = (run for run in airflow.runs() if run["dag_run_id"] not in before)
    assert run["conf"] == {"to": 2, "reason": "empty slates", "shop": "toy", "dry_run": True}
    assert (run["triggering_user_name"], run["run_type"], run["logical_date"]) == ("admin", "manual", None)
    page = airflow.ask(answer.headers["location"].removeprefix("/ops"))
    told = BeautifulSoup(page.text, "html.parser").find(role="status")
    assert told.a["href"].startswith("/ops/dags/rollback/runs/manual")
    # As in every new installation, unless it is set otherwise.
    assert "The DAG is paused" in told.get_text()


@pytest.mark.skipif(CHROMIUM is None, reason=REMEDY)
def test_in_airflows_own_pages_it_is_read_and_used_by_keyboard(airflow: Airflow) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        context = browser.new_context(viewport={"width": 1400, "height": 900})
        context.add_cookies([{"name": "_token", "value": airflow.tokens["admin"], "url": f"{airflow.address}/",
                              "httpOnly": True, "sameSite": "Lax"}])
        context.set_default_timeout(PATIENCE_S * 1000)
        page = context.new_page()
        refused = list[str]()
        page.on("console", lambda said: refused.append(said.text) if "Content Security Policy" in said.text else None)
        page.goto(f"{airflow.address}/")
        page.get_by_role("link", name="Releases").click()
        frame = page.frame_locator("iframe")
        frame.get_by_role("heading", name="Releases of toy").wait_for()
        assert frame.locator("tbody").first.locator("tr").count() == 3
        frame.get_by_role("link", name="Roll back to this , release 2").press("Enter")
        frame.get_by_label("Why?").fill("seen in a browser")
        page.keyboard.press("Enter")
        frame.get_by_role("link", name="Open it").press("Enter")
        # The window goes there, and not the frame within it.
        page.wait_for_url("**/ops/dags/rollback/runs/manual*")
        assert "seen in a browser" in json.dumps([run["conf"] for run in airflow.runs()])
        for scheme in ("light", "dark"):
            page = context.new_page()
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            page.set_viewport_size({"width": 360, "height": 780})
            for path in PAGES[:3]:
                page.goto(f"{airflow.address}/vitrine{path}")
                assert page.evaluate("document.scrollingElement.scrollWidth") <= 360, path
                contrast = page.evaluate(POOR_CONTRAST)
                assert contrast["texts"] > 8 and contrast["poor"] == [], (path, scheme)
        browser.close()
    assert refused == []


def test_the_api_server_stays_free_of_tensorflow(airflow: Airflow) -> None:
    """By what the process has mapped, after every page was asked for; Arrow, which a comparison needs, is seen."""
    airflow.page("/releases/diff?before=2&after=3")
    mapped = Path(f"/proc/{airflow.process.pid}/maps").read_text(encoding="utf-8")
    assert "/pyarrow/" in mapped
    assert "/tensorflow/" not in mapped and "/scann/" not in mapped


LOAD = """
import json, sys
from airflow import plugins_manager
plugins, _ = plugins_manager._get_plugins()
names = ("releases_plugin", "stage_task", "assets", "fastapi", "plugins.releases.app", "pyarrow", "tensorflow")
print(json.dumps({"plugins": [one.name for one in plugins], "errors": plugins_manager.get_import_errors(),
                  "loaded": [name for name in names if name in sys.modules]}))
"""


def test_processes_that_show_no_pages_load_next_to_nothing(repository: Path, tmp_path: Path) -> None:
    environment = os.environ | {"AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(repository),
                                "AIRFLOW__CORE__PLUGINS_FOLDER": str(repository / "plugins")}
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", LOAD], env=environment, capture_output=True, text=True,
                          check=False)
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout.splitlines()[-1])
    assert found["errors"] == {} and "vitrine" in found["plugins"]
    assert [name for name in found["loaded"] if name != "fastapi"] == ["releases_plugin"]
