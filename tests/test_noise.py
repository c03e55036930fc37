"""Dropout on h and zoneout in the recurrence: kernels against the reference, and what they mean."""

from dataclasses import dataclass

import pytest
import torch
from accuracy import assert_as_accurate

from fastlstm import functional, noise, reference
from fastlstm.backends import cpu
from fastlstm.noise import Noise
from fastlstm.verify_cases import DTYPES


@dataclass(frozen=True)
class Stack:
    """The shape of a stack of layers; `sizes`: of packed steps."""

    steps: int
    batch: int
    input: int
    hidden: int
    layers: int = 1
    directions: int = 1
    projection: int = 0
    sizes: tuple[int, ...] | None = None

    def tensors(self):
        """x, h_0, c_0 and the weights, in float64."""
        output, states = self.projection or self.hidden, self.layers * self.directions
        rows = (sum(self.sizes),) if self.sizes else (self.steps, self.batch)
        made = [torch.randn(*rows, self.input), torch.randn(states, self.batch, output)]
        made.append(torch.randn(states, self.batch, self.hidden))
        for layer in range(self.layers):
            width = self.input if layer == 0 else self.directions * output
            for _ in range(self.directions):
                gates = 4 * self.hidden
                shapes = [(gates, width), (gates, output), (gates,), (gates,)]
                shapes += [(output, self.hidden)] if self.projection else []
                made += [torch.randn(*shape) / 3 / self.hidden**0.5 for shape in shapes]
        return [tensor.double() for tensor in made]


RATES = {
    "dropout": (0.4, 0.0, 0.0),
    "zoneout of c": (0.0, 0.3, 0.0),
    "zoneout of h": (0.0, 0.0, 0.2),
    "all": (0.4, 0.3, 0.2),
}
STACKS = {
    "odd": Stack(7, 3, 5, 37),
    "one sequence": Stack(9, 1, 6, 33),
    "two directions": Stack(6, 5, 4, 18, layers=2, directions=2),
    "chunks": Stack(40, 20, 3, 16),
    "more than a chunk a step": Stack(3, 600, 3, 8),
    "wavefront": Stack(200, 2, 6, 24, layers=3),
    "packed": Stack(4, 5, 3, 20, layers=2, directions=2, sizes=(5, 4, 4, 1)),
    "projected": Stack(7, 4, 5, 20, layers=2, directions=2, projection=6),
}


def results(layers, tensors, dtype):
    """y, h_n, c_n and every gradient."""
    leaves = [tensor.to(dtype).requires_grad_() for tensor in tensors]
    outputs = layers(*leaves[:3], leaves[3:])
    torch.manual_seed(1)
    arriving = [torch.randn(output.shape).to(dtype) for output in outputs]
    return [*outputs, *torch.autograd.grad(outputs, leaves, arriving)]


def both(stack, drawn, backend="cpu"):
    """The stack on the kernels, and by the reference, with the noise drawn."""
    sizes = stack.sizes and torch.tensor(stack.sizes)

    def kernels(x, h_0, c_0, weights):
        how = {"num_layers": stack.layers, "backend": backend, "noise": drawn}
        return functional.lstm(x, h_0, c_0, weights, sizes, **how)

    def by_reference(x, h_0, c_0, weights):
        return reference.lstm(x, h_0, c_0, weights, sizes, stack.layers, None, drawn)

    return kernels, by_reference


@pytest.mark.parametrize("seed", [None, 2**62 + 12345], ids=["expected", "drawn"])
@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("rates", RATES)
def test_kernels_are_as_accurate_as_the_reference(isa, dtype, rates, stack, seed):
    stack, (dropout, of_c, of_h) = STACKS[stack], RATES[rates]
    drawn = Noise((dropout, of_c, 0.0 if stack.projection else of_h))
    drawn = drawn._replace(seed=seed and torch.tensor(seed))
    torch.manual_seed(0)
    kernels, by_reference = both(stack, drawn)
    tensors = [tensor.to(DTYPES[dtype]) for tensor in stack.tensors()]
    got = results(kernels, tensors, DTYPES[dtype])
    peers = results(by_reference, tensors, DTYPES[dtype])
    oracle = results(by_reference, tensors, torch.float64)
    names = ["y", "h_n", "c_n", "dx", "dh_0", "dc_0", *(f"dweight {n}" for n in range(99))]
    for name, *three in zip(names, got, oracle, peers, strict=False):
        assert_as_accurate(name, *three)


def test_any_number_of_threads_gives_the_same_bits(isa, set_threads):
    stack, drawn = Stack(9, 40, 16, 48, layers=2, directions=2), Noise(RATES["all"])
    drawn = drawn._replace(seed=torch.tensor(7))
    tensors, found = stack.tensors(), []
    for threads in (1, 2, 3):
        set_threads(threads)
        found.append(results(both(stack, drawn)[0], tensors, torch.float32))
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


def test_every_variant_draws_the_same():
    """Units that keep their c exactly: which they are does not hang on the vectors' width."""
    stack, drawn = Stack(1, 6, 3, 70), Noise((0.0, 0.5, 0.0), torch.tensor(3))
    x, h_0, c_0, *weights = (tensor.float() for tensor in stack.tensors())
    kept = []
    for name in cpu.isas():
        with cpu.use_isa(name):
            _, _, c_n = functional.lstm(x, h_0, c_0, weights, backend="cpu", noise=drawn)
        kept.append(c_n == c_0)
    assert 0.4 < kept[0].float().mean() < 0.6
    assert all(torch.equal(kept[0], other) for other in kept[1:])


def test_the_generator_is_philox():
    """The known answers that come with Random123, for seven rounds."""
    zeros = tuple(torch.tensor(word) for word in (0, 0, 0, 0))
    ones = tuple(torch.tensor(0xFFFFFFFF) for _ in range(4))
    words = [hex(int(word)) for word in noise._philox(zeros, torch.tensor(0), torch.tensor(0))]
    assert words == ["0x5f6fb709", "0xd893f64", "0x4f121f81", "0x4f730a48"]
    words = [hex(int(word)) for word in noise._philox(ones, ones[0], ones[0])]
    assert words == ["0x5207ddc2", "0x45165e59", "0x4d8ee751", "0x8c52f662"]


def test_rates_and_masks_are_as_asked():
    drawn = Noise((0.3, 0.2, 0.1), torch.tensor(5))
    like = torch.empty(200, 300)
    mask = drawn.mask(0, like.shape, like)
    assert mask.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert (mask == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    of_c, of_h = drawn.keeps(0, 4, like)
    assert of_c.float().mean() == pytest.approx(0.2, abs=0.01)
    assert of_h.float().mean() == pytest.approx(0.1, abs=0.01)
    assert (of_c & of_h).float().mean() == pytest.approx(0.02, abs=0.005)  # independent
    others = [drawn.keeps(0, 5, like), drawn.keeps(1, 4, like)]
    others.append(drawn._replace(seed=torch.tensor(6)).keeps(0, 4, like))
    assert all((of_c & c).float().mean() == pytest.approx(0.04, abs=0.01) for c, _ in others)


def test_zoneout_of_h_and_a_projection_exclude_each_other():
    stack = STACKS["projected"]
    kernels, _ = both(stack, Noise((0.0, 0.0, 0.1)))
    with pytest.raises(ValueError, match="zoneout of h must be 0 with a projection"):
        kernels(*stack.tensors()[:3], stack.tensors()[3:])


@pytest.mark.parametrize("backend", ["aten", "reference", "auto"])
def test_backends_without_noise_leave_it_to_the_reference(backend):
    stack, drawn = STACKS["two directions"], Noise(RATES["all"], torch.tensor(7))
    tensors = stack.tensors()
    kernels, by_reference = both(stack, drawn, backend)
    for got, want in zip(
        results(kernels, tensors, torch.float64),
        results(by_reference, tensors, torch.float64),
        strict=True,
    ):
        torch.testing.assert_close(got, want)
