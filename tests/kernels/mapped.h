// A tensor whose rows stand where the problem's row map wants them.
#pragma once
#include "buffer.h"

namespace check {

// The rows of `packed` in a buffer of more rows, NaN in the others; or without a map `packed`
// itself, which must outlive it.
class Mapped {
 public:
  Mapped() = default;
  Mapped(const Buffer& packed, const Problem& problem) : packed_(&packed), problem_(&problem) {
    if (problem.map.empty() || !packed.data()) return;
    row_ = packed.bytes() / problem.map.size();
    const size_t size = packed.bytes() / packed.size();
    spread_ = Buffer(problem.room() * row_ / size, size == 4 ? Type::kFloat32 : Type::kBFloat16);
    copy([](unsigned char* packed, unsigned char* row, size_t count) {
      std::memcpy(row, packed, count);
    });
  }

  void* data() const { return spread_.data() ? spread_.data() : packed_->data(); }
  // Copies the rows back, where they are results.
  void gather() {
    copy([](unsigned char* packed, unsigned char* row, size_t count) {
      std::memcpy(packed, row, count);
    });
  }
  // Whether nobody wrote beside the rows, once they have been copied back: it spoils them.
  bool intact() {
    copy([](unsigned char*, unsigned char* row, size_t count) { std::memset(row, 0xff, count); });
    const auto* bytes = static_cast<const unsigned char*>(spread_.data());
    for (size_t i = 0; i < spread_.bytes(); ++i) {
      if (bytes[i] != 0xff) return false;
    }
    return spread_.intact();
  }

 private:
  // body(packed row, its place, bytes) for each row.
  template <class Body>
  void copy(Body body) {
    if (!spread_.data()) return;
    for (size_t n = 0; n < problem_->map.size(); ++n) {
      body(static_cast<unsigned char*>(packed_->data()) + n * row_,
           static_cast<unsigned char*>(spread_.data()) + problem_->map[n] * row_, row_);
    }
  }

  const Buffer* packed_ = nullptr;
  const Problem* problem_ = nullptr;
  size_t row_ = 0;  // bytes
  Buffer spread_;
};

}  // namespace check
