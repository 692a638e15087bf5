export {
  bestCheckpoint,
  type CheckpointContents,
  clearCheckpoints,
  discardLaterCheckpoints,
  latestCheckpoint,
  pruneCheckpoints,
  resetBestCheckpoint,
  saveCheckpoint,
  setBestCheckpoint,
} from './folder.ts';
export type { Json } from './json.ts';
export { type Checkpoint, openCheckpoint } from './read.ts';
export { openSafetensors, type SafetensorsEntry, type SafetensorsFile, writeSafetensors } from './safetensors.ts';
