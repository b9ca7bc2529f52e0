"""Values kept until a parameter changes."""

import copy
import pickle

import pytest
import torch

from mrbook.cache import ParameterCache


def test_made_once_per_key() -> None:
    cache, p, made = ParameterCache(), torch.ones(2), []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    assert [cache.get([p], make), cache.get((p,), make)] == [0, 0]
    assert [cache.get([p], make, "key"), cache.get([p], make, "key")] == [1, 1]
    assert cache.get([p, p], make, "key") == 2
    assert cache.get([], make, "key") == 3
    cache.clear()
    assert cache.get([], make, "key") == 4


def test_changes_in_place_and_moves_are_seen() -> None:
    cache, p = ParameterCache(), torch.nn.Parameter(torch.ones(2))
    assert cache.get([p], lambda: p.sum().item()) == 2
    with torch.no_grad():
        p[0] = 5
    assert cache.get([p], lambda: p.sum().item()) == 6
    p.data = torch.zeros(2)
    assert cache.get([p], lambda: p.sum().item()) == 0


def test_another_tensor_at_the_same_place_is_another() -> None:
    cache = ParameterCache()
    for i in range(9):
        p = torch.full((64,), float(i))
        assert cache.get([p], lambda p=p: p[0].item()) == i
        del p  # its memory is free for the next one, unless it is held
    storage = torch.zeros(4)
    first, second = storage[:2], storage[:4]
    assert first.data_ptr() == second.data_ptr() and first._version == second._version
    assert [cache.get([x], lambda x=x: len(x)) for x in (first, second)] == [2, 4]


def test_a_failure_leaves_nothing_behind() -> None:
    cache, p = ParameterCache(), torch.ones(2)
    with pytest.raises(ZeroDivisionError):
        cache.get([p], lambda: 1 / 0)
    assert cache.get([p], lambda: 1) == 1
    with pytest.raises(ZeroDivisionError):
        cache.get([p], lambda: 1 / 0, "other")
    assert cache.get([p], lambda: 2) == 1


def test_tensors_of_inference_mode_are_never_trusted() -> None:
    cache = ParameterCache()
    with torch.inference_mode():
        p = torch.ones(2)
        assert cache.get([p], lambda: p.sum().item()) == 2
        p.add_(1)
        assert cache.get([p], lambda: p.sum().item()) == 4


def test_copies_are_empty() -> None:
    cache, p = ParameterCache(), torch.ones(2)
    cache.get([p], lambda: "kept")
    for other in (copy.copy(cache), copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert other.get([p], lambda: "made") == "made"
    assert cache.get([p], lambda: "made") == "kept"
