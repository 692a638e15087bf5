// A real disk of a size that a test chooses: a tmpfs in a mount namespace of its own, which goes when the process that holds it ends.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface SmallDisk {
  /** Where it is to be found. */
  readonly folder: string;
  /** Makes it larger (or smaller). */
  resize(bytes: number): Promise<void>;
  remove(): void;
}

/** Runs a line in the shell that holds the namespace; gives what went wrong. */
function shellLine(shell: ChildProcess, line: string): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const end = (): void => {
      shell.stdout?.off('data', hear);
      shell.off('close', end);
      resolve(text.replace(/done 0\n$/, '').trim());
    };
    const hear = (piece: Buffer): void => {
      text += piece;
      if (/^done \d+$/m.test(text)) end();
    };
    shell.stdout?.on('data', hear);
    shell.on('close', end);
    shell.stdin?.write(`{ ${line}; } 2>&1; echo "done $?"\n`);
  });
}

async function mounted(command: readonly string[], bytes: number): Promise<SmallDisk | string> {
  const point = mkdtempSync(join(tmpdir(), 'heddle-disk-'));
  const shell = spawn(command[0] as string, [...command.slice(1), 'sh'], { stdio: ['pipe', 'pipe', 'ignore'] });
  shell.stdin?.on('error', () => undefined);
  const failed = new Promise<string>((resolve) => shell.once('error', (error) => resolve(error.message)));
  const remove = (): void => {
    shell.stdin?.end();
    shell.kill();
    if (existsSync(point)) rmdirSync(point);
  };
  const line = `mount -t tmpfs -o size=${Math.round(bytes)} heddle ${point} && test -d /proc/${shell.pid}/root${point}`;
  const problem = await Promise.race([failed, shellLine(shell, line)]);
  if (problem !== '' || shell.exitCode !== null) {
    remove();
    return problem.split('\n')[0] || `${command.join(' ')} ended with ${shell.exitCode}`;
  }
  return {
    folder: `/proc/${shell.pid}/root${point}`,
    async resize(size) {
      const wrong = await shellLine(shell, `mount -o remount,size=${Math.round(size)} heddle ${point}`);
      if (wrong !== '') throw new Error(wrong);
    },
    remove,
  };
}

/** A disk of `bytes`, or why there is none: it needs Linux, and root or user namespaces. */
export async function smallDisk(bytes: number): Promise<SmallDisk | string> {
  if (process.platform !== 'linux') return `${process.platform} has no tmpfs in a namespace of its own`;
  const asRoot = await mounted(['unshare', '-m'], bytes);
  return typeof asRoot === 'string' ? mounted(['unshare', '-rm'], bytes) : asRoot;
}
