"""Settings of challengers: each is a model that can learn this stream, or it is refused with why."""

from __future__ import annotations

from pathlib import Path

import pytest

from service import settings
from service.errors import BadSettings
from service.model.kinds import recipe_of
from service.model.layout import Layout
from service.settings import Settings

HEAD = """
name: test
kafka: {topics: [t]}
event:
  features: {x: {type: number}}
  targets: {y: {type: binary}}
"""


def load(tmp_path: Path, text: str) -> Settings:
    """Return the settings of HEAD and this."""
    path = tmp_path / "test.yaml"
    path.write_text(HEAD + text)
    return settings.load(path, environment={})


def test_a_challenger_learns_as_the_stream_does_but_for_what_it_says(tmp_path):
    """Its kind, its size, and where it learns otherwise; the order is that of the names."""
    found = load(
        tmp_path,
        """
model: {kind: linear}
learning: {learning_rate: 0.2, l2: 0.01}
challengers:
  plain: {kind: linear, learning: {learning_rate: 0.01}}
  deep: {kind: mlp, hidden: 16}
promote: {rows: 500}
""",
    )
    recipe = recipe_of(found)
    assert ["deep", "plain"] == list(recipe.challengers)
    deep, plain = recipe.challengers.values()
    assert ("mlp", 16, 0.2, 0.01) == (
        deep.kind, deep.model.hidden, deep.learning.learning_rate, deep.learning.l2,
    )  # fmt: skip
    assert (0.01, 0.01) == (plain.learning.learning_rate, plain.learning.l2)
    assert (500, 0.2) == (recipe.promote and recipe.promote.rows, recipe.learning.learning_rate)


@pytest.mark.parametrize(
    ("text", "where", "said"),
    [
        ("challengers: {main: {}}", "challengers.main", "'main' is taken"),
        ("challengers: {Deep: {}}", "challengers.Deep", "cannot name a challenger"),
        ("challengers: {a: {kind: lineer}}", "challengers.a.kind", "linear"),
        ("challengers: {a: {kind: linear, hidden: 9}}", "challengers.a.hidden", "belongs to mlp"),
        ("challengers: {a: {kind: rls}}", "challengers.a.kind", "target y cannot be learned"),
        (
            "challengers: {a: {learning: {batch_rows: 3}}}",
            "challengers.a.learning.batch_rows",
            "one for all models of a stream",
        ),
        (
            "challengers: {a: {learning: {trunk_every: 2}}}",
            "challengers.a.learning.trunk_every",
            "cannot follow it",
        ),
        (
            "challengers: {a: {pretrained: {file: x}}}",
            "challengers.a.pretrained",
            "starts from nothing",
        ),
        (
            "model: {kind: mlp}\nlearning: {replay: {}}\nchallengers: {a: {kind: mixture}}",
            "challengers.a",
            "Set challengers.a.learning.replay: null",
        ),
        ("promote: {}", "promote", "there are no challengers"),
        ("challengers: {a: {}}\npromote: {metric: mae}", "promote.metric", "log_loss or accuracy"),
        ("challengers: {a: {}}\npromote: {target: z}", "promote.target", "Known: y."),
        ("challengers: {a: {}}\npromote: {target: [y]}", "promote.target", "must be a text"),
        (
            "challengers: {a: {learning: {shed: never}}}",
            "challengers.a.learning.shed",
            "one for all models of a stream",
        ),
    ],
)
def test_what_cannot_be_is_refused_where_it_stands(tmp_path, text, where, said):
    with pytest.raises(BadSettings) as caught:
        load(tmp_path, text)
    found = [one for one in caught.value.problems if one.path == where]
    assert found, caught.value.problems
    assert said in f"{found[0].msg} {found[0].hint}"


def test_a_strategy_of_the_model_can_be_left_out_for_a_challenger(tmp_path):
    """Which of them a kind can follow is the challenger's matter, too."""
    found = load(
        tmp_path,
        """
model: {kind: mlp}
learning: {replay: {}, learning_rate: 0.3}
challengers:
  trees: {kind: forest, learning: {replay: null}}
""",
    )
    assert recipe_of(found).challengers["trees"].learning.replay is None
    assert recipe_of(found).learning.replay is not None


def test_more_than_sixteen_challengers_are_too_many(tmp_path):
    names = ", ".join(f"c{i}: {{kind: linear}}" for i in range(17))
    with pytest.raises(BadSettings, match="challengers"):
        load(tmp_path, f"challengers: {{{names}}}")


def test_weights_to_freeze_that_a_challenger_has_not_are_told_at_the_challenger(tmp_path):
    """Which names there are is known only once the model is built."""
    found = load(tmp_path, 'challengers: {deep: {kind: mlp, learning: {freeze: ["hiden/*"]}}}')
    with pytest.raises(BadSettings) as caught:
        Layout(recipe_of(found))
    assert ["challengers.deep.learning.freeze.0"] == [one.path for one in caught.value.problems]


def test_a_module_that_is_not_there_is_told_at_the_challenger_that_names_it(tmp_path):
    found = load(tmp_path, 'challengers: {own: {kind: "no.such:Net"}}')
    with pytest.raises(BadSettings) as caught:
        recipe_of(found)
    assert ["challengers.own.kind"] == [one.path for one in caught.value.problems]


def test_a_step_of_a_challenger_that_overshoots_is_doubted_where_it_stands(tmp_path):
    """What a mixture has no use for, and what is set for others, is not."""
    found = load(
        tmp_path,
        """
model: {kind: linear}
learning: {learning_rate: 0.3}
challengers:
  fast: {kind: linear, learning: {optimizer: sgd, learning_rate: 3.0}}
  trees: {kind: forest}
""",
    )
    assert ["challengers.fast.learning.learning_rate"] == [
        one.path for one in settings.doubts(found)
    ]
