"""Who may import whom, read from the code itself."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("benchmarks", "dags", "deploy", "models", "pipelines", "plugins", "serving", "stack")
FILES = sorted(path for package in PACKAGES for path in (REPOSITORY / package).rglob("*.py"))
NAMES = [path.relative_to(REPOSITORY).as_posix() for path in FILES]
STAGES = ("ingest", "features", "train", "evaluate", "register", "index", "gate", "promote")


def imports(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Every module that the code names in an import, absolute, with the statement."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((f"{node.module}.{alias.name}", node) for alias in node.names)


def parsed(name: str) -> ast.Module:
    return ast.parse((REPOSITORY / name).read_text(encoding="utf-8"))


def outside_functions(tree: ast.Module) -> set[ast.AST]:
    """Nodes that run when the module is imported."""
    inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    return set(ast.walk(tree)) - inside


def is_of(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


ONLY_IN = {
    "airflow": ("dags/", "plugins/", "deploy/kubernetes/airflow_local_settings.py"),
    "tensorflow": ("models/", "pipelines/train.py", "pipelines/register.py", "pipelines/evaluate.py"),
    "tensorflow_recommenders": ("models/",),
    "mlflow": ("pipelines/tracking.py",),
    "scann": ("pipelines/index.py", "serving/retriever.py"),
    # The laptop stack is an operator's tool: nothing of the product needs it.
    "stack": ("stack/",),
}


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    found = [name for name in NAMES for module, _ in imports(parsed(name)) if is_of(module, library)]
    assert [name for name in found if not name.startswith(ONLY_IN[library])] == []


def test_pipelines_import_tensorflow_and_models_only_within_functions() -> None:
    heavy = ("tensorflow", "tensorflow_recommenders", "tf_keras", "models.two_tower", "models.training")
    faults = [
        (name, module)
        for name in NAMES if name.startswith(("pipelines/", "dags/", "plugins/"))
        for tree in [parsed(name)]
        for module, node in imports(tree)
        if node in outside_functions(tree) and any(is_of(module, library) for library in heavy)
    ]
    assert faults == []


def test_no_stage_imports_another_stage() -> None:
    faults = [
        (stage, module)
        for stage in STAGES
        for module, _ in imports(parsed(f"pipelines/{stage}.py"))
        for other in STAGES
        if other != stage and is_of(module, f"pipelines.{other}")
    ]
    assert faults == []


def test_serving_takes_from_the_pipelines_only_what_it_shares_with_them() -> None:
    shared = tuple(f"pipelines.{name}" for name in (
        "errors", "artifacts", "contracts", "columns", "free_space", "moments", "validation"))
    faults = [
        (name, module)
        for name in NAMES if name.startswith("serving/")
        for module, _ in imports(parsed(name))
        if is_of(module, "models") or (is_of(module, "pipelines") and not any(is_of(module, one) for one in shared))
    ]
    assert faults == []


def test_the_environment_is_read_in_settings_alone() -> None:
    """stack/ passes environments to the processes it starts, and legacy_keras chooses Keras 2: both write.

    deploy/mlflow_users.py is about MLflow's own variables, with passwords that Vitrine's processes never have.
    """
    allowed = ("pipelines/settings.py", "models/legacy_keras.py", "stack/", "deploy/mlflow_users.py")
    faults = [
        name
        for name in NAMES if not name.startswith(allowed)
        for node in ast.walk(parsed(name))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("os.environ", "os.getenv")
    ]
    assert faults == []


def test_nothing_is_pickled() -> None:
    pickles = ("pickle", "cloudpickle", "joblib", "dill")
    found = [(name, module) for name in NAMES for module, _ in imports(parsed(name))
             if any(is_of(module, library) for library in pickles)]
    assert found == []


def test_nothing_is_called_that_could_unpickle() -> None:
    """Calls that read or write pickles without saying so: NumPy's when asked to, pandas', ScaNN's loader, pools."""
    capable = {"read_pickle", "to_pickle", "load_searcher", "load_model", "ProcessPoolExecutor", "multiprocessing",
               "shelve", "Pool"}
    found = [(name, ast.unparse(node)) for name in NAMES for node in ast.walk(parsed(name))
             if (isinstance(node, ast.Attribute) and node.attr in capable)
             or (isinstance(node, ast.Name) and node.id in capable)
             or (isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False")]
    assert found == []


def test_every_module_can_be_read_in_one_sitting() -> None:
    assert [name for name, path in zip(NAMES, FILES, strict=True)
            if len(path.read_text(encoding="utf-8").splitlines()) > 300] == []


def test_the_rules_see_code_at_all() -> None:
    assert len(FILES) > 20
    assert "pipelines.retrain.run_stage" in {module for module, _ in imports(parsed("plugins/stage_task.py"))}
