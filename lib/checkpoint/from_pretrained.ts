// `GPT.fromPretrained`: importing this file adds it to the class, which knows nothing of files.
import { type HubOptions, modelFolder } from '../hub/index.ts';
import { GPT } from '../models/gpt.ts';
import { type LoadPretrainedOptions, loadPretrained } from './pretrained.ts';

export type FromPretrainedOptions = LoadPretrainedOptions & HubOptions;

declare module '../models/gpt.ts' {
  namespace GPT {
    /**
     * A published model: a Hugging Face folder, or the id of a model of the hub (`openai-community/gpt2`), which is fetched into the cache
     * that Python tools use, too. Families: gpt2, openai-gpt, llama, mistral, qwen2, qwen3.
     */
    let fromPretrained: (idOrFolder: string, options?: FromPretrainedOptions) => Promise<GPT>;
  }
}

GPT.fromPretrained = async (idOrFolder, options = {}) => loadPretrained(await modelFolder(idOrFolder, options), options);
