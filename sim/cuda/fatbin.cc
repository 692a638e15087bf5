// The fat-binary container.  Its layout is not documented; what follows was read off
// objects made by nvcc 13.0:
//   wrapper (fatbinary_section.h): magic 0x466243b1, version, pointer to the container
//   container: u32 magic 0xba55ed50, u16 version 1, u16 header bytes 16, u64 payload bytes, entries
//   entry: EntryHeader, file name and ptxas options, then `size` bytes of payload
#include "sim/cuda/fatbin.h"

#include <dlfcn.h>

namespace sim {
namespace {

struct Wrapper {
  uint32_t magic, version;
  const uint8_t* data;
  const void* filename_or_fatbins;
};
struct Container {
  uint32_t magic;
  uint16_t version, header_size;
  uint64_t size;
};
struct EntryHeader {
  uint16_t kind, version;
  uint32_t header_size;
  uint64_t size;  // padded
  uint32_t compressed_size, options_offset;
  uint16_t minor, major;
  uint32_t arch;
  uint32_t name_offset, name_length;
  uint64_t flags, reserved, uncompressed_size;
};
static_assert(sizeof(EntryHeader) == 64);

constexpr uint16_t kPtx = 1;
constexpr uint64_t kLz4 = 0x2000, kZstd = 0x8000;

std::string inflate_zstd(const uint8_t* data, size_t size, size_t uncompressed) {
  using Decompress = size_t (*)(void*, size_t, const void*, size_t);
  static auto decompress = [] {
    void* lib = dlopen("libzstd.so.1", RTLD_NOW);
    return lib ? reinterpret_cast<Decompress>(dlsym(lib, "ZSTD_decompress")) : nullptr;
  }();
  if (!decompress) fail("the embedded PTX is compressed and libzstd.so.1 is missing: compile with nvcc --no-compress");
  std::string out(uncompressed, '\0');
  if (decompress(out.data(), out.size(), data, size) != uncompressed) fail("damaged zstd stream in the fat binary");
  return out;
}

std::string target_of(const std::string& text) {
  size_t p = text.find(".target");
  if (p == std::string::npos) return "";
  p = text.find_first_not_of(" \t", p + 7);
  return text.substr(p, text.find_first_of(" \t\r\n,", p) - p);
}

PtxImage image_of(std::string text) {
  PtxImage image;
  image.text = std::move(text);
  image.target = target_of(image.text);
  image.arch = image.target.rfind("sm_", 0) == 0 ? atoi(image.target.c_str() + 3) : 0;
  const char last = image.target.empty() ? '0' : image.target.back();
  image.suffix = isalpha(static_cast<unsigned char>(last)) ? last : 0;
  return image;
}

constexpr uint32_t kWrapperMagic = 0x466243b1, kContainerMagic = 0xba55ed50;

std::vector<PtxImage> images_in(const uint8_t* container) {
  const Container& c = *reinterpret_cast<const Container*>(container);
  if (c.magic != kContainerMagic) fail("fat binary: bad magic %08x", c.magic);
  std::vector<PtxImage> images;
  const uint8_t* p = container + c.header_size;
  const uint8_t* end = p + c.size;
  while (p + sizeof(EntryHeader) <= end) {
    const EntryHeader& e = *reinterpret_cast<const EntryHeader*>(p);
    const uint8_t* payload = p + e.header_size;
    if (e.kind == kPtx) {
      std::string text;
      if (e.flags & kZstd)
        text = inflate_zstd(payload, e.compressed_size, e.uncompressed_size);
      else if (e.flags & kLz4 || e.compressed_size)
        fail("unknown compression of the embedded PTX (flags %#lx): compile with nvcc --no-compress", e.flags);
      else
        text.assign(reinterpret_cast<const char*>(payload), e.size);
      text.resize(strnlen(text.data(), text.size()));
      images.push_back(image_of(std::move(text)));
    }
    p = payload + e.size;
  }
  return images;
}

}  // namespace

std::vector<PtxImage> ptx_images(const void* wrapper) {
  const Wrapper& w = *static_cast<const Wrapper*>(wrapper);
  if (w.magic != kWrapperMagic) fail("fat binary wrapper: bad magic %08x", w.magic);
  return images_in(w.data);
}

std::vector<PtxImage> images_of(const void* data) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint32_t magic = 0;
  const size_t n = strnlen(static_cast<const char*>(data), sizeof(magic));
  if (n == sizeof(magic)) memcpy(&magic, data, n);
  if (magic == kWrapperMagic) return ptx_images(data);
  if (magic == kContainerMagic) return images_in(bytes);
  if (magic == 0x464c457f) fail("a cubin is machine code, which the simulator cannot execute: load PTX");
  PtxImage image = image_of(static_cast<const char*>(data));
  if (!image.arch) fail("neither PTX with a .target sm_NN nor a fat binary");
  return {std::move(image)};
}

const PtxImage* choose_image(const std::vector<PtxImage>& images, int arch) {
  const PtxImage* best = nullptr;
  int best_rank = -1;
  for (const PtxImage& i : images) {
    // 11.1.2 .target: `a` runs on that architecture alone, `f` on later ones of the same family, plain targets on every later one.
    const bool runs = i.suffix == 'a' ? i.arch == arch : i.suffix == 'f' ? i.arch / 10 == arch / 10 && i.arch <= arch : i.arch <= arch;
    const int rank = i.arch * 4 + (i.suffix == 'a' ? 2 : i.suffix == 'f' ? 1 : 0);
    if (runs && rank > best_rank) best = &i, best_rank = rank;
  }
  return best;
}

}  // namespace sim
