// `GPT.fromPretrained`: importing this file adds it to the class, which knows nothing of files.
import { type HubOptions, modelFolder } from '../hub/index.ts';
import { GPT } from '../models/gpt.ts';
import { loadGGUF } from './gguf-load.ts';
import { isModelFile } from './model-file.ts';
import { loadNanoGPT } from './nanogpt.ts';
import { type LoadPretrainedOptions, loadPretrained } from './pretrained.ts';

export type FromPretrainedOptions = LoadPretrainedOptions & HubOptions;

declare module '../models/gpt.ts' {
  namespace GPT {
    /**
     * A published model: a Hugging Face folder, or the id of a model of the hub (`openai-community/gpt2`), which is fetched into the cache
     * that Python tools use, too; families: gpt2, openai-gpt, llama, mistral, qwen2, qwen3. Or a GGUF file, or nanoGPT's `ckpt.pt`, of which
     * `device` and `compute` are taken.
     */
    let fromPretrained: (idOrFolder: string, options?: FromPretrainedOptions) => Promise<GPT>;
  }
}

GPT.fromPretrained = async (idOrFolder, options = {}) => {
  if (!isModelFile(idOrFolder)) return loadPretrained(await modelFolder(idOrFolder, options), options);
  const { device, compute } = options;
  const own = { ...(device !== undefined && { device }), ...(compute !== undefined && { compute }) };
  return idOrFolder.endsWith('.gguf') ? loadGGUF(idOrFolder, own) : loadNanoGPT(idOrFolder, own);
};
