from __future__ import annotations

import pytest

from explainsvc.errors import InvalidInput, InvalidParameter
from explainsvc.report.kinds import checked, kind_of

CASES = [
    ((), "f", "bars"),
    ((4,), "f", "bars"),
    ((1,), "i", "bars"),
    ((1,), "U", "bars"),
    ((2000,), "f", "series"),
    ((12,), "i", "tokens"),
    ((12,), "U", "tokens"),
    ((28, 1), "f", "series"),
    ((6, 128), "f", "series"),
    ((28, 28), "f", "image"),
    ((160, 70), "f", "image"),
    ((2, 1, 128), "f", "series"),
    ((3, 32, 32), "f", "image"),
    ((32, 32, 3), "u", "image"),
    ((1, 8, 16, 16), "f", "volume"),
]


@pytest.mark.parametrize(("shape", "kind", "expected"), CASES)
def test_shape_and_type_say_what_it_is(shape: tuple[int, ...], kind: str, expected: str) -> None:
    """Rows are tables, ids are tokens, few channels are a series, planes images, and four axes a volume."""
    assert kind_of(shape, kind) == expected


def test_given_words_decide() -> None:
    """Token strings make rows and [T, E] a strip; names make any row a table."""
    assert kind_of((160, 70), tokens=True) == "tokens"
    assert kind_of((5,), tokens=True) == "tokens"
    assert kind_of((3, 8, 8), tokens=True) == "image"
    assert kind_of((2000,), names=True) == "bars"
    assert kind_of((5,), "i", names=True) == "bars"


def test_what_cannot_be_drawn_is_refused() -> None:
    """Five axes are InvalidInput, an unknown kind InvalidParameter that lists the kinds."""
    with pytest.raises(InvalidInput, match="at most 4 axes"):
        kind_of((1, 2, 3, 4, 5))
    with pytest.raises(InvalidParameter, match="image, tokens, bars, series, volume"):
        checked("pie")
