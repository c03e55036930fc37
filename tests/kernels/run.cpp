// A call as csrc/python/calls.cpp makes it.
#include "run.h"

#include "workspace.h"

namespace check {

using namespace fastlstm;

namespace {

template <class Pointer>
void set(Weights<Pointer>& to, const Weights<Buffer>& from) {
  to = {from.ih.data(), from.hh.data(), from.bias_ih.data(), from.bias_hh.data(), from.hr.data()};
}

}  // namespace

Run::Run(const Kernels& kernels, const Problem& problem, Mode mode, int threads)
    : kernels_(kernels), problem_(problem), shape_(problem.shape(threads)) {
  const auto fill = [&](const char*, const Doubles& from, Buffer& to) {
    to = Buffer(from.size(), problem.type);
    to.set(from);
  };
  each_input(fill, problem.inputs, in_);
  const auto allocate = [&](const char*, const Doubles& expected, Buffer& to) {
    to = Buffer(expected.size(), problem.type);
  };
  each_output(allocate, problem.expected, out_);
  each_gradient(allocate, problem.expected, out_);
  const Inputs<Doubles>& from = problem.inputs;
  const auto widen = [](Buffer& buffer) { buffer = Buffer(buffer.size(), Type::kFloat32); };
  if (mode == Mode::kWide) {
    for (Buffer* buffer : {&in_.x, &in_.h_0, &out_.y, &out_.h_n}) widen(*buffer);
    in_.x.set(from.x);
    in_.h_0.set(from.h_0);
  }
  if (mode == Mode::kWide || mode == Mode::kStream) {
    for (Buffer* buffer : {&in_.c_0, &out_.c_n}) widen(*buffer);
    in_.c_0.set(from.c_0);
  }
  if (mode == Mode::kStream) {
    out_.h_n.set(from.h_0);
    out_.c_n.set(from.c_0);
  }
  x_ = Mapped(in_.x, problem);
  y_ = Mapped(out_.y, problem);
  dy_ = Mapped(in_.dy, problem);
  dx_ = Mapped(out_.dx, problem);
  forward(mode);
  if (mode == Mode::kTraining) backward();
  inspect();
}

template <class Args>
void Run::call(void (*kernel)(const Args*, int64_t, void*), size_t (*bytes)(const Args*, int64_t),
               const Args& args) {
  const size_t needed = bytes(&args, 1);
  const Workspace workspace(needed + 2 * Guarded::kGuard);
  const Guarded guarded(workspace.data(), needed, 0);
  kernel(&args, 1, guarded.data());
  if (!guarded.intact()) overrun_ = "workspace";
}

void Run::forward(Mode mode) {
  ForwardArgs args{};
  args.shape = shape_;
  args.type = mode == Mode::kInt8 ? Type::kInt8 : problem_.type;
  args.wide = mode == Mode::kWide || mode == Mode::kInt8;
  args.wide_c = args.wide || mode == Mode::kStream;
  args.x = x_.data();
  args.h_0 = in_.h_0.data();
  args.c_0 = in_.c_0.data();
  args.y = y_.data();
  args.h_n = out_.h_n.data();
  args.c_n = out_.c_n.data();
  args.x_rows = args.y_rows = problem_.rows();
  if (mode == Mode::kStream) {
    args.h_0 = args.h_n;
    args.c_0 = args.c_n;
  }
  const int64_t units = shape_.offsets[shape_.steps] * shape_.directions * shape_.padded();
  if (mode == Mode::kTraining) {
    gates_ = Buffer(kGates * units, problem_.type);
    c_ = Buffer(units, Type::kFloat32);
    args.gates = gates_.data();
    args.c = static_cast<float*>(c_.data());
  }
  for (int64_t d = 0; d < shape_.directions; ++d) {
    set(args.weights[d], in_.weights[d]);
    if (mode == Mode::kTraining || mode == Mode::kInference) continue;
    packed_[d] = Buffer(kernels_.packed_size(shape_, args.type), Type::kFloat32);
    args.packed[d] = static_cast<float*>(packed_[d].data());
    kernels_.pack(shape_, args.type, args.weights[d], static_cast<float*>(packed_[d].data()));
  }
  call(kernels_.forward, kernels_.forward_workspace, args);
  y_.gather();
}

void Run::backward() {
  BackwardArgs args{};
  args.shape = shape_;
  args.type = problem_.type;
  args.x = x_.data();
  args.h_0 = in_.h_0.data();
  args.c_0 = in_.c_0.data();
  args.y = y_.data();
  args.gates = gates_.data();
  args.c = static_cast<float*>(c_.data());
  args.dy = dy_.data();
  args.dh_n = in_.dh_n.data();
  args.dc_n = in_.dc_n.data();
  args.dx = dx_.data();
  args.dh_0 = out_.dh_0.data();
  args.dc_0 = out_.dc_0.data();
  args.x_rows = args.y_rows = problem_.rows();
  args.wants_dweights = !problem_.is(kNoDweights);
  for (int64_t d = 0; d < shape_.directions; ++d) {
    set(args.weights[d], in_.weights[d]);
    set(args.dweights[d], out_.dweights[d]);
  }
  call(kernels_.backward, kernels_.backward_workspace, args);
  dx_.gather();
}

void Run::inspect() {
  const auto look = [&](const char* name, const Buffer& buffer) {
    if (!buffer.intact()) overrun_ = name;
  };
  each_input(look, in_);
  each_output(look, out_);
  each_gradient(look, out_);
  look("gates", gates_);
  look("c", c_);
  for (const Buffer& packed : packed_) look("packed", packed);
  for (Mapped* mapped : {&x_, &y_, &dy_, &dx_}) {
    if (!mapped->intact()) overrun_ = "mapped rows";
  }
}

}  // namespace check
