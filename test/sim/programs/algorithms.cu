// Thrust, and CUB's algorithms beyond test/sim/programs/cub.cu: keys of other types, scans and reductions by key, custom operators,
// arg-minimum, partitions, segmented sorts, transforms, batched copies.
#include <thrust/binary_search.h>
#include <thrust/device_vector.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>
#include <thrust/reduce.h>
#include <thrust/sequence.h>
#include <thrust/sort.h>
#include <thrust/transform.h>
#include <thrust/unique.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cub/cub.cuh>
#include <functional>
#include <map>
#include <numeric>
#include <random>
#include <vector>

#include "check.h"

namespace {

template <class T>
std::vector<T> host(const thrust::device_vector<T>& v) {
  std::vector<T> h(v.size());
  thrust::copy(v.begin(), v.end(), h.begin());
  return h;
}
// Calls a CUB algorithm twice: for the size of its temporary storage, then for the work.
template <class F>
bool run(F f) {
  size_t bytes = 0;
  if (f(nullptr, bytes) != cudaSuccess) return false;
  thrust::device_vector<char> storage(bytes + 1);
  return f(thrust::raw_pointer_cast(storage.data()), bytes) == cudaSuccess && cudaDeviceSynchronize() == cudaSuccess;
}

struct Norm {
  __host__ __device__ double operator()(float x) const { return double(x) * x; }
};
struct Larger {
  __host__ __device__ double operator()(double a, double b) const { return a > b ? a : b; }
};

void check_thrust() {
  const int n = 3000;
  std::mt19937 random(5);
  std::vector<float> x(n);
  std::vector<int> key(n);
  for (int i = 0; i < n; ++i) x[i] = float(int(random() % 2001) - 1000) / 8, key[i] = int(random() % 40);
  thrust::device_vector<float> dx(x.begin(), x.end());
  thrust::device_vector<int> dkey(key.begin(), key.end());
  double norm = 0;
  for (float e : x) norm += double(e) * e;
  expect("transform_reduce", thrust::transform_reduce(dx.begin(), dx.end(), Norm(), 0.0, thrust::plus<double>()) == norm);

  thrust::sort_by_key(dkey.begin(), dkey.end(), dx.begin());
  std::map<int, std::pair<int, float>> groups;
  for (int i = 0; i < n; ++i) ++groups[key[i]].first, groups[key[i]].second += x[i];
  thrust::device_vector<int> keys(n), counts(n);
  thrust::device_vector<float> sums(n);
  const auto ends = thrust::reduce_by_key(dkey.begin(), dkey.end(), dx.begin(), keys.begin(), sums.begin());
  const auto k = host(keys);
  const auto s = host(sums);
  bool ok = ends.first - keys.begin() == int(groups.size());
  size_t at = 0;
  for (const auto& [value, group] : groups) ok &= k[at] == value && s[at] == group.second, ++at;
  expect("sort and reduce by key", ok);

  thrust::device_vector<int> sorted(n);
  sorted.erase(thrust::unique_copy(dkey.begin(), dkey.end(), sorted.begin()), sorted.end());
  thrust::device_vector<int> found(n);
  thrust::lower_bound(sorted.begin(), sorted.end(), dkey.begin(), dkey.end(), found.begin());
  ok = sorted.size() == groups.size();
  const auto f = host(found), order = host(dkey);
  for (int i = 0; i < n; ++i) ok &= std::next(groups.begin(), f[i])->first == order[i];
  expect("unique and binary search", ok);

  auto squares = thrust::make_transform_iterator(thrust::counting_iterator<int>(0), [] __device__(int i) { return i * i; });
  thrust::device_vector<int> scanned(100);
  thrust::exclusive_scan(squares, squares + 100, scanned.begin());
  expect("iterators", scanned[99] == 98 * 99 * 197 / 6 && thrust::count_if(dx.begin(), dx.end(), [] __device__(float e) {
                                                            return e > 0;
                                                          }) == std::count_if(x.begin(), x.end(), [](float e) { return e > 0; }));
}

void check_cub() {
  const int n = 5000;
  std::mt19937 random(6);
  std::vector<double> x(n), sorted;
  std::vector<unsigned long long> wide(n);
  for (int i = 0; i < n; ++i) x[i] = double(int(random() % 20001) - 10000) / 16, wide[i] = (unsigned long long)(random()) << 32 | random();
  thrust::device_vector<double> dx(x.begin(), x.end()), out(n), one(1);
  thrust::device_vector<unsigned long long> dwide(wide.begin(), wide.end()), wide_out(n);
  auto p = [](auto& v) { return thrust::raw_pointer_cast(v.data()); };

  sorted = x;
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  expect("radix sort, double, descending",
         run([&](void* t, size_t& b) { return cub::DeviceRadixSort::SortKeysDescending(t, b, p(dx), p(out), n); }) && host(out) == sorted);
  std::vector<unsigned long long> by_bits = wide;
  std::stable_sort(by_bits.begin(), by_bits.end(), [](auto a, auto b) { return (a >> 8 & 0xfffff) < (b >> 8 & 0xfffff); });
  expect("radix sort, some of 64 bits",
         run([&](void* t, size_t& b) { return cub::DeviceRadixSort::SortKeys(t, b, p(dwide), p(wide_out), n, 8, 28); }) &&
             host(wide_out) == by_bits);

  thrust::device_vector<int> place(1), flags(n), count(1);
  expect("custom reduction", run([&](void* t, size_t& b) { return cub::DeviceReduce::Reduce(t, b, p(dx), p(one), n, Larger(), -1e300); }) &&
                                 one[0] == sorted.front());
  expect("minimum and its place", run([&](void* t, size_t& b) { return cub::DeviceReduce::ArgMin(t, b, p(dx), p(one), p(place), n); }) &&
                                      one[0] == sorted.back() && x[int(place[0])] == sorted.back());
  std::vector<double> running(n);
  std::partial_sum(x.begin(), x.end(), running.begin(), [](double a, double b) { return std::max(a, b); });
  expect("scan with an operator",
         run([&](void* t, size_t& b) { return cub::DeviceScan::InclusiveScan(t, b, p(dx), p(out), Larger(), n); }) && host(out) == running);
  std::vector<int> segment(n);
  for (int i = 0; i < n; ++i) segment[i] = i / 123;
  for (int i = 0; i < n; ++i) running[i] = i % 123 ? running[i - 1] + x[i - 1] : 0;
  thrust::device_vector<int> dsegment(segment.begin(), segment.end());
  expect("scan by key", run([&](void* t, size_t& b) { return cub::DeviceScan::ExclusiveSumByKey(t, b, p(dsegment), p(dx), p(out), n); }) &&
                            host(out) == running);

  auto positive = [] __device__(double e) { return e > 0; };
  expect("partition", run([&](void* t, size_t& b) { return cub::DevicePartition::If(t, b, p(dx), p(out), p(count), n, positive); }) &&
                          count[0] == std::count_if(x.begin(), x.end(), [](double e) { return e > 0; }));
  std::vector<double> parted = x, reference;
  std::copy_if(x.begin(), x.end(), std::back_inserter(reference), [](double e) { return e > 0; });
  std::vector<double> rest;
  std::copy_if(x.rbegin(), x.rend(), std::back_inserter(rest), [](double e) { return !(e > 0); });
  reference.insert(reference.end(), rest.begin(), rest.end());
  expect("order of a partition", host(out) == reference);

  const std::vector<int> offsets{0, 1, 40, 40, 900, 2500, n};
  thrust::device_vector<int> begin(offsets.begin(), offsets.end());
  sorted = x;
  for (size_t s = 0; s + 1 < offsets.size(); ++s) std::sort(sorted.begin() + offsets[s], sorted.begin() + offsets[s + 1]);
  const int segments = int(offsets.size()) - 1;
  expect("segmented sort", run([&](void* t, size_t& b) {
                             return cub::DeviceSegmentedSort::SortKeys(t, b, p(dx), p(out), n, segments, p(begin), p(begin) + 1);
                           }) &&
                               host(out) == sorted);
  expect("segmented radix sort", run([&](void* t, size_t& b) {
                                   return cub::DeviceSegmentedRadixSort::SortKeys(t, b, p(dx), p(out), n, segments, p(begin), p(begin) + 1);
                                 }) &&
                                     host(out) == sorted);

  cub::DeviceTransform::Transform(::cuda::std::make_tuple(p(dx), p(dsegment)), p(out), n, [] __device__(double a, int b) { return a * b; });
  for (int i = 0; i < n; ++i) running[i] = x[i] * segment[i];
  expect("transform", cudaDeviceSynchronize() == cudaSuccess && host(out) == running);
  int* seen = p(flags);
  expect("for each", cub::DeviceFor::Bulk(n, [=] __device__(int i) { seen[i] = i ^ 5; }) == cudaSuccess &&
                         cudaDeviceSynchronize() == cudaSuccess && flags[777] == (777 ^ 5));

  const std::vector<double*> from{p(dx), p(dx) + 10, p(dx) + 3000}, to{p(out) + 4000, p(out), p(out) + 100};
  const std::vector<size_t> bytes{7 * 8, 90 * 8, 1900 * 8};
  thrust::device_vector<double*> dfrom(from.begin(), from.end()), dto(to.begin(), to.end());
  thrust::device_vector<size_t> dbytes(bytes.begin(), bytes.end());
  bool ok = run([&](void* t, size_t& b) { return cub::DeviceMemcpy::Batched(t, b, p(dfrom), p(dto), p(dbytes), 3); });
  const auto copied = host(out);
  ok &= std::equal(x.begin(), x.begin() + 7, copied.begin() + 4000) && std::equal(x.begin() + 10, x.begin() + 100, copied.begin());
  expect("batched copies", ok && std::equal(x.begin() + 3000, x.begin() + 4900, copied.begin() + 100));
}

}  // namespace

int main() {
  check_thrust();
  check_cub();
  return bad != 0;
}
