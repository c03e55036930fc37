"""Classes that are made of ours: derived, of another metaclass, or by copying what ours holds."""

import copy

import pytest
import torch
from torch import nn

import fastlstm


def test_what_is_made_of_its_class_is_ours():
    """As code does that makes another like it, of a class that is an nn.LSTM to `isinstance`."""
    ours = fastlstm.LSTM(5, 7)
    another = ours.__class__(ours.input_size, hidden_size=8, batch_first=True)
    assert type(another) is fastlstm.LSTM
    assert repr(another) == "LSTM(5, 8, batch_first=True)"
    twin = ours.__class__.__new__(ours.__class__)
    twin.__dict__.update(vars(ours))
    assert type(twin) is fastlstm.LSTM
    x = torch.randn(3, 2, 5)
    assert torch.equal(twin(x)[0], ours(x)[0])
    derived = type("Derived", (ours.__class__,), {})(5, 9)
    assert derived(x)[0].shape == (3, 2, 9)


def test_a_class_of_another_metaclass_is_derived_of_ours():
    """As Pyro does."""

    class Meta(type):
        pass

    class Mixin(nn.Module, metaclass=Meta):
        pass

    ours, x = fastlstm.LSTM(5, 7), torch.randn(3, 2, 5)
    before = ours(x)[0]

    class Mixed(ours.__class__, Mixin):
        pass

    ours.__class__ = Mixed
    assert type(ours) is Mixed
    assert Mixed.__bases__ == (fastlstm.LSTM, Mixin)
    assert type("", (Mixin, fastlstm.LSTM(1, 1).__class__), {}).__bases__ == (Mixin, fastlstm.LSTM)
    assert torch.equal(ours(x)[0], before)


def test_a_class_that_mirrors_the_bases_of_its_class():
    """As Pyro does: a mixin for each class that it is derived of."""
    ours, x = fastlstm.LSTM(5, 7), torch.randn(3, 2, 5)
    before = ours(x)[0]
    mirrored = [type("Mirrored", (base,), {}) for base in ours.__class__.__bases__]
    ours.__class__ = type("Mixed", (ours.__class__, *mirrored), {})
    assert type(ours).__bases__ == (mirrored[0],)
    assert torch.equal(ours(x)[0], before)


class OwnConstructor(fastlstm.LSTM):
    """Somebody's own, which calls another constructor than ours."""

    def __init__(self, *args, **kwargs):
        nn.RNNBase.__init__(self, "LSTM", *args, **kwargs)


class OwnCellConstructor(fastlstm.LSTMCell):
    """The same of a cell."""

    def __init__(self, *args):
        nn.RNNCellBase.__init__(self, *args, bias=True, num_chunks=4)


def test_a_derived_class_may_call_a_constructor_of_torch():
    lstm, x = OwnConstructor(5, 7, batch_first=True), torch.ones(1, 5)
    assert repr(lstm) == "OwnConstructor(5, 7, batch_first=True)"
    assert lstm(x[None])[0].shape == (1, 1, 7)
    assert OwnCellConstructor(5, 7)(x)[0].shape == (1, 7)


def test_a_derived_class_may_have_checks_of_its_own():
    class Checked(fastlstm.LSTM):
        def check_forward_args(self, input, hidden, batch_sizes):
            raise KeyError("its own")

    for x in (torch.randn(3, 2, 5), nn.utils.rnn.pack_sequence([torch.randn(3, 5)])):
        with pytest.raises(KeyError, match="its own"):
            Checked(5, 7)(x)


def test_a_class_that_copies_what_ours_holds_works():
    """As torchrl does, of whatever nn.LSTM is, for a LSTM of its own."""

    class Copied(nn.RNNBase):
        def __init__(self, *args, **kwargs):
            super().__init__("LSTM", *args, **kwargs)

    for name in vars(fastlstm.LSTM).keys() - {"__init__"}:
        setattr(Copied, name, getattr(fastlstm.LSTM, name))
    made = Copied(5, 7)
    assert "5, 7" in repr(made)
    assert torch.equal(copy.deepcopy(made).weight_hh_l0, made.weight_hh_l0)


def test_flat_weights_that_are_made_at_each_look():
    """As Pyro does: a look may draw a weight, so that ours looks as often as nn.LSTM."""
    looks = []

    class Made:
        def __get__(self, lstm, cls):
            looks.append(cls)
            return [getattr(lstm, name) for name in lstm._flat_weights_names]

        def __set__(self, lstm, weights):
            pass

    x, outputs = torch.randn(3, 2, 5), []
    for base in (fastlstm.LSTM, nn.LSTM):
        torch.manual_seed(0)
        lstm = type("Drawn", (base,), {"_flat_weights": Made()})(5, 7)
        looks.clear()
        lstm.weight_hh_l0 = nn.Parameter(lstm.weight_hh_l0 * 2)
        assert len(looks) == 1
        outputs.append(lstm(x)[0])
    torch.testing.assert_close(*outputs)
