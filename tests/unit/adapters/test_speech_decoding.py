"""What is taken out of the tokens before they are aligned (T3)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podinsight.adapters.speech_decoding import TOKENS, said_once

said = st.lists(st.integers(0, 50_000), min_size=1, max_size=60)


@given(said, st.integers(1, 40), st.integers(0, 39))
def test_what_is_said_again_up_to_the_limit_is_taken_once(before: list[int], size: int, cut: int) -> None:
    loop = [60_000 + n for n in range(size)]
    tokens = [*before, *loop * (TOKENS // size + 4), *loop[: cut % size]]
    assert said_once(tokens) == [*before, *loop]


@given(st.lists(st.integers(0, 3), max_size=TOKENS - 1))
def test_what_ended_by_itself_stays(tokens: list[int]) -> None:
    assert said_once(tokens) == tokens


@pytest.mark.parametrize("times", [1, 2])
def test_twice_is_no_loop(times: int) -> None:
    tokens = [*range(TOKENS), *(list(range(1000, 1010)) * times)]
    assert said_once(tokens) == tokens
