"""What the documents tell people to type exists, what they link to exists, and the first commands really run."""

import re
import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.retrain import default_as_of

REPOSITORY = Path(__file__).resolve().parent.parent
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
PROGRAMS = ("vitrine", ".venv/bin/vitrine")


def shell_lines(document: Path) -> Iterator[list[str]]:
    """The words of every command in the document's shell blocks; comments, prompts and assignments are left out."""
    for block in re.findall(r"^```(?:sh|bash|shell)\n(.*?)^```", document.read_text(encoding="utf-8"), re.M | re.S):
        command = ""
        for line in block.replace("\\\n", " ").splitlines():
            command += line
            try:
                words = shlex.split(command, comments=True)
            except ValueError:  # a quotation that goes on in the next line
                command += "\n"
                continue
            command = ""
            while words and re.fullmatch(r"\w+=.*", words[0]):
                words = words[1:]
            if words:
                yield words
        assert not command, f"{document.name}: a quotation is never closed in {command!r}"


def commands(*programs: str) -> list[tuple[str, list[str]]]:
    """(document, arguments) of every shell line that calls one of `programs`."""
    return [(document.name, words[1:]) for document in DOCUMENTS for words in shell_lines(document)
            if words[0] in programs]


def in_text(program: str) -> list[tuple[str, list[str]]]:
    """(document, arguments) of every call outside the shell blocks: `in backticks`, or on an indented line."""
    pattern = rf"`{program} ([^`\n]+)`|^    {program} (.+)$"
    return [(document.name, shlex.split(quoted or indented)) for document in DOCUMENTS
            for quoted, indented in re.findall(pattern, document.read_text(encoding="utf-8"), re.MULTILINE)]


def help_of(*command: str) -> str:
    answer = CliRunner().invoke(app, [*command, "--help"], env={"TERMINAL_WIDTH": "200"})
    assert answer.exit_code == 0, f"vitrine {' '.join(command)}: {answer.output}"
    return answer.output


def test_the_readme_names_the_two_commands_and_the_way_without_airflow() -> None:
    readme = list(shell_lines(REPOSITORY / "README.md"))
    assert readme[:2] == [["make", "run"], ["make", "test"]]
    assert {"sample", "check", "retrain"} <= {words[1] for words in readme if words[0] in PROGRAMS}


@pytest.mark.parametrize(("document", "arguments"), commands("make") + in_text("make"))
def test_every_word_of_make_is_a_target(document: str, arguments: list[str]) -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    for argument in arguments:
        name, is_variable, _ = argument.partition("=")
        pattern = rf"\$\({name}\)|^{name} \?=" if is_variable else rf"^{name}:"
        assert re.search(pattern, makefile, re.MULTILINE), f"{document}: make {' '.join(arguments)}"


@pytest.mark.parametrize(("document", "arguments"), commands(*PROGRAMS) + in_text("vitrine"))
def test_every_command_and_option_exists(document: str, arguments: list[str]) -> None:
    command = [] if arguments[0].startswith("-") else arguments[:1]
    known = set(re.findall(r"--[a-z][a-z-]*", help_of(*command)))
    used = {word.partition("=")[0] for word in arguments if word.startswith("-")}
    assert used <= known, f"{document}: vitrine {' '.join(arguments)}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(document: Path) -> None:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    targets = [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:|#", target)]
    missing = [target for target in targets if not (document.parent / target.partition("#")[0]).exists()]
    assert missing == []


def test_the_first_commands_run(tmp_path: Path) -> None:
    """As they stand in README.md, in another folder and with a smaller shop."""
    shop = tmp_path / "sample"
    lines = {words[1]: [word.replace(".vitrine/sample", str(shop)) for word in words[1:]]
             for words in shell_lines(REPOSITORY / "README.md") if words[0] in PROGRAMS}
    sizes = ["--products", "60", "--customers", "60", "--events", "700", "--weeks", "6"]
    answer = CliRunner().invoke(app, [*lines["sample"], *sizes])
    assert answer.exit_code == 0, answer.output
    assert {path.name for path in shop.iterdir()} >= {"events.parquet", "items.parquet", "users.parquet", "truth.json"}
    answer = CliRunner().invoke(app, lines["check"])
    assert answer.exit_code == 0, answer.output
    assert "Fit for a retrain." in answer.output
    # The retrain that comes next takes the whole log in, and nothing lies between its end and as_of.
    as_of = datetime.fromisoformat(lines["retrain"][lines["retrain"].index("--as-of") + 1]).replace(tzinfo=UTC)
    assert default_as_of(str(shop)) <= as_of
    assert (as_of - default_as_of(str(shop))).days == 0
