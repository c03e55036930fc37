"""PyTorch's own inputs for its tests of nn.LSTM and nn.LSTMCell, put to ours."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
from torch.utils import _pytree as pytree

import fastlstm

PAIRS = {nn.LSTM: fastlstm.LSTM, nn.LSTMCell: fastlstm.LSTMCell}
INFOS = {info.module_cls: info for info in module_db if info.module_cls in PAIRS}


def inputs_of(cls, dtype, training=True):
    """PyTorch's inputs for a class of its own."""
    info = INFOS[cls]
    return info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=True, training=training
    )


def modules_of(cls, given, dtype):
    """Ours and torch's, of the same weights."""
    args, kwargs = given.constructor_input.args, given.constructor_input.kwargs
    theirs = cls(*args, **kwargs).to(dtype)
    ours = PAIRS[cls](*args, **kwargs).to(dtype)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def tensors(tree):
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def results(module, given):
    """Outputs, and the gradients of every input and parameter."""
    args, kwargs = copy.deepcopy((given.forward_input.args, given.forward_input.kwargs))
    outputs = tensors(module(*args, **kwargs))
    wanted = [t for t in tensors((args, kwargs)) if t.requires_grad] + list(module.parameters())
    loss = sum(output.double().square().sum() for output in outputs)
    return outputs, torch.autograd.grad(loss, wanted, allow_unused=True)


CASES = [
    pytest.param(cls, dtype, id=f"{cls.__name__}-{dtype}")
    for cls in PAIRS
    for dtype in (torch.float32, torch.float64)
]
each_case = pytest.mark.parametrize(("cls", "dtype"), CASES)


def test_pytorch_has_inputs_for_both():
    assert set(INFOS) == set(PAIRS)
    for cls in PAIRS:
        assert len(inputs_of(cls, torch.float32)) > 1


@each_case
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_results_and_gradients(cls, dtype, training):
    for given in inputs_of(cls, dtype, training):
        ours, theirs = (module.train(training) for module in modules_of(cls, given, dtype))
        torch.testing.assert_close(results(ours, given), results(theirs, given))


@each_case
def test_non_contiguous_inputs(cls, dtype):
    def spread(tensor):
        wide = tensor.detach().new_empty((*tensor.shape, 2)).fill_(float("nan"))
        wide[..., 0] = tensor.detach()
        return wide[..., 0].requires_grad_(tensor.requires_grad)

    for given in inputs_of(cls, dtype):
        ours, theirs = modules_of(cls, given, dtype)
        expected = results(theirs, given)
        given.forward_input.args, given.forward_input.kwargs = pytree.tree_map_only(
            torch.Tensor, spread, (given.forward_input.args, given.forward_input.kwargs)
        )
        torch.testing.assert_close(results(ours, given), expected)


@pytest.mark.parametrize("cls", PAIRS)
def test_gradients_of_gradients(cls):
    for given in inputs_of(cls, torch.float64):
        ours, _ = modules_of(cls, given, torch.float64)
        flat, spec = pytree.tree_flatten((given.forward_input.args, given.forward_input.kwargs))
        where = [n for n, leaf in enumerate(flat) if isinstance(leaf, torch.Tensor)]
        names = [name for name, _ in ours.named_parameters()]

        def call(*at, ours=ours, flat=flat, spec=spec, where=where, names=names):
            leaves = list(flat)
            for n, tensor in zip(where, at, strict=False):
                leaves[n] = tensor
            args, kwargs = pytree.tree_unflatten(leaves, spec)
            parameters = dict(zip(names, at[len(where) :], strict=True))
            return tuple(tensors(torch.func.functional_call(ours, parameters, args, kwargs)))

        point = [flat[n] for n in where] + list(ours.parameters())
        assert gradcheck(call, point, fast_mode=True)
        assert gradgradcheck(call, point, fast_mode=True)


@each_case
def test_factory_arguments_repr_and_copies(cls, dtype):
    for given in inputs_of(cls, dtype):
        ours, theirs = modules_of(cls, given, dtype)
        args, kwargs = given.constructor_input.args, given.constructor_input.kwargs
        made = PAIRS[cls](*args, **kwargs, device="meta", dtype=dtype)
        assert all(p.is_meta and p.dtype == dtype for p in made.parameters())
        made.to_empty(device="cpu").load_state_dict(theirs.state_dict())
        assert repr(made) == repr(theirs)
        file = io.BytesIO()
        torch.save(ours, file)
        file.seek(0)
        expected = results(ours, given)
        for twin in (
            made,
            copy.deepcopy(ours),
            pickle.loads(pickle.dumps(ours)),
            torch.load(file, weights_only=False),
        ):
            torch.testing.assert_close(results(twin, given), expected)


@pytest.mark.parametrize("cls", PAIRS)
def test_wrong_inputs_fail_as_in_torch(cls):
    info = INFOS[cls]
    if info.module_error_inputs_func is None:
        pytest.skip(f"PyTorch has no wrong inputs for {cls.__name__}")
    for wrong in info.module_error_inputs_func(
        info, device="cpu", dtype=torch.float32, requires_grad=True, training=True
    ):
        given = wrong.module_error_input
        make, call = given.constructor_input, given.forward_input
        if wrong.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
            with pytest.raises(wrong.error_type, match=wrong.error_regex):
                PAIRS[cls](*make.args, **make.kwargs)
            continue
        ours = PAIRS[cls](*make.args, **make.kwargs)
        with pytest.raises(wrong.error_type, match=wrong.error_regex):
            ours(*call.args, **call.kwargs)
