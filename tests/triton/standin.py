"""Runs Gluon kernels on the CPU, from their own source: one thread for each program.

So programs that wait for each other really do, and in an order that is the same every time: one
runs at a time, until it has to wait (`Turns`). Memory is the tensors that a kernel is given: an
access elsewhere is an error, as is a misaligned load of 16 bytes. Layouts have no meaning here, as
they never change a value; products are exact to float32.
"""

import inspect
import operator
import textwrap
import threading
import time
import types

import torch
from turns import Turns

from fastlstm.backends.triton.kernels.ring import SLOTS

PATIENCE = 120  # seconds until a kernel that does not end has failed
_running = threading.local()


class Dtype:
    def __init__(self, torch_dtype):
        self.torch = torch_dtype
        self.primitive_bitwidth = 8 * torch_dtype.itemsize
        self.element_ty = self

    def __eq__(self, other):
        return self.torch == other.torch

    __hash__ = None


class Value:
    """A tensor or a scalar of a kernel."""

    type = types.SimpleNamespace(layout=None)

    def __init__(self, tensor):
        self.tensor = torch.as_tensor(tensor)

    dtype = property(lambda self: Dtype(self.tensor.dtype))
    shape = property(lambda self: list(self.tensor.shape))

    def to(self, dtype, bitcast=False):
        convert = self.tensor.view if bitcast else self.tensor.to
        return Value(convert(dtype.torch))

    def __getitem__(self, key):
        return Value(self.tensor[key])

    def __index__(self):
        return int(self.tensor)

    def __neg__(self):
        return Value(-self.tensor)


def raw(value):
    return value.tensor if isinstance(value, Value) else value


def _floordiv(a, b):
    return torch.div(torch.as_tensor(a), b, rounding_mode="floor")


def _operation(name, function):
    def direct(self, other):
        return (
            NotImplemented
            if isinstance(other, Pointer)
            else Value(function(self.tensor, raw(other)))
        )

    def reflected(self, other):
        return Value(function(torch.as_tensor(raw(other)), self.tensor))

    setattr(Value, f"__{name}__", direct)
    if name not in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(Value, f"__r{name.strip('_')}__", reflected)


for _name in (
    "add",
    "sub",
    "mul",
    "truediv",
    "mod",
    "and_",
    "or_",
    "lt",
    "le",
    "gt",
    "ge",
    "eq",
    "ne",
):
    _operation(_name.strip("_"), getattr(operator, _name))
_operation("floordiv", _floordiv)
Value.__hash__ = None


class Pointer:
    """Addresses of elements of one dtype."""

    def __init__(self, address, torch_dtype):
        self.address, self.torch = torch.as_tensor(address), torch_dtype

    dtype = property(lambda self: Dtype(self.torch))
    shape = property(lambda self: list(self.address.shape))

    def __add__(self, offset):
        offset = torch.as_tensor(raw(offset)).long() * self.torch.itemsize
        return Pointer(self.address + offset, self.torch)

    def to(self, dtype):
        return Value(self.address)


class Memory:
    """The tensors of a kernel, by address."""

    def __init__(self, tensors):
        self.parts = [
            (t.data_ptr(), t.data_ptr() + t.numel() * t.itemsize, t.view(-1)) for t in tensors
        ]

    def places(self, address, torch_dtype):
        """Of each tensor that has some of the addresses: it, which ones, and their indices."""
        left = address.numel()
        for first, end, flat in self.parts:
            inside = (address >= first) & (address < end)
            count = int(inside.sum())
            if count:
                assert flat.dtype == torch_dtype, f"{torch_dtype} asked of {flat.dtype}"
                yield flat, inside, (address[inside] - first) // flat.itemsize
                left -= count
            if left == 0:
                return
        raise IndexError(f"{left} of {address.numel()} elements are outside of every tensor")

    def place(self, address, torch_dtype):
        """The tensor that has all of the addresses and their indices, or None; most are so."""
        low, high = (int(edge) for edge in address.aminmax())
        for first, end, flat in self.parts:
            if first <= low and high < end:
                assert flat.dtype == torch_dtype, f"{torch_dtype} asked of {flat.dtype}"
                return flat, (address - first) // flat.itemsize
        return None

    def read(self, address, torch_dtype):
        whole = self.place(address, torch_dtype)
        if whole:
            return whole[0][whole[1]]
        result = torch.empty(address.shape, dtype=torch_dtype)
        for flat, inside, index in self.places(address, torch_dtype):
            result[inside] = flat[index]
        return result

    def write(self, address, values):
        _running.launch.turns.writes += 1
        whole = self.place(address, values.dtype)
        if whole:
            whole[0][whole[1]] = values
            return
        for flat, inside, index in self.places(address, values.dtype):
            flat[index] = values[inside]


class Shared:
    """Shared memory: what is in it when nothing was stored is NaN."""

    def __init__(self, tensor):
        self.tensor = tensor

    def index(self, n):
        return Shared(self.tensor[int(n)])

    def store(self, value):
        assert list(value.tensor.shape) == list(self.tensor.shape)
        self.tensor.copy_(value.tensor)

    def load(self, layout):
        return Value(self.tensor.clone())


class Language:
    """What kernels use of `triton.experimental.gluon.language`."""

    constexpr = object
    static_range = range

    def __getattr__(self, name):
        if name.endswith("Layout"):
            return lambda *args, **kwargs: None
        return Dtype(getattr(torch, name))

    def program_id(self, axis):
        return Value(torch.tensor(_running.program, dtype=torch.int32))

    def num_programs(self, axis):
        return Value(torch.tensor(_running.launch.grid, dtype=torch.int32))

    def num_warps(self):
        return _running.launch.warps

    def arange(self, start, end, layout=None):
        return Value(torch.arange(start, end, dtype=torch.int32))

    def zeros(self, shape, dtype, layout=None):
        return Value(torch.zeros(shape, dtype=dtype.torch))

    def exp(self, x):
        return Value(x.tensor.exp())

    def sum(self, x, axis):
        return Value(x.tensor.sum(axis))

    def minimum(self, a, b):
        return Value(torch.minimum(torch.as_tensor(raw(a)), torch.as_tensor(raw(b))))

    def where(self, condition, a, b):
        if isinstance(a, Pointer):
            return Pointer(torch.where(raw(condition), a.address, b.address), a.torch)
        return Value(torch.where(raw(condition), raw(a), raw(b)))

    def expand_dims(self, x, axis):
        return Value(x.tensor.unsqueeze(axis))

    def reshape(self, x, shape):
        return Value(x.tensor.reshape(shape))

    def join(self, a, b):
        return Value(torch.stack((a.tensor, b.tensor), -1))

    def split(self, x):
        return Value(x.tensor[..., 0]), Value(x.tensor[..., 1])

    def convert_layout(self, x, layout, assert_trivial=False):
        return x

    def load(self, pointer, mask=None, other=0.0):
        address = pointer.address
        if mask is None:
            return Value(_running.launch.memory.read(address, pointer.torch))
        mask, address = torch.broadcast_tensors(torch.as_tensor(raw(mask)), address)
        values = torch.full(address.shape, other, dtype=pointer.torch)
        if mask.any():
            values[mask] = _running.launch.memory.read(address[mask], pointer.torch)
        return Value(values)

    def store(self, pointer, value, mask):
        mask, address, values = torch.broadcast_tensors(
            raw(mask), pointer.address, raw(value).to(pointer.torch)
        )
        if mask.any():
            _running.launch.memory.write(address[mask], values[mask])

    def allocate_shared_memory(self, dtype, shape, layout, value=None):
        empty = torch.full(shape, torch.nan, dtype=dtype.torch)
        return Shared(empty if value is None else value.tensor.clone())


def mma_v2(a, b, sums):
    return Value(torch.matmul(a.tensor.float(), b.tensor.float()) + sums.tensor)


def request(pointers, count):
    """The elements as they are now, 16 bytes from the first pointer of each; perhaps too early."""
    shape, itemsize = pointers.address.shape, pointers.torch.itemsize
    assert count * 32 * _running.launch.warps == shape.numel()
    vectors = pointers.address.reshape(*shape[:-1], -1, 16 // itemsize)[..., :1]
    assert (vectors % 16 == 0).all(), "a load of 16 bytes is misaligned"
    address = (vectors + torch.arange(0, 16, itemsize)).reshape(shape)
    return Value(_running.launch.memory.read(address, pointers.torch))


def receive(early, pointers, abort, count, tries, sm90):
    """Waits as the kernel's own does: until no word is all ones, for `tries`, or for an abort.

    What came early is not loaded again if all of it had arrived.
    """
    launch, values = _running.launch, early
    bits = torch.int16 if pointers.torch.itemsize == 2 else torch.int32
    for tried in range(tries):
        if not (values.tensor.view(bits) == -1).any():
            return values
        launch.polls += 1
        if launch.memory.read(abort.tensor, torch.int32):
            return values
        if tried:  # what came early is of another turn: the rest may have arrived since
            launch.turns.wait(_running.program, tries)
        values = request(pointers, count)
    launch.memory.write(abort.tensor, torch.tensor(1, dtype=torch.int32))
    return values


def receive_sums(pointers, s, abort, count, tries):
    """Waits as the kernel's own does, for words with the last bit of the lap of step s."""
    launch, lap = _running.launch, 1 - s // REPLACED["SLOTS"] % 2
    parts, rows, units = pointers.address.shape
    assert count == parts * max(1, rows * units // (32 * launch.warps))
    for _ in range(tries):
        values = launch.memory.read(pointers.address, torch.float32)
        if ((values.view(torch.int32) & 1) == lap).all():
            return Value(values)
        launch.polls += 1
        if launch.memory.read(abort.tensor, torch.int32):
            break
        launch.turns.wait(_running.program, tries)
    else:
        launch.memory.write(abort.tensor, torch.tensor(1, dtype=torch.int32))
    return Value(torch.full_like(values, torch.nan))


def tell(pointers, values, mask, count):
    """Stores values; a NaN is the one that a GPU's arithmetic makes, never all ones."""
    if values.tensor.is_floating_point():
        values = Value(torch.where(values.tensor.isnan(), torch.nan, values.tensor))
    Language().store(pointers, values, mask)
    _running.launch.turns.told(_running.program)


class _Layouts:
    def __getattr__(self, name):
        return lambda *args: None


REPLACED = {
    "gl": Language(),
    "layouts": _Layouts(),
    "mma_v2": mma_v2,
    "request": request,
    "receive": receive,
    "receive_sums": receive_sums,
    "SLOTS": SLOTS.value,
    "tell": tell,
    "as_tf32": lambda values: values,
}


def as_python(kernel, faults):
    """The Python function of a Gluon one, and of those that it calls.

    `faults` has by a function's name pairs of its source and what is to stand there instead.
    """
    source = textwrap.dedent(inspect.getsource(kernel.fn))
    source = source[source.index("def ") :]
    for right, wrong in faults.get(kernel.fn.__name__, ()):
        if source.count(right) != 1:  # not an AssertionError: a test may expect one of the fault
            raise ValueError(f"{source.count(right)} times in the source: {right}")
        source = source.replace(right, wrong)
    scope = {}
    for name, value in kernel.fn.__globals__.items():
        if hasattr(value, "fn") and name not in REPLACED and name in kernel.fn.__code__.co_names:
            value = as_python(value, faults)
        scope[name] = value
    scope |= REPLACED
    exec(compile(source, f"<{kernel.fn.__name__}>", "exec"), scope)
    return scope[kernel.fn.__name__]


class Launch:
    """One launch of a kernel; `polls` counts the loads that came too early.

    `missing` programs never come; `order` is that of `Turns`.
    """

    def __init__(self, kernel, grid, warps, arguments, faults, missing=(), order=()):
        function = as_python(kernel, faults)
        self.name = kernel.fn.__name__
        self.warps, self.grid, self.polls, self.errors = warps, grid, 0, []
        names = list(inspect.signature(function).parameters)
        unknown = set(arguments) - set(names)
        assert not unknown, f"no parameters of {kernel.fn.__name__}: {unknown}"
        self.memory = Memory([a for a in arguments.values() if isinstance(a, torch.Tensor)])
        self.arguments = {name: self._argument(name, arguments[name]) for name in names}
        programs = [program for program in range(grid) if program not in missing]
        self.turns = Turns(programs, order)
        threads = [
            threading.Thread(target=self._run, args=(function, program), daemon=True)
            for program in programs
        ]
        for thread in threads:
            thread.start()
        self.turns.next()
        deadline = time.monotonic() + PATIENCE
        for thread in threads:
            thread.join(max(0, deadline - time.monotonic()))
        if self.errors:
            raise self.errors[0]
        if any(thread.is_alive() for thread in threads):
            raise TimeoutError("a kernel does not end")

    def _argument(self, name, value):
        if isinstance(value, torch.Tensor):
            assert value.is_contiguous(), name
            assert value.data_ptr() % 16 == 0, f"{name} is misaligned"
            return Pointer(value.data_ptr(), value.dtype)
        if name in ("T", "B", "H", "D", "G", "NPARTS", "has_dy"):
            return Value(torch.tensor(value, dtype=torch.int32))
        return value

    def _run(self, function, program):
        _running.launch, _running.program = self, program
        self.turns.begin(program)
        try:
            with torch.no_grad():
                if not self.turns.failed:
                    function(**self.arguments)
        except BaseException as error:
            self.errors.append(error)
            self.turns.failed = True
        self.turns.next()
