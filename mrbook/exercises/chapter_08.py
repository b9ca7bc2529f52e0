"""Exercises of chapter 8, constant-time sampling."""

from __future__ import annotations

import numpy as np

from mrbook.exercises.engine import Exercise, Mistake

Array = np.ndarray


def _draw_ring(rng: np.random.Generator, size: int) -> tuple[Array, int, float, Array]:
    taps, dilation = int(rng.integers(2, 5)), 2 ** int(rng.integers(0, 1 + min(3, size // 3)))
    ring = rng.standard_normal((taps - 1) * dilation)
    h = rng.standard_normal(taps)
    return ring, int(rng.integers(0, 4 * size)), float(rng.standard_normal()), h


def _ring_step(ring: Array, t: int, a: float, h: Array) -> tuple[float, Array]:
    dilation = len(ring) // (len(h) - 1)
    lags = dilation * np.arange(len(h) - 1, 0, -1)
    y = float(h[:-1] @ ring[(t - lags) % len(ring)] + h[-1] * a)
    return y, _written(ring, t, a)


def _written(ring: Array, t: int, a: float) -> Array:
    ring = ring.copy()
    ring[t % len(ring)] = a
    return ring


def _writes_first(ring: Array, t: int, a: float, h: Array) -> tuple[float, Array]:
    return _ring_step(_written(ring, t, a), t, a, h)


def _flipped(ring: Array, t: int, a: float, h: Array) -> tuple[float, Array]:
    return _ring_step(ring, t, a, h[::-1])


def _next_slot(ring: Array, t: int, a: float, h: Array) -> tuple[float, Array]:
    return _ring_step(ring, t, a, h)[0], _written(ring, t + 1, a)


def _neighbors(ring: Array, t: int, a: float, h: Array) -> tuple[float, Array]:
    lags = np.arange(len(h) - 1, 0, -1)
    return float(h[:-1] @ ring[(t - lags) % len(ring)] + h[-1] * a), _written(ring, t, a)


def _shifted(ring: Array, t: int, a: float, h: Array) -> tuple[float, Array]:
    return _ring_step(ring, t, a, h)[0], np.append(ring[1:], a)


def _draw_prompt(rng: np.random.Generator, size: int) -> tuple[Array, Array, int]:
    depth = 1 + min(3, size // 3)
    return rng.standard_normal(size), rng.standard_normal(int(rng.integers(2, 4))), depth


def _levels(x: Array, h0: Array, depth: int) -> list[Array]:
    """What enters each level, and what leaves the last."""
    a = [x]
    for level in range(depth):
        spread = np.zeros((len(h0) - 1) * 2**level + 1)
        spread[:: 2**level] = h0[::-1]
        a.append(np.convolve(a[-1], spread)[: len(x)])
    return a


def _tails(a: list[Array], h0: Array) -> list[Array]:
    sizes = [(len(h0) - 1) * 2**level for level in range(len(a))]
    return [np.pad(v, (size, 0))[-size:] for v, size in zip(a, sizes, strict=True)]


def _prefill(x: Array, h0: Array, depth: int) -> list[Array]:
    return _tails(_levels(x, h0, depth)[:-1], h0)


def _pushes_outputs(x: Array, h0: Array, depth: int) -> list[Array]:
    return _tails(_levels(x, h0, depth)[1:], h0)


def _newest_first(x: Array, h0: Array, depth: int) -> list[Array]:
    return [queue[::-1] for queue in _prefill(x, h0, depth)]


def _inputs_everywhere(x: Array, h0: Array, depth: int) -> list[Array]:
    return _tails([x] * depth, h0)


def _taps_flipped(x: Array, h0: Array, depth: int) -> list[Array]:
    return _prefill(x, h0[::-1], depth)


def _zeros_after(x: Array, h0: Array, depth: int) -> list[Array]:
    a = _levels(x, h0, depth)[:-1]
    queues = [v[-(len(h0) - 1) * 2**level :] for level, v in enumerate(a)]
    sizes = [(len(h0) - 1) * 2**level for level in range(depth)]
    return [np.pad(q, (0, size - len(q))) for q, size in zip(queues, sizes, strict=True)]


def _outputs_kept(ring: Array, t: int, a: float, h: Array) -> tuple[float, Array]:
    y = _ring_step(ring, t, a, h)[0]
    return y, _written(ring, t, y)


def _past_alone(ring: Array, t: int, a: float, h: Array) -> tuple[float, Array]:
    return _ring_step(ring, t, 0.0, h)[0], _written(ring, t, a)


def _undilated(x: Array, h0: Array, depth: int) -> list[Array]:
    a = [x]
    for _ in range(depth - 1):
        a.append(np.convolve(a[-1], h0[::-1])[: len(x)])
    return _tails(a, h0)


def _unpadded(x: Array, h0: Array, depth: int) -> list[Array]:
    a = _levels(x, h0, depth)[:-1]
    return [v[-(len(h0) - 1) * 2**level :] for level, v in enumerate(a)]


def _coarsest_first(x: Array, h0: Array, depth: int) -> list[Array]:
    return _prefill(x, h0, depth)[::-1]


def _draw_streams(rng: np.random.Generator, size: int) -> tuple[Array, Array, Array, Array]:
    batch, dilation = 1 + min(3, size // 2), 2 ** min(3, size // 3)
    t = rng.integers(0, 4 * size, batch)
    return (
        rng.standard_normal((batch, dilation)),
        t,
        rng.standard_normal(batch),
        rng.standard_normal(2),
    )


def _batch_step(rings: Array, t: Array, a: Array, h: Array) -> tuple[Array, Array]:
    streams, slots, after = np.arange(len(rings)), t % rings.shape[1], rings.copy()
    after[streams, slots] = a
    return h[0] * rings[streams, slots] + h[1] * a, after


def _leaks(rings: Array, t: Array, a: Array, h: Array) -> tuple[Array, Array]:
    after = rings.copy()
    after[:, t % rings.shape[1]] = a
    return _batch_step(rings, t, a, h)[0], after


def _one_clock(rings: Array, t: Array, a: Array, h: Array) -> tuple[Array, Array]:
    return _batch_step(rings, np.full_like(t, t[0]), a, h)


def _batch_writes_first(rings: Array, t: Array, a: Array, h: Array) -> tuple[Array, Array]:
    after = _batch_step(rings, t, a, h)[1]
    return _batch_step(after, t, a, h)


def _batch_flipped(rings: Array, t: Array, a: Array, h: Array) -> tuple[Array, Array]:
    return _batch_step(rings, t, a, h[::-1])


def _next_slots(rings: Array, t: Array, a: Array, h: Array) -> tuple[Array, Array]:
    after = rings.copy()
    after[np.arange(len(rings)), (t + 1) % rings.shape[1]] = a
    return _batch_step(rings, t, a, h)[0], after


EXERCISES = (
    Exercise(
        name="sampling-ring",
        reference=_ring_step,
        draw=_draw_ring,
        hints=(
            "K taps have K-1 gaps between them, and the ring is (K-1)d long: that gives d.",
            "The value of time t - q d stands in slot (t - q d) % len(ring), for q = 1, ..., K-1. "
            "Which tap does it meet? The newest value meets the last one.",
            "The oldest value that is read and the new value share slot t % len(ring). Write last.",
        ),
        mistakes=(
            Mistake(
                _writes_first,
                "The new value is written before the oldest is read, and they share a slot. Read "
                "first, then write.",
            ),
            Mistake(_flipped, "The taps are oldest first: the last one meets the new value."),
            Mistake(
                _neighbors,
                "Those are the newest K-1 values. The taps stand d steps apart: read t - q d.",
            ),
            Mistake(_next_slot, "The value of time t belongs in slot t % len(ring), not the next."),
            Mistake(
                _shifted,
                "That moves every value by one slot, as a queue does. In a ring only one slot "
                "changes.",
            ),
            Mistake(
                _outputs_kept,
                "The ring gets the filter's output here. A level reads, and so must keep, its "
                "input a.",
            ),
            Mistake(_past_alone, "The newest value counts, too: the last tap meets a."),
        ),
    ),
    Exercise(
        name="sampling-prefill",
        reference=_prefill,
        draw=_draw_prompt,
        hints=(
            "Level 1 reads x. So what does its queue hold?",
            "Pad what enters the level with (K-1)d zeros in front: its last (K-1)d values are the "
            "queue, however short the prompt.",
            "What enters the next level is what h0, with d = 2^(level-1), makes of this one.",
        ),
        mistakes=(
            Mistake(
                _pushes_outputs,
                "That is what leaves each level. A level reads, and so must keep, what enters it.",
            ),
            Mistake(_newest_first, "The order is asked for oldest first."),
            Mistake(
                _inputs_everywhere,
                "Only the first level reads x. The next one reads what h0 makes of it.",
            ),
            Mistake(_taps_flipped, "The taps are oldest first: the last one meets the newest."),
            Mistake(
                _zeros_after,
                "A short prompt leaves zeros at the old end of the queue, not at the new one.",
            ),
            Mistake(
                _undilated,
                "From the second level on, the taps of h0 stand d = 2^(level-1) steps apart.",
            ),
            Mistake(
                _unpadded,
                "A prompt shorter than the queue leaves zeros before it: the size is always "
                "(K-1) 2^(level-1).",
            ),
            Mistake(_coarsest_first, "The finest level comes first, the one that reads x."),
        ),
    ),
    Exercise(
        name="sampling-size",
        reference=510,
        hints=(
            "How far back does level 1 read? Level 2? The dilation doubles.",
            "Add (K-1) 2^(level-1) over the levels 1 to 8: the powers of two sum to 2^8 - 1.",
        ),
        mistakes=(
            Mistake(16, "J(K-1) counts the values that one step reads. In between others wait."),
            Mistake(9, "J + 1 numbers are read out, but they can't be updated from themselves."),
            Mistake(512, "The sum 1 + 2 + ... + 2^(J-1) is 2^J - 1, not 2^J."),
            Mistake(765, "The newest value of a window has just been computed: K-1 gaps, not K."),
            Mistake(255, "That is for K = 2. With three taps, each queue is two dilations long."),
            Mistake(256, "That is the last queue alone. There is one for each level."),
            Mistake(511, "That is the length of the kernel. Lag 0 arrives from outside."),
            Mistake(1020, "Both filters of a level read the same queue: it is there only once."),
        ),
    ),
    Exercise(
        name="sampling-streams",
        reference=_batch_step,
        draw=_draw_streams,
        hints=(
            "slots = t % d gives one slot for each stream. Row i needs slot i only.",
            "In NumPy, rings[rows, slots] with two integer arrays picks one entry per pair; "
            "rings[:, slots] picks all rows for every slot.",
            "With K = 2 the value that is read stands in the very slot that is written: read, "
            "then write to a copy.",
        ),
        mistakes=(
            Mistake(
                _leaks,
                "The state leaks: rings[:, slots] writes every stream's slot in every row. Pair "
                "row i with slot i.",
            ),
            Mistake(_one_clock, "The streams are at different times: each has a slot of its own."),
            Mistake(_batch_writes_first, "Read first, then write: they share a slot."),
            Mistake(_next_slots, "The value of time t belongs in slot t % d, not the next."),
            Mistake(_batch_flipped, "The taps are oldest first: h[1] meets the new value."),
        ),
    ),
    Exercise(
        name="sampling-norms",
        reference={"layer", "rms", "batch-eval"},
        hints=(
            "Of each one, ask over which axes its mean and its variance are taken.",
            "A statistic over time contains the future. A stored one contains nothing new.",
        ),
        mistakes=(
            Mistake(
                set(),
                "Some do: statistics over the channels of one time step need no other time.",
            ),
            Mistake(
                {"layer", "rms", "batch-train", "batch-eval", "instance"},
                "Two of these average over time: an early output depends on later inputs.",
            ),
            Mistake(
                {"layer", "rms"},
                "One is missing: in evaluation, batch normalization uses stored statistics.",
            ),
            Mistake(
                {"layer", "rms", "batch-train", "batch-eval"},
                "In training, batch normalization averages over the batch and all of time.",
            ),
            Mistake(
                {"layer", "rms", "batch-eval", "instance"},
                "InstanceNorm averages each channel over time, the future included.",
            ),
            Mistake({"layer"}, "Two more need no other time than the present."),
            Mistake(
                {"layer", "batch-eval"},
                "One is missing: a root mean square over the channels is of one time step, too.",
            ),
            Mistake({"batch-eval"}, "Two more look at one time step alone: see over which axes."),
            Mistake(
                {"layer", "rms", "instance"},
                "InstanceNorm averages over time. One that uses stored statistics is missing.",
            ),
        ),
    ),
    Exercise(
        name="sampling-echo",
        reference=500,
        hints=(
            "Let only zeros arrive from now on. For how long does the past still come out?",
            "Each of the coming 500 outputs is half of another input of the past. How many "
            "numbers must you have kept to produce them all?",
        ),
        mistakes=(
            Mistake(1, "One delayed input is used per step, but 500 of them wait for their turn."),
            Mistake(2, "Two taps make little work, not a small state: 500 inputs wait in between."),
            Mistake(499, "Count once more: lags 1 to 500 are still to come back."),
            Mistake(501, "The input of lag 0 comes from outside: it need not be kept."),
            Mistake(1000, "Only inputs not older than 500 steps will be heard again."),
        ),
    ),
)
