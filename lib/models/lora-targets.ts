/** The matrices of a block: the packed projection of attention, the one back; up and down of the feed-forward part. */
export const LORA_TARGETS = ['qkv', 'proj', 'up', 'down'] as const;
export type LoRATarget = (typeof LORA_TARGETS)[number];
