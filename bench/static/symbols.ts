// The functions of a cubin, an ELF file of 64 bits.
import { readFileSync } from 'node:fs';

const [SYMBOLS, FUNCTION] = [2, 2]; // SHT_SYMTAB, STT_FUNC

export interface CubinFunction {
  /** In the table of symbols. */
  index: number;
  /** Machine code. */
  code: Buffer;
}

/** By their symbols. */
export function functionsOf(cubin: string): Map<string, CubinFunction> {
  const bytes = readFileSync(cubin);
  const found = new Map<string, CubinFunction>();
  const sections = Number(bytes.readBigUInt64LE(0x28));
  const header = (i: number): { type: number; at: number; size: number; link: number } => {
    const at = sections + i * bytes.readUInt16LE(0x3a);
    const long = (offset: number): number => Number(bytes.readBigUInt64LE(at + offset));
    return { type: bytes.readUInt32LE(at + 4), at: long(0x18), size: long(0x20), link: bytes.readUInt32LE(at + 0x28) };
  };
  for (let i = 0; i < bytes.readUInt16LE(0x3c); i++) {
    const table = header(i);
    if (table.type !== SYMBOLS) continue;
    const names = header(table.link).at;
    for (let k = 0; 24 * k < table.size; k++) {
      const at = table.at + 24 * k;
      if (((bytes[at + 4] as number) & 15) !== FUNCTION) continue;
      const name = names + bytes.readUInt32LE(at);
      const start = header(bytes.readUInt16LE(at + 6)).at + Number(bytes.readBigUInt64LE(at + 8));
      const code = bytes.subarray(start, start + Number(bytes.readBigUInt64LE(at + 16)));
      found.set(bytes.toString('latin1', name, bytes.indexOf(0, name)), { index: k, code });
    }
  }
  return found;
}
