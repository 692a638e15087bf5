// A small Parquet file, byte by byte: one row group of required text columns, plain, each page compressed as asked (the format's
// parquet.thrift, in Thrift's compact protocol).

/** A field's value: i32 and i64, text, a list of one of these or of structs, a struct of its fields by number. */
type Value = number | string | { readonly list: readonly Value[] } | { readonly [field: number]: Value };

const isList = (value: Value): value is { readonly list: readonly Value[] } => typeof value === 'object' && 'list' in value;
const typeOf = (value: Value): number => (typeof value === 'number' ? 5 : typeof value === 'string' ? 8 : isList(value) ? 9 : 12);

function varint(value: number): Buffer {
  const bytes: number[] = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) | 0x80);
  }
}

function encode(value: Value): Buffer {
  if (typeof value === 'number') return varint(2 * value);
  if (typeof value === 'string') return Buffer.concat([varint(Buffer.byteLength(value)), Buffer.from(value)]);
  if (isList(value)) {
    const type = typeOf(value.list[0] ?? 0);
    return Buffer.concat([Buffer.of((value.list.length << 4) | type), ...value.list.map(encode)]);
  }
  let last = 0;
  const fields = Object.entries(value).map(([key, item]) => {
    const head = Buffer.of(((Number(key) - last) << 4) | typeOf(item));
    last = Number(key);
    return Buffer.concat([head, encode(item)]);
  });
  return Buffer.concat([...fields, Buffer.of(0)]);
}

export const CODECS = { none: 0, gzip: 2, brotli: 4, zstd: 6, lz4: 7 } as const;

/** A block of a Zstandard frame: bytes as they are, or a byte so many times. */
type Block = Uint8Array | { readonly byte: number; readonly times: number };

/** A Zstandard frame (RFC 8878, section 3.1.1), made without a compressor. `claimed`: the size of its content that it tells. */
export function zstandardFrame(blocks: readonly Block[], claimed: number): Buffer {
  const [RAW, RUN] = [0, 1];
  const parts = blocks.map((block, i) => {
    const [type, size, content] = block instanceof Uint8Array ? [RAW, block.length, block] : [RUN, block.times, Buffer.of(block.byte)];
    const head = Number(i === blocks.length - 1) | (type << 1) | (size << 3);
    return Buffer.concat([Buffer.of(head & 255, (head >> 8) & 255, head >> 16), content]);
  });
  const SINGLE_SEGMENT_4_BYTES = 0xa0;
  const size = Buffer.alloc(4);
  size.writeUInt32LE(claimed);
  return Buffer.concat([Buffer.of(0x28, 0xb5, 0x2f, 0xfd, SINGLE_SEGMENT_4_BYTES), size, ...parts]);
}

/** Columns of equally many texts. */
export function parquetFile(
  columns: Readonly<Record<string, readonly string[]>>,
  codec: keyof typeof CODECS = 'none',
  compress: (bytes: Buffer) => Uint8Array = (bytes) => bytes,
): Buffer {
  const [BYTE_ARRAY, PLAIN, RLE, DATA_PAGE, REQUIRED] = [6, 0, 3, 0, 0];
  const parts: Buffer[] = [Buffer.from('PAR1')];
  let at = 4;
  const rows = Object.values(columns)[0]?.length ?? 0;
  const chunks = Object.entries(columns).map(([name, texts]): Value => {
    const plain = Buffer.concat(texts.flatMap((text) => [Buffer.from(Uint32Array.of(Buffer.byteLength(text)).buffer), Buffer.from(text)]));
    const page = compress(plain);
    const header = encode({ 1: DATA_PAGE, 2: plain.length, 3: page.length, 5: { 1: rows, 2: PLAIN, 3: RLE, 4: RLE } });
    const sizes = [header.length + plain.length, header.length + page.length] as const;
    const meta: Value = {
      ...{ 1: BYTE_ARRAY, 2: { list: [PLAIN] }, 3: { list: [name] }, 4: CODECS[codec], 5: rows, 6: sizes[0], 7: sizes[1], 9: at },
    };
    parts.push(header, Buffer.from(page));
    at += sizes[1];
    return { 2: at - sizes[1], 3: meta };
  });
  const schema: Value[] = [
    { 4: 'schema', 5: chunks.length },
    ...Object.keys(columns).map((name): Value => ({ 1: BYTE_ARRAY, 3: REQUIRED, 4: name, 6: 0 })),
  ];
  const footer = encode({ 1: 1, 2: { list: schema }, 3: rows, 4: { list: [{ 1: { list: chunks }, 2: at, 3: rows }] } });
  return Buffer.concat([...parts, footer, Buffer.from(Uint32Array.of(footer.length).buffer), Buffer.from('PAR1')]);
}
