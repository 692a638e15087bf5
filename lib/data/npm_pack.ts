// Fetching one pinned package with `npm pack`: npm knows the user's proxy, mirror and credentials, and runs no script of the
// package and installs none of its dependencies.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { FileError, HeddleError } from '../util/errors.ts';

/** A package that is fetched, down to the byte. */
export interface PinnedPackage {
  /** `name@version`. */
  spec: string;
  /** Subresource integrity of the tarball, `sha512-...`. */
  integrity: string;
}

/** The npm that runs this process (`npx`, `npm start`), else the one on PATH. */
function npmCommand(): { command: string; before: string[]; shell: boolean } {
  const running = process.env.npm_execpath;
  if (running?.endsWith('npm-cli.js') || running?.endsWith('npx-cli.js')) {
    return { command: process.execPath, before: [running.replace(/npx-cli\.js$/, 'npm-cli.js')], shell: false };
  }
  // On Windows npm is a .cmd file, which only a shell starts.
  return { command: 'npm', before: [], shell: process.platform === 'win32' };
}

/** Runs npm in `cwd`; gives its exit code and what it wrote to stderr. */
function runNpm(args: string[], cwd: string, signal: AbortSignal | undefined): Promise<{ code: number | null; stderr: string }> {
  const { command, before, shell } = npmCommand();
  return new Promise((resolve, reject) => {
    // A shell gets one line; the arguments are ours and hold nothing to quote.
    const [file, list] = shell ? [[command, ...before, ...args].join(' '), []] : [command, [...before, ...args]];
    const child = spawn(file, list, { cwd, shell, stdio: ['ignore', 'ignore', 'pipe'], ...(signal ? { signal } : {}) });
    let stderr = '';
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      stderr = (stderr + chunk).slice(-20_000);
    });
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stderr }));
  });
}

/** npm's error code (ENOTFOUND, E404, ...), which says more in a line than its text does in ten. */
function npmFailure(stderr: string): string {
  const code = /^npm (?:error|ERR!) code (\S+)/m.exec(stderr);
  return code?.[1] ?? 'npm failed';
}

/** Checks a file against a pinned `sha512-...` value. @throws FileError when it differs. */
export async function checkIntegrity(file: string, integrity: string): Promise<void> {
  const hash = createHash('sha512');
  await pipeline(createReadStream(file), hash);
  const got = `sha512-${hash.digest('base64')}`;
  if (got !== integrity) throw new FileError(file, `integrity must be ${integrity}, got ${got}`);
}

/**
 * Fetches a package's tarball into the existing, empty folder `folder` and verifies it; gives the tarball's path.
 * @throws HeddleError `ERR_HEDDLE_FETCH` in one line when npm or the network is not there; FileError when the bytes differ
 * from the pinned ones.
 */
export async function npmPack(what: string, pinned: PinnedPackage, folder: string, signal?: AbortSignal): Promise<string> {
  const failed = (reason: string, cause?: unknown): HeddleError =>
    new HeddleError(
      'ERR_HEDDLE_FETCH',
      `${what}: cannot fetch ${pinned.spec} (${reason}); without a network give a text of your own with --data FILE|FOLDER`,
      {
        cause,
      },
    );
  // No registry option: npm takes the user's. One quick retry; npm's default waits for more than a minute without a network.
  const args = [
    'pack',
    pinned.spec,
    '--ignore-scripts',
    '--prefer-offline',
    '--loglevel=error',
    '--fetch-retries=1',
    '--fetch-retry-mintimeout=1000',
  ];
  let result: { code: number | null; stderr: string };
  try {
    result = await runNpm(args, folder, signal);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw failed((error as NodeJS.ErrnoException).code === 'ENOENT' ? 'npm is not on PATH' : (error as Error).message, error);
  }
  if (result.code !== 0) throw failed(npmFailure(result.stderr));
  const tarballs = (await readdir(folder)).filter((name) => name.endsWith('.tgz'));
  const tarball = tarballs[0];
  if (tarball === undefined || tarballs.length !== 1) throw failed(`npm pack left ${tarballs.length} tarballs`);
  const path = join(folder, tarball);
  await checkIntegrity(path, pinned.integrity);
  return path;
}
