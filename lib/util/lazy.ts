import { createRequire } from 'node:module';
import type * as Jinja from '@huggingface/jinja';
import type * as HuggingFace from '@huggingface/tokenizers';
import type * as Yaml from 'yaml';
import type * as Zod from 'zod';

/** A value that is made when it is first asked for. */
export function lazy<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

// Packages that configurations, foreign tokenizers and chat templates need. Each takes longer to load than the rest of heddle, so whoever imports
// heddle for its tensors does not wait for them. As CommonJS, because they are wanted in functions that return at once.
const require = createRequire(import.meta.url);

export const zod = lazy(() => require('zod') as typeof Zod);
export const yaml = lazy(() => require('yaml') as typeof Yaml);
export const jinja = lazy(() => require('@huggingface/jinja') as typeof Jinja);
export const huggingFaceTokenizers = lazy(() => require('@huggingface/tokenizers') as typeof HuggingFace);
