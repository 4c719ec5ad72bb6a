"""README and docs/ say what is so: links, commands, tests, names, pages that are made."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from service.cli.main import app
from service.errors import HeadwaterError
from service.metrics import STATES
from service.model.prequential import OUTCOMES
from service.serve.problems import CODES
from service.settings import load

CHECKOUT = Path(__file__).parent.parent
DOCS = CHECKOUT / "docs"
PAGES = sorted([CHECKOUT / "README.md", *DOCS.rglob("*.md")])
NAMES = [page.relative_to(CHECKOUT).as_posix() for page in PAGES]

_FENCE = re.compile(r"^ *```([a-z]*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_CITED = re.compile(r"`(tests/[\w/]+\.py)((?:::\w+)*)`")
_SPAN = re.compile(r"`headwater ([^`]+)`")
_MACHINE = re.compile(r"(?<![\w.])/(?:work|tmp|root|home|Users)/\S*")


@pytest.fixture(params=PAGES, ids=NAMES)
def page(request: pytest.FixtureRequest) -> Path:
    """Each page in turn."""
    found: Path = request.param
    return found


def blocks(page: Path, kind: str) -> list[str]:
    """Return the code blocks of a kind."""
    return [body for mark, body in _FENCE.findall(page.read_text()) if mark == kind]


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return _FENCE.sub("", page.read_text())


def anchors(page: Path) -> set[str]:
    """Return what GitHub calls the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def commands_in(script: str) -> Iterator[list[str]]:
    """Return the words of each `headwater` command in a shell script."""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("();<>|&"):
                if command[:1] == ["headwater"]:
                    yield command[1:]
                command = []
            else:
                command.append(word)


def found(words: list[str]) -> tuple[Any, list[str]]:
    """Return the command that words name, and its arguments."""
    command: Any = typer.main.get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        assert rest, f"headwater {' '.join(words)}: which command?"
        assert rest[0] in command.commands, f"headwater {' '.join(words)}: no such command"
        command = command.commands[rest.pop(0)]
    return command, rest


def leaves(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return every command that people may give."""
    command = typer.main.get_command(app) if command is None else command
    for name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield from leaves(inner, (*path, name))
    if not hasattr(command, "commands"):
        yield path


def names_in(path: Path) -> set[str]:
    """Return the tests of a file, as pytest names them: test, Class, Class::test."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef):
            names.add(node.name)
            inner = [one.name for one in node.body if isinstance(one, ast.FunctionDef)]
            names |= {f"{node.name}::{one}" for one in inner}
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return names


def metrics_page() -> ModuleType:
    """Return docs/metrics_page.py as a module."""
    spec = importlib.util.spec_from_file_location("metrics_page", DOCS / "metrics_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_shell_block_is_read_as_a_shell_reads_it() -> None:
    """
    Commands are found after a pipe, after a `;`, over two lines, and not in what is echoed.
    """
    script = "echo 'headwater x' | headwater publish -\nsleep 1; headwater run \\\n  -c a.yaml &\n"

    assert [["publish", "-"], ["run", "-c", "a.yaml"]] == list(commands_in(script))


def test_links_lead_somewhere(page: Path) -> None:
    """
    Every link to a file of ours names one that is there, and a heading that it has.
    """
    broken = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)

    assert [] == broken


def test_commands_to_type_exist(page: Path) -> None:
    """
    Each command line of a shell block parses: the command, its options, what it requires.
    """
    for script in blocks(page, "sh"):
        for words in commands_in(script):
            command, arguments = found(words)
            command.make_context(command.name, arguments)


def test_commands_in_sentences_exist(page: Path) -> None:
    """
    A command named in a sentence is one, and has the options that are named with it.
    """
    for span in _SPAN.findall(prose(page)):
        words = span.split()
        if words[0].startswith("-") or (len(words) == 1 and words[0] in {"snapshots", "config"}):
            continue
        command, arguments = found(words)
        options = {option for parameter in command.params for option in parameter.opts}
        named = {word.partition("=")[0] for word in arguments if word.startswith("--")}
        assert named <= options, f"headwater {span}"


def test_every_command_is_in_operations() -> None:
    """
    docs/operations.md names each command.
    """
    text = prose(DOCS / "operations.md")
    missing = []
    for path in leaves():
        whole = f"`headwater {' '.join(path)}`" in text
        in_parts = len(path) == 2 and f"`headwater {path[0]} " in text and f"`{path[1]}`" in text
        if not whole and not in_parts:
            missing.append(" ".join(path))

    assert [] == missing


def test_cited_tests_exist(page: Path) -> None:
    """
    A test that a page names as proof is there.
    """
    missing = []
    for file, name in _CITED.findall(page.read_text()):
        path = CHECKOUT / file
        if not path.is_file() or (name and name.removeprefix("::") not in names_in(path)):
            missing.append(file + name)

    assert [] == missing


def test_every_promise_names_its_tests() -> None:
    """
    docs/promises.md has seven promises; each says what it does not promise, and cites tests.
    """
    text = (DOCS / "promises.md").read_text()
    promises = re.split(r"^## ", text, flags=re.MULTILINE)[1:]

    assert [f"{n}. " for n in range(1, 8)] == [promise[:3] for promise in promises]
    assert all("\nNot promised:\n" in promise for promise in promises)
    assert all(_CITED.findall(promise.partition("\nTests:\n")[2]) for promise in promises)


def test_the_metrics_page_is_up_to_date() -> None:
    """
    docs/metrics.md is what docs/metrics_page.py makes now.
    """
    made = metrics_page().page()

    assert made == (DOCS / "metrics.md").read_text(), (
        "python docs/metrics_page.py > docs/metrics.md"
    )


def test_every_page_is_in_the_index() -> None:
    """
    docs/index.md links every page of docs/.
    """
    linked = set(_LINK.findall(prose(DOCS / "index.md")))

    assert {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} - {
        "index.md"
    } <= linked


def test_every_way_an_event_can_end_is_explained() -> None:
    """
    Outcomes and reasons that the service counts stand in the tables.
    """
    events, concepts = ((DOCS / name).read_text() for name in ("events.md", "concepts.md"))

    assert [] == [
        f"{outcome}/{reason}"
        for outcome, reason in OUTCOMES
        if f"`{outcome}`" not in concepts or (outcome != "held_out" and reason not in events)
    ]


def test_every_problem_and_every_state_is_explained() -> None:
    """
    Codes of problems stand in docs/http.md, states of the learner in docs/operations.md.
    """
    http, operations = (DOCS / "http.md").read_text(), (DOCS / "operations.md").read_text()

    assert [] == [code for code in CODES if f"| `{code}` | {CODES[code].status}" not in http]
    assert [] == [state for state in STATES if f"`{state}`" not in operations]


def test_every_exit_code_is_explained() -> None:
    """
    The exit codes that errors carry stand in the table of docs/operations.md.
    """
    text = (DOCS / "operations.md").read_text()
    codes = {0, 2, 130, *(error.exit_code for error in families(HeadwaterError))}

    assert [] == [code for code in sorted(codes) if f"\n| {code} | " not in text]


def families(error: type[HeadwaterError]) -> Iterator[type[HeadwaterError]]:
    """Return an error and everything below it."""
    yield error
    for inner in error.__subclasses__():
        yield from families(inner)


def test_the_settings_of_the_readme_are_good(tmp_path: Path) -> None:
    """
    The file that a newcomer copies can be used as it stands.
    """
    [text] = blocks(CHECKOUT / "README.md", "yaml")
    path = tmp_path / "headwater.yaml"
    path.write_text(text)

    assert "payments-fraud" == load(path, environment={}).name


def test_no_page_names_a_folder_of_ours(page: Path) -> None:
    """
    Paths on the machine of whoever wrote a page do not belong in it.
    """
    assert [] == _MACHINE.findall(page.read_text())
