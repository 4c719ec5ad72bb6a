"""The command itself: help, version, config; its exit codes, and what goes where."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
from ruamel.yaml import YAML

from service import __version__
from service.cli import main as command
from service.cli.reference import page
from service.errors import DataLost, Diverged, Halted, HeadwaterError, Locked, SnapshotInvalid
from tests.processes import PATIENCE_S

CHECKOUT = Path(__file__).parent.parent
GOOD = """\
name: clicks
kafka:
  topic: clicks
  client: {sasl.password: hunter2}
event:
  features: {price: {type: number}}
  targets: {clicked: {type: binary}}
"""
BAD = GOOD.replace("number", "texts").replace("name: clicks", "nam: clicks")
HEAVY = ("torch", "numba", "numpy", "confluent_kafka", "fastapi", "uvicorn", "pyarrow")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "headwater.yaml"
    path.write_text(GOOD)
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "headwater.yaml"
    path.write_text(BAD)
    return path


def commands() -> Iterator[tuple[str, Any]]:
    """Every command by its words."""
    group: Any = typer.main.get_command(command.app)
    for name, one in group.commands.items():
        inner = getattr(one, "commands", None)
        if inner is None:
            yield name, one
        else:
            yield from ((f"{name} {below}", two) for below, two in inner.items())


class TestCheck:
    def test_good_settings_are_said_to_be_good(self, headwater: Run, good: Path) -> None:
        """
        A file that can be used ends with 0 and a sentence.
        """
        ended = headwater("config", "check")

        assert (0, "The settings of clicks are good: 1 feature, 1 target, 1 topic.\n", "") == (
            ended.returncode,
            ended.stdout,
            ended.stderr,
        )

    def test_good_settings_as_json(self, headwater: Run, good: Path) -> None:
        """
        --json prints the contract's object, and nothing else.
        """
        ended = headwater("config", "check", "--json")

        assert {"ok": True, "errors": []} == json.loads(ended.stdout)

    def test_bad_settings_as_json(self, headwater: Run, bad: Path) -> None:
        """
        Each error has its path, its line, what is wrong and what to do.
        """
        told = json.loads(headwater("config", "check", "--json").stdout)

        assert (
            False,
            {
                "path": "nam",
                "line": 1,
                "msg": "is not a known key",
                "hint": "Did you mean name?",
            },
            ["nam", "event.features.price", "name"],
        ) == (told["ok"], told["errors"][0], [error["path"] for error in told["errors"]])

    def test_settings_in_doubt_are_good_and_warned_of(self, headwater: Run, good: Path) -> None:
        """
        For people, who read why; the code of the end is that of good settings.
        """
        ended = headwater(
            "config",
            "check",
            "--set",
            "model.kind=linear",
            "--set",
            "learning.optimizer=sgd",
            "--set",
            "learning.learning_rate=2",
        )

        assert 0 == ended.returncode
        assert "Warning: learning.learning_rate: sgd at 2 goes far past" in ended.stdout

    @pytest.mark.parametrize("how", [(), ("--json",)])
    def test_bad_settings_end_with_3(self, headwater: Run, bad: Path, how: tuple[str]) -> None:
        """
        The check fails with the code of bad settings, for people and for scripts.
        """
        assert 3 == headwater("config", "check", *how).returncode

    def test_bad_settings_for_people(self, headwater: Run, bad: Path) -> None:
        """
        A person reads line, path, what is wrong and what to do.
        """
        said = headwater("config", "check").stdout

        assert "  line 1: nam: is not a known key\n      Did you mean name?\n" in said

    def test_a_missing_file_is_told(self, headwater: Run) -> None:
        """
        Without a file, the places that were looked at are named.
        """
        ended = headwater("config", "check")

        assert (3, True) == (ended.returncode, "--config (not given)" in ended.stdout)

    def test_the_environment_is_checked_too(self, headwater: Run, good: Path) -> None:
        """
        A misspelt variable fails the check.
        """
        assert 3 == headwater("config", "check", HEADWATER_API__PROT="1").returncode


class TestShow:
    def test_what_is_in_force_is_shown(self, headwater: Run, good: Path) -> None:
        """
        File, environment and options are laid over the defaults.
        """
        ended = headwater(
            "config", "show", "--json", "--set", "learning.batch_rows=7", HEADWATER_API__PORT="9"
        )
        tree = json.loads(ended.stdout)

        assert (["clicks"], 7, 9, 30.0) == (
            tree["kafka"]["topics"],
            tree["learning"]["batch_rows"],
            tree["api"]["port"],
            tree["snapshots"]["every_seconds"],
        )

    def test_yaml_and_json_show_the_same(self, headwater: Run, good: Path) -> None:
        """
        For people it is YAML, and the same tree.
        """
        text = headwater("config", "show").stdout

        assert json.loads(headwater("config", "show", "--json").stdout) == YAML(
            typ="safe", pure=True
        ).load(text)

    @pytest.mark.parametrize("how", [(), ("--json",)])
    def test_no_secret_is_shown(self, headwater: Run, good: Path, how: tuple[str]) -> None:
        """
        A password is shown as ***.
        """
        ended = headwater("config", "show", *how)

        assert (False, True) == ("hunter2" in ended.stdout + ended.stderr, "***" in ended.stdout)

    def test_bad_settings_are_told_on_stderr(self, headwater: Run, bad: Path) -> None:
        """
        A command that cannot start says so on stderr, keeps stdout for data, and ends with 3.
        """
        ended = headwater("config", "show")

        assert (3, "", True) == (
            ended.returncode,
            ended.stdout,
            "line 1: nam: is not a known key" in ended.stderr,
        )

    def test_a_bad_option_ends_with_2(self, headwater: Run, good: Path) -> None:
        """
        --set without a value is a mistake in the command.
        """
        assert 2 == headwater("config", "show", "--set", "name").returncode


class TestSchema:
    @pytest.mark.parametrize("text", [GOOD, GOOD.replace("topic: clicks", "topics: [a, b]")])
    def test_it_takes_what_the_service_takes(self, headwater: Run, text: str) -> None:
        """
        The JSON Schema for editors accepts good settings, short spellings included.
        """
        schema = json.loads(headwater("config", "schema").stdout)
        tree = YAML(typ="safe", pure=True).load(text)

        assert [] == list(jsonschema.Draft202012Validator(schema).iter_errors(tree))

    def test_it_refuses_what_the_service_refuses(self, headwater: Run) -> None:
        """
        A misspelt key is marked in the editor.
        """
        schema = json.loads(headwater("config", "schema").stdout)
        tree = YAML(typ="safe", pure=True).load(BAD)

        assert not jsonschema.Draft202012Validator(schema).is_valid(tree)

    def test_check_jsonschema_takes_every_file_we_ship(
        self, headwater: Run, tmp_path: Path
    ) -> None:
        """
        The validator that others run in CI finds nothing wrong with config/.
        """
        written = headwater("config", "schema", "--out", "s.json")
        files = sorted(map(str, (CHECKOUT / "config").glob("*.yaml")))
        ended = subprocess.run(
            [sys.executable, "-m", "check_jsonschema", "--schemafile", "s.json", *files],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

        assert (0, "") == (written.returncode, written.stdout)
        assert 0 == ended.returncode, ended.stdout + ended.stderr

    def test_every_setting_is_described(self, headwater: Run) -> None:
        """
        An editor shows a sentence beside each key; the schema says what it is the schema of.
        """
        schema = json.loads(headwater("config", "schema").stdout)
        silent = [
            f"{section}.{name}"
            for section, one in {"": schema, **schema["$defs"]}.items()
            for name, field in one.get("properties", {}).items()
            if "description" not in field and "$ref" not in field
        ]

        assert [] == silent
        assert ("urn:headwater:settings", "https://json-schema.org/draft/2020-12/schema") == (
            schema["$id"],
            schema["$schema"],
        )


class TestReference:
    def test_the_page_is_up_to_date(self) -> None:
        """
        docs/configuration.md is what `headwater config reference` prints.
        """
        assert page() == (CHECKOUT / "docs/configuration.md").read_text(encoding="utf-8"), (
            "run: headwater config reference > docs/configuration.md"
        )

    def test_the_example_on_the_page_is_good(self, headwater: Run, tmp_path: Path) -> None:
        """
        The settings file that the page shows can be used.
        """
        (tmp_path / "headwater.yaml").write_text(page().split("```yaml\n")[1].split("```")[0])

        assert 0 == headwater("config", "check").returncode


@pytest.mark.parametrize(
    "path",
    sorted((CHECKOUT / "config").glob("*.yaml")),
    ids=lambda path: path.name,
)
def test_the_settings_we_ship_are_good(headwater: Run, path: Path) -> None:
    """
    Every file in config/ passes the check.
    """
    ended = headwater("config", "check", "--config", str(path))

    assert (0, "") == (ended.returncode, ended.stderr), ended.stdout


class TestCommand:
    def test_version(self, headwater: Run) -> None:
        """
        `headwater version` says which one this is.
        """
        assert __version__ == json.loads(headwater("version", "--json").stdout)["headwater"]

    def test_help_names_every_command(self, headwater: Run) -> None:
        """
        --help lists the commands and ends with 0.
        """
        ended = headwater("--help")

        assert (0, True) == (ended.returncode, "config" in ended.stdout)

    def test_an_unknown_command_ends_with_2(self, headwater: Run) -> None:
        """
        A usage mistake ends with 2, told on stderr.
        """
        ended = headwater("lern")

        assert (2, "", True) == (ended.returncode, ended.stdout, "lern" in ended.stderr)

    def test_every_command_that_reads_settings_reads_them_alike(self) -> None:
        """
        --config, --set and --json are options of every command that has one of them, but for those
        that only run (and print nothing to read) and the hidden worker.
        """
        silent = {"run", "learner", "api", "api-worker"}
        options = {
            path: {option for parameter in one.params for option in parameter.opts}
            for path, one in commands()
        }
        shared = {"--config", "--set", "--json"}
        uneven = {
            path: sorted(shared - found)
            for path, found in options.items()
            if "--config" in found and shared - found - ({"--json"} if path in silent else set())
        }

        assert {} == uneven

    @pytest.mark.parametrize(
        "arguments", ["['--help']", "['config', 'check']", "['config', 'schema']", "['version']"]
    )
    def test_light_commands_load_nothing_heavy(self, good: Path, arguments: str) -> None:
        """
        Help, version and config answer at once: no torch, no Kafka client, no web framework.
        """
        program = (
            f"import sys; sys.argv[1:] = {arguments}\n"
            "from service.cli.main import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program],
            cwd=good.parent,
            env={"PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )

        assert "[]\n" == ended.stderr

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (DataLost("gone"), 4),
            (Locked("taken"), 5),
            (Halted("stopped"), 6),
            (SnapshotInvalid("torn"), 7),
            (Diverged("other bits"), 8),
            (HeadwaterError("away"), 1),
            (KeyboardInterrupt(), 130),
        ],
    )
    def test_an_error_becomes_its_exit_code(
        self, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
    ) -> None:
        """
        What a command dies of decides what the process ends with.
        """

        def dies(prog_name: str) -> None:
            assert prog_name == "headwater"
            raise error

        monkeypatch.setattr(command, "app", dies)

        assert code == command.main()

    def test_a_bug_is_not_hidden(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        What nobody understands keeps its traceback (Python ends it with 1).
        """

        def dies(prog_name: str) -> None:
            assert prog_name == "headwater"
            raise ZeroDivisionError

        monkeypatch.setattr(command, "app", dies)

        with pytest.raises(ZeroDivisionError):
            command.main()


def test_a_folder_without_snapshots_is_not_called_whole(headwater: Run, good: Path) -> None:
    """As the wrong one of two backups would be."""
    asked = headwater("snapshots", "verify", "--config", str(good), "--json")

    said = json.loads(asked.stdout)
    assert (SnapshotInvalid.exit_code, False) == (asked.returncode, said["ok"])
    assert "there is no snapshot in" in said["failures"][0]["reason"]
