// Foreign text and values as they may stand in an error: a hostile file can neither flood a terminal nor steer it.

/** Control characters other than line breaks, those that turn the direction of text, and halves of surrogate pairs. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const UNPRINTABLE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]|\p{Surrogate}/gu;

/** A text whose unprintable characters are written as escapes, cut where it is longer than `most` characters. */
export function printable(text: string, most = Number.POSITIVE_INFINITY): string {
  const cut = text.length > most ? `${text.slice(0, most - 3)}...` : text;
  return cut.replace(UNPRINTABLE, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Appends the JSON of a value until there is enough of it: a deep, cyclic or huge value costs no more than a short one. */
function write(value: unknown, text: string, most: number): string {
  if (text.length > most) return text;
  if (typeof value === 'string') return text + JSON.stringify(value.slice(0, most));
  if (typeof value !== 'object' || value === null) return text + String(value);
  const isList = Array.isArray(value);
  let out = `${text}${isList ? '[' : '{'}`;
  let first = true;
  for (const key in value) {
    if (!Object.hasOwn(value, key)) continue;
    out = write(
      (value as Record<string, unknown>)[key],
      `${out}${first ? '' : ','}${isList ? '' : `${JSON.stringify(key.slice(0, most))}:`}`,
      most,
    );
    first = false;
    if (out.length > most) return out;
  }
  return `${out}${isList ? ']' : '}'}`;
}

/** A value as JSON on one line, cut where it is long; what is missing is `nothing`. */
export function show(value: unknown, most = 80): string {
  return value === undefined ? 'nothing' : printable(write(value, '', most), most);
}
