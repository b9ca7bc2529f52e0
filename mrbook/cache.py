"""Values that are made of parameters, kept until a parameter changes."""

from collections.abc import Callable, Hashable, Iterable
from operator import is_
from typing import Generic, TypeVar

from torch import Tensor

__all__ = ["ParameterCache"]

T = TypeVar("T")


class ParameterCache(Generic[T]):
    """The last value that was made, with what it was made of.

    It sees a parameter replaced, moved, loaded, or changed in place. It doesn't see a change
    through ``.data``, hence `clear`, which layers call when a sequence starts. A copy of the cache
    is an empty one, so that a layer is copied and saved without what can be made again.

    Examples
    --------
    >>> import torch
    >>> cache, p = ParameterCache(), torch.ones(2)
    >>> cache.get([p], lambda: p.sum()), cache.get([p], lambda: "not called")
    (tensor(2.), tensor(2.))
    >>> cache.value
    tensor(2.)
    >>> _ = p.add_(1)
    >>> cache.get([p], lambda: p.sum())
    tensor(4.)
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget the value."""
        self._tensors: tuple[Tensor, ...] = ()  # held, so that their addresses aren't used anew
        self._kept: tuple[Hashable, T] | None = None

    @property
    def value(self) -> T | None:
        """The value kept, None if there is none."""
        return None if self._kept is None else self._kept[1]

    def get(self, tensors: Iterable[Tensor], make: Callable[[], T], *key: Hashable) -> T:
        """The value kept, or a new one if a tensor or the key isn't what it was.

        Parameters
        ----------
        tensors : iterable of Tensor
            All that the value depends on. Those made in inference mode don't tell when they change:
            with one of them the value is always a new one.
        make : callable
            Makes the value.
        *key
            What else it depends on.
        """
        tensors = tuple(tensors)
        try:
            now = key, *[(tensor.data_ptr(), tensor._version) for tensor in tensors]
        except RuntimeError:  # made in inference mode
            self.clear()
            return make()
        kept = self._kept
        if kept is None or kept[0] != now or not all(map(is_, tensors, self._tensors)):
            kept = now, make()
            self._tensors, self._kept = tensors, kept
        return kept[1]

    def __reduce__(self) -> tuple:
        return type(self), ()
