// Every operation of a program fails in its turn, in several ways.
import type { Fault, Faults, Operation } from './recorder.ts';

/**
 * `fails`: an error, once. `fills`: the disk is full from here on: a write takes half of its bytes, whatever needs room fails after it, and
 * removing works. `shortens`: a write takes half of its bytes, once, which is no error.
 */
export type Way = 'fails' | 'fills' | 'shortens';

const NEEDS_ROOM = ['mkdir', 'write'];
const needsRoom = (operation: Operation): boolean =>
  NEEDS_ROOM.includes(operation.kind) || (operation.kind === 'open' && !operation.folder && operation.flags !== 'r');

const half = (operation: Operation): Fault | undefined =>
  operation.kind === 'write' && operation.bytes.length > 1 ? { bytes: operation.bytes.length >> 1 } : undefined;

export function faultsAt(at: number, way: Way): Faults {
  return (operation, index) => {
    if (way === 'fails') return index === at ? { code: 'EIO' } : undefined;
    if (way === 'shortens') return index === at ? half(operation) : undefined;
    if (index < at || !needsRoom(operation)) return undefined;
    return (index === at ? half(operation) : undefined) ?? { code: 'ENOSPC' };
  };
}

/** The operations of a calm run at which a way makes a difference; of many writes to one file in a row, the first and the last. */
export function worthFailing(log: readonly Operation[], way: Way): number[] {
  const isWrite = (operation: Operation | undefined, path: string): boolean => operation?.kind === 'write' && operation.path === path;
  return log.flatMap((operation, i) => {
    if (way === 'fills' && !needsRoom(operation)) return [];
    if (way === 'shortens' && half(operation) === undefined) return [];
    const within = isWrite(operation, operation.path) && isWrite(log[i - 1], operation.path) && isWrite(log[i + 1], operation.path);
    return within ? [] : [i];
  });
}
