"""LSTM calls that hypothesis draws: sizes, forms of input, memory, gradients, what is not a number.

T steps, B batch, I input, H hidden, L layers, D directions.
"""

from dataclasses import dataclass

from hypothesis import strategies as st

FORMS = ("padded", "unbatched", "packed", "lengths", "resets", "lengths and resets")
MEMORY = ("contiguous", "transposed", "every second", "shifted", "expanded")
LEAVES = ("input", "h_0", "c_0", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
OUTPUTS = ("output", "h_n", "c_n")


@dataclass(frozen=True)
class Call:
    """One call of an LSTM, and of its backward pass."""

    T: int
    B: int
    I: int
    H: int
    layers: int
    bidirectional: bool
    bias: bool
    proj: int
    batch_first: bool
    form: str
    hx: bool
    reset_hx: bool
    lengths: tuple[int, ...]  # [B]
    resets: tuple[tuple[int, int], ...]  # (step, sequence)
    memory: tuple[str, str, str]  # of x, of the states, of the gradient that arrives at y
    strided_weights: bool
    needed: frozenset[str]  # of LEAVES: which want gradients
    arriving: frozenset[str]  # of OUTPUTS: where gradients arrive
    bad: tuple[str, int, float] | None  # a leaf, the number of an element, NaN or Inf
    dtype: str
    threads: int
    seed: int

    @property
    def directions(self):
        return 1 + self.bidirectional

    def cuts(self, b):
        """Where the episodes of a sequence begin, and where it ends."""
        inside = {t for t, item in self.resets if item == b and 0 < t < self.lengths[b]}
        return [0, *sorted(inside), self.lengths[b]]

    def has_gradients(self):
        """Whether anything wants a gradient that is there."""
        return any(self.has(name) for name in self.needed)

    def has(self, leaf):
        """Whether there is such a leaf."""
        there = {"h_0": self.hx, "c_0": self.hx, "weight_hr": self.proj > 0}
        return there.get(leaf, self.bias or not leaf.startswith("bias"))


def sizes(most, *large):
    """Mostly small."""
    return st.one_of(st.integers(1, most), st.integers(1, most), st.sampled_from(large or (most,)))


def subsets(names):
    """A set of some of the names; of all of them in every other case."""
    return st.one_of(st.just(frozenset(names)), st.frozensets(st.sampled_from(names)))


@st.composite
def calls(draw, dtypes, projections=True, threads=(1, 2, 3)):
    """Any call."""
    form = draw(st.sampled_from(FORMS))
    T = draw(sizes(5, 9, 13))
    B = 1 if form == "unbatched" else draw(sizes(4, 2, 9))
    H = draw(sizes(24, 33, 70))
    packed = form == "packed"
    least = 1 if packed else 0
    lengths = (T,) * B
    if packed or "lengths" in form:
        lengths = tuple(draw(st.lists(st.integers(least, T), min_size=B, max_size=B)))
    resets = ()
    if "resets" in form:
        places = st.tuples(st.integers(0, T - 1), st.integers(0, B - 1))
        resets = tuple(sorted(draw(st.frozensets(places, max_size=6))))
    value = st.sampled_from((float("nan"), float("inf"), -float("inf")))
    bad = st.tuples(st.sampled_from(LEAVES), st.integers(0, 10_000), value)
    return Call(
        T,
        B,
        draw(sizes(20, 33, 65)),
        H,
        layers=draw(st.sampled_from((1, 1, 2, 3))),
        bidirectional=draw(st.booleans()),
        bias=draw(st.booleans()),
        proj=draw(st.integers(1, H - 1)) if projections and H > 1 and draw(st.booleans()) else 0,
        batch_first=draw(st.booleans()),
        form=form,
        hx=draw(st.booleans()),
        reset_hx="resets" in form and draw(st.booleans()),
        lengths=lengths,
        resets=resets,
        memory=tuple(draw(st.sampled_from(MEMORY)) for _ in range(3)),
        strided_weights=draw(st.booleans()),
        needed=draw(subsets(LEAVES)),
        arriving=draw(subsets(OUTPUTS)),
        bad=draw(st.one_of(st.none(), st.none(), st.none(), bad)),
        dtype=draw(st.sampled_from(dtypes)),
        threads=draw(st.sampled_from(threads)),
        seed=draw(st.integers(0, 2**31 - 1)),
    )
