export { computeType } from './compute_type.ts';
export { Embedding } from './embedding.ts';
export { type AttentionCache, type CacheRun, KVCache } from './kv_cache.ts';
export { KVPages, type KVPagesShape, PagedKVCache } from './kv_pages.ts';
export { Linear, type LinearModuleOptions } from './linear.ts';
export { LoRA, type LoRAOptions } from './lora.ts';
export { constantParameter, Frozen, type InitOptions, Module, normalParameter, Parameter, seedsFrom } from './module.ts';
export { NF4Matrix, nf4Elements } from './nf4.ts';
export { LayerNorm, RMSNorm } from './norm.ts';
export { type Bucket, decayGroup, ParameterSet, type ParameterSetOptions, type Placement, type Range } from './parameters.ts';
export {
  COMPUTES,
  type Compute,
  computesInBf16,
  fillPolicy,
  OFFLOADS,
  type Offload,
  type Policy,
  RECOMPUTES,
  type Recompute,
  STORAGES,
  type Storage,
} from './policy.ts';
