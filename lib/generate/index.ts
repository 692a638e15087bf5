export { type Beam, type BeamOptions, beamSearch } from './beam.ts';
export { Chat, type ChatFormat, type ChatOptions, plainChatFormat, type Said } from './chat.ts';
export { type Choice, type ChooseOptions, choose, oneOf } from './choice.ts';
export type { Generated, StreamOptions } from './continuation.ts';
export type { CacheOption, PagesOption } from './decoder.ts';
export { type EngineJob, type EngineOptions, GenerationEngine } from './engine.ts';
export { type GenerateOptions, generate, streamText } from './generate.ts';
export {
  badWords,
  type LogitsProcessor,
  minTokens,
  noRepeatNgram,
  type ProcessorOptions,
  type RowState,
  repetitionPenalty,
} from './processors.ts';
export { type DecodeOptions, type FinishReason, type GeneratedRow, generateRows, type RowsOptions } from './rows.ts';
export type { SamplingOptions } from './sample.ts';
export { encodePair, type Score, type ScoreOptions, type ScoreRow, score, scoreRows, type TokenScores } from './score.ts';
