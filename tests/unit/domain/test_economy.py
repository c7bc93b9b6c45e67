"""What economy mode changes of an episode (G8)."""

from podinsight.domain.economy import ASKED, saving, smaller_for


def test_one_step_down_is_taken_once() -> None:
    params: dict[str, object] = {"model": "small", "words": True}
    assert smaller_for(params, ["base", "tiny"]) == "base"
    assert smaller_for(params, []) is None
    assert saving(params, "base") == {"model": "base", "words": True, ASKED: "small"}
    assert smaller_for(saving(params, "base"), ["tiny"]) is None
