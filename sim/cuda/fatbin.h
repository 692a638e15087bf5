// Finds PTX in the fat binary that nvcc embeds in an object.
#pragma once

#include "sim/ptx/common.h"

namespace sim {

struct PtxImage {
  std::string target;  // sm_80, sm_90a ...
  int arch = 0;        // 80, 90
  char suffix = 0;     // 'a', 'f' or 0
  std::string text;
};

// `wrapper` is what nvcc's constructor hands to __cudaRegisterFatBinary.
std::vector<PtxImage> ptx_images(const void* wrapper);

// What cuModuleLoadData takes: PTX text that ends with a zero byte, a fat binary, or nvcc's wrapper of one.
std::vector<PtxImage> images_of(const void* data);

// The image that the driver would compile for the card `arch`: the exact target with suffix if `arch`
// has that feature set, else the newest plain target not above it.  Null if there is none.
const PtxImage* choose_image(const std::vector<PtxImage>& images, int arch);

}  // namespace sim
