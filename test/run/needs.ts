import test from 'ava';
import type { Device } from '../../lib/tensor/index.ts';

/** The devices, of a file whose tests all need one. Where there is none a skipped test says so: ava takes a file without tests for a mistake. */
export function needs(what: string, devices: readonly Device[]): readonly Device[] {
  if (devices.length === 0) test.skip(`needs ${what}`, () => {});
  return devices;
}
