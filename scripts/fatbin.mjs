// The GPU architectures in a binary: cuobjdump's listing without cuobjdump. A fatbin is magic u32, version u16, header size
// u16, size u64; then entries: kind u16 (1 PTX, 2 machine code), version u16, header size u32, size u64, ... architecture
// u32 at 28, ... flags u64 at 40 (bit 20: "a" variant, bit 21: "f" variant). Compression leaves the headers alone.

// One list of names (sm_80, compute_80, sm_90a) for each fatbin, that is for each .cu file; headers that make no sense end theirs.
export function gpuCode(bytes) {
  const found = [];
  for (let at = bytes.indexOf('50ed55ba', 0, 'hex'); at >= 0; at = bytes.indexOf('50ed55ba', at + 4, 'hex')) {
    if (bytes.readUInt16LE(at + 4) !== 1 || bytes.readUInt16LE(at + 6) !== 16) continue;
    const end = Math.min(bytes.length - 48, at + 16 + Number(bytes.readBigUInt64LE(at + 8)));
    const archs = [];
    for (let e = at + 16, step = 0; e < end; e += step) {
      step = bytes.readUInt32LE(e + 4) + Number(bytes.readBigUInt64LE(e + 8));
      if (step === 0) break;
      const flags = bytes.readUInt32LE(e + 40);
      const suffix = flags & (1 << 20) ? 'a' : flags & (1 << 21) ? 'f' : '';
      archs.push(`${bytes.readUInt16LE(e) === 1 ? 'compute' : 'sm'}_${bytes.readUInt32LE(e + 28)}${suffix}`);
    }
    if (archs.length) found.push(archs);
  }
  return found;
}

const sorted = (archs) => [...new Set(archs)].sort().join(' ');

// What is wrong with a binary that is to hold `wanted` (codeFor in archs.mjs): every one of `sources` (.cu files) gave either the whole
// portable list or, *_sm90.cu, sm_90a alone. Undefined when nothing is.
export function gpuCodeProblem(bytes, wanted, sources) {
  const found = gpuCode(bytes).map(sorted);
  const hopper = sources.filter((source) => source.endsWith('_sm90.cu')).length;
  const portable = sorted(wanted.filter((arch) => arch !== 'sm_90a'));
  const odd = found.find((archs) => archs !== portable && archs !== 'sm_90a');
  if (found.length === 0) return 'it has no GPU code';
  if (odd !== undefined) return `a .cu file in it has code for ${odd}, expected ${portable}, or sm_90a alone`;
  const counts = [found.length, found.filter((archs) => archs === 'sm_90a').length];
  if (counts[0] === sources.length && counts[1] === hopper) return undefined;
  return `it has the code of ${counts[0]} .cu files, ${counts[1]} of them for sm_90a alone; the sources are ${sources.length} and ${hopper}`;
}
