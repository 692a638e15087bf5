import { FileError } from '../util/errors.ts';
import { fileError, namingAsync } from '../util/files.ts';

/**
 * The rows of a Parquet file, a row group in memory at a time; `row` counts from 1. Read by hyparquet, which is loaded for the first such
 * file: uncompressed or Snappy, as data sets of the hub are.
 * @throws FileError naming the file, for what is no Parquet or is compressed in another way
 */
export async function* readParquetRows(path: string): AsyncGenerator<{ value: unknown; row: number }> {
  const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects } = await import('hyparquet');
  const file = await namingAsync(path, 'read', () => asyncBufferFromFile(path));
  const reading = async <T>(task: () => Promise<T>): Promise<T> => {
    try {
      return await task();
    } catch (error) {
      if (error instanceof Error && 'syscall' in error) throw fileError(path, 'read', error);
      throw new FileError(path, `must be a Parquet file: ${error instanceof Error ? error.message : error}`, { cause: error });
    }
  };
  const metadata = await reading(() => parquetMetadataAsync(file));
  let start = 0;
  for (const group of metadata.row_groups) {
    const end = start + Number(group.num_rows);
    const rows = await reading(() => parquetReadObjects({ file, metadata, rowStart: start, rowEnd: end }));
    for (const [i, value] of rows.entries()) yield { value, row: start + i + 1 };
    start = end;
  }
}
