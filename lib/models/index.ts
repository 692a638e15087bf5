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
export { type AddLoRAOptions, addLoRA, type LoRATarget, lorasOf, mergeLoRA, removeLoRA } from './lora.ts';
export { type PresetName, presetNames } from './presets.ts';
export { countParameters, flopsPerToken, type ParameterCount } from './size.ts';
