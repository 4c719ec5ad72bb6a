"""Settings that are refused: every refusal says where, what, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from service import settings
from service.errors import BadSettings, Problem
from service.settings import Settings

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

REFUSED = [
    ("name: clicks", "name: a/b", "name", 1, "cannot name a folder"),
    ("name: clicks", "nam: clicks", "nam", 1, "not a known key"),
    ("name: clicks", "name: 7", "name", 1, "must be a text, not 7"),
    ("topics: [clicks]", "topics: []", "kafka.topics", 3, "no topic is named"),
    ("topics: [clicks]", "topics: [a, a]", "kafka.topics", 3, "a is listed twice"),
    ("topics: [clicks]", "topics: [a b]", "kafka.topics.0", 3, "is no topic name"),
    ("topics: [clicks]", "topics: clicks", "kafka.topics", 3, "must be a list, not the text"),
    ("topics: [clicks]", "topic: a\n  topics: [a]", "kafka.topic", 3, "stands beside topics"),
    ("topics: [clicks]", "start: earliest", "kafka.topics", 2, "is required"),
    ("[clicks]", "[clicks]\n  start: soon", "kafka.start", 4, "neither earliest, latest nor"),
    ("[clicks]", "[clicks]\n  on_data_loss: ignore", "kafka.on_data_loss", 4, "one of halt, skip"),
    ("[clicks]", "[a]\n  dead_letter_topic: a", "kafka.dead_letter_topic", 4, "is one of the"),
    ("[clicks]", "[a]\n  bootstrap_servers: a, b", "kafka.bootstrap_servers", 4, "no list of"),
    ("[clicks]", "[a]\n  client: {acks: 0}", "kafka.client.acks", 4, "could be lost"),
    ("[clicks]", "[a]\n  client: {ssl: {ca: x}}", "kafka.client.ssl", 4, "holds a section"),
    ("{type: number}", "{type: vector}", "event.features.price.size", 6, "is required"),
    ("{type: number}", "{type: vector, size: 0}", "event.features.price.size", 6, "at least 1"),
    ("{type: number}", "{type: text, words: 9}", "event.features.price.words", 6, "at most 4"),
    (
        "{type: number}",
        "{type: text, characters: [5, 3]}",
        "event.features.price.characters",
        6,
        "no runs of 5 to 3 characters",
    ),
    ("{type: number}", "{type: number, path: a..b}", "event.features.price.path", 6, "empty key"),
    ("{type: number}", "{type: number, path: [clicked]}", "event.features.price", 6, "see the"),
    ("{type: number}", "{type: number, path: clicked.x}", "event.features.price", 6, "see the"),
    (
        "{type: number}",
        "{type: number, path: shop.x}",
        "event.features.price.path",
        6,
        "goes through shop, which is a category",
    ),
    (
        "event:\n  features:\n    price: {type: number}",
        "event:\n  time: at\n  features:\n    price: {type: number, path: at.x}",
        "event.features.price.path",
        7,
        "goes through at, which is the time",
    ),
    (
        "{type: number}",
        "{type: map, rest: true, path: a.b}",
        "event.features.price.path",
        6,
        "the rest lies at the top",
    ),
    (
        "{type: number}",
        "{type: map, rest: true}\n    more: {type: map, rest: true}",
        "event.features.more.rest",
        7,
        "a second map of the rest; price is one",
    ),
    (
        "  targets",
        "  interactions: [[price, shop], [price, shpo]]\n  targets",
        "event.interactions.1",
        8,
        "there is no feature 'shpo'",
    ),
    (
        "  targets",
        "  interactions: [[price, shop], [shop, price]]\n  targets",
        "event.interactions.1",
        8,
        "is listed twice",
    ),
    ("  targets", "  interactions: [[price]]\n  targets", "event.interactions.0", 8, "two to four"),
    (
        "  targets",
        "    memo: {type: text}\n  interactions: [[memo, shop]]\n  targets",
        "event.interactions.0",
        9,
        "memo is a text, which cannot be combined",
    ),
    (
        "    shop: {type: category}\n",
        "    shop*: {type: category}\n  interactions: [[price, shop*]]\n",
        "event.interactions.0",
        8,
        "holds a *",
    ),
    ("{type: number}", "{type: nubmer}", "event.features.price", 6, "no feature type 'nubmer'"),
    ("{type: number}", "{}", "event.features.price", 6, "has no type"),
    ("{type: number}", "number", "event.features.price", 6, "must say its type"),
    ("{type: number}", "{type: number, scal: auto}", "event.features.price.scal", 6, "not a known"),
    ("{type: category}", "{type: category, buckets: 3}", "event.features.shop.buckets", 7, "power"),
    ("{type: binary}", "{type: multiclass}", "event.targets.clicked.classes", 9, "is required"),
    (
        "{type: binary}",
        "{type: multiclass, classes: [1, 1.0]}",
        "event.targets.clicked.classes",
        9,
        "'1' is listed twice",
    ),
    (
        "{type: binary}",
        "{type: binary, positive: []}",
        "event.targets.clicked.positive",
        9,
        "label",
    ),
    (
        "{type: binary}",
        "{type: binary, positive: [1, 1.0]}",
        "event.targets.clicked.positive",
        9,
        "'1' is listed twice",
    ),
    ("clicked:", "price:", "event.features.price", 6, "is a target too"),
    ("  targets:\n    clicked: {type: binary}\n", "", "event.targets", 4, "is required"),
    ("targets:\n    clicked: {type: binary}", "targets: {}", "event.targets", 8, "is empty"),
    ("event:", "event:\n  time: {field: at, zone: Mars}", "event.time.zone", 5, "no time zone"),
    ("event:", "event:\n  time: {format: s}", "event.time.field", 5, "is required"),
    ("event:", "event:\n  format: avro", "event.format", 5, "must be one of json"),
    ("event:", "model: {kind: jungle}\nevent:", "model.kind", 4, "no kind of model 'jungle'"),
    ("event:", "model: {kind: my net:Net}\nevent:", "model.kind", 4, "names no class"),
    ("event:", "model: {arguments: {size: 3}}\nevent:", "model.arguments", 4, "has no effect"),
    (
        "event:",
        "drift: {react: [reset_head]}\nmodel: {kind: a.b:Net}\nevent:",
        "drift.react",
        4,
        "reset_head has no effect",
    ),
    ("event:", "model: {kind: service.x:Net}\nevent:", "model.kind", 4, "Headwater's own"),
    ("event:", "model: {kind: liner}\nevent:", "model.kind", 4, "no kind of model 'liner'"),
    ("event:", "learning: {step_rows: '9'}\nevent:", "learning.step_rows", 4, "a whole number"),
    ("event:", "learning: {step_rows: true}\nevent:", "learning.step_rows", 4, "not true"),
    ("event:", "learning: {step_rows: 1.5}\nevent:", "learning.step_rows", 4, "not 1.5"),
    ("event:", "learning: {clip: .inf}\nevent:", "learning.clip", 4, "finite"),
    ("event:", "learning: {clip: 0}\nevent:", "learning.clip", 4, "must be more than 0"),
    ("event:", "learning: {momentum: 0.9}\nevent:", "learning.momentum", 4, "belongs to sgd"),
    ("event:", "learning:\nevent:", "learning", 4, "must be a section, not nothing"),
    ("event:", "api: {host: 0.0.0.0}\nevent:", "api.host", 4, "reached from other machines"),
    ("event:", "api: {admin_token: fifteen-letters}\nevent:", "api.admin_token", 4, "guessed"),
    ("event:", "drift: {react: [webhook]}\nevent:", "drift.react", 4, "there is no address"),
    ("event:", "drift: {webhook: 'http://h/'}\nevent:", "drift.webhook", 4, "react lacks webhook"),
    ("event:", "drift: {webhook: h, react: [webhook]}\nevent:", "drift.webhook", 4, "name a host"),
    (
        "event:",
        "drift: {react: [panic]}\nevent:",
        "drift.react.0",
        4,
        "must be one of log, webhook",
    ),
    (
        "event:",
        "drift: {losses: false, react: [reset_head]}\nevent:",
        "drift.losses",
        4,
        "must be on",
    ),
    ("event:", "api: {port: 70000}\nevent:", "api.port", 4, "at most 65535, is 70000"),
]


class TestRefused:
    @pytest.mark.parametrize(("old", "new", "path", "line", "said"), REFUSED)
    def test_what_is_wrong_is_told_with_its_place(
        self, refused_settings: Refuse, old: str, new: str, path: str, line: int, said: str
    ) -> None:
        """
        A wrong setting is refused with its path, its line and what is wrong with it.
        """
        found = refused_settings(GOOD.replace(old, new, 1))[path]

        assert (line, True) == (found.line, said in found.msg), found

    @pytest.mark.parametrize(("old", "new", "path", "line", "said"), REFUSED)
    def test_every_problem_says_what_to_do(
        self, refused_settings: Refuse, old: str, new: str, path: str, line: int, said: str
    ) -> None:
        """
        No problem is told without a remedy.
        """
        assert "" != refused_settings(GOOD.replace(old, new, 1))[path].hint

    def test_everything_is_told_at_once(self, refused_settings: Refuse) -> None:
        """
        One run of the check finds all problems, whatever their kind.
        """
        text = (
            GOOD.replace("name", "nam")
            .replace("clicked:", "price:")
            .replace("{type: category}", "{type: texts}")
        )
        text += "learning: {learning_rate: -1, beta1: 0.5}\napi: {host: example.org, prot: 1}\n"
        wanted = {
            "nam",
            "name",
            "event.features.price",
            "event.features.shop",
            "learning.learning_rate",
            "learning.beta1",
            "api.host",
            "api.prot",
            "api.port",
        }

        assert wanted == set(refused_settings(text, HEADWATER_API__PORT="x"))

    @pytest.mark.parametrize(
        ("new", "path", "hint"),
        [
            ("nmae: x", "nmae", "Did you mean name?"),
            ("lerning: {}", "lerning", "Did you mean learning?"),
            ("learning: {batchrows: 1}", "learning.batchrows", "Did you mean batch_rows?"),
            ("port: 80", "port", "Did you mean api.port?"),
            ("state: {xyz: 1}", "state.xyz", "Known here: directory."),
        ],
    )
    def test_an_unknown_key_names_the_nearest(
        self, refused_settings: Refuse, new: str, path: str, hint: str
    ) -> None:
        """
        A misspelt key is answered with the one that was probably meant.
        """
        assert hint == refused_settings(f"{GOOD}{new}\n")[path].hint

    @pytest.mark.parametrize(
        "name",
        [
            "auto.offset.reset",
            "bootstrap.servers",
            "enable.auto.commit",
            "enable.auto.offset.store",
            "enable.partition.eof",
            "enable.sasl.oauthbearer.unsecure.jwt",
            "error_cb",
            "group.instance.id",
            "group.protocol",
            "partition.assignment.strategy",
            "plugin.library.paths",
            "ssl.engine.location",
            "ssl.providers",
        ],
    )
    def test_no_client_setting_breaks_a_promise(self, refused_settings: Refuse, name: str) -> None:
        """
        What would break a promise or load code is refused, with the reason.
        """
        found = refused_settings(GOOD.replace("[clicks]", f"[clicks]\n  client: {{{name}: x}}"))

        assert "cannot be set: " in found[f"kafka.client.{name}"].msg

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("isolation.level", "read_uncommitted"),
            ("enable.ssl.certificate.verification", "false"),
        ],
    )
    def test_no_client_setting_weakens_the_connection(
        self, refused_settings: Refuse, name: str, value: str
    ) -> None:
        """
        Values that weaken a promise are refused.
        """
        found = refused_settings(
            GOOD.replace("[clicks]", f"[clicks]\n  client: {{{name}: {value}}}")
        )

        assert "cannot be set: " in found[f"kafka.client.{name}"].msg

    @pytest.mark.parametrize("client", ["{isolation.level: read_committed}", "{acks: all}"])
    def test_other_client_settings_pass(self, load_settings: Load, client: str) -> None:
        """
        What is harmless may be set.
        """
        found = load_settings(GOOD.replace("[clicks]", f"[clicks]\n  client: {client}"))

        assert 1 == len(found.kafka.client)

    def test_the_world_may_be_let_in_on_purpose(self, load_settings: Load) -> None:
        """
        The flag --allow-unauthenticated (an override) opens a host beyond loopback.
        """
        found = load_settings(
            f"{GOOD}api: {{host: 0.0.0.0}}\n", {"api.allow_unauthenticated": True}
        )

        assert "0.0.0.0" == found.api.host

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "'::1'"])
    def test_loopback_needs_no_permission(self, load_settings: Load, host: str) -> None:
        """
        Whoever listens on loopback only may do so.
        """
        assert load_settings(f"{GOOD}api: {{host: {host}}}\n").api.host in host

    def test_a_missing_file_says_what_was_looked_for(self, tmp_path: Path) -> None:
        """
        Where there is no file, all the places it could be are named.
        """
        with pytest.raises(BadSettings, match=r"--config .*HEADWATER_CONFIG .*headwater\.yaml"):
            settings.load(tmp_path / "none.yaml", environment={})


@pytest.mark.parametrize(
    ("more", "path", "message", "hint"),
    [
        ("auto", "model", "must be a section, not the text 'auto'", "Write model: {kind: auto}."),
        ("auto\nchallengers: {deep: mlp}", "challengers.deep", "must be a section", "deep: {kind: mlp}"),
        ("{kind: svm}", "event.targets.n.type", "a number has no margin", "linear, mlp or fm"),
        ("{kind: rls}", "event.targets.clicked.type", "least squares are of numbers", "linear"),
        ("{kind: linear, hidden: 32}", "model.hidden", "belongs to mlp, the model is linear", "mlp"),
        ("{factors: 4}", "model.factors", "belongs to fm, the model is auto", "model.kind: fm"),
        ("{kind: fm, forgetting: 0.9}", "model.forgetting", "belongs to rls", "model.kind: rls"),
        ("{kind: rls, width: 3}", "model.width", "these features need 4 inputs", "4 or more"),
        ("{kind: rls}\ndrift: {react: [raise_rates]}", "drift.react", "rls has no learning rate",
         "Take it out"),
        ("{kind: mlp, experts: [nets]}", "model.experts", "the model is mlp", "model.kind"),
        ("{kind: mixture, experts: [forrest]}", "model.experts.0.kind", "no expert 'forrest'", "forest?"),
        ("{kind: mixture, experts: [jungle]}", "model.experts.0.kind", "prior, cross, bayes", "a module"),
        ("{kind: mixture, experts: [service.x:Net]}", "model.experts.0.kind", "Headwater's own", ""),
        ("{kind: mixture, experts: []}", "model.experts", "is empty", "experts"),
        ("{kind: mixture, experts: [auto, nets]}", "model.experts.1", "is one of auto already", ""),
        ("{kind: mixture, experts: [nets, nets]}", "model.experts.1", "nets is listed twice", ""),
        ("{kind: mixture, experts: [newton]}", "model.experts", "none of these experts can learn n", ""),
        ("{kind: mixture, experts: [{kind: nets, learning_rate: 0.1}]}", "model.experts.0.learning_rate",
         "nets is no module of your own", "Leave it out"),
        ("{kind: mixture, experts: [{kind: a.b:C, momentum: 0.1}]}", "model.experts.0.momentum",
         "belongs to sgd, the optimizer is adagrad", "optimizer: sgd"),
        ("{kind: mixture, experts: [{kind: a.b:C, name: D}, {kind: a.b:C, name: D}]}", "model.experts",
         "two experts are called D", "name of its own"),
        ("{kind: mixture, experts: [{kind: a.b:C, name: nets}]}", "model.experts.0.name",
         "is the name of another expert", ""),
        ("{kind: mixture, experts: [{kind: a.b:C, name: auto}]}", "model.experts.0.name",
         "is the name of another expert", ""),
        ("{kind: mixture, experts: [{kind: a.b:C, steps: 3}]}", "model.experts.0.steps", "not a known key",
         "step_rows?"),
        ("{kind: mixture, experts: [{kind: a.b:C, jungle: 3}]}", "model.experts.0.jungle", "not a known key",
         "Known here: kind, name, arguments"),
        ("{kind: mixture, experts: [nets.Net]}", "model.experts.0.kind", "no expert", "Write nets:Net for"),
        ("{kind: shop.nets.Net}", "model.kind", "no kind of model", "Write shop.nets:Net for"),
        ("{kind: rls}\nlearning: {learning_rate: 0.3}", "learning.learning_rate", "it solves",
         "model.forgetting"),
    ],
)  # fmt: skip
def test_what_does_not_go_with_the_kind_of_model_is_refused(
    refused_settings: Refuse, more: str, path: str, message: str, hint: str
) -> None:
    """Targets that it cannot learn, settings without effect, and too many inputs."""
    problem = refused_settings(GOOD + f"    n: {{type: number}}\nmodel: {more}\n")[path]

    assert message in problem.msg
    assert hint in problem.hint
