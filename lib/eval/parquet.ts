import { closeSync } from 'node:fs';
import { openForReading } from '../data/text_file.ts';
import { ParquetThread } from './parquet_thread.ts';

/**
 * The rows of a Parquet file, a row group in memory at a time; `row` counts from 1. Read by hyparquet, which is loaded for the first such
 * file: uncompressed, Snappy, gzip, Brotli, and Zstandard where Node has it (from 22.15 on).
 * @param patience milliseconds that the footer and each row group may take: a damaged file may claim rows without end
 * @throws FileError naming the file, for what is no Parquet or is compressed in another way
 */
export async function* readParquetRows(path: string, patience = 120_000): AsyncGenerator<{ value: unknown; row: number }> {
  closeSync(openForReading(path)); // that there is no such file is told as everywhere
  const thread = await ParquetThread.open(path, patience);
  try {
    for (let row = 1; ; ) {
      const rows = (await thread.next(patience)) as readonly unknown[] | null;
      if (rows === null) return;
      for (const value of rows) yield { value, row: row++ };
    }
  } finally {
    await thread.close();
  }
}
