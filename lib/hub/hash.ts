import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { namingAsync as naming } from '../util/files.ts';

/** What an etag of the hub promises: the sha256 of a large file, git's sha1 of another. */
export const isContentHash = (etag: string): boolean => /^(?:[0-9a-f]{64}|[0-9a-f]{40})$/.test(etag);

/** The etag that the content of a file has, of the same kind as `like`. git hashes a header with the length first. */
export async function contentHash(path: string, like: string): Promise<string> {
  return naming(path, 'read', async () => {
    const file = await open(path, 'r');
    try {
      const hash = createHash(like.length === 64 ? 'sha256' : 'sha1');
      if (like.length === 40) hash.update(`blob ${(await file.stat()).size}\0`);
      const buffer = Buffer.allocUnsafe(1 << 20);
      for (;;) {
        const { bytesRead } = await file.read(buffer, 0, buffer.length);
        if (bytesRead === 0) return hash.digest('hex');
        hash.update(buffer.subarray(0, bytesRead));
      }
    } finally {
      await file.close();
    }
  });
}
