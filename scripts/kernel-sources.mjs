// The kernel sources and what each of them is made of: a kernel counts as verified on a card for as long as this hash stays the same.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { root } from './tools.mjs';

// All .cu files below cuda/ of `top`, sorted.
export function kernelSources(top = root) {
  return readdirSync(path.join(top, 'cuda'), { recursive: true })
    .filter((name) => name.endsWith('.cu'))
    .map((name) => `cuda/${name.replaceAll(path.sep, '/')}`)
    .sort();
}

// Folders whose headers hold code that runs on the card. native/ops is none of them: backend.h, the contract of all ops, would send every
// kernel back to waiting for each new op.
const FOLDERS = ['cuda', 'native/core'];

// What a file includes of these folders, as the compiler finds it: beside the file, else from -Icuda -Inative.
function includes(file, text, top, folders) {
  return [...text.matchAll(/^\s*#\s*include\s+"([^"]+)"/gm)]
    .map(([, name]) => [path.posix.dirname(file), 'cuda', 'native'].map((from) => path.posix.join(from, name)))
    .flatMap((places) => places.find((place) => existsSync(path.join(top, place))) ?? [])
    .filter((place) => folders.some((folder) => place.startsWith(`${folder}/`)));
}

// A source and the headers that it includes, directly or not, sorted: [name, text].
export function kernelFiles(source, top = root, folders = FOLDERS) {
  const files = new Map();
  const visit = (file) => {
    if (files.has(file)) return;
    const text = readFileSync(path.join(top, file), 'utf8');
    files.set(file, text);
    includes(file, text, top, folders).forEach(visit);
  };
  visit(source);
  return [...files].sort(([a], [b]) => (a < b ? -1 : 1));
}

// 16 hex digits that follow from the names and texts of these files.
export function kernelHash(source, top = root) {
  const hash = createHash('sha256');
  for (const [file, text] of kernelFiles(source, top)) hash.update(`${file}\n${text.length}\n`).update(text);
  return hash.digest('hex').slice(0, 16);
}

// source -> hash, of those whose code runs on a card of that compute capability (10 × major + minor): *_sm90.cu is for Hopper alone.
export function kernelHashes(capability, top = root) {
  const runs = (source) => !source.endsWith('_sm90.cu') || capability === 90;
  return Object.fromEntries(
    kernelSources(top)
      .filter(runs)
      .map((source) => [source, kernelHash(source, top)]),
  );
}
