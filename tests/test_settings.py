"""Settings: what is read, where it is found, and which of it is never shown."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import settings
from service._settings.values import canonical_text
from service.errors import Problem
from service.events import values
from service.settings import CategoryFeature, EventTime, NumberFeature, Settings

GOOD = """\
name: clicks
kafka:
  topics: [clicks]
event:
  features:
    price: {type: number}
    shop: {type: category}
  targets:
    clicked: {type: binary}
"""

Load = Callable[..., Settings]
Refuse = Callable[..., dict[str, Problem]]


class TestRead:
    def test_what_is_not_said_has_a_default(self, load_settings: Load) -> None:
        """
        A file with a name, a topic, features and targets is enough.
        """
        found = load_settings(GOOD)

        assert ("earliest", 1024, 8080) == (
            found.kafka.start,
            found.learning.batch_rows,
            found.api.port,
        )

    def test_fields_have_types(self, load_settings: Load) -> None:
        """
        The type of a feature decides what may be said about it.
        """
        found = load_settings(GOOD)

        assert {"price": NumberFeature(), "shop": CategoryFeature()} == found.event.features

    def test_one_topic_may_be_spelled_short(self, load_settings: Load) -> None:
        """
        `topic: x` means `topics: [x]`.
        """
        assert ("clicks",) == load_settings(
            GOOD.replace("topics: [clicks]", "topic: clicks")
        ).kafka.topics

    def test_time_may_be_spelled_short(self, load_settings: Load) -> None:
        """
        `time: x` means the field x, ISO, UTC.
        """
        found = load_settings(GOOD.replace("event:", "event:\n  time: at"))

        assert EventTime(field="at", format="iso", zone="UTC") == found.event.time

    @pytest.mark.parametrize("path", ["device.os", "[device, os]"])
    def test_a_path_is_a_text_with_dots_or_a_list(self, load_settings: Load, path: str) -> None:
        """
        As YAML says them, both are keys from the outside in.
        """
        found = load_settings(GOOD.replace("{type: category}", f"{{type: category, path: {path}}}"))

        assert ("device", "os") == found.event.features["shop"].path

    def test_labels_compare_as_text(self, load_settings: Load) -> None:
        """
        Classes and positive labels become the text that events are compared by.
        """
        text = GOOD + "    kind: {type: multiclass, classes: [1, 2.0, true, NO]}\n"
        text = text.replace("{type: binary}", "{type: binary, positive: 1.0}")
        targets = load_settings(text).event.targets

        assert ("1", ("1", "2", "true", "NO")) == (
            targets["clicked"].positive,  # type: ignore[union-attr]  # a binary target
            targets["kind"].classes,  # type: ignore[union-attr]  # a multiclass target
        )

    @pytest.mark.parametrize("said", ["[yes, Yes]", "[Yes, yes]"])
    def test_a_label_may_have_several_spellings(self, load_settings: Load, said: str) -> None:
        """
        In any order; one in a list is that one.
        """
        text = GOOD.replace("{type: binary}", f"{{type: binary, positive: {said}}}")
        one = GOOD.replace("{type: binary}", "{type: binary, positive: [1.0]}")

        assert [("Yes", "yes"), "1"] == [
            load_settings(each).event.targets["clicked"].positive  # type: ignore[union-attr]  # a binary target
            for each in (text, one)
        ]

    def test_names_of_fields_may_be_any_text(self, load_settings: Load) -> None:
        """
        A field may be called NO, 17 or class: names are texts as they stand.
        """
        text = GOOD.replace("price:", "NO:").replace("shop:", "17:")

        assert ["NO", "17"] == list(load_settings(text).event.features)

    def test_dump_is_canonical(self, load_settings: Load) -> None:
        """
        Dumped and read again, settings are the same settings.
        """
        found = load_settings(GOOD)

        assert found == Settings.model_validate(found.model_dump(mode="json"))

    def test_start_may_be_a_time(self, load_settings: Load) -> None:
        """
        A time without a zone is UTC.
        """
        found = load_settings(GOOD.replace("[clicks]", "[clicks]\n  start: 2026-01-31T00:00:10"))

        assert 1_769_817_610_000 == found.kafka.start_ms

    def test_client_settings_become_texts(self, load_settings: Load) -> None:
        """
        librdkafka takes texts, so numbers and booleans become texts.
        """
        client = "{socket.keepalive.enable: true, fetch.wait.max.ms: 10}"
        found = load_settings(GOOD.replace("[clicks]", f"[clicks]\n  client: {client}"))

        assert {"socket.keepalive.enable": "true", "fetch.wait.max.ms": "10"} == found.kafka.client


class TestFound:
    def test_the_option_comes_before_the_variable(self, tmp_path: Path) -> None:
        """
        --config is taken, whatever HEADWATER_CONFIG says.
        """
        path = tmp_path / "given.yaml"
        path.write_text(GOOD)

        assert "clicks" == settings.load(path, environment={"HEADWATER_CONFIG": "none"}).name

    def test_the_variable_comes_before_the_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        HEADWATER_CONFIG is taken, whatever lies in the working directory.
        """
        (tmp_path / "headwater.yaml").write_text("broken")
        path = tmp_path / "named.yaml"
        path.write_text(GOOD)
        monkeypatch.chdir(tmp_path)

        assert "clicks" == settings.load(environment={"HEADWATER_CONFIG": str(path)}).name

    def test_the_folder_comes_last(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """
        Without either, ./headwater.yaml is read.
        """
        (tmp_path / "headwater.yaml").write_text(GOOD)
        monkeypatch.chdir(tmp_path)

        assert "clicks" == settings.load(environment={}).name


class TestSecrets:
    CLIENT = "[clicks]\n  client: {sasl.password: hunter2, ssl.key.pem: hunter2}"

    def test_no_repr_holds_a_secret(self, load_settings: Load) -> None:
        """
        Printed settings hide secrets.
        """
        found = load_settings(GOOD.replace("[clicks]", self.CLIENT))

        assert "hunter2" not in f"{found!r} {found} {found.kafka!r}"

    def test_what_is_shown_holds_no_secret(self, load_settings: Load) -> None:
        """
        `config show` hides secrets, whatever else it shows.
        """
        shown = settings.shown(load_settings(GOOD.replace("[clicks]", self.CLIENT)))

        assert {"sasl.password": "***", "ssl.key.pem": "***"} == shown["kafka"]["client"]  # type: ignore[index]  # a section

    @pytest.mark.parametrize(
        "broken",
        [
            GOOD.replace("[clicks]", "[clicks]\n  client: {sasl.password: [hunter2]}"),
            GOOD.replace("[clicks]", "[clicks]\n  client: {sasl.password: {a: hunter2}}"),
            GOOD.replace("[clicks]", "[clicks]\n  cleint: {sasl.password: hunter2}"),
            GOOD.replace("[clicks]", "[clicks]\n  client: {sasl.password: hunter2, a}}"),
            GOOD.replace("[clicks]", "[clicks]\n  client: {sasl.password: 'hunter2}"),
            GOOD.replace("[clicks]", "[clicks]\n  client: {sasl.password: hunter2} x: 1"),
            f"{GOOD}password: hunter2\n",
        ],
    )
    def test_no_problem_tells_a_secret(self, refused_settings: Refuse, broken: str) -> None:
        """
        However the file is broken, what it says of passwords stays in it.
        """
        assert "hunter2" not in str(refused_settings(broken))

    def test_a_field_may_be_called_like_a_secret(self, load_settings: Load) -> None:
        """
        A field of the events called `token` is described in full: its type is no secret.
        """
        shown = settings.shown(load_settings(GOOD.replace("price:", "token:")))

        token = shown["event"]["features"]["token"]  # type: ignore[index]  # a section
        assert {"type": "number", "scale": "auto", "path": None} == token

    def test_a_path_is_a_text_or_a_list_of_keys(self, load_settings: Load) -> None:
        """
        A list is for keys that have a dot in them.
        """
        for written, meant in (("a.b", ("a", "b")), ("[a, b.c]", ("a", "b.c"))):
            text = GOOD.replace("{type: number}", f"{{type: number, path: {written}}}", 1)
            assert meant == load_settings(text).event.features["price"].path


class TestFolders:
    def test_state_lies_below_the_working_directory(
        self, load_settings: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        A relative state directory is relative to the working directory; a folder per model.
        """
        monkeypatch.chdir(tmp_path)

        assert tmp_path.resolve() / "state" / "clicks" == settings.state_directory(
            load_settings(GOOD)
        )

    def test_models_with_other_state_never_share_a_runtime_folder(
        self, load_settings: Load
    ) -> None:
        """
        Two models of one name keep apart, if their states do.
        """
        one = load_settings(f"{GOOD}state: {{directory: a}}\n")
        other = load_settings(f"{GOOD}state: {{directory: b}}\n")

        assert settings.runtime_directory(one) != settings.runtime_directory(other)

    def test_the_runtime_folder_given_is_taken(self, load_settings: Load, tmp_path: Path) -> None:
        """
        What runtime.directory names is the folder itself.
        """
        found = settings.runtime_directory(
            load_settings(f"{GOOD}runtime: {{directory: {tmp_path}}}\n")
        )

        assert tmp_path.resolve() == found

    def test_the_session_has_a_runtime_folder(
        self, load_settings: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Without one given, that of the session is taken.
        """
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

        assert tmp_path / "headwater" == settings.runtime_directory(load_settings(GOOD)).parent

    def test_a_runtime_folder_is_found_without_a_session(
        self, load_settings: Load, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """
        Without a session either, it is the user's own folder on a tmpfs or among temporary files.
        """
        monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

        assert settings.runtime_directory(load_settings(GOOD)).parent.name.startswith("headwater-")


@given(st.one_of(st.integers(), st.booleans(), st.text(), st.floats(allow_nan=False)))
def test_labels_of_settings_and_of_events_are_the_same_text(value: object) -> None:
    """
    What the settings call 1.0 an event calls 1: both sides make the same text of a scalar.
    """
    finite = not isinstance(value, float) or math.isfinite(value)

    assert not finite or values.text(value) == canonical_text(value)
