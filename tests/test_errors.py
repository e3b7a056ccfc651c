"""What the user is told of an exception."""

from __future__ import annotations

import ast
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vicinal import cli
from vicinal.errors import (
    InputError,
    begun_by,
    naming_options,
    number_of,
    option,
    readable,
    said_by,
)
from vicinal.recipes import override, read_recipe


@given(st.text())
def test_what_an_exception_says_is_one_line_that_says_something(text: str) -> None:
    for said in (said_by(RuntimeError(text)), begun_by(RuntimeError(text))):
        assert 0 < len(said) <= 200
        assert said.splitlines() == [said]


def test_an_exception_without_words_is_named_and_one_of_many_lines_is_joined() -> None:
    assert said_by(NotImplementedError()) == "NotImplementedError"
    assert said_by(ValueError("  bad\n  weights ")) == "bad weights"
    assert begun_by(ValueError("\nbad\n  weights ")) == "bad"


def test_a_parameter_reads_for_whom_the_message_is_shown_to() -> None:
    error = InputError(
        f"{option('false_alarms', 2.0)}: or {option('out', Path('a b'))}, "
        f"{option('resume', True)}, {option('settings', 'training.epochs=4')}, "
        f"{option('data_dir')}, {option('k', 3)}"
    )
    assert str(error) == (
        "false_alarms=2: or out='a b', resume=True, settings=['training.epochs=4'], data_dir, k=3"
    )
    command = "--false-alarms 2: or --out a b, --resume, --set training.epochs=4, --data-dir, --k 3"
    assert error.on_command_line() == command
    sent = pickle.loads(pickle.dumps(error))
    assert (str(sent), sent.on_command_line()) == (str(error), command)
    assert str(InputError("plain")) == InputError("plain").on_command_line() == "plain"


def test_a_line_names_options_on_the_command_line_alone() -> None:
    line = f"give more {option('minutes')}"
    assert readable(line) == "give more minutes"
    with naming_options():
        assert readable(line) == "give more --minutes"
    assert readable(line) == "give more minutes"


@pytest.mark.parametrize("text", ["", "\x01\x02\x03", "a\x03\x01b", "{x} '\"", "\x00\n"])
def test_no_value_upsets_the_message(text: str) -> None:
    error = InputError(f"a {option('out', text)} b")
    for said in (str(error), error.on_command_line()):
        assert said.startswith("a ")
        assert said.endswith(" b")
        assert not set("\x01\x02\x03") & set(said)


SOURCE = Path(__file__).parents[1] / "src" / "vicinal"
MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if path.parent.name != "cli"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_message_of_the_library_speaks_of_options(path: Path) -> None:
    """They are the command line's; `option` gives them to it."""
    raised = [
        node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if type(node) is ast.Raise
    ]
    said = [
        part.value
        for error in raised
        for part in parts(error)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
    others = re.compile(r"`[^`]*`")  # another program's command line, whole
    assert not [text for text in said if re.search(r"(?<![\w-])--[a-z]", others.sub("", text))]


def parts(node: ast.AST) -> Iterator[ast.AST]:
    """A tree's nodes but for those within a call of `option`."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "option":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from parts(child)


def test_the_command_line_shows_options(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["vicinal", "train", "digits", "--set", "epochs"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    assert "vicinal: --set epochs: write it as section.field=value" in capsys.readouterr().err
    with pytest.raises(InputError, match=r"^settings=\['epochs'\]: write it"):
        override(read_recipe("digits"), ["epochs"])


def test_a_count_reads_as_a_person_writes_it() -> None:
    counts = [number_of(count, "pair") for count in (0, 1, 2, 1204)]
    assert counts == ["0 pairs", "1 pair", "2 pairs", "1,204 pairs"]
    assert [number_of(count, "class", "classes") for count in (1, 7)] == ["1 class", "7 classes"]
