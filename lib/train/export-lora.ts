// What a finetuning with LoRA leaves behind its checkpoints: the changes alone in PEFT's files, or a model that has them in its matrices.
import { join } from 'node:path';
import { clearCheckpoints, type Json, saveCheckpoint } from '../checkpoint/index.ts';
import { saveLoRA } from '../checkpoint/lora.ts';
import { tensorEntries } from '../checkpoint/tensors.ts';
import { mergeLoRA } from '../models/index.ts';
import { openModel } from './open.ts';
import { encodeChatTemplate, encodeModel } from './saved-model.ts';

export interface ExportLoRAOptions {
  /** Add the changes to the matrices. */
  merge: boolean;
  /** Name or folder of the model that was changed. */
  base: string;
}

/**
 * Writes the changes of a checkpoint as PEFT does into `<out>/adapter`, or its whole model with them merged as a checkpoint into
 * `<out>/merged`; gives the folder.
 */
export async function exportLoRA(checkpoint: string, out: string, { merge, base }: ExportLoRAOptions): Promise<string> {
  const { model, head, tokenizer, chatTemplate, config, steps } = await openModel(checkpoint, { device: 'cpu' });
  try {
    if (!merge) {
      await saveLoRA(model, join(out, 'adapter'), { base });
      return join(out, 'adapter');
    }
    mergeLoRA(model);
    const folder = join(out, 'merged');
    await clearCheckpoints(folder);
    return await saveCheckpoint(folder, {
      ...{ step: steps ?? 0, config: config as Json, loader: null, rng: null, state: null },
      files: {
        'model.safetensors': { tensors: tensorEntries((head ?? model).namedTensors()) },
        'config.json': encodeModel(model, head ?? model),
        ...(tokenizer && { 'tokenizer.json': JSON.stringify(tokenizer.toJSON()) }),
        ...(chatTemplate && { 'tokenizer_config.json': encodeChatTemplate(chatTemplate) }),
      },
    });
  } finally {
    (head ?? model).dispose();
  }
}
