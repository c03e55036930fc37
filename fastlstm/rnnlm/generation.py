"""Sampling from a trained model."""

from collections.abc import Iterator

import torch

from fastlstm.rnnlm.model import RNNLM


def generate_tokens(
    model: RNNLM, prime: list[int], start: int, temperature: float, seed: int
) -> Iterator[int]:
    """Tokens without end that follow the line end `start` and the prompt `prime`.

    temperature: divides the logits before the softmax; 1 samples what the model believes, less
        prefers the likely, 0 always takes the likeliest (argmax).
    seed: of this sequence alone; torch's global generator is not touched.
    """
    device = model.decoder.weight.device
    generator = torch.Generator().manual_seed(seed)
    model.eval()
    state = model.initial_state(1)
    tokens = [start, *prime]
    while True:
        with torch.no_grad():
            logits, state = model(torch.tensor(tokens, device=device)[:, None], state)
        last = logits[-1, 0].double().cpu()
        if not last.isfinite().all():
            raise RuntimeError("the model's logits are not finite: it cannot be sampled from")
        last -= last.max()  # so that a tiny temperature cannot overflow
        if temperature == 0:
            token = int(last.argmax())
        else:
            probabilities = torch.softmax(last / temperature, dim=0)
            token = int(torch.multinomial(probabilities, 1, generator=generator))
        yield token
        tokens = [token]
