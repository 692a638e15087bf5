// A kernel ready to run: instructions decoded to handlers over a warp's register file.
//
// A warp's register file is one block of memory.  A 16- or 32-bit register takes 32 lanes of 4 bytes,
// a 64-bit register 32 lanes of 8 bytes, a predicate one 32-bit mask.  Immediates, addresses of
// variables and special registers are registers too, filled in beforehand, so that handlers see one
// kind of operand: the byte offset of a register.
#pragma once

#include <memory>

#include "sim/ptx/ptx.h"

namespace sim {

struct Warp;
struct Instr;
using Handler = void (*)(Warp& w, const Instr& i);

constexpr uint32_t kNone = ~0u;

struct Instr {
  Handler run = nullptr;
  uint32_t guard = kNone;  // predicate register
  bool guard_negated = false;
  bool wide = false;            // the address register has 64-bit lanes
  bool wide_data = false;       // the data register has 64-bit lanes
  uint8_t space = 0;            // ptx::Space
  uint8_t type = 0;             // ptx::Type where the handler is not a template of it
  uint8_t count = 1;            // vector elements
  uint32_t target = 0;          // branches
  const uint32_t* r = nullptr;  // operands, destinations first; kNone for _
  int64_t imm = 0;              // address offset or count
  uint64_t flags = 0;           // meaning chosen by the handler
  const ptx::Statement* source = nullptr;
  uint8_t pipe = 0;                  // sim::Pipe
  bool before_compare_swap = false;  // a plain load of what a later atom.cas of the same address checks: no race
};

struct FrameSlot {  // a .param variable in a function's frame
  uint32_t offset, bytes;
};

// One function's code and frame.  A frame lies in the thread's local memory; the frame register holds its
// address, so that recursion and pointers to a caller's variables work.
struct FunctionCode {
  const ptx::Function* function = nullptr;
  uint32_t start = 0;      // first instruction
  uint32_t frame = kNone;  // 64-bit register: the frame's address in local memory; kNone in the kernel, whose frame is at 0
  uint32_t frame_bytes = 0;
  std::vector<FrameSlot> params, returns;
  std::vector<std::pair<uint32_t, uint8_t>> registers;  // offset and bytes per lane (0: predicate), saved when it calls itself
};

struct CallSite {  // 9.7.12 call
  const FunctionCode* caller = nullptr;
  const FunctionCode* callee = nullptr;    // null: indirect
  uint32_t target = kNone;                 // register with the callee's address
  std::vector<FrameSlot> params, returns;  // in the caller's frame
};

struct SharedObject {  // a variable in shared memory
  std::string name;
  uint32_t begin, end;
};

enum class Special : uint8_t {
  tid_x,
  tid_y,
  tid_z,
  ntid_x,
  ntid_y,
  ntid_z,
  ctaid_x,
  ctaid_y,
  ctaid_z,
  nctaid_x,
  nctaid_y,
  nctaid_z,
  laneid,
  warpid,
  nwarpid,
  smid,
  nsmid,
  gridid,
  clusterid_x,
  clusterid_y,
  clusterid_z,
  nclusterid_x,
  nclusterid_y,
  nclusterid_z,
  cluster_ctaid_x,
  cluster_ctaid_y,
  cluster_ctaid_z,
  cluster_nctaid_x,
  cluster_nctaid_y,
  cluster_nctaid_z,
  cluster_ctarank,
  cluster_nctarank,
  is_explicit_cluster,
  lanemask_eq,
  lanemask_le,
  lanemask_lt,
  lanemask_ge,
  lanemask_gt,
  dynamic_smem_size,
  total_smem_size,
  dynamic_smem_base,
  dynamic_smem_base64,
  envreg1,
  envreg2
};

struct Program {
  const ptx::Module* module = nullptr;
  const ptx::Function* function = nullptr;
  std::vector<Instr> code;
  std::vector<std::unique_ptr<uint32_t[]>> operand_storage;
  std::vector<uint8_t> image;                          // initial register file: poison and constants
  std::vector<std::pair<Special, uint32_t>> specials;  // registers to fill at block start
  std::vector<uint8_t> params;                         // the parameter buffer: its address is known when decoding
  std::vector<uint32_t> param_offsets, param_sizes;
  std::vector<SharedObject> shared;  // static variables
  uint32_t static_shared = 0;        // bytes as on the device
  uint32_t shared_end = 0;           // first offset after the static variables, with gaps
  uint32_t dynamic_align = 16;
  uint32_t local_bytes = 0;                              // per thread
  bool unbounded_stack = false;                          // local_bytes has kStackBytes for it
  std::vector<std::unique_ptr<FunctionCode>> functions;  // by number in the module; null if the kernel cannot reach it
  const FunctionCode* main = nullptr;
  std::vector<std::unique_ptr<CallSite>> calls;
  std::vector<std::unique_ptr<std::vector<uint32_t>>> branch_tables;
  bool uses_async_proxy = false;
  bool uses_cp_async = false;
  bool stores_bytes = false;
  bool independent_blocks = false;  // blocks (clusters) do not communicate through global memory
};

// Global addresses of the module's .global and .const variables.
using SymbolTable = std::map<std::string, uint64_t>;

// The value of a symbol: a variable's address or a function's; fails for an unknown name.
uint64_t symbol_address(const ptx::Module& m, const SymbolTable& globals, const std::string& name);
// Writes the pointers in the initial values of the module's variables, which lie at their addresses already.
void relocate(const ptx::Module& m, const SymbolTable& globals);

std::unique_ptr<Program> lower(const ptx::Module& m, const ptx::Function& entry, const SymbolTable& globals);

void analyse(Program& p);  // sim/machine/analysis.cc: fills Instr::pipe and what follows from the whole text

// First offset of shared memory that a block may use; below is reserved, as on the device.
constexpr uint32_t kSharedBase = 1024;
// Generic addresses of the shared and local windows (any value that is no host address).
constexpr uint64_t kSharedWindow = 0xa000'0000'0000'0000, kLocalWindow = 0xb000'0000'0000'0000;
// The address of a function is kCodeWindow + 16 * (its number in the module + 1).
constexpr uint64_t kCodeWindow = 0xc000'0000'0000'0000;
// Local memory of a thread whose kernel recurses, calls indirectly or allocates on its stack.
constexpr uint32_t kStackBytes = 16384;
// A shared address may name a block of the cluster: (rank + 1) << kRankShift | offset.
constexpr int kRankShift = 24;

}  // namespace sim
