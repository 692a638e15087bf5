// Where the hub is, where its files lie here, and how to ask: options, then the environment as huggingface_hub reads it.
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ArgumentError } from '../util/errors.ts';

/** How far a file has come. */
export interface HubProgress {
  readonly file: string;
  /** Bytes here so far, those of an earlier attempt included. */
  readonly bytes: number;
  readonly total: number;
}

export interface HubOptions {
  /** A branch, a tag or a commit. Default: main. */
  revision?: string;
  /** Default: HF_HUB_CACHE, or `hub` in HF_HOME, or ~/.cache/huggingface/hub: what Python tools fetched is found there. */
  cacheDir?: string;
  /** Default: HF_ENDPOINT, or https://huggingface.co. */
  endpoint?: string;
  /** Default: HF_TOKEN, or the file that `hf auth login` writes. `false`: none. */
  token?: string | false;
  /** Only what the cache holds. Default: HF_HUB_OFFLINE. */
  offline?: boolean;
  /** Seconds without a sign of life after which a connection is given up. Default: HF_HUB_DOWNLOAD_TIMEOUT, or 10. */
  timeout?: number;
  signal?: AbortSignal;
  onProgress?: (progress: HubProgress) => void;
  /** Lines for people: what is fetched, what is used in its stead. */
  onMessage?: (line: string) => void;
}

/** `HubOptions` with all decided. */
export interface HubSettings {
  readonly revision: string;
  readonly cacheDir: string;
  /** Without a slash at its end. */
  readonly endpoint: string;
  readonly token: string | undefined;
  readonly offline: boolean;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  readonly onProgress: (progress: HubProgress) => void;
  readonly onMessage: (line: string) => void;
}

type Environment = Readonly<Record<string, string | undefined>>;

const isOn = (value: string | undefined): boolean => value !== undefined && ['1', 'on', 'yes', 'true'].includes(value.toLowerCase());

/** A set variable; an empty one counts as none. */
function first(env: Environment, ...names: string[]): string | undefined {
  return names.map((name) => env[name]).find((value) => value !== undefined && value !== '');
}

const atHome = (path: string): string => path.replace(/^~(?=$|[/\\])/, homedir());

function home(env: Environment): string {
  return atHome(first(env, 'HF_HOME') ?? join(first(env, 'XDG_CACHE_HOME') ?? join(homedir(), '.cache'), 'huggingface'));
}

/** The file's token; none where there is no file, or none that can be read. */
function storedToken(env: Environment): string | undefined {
  try {
    return readFileSync(atHome(first(env, 'HF_TOKEN_PATH') ?? join(home(env), 'token')), 'utf8');
  } catch {
    return undefined;
  }
}

/** The value never stands in an error: it may be a token with a typing slip. */
function tokenOf(given: string | false | undefined, env: Environment): string | undefined {
  const implicit = isOn(env.HF_HUB_DISABLE_IMPLICIT_TOKEN)
    ? undefined
    : (first(env, 'HF_TOKEN', 'HUGGING_FACE_HUB_TOKEN') ?? storedToken(env));
  const token = given === false ? undefined : (given ?? implicit)?.trim();
  if (token === undefined || token === '') return undefined;
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new ArgumentError('hub: the token (HF_TOKEN) must be printable ASCII without spaces, got other characters');
  return token;
}

/** An address may hold a password, so that it does not stand in the errors. */
function endpointOf(given: string | undefined, env: Environment): string {
  const text = given ?? first(env, 'HF_ENDPOINT') ?? 'https://huggingface.co';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !['http:', 'https:'].includes(url.protocol))
    throw new ArgumentError('hub: endpoint (HF_ENDPOINT) must be an http or https address');
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw new ArgumentError('hub: endpoint (HF_ENDPOINT) must hold neither a user nor a query', { hint: 'A token goes into HF_TOKEN.' });
  return `${url.origin}${url.pathname}`.replace(/\/+$/, '');
}

function timeoutOf(given: number | undefined, env: Environment): number {
  const seconds = given ?? Number(first(env, 'HF_HUB_DOWNLOAD_TIMEOUT') ?? 10);
  if (seconds > 0 && seconds < 1e6) return 1000 * seconds;
  throw new ArgumentError(`hub: timeout (HF_HUB_DOWNLOAD_TIMEOUT) must be a positive number of seconds, got ${seconds}`);
}

/** @throws ArgumentError naming the option, or the variable, that is wrong */
export function hubSettings(options: HubOptions = {}, env: Environment = process.env): HubSettings {
  return {
    revision: options.revision ?? 'main',
    cacheDir: atHome(options.cacheDir ?? first(env, 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE') ?? join(home(env), 'hub')),
    endpoint: endpointOf(options.endpoint, env),
    token: tokenOf(options.token, env),
    offline: options.offline ?? (isOn(env.HF_HUB_OFFLINE) || isOn(env.TRANSFORMERS_OFFLINE)),
    timeoutMs: timeoutOf(options.timeout, env),
    signal: options.signal,
    onProgress: options.onProgress ?? (() => undefined),
    onMessage: options.onMessage ?? (() => undefined),
  };
}
