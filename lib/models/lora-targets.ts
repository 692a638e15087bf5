/** The matrices of a block: the packed projection of attention, the one back; up and down of the feed-forward part. */
export const LORA_TARGETS = ['qkv', 'proj', 'up', 'down'] as const;
export type LoRATarget = (typeof LORA_TARGETS)[number];

/** How the frozen matrices beside the changes are kept: as they are, or in NF4 (QLoRA, Dettmers et al. 2023). */
export const QUANTIZATIONS = ['none', 'nf4'] as const;
export type Quantization = (typeof QUANTIZATIONS)[number];
