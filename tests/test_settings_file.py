"""The settings file: YAML 1.2, and nothing but plain values out of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service._settings.file import parse, read, scalar
from service.errors import BadSettings, Problem


def problems(text: str) -> list[Problem]:
    with pytest.raises(BadSettings) as caught:
        parse(text, "test.yaml")
    return caught.value.problems


class TestScalars:
    @pytest.mark.parametrize("text", ["NO", "on", "yes", "Off", "1_000", "12:30", "0b1", "1e", "."])
    def test_what_yaml_1_1_would_change_stays_a_text(self, text: str) -> None:
        """
        The Norway problem is not ours: only the core schema of YAML 1.2 has other types.
        """
        assert text == scalar(text)

    @pytest.mark.parametrize(
        ("text", "number"),
        [("1e-3", 0.001), ("-7", -7), (".5", 0.5), ("1.", 1.0), ("0o17", 15), ("0xFF", 255)],
    )
    def test_numbers_are_those_of_the_core_schema(self, text: str, number: float) -> None:
        """
        A number may have an exponent without a point, and be octal or hexadecimal.
        """
        assert number == scalar(text)

    @pytest.mark.parametrize("text", ["2026-01-31", "2026-01-31T12:00:00Z"])
    def test_times_stay_texts(self, text: str) -> None:
        """
        No time is made of what looks like one.
        """
        assert text == scalar(text)

    def test_quotes_make_a_text(self) -> None:
        """
        What stands in quotes is a text, whatever it looks like.
        """
        assert {"a": "1", "b": "true"} == parse("a: '1'\nb: \"true\"", "").tree

    def test_keys_are_texts_as_they_stand(self) -> None:
        """
        A key is never a number, a boolean or null.
        """
        assert ["NO", "1", "null", "1e3"] == list(parse("NO: 1\n1: 1\nnull: 1\n1e3: 1", "").tree)


class TestLines:
    def test_every_key_has_its_line(self) -> None:
        """
        The lines of keys and items are known, also in flow style.
        """
        text = "a:\n  b: [1,\n    2]\nc: {d: 1,\n  e: 2}\n"
        wanted = {
            ("a",): 1,
            ("a", "b"): 2,
            ("a", "b", "0"): 2,
            ("a", "b", "1"): 3,
            ("c",): 4,
            ("c", "d"): 4,
            ("c", "e"): 5,
        }

        assert wanted == parse(text, "").lines

    def test_anchors_may_be_used(self) -> None:
        """
        What is said once may be meant twice.
        """
        assert {"a": {"b": 1}, "c": {"b": 1}} == parse("a: &x {b: 1}\nc: *x", "").tree


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "line", "said"),
        [
            ("a: 1\nb: 2\na: 3", 3, "stands twice (also on line 1)"),
            ("a: !!python/object:os.system x", 1, "has the tag"),
            ("a: !!binary aGk=", 1, "has the tag"),
            ("a: *b", 1, "names no anchor"),
            ("? [1, 2]\n: 3", 1, "a key that is no text"),
            ("a: 1\n---\nb: 2", 3, "starts a second document"),
            ("- a\n- b", 1, "holds no mapping"),
            ("a: [1, 2", 1, "is not YAML"),
            ("a: 1\n\tb: 2", 2, "is not YAML"),
            ("a: @x", 1, "is not YAML"),
            ('a: "\\ud800"', 1, "holds half a character"),
        ],
    )
    def test_what_is_no_plain_yaml_is_told_with_its_line(
        self, text: str, line: int, said: str
    ) -> None:
        """
        Doubled keys, tags, second documents and broken syntax are refused.
        """
        found = problems(text)

        assert [(line, True)] == [(p.line, said in p.msg) for p in found], found

    def test_all_doubled_keys_are_told(self) -> None:
        """
        The file is read to its end before it is refused.
        """
        assert ["a", "b.c"] == [p.path for p in problems("a: 1\na: 2\nb: {c: 1, c: 2}")]

    def test_a_file_that_is_not_text_is_told(self, tmp_path: Path) -> None:
        """
        Bytes that are not UTF-8 are refused with their place.
        """
        path = tmp_path / "bad.yaml"
        path.write_bytes(b"name: \xff")

        with pytest.raises(BadSettings, match=r"is not UTF-8 \(byte 6\)"):
            read(path)

    def test_a_folder_is_told(self, tmp_path: Path) -> None:
        """
        What cannot be read says why.
        """
        with pytest.raises(BadSettings, match="directory"):
            read(tmp_path)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=6))
def test_json_is_yaml(tree: dict[str, object]) -> None:
    """
    Any JSON object is a settings file, and comes out as it went in.
    """
    assert tree == parse(json.dumps(tree), "").tree


@given(st.text(max_size=100) | st.text("ab1 :,[]{}-?&*!|>'\"#%@\\~\n\t", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """
    Whatever stands in the file, it becomes a tree or BadSettings, never another error.
    """
    try:
        found: object = parse(text, "test.yaml").tree
    except BadSettings as error:
        found = error.problems

    assert isinstance(found, (dict, list))
