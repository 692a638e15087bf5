// Fields of a config.json that do not touch what a decoder computes from tokens: how it was made, how it is trained, how text is drawn
// from it. Whatever is neither here nor asked for by a family may change the arithmetic, and is an error rather than ignored.
import { FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import type { Fields } from './pretrained-fields.ts';

const HARMLESS = new Set([
  // about the file
  ...['architectures', 'model_type', 'transformers_version', 'torch_dtype', 'dtype', 'tokenizer_class', 'finetuning_task'],
  ...['task_specific_params', 'problem_type', 'id2label', 'label2id', 'num_labels', 'is_llama_config', 'unsloth_version'],
  ...['transformers.js_config', 'prefix', 'license', 'name_or_path'],
  // numbers of special tokens, and sizes that other fields say again
  ...['n_ctx', 'n_special', 'predict_special_tokens', 'unsloth_fixed'],
  // training, memory, speed
  ...['initializer_range', 'use_cache', 'pretraining_tp', 'gradient_checkpointing', 'reorder_and_upcast_attn', 'chunk_size_feed_forward'],
  ...['use_bfloat16', 'torchscript', 'tf_legacy_loss', 'attn_implementation', 'router_aux_loss_coef'],
  // what a forward pass returns
  ...['return_dict', 'output_hidden_states', 'output_attentions', 'output_scores', 'return_dict_in_generate'],
  // heads for other tasks: their tensors are refused
  ...['summary_activation', 'summary_first_dropout', 'summary_proj_to_labels', 'summary_type', 'summary_use_proj', 'classifier_dropout'],
  // drawing of text
  ...['max_length', 'min_length', 'max_new_tokens', 'do_sample', 'early_stopping', 'num_beams', 'num_beam_groups', 'diversity_penalty'],
  ...['temperature', 'top_k', 'top_p', 'typical_p', 'repetition_penalty', 'length_penalty', 'no_repeat_ngram_size', 'bad_words_ids'],
  ...['encoder_no_repeat_ngram_size', 'num_return_sequences', 'remove_invalid_values', 'exponential_decay_length_penalty'],
  ...['suppress_tokens', 'begin_suppress_tokens', 'forced_bos_token_id', 'forced_eos_token_id'],
]);

/** Ids of special tokens, and names that Python keeps to itself. */
const isHarmless = (name: string): boolean => HARMLESS.has(name) || /_token_id$|^_/.test(name);

/** Fields that every configuration of transformers may hold, and that change the arithmetic. */
export function checkCommon(f: Fields): void {
  f.only('is_encoder_decoder', false);
  f.only('add_cross_attention', false);
  f.only('is_decoder', f.has('is_decoder') ? f.flag('is_decoder', true) : undefined); // either: only an encoder reads it
  f.only('tie_encoder_decoder', false);
  if (f.has('quantization_config')) throw f.fail('quantization_config', 'null: quantized weights are not supported');
  if (f.has('auto_map')) throw f.fail('auto_map', 'null: models that bring code of their own are not supported');
  if (f.has('pruned_heads') && f.object('pruned_heads').unread().length > 0) throw f.fail('pruned_heads', 'empty');
}

/** @throws FileError for a field that nobody asked for and that may change what the model computes */
export function checkUnread(f: Fields, type: string, ignored: readonly string[]): void {
  const name = f.unread().find((path) => !isHarmless(path) && !ignored.includes(path));
  if (name === undefined) return;
  throw new FileError(f.file, `field ${show(name)} is not known for model_type ${type}: it may change what the model computes`, {
    hint: `Where it does not: ignoreConfig: [${show(name)}].`,
  });
}
