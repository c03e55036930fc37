#include "weight_cache.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <list>
#include <mutex>
#include <vector>

#include "fork.h"
#include "threads.h"
#include "workspace.h"

namespace fastlstm {
namespace {

constexpr std::size_t kMostBytes = std::size_t{256} << 20;  // kept in all
constexpr std::size_t kMostEntries = 64;
constexpr std::int64_t kPiece = 1 << 16;  // bytes that one fingerprint covers

struct Matrix {
  const char* data;
  std::int64_t bytes;
  std::int64_t rows;
};

// ih, hh, bias_ih, bias_hh, hr; what is not there has no bytes.
std::array<Matrix, 5> matrices(const Shape& shape, std::int64_t element,
                               const Weights<const void*>& weights) {
  const std::int64_t rows = kGates * shape.hidden;
  const std::int64_t gates = rows * element;
  const std::int64_t bias = weights.bias_ih ? gates : 0;
  const std::int64_t hr = weights.hr ? shape.projection * shape.hidden * element : 0;
  const auto at = [](const void* p) { return static_cast<const char*>(p); };
  return {{{at(weights.ih), gates * shape.input, rows},
           {at(weights.hh), gates * shape.output(), rows},
           {at(weights.bias_ih), bias, rows},
           {at(weights.bias_hh), bias, rows},
           {at(weights.hr), hr, shape.projection}}};
}

struct Pieces {
  const Kernels& kernels;
  std::vector<Matrix> of;
  std::vector<std::uint64_t> fingerprints;
};

std::uint64_t fingerprint(const Kernels& kernels, const Shape& shape,
                          const std::array<Matrix, 5>& weights) {
  Pieces pieces{kernels, {}, {}};
  for (const Matrix& matrix : weights) {
    for (std::int64_t at = 0; at < matrix.bytes; at += kPiece) {
      pieces.of.push_back({matrix.data + at, std::min(kPiece, matrix.bytes - at)});
    }
  }
  pieces.fingerprints.resize(pieces.of.size());
  const auto take = [](std::int64_t begin, std::int64_t end, void* context) {
    Pieces& p = *static_cast<Pieces*>(context);
    for (std::int64_t i = begin; i < end; ++i) {
      p.fingerprints[i] = p.kernels.fingerprint(p.of[i].data, p.of[i].bytes);
    }
  };
  const std::int64_t count = static_cast<std::int64_t>(pieces.of.size());
  split_over_threads(Team(shape, count, false).size(), count, take, &pieces);
  std::uint64_t all = 0;
  for (const std::uint64_t piece : pieces.fingerprints) {
    all = (all ^ piece) * 0x9e3779b97f4a7c15;
    all ^= all >> 29;
  }
  return all;
}

struct Key {
  const Kernels* kernels;
  Type type;
  bool int8;
  std::int64_t input;  // the same bytes may be the weights of layers of other sizes
  std::int64_t hidden;
  std::array<Matrix, 5> weights;

  bool operator==(const Key& other) const {
    const auto same = [](const Matrix& a, const Matrix& b) {
      return a.data == b.data && a.bytes == b.bytes;
    };
    return kernels == other.kernels && type == other.type && int8 == other.int8 &&
           input == other.input && hidden == other.hidden &&
           std::equal(weights.begin(), weights.end(), other.weights.begin(), same);
  }
};

struct Entry {
  Key key;
  std::uint64_t fingerprint;
  Packed packed;  // null: seen once
  std::size_t bytes;
};

std::mutex mutex;
const bool held_across_forks = hold_across_forks<mutex>();

// The last used first. Never destroyed: a thread may outlive the end of main.
std::list<Entry>& entries() {
  static auto* list = new std::list<Entry>;
  return *list;
}

// Takes out the oldest entries, as many as are too many.
std::list<Entry> take_the_oldest() {
  std::size_t bytes = 0;
  std::size_t count = 0;
  auto entry = entries().begin();
  for (; entry != entries().end(); ++entry) {
    bytes += entry->packed ? entry->bytes : 0;
    if (bytes > kMostBytes || ++count > kMostEntries) break;
  }
  std::list<Entry> oldest;
  oldest.splice(oldest.end(), entries(), entry, entries().end());
  return oldest;
}

}  // namespace

Form form_of(const Kernels& kernels, const Shape& shape, bool bfloat16, const std::string& held,
             bool noisy) {
  constexpr std::int64_t kDeepest = 1 << 16;  // whose sums 32 bits hold
  if (held == "bf16") return {Type::kBFloat16, true, false};
  if (held != "int8") return {bfloat16 ? Type::kBFloat16 : Type::kFloat32, false, false};
  const bool fits =
      !shape.projection && std::max(shape.input, shape.directions * shape.hidden) <= kDeepest;
  if (kernels.multiplies_int8 && fits && !noisy) return {Type::kInt8, true, true};
  return {Type::kFloat32, false, true};
}

Packed pack_weights(const Kernels& kernels, const Shape& shape, const Form& form,
                    const Weights<const void*>& weights) {
  const std::size_t bytes = kernels.packed_size(shape, form.type) * sizeof(float);
  const auto block = std::make_shared<Workspace>(bytes);
  const Packed packed(block, static_cast<float*>(block->data()));
  if (form.type == Type::kInt8 || !form.rounds()) {
    kernels.pack(shape, form.type, weights, packed.get());
    return packed;
  }
  Weights<const void*> rounded = weights;
  std::vector<std::vector<char>> memory;
  const auto sources = matrices(shape, sizeof(float), weights);
  const std::array<const void**, 5> targets{&rounded.ih, &rounded.hh, &rounded.bias_ih,
                                            &rounded.bias_hh, &rounded.hr};
  for (std::size_t i = 0; i < sources.size(); ++i) {
    const bool is_bias = targets[i] == &rounded.bias_ih || targets[i] == &rounded.bias_hh;
    if (!sources[i].bytes || (form.int8 && is_bias)) continue;
    memory.emplace_back(sources[i].bytes);
    *targets[i] = memory.back().data();
    const auto* from = reinterpret_cast<const float*>(sources[i].data);
    const std::int64_t count = sources[i].bytes / static_cast<std::int64_t>(sizeof(float));
    if (form.int8) {
      const std::int64_t rows = sources[i].rows;
      kernels.round_to_int8(from, reinterpret_cast<float*>(memory.back().data()), rows,
                            count / rows);
    } else {
      kernels.round(from, reinterpret_cast<std::uint16_t*>(memory.back().data()), count);
    }
  }
  kernels.pack(shape, form.type, rounded, packed.get());
  return packed;
}

Packed cached_weights(const Kernels& kernels, const Shape& shape, const Form& form,
                      const Weights<const void*>& weights) {
  const std::size_t bytes = kernels.packed_size(shape, form.type) * sizeof(float);
  if (bytes > kMostBytes) {
    return form.rounds() ? pack_weights(kernels, shape, form, weights) : nullptr;
  }
  const Key key{&kernels,    form.type,    form.int8,
                shape.input, shape.hidden, matrices(shape, form.element(), weights)};
  const std::uint64_t now = fingerprint(kernels, shape, key.weights);
  bool seen = false;
  std::list<Entry> dropped;  // memory is freed after the lock is: freeing it takes another
  {
    const std::lock_guard<std::mutex> lock(mutex);
    const auto entry = std::find_if(entries().begin(), entries().end(),
                                    [&](const Entry& e) { return e.key == key; });
    if (entry != entries().end()) {
      seen = entry->fingerprint == now;
      if (seen && entry->packed) {
        entries().splice(entries().begin(), entries(), entry);
        return entry->packed;
      }
      dropped.splice(dropped.end(), entries(), entry);
    }
  }
  const bool packs = seen || form.rounds();
  const Packed packed = packs ? pack_weights(kernels, shape, form, weights) : nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  entries().push_front({key, now, packed, bytes});
  dropped.splice(dropped.end(), take_the_oldest());
  return packed;
}

}  // namespace fastlstm
