"""What comes of a drawn call: of a module in one call, or of nn.LSTM one episode at a time."""

import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fastlstm import original
from fastlstm.verify_cases import DTYPES


def make_peer(call):
    """An nn.LSTM with weights of the call's dtype."""
    generator = torch.Generator().manual_seed(call.seed)
    peer = original.LSTM(
        call.I,
        call.H,
        call.layers,
        call.bias,
        call.batch_first,
        bidirectional=call.bidirectional,
        proj_size=call.proj,
    )
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.uniform_(-1, 1, generator=generator).div_(max(1, call.H) ** 0.5)
    return peer.to(DTYPES[call.dtype])


def make_values(call):
    """Input, states and the gradients that arrive, by name, in the call's dtype."""
    generator = torch.Generator().manual_seed(call.seed + 1)
    states, output = call.layers * call.directions, call.proj or call.H
    batch = (call.B, call.T) if call.batch_first else (call.T, call.B)
    shapes = {"input": (*batch, call.I), "output": (*batch, call.directions * output)}
    shapes |= dict.fromkeys(("h_0", "h_n", "reset h"), (states, call.B, output))
    shapes |= dict.fromkeys(("c_0", "c_n", "reset c"), (states, call.B, call.H))
    values = {
        name: torch.randn(shape, generator=generator).to(DTYPES[call.dtype])
        for name, shape in shapes.items()
    }
    if call.form == "unbatched":
        squeezed = {name: v.squeeze(1) for name, v in values.items() if v.shape[1] == 1}
        for name in ("input", "output"):
            squeezed[name] = values[name].squeeze(0 if call.batch_first else 1)
        values |= squeezed
    return values


def kinds(call):
    """How x and both states lie in memory."""
    of_x, of_states, _ = call.memory
    if of_x == "expanded" and "lengths" in call.form:  # NaN beyond a length would be within others
        of_x = "contiguous"
    return {"input": of_x, "h_0": of_states, "c_0": of_states}


def placed(tensor, kind):
    """The same values, differentiably, with other strides; all junk beside them is NaN."""
    junk = torch.full_like(tensor, torch.nan).detach()
    if kind == "transposed":
        return tensor.transpose(0, 1).contiguous().transpose(0, 1)
    if kind == "every second":
        return torch.stack([tensor, junk], -1)[..., 0]
    if kind == "shifted":
        return torch.cat([junk[:1], tensor])[1:]
    if kind == "expanded" and tensor.dim() == 3:
        return tensor.narrow(1, 0, 1).expand(tensor.shape)
    return tensor


def spoil(call, module, values):
    """Puts the bad number where the call wants it, and NaN where nothing may be read."""
    if "lengths" in call.form:
        mask = torch.arange(call.T)[:, None] >= torch.tensor(call.lengths)
        values["input"][mask.t() if call.batch_first else mask] = torch.nan
    if call.bad is None or not call.has(call.bad[0]):
        return
    name, number, value = call.bad
    at = values.get(name)
    if at is None:
        at = getattr(module, f"{name}_l{number % call.layers}").data
    if at.numel():
        at.view(-1)[number % at.numel()] = value


def at_once(module, call, leaves, hx, reset_hx):
    """The module's own call; output padded."""
    x = leaves["input"]
    if call.form == "packed":
        x = pack_padded_sequence(x, call.lengths, call.batch_first, enforce_sorted=False)
        output, states = module(x, hx)
        return pad_packed_sequence(output, call.batch_first, total_length=call.T)[0], *states
    more = {}
    if "lengths" in call.form:
        more["lengths"] = torch.tensor(call.lengths)
    if "resets" in call.form:
        resets = torch.zeros(call.T, call.B, dtype=torch.bool)
        for step, item in call.resets:
            resets[step, item] = True
        more["resets"] = resets.t().contiguous() if call.batch_first else resets
        more["reset_hx"] = reset_hx
    output, states = module(x, hx, **more)
    return output, *states


def in_episodes(module, call, leaves, hx, reset_hx):
    """What `lengths` and `resets` mean, by nn.LSTM: each episode of each sequence by itself."""
    x = leaves["input"].transpose(0, 1) if call.batch_first else leaves["input"]
    hx = zeros_for(call, x) if hx is None else hx
    reset_hx = [torch.zeros_like(s) for s in hx] if reset_hx is None else reset_hx
    reverse = torch.arange(hx[0].shape[0]) % 2 == 1 if call.bidirectional else torch.tensor([False])
    reverse = reverse[:, None, None]
    outputs, ends = [], []
    for b in range(call.B):
        cuts, own = call.cuts(b), [s[:, b : b + 1] for s in hx]
        resumed = [s[:, b : b + 1] for s in reset_hx]
        rest = x.new_zeros(call.T - cuts[-1], call.directions * (call.proj or call.H))
        if cuts[-1] == 0:
            outputs.append(rest)
            ends.append(own)
            continue
        parts, states, count = [], [], len(cuts) - 1
        for n in range(count):
            keeps = n == 0 and (0, b) not in call.resets
            begins = own if keeps else resumed, own if n == count - 1 else resumed
            start = [torch.where(reverse, r, f) for f, r in zip(*begins, strict=True)]
            piece = x[cuts[n] : cuts[n + 1], b : b + 1]
            piece = piece.transpose(0, 1) if call.batch_first else piece
            y, state = module(piece.contiguous(), tuple(s.contiguous() for s in start))
            parts.append(y.squeeze(0 if call.batch_first else 1))
            states.append(state)
        outputs.append(torch.cat([*parts, rest]))
        pairs = zip(states[-1], states[0], strict=True)
        ends.append([torch.where(reverse, first, last) for last, first in pairs])
    output = torch.stack(outputs, 0 if call.batch_first else 1)
    return output, *(torch.cat([end[k] for end in ends], 1) for k in range(2))


def zeros_for(call, x):
    states = call.layers * call.directions
    sizes = call.proj or call.H, call.H
    return [x.new_zeros(states, call.B, size) for size in sizes]


def results(module, call, values, run=at_once, contiguous=False):
    """Outputs, states and every wanted gradient by name; `contiguous`: of copies of x and states.

    torch's own bfloat16 product of a strided x lets NaN beside it in.
    """
    like = next(module.parameters())
    values = {name: value.to(like).detach() for name, value in values.items()}
    leaves = {n: values[n].requires_grad_(n in call.needed) for n in ("input", "h_0", "c_0")}
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name.rpartition("_l")[0] in call.needed)
    used = {name: placed(leaves[name], kind) for name, kind in kinds(call).items()}
    if contiguous:
        used = {name: tensor.contiguous() for name, tensor in used.items()}
    hx = (used["h_0"], used["c_0"]) if call.hx else None
    reset_hx = (values["reset h"], values["reset c"]) if call.reset_hx else None
    outputs = dict(
        zip(("output", "h_n", "c_n"), run(module, call, used, hx, reset_hx), strict=True)
    )
    found = {name: tensor.detach() for name, tensor in outputs.items()}
    leaves |= dict(module.named_parameters())
    wanted = {n: leaf for n, leaf in leaves.items() if leaf.requires_grad}
    given = [n for n in outputs if n in call.arriving and outputs[n].requires_grad]
    if given and wanted:
        dy = placed(values["output"], call.memory[2])
        arriving = [dy if n == "output" else values[n] for n in given]
        grads = torch.autograd.grad(
            [outputs[n] for n in given], list(wanted.values()), arriving, allow_unused=True
        )
        for name, grad in zip(wanted, grads, strict=True):
            found[f"grad {name}"] = torch.zeros_like(wanted[name]) if grad is None else grad
    return found
