export { Block, FeedForward, type ForwardOptions, SelfAttention } from './block.ts';
export {
  type AttentionPattern,
  type DropoutConfig,
  type GPTConfig,
  type GPTConfigInput,
  gptConfig,
  type PartialBias,
} from './config.ts';
export { GPT, type GPTOptions, sinusoidalPositions } from './gpt.ts';
export {
  countHead,
  GPTForMultipleChoice,
  GPTForSequenceClassification,
  type HeadConfig,
  type HeadOptions,
  makeHead,
  ScoredGPT,
} from './heads.ts';
export {
  type AddLoRAOptions,
  addLoRA,
  countLoRA,
  type LoRAConfig,
  loraConfigOf,
  lorasOf,
  mergeLoRA,
  quantizedElements,
  quantizeLoRA,
  removeLoRA,
} from './lora.ts';
export { LORA_TARGETS, type LoRATarget, QUANTIZATIONS, type Quantization } from './lora-targets.ts';
export { type PresetName, presetNames } from './presets.ts';
export { countParameters, flopsPerToken, type ParameterCount } from './size.ts';
export {
  CrossAttention,
  Transformer,
  type TransformerConfig,
  type TransformerForward,
  type TransformerOptions,
  transformerConfig,
} from './transformer.ts';
