import { createRequire } from 'node:module';

const manifest: unknown = createRequire(import.meta.url)('#package');

/** The version of this package. */
export const version: string =
  typeof manifest === 'object' && manifest !== null && 'version' in manifest && typeof manifest.version === 'string'
    ? manifest.version
    : '0.0.0';
