/**
 * GPT-2's alphabet: a printable character for each byte, so that tokens can stand in JSON and in text files. Bytes that are
 * printable in Latin-1 stand for themselves, the others get the characters from U+0100 on.
 */
export const BYTE_TO_CHARACTER: readonly string[] = buildAlphabet();
const CHARACTER_TO_BYTE = new Map(BYTE_TO_CHARACTER.map((character, byte) => [character, byte]));

function buildAlphabet(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : next++);
  });
}

/** A token's bytes written in the alphabet. */
export function toAlphabet(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += BYTE_TO_CHARACTER[byte];
  return text;
}

/** The bytes of a token written in the alphabet; undefined if a character is not of it. */
export function fromAlphabet(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) {
    const byte = CHARACTER_TO_BYTE.get(text[i] as string);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}
