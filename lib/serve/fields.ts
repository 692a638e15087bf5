import { show } from '../util/show.ts';

/** An answer that is an error: what OpenAI's clients are given, with the field that is to blame. */
export class RequestError extends Error {
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;

  constructor(status: number, message: string, { param = null, code = null }: { param?: string | null; code?: string | null } = {}) {
    super(message);
    this.status = status;
    this.param = param;
    this.code = code;
  }
}

/** What says nothing about the answer, and what says that nothing unusual is wanted. */
const IGNORED = ['metadata', 'model', 'parallel_tool_calls', 'prompt_cache_key', 'safety_identifier', 'service_tier', 'store', 'user'];
const NEUTRAL: Readonly<Record<string, readonly unknown[]>> = {
  best_of: [1],
  echo: [false],
  frequency_penalty: [0],
  logit_bias: [{}],
  logprobs: [false],
  presence_penalty: [0],
  response_format: [{ type: 'text' }],
  suffix: [''],
  tool_choice: ['none', 'auto'],
  tools: [[]],
  top_logprobs: [0],
};

/** The fields of a request, taken one after the other; null is as good as absent. */
export class Fields {
  readonly #left: Map<string, unknown>;

  /** @throws RequestError for what is no object */
  constructor(body: unknown) {
    if (typeof body !== 'object' || body === null || Array.isArray(body))
      throw new RequestError(400, `the request must be a JSON object, got ${show(body)}`);
    this.#left = new Map(Object.entries(body).filter(([, value]) => value !== null));
  }

  /** @throws RequestError where the value is not `ok` */
  take<T>(name: string, expected: string, ok: (value: unknown) => value is T): T | undefined {
    const value = this.#left.get(name);
    this.#left.delete(name);
    if (value === undefined || ok(value)) return value;
    throw new RequestError(400, `${name} must be ${expected}, got ${show(value)}`, { param: name });
  }

  number(name: string, { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY, integer = false } = {}): number | undefined {
    const range = Number.isFinite(max) ? `from ${min} to ${max}` : `of at least ${min}`;
    const fits = (v: unknown): v is number => typeof v === 'number' && v >= min && v <= max && (!integer || Number.isInteger(v));
    return this.take(name, `${integer ? 'an integer' : 'a number'} ${range}`, fits);
  }

  flag(name: string): boolean {
    return this.take(name, 'true or false', (v): v is boolean => typeof v === 'boolean') ?? false;
  }

  /** @throws RequestError for a field that asks for what is not here */
  end(): void {
    for (const [name, value] of this.#left) {
      if (IGNORED.includes(name) || NEUTRAL[name]?.some((neutral) => JSON.stringify(neutral) === JSON.stringify(value))) continue;
      throw new RequestError(400, `${name} is not supported here, got ${show(value)}`, { param: name, code: 'unsupported_parameter' });
    }
  }
}
