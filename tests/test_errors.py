"""What the user is told of an exception."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from vicinal.errors import begun_by, said_by


@given(st.text())
def test_what_an_exception_says_is_one_line_that_says_something(text: str) -> None:
    for said in (said_by(RuntimeError(text)), begun_by(RuntimeError(text))):
        assert 0 < len(said) <= 200
        assert said.splitlines() == [said]


def test_an_exception_without_words_is_named_and_one_of_many_lines_is_joined() -> None:
    assert said_by(NotImplementedError()) == "NotImplementedError"
    assert said_by(ValueError("  bad\n  weights ")) == "bad weights"
    assert begun_by(ValueError("\nbad\n  weights ")) == "bad"
