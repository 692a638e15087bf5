import { ArgumentError } from '../util/errors.ts';

/** What JSON carries without loss. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws ArgumentError naming the first place whose value JSON would drop or change (undefined, NaN, a BigInt, a class, …). */
export function assertJson(value: unknown, path: string): asserts value is Json {
  if (value === null || typeof value === 'boolean' || typeof value === 'string' || Number.isFinite(value)) return;
  if (Array.isArray(value)) {
    for (const [i, item] of value.entries()) assertJson(item, `${path}.${i}`);
  } else if (isObject(value) && (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null)) {
    for (const [key, item] of Object.entries(value)) assertJson(item, `${path}.${key}`);
  } else {
    const got = typeof value === 'object' ? `a ${value?.constructor?.name}` : `${String(value)} (${typeof value})`;
    throw new ArgumentError(`checkpoint: ${path} must be plain JSON data, got ${got}`);
  }
}

/**
 * The first key that stands twice in one object of a JSON text that `JSON.parse` has accepted (which keeps the last one silently),
 * or undefined.
 */
export function duplicateKey(text: string): string | undefined {
  const open: (Set<string> | undefined)[] = []; // the keys of each open object; undefined for an array
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === '{') open.push(new Set());
    else if (c === '[') open.push(undefined);
    else if (c === '}' || c === ']') open.pop();
    else if (c === '"') {
      const start = i;
      for (i++; text[i] !== '"'; i++) if (text[i] === '\\') i++;
      let after = i + 1;
      while (/\s/.test(text[after] ?? '')) after++;
      if (text[after] !== ':') continue;
      const key = JSON.parse(text.slice(start, i + 1)) as string;
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}
