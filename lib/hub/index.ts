export { HubError } from './error.ts';
export { fetchModel, fetchTokenizer, modelFolder, tokenizerFolder } from './model.ts';
export { isRepoId, meansHub } from './names.ts';
export type { HubOptions, HubProgress } from './settings.ts';
export { fetchFile } from './snapshot.ts';
