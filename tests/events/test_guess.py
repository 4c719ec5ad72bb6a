"""What the columns of a sample are taken for, and what is left out."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from service.errors import HeadwaterError
from service.events.guess.column import Column, parts_of
from service.events.guess.kinds import Guess
from service.events.guess.table import Table, guess_table
from service.events.guess.target import guess_target


def one(name: str, values: Sequence[object]) -> Guess:
    """Guess one column; the target beside it says nothing about it."""
    rows = [{name: value, "y": i % 2} for i, value in enumerate(values)]
    rows.append({"other": "x", "y": 0})
    [found] = [g for g in guess_table(rows, "y").features if g.column.path[0] == name][:1]
    return found


def table(**columns: Sequence[object]) -> Table:
    """Guess columns of equal length; the target is y."""
    names = list(columns)
    rows = [dict(zip(names, cells, strict=True)) for cells in zip(*columns.values(), strict=True)]
    return guess_table([{n: v for n, v in row.items() if v is not None} for row in rows], "y")


def target(values: Sequence[object], name: str = "y") -> dict[str, object]:
    return guess_target(Column(name, (name,), values)).settings


HUNDRED = range(100)


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("amount", ["12.5", "3", "1e3", "-7.25"] * 25, "number"),
        ("age", [20 + i % 37 for i in HUNDRED], "number"),
        ("visits", [i % 2 for i in HUNDRED], "number"),
        ("is_new", [i % 2 for i in HUNDRED], "boolean"),
        ("paid", [i % 3 == 0 for i in HUNDRED], "boolean"),
        ("answer", ["Yes", "No"] * 50, "boolean"),
        ("answer", ["Y", "n"] * 50, "boolean"),
        ("answer", ["true", "NO", "yes", "False"] * 25, "boolean"),
        ("customer_id", [7 + i % 40 for i in HUNDRED], "category"),
        ("zip", ["02134", "10115"] * 50, "category"),
        ("weekday", [i % 7 for i in HUNDRED], "category"),
        ("sky", ["light rain", "clear sky", "mist"] * 34, "category"),
        ("price", ["12", "n/a", "7", "9"] * 25, "category"),
        ("größe", ["klein", "groß", "日本"] * 33, "category"),
        ("genres", ["drama|war", "war", "drama|comedy", "comedy"] * 25, "categories"),
        ("tags", ["a;b", "b;c", "a"] * 33, "categories"),
        ("cell", ["H;3", "K", "L", "M"] * 25, "category"),
        ("cell", ["Berlin, Mitte", "Bonn", "Ulm"] * 33, "category"),
        ("price", [f"{i % 7},25" for i in HUNDRED], "category"),
        ("ip", ["10.0.0.1", "10.0.0.2"] * 50, "category"),
        ("tags", [["a", "b"], ["b"], []] * 33, "categories"),
        ("embedding", [[0.1 * i, 1, 2.5] for i in HUNDRED], "vector"),
        ("extras", [{f"k{i % 60}": i} for i in HUNDRED], "map"),
        ("memo", [f"please send {i} boxes to us\nsoon, thanks" for i in HUNDRED], "text"),
        ("seen", [f"2024-01-{1 + i % 28:02}" for i in HUNDRED], "time"),
        ("at", [1_700_000_000 + i for i in HUNDRED], "time"),
        ("stamp", [1_700_000_000_000 + 7 * i % 99 for i in HUNDRED], "time"),
    ],
)
def test_a_column_is_taken_for_what_its_values_are(name: str, values: list, kind: str) -> None:
    """
    The type follows from the values, and from the name where values alone do not tell.
    """
    found = one(name, values)

    assert (kind, False) == (found.type, found.left_out), found.reason


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("nothing", [None] * 100, "is empty"),
        ("currency", ["EUR"] * 100, "is EUR in every row"),
        ("n", list(HUNDRED), "only ever rises"),
        ("order_id", [7919 * i % 1009 for i in HUNDRED], "nearly every value is another one"),
        ("hash", [f"{i * 2654435761 % 2**32:08x}z" for i in HUNDRED], "nearly every value"),
        ("price", [f"${i},000.50" for i in HUNDRED], "numbers written as $0,000.50"),
        ("price", [f"{i},25" for i in HUNDRED], "numbers written as 0,25"),
        ("took", [f"{i}:{i * 7 % 60:02}:00" for i in HUNDRED], "numbers written as 0:00:00"),
        ("size", [f"{i * 37 % 101} kB" for i in HUNDRED], "numbers written as 0 kB"),
        ("born", [f"{1 + i % 28}/{1 + i % 12}/{1930 + i}" for i in HUNDRED], "dates as 1/1/1930"),
        ("mixed", [[1], {"a": 1}] * 50, "holds list and object values"),
    ],
)
def test_what_cannot_be_learned_is_left_out_and_said_why(name: str, values: list, why: str) -> None:
    """
    Empty, constant, counting and unreadable columns are left out, each with its reason.
    """
    rows = [
        {"other": i % 7 * 0.5, "y": i * i % 5 % 2} | ({} if v is None else {name: v})
        for i, v in enumerate(values)
    ]
    rows[0].setdefault(name, None)
    [found] = [g for g in guess_table(rows, "y").features if g.column.name == name]

    assert found.left_out
    assert why in found.reason


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("x", "2024/01/{:02}"),
        ("x", "2024-01-{:02} 12:30"),
        ("x", "202401{:02}T123000"),
        ("x", "202401{:02}123000"),
        ("day", "202401{:02}"),
    ],
)
def test_a_time_is_found_in_every_spelling_that_can_be_read(name: str, written: str) -> None:
    """
    Eight digits need a name that says so: they may be anything.
    """
    values = [written.format(1 + i * 7 % 28) for i in range(60)]

    assert {"type": "time", "format": "iso"} == one(name, values).settings
    assert "time" != one("x", [f"202401{1 + i % 28:02}" for i in range(60)]).type


def test_whole_numbers_that_each_go_with_one_text_are_names() -> None:
    """
    A number with a title of its own is the number of a thing.
    """
    numbers = [i * 37 % 41 for i in range(200)]
    found = table(
        film=numbers,
        title=[f"The long title of film {n}" for n in numbers],
        y=[i % 3 * 1.5 for i in range(200)],
    )

    assert "category" == found.features[0].type


def test_the_fields_of_an_object_become_fields_of_their_own() -> None:
    """
    Keys that come again and again are fields, each with its path; names stay unique.
    """
    rows = [
        {
            "device": {"os": "ab"[i % 2], "screen": {"dpi": i % 5 / 2}},
            "device_os": i % 9,
            "y": i % 4,
        }
        for i in HUNDRED
    ]
    found = {g.column.name: (g.type, g.column.path) for g in guess_table(rows, "y").features}

    assert {
        "device_os_2": ("category", ("device", "os")),
        "device_screen_dpi": ("number", ("device", "screen", "dpi")),
        "device_os": ("number", ("device_os",)),
    } == found


class TestAnswer:
    def test_a_column_that_tells_the_answer_is_left_out(self) -> None:
        """
        One value, one label: known only afterwards.
        """
        y = [int(i % 17 == 3) for i in range(500)]
        found = table(
            amount=[i % 23 / 3 for i in range(500)],
            scenario=[v * (1 + i % 3) for i, v in enumerate(y)],
            y=y,
        )

        assert [False, True] == [g.left_out for g in found.features]
        assert "answer in disguise" in found.features[1].reason

    def test_spellings_of_the_label_do_not_hide_its_copy(self) -> None:
        """
        Yes and yes are one answer, and one column that tells it.
        """
        y = [["Yes", "no", "yes", "No", "no"][i * i % 5] for i in range(300)]
        found = table(
            x=[i % 7 / 2 for i in range(300)],
            code=[i % 2 + (2 if v.lower() == "yes" else 5) for i, v in enumerate(y)],
            y=y,
        )

        assert [False, True] == [g.left_out for g in found.features]

    def test_a_column_filled_only_with_one_label_is_left_out(self) -> None:
        """
        A date of the refund tells that there was a refund.
        """
        y = [int(i % 9 == 0) for i in range(300)]
        found = table(
            x=[i % 7 / 2 for i in range(300)],
            refund=[f"r{i}" if v else None for i, v in enumerate(y)],
            y=y,
        )

        assert [False, True] == [g.left_out for g in found.features]

    def test_the_target_on_another_scale_is_left_out(self) -> None:
        """
        Cents tell euros.
        """
        y = [i * i % 101 / 4 for i in range(200)]
        found = table(cents=[100 * v + 3 for v in y], x=[i % 13 / 2 for i in range(200)], y=y)

        assert [True, False] == [g.left_out for g in found.features]

    def test_what_may_be_chance_is_not_accused(self) -> None:
        """
        One single yes has a largest amount and a rare customer by chance: both stay.
        """
        y = [int(i == 321) for i in range(1000)]
        found = table(
            amount=[999.0 if v else i % 77 / 2 for i, v in enumerate(y)],
            customer_id=[i * 31 % 499 for i in range(1000)],
            y=y,
        )

        assert [False, False] == [g.left_out for g in found.features]

    def test_something_is_always_learned_from(self) -> None:
        """
        The only column stays, whatever speaks against it.
        """
        found = table(copy=["a", "b"] * 50, y=["a", "b"] * 50)

        assert [False] == [g.left_out for g in found.features]
        assert "nothing else is left" in found.features[0].reason


class TestTarget:
    @pytest.mark.parametrize(
        ("values", "positive"),
        [
            ([0, 1, 0, 0], "1"),
            (["0", "1"], "1"),
            ([True, False], "true"),
            (["ham", "ham", "spam"], "spam"),
            (["UP", "UP", "DOWN"], "UP"),
            (["N", "Y", "Y"], "Y"),
            (["red", "red", "blue"], "blue"),
            ([0, 0, 0], "1"),
            (["No", "No"], "Yes"),
            (["no", " No"], ["YES", "Yes", "yes"]),
            (["Yes", "yes", "No", "no"], ["YES", "Yes", "yes"]),
            (["Spam", "ham", "SPAM", "ham"], ["SPAM", "Spam", "spam"]),
            (["up", "down", "Down", "down"], ["UP", "Up", "up"]),
            ([" yes", "no", "no", "yes"], [" yes", "YES", "Yes", "yes"]),
            (["1", "1.0", "0", "0"], ["1", "1.0"]),
            ([True, "yes", 0, "N"], ["TRUE", "True", "YES", "Yes", "true", "yes"]),
        ],
    )
    def test_two_labels_are_yes_and_no(self, values: list, positive: object) -> None:
        """
        The affirmative one is yes, else the rarer one; in all its spellings where there are some.
        """
        assert {"type": "binary", "positive": positive} == target(values)

    def test_several_texts_are_classes(self) -> None:
        """
        Every class of the sample is listed.
        """
        assert {"type": "multiclass", "classes": ["a", "b", "c"]} == target(["c", "a", "b", "a"])

    def test_a_text_for_no_label_is_told(self) -> None:
        """
        NULL would be learned as a class; so would a label in another case.
        """
        found = guess_target(Column("y", ("y",), ["a", "b", "B", "NULL"] * 9))

        assert "NULL is one of them: leave such cells empty" in found.reason
        assert "b and B are different ones" in found.reason

    def test_small_whole_numbers_are_classes_where_the_name_says_so(self) -> None:
        """
        0, 1, 2 of a class are classes; stars of a rating are a number.
        """
        values = [0, 1, 2] * 20

        assert "multiclass" == target(values, "class")["type"]
        assert "number" == target(values, "rating")["type"]

    @pytest.mark.parametrize(
        ("values", "says"),
        [
            ([None, None], "no row of the sample has a value"),
            ([[1], [2]], "holds lists or objects"),
            ([f"t{i}" for i in range(400)], "400 different texts"),
        ],
    )
    def test_what_cannot_be_predicted_is_told(self, values: list, says: str) -> None:
        """
        The error says what is wrong and what to do.
        """
        with pytest.raises(HeadwaterError, match=says):
            target(values)


class TestRoles:
    def test_an_id_and_a_time_are_found(self) -> None:
        """
        The id differs in every row; the time is in order.
        """
        found = table(
            tx_id=[f"t{i}" for i in HUNDRED],
            at=[f"2024-01-01T{i // 60:02}:{i % 60:02}:00Z" for i in HUNDRED],
            birthday=[f"{1950 + i * 7 % 50}-05-05" for i in HUNDRED],
            y=[i % 3 / 2 for i in HUNDRED],
        )
        assert found.id is not None
        assert found.time is not None

        assert ("tx_id", "at", "iso") == (
            found.id.column.name,
            found.time.column.name,
            found.time_format,
        )

    def test_what_is_measured_is_no_id(self) -> None:
        """
        Durations and amounts may differ in every row, however they are written.
        """
        found = table(
            seconds=[i * 7919 % 100_003 for i in HUNDRED],
            took=[f"{i}:{i * 7 % 60:02}:00" for i in HUNDRED],
            paid=[f"{i},{i % 90 + 10}" for i in HUNDRED],
            born=[f"{1 + i % 28}/{1 + i % 12}/{1930 + i}" for i in HUNDRED],
            y=[i % 3 / 2 for i in HUNDRED],
        )

        assert found.id is None
        assert [False, True, True, True] == [guess.left_out for guess in found.features]

    def test_one_row_is_enough(self) -> None:
        """
        Nothing is called constant or unique after one row.
        """
        assert [("x", False)] == [
            (g.column.name, g.left_out) for g in guess_table([{"x": 1.5, "y": 2.5}], "y").features
        ]

    def test_a_file_of_one_column_is_told(self) -> None:
        """
        There must be something to learn from.
        """
        with pytest.raises(HeadwaterError, match="no column beside 'y'"):
            guess_table([{"y": 1}], "y")


def test_names_are_taken_apart() -> None:
    """
    Words of a name are found however they are joined.
    """
    assert ["tx", "fraud", "scenario"] == parts_of("TX_FRAUD-Scenario")
