"""Sampling from a trained model: tokens of several samples side by side, as they are drawn."""

from collections.abc import Iterator

import torch
from torch import Tensor

from fastlstm.rnnlm.choosing import Choice, choose
from fastlstm.rnnlm.model import RNNLM, State
from fastlstm.rnnlm.stepping import make_steps, read_prompt, repeat_state

CHUNK = 32  # steps between two fetches of tokens from a GPU


def generate_tokens(
    model: RNNLM, prime: list[int], start: int, temperature: float, seed: int
) -> Iterator[int]:
    """Tokens without end that follow the line end `start` and the prompt `prime`: one sample."""
    for (token,) in generate(model, [start, *prime], Choice(temperature), [seed]):
        yield token


def generate(
    model: RNNLM, prompt: list[int], choice: Choice, seeds: list[int]
) -> Iterator[list[int]]:
    """The next token of each sample, without end; the samples follow the same prompt.

    seeds: one for each sample, which depends on its own alone; torch's global generator is not
        touched.
    RuntimeError where the model's logits are not finite.
    """
    logits, state = read_prompt(model, prompt)
    state = repeat_state(state, len(seeds))
    uniforms = _Uniforms(seeds)
    size, device = logits.shape[-1], logits.device
    logits = logits.expand(len(seeds), -1)
    tokens = choose(logits, uniforms.draw(1)[0].to(device), choice)
    yield _checked(tokens.tolist(), size)
    # resets ask for values of the device, which a graph cannot
    graph = device.type == "cuda" and model.config.reset_at is None
    loop = _graph_loop if graph else _step_loop
    for row in loop(model, state, tokens, choice, uniforms):
        yield _checked(row, size)


class _Uniforms:
    """Numbers in [0, 1), drawn for each sample by a generator of its own."""

    def __init__(self, seeds: list[int]) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def draw(self, steps: int) -> Tensor:
        """Float64 [steps, B] on the CPU."""
        drawn = [torch.rand(steps, generator=g, dtype=torch.float64) for g in self._generators]
        return torch.stack(drawn, dim=1)


def _checked(tokens: list[int], size: int) -> list[int]:
    if max(tokens) >= size:  # `choose` found no token
        raise RuntimeError("the model's logits are not finite: it cannot be sampled from")
    return tokens


def _step_loop(
    model: RNNLM, state: State, tokens: Tensor, choice: Choice, uniforms: _Uniforms
) -> Iterator[list[int]]:
    """What follows `tokens` [B], step by step."""
    steps = make_steps(model, state)
    while True:
        for uniform in uniforms.draw(CHUNK):
            tokens = choose(steps.step(tokens), uniform, choice)
            yield tokens.tolist()


def _graph_loop(
    model: RNNLM, state: State, tokens: Tensor, choice: Choice, uniforms: _Uniforms
) -> Iterator[list[int]]:
    """What follows `tokens` [B], by a CUDA graph of the step."""
    step = GraphStep(model, state, tokens, choice)
    step.capture()
    while True:
        yield from step.run(uniforms.draw(CHUNK))


class GraphStep:
    """A step of model and choice that can be a CUDA graph: it reads and writes tensors that stay.

    Nothing goes between host and device in a step. A chunk of uniform numbers is put there before,
    the chosen tokens are fetched after it; `_at` counts the steps in between.
    """

    def __init__(self, model: RNNLM, state: State, tokens: Tensor, choice: Choice) -> None:
        self._model, self._choice = model, choice
        self._state = tuple(part.clone() for part in state)
        self._tokens = tokens.clone()
        self._uniforms = tokens.new_zeros((CHUNK, len(tokens)), dtype=torch.float64)
        self._chosen = tokens.new_zeros((CHUNK, len(tokens)))
        self._at = tokens.new_zeros(1)
        self._replay = self._step

    @torch.no_grad()
    def _step(self) -> None:
        logits, state = self._model(self._tokens[None], self._state)
        for kept, part in zip(self._state, state, strict=True):
            kept.copy_(part)
        chosen = choose(logits[-1], self._uniforms.index_select(0, self._at)[0], self._choice)
        self._chosen.index_copy_(0, self._at, chosen[None])
        self._tokens.copy_(chosen.clamp(max=logits.shape[-1] - 1))  # none is no index
        self._at.add_(1)

    def capture(self) -> None:
        """Make the graph; what the warm-up before it changed is put back."""
        changed = (*self._state, self._tokens, self._at)
        before = [tensor.clone() for tensor in changed]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step()
        for tensor, value in zip(changed, before, strict=True):
            tensor.copy_(value)
        self._replay = graph.replay

    def run(self, uniforms: Tensor) -> list[list[int]]:
        """The tokens of the next steps, [steps][B], for uniforms [steps <= CHUNK, B]."""
        self._uniforms[: len(uniforms)].copy_(uniforms)
        self._at.zero_()
        for _ in range(len(uniforms)):
            self._replay()
        chosen: list[list[int]] = self._chosen[: len(uniforms)].tolist()
        return chosen
