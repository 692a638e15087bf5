import { type JSONObject, readObject } from './fields.ts';
import { readMerges } from './gpt2.ts';
import { HuggingFaceTokenizer } from './huggingface.ts';
import { checkTokenizerFile } from './read_json.ts';

const END_OF_WORD = '</w>';

/** Whether a vocabulary is written as GPT-1's: pieces that end a word end in `</w>`. */
export const isGPT1Vocabulary = (vocab: JSONObject): boolean => Object.keys(vocab).some((token) => token.endsWith(END_OF_WORD));

/**
 * Reads a vocabulary in the form in which GPT-1's was published: `vocab.json` and `merges.txt`. Texts lose their case and accents,
 * are split at spaces and punctuation, and what is unknown becomes `<unk>`, as transformers' OpenAIGPTTokenizer has it.
 */
export function loadGPT1Tokenizer(vocabFile: string, mergesFile: string): HuggingFaceTokenizer {
  const vocab = readObject(vocabFile);
  const unknown = Object.hasOwn(vocab, '<unk>') ? [{ id: vocab['<unk>'], content: '<unk>', special: true, normalized: false }] : [];
  const json = {
    version: '1.0',
    added_tokens: unknown,
    normalizer: { type: 'BertNormalizer', clean_text: true, handle_chinese_chars: true, strip_accents: null, lowercase: true },
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: null,
    decoder: { type: 'BPEDecoder', suffix: END_OF_WORD },
    model: {
      type: 'BPE',
      unk_token: unknown.length > 0 ? '<unk>' : null,
      end_of_word_suffix: END_OF_WORD,
      vocab,
      merges: readMerges(mergesFile).map(({ left, right }) => [left, right]),
    },
  };
  return new HuggingFaceTokenizer(checkTokenizerFile(vocabFile, json), { tokenizer_class: 'OpenAIGPTTokenizer', unk_token: '<unk>' });
}
