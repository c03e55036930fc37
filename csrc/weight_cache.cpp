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
};

// ih, hh, bias_ih, bias_hh, hr; what is not there has no bytes.
std::array<Matrix, 5> matrices(const Shape& shape, std::int64_t element,
                               const Weights<const void*>& weights) {
  const std::int64_t gates = kGates * shape.hidden * element;
  const std::int64_t bias = weights.bias_ih ? gates : 0;
  const std::int64_t hr = weights.hr ? shape.projection * shape.hidden * element : 0;
  const auto at = [](const void* p) { return static_cast<const char*>(p); };
  return {{{at(weights.ih), gates * shape.input},
           {at(weights.hh), gates * shape.output()},
           {at(weights.bias_ih), bias},
           {at(weights.bias_hh), bias},
           {at(weights.hr), hr}}};
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
  std::int64_t input;  // the same bytes may be the weights of layers of other sizes
  std::int64_t hidden;
  std::array<Matrix, 5> weights;

  bool operator==(const Key& other) const {
    const auto same = [](const Matrix& a, const Matrix& b) {
      return a.data == b.data && a.bytes == b.bytes;
    };
    return kernels == other.kernels && type == other.type && input == other.input &&
           hidden == other.hidden &&
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

Packed pack_weights(const Kernels& kernels, const Shape& shape, Type type, bool wide,
                    const Weights<const void*>& weights) {
  const std::size_t bytes = kernels.packed_size(shape, type) * sizeof(float);
  const auto block = std::make_shared<Workspace>(bytes);
  const Packed packed(block, static_cast<float*>(block->data()));
  if (!wide || type == Type::kFloat32) {
    kernels.pack(shape, type, weights, packed.get());
    return packed;
  }
  Weights<const void*> rounded = weights;
  std::vector<std::vector<std::uint16_t>> memory;
  const auto sources = matrices(shape, sizeof(float), weights);
  const std::array<const void**, 5> targets{&rounded.ih, &rounded.hh, &rounded.bias_ih,
                                            &rounded.bias_hh, &rounded.hr};
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (!sources[i].bytes) continue;
    const std::int64_t count = sources[i].bytes / static_cast<std::int64_t>(sizeof(float));
    memory.emplace_back(count);
    kernels.round(reinterpret_cast<const float*>(sources[i].data), memory.back().data(), count);
    *targets[i] = memory.back().data();
  }
  kernels.pack(shape, type, rounded, packed.get());
  return packed;
}

Packed cached_weights(const Kernels& kernels, const Shape& shape, Type type, bool wide,
                      const Weights<const void*>& weights) {
  const bool floats = wide || type == Type::kFloat32;
  const std::size_t bytes = kernels.packed_size(shape, type) * sizeof(float);
  if (bytes > kMostBytes) return wide ? pack_weights(kernels, shape, type, wide, weights) : nullptr;
  const Key key{&kernels, type, shape.input, shape.hidden,
                matrices(shape, floats ? 4 : 2, weights)};
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
  const Packed packed = seen || wide ? pack_weights(kernels, shape, type, wide, weights) : nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  entries().push_front({key, now, packed, bytes});
  dropped.splice(dropped.end(), take_the_oldest());
  return packed;
}

}  // namespace fastlstm
