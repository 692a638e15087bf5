// CUB: device-wide and block-wide algorithms against the standard library.
#include <algorithm>
#include <cstdio>
#include <cub/cub.cuh>
#include <map>
#include <numeric>
#include <vector>

namespace {

int failures = 0;
void expect(const char* name, bool ok) {
  printf("%s %s\n", ok ? "ok  " : "FAIL", name);
  failures += !ok;
}
template <class T>
struct Buffer {
  T* p;
  size_t n;
  explicit Buffer(size_t count) : n(count) { cudaMalloc(&p, n * sizeof(T)); }
  explicit Buffer(const std::vector<T>& v) : Buffer(v.size()) { cudaMemcpy(p, v.data(), n * sizeof(T), cudaMemcpyHostToDevice); }
  ~Buffer() { cudaFree(p); }
  std::vector<T> read() const {
    std::vector<T> v(n);
    cudaMemcpy(v.data(), p, n * sizeof(T), cudaMemcpyDeviceToHost);
    return v;
  }
};
// Calls a CUB algorithm twice: for the size of its temporary storage, then for the work.
template <class F>
bool run(F f) {
  size_t bytes = 0;
  if (f(nullptr, bytes) != cudaSuccess) return false;
  Buffer<char> temporary(bytes + 1);
  return f(temporary.p, bytes) == cudaSuccess && cudaDeviceSynchronize() == cudaSuccess;
}

template <int Threads, int Items>
__global__ void block_kernel(const int* in, int* sorted, int* scanned, int* total, int* histogram) {
  using Load = cub::BlockLoad<int, Threads, Items, cub::BLOCK_LOAD_TRANSPOSE>;
  using Sort = cub::BlockRadixSort<int, Threads, Items>;
  using Merge = cub::BlockMergeSort<int, Threads, Items>;
  using Scan = cub::BlockScan<int, Threads>;
  using Reduce = cub::BlockReduce<int, Threads>;
  using Histogram = cub::BlockHistogram<unsigned char, Threads, Items, 64>;
  __shared__ union {
    typename Load::TempStorage load;
    typename Sort::TempStorage sort;
    typename Merge::TempStorage merge;
    typename Scan::TempStorage scan;
    typename Reduce::TempStorage reduce;
    typename Histogram::TempStorage histogram;
  } s;
  __shared__ int bins[64];
  int v[Items], w[Items];
  Load(s.load).Load(in, v);
  __syncthreads();
  unsigned char b[Items];
  for (int i = 0; i < Items; ++i) w[i] = v[i], b[i] = (unsigned char)(unsigned(v[i]) % 64);
  Scan(s.scan).ExclusiveSum(w, w);
  for (int i = 0; i < Items; ++i) scanned[threadIdx.x * Items + i] = w[i];
  __syncthreads();
  const int sum = Reduce(s.reduce).Sum(v);
  if (threadIdx.x == 0) *total = sum;
  __syncthreads();
  Histogram(s.histogram).Histogram(b, bins);
  __syncthreads();
  for (int i = threadIdx.x; i < 64; i += Threads) histogram[i] = bins[i];
  if (blockIdx.x == 0)
    Sort(s.sort).Sort(v);
  else
    Merge(s.merge).Sort(v, [](int x, int y) { return x < y; });
  for (int i = 0; i < Items; ++i) sorted[blockIdx.x * Threads * Items + threadIdx.x * Items + i] = v[i];
}

void block_algorithms(const std::vector<int>& all) {
  constexpr int threads = 64, items = 5, n = threads * items;
  const std::vector<int> v(all.begin(), all.begin() + n);
  Buffer<int> in(v), sorted(2 * n), scanned(n), total(1), histogram(64);
  block_kernel<threads, items><<<2, threads>>>(in.p, sorted.p, scanned.p, total.p, histogram.p);
  std::vector<int> want = v, sums(n), bins(64);
  std::sort(want.begin(), want.end());
  std::exclusive_scan(v.begin(), v.end(), sums.begin(), 0);
  for (int x : v) ++bins[unsigned(x) % 64];
  const auto got = sorted.read();
  expect("block sorts", std::equal(want.begin(), want.end(), got.begin()) && std::equal(want.begin(), want.end(), got.begin() + n));
  expect("block scan", scanned.read() == sums);
  expect("block reduce", total.read()[0] == std::accumulate(v.begin(), v.end(), 0));
  expect("block histogram", histogram.read() == bins);
}

}  // namespace

int main() {
  const int n = 5000;
  std::vector<int> v(n), sum(n);
  unsigned x = 1;
  for (int& e : v) e = int((x = x * 1664525u + 1013904223u) >> 12) % 2000 - 1000;
  block_algorithms(v);
  Buffer<int> in(v), out(n), one(1);
  expect("reduce", run([&](void* t, size_t& b) { return cub::DeviceReduce::Sum(t, b, in.p, one.p, n); }) &&
                       one.read()[0] == std::accumulate(v.begin(), v.end(), 0));
  expect("minimum", run([&](void* t, size_t& b) { return cub::DeviceReduce::Min(t, b, in.p, one.p, n); }) &&
                        one.read()[0] == *std::min_element(v.begin(), v.end()));
  std::inclusive_scan(v.begin(), v.end(), sum.begin());
  expect("scan", run([&](void* t, size_t& b) { return cub::DeviceScan::InclusiveSum(t, b, in.p, out.p, n); }) && out.read() == sum);
  std::vector<int> sorted = v, values(n);
  std::iota(values.begin(), values.end(), 0);
  std::stable_sort(values.begin(), values.end(), [&](int a, int b) { return v[a] < v[b]; });
  std::sort(sorted.begin(), sorted.end());
  std::vector<int> index(n);
  std::iota(index.begin(), index.end(), 0);
  Buffer<int> index_in(index), index_out(n);
  expect("radix sort of pairs",
         run([&](void* t, size_t& b) { return cub::DeviceRadixSort::SortPairs(t, b, in.p, out.p, index_in.p, index_out.p, n); }) &&
             out.read() == sorted && index_out.read() == values);
  std::vector<int> even;
  for (int e : v)
    if (e % 2 == 0) even.push_back(e);
  expect("select", run([&](void* t, size_t& b) {
                     return cub::DeviceSelect::If(t, b, in.p, out.p, one.p, n, [] __device__(int e) { return e % 2 == 0; });
                   }) &&
                       one.read()[0] == int(even.size()) && std::equal(even.begin(), even.end(), out.read().begin()));
  std::vector<int> bins(10);
  for (int e : v) ++bins[(e + 1000) / 200];
  Buffer<int> histogram(10);
  expect("histogram",
         run([&](void* t, size_t& b) { return cub::DeviceHistogram::HistogramEven(t, b, in.p, histogram.p, 11, -1000, 1000, n); }) &&
             histogram.read() == bins);
  std::vector<int> runs(n);
  for (int i = 0; i < n; ++i) runs[i] = i / 7 % 3;
  Buffer<int> run_in(runs), unique(n), counts(n);
  const int groups = (n + 6) / 7;
  expect("run-length encoding",
         run([&](void* t, size_t& b) { return cub::DeviceRunLengthEncode::Encode(t, b, run_in.p, unique.p, counts.p, one.p, n); }) &&
             one.read()[0] == groups && counts.read()[0] == 7 && counts.read()[groups - 1] == n - 7 * (groups - 1));
  std::vector<int> offsets{0, 10, 10, 1000, 3333, n}, segments;
  for (size_t i = 0; i + 1 < offsets.size(); ++i)
    segments.push_back(std::accumulate(v.begin() + offsets[i], v.begin() + offsets[i + 1], 0));
  Buffer<int> off(offsets), segment_sums(segments.size());
  expect("segmented reduce", run([&](void* t, size_t& b) {
                               return cub::DeviceSegmentedReduce::Sum(t, b, in.p, segment_sums.p, int(segments.size()), off.p, off.p + 1);
                             }) &&
                                 segment_sums.read() == segments);
  std::vector<int> merged = v;
  Buffer<int> in_place(v);
  expect("merge sort", run([&](void* t, size_t& b) {
                         return cub::DeviceMergeSort::SortKeys(t, b, in_place.p, n, [] __device__(int a, int b) { return a < b; });
                       }) &&
                           in_place.read() == sorted);
  return failures != 0;
}
