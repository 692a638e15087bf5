export { BPETokenizer, type BPETrainOptions } from './bpe.ts';
export { ByteTokenizer } from './byte.ts';
export { type CharOptions, CharTokenizer } from './char.ts';
export {
  applyChatTemplate,
  type ChatMessage,
  type ChatPiece,
  type ChatTemplate,
  type ChatTokens,
  chatTemplate,
  chatTemplateConfig,
  chatTemplateOfConfig,
  DEFAULT_CHAT_TEMPLATE,
  defaultChatTemplate,
  loadChatTemplate,
  type RenderChatOptions,
} from './chat.ts';
export { Tokenizer } from './from_pretrained.ts';
export { loadGPT2Tokenizer } from './gpt2.ts';
export { HuggingFaceTokenizer } from './huggingface.ts';
export { loadTokenizer, saveTokenizer, tokenizerFromJSON } from './load.ts';
export { StreamDecoder } from './stream.ts';
export { END_OF_TEXT, type EncodeOptions } from './tokenizer.ts';
