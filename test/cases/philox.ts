/** Four 32-bit words of Philox4x32-10 (Salmon et al. 2011): what the library draws for elements 4 block to 4 block + 3. */
export function philoxWords(seed: number, block: number, stream: number, step: number): readonly number[] {
  const multiply = (a: number, b: number): [high: number, low: number] => {
    const product = BigInt(a) * BigInt(b);
    return [Number(product >> 32n), Number(product & 0xffffffffn)];
  };
  let counter = [block % 2 ** 32, Math.floor(block / 2 ** 32), stream, step];
  let key = [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
  for (let round = 0; round < 10; round++) {
    const [c0, c1, c2, c3] = counter as [number, number, number, number];
    const [k0, k1] = key as [number, number];
    const [high0, low0] = multiply(0xd2511f53, c0);
    const [high1, low1] = multiply(0xcd9e8d57, c2);
    counter = [(high1 ^ c1 ^ k0) >>> 0, low1, (high0 ^ c3 ^ k1) >>> 0, low0];
    key = [(k0 + 0x9e3779b9) >>> 0, (k1 + 0xbb67ae85) >>> 0];
  }
  return counter;
}
