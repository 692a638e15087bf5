// The PTX of a CUDA source as the simulator's build has it: what nvcc would make anew in most of the time that machine code takes.
import { existsSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { kernelFiles } from './kernel-sources.mjs';
import { root } from './tools.mjs';

const BUILT = path.join(root, 'build/sim/cmake');

// Text, or undefined where that build is not there, is older than the source or one of its headers, or is of another compiler (`V13.0.88`).
export function simulatedPtx(source, arch, version) {
  const target = source.endsWith('_sm90.cu') ? 'cuda_sm90' : 'cuda_portable';
  const object = path.join(BUILT, `CMakeFiles/${target}.dir/${source}.o`);
  const note = path.join(BUILT, 'note.txt'); // of the last configuration
  if (!existsSync(object) || !existsSync(note) || !readFileSync(note, 'utf8').includes(`(nvcc ${version.slice(1)})`)) return undefined;
  const made = statSync(object).mtimeMs;
  for (const [file] of kernelFiles(source, root, ['cuda', 'native'])) if (statSync(path.join(root, file)).mtimeMs > made) return undefined;
  // A fat binary that is not compressed has it as text, one architecture after another, each with a zero behind.
  const text = readFileSync(object, 'latin1');
  return new RegExp(`\\.version \\d+\\.\\d+\\n\\.target sm_${arch}\\n[^\\0]*`).exec(text)?.[0];
}
