// What a bug report must not carry: the names of people, machines, projects and files, and secrets. Everything in a report that heddle did not
// write itself (an error's message, a stack, a path, the name of a card) goes through here.
import { realpathSync } from 'node:fs';
import os from 'node:os';
import { pathToFileURL } from 'node:url';

type Named = readonly (readonly [text: string | undefined, name: string])[];

/** What is private on a machine, and by which name it may be told. */
export interface Private {
  /** Folders and files by name, such as `<heddle>/dist`; what lies below stays readable. */
  readonly open: Named;
  /** Folders by name, such as `~`; what lies below is left out. */
  readonly closed: Named;
  /** The names of the user and of the machine. */
  readonly words: Named;
  /** Left out wherever they stand. */
  readonly secrets: readonly string[];
}

/** Names that many machines have tell of nobody, and some are words of heddle's own messages. */
const EVERYBODY = new Set(['root', 'node', 'user', 'admin', 'ubuntu', 'debian', 'runner', 'app', 'heddle', 'localhost']);

/** Variables whose values are secrets. */
const SECRET_NAME = /TOKEN|SECRET|PASSW|PASSPHRASE|CREDENTIAL|AUTH|COOKIE|PRIVATE|_PWD$|APIKEY|(?:^|_)(?:PAT|KEY|DSN)(?:_|$)/i;

function userName(): string {
  try {
    return os.userInfo().username;
  } catch {
    return ''; // a number without an account, as containers have
  }
}

/** What is private here. `open` and `closed`: further paths, by name. */
export function whatIsPrivate(open: Named = [], closed: Named = []): Private {
  const { env } = process;
  const host = os.hostname();
  return {
    open,
    closed: [...closed, [process.cwd(), '<folder>'], [os.tmpdir(), '<temporary>'], [os.homedir(), '~'], [env.HOME, '~']],
    words: [
      ...[userName(), env.USER, env.LOGNAME, env.SUDO_USER].map((word) => [word, '<user>'] as const),
      ...[host, host.split('.')[0], env.HOSTNAME].map((word) => [word, '<host>'] as const),
    ],
    secrets: Object.entries(env).flatMap(([name, value = '']) => (SECRET_NAME.test(name) && value.length >= 6 ? [value] : [])),
  };
}

/** What heddle or a package may put into a message without anybody having named it. */
const SHAPES: readonly (readonly [RegExp, string])[] = [
  [/\b(?:hf|gh[a-z]|github_pat|npm|glpat|xox[a-z]|pypi|sk|pk|rk)[_-][\w-]{12,}/g, '<secret>'],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{12,}/g, '<secret>'],
  [/\beyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]*)?/g, '<secret>'], // JSON web tokens
  [/\b(?:Bearer|Basic)\s+[\w.~+/=-]{8,}/gi, '<secret>'],
  [/\b[A-Fa-f0-9]{40,}\b/g, '<secret>'],
  [/\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+/g, '<address>'],
  [/\b\d{1,3}(?:\.\d{1,3}){3}\b(?!-)/g, '<address>'],
];

/** Where a path goes on. Blanks do not end it, because folders have them: a word too few says less than half a name too many. */
const REST = '[^\\n\'"`()<>,;|:]*';

/** An absolute path anywhere; the first group holds one of the system, which is the same on every machine, and where loaders look. */
const ANY_PATH = new RegExp(
  `(?<![\\w<>~….:/-])(?:(/(?:lib|lib32|lib64|usr/lib|usr/lib32|usr/lib64|usr/local/cuda[\\w.-]*|proc|sys|dev)/[^\\s'"\`()<>,;|:]*)|(?:file://)?/(?=[^\\s/])${REST})`,
  'g',
);

const escaped = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');

/** A path as messages spell it: as it is given and as the system resolves it, plain and as a URL. */
function spellings(path: string): string[] {
  let real = path;
  try {
    real = realpathSync(path);
  } catch {} // it is gone; its name is private all the same
  return [...new Set([path, real].flatMap((p) => [pathToFileURL(p).href, `file://${p}`, p]))].map((p) => p.replace(/\/+$/, ''));
}

/** The text without what is private: paths, names, addresses and secrets are replaced by what they are. */
export function redact(text: string, { open, closed, words, secrets }: Private): string {
  let out = text;
  for (const secret of secrets.toSorted((a, b) => b.length - a.length)) out = out.replaceAll(secret, '<secret>');
  out = out.replace(/\b([a-z][a-z0-9+.-]*:\/\/)(?!\/)[^\s'"()<>]+/gi, '$1<address>');
  const roots = [...open.map(([path, name]) => ({ path, name, rest: '' })), ...closed.map(([path, name]) => ({ path, name, rest: REST }))]
    .flatMap(({ path = '', ...r }) => (path.length < 2 ? [] : spellings(path).map((spelling) => ({ spelling, ...r }))))
    .toSorted((a, b) => b.spelling.length - a.spelling.length);
  for (const { spelling, name, rest } of roots) {
    // Not where it only begins a longer name: /home/jo in /home/joe.
    const found = new RegExp(`${escaped(spelling)}(?![\\w.-])${rest === '' ? '' : `(/${rest})?`}`, 'g');
    out = out.replace(found, (_, below: unknown) => (typeof below === 'string' && below !== '/' ? `${name}/…` : name));
  }
  out = out.replace(ANY_PATH, (_, system: string | undefined) => system ?? '<path>');
  for (const [shape, name] of SHAPES) out = out.replace(shape, name);
  for (const [word = '', name] of words.toSorted(([a = ''], [b = '']) => b.length - a.length)) {
    if (word.length < 2 || EVERYBODY.has(word.toLowerCase())) continue;
    out = out.replace(new RegExp(`(?<![\\p{L}\\p{N}])${escaped(word)}(?![\\p{L}\\p{N}])`, 'giu'), name);
  }
  return out;
}
