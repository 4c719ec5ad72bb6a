"""Settings from the environment and from the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from service.errors import Problem
from service.settings import Settings

GOOD = """\
name: clicks
kafka: {topics: [clicks], client: {sasl.username: me}}
event:
  time: at
  features: {Price: {type: number}, shop: {type: category}}
  targets: {clicked: {type: binary}}
"""

Load = Callable[..., Settings]
Refuse = Callable[..., dict[str, Problem]]


class TestEnvironment:
    @pytest.mark.parametrize(
        ("name", "text", "dotted", "value"),
        [
            ("HEADWATER_NAME", "123", "name", "123"),
            ("HEADWATER_API__PORT", "9000", "api.port", 9000),
            ("HEADWATER_API__ALLOW_UNAUTHENTICATED", "true", "api.allow_unauthenticated", True),
            ("HEADWATER_LEARNING__LEARNING_RATE", "1e-3", "learning.learning_rate", 0.001),
            ("HEADWATER_LEARNING__CLIP", "null", "learning.clip", None),
            ("HEADWATER_KAFKA__TOPICS", "a, b", "kafka.topics", ["a", "b"]),
            ("HEADWATER_KAFKA__TOPICS", "[a, b]", "kafka.topics", ["a", "b"]),
            ("HEADWATER_MODEL__EXPERTS", "[auto, a.b:C]", "model.experts", ["auto", "a.b:C"]),
            ("HEADWATER_KAFKA__BOOTSTRAP_SERVERS", "a:1,b:2", "kafka.bootstrap_servers", "a:1,b:2"),
            ("HEADWATER_SNAPSHOTS__KEEP__LAST", "2", "snapshots.keep.last", 2),
            ("HEADWATER_STATE__DIRECTORY", "/data", "state.directory", "/data"),
            ("HEADWATER_EVENT__TIME__ZONE", "Asia/Tokyo", "event.time.zone", "Asia/Tokyo"),
            (
                "HEADWATER_EVENT__TARGETS__CLICKED__POSITIVE",
                "1",
                "event.targets.clicked.positive",
                "1",
            ),
            (
                "HEADWATER_EVENT__FEATURES__PRICE__SCALE",
                "none",
                "event.features.Price.scale",
                "none",
            ),
            ("HEADWATER_EVENT__FEATURES__SHOP__BUCKETS", "64", "event.features.shop.buckets", 64),
        ],
    )
    def test_a_variable_speaks_over_the_file(
        self, load_settings: Load, name: str, text: str, dotted: str, value: object
    ) -> None:
        """
        A variable is read by the type of its setting, and names of fields are those of the file.
        """
        found: object = load_settings(GOOD, **{name: text}).model_dump(mode="json")
        for key in dotted.split("."):
            found = found[key]  # type: ignore[index]  # a section

        assert value == found

    def test_an_underscore_is_a_dot_below_client(self, load_settings: Load) -> None:
        """
        librdkafka's own names are written with underscores, and add to those of the file.
        """
        found = load_settings(GOOD, HEADWATER_KAFKA__CLIENT__SASL_PASSWORD="123")

        assert {"sasl.username": "me", "sasl.password": "123"} == found.kafka.client

    def test_a_file_may_hold_the_value(self, load_settings: Load, tmp_path: Path) -> None:
        """
        With _FILE, the content of the file counts, without its last newline.
        """
        secret = tmp_path / "secret"
        secret.write_text("hunter2 \n")
        found = load_settings(GOOD, HEADWATER_KAFKA__CLIENT__SASL_PASSWORD_FILE=str(secret))

        assert "hunter2 " == found.kafka.client["sasl.password"]

    def test_a_section_may_come_from_outside(self, load_settings: Load) -> None:
        """
        What the file lacks, the environment may bring.
        """
        text = GOOD.replace("kafka: {topics: [clicks], client: {sasl.username: me}}\n", "")

        assert ("a",) == load_settings(text, HEADWATER_KAFKA__TOPICS="a").kafka.topics

    @pytest.mark.parametrize("name", ["HEADWATER_CONFIG", "HEADWATER_TEST_DATA", "PATH", "HEAD"])
    def test_other_names_are_not_looked_at(self, load_settings: Load, name: str) -> None:
        """
        Where the file is, names of the test suite, and names of others are no settings.
        """
        assert load_settings(GOOD) == load_settings(GOOD, **{name: "x"})


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "path", "hint"),
        [
            ("HEADWATER_KFKA__TOPICS", "kfka", "Did you mean kafka?"),
            ("HEADWATER_API__PROT", "api.prot", "Did you mean port?"),
            ("HEADWATER_PORT", "port", "Did you mean api.port?"),
            ("HEADWATER_KAFKA_TOPICS", "kafka_topics", "Did you mean kafka.topics?"),
        ],
    )
    def test_an_unknown_name_is_an_error(
        self, refused_settings: Refuse, name: str, path: str, hint: str
    ) -> None:
        """
        No misspelt variable is lost: it is told by its name, with the nearest setting.
        """
        found = refused_settings(GOOD, **{name: "1"})[path]

        assert (True, None, hint) == (name in found.msg, found.line, found.hint)

    def test_a_bad_value_names_its_variable(self, refused_settings: Refuse) -> None:
        """
        A wrong value is told with the variable that it came from.
        """
        found = refused_settings(GOOD, HEADWATER_API__PORT="http")["api.port"]

        assert found.msg.endswith("not the text 'http' (from HEADWATER_API__PORT)")

    def test_two_sources_for_one_setting_are_an_error(
        self, refused_settings: Refuse, tmp_path: Path
    ) -> None:
        """
        A variable and its _FILE do not stand together.
        """
        (tmp_path / "port").write_text("1")
        variables = {"HEADWATER_API__PORT": "1", "HEADWATER_API__PORT_FILE": str(tmp_path / "port")}

        assert "api.port" in refused_settings(GOOD, **variables)

    def test_a_file_that_is_not_there_is_an_error(self, refused_settings: Refuse) -> None:
        """
        A value that cannot be read is not left out in silence.
        """
        name = "HEADWATER_KAFKA__CLIENT__SASL_PASSWORD_FILE"

        assert "No such file" in refused_settings(GOOD, **{name: "none"})[name].msg

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("HEADWATER_SERVICE_HOST", "10.0.0.1"),
            ("HEADWATER_SERVICE_PORT_HTTP", "8080"),
            ("HEADWATER_PORT", "tcp://10.0.0.1:8080"),
            ("HEADWATER_PORT_8080_TCP_ADDR", "10.0.0.1"),
            ("HEADWATER_API_PORT", "tcp://10.0.0.1:8080"),
        ],
    )
    def test_variables_of_kubernetes_are_explained(
        self, refused_settings: Refuse, name: str, text: str
    ) -> None:
        """
        A Service called headwater makes such variables: the message says how to be rid of them.
        """
        assert "enableServiceLinks" in refused_settings(GOOD, **{name: text})[name].hint

    def test_no_problem_tells_a_secret(self, refused_settings: Refuse) -> None:
        """
        A misspelt secret is told by its name alone.
        """
        names = ("HEADWATER_KAFKA__CLEINT__SASL_PASSWORD", "HEADWATER_SASL_PASSWORD")

        assert "hunter2" not in str(refused_settings(GOOD, **dict.fromkeys(names, "hunter2")))


class TestOverrides:
    def test_a_text_is_read_by_the_type_of_its_setting(self, load_settings: Load) -> None:
        """
        `--set learning.batch_rows=7` sets a number, `--set name=7` a text.
        """
        found = load_settings(GOOD, {"learning.batch_rows": "7", "name": "7"})

        assert (7, "7") == (found.learning.batch_rows, found.name)

    def test_an_override_speaks_over_the_environment(self, load_settings: Load) -> None:
        """
        What is typed counts more than what is set.
        """
        assert 2 == load_settings(GOOD, {"api.port": 2}, HEADWATER_API__PORT="1").api.port

    def test_client_settings_keep_their_dots(self, load_settings: Load) -> None:
        """
        Below kafka.client, the rest of the name is one name.
        """
        found = load_settings(GOOD, {"kafka.client.ssl.ca.location": "ca.pem"})

        assert "ca.pem" == found.kafka.client["ssl.ca.location"]

    def test_an_unknown_name_is_an_error(self, refused_settings: Refuse) -> None:
        """
        A misspelt override is told like a misspelt key.
        """
        found = refused_settings(GOOD, {"learning.rate": "1"})["learning.rate"]

        assert "is not a known key (from the option for learning.rate)" == found.msg
