#pragma once
// Sizes of a tensor's dimensions, or its strides. In place, not on the heap: an op makes a dozen of them.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "core/error.h"
#include "ops/backend.h"

namespace heddle {

std::string too_many_dimensions(size_t rank);  // "<op>: at most 8 dimensions, got 9"

class Shape {
 public:
  using value_type = int64_t;
  using iterator = int64_t*;
  using const_iterator = const int64_t*;

  Shape() = default;
  explicit Shape(size_t rank, int64_t value = 0) { assign(rank, value); }
  Shape(std::initializer_list<int64_t> sizes) : Shape(sizes.begin(), sizes.end()) {}
  Shape(const int64_t* first, const int64_t* last) { append(first, last); }

  size_t size() const { return rank_; }
  bool empty() const { return rank_ == 0; }
  int64_t& operator[](size_t i) { return sizes_[i]; }
  int64_t operator[](size_t i) const { return sizes_[i]; }
  int64_t& back() { return sizes_[rank_ - 1]; }
  int64_t back() const { return sizes_[rank_ - 1]; }
  int64_t* begin() { return sizes_.data(); }
  int64_t* end() { return begin() + rank_; }
  const int64_t* begin() const { return sizes_.data(); }
  const int64_t* end() const { return begin() + rank_; }

  void assign(size_t rank, int64_t value) {
    resize(rank);
    std::fill(begin(), end(), value);
  }
  void push_back(int64_t size) {
    resize(rank_ + 1);
    back() = size;
  }
  void append(const int64_t* first, const int64_t* last) {
    const size_t before = rank_;
    resize(before + static_cast<size_t>(last - first));
    std::copy(first, last, begin() + before);
  }
  void append(std::initializer_list<int64_t> sizes) { append(sizes.begin(), sizes.end()); }

  bool operator==(const Shape& other) const { return std::equal(begin(), end(), other.begin(), other.end()); }

 private:
  void resize(size_t rank) {
    if (rank > kMaxRank) throw OpError(too_many_dimensions(rank));
    rank_ = rank;
  }

  size_t rank_ = 0;
  std::array<int64_t, kMaxRank> sizes_;
};

}  // namespace heddle
