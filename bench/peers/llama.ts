// llama.cpp by node-llama-cpp, which is no dependency:
//
//   npm install --prefix bench/peers --no-save node-llama-cpp

/** What is used of node-llama-cpp. */
export interface Sequence {
  evaluate(tokens: readonly number[], options: object): AsyncIterable<number>;
  controlledEvaluate(input: readonly unknown[]): Promise<({ next?: { probabilities?: Map<number, number> } } | undefined)[]>;
  clearHistory(): Promise<void>;
}
export interface LlamaModel {
  createContext(options: object): Promise<{ getSequence(): Sequence }>;
  dispose(): Promise<void>;
}
export interface Llama {
  loadModel(options: object): Promise<LlamaModel>;
}

/** On the CPU; undefined, and a word why, where it is not installed. */
export async function openLlama(threads = 1): Promise<Llama | undefined> {
  const name: string = 'node-llama-cpp';
  try {
    const { getLlama } = (await import(name)) as { getLlama(options: object): Promise<Llama> };
    return await getLlama({ gpu: false, maxThreads: threads, build: 'never', logLevel: 'error', progressLogs: false });
  } catch (error) {
    console.log(`skipped: node-llama-cpp is not installed (npm install --prefix bench/peers --no-save node-llama-cpp): ${error}`);
    return undefined;
  }
}

/** Keys and values as heddle has them on the CPU. */
export const PLAIN_CACHE = { experimentalKvCacheKeyType: 'F32', experimentalKvCacheValueType: 'F32', flashAttention: false };
