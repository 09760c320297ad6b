"""Digests of files that differ in some tensors."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from explainsvc.autograd.shapes import Array
from explainsvc.digests import Digests, Line
from explainsvc.graph.filing import largest_first
from explainsvc.graph.passes import read
from explainsvc.graph.spans import exchanged, raw
from tests import models

SPANS = {"b": slice(24, 40), "a": slice(4, 20), "c": slice(40, 44)}
DATA = bytes(range(50))


def expected(arrays: dict[str, Array]) -> str:
    """Of the whole file."""
    return hashlib.sha256(exchanged(DATA, SPANS, {name: raw(array) for name, array in arrays.items()})).hexdigest()


def test_digests_are_those_of_the_whole_files() -> None:
    """In any order of files, whatever they share with the one before; names without a place change nothing."""
    rng, digests = np.random.default_rng(0), Digests(DATA, SPANS)
    drawn = [{"a": rng.random(4, np.float32), "b": rng.random(4, np.float32), "c": rng.random(1, np.float32)} for _ in range(2)]
    for _ in range(200):
        arrays = {name: drawn[rng.integers(2)][name] for name in SPANS if rng.random() < 0.6}
        assert digests.of({**arrays, "elsewhere": rng.random(2)}) == expected(arrays)


def test_what_comes_before_the_first_change_is_not_hashed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of three tensors stays: its bytes are asked for once."""
    digests, hashed = Digests(DATA, SPANS), list[Array]()

    def noted(array: Array) -> memoryview:
        hashed.append(array)
        return raw(array)

    monkeypatch.setattr("explainsvc.digests.raw", noted)
    first, second, third = np.zeros(4, np.float32), np.ones(4, np.float32), np.full(4, 2, np.float32)
    digests.of({"a": first, "b": second})
    digests.of({"a": first, "b": third})
    assert [id(array) for array in hashed] == [id(array) for array in (first, second, third)]


def test_a_file_without_tensors() -> None:
    """Nothing can be exchanged."""
    assert Digests(DATA, {}).of({}) == hashlib.sha256(DATA).hexdigest()


def test_the_untouched_file_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By whoever asks first; behind a change, the way before it is taken from there when the last file's is no longer."""
    known, hashed = list[Line](), list[Array]()

    def noted(array: Array) -> memoryview:
        hashed.append(array)
        return raw(array)

    monkeypatch.setattr("explainsvc.digests.raw", noted)
    untouched = Digests(DATA, SPANS, known).of({})
    digests, other = Digests(DATA, SPANS, known), np.ones(4, np.float32)
    assert digests.of({}) == untouched == hashlib.sha256(DATA).hexdigest()
    assert len(known) == 1
    assert digests.of({"a": other}) == expected({"a": other})
    assert digests.of({"c": other[:1]}) == expected({"c": other[:1]})
    assert [id(array) for array in hashed[:1]] == [id(other)]
    assert len(hashed) == 2


def test_large_initializers_stand_in_front() -> None:
    """The same values; those of equal size in their order."""
    model = read(models.mlp())
    before = {name: value.const_value for name, value in model.graph.initializers.items()}
    largest_first(model.graph)
    found = {name: value.const_value for name, value in model.graph.initializers.items()}
    assert found == before
    sizes = [value.nbytes for value in found.values() if value is not None]
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) > 1
