// The GPU architectures in a binary: cuobjdump's listing without cuobjdump. A fatbin is magic u32, version u16, header size
// u16, size u64; then entries: kind u16 (1 PTX, 2 machine code), version u16, header size u32, size u64, ... architecture
// u32 at 28, ... flags u64 at 40 (bit 20: "a" variant, bit 21: "f" variant). Compression leaves the headers alone.

// One list of names (sm_80, compute_80, sm_90a) for each fatbin, that is for each .cu file.
export function gpuCode(bytes) {
  const found = [];
  for (let at = bytes.indexOf('50ed55ba', 0, 'hex'); at >= 0; at = bytes.indexOf('50ed55ba', at + 4, 'hex')) {
    if (bytes.readUInt16LE(at + 4) !== 1 || bytes.readUInt16LE(at + 6) !== 16) continue;
    const end = at + 16 + Number(bytes.readBigUInt64LE(at + 8));
    const archs = [];
    for (let e = at + 16; e < end; e += bytes.readUInt32LE(e + 4) + Number(bytes.readBigUInt64LE(e + 8))) {
      const flags = bytes.readUInt32LE(e + 40);
      const suffix = flags & (1 << 20) ? 'a' : flags & (1 << 21) ? 'f' : '';
      archs.push(`${bytes.readUInt16LE(e) === 1 ? 'compute' : 'sm'}_${bytes.readUInt32LE(e + 28)}${suffix}`);
    }
    if (archs.length) found.push(archs);
  }
  return found;
}
