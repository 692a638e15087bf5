export { type CorpusName, cacheFolder, type FetchedCorpus, type FetchOptions, fetchCorpus, listCorpora } from './corpora.ts';
export {
  ExamplesLoader,
  type ExamplesLoaderOptions,
  type ExamplesState,
  encodeConversations,
  encodeExamples,
  encodeScored,
  examplesOnce,
} from './examples.ts';
export { type GroupsBatch, GroupsLoader, type GroupsLoaderOptions, type GroupsState, groupsOnce } from './groups.ts';
export { type LLMCTokensOptions, readLLMCTokens } from './llmc.ts';
export { type Batch, IGNORE, Loader, type LoaderOptions, type LoaderState, windowBatches, windows } from './loader.ts';
export { ngramBitsPerByte } from './ngram.ts';
export { type PairBatch, pairBatch, type TokenPair } from './pairs.ts';
export { type Prepared, type PrepareOptions, type PrepareProgress, prepare } from './prepare.ts';
export { type OpenPrepared, openPrepared, type PreparedMeta, type PreparedPart } from './prepared.ts';
export {
  CONVERSATION,
  type Conversation,
  LABELLED_TEXT,
  type LabelledText,
  MULTIPLE_CHOICE,
  type MultipleChoice,
  PREFERENCE,
  type Preference,
  type RecordKind,
  type Records,
  readRecords,
  splitRecords,
} from './records.ts';
export { RowsLoader, type RowsOptions, type TokenRows } from './rows.ts';
export { type OpenShardsOptions, Shards } from './shards.ts';
export {
  type Example,
  type ExampleItem,
  exampleSource,
  openSource,
  type Source,
  type SourceFile,
  type SourceItem,
  type TextItem,
  textSource,
} from './source.ts';
export { type Part, planSplit, readPart, type SplitPlan, splitBytes, splitItems } from './split.ts';
export { isCorrect, makeTask, type SupervisedTask, type TaskOptions } from './supervised.ts';
export { MemoryTokens, type TokenData } from './tokens.ts';
export { comparisons, manners, type ToyRecords, talks, translations } from './toy.ts';
