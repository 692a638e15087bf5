// A disk as POSIX promises it and no more: from a log of operations it tells in what states a power cut may leave the files. What was
// synced is there: a file's content once the file was, a name in a folder (made, renamed, removed) once the folder was. Of the rest
// anything may have come to the disk: nothing, all, some of it, in any order, and a file may have its length without its content.
import { createHash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Operation } from './recorder.ts';

/** A folder's content after the power cut. */
export type State = { readonly [name: string]: State | Uint8Array };

type Change = { offset: number; bytes: Uint8Array } | { length: number };

class FileNode {
  durable: Uint8Array = new Uint8Array(0);
  live: Uint8Array = new Uint8Array(0);
  /** What was done to the content since it was last synced. */
  pending: Change[] = [];
}

class FolderNode {
  readonly durable = new Map<string, Node>();
  readonly live = new Map<string, Node>();
}

type Node = FileNode | FolderNode;

/** A change of names that comes to the disk as one: a rename changes two. */
interface NameChange {
  readonly folders: readonly FolderNode[];
  apply(names: (folder: FolderNode) => Map<string, Node>): void;
}

/** A number from 0 to below 1. */
export type Random = () => number;

export function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Which changes of names, and how much of the content that was not synced, came to the disk. */
export interface PowerCut {
  readonly name: string;
  /** For each change of names that was not synced, in their order: whether it came. */
  names(index: number, of: number): boolean;
  /** For each file with changes that were not synced. */
  content(file: { durable: Uint8Array; live: Uint8Array; pending: readonly Change[] }): Uint8Array;
}

const all = (): boolean => true;
const none = (): boolean => false;

/** The content after some of the changes: `fill` makes the bytes of a write. */
function changed(durable: Uint8Array, changes: readonly Change[], fill: (bytes: Uint8Array) => Uint8Array): Uint8Array {
  let content = durable;
  for (const change of changes) {
    const length = 'length' in change ? change.length : Math.max(content.length, change.offset + change.bytes.length);
    const next = new Uint8Array(length);
    next.set(content.subarray(0, length));
    if ('bytes' in change) next.set(fill(change.bytes), change.offset);
    content = next;
  }
  return content;
}

/** Bytes with nothing right about them, line breaks among them. */
const garbage = (random: Random) => (bytes: Uint8Array) =>
  Uint8Array.from(bytes, () => (random() < 0.03 ? 10 : Math.floor(random() * 256)));

function someContent(random: Random): PowerCut['content'] {
  return ({ durable, pending }) => {
    const count = Math.floor(random() * (pending.length + 1));
    const how = random();
    const whole = changed(durable, pending.slice(0, count), (bytes) => {
      if (how < 0.4) return bytes;
      if (how < 0.6) return new Uint8Array(bytes.length);
      if (how < 0.8) return garbage(random)(bytes);
      return bytes.map((byte, i) => (Math.floor(i / 16) % 2 ? byte : 0)); // some blocks
    });
    const last = pending[count - 1];
    // Cut within the last write that came.
    return last && 'bytes' in last && random() < 0.5 ? whole.slice(0, last.offset + Math.floor(random() * last.bytes.length)) : whole;
  };
}

/** The power cuts worth looking at, and `more` with everything drawn at random. */
export function powerCuts(random: Random, more: number): PowerCut[] {
  const fixed: PowerCut[] = [
    { name: 'all came to the disk', names: all, content: (f) => f.live },
    { name: 'only what was synced', names: none, content: (f) => f.durable },
    { name: 'names without content', names: all, content: (f) => f.durable },
    { name: 'content without names', names: none, content: (f) => f.live },
    { name: 'lengths without content', names: all, content: (f) => changed(f.durable, f.pending, (b) => new Uint8Array(b.length)) },
    { name: 'garbage for content', names: all, content: (f) => changed(f.durable, f.pending, garbage(random)) },
  ];
  const drawn = Array.from({ length: more }, (_, i): PowerCut => {
    const inOrder = random() < 0.5;
    const share = random();
    return {
      name: `drawn ${i}`,
      names: (index, of) => (inOrder ? index < Math.floor(share * (of + 1)) : random() < share),
      content: someContent(random),
    };
  });
  return [...fixed, ...drawn];
}

export class Disk {
  readonly #root = new FolderNode();
  readonly #base: string;
  readonly #handles = new Map<number, { node: Node; position: number; append: boolean }>();
  #pendingNames: NameChange[] = [];

  /** A disk on which the folder `base` is there, empty. */
  constructor(base: string) {
    this.#base = base;
  }

  #folder(path: string): FolderNode {
    if (path === this.#base) return this.#root;
    const node = this.#folder(dirname(path)).live.get(basename(path));
    if (!(node instanceof FolderNode)) throw new Error(`${path} is no folder`);
    return node;
  }

  #change(folders: readonly FolderNode[], apply: NameChange['apply']): void {
    this.#pendingNames.push({ folders, apply });
    apply((folder) => folder.live);
  }

  #put(path: string, node: Node): void {
    const folder = this.#folder(dirname(path));
    this.#change([folder], (names) => void names(folder).set(basename(path), node));
  }

  #remove(path: string): void {
    const folder = this.#folder(dirname(path));
    this.#change([folder], (names) => void names(folder).delete(basename(path)));
  }

  #file(handle: number): { node: FileNode; position: number; append: boolean } {
    const at = this.#handles.get(handle);
    if (!(at?.node instanceof FileNode)) throw new Error(`handle ${handle} is no open file`);
    return at as { node: FileNode; position: number; append: boolean };
  }

  #edit(node: FileNode, change: Change): void {
    node.pending.push(change);
    node.live = changed(node.live, [change], (bytes) => bytes);
  }

  #open({ path, handle, flags, folder }: Operation & { kind: 'open' }): void {
    let node: Node | undefined = folder ? this.#folder(path) : this.#folder(dirname(path)).live.get(basename(path));
    if (node === undefined) {
      node = new FileNode();
      this.#put(path, node);
    } else if (node instanceof FileNode && flags === 'w' && node.live.length > 0) this.#edit(node, { length: 0 });
    this.#handles.set(handle, { node, position: 0, append: flags.startsWith('a') });
  }

  #write({ handle, bytes, position }: Operation & { kind: 'write' }): void {
    const at = this.#file(handle);
    const offset = at.append ? at.node.live.length : (position ?? at.position);
    this.#edit(at.node, { offset, bytes });
    if (position === null) at.position = offset + bytes.length;
  }

  #sync(handle: number): void {
    const node = this.#handles.get(handle)?.node;
    if (node instanceof FileNode) {
      node.durable = node.live;
      node.pending = [];
    } else if (node) {
      const mine = this.#pendingNames.filter((change) => change.folders.includes(node));
      for (const change of mine) change.apply((folder) => folder.durable);
      this.#pendingNames = this.#pendingNames.filter((change) => !mine.includes(change));
    }
  }

  #rename({ path, to }: Operation & { kind: 'rename' }): void {
    const [from, target] = [this.#folder(dirname(path)), this.#folder(dirname(to))];
    const node = from.live.get(basename(path));
    if (!node) throw new Error(`${path} is not there`);
    this.#change([...new Set([from, target])], (names) => {
      names(from).delete(basename(path));
      names(target).set(basename(to), node);
    });
  }

  apply(operation: Operation): void {
    switch (operation.kind) {
      case 'mkdir':
        this.#put(operation.path, new FolderNode());
        break;
      case 'open':
        this.#open(operation);
        break;
      case 'write':
        this.#write(operation);
        break;
      case 'truncate':
        this.#edit(this.#file(operation.handle).node, { length: operation.length });
        break;
      case 'sync':
        this.#sync(operation.handle);
        break;
      case 'close':
        this.#handles.delete(operation.handle);
        break;
      case 'rename':
        this.#rename(operation);
        break;
      case 'unlink':
      case 'rmdir':
        this.#remove(operation.path);
    }
  }

  /** What is on the disk after the power was cut now. */
  after(cut: PowerCut): State {
    const names = new Map<FolderNode, Map<string, Node>>();
    const namesOf = (folder: FolderNode): Map<string, Node> => {
      const known = names.get(folder) ?? new Map(folder.durable);
      names.set(folder, known);
      return known;
    };
    for (const [i, change] of this.#pendingNames.entries()) if (cut.names(i, this.#pendingNames.length)) change.apply(namesOf);
    const contents = new Map<FileNode, Uint8Array>(); // a file may be met under two names
    const stateOf = (node: Node): State | Uint8Array => {
      if (node instanceof FolderNode) return Object.fromEntries([...namesOf(node)].map(([name, child]) => [name, stateOf(child)]));
      const content = contents.get(node) ?? (node.pending.length > 0 ? cut.content(node) : node.live);
      contents.set(node, content);
      return content;
    };
    return stateOf(this.#root) as State;
  }
}

/** Writes a state into a folder, which is made. */
export function materialize(state: State, folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, child] of Object.entries(state)) {
    if (child instanceof Uint8Array) writeFileSync(join(folder, name), child);
    else materialize(child, join(folder, name));
  }
}

/** Equal for equal states. */
export function fingerprint(state: State): string {
  const hash = createHash('sha256');
  const add = (at: State): void => {
    for (const name of Object.keys(at).sort()) {
      const child = at[name] as State | Uint8Array;
      const isFile = child instanceof Uint8Array;
      hash.update(`${name}\0${isFile ? child.length : 'folder'}\0`);
      if (isFile) hash.update(child);
      else add(child);
    }
    hash.update('end\0');
  };
  add(state);
  return hash.digest('hex');
}

/** Applies a log, operation by operation, and hands out the states after each: those that a power cut there may leave. */
export function* statesOf(
  base: string,
  log: readonly Operation[],
  random: Random,
  more: number,
): Generator<{ done: number; cut: string; state: State }> {
  const disk = new Disk(base);
  for (let done = 0; done <= log.length; done++) {
    if (done > 0) disk.apply(log[done - 1] as Operation);
    for (const cut of powerCuts(random, more)) yield { done, cut: cut.name, state: disk.after(cut) };
  }
}
