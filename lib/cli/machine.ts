// What this machine gives to a process: processors, memory, and the limits that a container sets.
import { existsSync, readFileSync } from 'node:fs';
import os from 'node:os';

export interface Machine {
  /** As the system names it. */
  readonly cpu: string;
  /** Processors of the machine, and those that this process may use. */
  readonly processors: number;
  readonly available: number;
  /** Processors' worth of time that the container may use; undefined without such a limit. */
  readonly quota: number | undefined;
  /** Bytes that this process may use, and what is free of them now. */
  readonly memory: number;
  readonly free: number;
  /** Bytes of memory that the container may use; undefined without such a limit. */
  readonly memoryLimit: number | undefined;
}

const CGROUP = '/sys/fs/cgroup';

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** The processors' worth of time of a `cpu.max` (cgroup v2), or of quota and period (v1): `200000 100000` is 2. */
export function parseQuota(text: string | undefined): number | undefined {
  const [quota, period] = (text ?? '').split(/\s+/).map(Number);
  return quota !== undefined && period !== undefined && quota > 0 && period > 0 ? quota / period : undefined;
}

function quota(): number | undefined {
  const v1 = `${read(`${CGROUP}/cpu/cpu.cfs_quota_us`) ?? ''} ${read(`${CGROUP}/cpu/cpu.cfs_period_us`) ?? ''}`;
  return parseQuota(read(`${CGROUP}/cpu.max`)) ?? parseQuota(v1);
}

export function machine(): Machine {
  const processors = os.cpus();
  const total = os.totalmem();
  const limit = process.constrainedMemory() ?? 0; // without a limit 0, or more than there is
  const memory = limit > 0 ? Math.min(limit, total) : total;
  return {
    ...{
      cpu: processors[0]?.model.trim() || 'unknown',
      processors: processors.length,
      available: os.availableParallelism(),
      quota: quota(),
    },
    ...{ memory, free: Math.min(os.freemem(), memory), memoryLimit: memory < total ? memory : undefined },
  };
}

/** `Linux 6.1.0, Debian GNU/Linux 12 (bookworm), in a container`. */
export function operatingSystem(): string {
  const name = /^PRETTY_NAME="?([^"\n]*)/m.exec(read('/etc/os-release') ?? '')?.[1];
  const isContainer = ['/.dockerenv', '/run/.containerenv'].some(existsSync);
  return [`${os.type()} ${os.release()}`, name, isContainer && 'in a container'].filter(Boolean).join(', ');
}

/** Bytes as `1.5 GiB`. */
export const gib = (bytes: number): string => `${(bytes / 2 ** 30).toFixed(1)} GiB`;

const UNITS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  m: 1e6,
  g: 1e9,
  t: 1e12,
  ki: 2 ** 10,
  mi: 2 ** 20,
  gi: 2 ** 30,
  ti: 2 ** 40,
};

/** Bytes of `16GiB`, `800 MB`, `1e9`; null: it is no size. */
export function parseBytes(text: string): number | null {
  const [, number = '', unit = ''] = /^([\d.]+(?:e\d+)?)\s*([kmgt]i?)?b?$/i.exec(text.trim()) ?? [];
  const bytes = Math.round(Number(number) * (UNITS[unit.toLowerCase()] ?? Number.NaN));
  return number !== '' && Number.isSafeInteger(bytes) && bytes > 0 ? bytes : null;
}
