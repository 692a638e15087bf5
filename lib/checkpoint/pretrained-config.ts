// config.json of a Hugging Face folder as a GPTConfig.
import { type GPTConfig, type GPTConfigInput, gptConfig } from '../models/index.ts';
import { ArgumentError, FileError } from '../util/errors.ts';
import { show } from '../util/show.ts';
import { isObject } from './json.ts';
import { FAMILIES, PRETRAINED_TYPES, type PretrainedType } from './pretrained-families.ts';
import { Fields } from './pretrained-fields.ts';
import { checkCommon, checkUnread } from './pretrained-keys.ts';

export interface PretrainedConfig {
  readonly type: PretrainedType;
  readonly config: GPTConfig;
}

const TYPES = Object.fromEntries(PRETRAINED_TYPES.map((type) => [type, type]));

/**
 * What a config.json says of the model. `overrides`: fields that do not touch the weights (dropout, padding of the vocabulary);
 * `ignored`: unknown fields that may stand in it.
 * @throws FileError naming file and field: an unknown model_type, a missing field, one that is not known, a value that is not supported
 */
export function parsePretrainedConfig(
  file: string,
  json: unknown,
  overrides: GPTConfigInput = {},
  ignored: readonly string[] = [],
): PretrainedConfig {
  if (!isObject(json)) throw new FileError(file, `must hold a JSON object, got ${show(json)}`);
  const f = new Fields(file, json);
  const type = f.choice('model_type', TYPES, '');
  checkCommon(f);
  const fields = FAMILIES[type](f);
  const common: GPTConfigInput = { vocabSize: f.count('vocab_size'), initStd: f.number('initializer_range', 0.02) };
  checkUnread(f, type, ignored);
  try {
    return { type, config: gptConfig({ ...common, ...fields, ...overrides }) };
  } catch (error) {
    if (!(error instanceof ArgumentError)) throw error;
    throw new FileError(file, `its model is not supported: ${error.message}`, { cause: error });
  }
}
