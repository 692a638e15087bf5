// Models that are one file: GGUF, and nanoGPT's checkpoint.
import type { GPT } from '../models/index.ts';
import type { Compute } from '../nn/index.ts';
import type { Device } from '../tensor/device.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { openGGUFModel } from './gguf-load.ts';
import { loadNanoGPT } from './nanogpt.ts';

/** Whether a path means such a file, by its ending. */
export const isModelFile = (path: string): boolean => /\.(gguf|pt)$/.test(path);

/** @throws FileError naming what is wrong in the file */
export async function openModelFile(
  file: string,
  options: { device?: Device; compute?: Compute },
): Promise<{ model: GPT; tokenizer: Tokenizer | null }> {
  return file.endsWith('.gguf') ? openGGUFModel(file, options) : { model: await loadNanoGPT(file, options), tokenizer: null };
}
