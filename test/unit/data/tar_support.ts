// A tar writer that also writes what no archive should hold.

/** One entry; `size` and `prefix` are written as they are given. */
export interface Entry {
  name: string;
  data?: string | Uint8Array;
  type?: string;
  prefix?: string;
  size?: string;
}

function header(entry: Entry, bytes: number): Uint8Array {
  const block = new Uint8Array(512);
  const put = (at: number, text: string): void =>
    block.set(
      Uint8Array.from(text, (c) => c.charCodeAt(0)),
      at,
    );
  put(0, entry.name);
  put(100, '0000644\0');
  put(124, entry.size ?? bytes.toString(8).padStart(11, '0'));
  put(136, '00000000000');
  put(156, entry.type ?? '0');
  put(257, 'ustar\0' + '00');
  put(345, entry.prefix ?? '');
  put(148, '        ');
  const sum = block.reduce((total, byte) => total + byte, 0);
  put(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  return block;
}

/** A tar archive with its two closing blocks. */
export function tar(entries: Entry[]): Uint8Array {
  const parts: Uint8Array[] = [];
  for (const entry of entries) {
    const data = typeof entry.data === 'string' ? new TextEncoder().encode(entry.data) : (entry.data ?? new Uint8Array(0));
    parts.push(header(entry, data.length), data, new Uint8Array((512 - (data.length % 512)) % 512));
  }
  return new Uint8Array(Buffer.concat([...parts, new Uint8Array(1024)]));
}
