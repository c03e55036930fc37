#include "stack.h"

#include "workspace.h"

namespace check {

using namespace fastlstm;

Stack::Stack(const Kernels& kernels, const Problem& problem, Pass pass, int threads)
    : kernels_(kernels), problem_(problem) {
  each_input(
      [&](const char*, const Doubles& from, Buffer& to) {
        to = Buffer(from.size(), problem.type);
        to.set(from);
      },
      problem.inputs, in_);
  if (pass == Pass::kStream) {
    const auto widen = [](const Doubles& from, Buffer& to) {
      to = Buffer(from.size(), Type::kFloat32);
      to.set(from);
    };
    widen(problem.inputs.x, in_.x);
  }
  for (int64_t l = 0; l < kLayers; ++l) {
    shapes_[l] = problem.shape(threads);
    if (l > 0) shapes_[l].input = shapes_[l].output();
  }
  results_.reserve(100);
  x_ = Mapped(in_.x, problem);
  dy_ = Mapped(in_.dy, problem);
  forward(pass);
  if (pass == Pass::kTraining) backward();
  intact_ = intact_ && x_.intact() && dy_.intact();
}

bool Stack::intact() const {
  bool all = intact_;
  for (const Buffer& buffer : results_) all = all && buffer.intact();
  for (const Layer& layer : layers_) all = all && layer.gates.intact() && layer.c.intact();
  return all;
}

void* Stack::result(size_t count, Type type) {
  results_.emplace_back(count, type);
  return results_.back().data();
}

void Stack::forward(Pass pass) {
  const Type type = pass == Pass::kInt8 ? Type::kInt8 : problem_.type;
  const bool stream = pass == Pass::kStream || pass == Pass::kInt8;
  const bool wide = stream && type != Type::kFloat32;
  const Type outer = stream ? Type::kFloat32 : problem_.type;
  ForwardArgs args[kLayers] = {};
  for (int64_t l = 0; l < kLayers; ++l) {
    const Shape& shape = shapes_[l];
    const int64_t units = shape.offsets[shape.steps] * shape.padded();
    const Weights<Buffer>& weights = in_.weights[0];
    args[l].shape = shape;
    args[l].type = type;
    args[l].wide = wide;
    args[l].wide_c = stream;
    args[l].weights[0] = {(l > 0 ? weights.hh : weights.ih).data(), weights.hh.data(),
                          weights.bias_ih.data(), weights.bias_hh.data(), weights.hr.data()};
    args[l].x = x_.data();
    args[l].h_0 = in_.h_0.data();
    args[l].c_0 = in_.c_0.data();
    if (pass == Pass::kTraining || l + 1 == kLayers) {
      const int64_t rows = l + 1 == kLayers ? problem_.room() : shape.offsets[shape.steps];
      args[l].y = y_[l] = result(rows * shape.output(), outer);
    }
    args[l].h_n = result(shape.batch * shape.output(), outer);
    args[l].c_n = result(shape.batch * shape.hidden, outer);
    if (stream) {
      results_[results_.size() - 2].set(problem_.inputs.h_0);
      results_[results_.size() - 1].set(problem_.inputs.c_0);
      args[l].h_0 = args[l].h_n;
      args[l].c_0 = args[l].c_n;
      packed_[l] = Buffer(kernels_.packed_size(shape, type), Type::kFloat32);
      args[l].packed[0] = static_cast<float*>(packed_[l].data());
      kernels_.pack(shape, type, args[l].weights[0], static_cast<float*>(packed_[l].data()));
    }
    if (pass != Pass::kTraining) continue;
    layers_[l] = {Buffer(kGates * units, problem_.type), Buffer(units, Type::kFloat32)};
    args[l].gates = layers_[l].gates.data();
    args[l].c = static_cast<float*>(layers_[l].c.data());
  }
  args[0].x_rows = args[kLayers - 1].y_rows = problem_.rows();
  const size_t bytes = kernels_.forward_workspace(args, kLayers);
  const Workspace workspace(bytes + 2 * Guarded::kGuard);
  const Guarded guarded(workspace.data(), bytes, 0);
  kernels_.forward(args, kLayers, guarded.data());
  intact_ = intact_ && guarded.intact();
}

void Stack::backward() {
  const auto out = [&](size_t count) { return result(count, problem_.type); };
  BackwardArgs args[kLayers] = {};
  for (int64_t l = 0; l < kLayers; ++l) {
    const Shape& shape = shapes_[l];
    const Weights<Buffer>& weights = in_.weights[0];
    args[l].shape = shape;
    args[l].type = problem_.type;
    args[l].weights[0] = {(l > 0 ? weights.hh : weights.ih).data(), weights.hh.data(),
                          weights.bias_ih.data(), weights.bias_hh.data(), weights.hr.data()};
    args[l].x = x_.data();
    args[l].h_0 = in_.h_0.data();
    args[l].c_0 = in_.c_0.data();
    args[l].y = y_[l];
    args[l].gates = layers_[l].gates.data();
    args[l].c = static_cast<const float*>(layers_[l].c.data());
    args[l].dy = dy_.data();
    args[l].dh_n = in_.dh_n.data();
    args[l].dc_n = in_.dc_n.data();
    args[l].dx = l > 0 || problem_.is(kNoDx) ? nullptr : out(problem_.room() * shape.input);
    args[l].dh_0 = out(shape.batch * shape.output());
    args[l].dc_0 = out(shape.batch * shape.hidden);
    args[l].wants_dweights = !problem_.is(kNoDweights);
    if (!args[l].wants_dweights) continue;
    const int64_t gates = kGates * shape.hidden;
    const int64_t biases = problem_.is(kNoBias) ? 0 : gates;
    args[l].dweights[0] = {out(gates * shape.input), out(gates * shape.output()), out(biases),
                           out(biases), out(shape.projection * shape.hidden)};
  }
  args[0].x_rows = args[kLayers - 1].y_rows = problem_.rows();
  const size_t bytes = kernels_.backward_workspace(args, kLayers);
  const Workspace workspace(bytes + 2 * Guarded::kGuard);
  const Guarded guarded(workspace.data(), bytes, 0);
  kernels_.backward(args, kLayers, guarded.data());
  intact_ = intact_ && guarded.intact();
}

}  // namespace check
