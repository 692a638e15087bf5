/** A time in seconds for people: `0.4 s`, `12 s`, `3m 05s`, `2h 05m`, `3d 4h`. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return '?';
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const two = (n: number) => String(n).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 24 * 60) return `${Math.floor(minutes / 60)}h ${two(minutes % 60)}m`;
  const hours = Math.round(minutes / 60);
  return `${Math.floor(hours / 24)}d ${hours % 24}h`;
}

const UNITS = ['', 'k', 'M', 'B', 'T'];

/** A count for people, with three digits: `950`, `12.3k`, `124M`, `1.56B`. */
export function formatCount(count: number): string {
  if (!Number.isFinite(count)) return '?';
  let value = Math.abs(count);
  let unit = 0;
  // Rounding comes before the choice of the unit: 999,950 is 1.00M, not 1000k.
  while (Number(value.toPrecision(3)) >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  const text = unit === 0 ? String(Math.round(value * 100) / 100) : value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
  return `${count < 0 ? '-' : ''}${text}${UNITS[unit]}`;
}
